/** Things tried one by one, where a failure is an answer and not an end: for tests of arrays, doctor, the own rehearsal. */
import type { ArrayCheck } from '../domain/array-test.ts';
import type { Problem } from '../domain/errors.ts';
import { gapOf } from '../observe/observe.ts';
import type { Context } from './app.ts';

export type Said = Pick<ArrayCheck, 'outcome' | 'says'>;

export const ok = (...says: readonly string[]): Said => ({ outcome: 'ok', says });
export const doubtful = (...says: readonly string[]): Said => ({ outcome: 'warning', says });

export class Trials {
  readonly checks: ArrayCheck[] = [];
  readonly #about: string;
  readonly #context: Context;

  /** `about` is what is asked, in a sentence: `array filer-b`, `site tokyo`. */
  constructor(about: string, context: Context) {
    this.#about = about;
    this.#context = context;
  }

  /** What was answered; null when the trial failed, which is written down. Only a stopped caller throws. */
  async attempt<T>(verb: string, ask: () => Promise<T>, judge: (answer: T) => Said): Promise<T | null> {
    this.#context.onProgress?.(`Asking ${this.#about}: ${verb}`);
    try {
      const answer = await ask();
      this.checks.push({ verb, ...judge(answer), problem: null });
      return answer;
    } catch (error) {
      this.#context.signal?.throwIfAborted();
      this.fail(verb, gapOf(error, `Cannot ask ${this.#about}`));
      return null;
    }
  }

  fail(verb: string, problem: Problem): void {
    this.checks.push({ verb, outcome: 'failed', says: [], problem });
  }
}
