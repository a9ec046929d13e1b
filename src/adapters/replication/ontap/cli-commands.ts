/**
 * Commands to ONTAP's clustershell, which is no POSIX shell and whose exit status says nothing: a command succeeded unless
 * its text says `Error:` (storage.md C.2).
 */
import type { PortError } from '../../../domain/errors.ts';
import type { SshRemote } from '../../ssh/pool.ts';
import { busy, missingRight, notUnderstood, refusedByArray } from '../rest/errors.ts';
import { commandLine, preamble, type Row, readTable } from './cli-text.ts';
import type { Asking, OntapControl } from './control.ts';

const readSeconds = 15;
const verbSeconds = 120;

type Parameters = Readonly<Record<string, string>>;

export const already = /already exists|duplicate entry|already mapped|already in/i;
export const absent = /entry doesn't exist|does not exist|not found/i;

export class OntapCommands {
  readonly endpoint: OntapControl['endpoint'];
  readonly #remote: SshRemote;

  constructor(endpoint: OntapControl['endpoint'], remote: SshRemote) {
    this.endpoint = endpoint;
    this.#remote = remote;
  }

  async table(
    command: string,
    only: Parameters,
    fields: readonly string[],
    asking: Asking,
  ): Promise<readonly Row[]> {
    const text = await this.#run(
      `${commandLine(command, only)} -fields ${fields.join(',')}`,
      command,
      'read',
      asking,
    );
    const error = errorIn(text);
    if (error !== null && absent.test(error)) return [];
    if (error !== null) throw this.#inWords(command, error);
    const rows = readTable(text, fields);
    if (rows === null) throw this.strange(command, text.slice(0, 80).replaceAll(/\s+/g, ' '));
    return rows;
  }

  /** `quiet` fits the errors that say that it is so already. */
  async change(command: string, parameters: Parameters, asking: Asking, quiet?: RegExp): Promise<void> {
    const error = errorIn(await this.#run(commandLine(command, parameters), command, 'write', asking));
    if (error !== null && quiet?.test(error) !== true) throw this.#inWords(command, error);
  }

  async #run(line: string, name: string, effect: 'read' | 'write', { signal }: Asking): Promise<string> {
    const { stdout, stderr } = await this.#remote.run([name], {
      name,
      effect,
      line: `${preamble}; ${line}`,
      timeoutSeconds: effect === 'read' ? readSeconds : verbSeconds,
      signal,
    });
    return `${stdout}\n${stderr}`;
  }

  #inWords(command: string, words: string): PortError {
    if (/insufficient privileges|not authorized|is not a recognized command/i.test(words))
      return missingRight(this.endpoint, command, words);
    if (/in progress|is busy|try again|temporarily/i.test(words)) return busy(this.endpoint, words, 'busy');
    return refusedByArray(this.endpoint, words, absent.test(words) ? 'not-found' : 'refused');
  }

  given(row: Row | undefined, field: string): string {
    const value = row?.get(field);
    if (value === undefined) throw this.strange('a listing', `no ${field}`);
    return value;
  }

  strange(command: string, what: string): PortError {
    return notUnderstood(this.endpoint, `answers "${command}" in another shape than ONTAP's CLI`, [what]);
  }

  close(): Promise<void> {
    return this.#remote.close();
  }
}

function errorIn(text: string): string | null {
  const [, words] = /^\s*Error: ?([\s\S]*)/m.exec(text) ?? [];
  return words === undefined ? null : words.replaceAll(/\s+/g, ' ').trim();
}
