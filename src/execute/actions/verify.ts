/** A verification: replication, catalog, sites and readiness, each held against what was promised (design, verify). */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError, PortError, type Problem } from '../../domain/errors.ts';
import type { Finding } from '../../domain/finding.ts';
import type { PairAction } from '../../domain/plan.ts';
import { linkOf, type PairView, type ReplicaPoint } from '../../domain/replication.ts';
import { lookOf, type SiteLook } from '../../domain/site-look.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import type { Replication } from '../../ports/replication.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { groupOf, type Verifier, type World } from './world.ts';

/** Nobody waits in a verification for what does not answer: that is what it has to tell. */
function lookOnce<T>(look: () => Promise<T>): Promise<T> {
  return withoutWaiting(['unreachable', 'busy'], look);
}

/** An error of these kinds is final: trying again until the step runs out of time would only hold up the alarm. */
async function withoutWaiting<T>(kinds: readonly PortError['kind'][], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PortError && kinds.includes(error.kind))
      throw new OperatorError(error.problem, { cause: error });
    throw error;
  }
}

export async function syncReplication(
  world: World,
  { pair, tag }: ActionOf<'sync-replication'>,
  context: StepContext,
): Promise<ActResult> {
  const array = await world.array(pair.source.array);
  // Behind another transfer it is worth waiting, at a link that is down it is not.
  const point = await withoutWaiting(['unreachable'], () =>
    array.syncNow(pair.source.volume, tag, context.signal),
  );
  return { output: pointOutput(pair, point), warnings: [] };
}

export async function isSynced(
  world: World,
  pair: PairAction,
  tag: string,
  signal: AbortSignal,
): Promise<Verdict> {
  const array = await world.array(pair.target.array);
  const points = await withoutWaiting(['unreachable'], () => heldPoints(array, pair.target.volume, signal));
  const point = points.find((candidate) => candidate.tag === tag && candidate.complete);
  return point === undefined
    ? {
        holds: false,
        because: `array ${pair.target.array} does not hold the new point, tagged ${tag}, whole`,
      }
    : { holds: true, output: pointOutput(pair, point) };
}

/** A replica that the first point has yet to make holds none. */
async function heldPoints(
  array: Replication,
  volume: string,
  signal: AbortSignal,
): Promise<readonly ReplicaPoint[]> {
  try {
    return await array.points(volume, signal);
  } catch (error) {
    if (error instanceof PortError && error.problem.code === 'DR-ARRAY-VOLUME') return [];
    throw error;
  }
}

function pointOutput(pair: PairAction, point: ReplicaPoint): Json {
  return { sr: pair.sr, array: pair.target.array, ref: point.ref, takenAt: point.takenAt };
}

export async function verifyReplication(
  world: World,
  { pair, rpoSeconds }: ActionOf<'verify-replication'>,
  context: StepContext,
): Promise<ActResult> {
  const { signal } = context;
  const array = await world.array(pair.target.array);
  const target = await lookOnce(() => array.observe(pair.target.volume, signal));
  const points = await lookOnce(() => array.points(pair.target.volume, signal));
  const [newest] = points
    .filter((point) => point.complete)
    .sort((a, b) => (a.takenAt < b.takenAt ? 1 : a.takenAt > b.takenAt ? -1 : 0));
  const ageSeconds = newest === undefined ? null : secondsBetween(newest.takenAt, world.clock.now());
  const source = await lookAtSource(world, pair, signal);
  const link = linkOf(source.view, target);
  const broken = brokenPromise(pair, { target, link, points, ageSeconds, rpoSeconds });
  if (broken !== null) throw new OperatorError(broken);
  return {
    output: {
      sr: pair.sr,
      role: target.role,
      link,
      health: target.health.level,
      newestPoint: newest?.ref ?? null,
      takenAt: newest?.takenAt ?? null,
      ageSeconds,
      rpoSeconds,
    },
    warnings: [
      ...complaintsOf(pair, target),
      ...(link === 'up' ? [] : [`the replication link of SR ${pair.sr} is ${link}`]),
      ...(await clockComplaints(world, array, signal)),
      ...source.complaints,
    ],
  };
}

interface SeenReplica {
  readonly target: PairView;
  readonly link: PairView['link'];
  readonly points: readonly ReplicaPoint[];
  /** Of the newest complete point; null when there is none. */
  readonly ageSeconds: number | null;
  readonly rpoSeconds: number;
}

function brokenPromise(
  { sr, source, target: { array, volume } }: PairAction,
  { target, link, points, ageSeconds, rpoSeconds }: SeenReplica,
): Problem | null {
  const where = { object: `array ${array}` };
  const { reasons } = target.health;
  if (target.role !== 'target')
    return {
      code: 'DR-REPLICA-ROLE',
      what: `Volume ${volume} of array ${array} is ${target.role}, not a replica of SR ${sr}`,
      where,
      known: reasons,
      next: 'Look at the replication on both arrays before anything is promoted.',
    };
  if (ageSeconds === null)
    return {
      code: 'DR-REPLICA-NONE',
      what: `Array ${array} holds no complete point of SR ${sr}`,
      where,
      known: [`${points.length} points, none complete`, ...reasons],
      next: 'Wait for the first synchronisation to end, or look at the replication on the array.',
    };
  if (ageSeconds <= rpoSeconds) return null;
  return {
    code: 'DR-REPLICA-OLD',
    what: `The replica of SR ${sr} is ${formatDuration(ageSeconds)} old, the RPO is ${formatDuration(rpoSeconds)}`,
    where,
    known: [`replication link ${link}`, ...reasons],
    next: `Look at the replication of volume ${source.volume} on array ${source.array}.`,
  };
}

function complaintsOf({ sr, target }: PairAction, view: PairView): string[] {
  const { level, reasons } = view.health;
  return [
    ...(level === 'ok'
      ? []
      : [
          `array ${target.array} calls the replication of SR ${sr} ${level}: ${reasons.join('; ') || 'no reason given'}`,
        ]),
  ];
}

/** The age of a point is a difference between clocks: one that is wrong hides a loss. */
const offsetWorthAWordSeconds = 10;

async function clockComplaints(world: World, array: Replication, signal: AbortSignal): Promise<string[]> {
  const asked = world.clock.now();
  const { clock } = await lookOnce(() => array.identify(signal));
  // An array that does not tell its time judges no point by it either.
  if (Number.isNaN(Date.parse(clock))) return [];
  const ahead = secondsBetween(world.clock.now(), clock);
  const behind = secondsBetween(clock, asked);
  const offset = Math.max(ahead, behind);
  if (offset <= offsetWorthAWordSeconds) return [];
  return [
    `the clock of array ${array.array} is ${formatDuration(offset)} ${ahead > 0 ? 'ahead' : 'behind'}: ages of replicas are told wrong by as much. Next: set the clocks by NTP`,
  ];
}

/** A source that does not answer may be cut off from here alone: the replica's age tells whether points still come. */
async function lookAtSource(
  world: World,
  { sr, source }: PairAction,
  signal: AbortSignal,
): Promise<{ readonly view: PairView | null; readonly complaints: readonly string[] }> {
  try {
    const array = await world.array(source.array);
    const view = await array.observe(source.volume, signal);
    const clock = await clockComplaints(world, array, signal);
    const wrongRole = `volume ${source.volume} of array ${source.array} is ${view.role}, not the source of SR ${sr}`;
    return { view, complaints: view.role === 'source' ? clock : [...clock, wrongRole] };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof PortError || error instanceof OperatorError)) throw error;
    const problem = error instanceof PortError ? error.problem : error.problems[0];
    const unseen = `the source of SR ${sr} could not be looked at: ${problem?.what}. Next: ${problem?.next}`;
    return { view: null, complaints: [unseen] };
  }
}

/** Damage in one target is told; that the newest point is whole somewhere is a step of its own. */
export async function verifyCatalog(
  world: World,
  action: ActionOf<'verify-catalog'>,
  context: StepContext,
): Promise<ActResult> {
  const catalog = await world.catalog();
  const result = await catalog.verify({ group: action.group, deep: action.deep }, context.signal);
  const lost = result.targets.filter((target) => !target.ok);
  if (lost.length === result.targets.length && lost.length > 0)
    throw new OperatorError(
      lost.flatMap((target) => target.problem ?? []).length > 0
        ? lost.flatMap((target) => target.problem ?? [])
        : {
            code: 'DR-CATALOG-NO-TARGET',
            what: 'No target of the catalog can be read',
            next: 'Check the targets with `lifeboat catalog verify`',
          },
    );
  return {
    output: {
      pointsChecked: result.pointsChecked,
      objectsChecked: result.objectsChecked,
      bytesRead: result.bytesRead,
      damaged: result.damage.length,
      targets: result.targets.map(({ target, ok }) => ({ target, ok })),
    },
    warnings: [
      ...lost.map(
        ({ target, problem }) =>
          `catalog target ${target} cannot be read: ${problem?.what ?? 'no reason given'}. Next: ${problem?.next ?? 'look at it'}`,
      ),
      ...result.damage.map(
        ({ target, file, what }) =>
          `catalog target ${target}: ${file}: ${what}. Next: run lifeboat catalog verify ${action.group}`,
      ),
    ],
  };
}

export async function compareSites(
  world: World,
  action: ActionOf<'compare-sites'>,
  context: StepContext,
): Promise<ActResult> {
  const { signal } = context;
  const unseen: string[] = [];
  const lookAt = async (site: string): Promise<SiteLook | null> => {
    try {
      return lookOf(await (await world.hypervisor(site)).observe(signal));
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PortError || error instanceof OperatorError)) throw error;
      const problem = error instanceof PortError ? error.problem : error.problems[0];
      unseen.push(`site ${site} could not be looked at: ${problem?.what}. Next: ${problem?.next}`);
      return null;
    }
  };
  const [production, recovery] = await Promise.all([lookAt(action.production), lookAt(action.recovery)]);
  const looks = { production, recovery };
  const drift =
    action.since === null ? [] : await driftSince(world, action, action.since.looks, looks, context);
  return {
    output: asJson({ looks, since: action.since?.at ?? null, differences: drift }),
    warnings: [
      ...unseen.sort(),
      ...drift.map(
        ({ what, vms, next }) =>
          `${what}${vms.length === 0 ? '' : ` (VMs: ${vms.join(', ')})`}. Next: ${next}`,
      ),
    ],
  };
}

async function driftSince(
  world: World,
  { pointId }: ActionOf<'compare-sites'>,
  before: Parameters<Verifier['drift']>[1],
  now: Parameters<Verifier['drift']>[2],
  context: StepContext,
): Promise<readonly Finding[]> {
  const group = groupOf(world, context.plan.group);
  const point = pointId === null ? null : await (await world.catalog()).read(pointId, context.signal);
  return verifierOf(world).drift(group, before, now, point);
}

/** A failover that would be blocked is a promise that does not hold: the verification fails, and says by what. */
export async function verifyReadiness(
  world: World,
  action: ActionOf<'verify-readiness'>,
  context: StepContext,
): Promise<ActResult> {
  const findings = await lookOnce(() => verifierOf(world).readiness(action.group, context.signal));
  const problems = findings.filter((finding) => finding.severity === 'problem');
  const warnings = findings.filter((finding) => finding.severity === 'warning');
  if (problems.length > 0)
    throw new OperatorError({
      code: 'DR-VERIFY-NOT-READY',
      what: `A failover of group ${action.group} to site ${action.site} would be blocked by ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`,
      known: problems.map(({ code, what }) => `${what} [${code}]`),
      next: `See each with its evidence and its remedy: lifeboat check ${action.group}`,
    });
  return {
    output: asJson({ problems: 0, warnings: warnings.length, findings }),
    warnings: warnings.map(({ code, what, next }) => `${what} [${code}]. Next: ${next}`),
  };
}

function verifierOf(world: World): Verifier {
  if (world.verifier === undefined) throw new Error('this program carries out no verification');
  return world.verifier;
}

function asJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}
