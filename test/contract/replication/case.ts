/** One case of the contract. */
import type { Test } from 'tap';
import type { Bench } from './bench.ts';
import type { Mishaps } from './rig.ts';

export interface Case {
  readonly title: string;
  /** Mishaps that it plays: without one of them it is skipped, with the rig's reason. */
  readonly needs?: readonly (keyof Mishaps)[];
  run(test: Test, bench: Bench): Promise<unknown>;
}
