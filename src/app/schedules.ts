/** The clock over the application: what is due, who takes it up, how every job stands. The ledger is the only memory. */
import { calendarText } from '../domain/calendar.ts';
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import { type Answered, type JobName, type JobStanding, jobKey, type LedgerTurn } from '../domain/jobs.ts';
import { oriented } from '../domain/orientation.ts';
import type { DaemonSettings, Settings } from '../domain/settings.ts';
import { addSeconds, type Instant } from '../domain/time.ts';
import type { AuditedBy } from '../ports/system.ts';
import { startable } from '../schedule/choose.ts';
import { type Anchor, type DueTurn, due, longestInterval, nextDue } from '../schedule/due.ts';
import { groupsNamed } from './groups.ts';
import { forgetOldRuns } from './old-runs.ts';
import type { AppPorts } from './ports.ts';
import type { BegunTurn, CarryOutOptions, EndedTurn, TakenUp } from './turns.ts';

export interface ClockVerbs {
  /** Every job of these groups (of all, and of Lifeboat itself, for an empty list), as it stands now. */
  standings(request: { readonly groups: readonly string[] }): Promise<readonly JobStanding[]>;
  /** Newest first; of one group, or of everything. */
  turns(request: { readonly group: string | null; readonly limit: number }): Promise<readonly LedgerTurn[]>;
  /** The right to be the daemon of this state. `DR-DAEMON-RUNNING` (exit code 11) when another process has it. */
  claim(takeFrom?: AuditedBy): Promise<{ release(): Promise<void> }>;
  /** Takes what is due and may begin beside what is under way. Each turn that is returned must be carried out. */
  begin(underWay: readonly JobName[]): Promise<Begun>;
  /** What a daemon before this one has left half done. Each turn that is returned must be carried out. */
  takeUp(): Promise<TakenUp>;
  /** Does it, and writes down what came of it; throws only when that cannot be written. */
  carryOut(turn: BegunTurn, options: CarryOutOptions): Promise<EndedTurn>;
  /** Lets go of turns, and of journals of exports and verifications, that nobody asks for any more. */
  tidy(): Promise<TidiedUp>;
}

export interface TidiedUp {
  readonly journals: number;
}

export interface Begun {
  readonly turns: readonly BegunTurn[];
  /** Turns for which nothing is done: the group is frozen, or the time is over. */
  readonly passed: readonly (LedgerTurn & { readonly summary: string })[];
  readonly anchors: readonly Anchor[];
  /** Due turns that wait for their group or for a pool. */
  readonly waiting: number;
}

const daemonLock = '(daemon)';
/** As long as the reports of a quarter may ask for them. */
const keepTurnsSeconds = 100 * 86_400;

export async function standings(
  ports: AppPorts,
  request: { readonly groups: readonly string[] },
): Promise<readonly JobStanding[]> {
  const groups = groupsNamed(ports.settings, request.groups).map(({ name }) => name);
  const { jobs, spreadSeconds } = daemonSettings(ports.settings);
  const ledger = await ports.clockwork.ledger();
  const [answered, newest] = await Promise.all([ledger.answered(), ledger.newest()]);
  const now = ports.clock.now();
  return jobs
    .filter(({ group }) => (group === null ? request.groups.length === 0 : groups.includes(group)))
    .map((job) => ({
      job: job.job,
      group: job.group,
      schedule: calendarText(job.calendar),
      intervalSeconds: longestInterval(job.calendar, now),
      nextAt: nextDue(job, answered.get(jobKey(job)), now, spreadSeconds),
      last: newest.get(jobKey(job))?.last ?? null,
      lastGoodAt: newest.get(jobKey(job))?.lastGoodAt ?? null,
    }));
}

export async function claimDaemon(
  ports: AppPorts,
  takeFrom?: AuditedBy,
): Promise<{ release(): Promise<void> }> {
  const states = await ports.states();
  if (takeFrom !== undefined) await states.breakLock(daemonLock, takeFrom);
  try {
    return await states.lock(daemonLock, 'daemon');
  } catch (error) {
    if (!(error instanceof OperatorError) || error.code !== 'DR-LOCK-HELD') throw error;
    throw new OperatorError(
      {
        code: 'DR-DAEMON-RUNNING',
        what: 'A daemon works on this state already',
        where: { file: ports.settings.stateDirectory },
        known: error.problems.flatMap(({ known }) => known ?? []),
        next: 'Leave it to that one, or stop it first: `systemctl stop lifeboat`. From a machine that is gone for good the work is taken over with `lifeboat daemon --take-over "REASON"`',
      },
      { exitCode: exitCodes.locked },
    );
  }
}

export async function beginDue(ports: AppPorts, underWay: readonly JobName[]): Promise<Begun> {
  const { jobs, spreadSeconds, jobsPerPool } = daemonSettings(ports.settings);
  const ledger = await ports.clockwork.ledger();
  const answered = new Map(await ledger.answered());
  const now = ports.clock.now();
  const { turns, anchors } = due(jobs, answered, now, spreadSeconds);
  for (const { answered: from, ...name } of anchors) {
    await ledger.anchor(name, from);
    answered.set(jobKey(name), from);
  }
  const states = new Map((await (await ports.states()).all()).map((state) => [state.group, state]));
  const idle = turns.filter((turn) => !underWay.some((other) => jobKey(other) === jobKey(turn)));
  const reasonOf = (turn: DueTurn): string | null => reasonToPass(turn, states);
  const passed: Begun['passed'][number][] = [];
  for (const turn of idle) {
    const summary = reasonOf(turn);
    if (summary === null) continue;
    const id = await take(ports, turn, answered, now);
    if (id === null) continue;
    await ledger.end(id, { at: now, outcome: 'skipped', summary });
    passed.push({ ...begunTurn(turn, id, now), endedAt: now, outcome: 'skipped', run: null, summary });
  }
  const wanted = idle.filter((turn) => reasonOf(turn) === null);
  const limits = {
    perPool: jobsPerPool,
    sitesOf: (name: JobName) => placesOf(ports.settings, name, states),
  };
  const begun: BegunTurn[] = [];
  for (const turn of startable(wanted, underWay, limits)) {
    const id = await take(ports, turn, answered, now);
    if (id !== null) begun.push({ ...begunTurn(turn, id, now), goesOnWith: null });
  }
  return { turns: begun, passed, anchors, waiting: wanted.length - begun.length };
}

/** Of turns the newest of each job stays, however old; what stays of journals, old-runs.ts says. */
export async function tidy(ports: AppPorts): Promise<TidiedUp> {
  await (await ports.clockwork.ledger()).forget(addSeconds(ports.clock.now(), -keepTurnsSeconds));
  return { journals: await forgetOldRuns(ports) };
}

/** Settings that come from no file have no jobs. */
function daemonSettings({
  daemon,
}: Settings): Pick<DaemonSettings, 'jobs' | 'spreadSeconds' | 'jobsPerPool'> {
  return daemon ?? { jobs: [], spreadSeconds: 0, jobsPerPool: 1 };
}

async function take(
  ports: AppPorts,
  turn: DueTurn,
  answered: ReadonlyMap<string, Answered>,
  now: Instant,
): Promise<number | null> {
  const from = answered.get(jobKey(turn));
  if (from === undefined) throw new Error(`${jobKey(turn)} is due and was never counted`);
  const { job, group, slot, missed, madeUp } = turn;
  const ledger = await ports.clockwork.ledger();
  return ledger.begin({ job, group, slot, startedAt: now, missed, madeUp }, from, { ...from, until: slot });
}

function begunTurn({ job, group, slot, missed, madeUp }: DueTurn, id: number, startedAt: Instant) {
  return { id, job, group, slot, startedAt, missed, madeUp };
}

function reasonToPass(turn: DueTurn, states: ReadonlyMap<string, GroupState>): string | null {
  if (!turn.wanted) return `its time was over, and its schedule says that it is not made up for`;
  const frozen = turn.group === null ? null : (states.get(turn.group)?.frozen ?? null);
  // A frozen group is left alone; that its points can still be read may be proved all the same.
  if (frozen === null || turn.job === 'catalog-check' || turn.job === 'report') return null;
  return `group ${turn.group} is frozen by ${frozen.by} since ${frozen.at}: ${frozen.reason}`;
}

/** Whatever bears the load of a job: pools by their sites, and the catalog. */
function placesOf(
  settings: Settings,
  { job, group: name }: JobName,
  states: ReadonlyMap<string, GroupState>,
): readonly string[] {
  const configured = settings.groups.find((group) => group.name === name);
  if (configured === undefined) return [];
  const group = oriented(configured, states.get(configured.name) ?? null);
  switch (job) {
    case 'export':
      return [group.production];
    case 'verify':
    case 'drill':
      return [group.production, group.recovery];
    case 'catalog-check':
      return ['(catalog)'];
    case 'report':
    case 'rehearsal':
      return [];
  }
}
