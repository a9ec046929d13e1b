/**
 * The contract of the replication port, after storage.md B.6: the same cases for every adapter, over real storage, over
 * the lab and over doubles of vendors. What an adapter's capabilities exclude is asserted as refused, never left out.
 */
import t from 'tap';
import { openBench } from './bench.ts';
import type { Case } from './case.ts';
import { directionCases } from './direction.ts';
import { drillCases } from './drill.ts';
import { lookingCases } from './looking.ts';
import { mishapCases } from './mishaps.ts';
import { plannedCases } from './planned.ts';
import type { Mishaps, OpenRig } from './rig.ts';
import { togetherCases } from './together.ts';
import { transferCases } from './transfer.ts';
import { unplannedCases } from './unplanned.ts';

export const cases: readonly Case[] = [
  ...lookingCases,
  ...transferCases,
  ...drillCases,
  ...plannedCases,
  ...unplannedCases,
  ...directionCases,
  ...mishapCases,
  ...togetherCases,
];

export interface SuiteOptions {
  /** Mishaps that the rig cannot play, each with the reason, which is shown where a case is skipped. */
  readonly cannot?: Readonly<Partial<Record<keyof Mishaps, string>>>;
  /** Longest time of one case; generous: it only ends a case that has failed. */
  readonly caseSeconds?: number;
}

/** Declares one subtest per case, one after the other, each with a rig of its own. */
export function replicationSuite(name: string, open: OpenRig, options: SuiteOptions = {}): void {
  const { cannot = {}, caseSeconds = 120 } = options;
  t.jobs = 1;
  let keepsTogether: boolean | null = null;
  for (const { title, needs = [], grouped = false, run } of cases) {
    const missing = needs.find((need) => cannot[need] !== undefined);
    const skip = missing === undefined ? false : `${name}: ${cannot[missing]}`;
    t.test(title, { skip, timeout: caseSeconds * 1000 }, async (test) => {
      // A rig may be two real clusters: none is opened for what was refused once.
      if (grouped && keepsTogether === false) return test.pass(`${name} keeps no volumes together`);
      const bench = await openBench(test, open);
      keepsTogether = bench.can.consistencyGroups;
      for (const need of needs)
        if (bench.rig[need] === undefined) throw new Error(`the rig has no ${need} and does not say why`);
      await run(test, bench);
    });
  }
}
