/** What `--json` prints: the domain's own values, one document per line, and nothing that only a person needs. */
import type { Run } from '../domain/run.ts';
import type { Instant } from '../domain/time.ts';
import { evidenceOf } from './evidence.ts';
import { lossSecondsOf, nextSteps } from './run-end.ts';
import { runFacts } from './run-facts.ts';

/** A run with its steps as an object, and the figures that a report shows. */
export function runJson(run: Run, now: Instant, journalHash: string | null = null): unknown {
  const facts = runFacts(run, now);
  const { chapters, counts, elapsedSeconds, recoverySeconds, steps, vms } = facts;
  const evidence = evidenceOf(run, journalHash);
  return {
    ...run,
    steps: Object.fromEntries(run.steps),
    facts: {
      elapsedSeconds,
      forecastSeconds: run.plan.expects.forecastSeconds,
      recoverySeconds,
      rtoSeconds: run.plan.expects.rtoSeconds,
      lossSeconds: lossSecondsOf(run, now),
      rpoSeconds: run.plan.expects.rpoSeconds,
      counts,
      chapters,
      vms,
      steps,
      next: nextSteps(run, facts),
    },
    ...(evidence === null ? {} : { evidence }),
  };
}

export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`;
