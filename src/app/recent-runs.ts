/**
 * Runs in short. A journal is a file, and a daemon leaves thousands of them: who asks how groups stand reads the newest of
 * each operation of each group, and those that cannot change any more only once.
 */
import { foldRun, type Run, type RunOutcome } from '../domain/run.ts';
import type { RunBrief } from '../domain/status.ts';
import { runLabel } from '../execute/executor.ts';
import type { Journals } from '../ports/system.ts';
import { readable } from './journals.ts';
import type { AppPorts } from './ports.ts';

/** More than one: what was begun last may not have ended. */
const newestOfEach = 3;

/** Outcomes after which nobody can go on with a run. */
const final: ReadonlySet<RunOutcome | null> = new Set(['done', 'undone', 'abandoned']);

const remembered = new WeakMap<Journals, ReadonlyMap<string, RunBrief>>();

/** The newest runs of each operation of each group, newest first. */
export async function recentBriefs(ports: Pick<AppPorts, 'journals' | 'settings'>): Promise<RunBrief[]> {
  const ids = newestIds(
    await ports.journals.list(),
    ports.settings.groups.map(({ name }) => name),
  );
  const known = remembered.get(ports.journals);
  const found: RunBrief[] = [];
  for (const id of ids) {
    const brief = known?.get(id) ?? (await briefNamed(ports, id));
    if (brief !== null) found.push(brief);
  }
  const settled = found.filter(({ outcome }) => final.has(outcome));
  remembered.set(ports.journals, new Map(settled.map((brief) => [brief.id, brief])));
  return found;
}

/** Of these, newest first, the newest of each label; ids in another form are few, and all stay. */
function newestIds(ids: readonly string[], groups: readonly string[]): string[] {
  const forms = new Map<string, number>();
  for (const group of groups) {
    const form = runLabel('export', group);
    forms.set(form, (forms.get(form) ?? 0) + 1);
  }
  // Groups that differ in capitals or dots alone share their labels.
  const room = newestOfEach * Math.max(1, ...forms.values());
  const taken = new Map<string, number>();
  return ids.filter((id) => {
    const label = /^\d{8}T\d{6}Z-(.+)-[0-9a-f]{4}$/.exec(id)?.[1];
    if (label === undefined) return true;
    const before = taken.get(label) ?? 0;
    taken.set(label, before + 1);
    return before < room;
  });
}

async function briefNamed(ports: Pick<AppPorts, 'journals'>, id: string): Promise<RunBrief | null> {
  const events = await readable(ports, id);
  // A run whose first line did not fit on the disk never began.
  return events.length === 0 ? null : briefOf(foldRun(events));
}

/** Every run that has a readable journal, newest first. */
export async function briefs(ports: Pick<AppPorts, 'journals'>): Promise<RunBrief[]> {
  const found: RunBrief[] = [];
  for (const id of await ports.journals.list()) {
    const brief = await briefNamed(ports, id);
    if (brief !== null) found.push(brief);
  }
  return found;
}

export function briefOf(run: Run): RunBrief {
  return {
    id: run.id,
    operation: run.plan.operation,
    group: run.plan.group,
    by: run.by,
    startedAt: run.startedAt,
    endedAt: run.endedAt,
    outcome: run.outcome,
    summary: run.summary,
    ...measuredLag(run),
  };
}

/** Nothing, unless a canary was found on every SR that it was written to. */
function measuredLag({ plan, steps }: Run): Pick<RunBrief, 'measuredLagSeconds'> {
  const lags = plan.steps.flatMap(({ id, action }) => {
    if (action.do !== 'find-canary') return [];
    const output = steps.get(id)?.output ?? null;
    const lag =
      output !== null && typeof output === 'object' && 'lagSeconds' in output ? output['lagSeconds'] : null;
    return [typeof lag === 'number' ? lag : null];
  });
  return lags.length === 0 || lags.includes(null)
    ? {}
    : { measuredLagSeconds: Math.max(...lags.map((lag) => lag ?? 0)) };
}
