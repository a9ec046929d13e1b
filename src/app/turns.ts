/** One turn of a job, from its beginning to what is written down of it. The same verbs as by hand, with nobody looking. */
import { join } from 'node:path';
import { exitCodes, OperatorError, PortError, problemOf } from '../domain/errors.ts';
import type { JobName, JobOutcome, JobTurn, LedgerTurn } from '../domain/jobs.ts';
import type { Run, RunOutcome } from '../domain/run.ts';
import type { SelfOutcome } from '../domain/self-rehearsal.ts';
import type { Instant } from '../domain/time.ts';
import { plainPaper } from '../report/paper.ts';
import { statusText } from '../report/status.ts';
import type { PlanRequest } from './app.ts';
import { planRun } from './plan-run.ts';
import type { AppPorts } from './ports.ts';
import { resumeRun, runPlan } from './run-plan.ts';
import { rehearseSelf } from './self-rehearsal.ts';
import { status } from './status.ts';

/** Who answers for runs that nobody asked for by hand. */
export const bySchedule = 'schedule';

/** A turn that the ledger has, and that somebody must carry out now. */
export type BegunTurn = JobName &
  Pick<LedgerTurn, 'id' | 'slot' | 'startedAt' | 'missed' | 'madeUp'> & {
    /** The run of a daemon before this one, which broke off. */
    readonly goesOnWith: string | null;
  };

export interface CarryOutOptions {
  /** Aborted when the daemon is to end: what is under way stops, and its turn stays open for the next daemon. */
  readonly signal: AbortSignal;
  /** The run has begun: its journal exists. */
  readonly onRun?: (run: string) => void;
}

export interface EndedTurn {
  readonly job: JobName['job'];
  readonly group: string | null;
  readonly turn: JobTurn;
  /** Null where no run was begun. */
  readonly run: Run | null;
  /** The daemon was told to end in the middle: the next one goes on. */
  readonly leftOpen: boolean;
}

export interface TakenUp {
  readonly turns: readonly BegunTurn[];
  /** Turns whose end only had to be written down. */
  readonly settled: readonly LedgerTurn[];
}

interface Came {
  readonly outcome: JobOutcome;
  readonly summary: string;
  readonly run: Run | null;
}

export async function carryOutTurn(
  ports: AppPorts,
  begun: BegunTurn,
  options: CarryOutOptions,
): Promise<EndedTurn> {
  const ledger = await ports.clockwork.ledger();
  const noted: Promise<void>[] = [];
  let runId: string | null = begun.goesOnWith;
  const onRun = (run: string): void => {
    runId = run;
    noted.push(ledger.noteRun(begun.id, run));
    options.onRun?.(run);
  };
  const came = await outcomeOf(() => work(ports, begun, { ...options, onRun }), options.signal);
  await Promise.all(noted);
  const at = ports.clock.now();
  const leftOpen = options.signal.aborted && (came.outcome === 'stopped' || came.outcome === 'interrupted');
  if (!leftOpen) await ledger.end(begun.id, { at, outcome: came.outcome, summary: came.summary });
  const { job, group, slot, startedAt, missed, madeUp } = begun;
  return {
    job,
    group,
    turn: {
      slot,
      startedAt,
      endedAt: leftOpen ? null : at,
      outcome: leftOpen ? null : came.outcome,
      run: came.run?.id ?? runId,
      summary: came.summary,
      missed,
      madeUp,
    },
    run: came.run,
    leftOpen,
  };
}

type Options = Required<CarryOutOptions>;

async function work(ports: AppPorts, begun: BegunTurn, options: Options): Promise<Came> {
  const { job, group, goesOnWith } = begun;
  if (job === 'rehearsal') return rehearsal(ports, options);
  if (group === null) throw new Error(`a turn of ${job} has a group`);
  if (goesOnWith !== null && job === 'drill') return cleanedUp(ports, group, goesOnWith, options);
  if (goesOnWith !== null) return cameOf(await goOn(ports, goesOnWith, options));
  switch (job) {
    case 'export':
      return planned(ports, { operation: 'export', group }, options);
    case 'verify':
      return planned(ports, { operation: 'verify', group }, options);
    case 'drill':
      return planned(
        ports,
        { operation: 'drill', group, pointId: null, vms: [], keep: false, decisions: [] },
        options,
      );
    case 'catalog-check':
      return catalogCheck(ports, group, options);
    case 'report':
      return report(ports, group, begun.startedAt, options);
  }
}

async function planned(ports: AppPorts, request: PlanRequest, options: Options): Promise<Came> {
  const plan = await planRun(ports, request, { signal: options.signal });
  const problems = plan.findings.filter((finding) => finding.severity === 'problem');
  const against = [
    ...problems.map(({ what }) => what),
    ...plan.plan.waitingOn.map((what) => `it needs ${what}`),
  ];
  if (against.length > 0) return { outcome: 'blocked', summary: sentence(against), run: null };
  if (plan.plan.steps.length === 0)
    return { outcome: 'done', summary: 'there was nothing left to do', run: null };
  const { signal, onRun } = options;
  const run = await runPlan(ports, plan, {
    by: bySchedule,
    automatic: true,
    signal,
    onEvent: (event) => {
      if (event.event === 'RunStarted') onRun(event.run);
    },
  });
  return cameOf(run);
}

function goOn(ports: AppPorts, run: string, { signal, onRun }: Options): Promise<Run> {
  onRun(run);
  return resumeRun(ports, run, { by: bySchedule, answers: [], signal, onEvent: () => undefined });
}

/** What a drill that broke off has left is taken away; the drill itself is not begun again by a clock. */
async function cleanedUp(ports: AppPorts, group: string, drill: string, options: Options): Promise<Came> {
  const cleanup = await planned(ports, { operation: 'drill-cleanup', group }, options);
  const broke = `drill ${drill} was broken off with the daemon`;
  return cleanup.outcome === 'done' || cleanup.outcome === 'warnings'
    ? {
        ...cleanup,
        outcome: 'interrupted',
        summary: `${broke}; what it had made was taken away${cleanup.run === null ? '' : ` by run ${cleanup.run.id}`}`,
      }
    : { ...cleanup, summary: `${broke}, and its clean-up did not succeed: ${cleanup.summary}` };
}

async function catalogCheck(ports: AppPorts, group: string, { signal }: Options): Promise<Came> {
  const { damage, pointsChecked, targets } = await (await ports.catalog()).verify({ group }, signal);
  const lost = targets.flatMap(({ target, problem }) =>
    problem === null ? [] : [`target ${target}: ${problem.what}`],
  );
  const found = [...damage.map(({ target, file, what }) => `target ${target}, ${file}: ${what}`), ...lost];
  return found.length > 0
    ? { outcome: 'failed', summary: sentence(found), run: null }
    : { outcome: 'done', summary: `${pointsChecked} recovery points were read back whole`, run: null };
}

async function report(ports: AppPorts, group: string, at: Instant, { signal }: Options): Promise<Came> {
  const directory = ports.settings.daemon?.reportsDirectory;
  if (directory === undefined) throw new Error('a report that is scheduled has a directory');
  const standing = await status(ports, { groups: [group] }, { signal });
  const file = join(directory, group, `${at.replace(/[-:]|\.\d+/g, '')}.txt`);
  await ports.clockwork.shelve(file, statusText(standing, plainPaper));
  return { outcome: 'done', summary: `written to ${file}`, run: null };
}

const rehearsalOutcomes: Readonly<Record<SelfOutcome, JobOutcome>> = {
  able: 'done',
  'able-with-warnings': 'warnings',
  unable: 'failed',
};

async function rehearsal(ports: AppPorts, { signal }: Options): Promise<Came> {
  const { outcome, groups } = await rehearseSelf(ports, { signal });
  const unready = groups.filter((group) => group.outcome === 'not-ready').map(({ group }) => group);
  return {
    outcome: rehearsalOutcomes[outcome],
    summary:
      outcome === 'unable'
        ? `Lifeboat could not do its work now${unready.length === 0 ? '' : `, for ${unready.join(', ')}`}`
        : `${groups.length} groups were rehearsed with production closed`,
    run: null,
  };
}

const runOutcomes: Readonly<Record<RunOutcome, JobOutcome>> = {
  done: 'done',
  'done-with-warnings': 'warnings',
  failed: 'failed',
  stuck: 'failed',
  stopped: 'stopped',
  abandoned: 'stopped',
  undone: 'failed',
};

/** What the end of a run means for the turn that began it. */
export function cameOf(run: Run): Came {
  return {
    outcome: run.outcome === null ? 'interrupted' : runOutcomes[run.outcome],
    summary: run.summary ?? `run ${run.id} did not end`,
    run,
  };
}

/** What people can act upon is an outcome; so is a defect: one job that breaks must not take the clock with it. */
async function outcomeOf(act: () => Promise<Came>, signal: AbortSignal): Promise<Came> {
  try {
    return await act();
  } catch (error) {
    if (signal.aborted) return { outcome: 'stopped', summary: 'the daemon was told to end', run: null };
    const refused =
      error instanceof OperatorError &&
      (error.exitCode === exitCodes.blocked || error.exitCode === exitCodes.locked);
    const known = error instanceof OperatorError || error instanceof PortError;
    const what = problemOf(error)?.what ?? (error instanceof Error ? error.message : String(error));
    return {
      outcome: refused ? 'blocked' : 'failed',
      summary: known ? what : `Lifeboat made a mistake of its own: ${what}`,
      run: null,
    };
  }
}

const toldMost = 3;

function sentence(found: readonly string[]): string {
  const more = found.length - toldMost;
  return `${found.slice(0, toldMost).join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
}
