/** One case of the contract. */
import type { Test } from 'tap';
import type { Bench } from './bench.ts';
import type { Mishaps } from './rig.ts';

export interface Case {
  readonly title: string;
  /** Mishaps that it plays: without one of them it is skipped, with the rig's reason. */
  readonly needs?: readonly (keyof Mishaps)[];
  /** About several volumes of one consistency group: only for adapters that claim them. */
  readonly grouped?: boolean;
  run(test: Test, bench: Bench): Promise<unknown>;
}
