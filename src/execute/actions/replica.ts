/** The replica: recorded, promoted, exposed (design, failover 3 and 4; invariant 2). */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PairAction } from '../../domain/plan.ts';
import {
  type Exposed,
  type PairView,
  promotionConfirmation,
  type ReplicaPoint,
} from '../../domain/replication.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import type { Access } from '../../ports/replication.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { outputsOf, type World } from './world.ts';

/** What will be lost is written down before it is lost; the point must still be there, and complete. */
export async function recordReplica(
  world: World,
  action: ActionOf<'record-replica'>,
  context: StepContext,
): Promise<ActResult> {
  const { pair, expected } = action;
  const array = await world.array(pair.target.array);
  const points = await array.points(pair.target.volume, context.signal);
  const found = points.find((point) => point.ref === expected.ref);
  if (found === undefined || !found.complete) {
    throw new OperatorError({
      code: 'DR-REPLICA-POINT',
      what: `Point ${expected.ref} of volume ${pair.target.volume} is ${found === undefined ? 'gone' : 'no longer complete'}`,
      where: { object: `array ${pair.target.array}` },
      known: [`${points.filter((point) => point.complete).length} complete points are there`],
      next: `Make a new plan: \`lifeboat plan ${context.plan.operation} ${context.plan.group}\``,
    });
  }
  const newer = points.filter((point) => point.complete && point.takenAt > found.takenAt).length;
  const ageSeconds = secondsBetween(found.takenAt, context.startedAt);
  return {
    output: {
      array: pair.target.array,
      volume: pair.target.volume,
      ref: found.ref,
      takenAt: found.takenAt,
      ageSeconds,
    },
    warnings:
      // A drill clones what it was planned with, and loses nothing by it: replication goes on meanwhile.
      newer === 0 || context.plan.operation === 'drill'
        ? []
        : [
            `${newer} newer complete points of SR ${pair.sr} have arrived since the plan was made; the plan's point, ${formatDuration(ageSeconds)} old, is used`,
          ],
  };
}

export async function promote(
  world: World,
  action: ActionOf<'promote'>,
  context: StepContext,
): Promise<ActResult> {
  const { pair, point } = action;
  assertRecorded(pair, point.ref, context);
  const mode = context.plan.operation === 'failover' ? 'unplanned' : 'planned';
  return promotePoint(world, pair, point, mode, context);
}

export async function promotePoint(
  world: World,
  pair: PairAction,
  point: ReplicaPoint,
  mode: 'planned' | 'unplanned',
  context: StepContext,
): Promise<ActResult> {
  const array = await world.array(pair.target.array);
  const { volume } = pair.target;
  await array.promote(
    volume,
    { mode, point: point.ref, confirm: promotionConfirmation(volume, point.ref) },
    context.signal,
  );
  // A verb is done when the array shows the new role, never because the call returned (storage.md B.4).
  for (let pause = 0.5; ; pause = Math.min(pause * 2, 5)) {
    const view = await array.observe(volume, context.signal);
    // What the array complains of now (no peer, nothing replicates) is what a failover is; the output keeps its words.
    if (view.role === 'promoted') return { output: viewOutput(view), warnings: [] };
    await world.clock.sleep(pause, context.signal);
  }
}

/** Invariant 2: nothing is promoted before point and age stand in the journal. */
function assertRecorded(pair: PairAction, ref: string, context: StepContext): void {
  const recorded = outputsOf('record-replica', context).some(
    ({ action, output }) =>
      output !== null &&
      action.pair.target.array === pair.target.array &&
      action.pair.target.volume === pair.target.volume &&
      action.expected.ref === ref,
  );
  if (recorded) return;
  throw new OperatorError({
    code: 'DR-REPLICA-UNRECORDED',
    what: `Volume ${pair.target.volume} is not promoted: its point ${ref} was not recorded by this run`,
    where: { object: `array ${pair.target.array}` },
    next: 'Make a new plan; a replica is promoted only after its point and age are written down',
  });
}

export async function isPromoted(world: World, pair: PairAction, signal: AbortSignal): Promise<Verdict> {
  const array = await world.array(pair.target.array);
  const view = await array.observe(pair.target.volume, signal);
  return view.role === 'promoted'
    ? { holds: true, output: viewOutput(view) }
    : {
        holds: false,
        because: `array ${pair.target.array} shows volume ${pair.target.volume} as ${view.role}`,
      };
}

function viewOutput(view: PairView): Json {
  return {
    role: view.role,
    writable: view.writable,
    observedAt: view.observedAt,
    health: [...view.health.reasons],
  };
}

export async function expose(
  world: World,
  action: ActionOf<'expose'>,
  context: StepContext,
): Promise<ActResult> {
  const access = await accessOf(await world.hypervisor(action.site), context.signal);
  const array = await world.array(action.pair.target.array);
  const exposed = await array.expose(action.pair.target.volume, access, context.signal);
  return { output: JSON.parse(JSON.stringify({ exposed })) as Json, warnings: [] };
}

/** All hosts of the pool, as an array lets them in. */
export async function accessOf(hypervisor: Hypervisor, signal: AbortSignal): Promise<Access> {
  const pool = await hypervisor.observe(signal);
  return {
    addresses: pool.hosts.map((host) => host.address).filter((address) => address !== ''),
    iqns: pool.hosts.flatMap((host) => host.iscsiIqn ?? []),
  };
}

export function exposedBy(stepId: string, context: StepContext): Exposed {
  const output = context.output(stepId);
  if (output === null || typeof output !== 'object' || !('exposed' in output)) {
    throw new OperatorError({
      code: 'DR-EXPOSE-MISSING',
      what: `Step ${stepId} has not said where the volume can be reached`,
      next: 'Resume the run, so that the step is done again',
    });
  }
  // Written by `expose` of the same run.
  return output.exposed as unknown as Exposed;
}
