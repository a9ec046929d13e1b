/**
 * What has happened in runs since one last asked, whoever carried them out: read from their journals, and only from those
 * that are new or were not at their end. The first question tells nothing: what was before is nobody's news.
 */
import type { Operation } from '../domain/plan.ts';
import { foldRun, type RunEvent, type RunOutcome } from '../domain/run.ts';
import { type Instant, secondsBetween } from '../domain/time.ts';
import { runFacts } from '../report/run-facts.ts';
import { readable } from './journals.ts';
import type { AppPorts } from './ports.ts';

export type RunNews =
  | {
      readonly news: 'ended';
      readonly run: string;
      readonly group: string;
      readonly operation: Operation;
      readonly outcome: RunOutcome;
      readonly at: Instant;
      /** From its start until the last VM served; null where no VM was started, or not all of them served. */
      readonly recoverySeconds: number | null;
    }
  | {
      readonly news: 'step';
      readonly operation: Operation;
      /** `import-vms`, `promote`. */
      readonly action: string;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
      readonly seconds: number;
    };

/** `open` are runs that may go on although they ended, such as stuck ones. */
export type ReadRunNews = (open: ReadonlySet<string>) => Promise<readonly RunNews[]>;

export function runNewsReader(ports: Pick<AppPorts, 'journals' | 'clock'>): ReadRunNews {
  const since = ports.clock.now();
  /** How many events of each journal have been told; null for one that was there before, and was not read. */
  let told = new Map<string, number | null>();
  let unended = new Set<string>();
  let first = true;
  return async (open) => {
    const news: RunNews[] = [];
    const now = new Map<string, number | null>();
    const running = new Set<string>();
    for (const id of [...(await ports.journals.list())].reverse()) {
      const before = told.get(id);
      const settled = before !== undefined && !open.has(id) && !unended.has(id);
      if (settled || (first && !open.has(id))) {
        now.set(id, before ?? null);
        continue;
      }
      const events = await readable(ports, id);
      now.set(id, events.length);
      if (events.at(-1)?.event !== 'RunEnded') running.add(id);
      // An old run that is taken up again after weeks: only what came after the first question is news.
      const from = before === null ? events.findIndex(({ at }) => at >= since) : (before ?? 0);
      if (!first && from >= 0) news.push(...newsIn(events, from));
    }
    told = now;
    unended = running;
    first = false;
    return news;
  };
}

function newsIn(events: readonly RunEvent[], told: number): RunNews[] {
  const [begin] = events;
  if (begin?.event !== 'RunStarted') return [];
  const { operation, group, steps } = begin.plan;
  const actions = new Map(steps.map(({ id, action }) => [id, action.do]));
  const startedAt = new Map<string, Instant>();
  const news: RunNews[] = [];
  for (const [index, event] of events.entries()) {
    if (event.event === 'StepStarted') startedAt.set(event.step, event.at);
    if (index < told) continue;
    if (event.event === 'StepSucceeded' || event.event === 'StepFailed') {
      const since = startedAt.get(event.step);
      const action = actions.get(event.step);
      // A step whose condition held already was never started, and took no time.
      if (since === undefined || action === undefined) continue;
      const outcome = event.event === 'StepSucceeded' ? 'succeeded' : event.outcome;
      news.push({ news: 'step', operation, action, outcome, seconds: secondsBetween(since, event.at) });
    }
    if (event.event === 'RunEnded') {
      const { at, outcome } = event;
      const { recoverySeconds } = runFacts(foldRun(events.slice(0, index + 1)), at);
      news.push({ news: 'ended', run: begin.run, group, operation, outcome, at, recoverySeconds });
    }
  }
  return news;
}
