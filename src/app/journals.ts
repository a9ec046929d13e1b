/** Journals as history: what earlier runs found, told by their events. */
import { OperatorError } from '../domain/errors.ts';
import { foldRun, type Run, type RunEvent } from '../domain/run.ts';
import type { SiteLook, SitesLook } from '../domain/site-look.ts';
import type { Instant } from '../domain/time.ts';
import { runLabel } from '../execute/executor.ts';
import type { AppPorts } from './ports.ts';

/**
 * Nothing for a journal that is damaged, or that was let go of a moment ago: an old run must not hide how everything else
 * stands. Who asks for that run is told.
 */
export async function readable(ports: Pick<AppPorts, 'journals'>, id: string): Promise<readonly RunEvent[]> {
  try {
    return await ports.journals.read(id);
  } catch (error) {
    if (error instanceof OperatorError && unreadable.has(error.code)) return [];
    throw error;
  }
}

const unreadable: ReadonlySet<string> = new Set(['DR-JOURNAL-BROKEN', 'DR-RUN-UNKNOWN']);

/** What the verifications of a group have left behind for later ones; null where none did. */
export interface VerificationHistory {
  /** When a verification last read a recovery point back whole; before any, when the first export began. */
  readonly unverifiedSince: Instant | null;
  readonly looked: { readonly at: Instant; readonly by: string; readonly looks: SitesLook } | null;
}

/** Further back, sites that were never both seen are not looked for. */
export const runsToReadMost = 30;

export async function verificationHistory(
  ports: Pick<AppPorts, 'journals'>,
  group: string,
): Promise<VerificationHistory> {
  const all = await ports.journals.list();
  const ids = all.filter((id) => id.includes(`-${runLabel('verify', group)}-`));
  let readBackAt: Instant | null = null;
  let newest: { readonly at: Instant; readonly by: string } | null = null;
  let production: SiteLook | null = null;
  let recovery: SiteLook | null = null;
  let read = 0;
  for (const id of ids) {
    if (read >= runsToReadMost || (readBackAt !== null && production !== null && recovery !== null)) break;
    const events = await readable(ports, id);
    const [first] = events;
    if (first?.event !== 'RunStarted' || first.plan.group !== group) continue;
    read += 1;
    const run = foldRun(events);
    readBackAt ??= endOf(run, 'verify-point')?.at ?? null;
    const looked = endOf(run, 'compare-sites');
    if (looked === null) continue;
    // Written by compareSites of src/execute/actions/verify.ts, and vouched for by the journal's chain.
    const { looks } = looked.output as unknown as { readonly looks: SitesLook };
    if (looks.production !== null || looks.recovery !== null) newest ??= { at: looked.at, by: `run ${id}` };
    production ??= looks.production;
    recovery ??= looks.recovery;
  }
  return {
    unverifiedSince: readBackAt ?? (await firstExport(ports, all, group)),
    looked: newest === null ? null : { ...newest, looks: { production, recovery } },
  };
}

async function firstExport(
  ports: Pick<AppPorts, 'journals'>,
  ids: readonly string[],
  group: string,
): Promise<Instant | null> {
  for (const id of ids.filter((each) => each.includes(`-${runLabel('export', group)}-`)).reverse()) {
    const [first] = await readable(ports, id);
    if (first?.event === 'RunStarted' && first.plan.group === group) return first.at;
  }
  return null;
}

function endOf(run: Run, kind: 'verify-point' | 'compare-sites') {
  for (const step of run.plan.steps) {
    const state = run.steps.get(step.id);
    if (step.action.do === kind && state?.status === 'succeeded' && state.endedAt !== null)
      return { at: state.endedAt, output: state.output };
  }
  return null;
}
