/**
 * What a daemon that died, or was told to end, has left half done. Exports and verifications go on by themselves; of a
 * drill the remains are taken away; a failover or a migration is never taken up without a person.
 */
import { type Answered, jobKey, type LedgerTurn } from '../domain/jobs.ts';
import { foldRun, type Run } from '../domain/run.ts';
import { addSeconds } from '../domain/time.ts';
import { runLabel } from '../execute/executor.ts';
import { readable } from './journals.ts';
import type { AppPorts } from './ports.ts';
import { type BegunTurn, bySchedule, cameOf, type TakenUp } from './turns.ts';

/** A turn that takes the daemon with it is not tried for ever. */
const triesAtMost = 2;

/** To be called once, before the first turn begins, by the one who is the daemon. */
export async function takeUp(ports: AppPorts): Promise<TakenUp> {
  const ledger = await ports.clockwork.ledger();
  const answered = await ledger.answered();
  const turns: BegunTurn[] = [];
  const settled: LedgerTurn[] = [];
  for (const turn of await ledger.open()) {
    const run = await runOf(ports, turn);
    if (run !== null && (await goesOn(ports, turn, run))) {
      await ledger.noteRun(turn.id, run.id);
      turns.push({ ...turn, goesOnWith: run.id });
      continue;
    }
    const { outcome, summary } =
      run === null || run.outcome === null
        ? {
            outcome: 'interrupted' as const,
            summary: 'the daemon ended in the middle, and nothing had come of it',
          }
        : cameOf(run);
    const again = run === null ? await openAgain(ports, turn, answered.get(jobKey(turn))) : null;
    const at = ports.clock.now();
    await ledger.end(turn.id, { at, outcome, summary, ...(again === null ? {} : { again }) });
    settled.push({ ...turn, endedAt: at, outcome, summary, run: run?.id ?? null });
  }
  return { turns, settled };
}

async function goesOn(ports: AppPorts, { job, group }: LedgerTurn, run: Run): Promise<boolean> {
  const states = await ports.states();
  const state = group === null ? null : await states.get(group);
  if (state?.frozen != null || (await states.isCarriedOut(run.id))) return false;
  const unfinished = run.outcome === null || run.outcome === 'stopped';
  if (job === 'drill') return state?.drill?.run === run.id;
  return (job === 'export' || job === 'verify') && unfinished;
}

/** The run that the turn began. A crash may have come between the first line of the journal and the ledger. */
async function runOf(ports: AppPorts, { job, group, run, startedAt }: LedgerTurn): Promise<Run | null> {
  if (run !== null) return folded(ports, run);
  if (group === null || (job !== 'export' && job !== 'verify' && job !== 'drill')) return null;
  const label = `-${runLabel(job, group)}-`;
  const since = startedAt.replace(/[-:]/g, '').slice(0, 15);
  for (const id of await ports.journals.list()) {
    if (!id.includes(label) || id.slice(0, since.length) < since) continue;
    const found = await folded(ports, id);
    if (found?.by === bySchedule && found.plan.group === group) return found;
  }
  return null;
}

async function folded(ports: AppPorts, id: string): Promise<Run | null> {
  const events = await readable(ports, id);
  return events.length === 0 ? null : foldRun(events);
}

/** The slot is open again, unless it has broken off often enough to be the reason itself. */
async function openAgain(
  ports: AppPorts,
  turn: LedgerTurn,
  answered: Answered | undefined,
): Promise<Answered | null> {
  if (answered === undefined || answered.until !== turn.slot) return null;
  const ledger = await ports.clockwork.ledger();
  const before = await ledger.turns({ group: turn.group, limit: 50 });
  const tries = before.filter(
    ({ job, slot, outcome }) => job === turn.job && slot === turn.slot && outcome === 'interrupted',
  ).length;
  return tries + 1 >= triesAtMost ? null : { ...answered, until: addSeconds(turn.slot, -0.001) };
}
