/** Commands of a filer's target software, whose words are understood apart from those of its file system. */
import type { PortError } from '../../../../domain/errors.ts';
import type { RemoteResult } from '../../../ssh/remote.ts';
import { wrongState } from '../errors.ts';
import type { Filer } from '../filer.ts';
import { explainTarget } from './target.ts';

const triesWhileBusy = 20;
const pauseSeconds = 0.5;

export class TargetCommands {
  readonly #filer: Filer;

  constructor(filer: Filer) {
    this.#filer = filer;
  }

  /** Any exit code is an answer. */
  ask(program: readonly string[], signal?: AbortSignal): Promise<RemoteResult> {
    return this.#filer.ask(program, signal);
  }

  /**
   * Done again for some seconds while something is busy: a session that was ended takes a moment to be gone.
   *
   * @param already - words of a refusal that says that it is so already
   */
  async must(
    program: readonly string[],
    { already, stdin }: { readonly already?: RegExp; readonly stdin?: string } = {},
  ): Promise<void> {
    for (let tries = triesWhileBusy; ; tries -= 1) {
      const result = await this.#filer.tell(program, stdin);
      if (result.code === 0 || already?.test(`${result.stderr}\n${result.stdout}`) === true) return;
      const error = this.error(program, result);
      if (tries === 0 || error.kind !== 'busy') throw error;
      await this.#filer.clock.sleep(pauseSeconds);
    }
  }

  refusal(what: string, next: string): PortError {
    return wrongState(this.#filer.array, what, [], next);
  }

  error(program: readonly string[], result: RemoteResult): PortError {
    return explainTarget(`array ${this.#filer.array}`, nameOf(program), result);
  }
}

/** So that a person knows which command it was: `targetcli /iscsi create`, `tgtadm new target`, a script by its name. */
function nameOf(program: readonly string[]): string {
  const [first = '', ...words] = program;
  if (first === 'sh') return program[3] ?? first;
  const after = (option: string): string => words[words.indexOf(option) + 1] ?? '';
  if (first === 'tgtadm') return `tgtadm ${after('--op')} ${after('--mode')}`;
  return program.slice(0, 3).join(' ');
}
