/** What a test may do with the target software of a filer. */
import { Refusal } from '../zfs/pool.ts';

/** A LUN as an initiator finds it. */
export interface FoundLun {
  readonly number: number;
  readonly path: string;
  readonly scsiId: string;
}

export interface Login {
  readonly user: string;
  readonly password: string;
}

export interface TargetDouble {
  readonly name: 'lio' | 'tgt';
  /** Every command line that changes something or shows targets, in order. */
  readonly commands: string[];
  /** For `startZfsFiler`. */
  run(program: readonly string[], input: string): string | null;
  /** Opens a session; throws when the initiator is not let in. */
  login(target: string, initiator: string, login?: Login): readonly FoundLun[];
  sessions(): readonly string[];
  /** IQNs of all targets. */
  targets(): readonly string[];
  /** Power fails, and what was kept is shown again. */
  restart(): void;
}

/** Plays mishaps around a double: a command that dies before it does anything, or whose answer is lost. */
export class Mishaps {
  readonly #double: TargetDouble;
  readonly #cut: () => void;
  #fail: RegExp | null = null;
  #lose: RegExp | null = null;

  /** @param cut - breaks the connection of whoever asked */
  constructor(double: TargetDouble, cut: () => void) {
    this.#double = double;
    this.#cut = cut;
  }

  failNext(pattern: RegExp): void {
    this.#fail = pattern;
  }

  loseNext(pattern: RegExp): void {
    this.#lose = pattern;
  }

  /** Every mishap has come to pass. */
  get isOver(): boolean {
    return this.#fail === null && this.#lose === null;
  }

  run = (program: readonly string[], input: string): string | null => {
    const line = program.join(' ');
    if (this.#fail?.test(line) === true) {
      this.#fail = null;
      throw new Refusal('made to fail');
    }
    const printed = this.#double.run(program, input);
    if (printed !== null && this.#lose?.test(line) === true) {
      this.#lose = null;
      this.#cut();
    }
    return printed;
  };
}
