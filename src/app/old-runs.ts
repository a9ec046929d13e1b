/**
 * Journals of exports and verifications of long ago: a daemon writes thousands a week, and their outcomes stand in the
 * ledger. Those of everything else are evidence, and stay for good.
 */
import { foldRun, type Run } from '../domain/run.ts';
import { addSeconds } from '../domain/time.ts';
import { readable, runsToReadMost } from './journals.ts';
import type { AppPorts } from './ports.ts';

/** A heartbeat is not to wait for long: the rest follows an hour later. */
const removedAtOnceMost = 2000;

/**
 * Lets go of those that have ended and are older than `daemon.keep_journals`; returns how many. Of each group stay what
 * its next verification looks back to (the newest ones, and the first export), and what somebody may still go on with.
 */
export async function forgetOldRuns(
  ports: Pick<AppPorts, 'journals' | 'states' | 'clock' | 'settings'>,
): Promise<number> {
  const keepSeconds = ports.settings.daemon?.keepJournalsSeconds;
  if (keepSeconds === undefined) return 0;
  const before = stampOf(addSeconds(ports.clock.now(), -keepSeconds));
  const old = dispensable(await ports.journals.list()).filter((id) => id < before);
  let removed = 0;
  for (const id of old) {
    if (removed >= removedAtOnceMost) break;
    if (!(await isOver(ports, id))) continue;
    await ports.journals.remove(id);
    removed += 1;
  }
  return removed;
}

/** Of these, newest first, the exports and verifications that nobody looks back to; oldest first. */
function dispensable(ids: readonly string[]): string[] {
  const byLabel = new Map<string, string[]>();
  for (const id of ids) {
    const label = /^\d{8}T\d{6}Z-((?:export|verify)-.+)-[0-9a-f]{4}$/.exec(id)?.[1];
    if (label === undefined) continue;
    const alike = byLabel.get(label);
    if (alike === undefined) byLabel.set(label, [id]);
    else alike.push(id);
  }
  return [...byLabel.values()].flatMap((alike) => alike.slice(runsToReadMost, -1)).sort();
}

async function isOver({ journals, states }: Pick<AppPorts, 'journals' | 'states'>, id: string) {
  const events = await readable({ journals }, id);
  // A damaged journal is kept: somebody may want to know what became of it.
  if (events.length === 0) return false;
  const run = foldRun(events);
  return mayGo(run) && !(await (await states()).isCarriedOut(id));
}

const waiting: ReadonlySet<Run['outcome']> = new Set([null, 'stopped', 'stuck']);

/** What the id says is not believed: the plan says what the run was. */
function mayGo({ plan, outcome }: Run): boolean {
  return (plan.operation === 'export' || plan.operation === 'verify') && !waiting.has(outcome);
}

/** As ids of runs begin. */
function stampOf(at: string): string {
  return `${at.replace(/[-:]/g, '').slice(0, 15)}Z`;
}
