/** Secrets from environment, file, command and the encrypted store. What was found is never part of an error. */
import { spawn } from 'node:child_process';
import { OperatorError } from '../../domain/errors.ts';
import type { SecretRef } from '../../domain/settings.ts';
import type { Secrets } from '../../ports/system.ts';
import { codeOf, readPrivateFile } from './key-file.ts';
import type { Redactor } from './redactor.ts';
import type { SecretStore } from './store.ts';

export interface SecretSources {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly store: SecretStore;
  /** Learns every value that is resolved. */
  readonly redactor: Redactor;
  readonly commandTimeoutSeconds?: number;
  /** Where commands run, as every path of the settings is relative to their file; the caller's directory when absent. */
  readonly directory?: string;
}

const outputLimitBytes = 64 * 1024;

export class SecretResolver implements Secrets {
  readonly #sources: SecretSources;

  constructor(sources: SecretSources) {
    this.#sources = sources;
  }

  async resolve(ref: SecretRef): Promise<string> {
    const value = await this.#find(ref);
    if (value === '') throw missing(ref, 'it is empty');
    this.#sources.redactor.add(value);
    return value;
  }

  async #find(ref: SecretRef): Promise<string> {
    switch (ref.from) {
      case 'env': {
        const value = this.#sources.environment[ref.name];
        if (value === undefined) throw missing(ref, 'it is not set');
        return value;
      }
      case 'file':
        // Editors end a file with a newline, which is no part of the secret.
        return (await readPrivateFile(ref.path, 'the secret file')).replace(/\r?\n$/, '');
      case 'command':
        return this.#fromCommand(ref);
      case 'store': {
        const value = await this.#sources.store.get(ref.name);
        if (value === null) throw missing(ref, 'the store has no secret of this name');
        return value;
      }
    }
  }

  #fromCommand(ref: Extract<SecretRef, { from: 'command' }>): Promise<string> {
    const [program, ...args] = ref.argv;
    if (program === undefined) return Promise.reject(missing(ref, 'no program is named'));
    const seconds = this.#sources.commandTimeoutSeconds ?? 30;
    return new Promise((resolve, reject) => {
      // Its own process group, so that what it starts can be stopped with it.
      const child = spawn(program, args, {
        shell: false,
        ...(this.#sources.directory === undefined ? {} : { cwd: this.#sources.directory }),
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
      });
      const output: Buffer[] = [];
      let length = 0;
      let verdict: string | null = null;
      const stop = (why: string): void => {
        verdict ??= why;
        if (child.pid !== undefined) {
          try {
            process.kill(-child.pid, 'SIGKILL');
          } catch {
            child.kill('SIGKILL');
          }
        }
        child.stdout.destroy();
      };
      const timer = setTimeout(() => stop(`it did not end within ${seconds} s`), seconds * 1000);
      child.stdout.on('data', (piece: Buffer) => {
        output.push(piece);
        length += piece.length;
        if (length > outputLimitBytes) stop('it wrote more than 64 KiB');
      });
      child.on('error', (error) => {
        clearTimeout(timer);
        reject(
          missing(
            ref,
            codeOf(error) === 'ENOENT'
              ? 'there is no such program'
              : `it cannot be started (${codeOf(error)})`,
          ),
        );
      });
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        if (verdict !== null) reject(missing(ref, verdict));
        else if (code !== 0)
          reject(
            missing(ref, code === null ? `it was ended by ${signal}` : `it ended with exit code ${code}`),
          );
        else resolve(Buffer.concat(output).toString('utf8').split(/\r?\n/, 1)[0] ?? '');
      });
    });
  }
}

function missing(ref: SecretRef, known: string): OperatorError {
  const places: Record<SecretRef['from'], () => { what: string; next: string }> = {
    env: () => {
      const name = ref.from === 'env' ? ref.name : '';
      return {
        what: `environment variable ${name}`,
        next: `Set ${name}, or name another source in sites.yaml`,
      };
    },
    file: () => {
      const path = ref.from === 'file' ? ref.path : '';
      return { what: `file ${path}`, next: `Write the secret into ${path} (mode 0600)` };
    },
    command: () => {
      // Arguments may carry something private: the program's name is enough to find it in sites.yaml.
      const program = ref.from === 'command' ? (ref.argv[0] ?? '') : '';
      return {
        what: `command ${program}`,
        next: `Run the command by hand as the same user and see what it says`,
      };
    },
    store: () => {
      const name = ref.from === 'store' ? ref.name : '';
      return { what: `secret ${name} in the encrypted store`, next: `Run: lifeboat secret set ${name}` };
    },
  };
  const { what, next } = places[ref.from]();
  return new OperatorError({
    code: 'DR-SECRET-MISSING',
    what: `Cannot get a secret from ${what}`,
    known: [known],
    next,
  });
}
