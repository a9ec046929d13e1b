/**
 * The storage handed over (storage.md B.2 to B.4): the last point brought over and verified before anything is promoted,
 * the old source demoted, the replication turned round. A verb is done when the array shows it.
 */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PairAction } from '../../domain/plan.ts';
import { type Divergence, discardConfirmation, type ReplicaPoint } from '../../domain/replication.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { promotePoint } from './replica.ts';
import type { World } from './world.ts';

export async function finalSync(
  world: World,
  action: ActionOf<'final-sync'>,
  context: StepContext,
): Promise<ActResult> {
  const { source } = action.pair;
  const array = await world.array(source.array);
  const point = await array.prepare(source.volume, action.tag, context.signal);
  return { output: synced(action.pair, await arrived(world, action.pair, point.ref, context)), warnings: [] };
}

/** The word of the source is not enough: the target itself must hold the point, whole (invariant 4). */
async function arrived(
  world: World,
  { target }: PairAction,
  ref: string,
  { signal }: StepContext,
): Promise<ReplicaPoint> {
  const array = await world.array(target.array);
  const point = (await array.points(target.volume, signal)).find((candidate) => candidate.ref === ref);
  if (point?.complete === true) return point;
  throw new OperatorError({
    code: 'DR-SYNC-UNVERIFIED',
    what: `The last point of the volume has not arrived whole on array ${target.array}`,
    where: { object: `array ${target.array}, volume ${target.volume}` },
    known: [
      point === undefined ? `it does not hold point ${ref}` : `it holds point ${ref}, and not all of it`,
      'nothing was promoted',
    ],
    next: 'Look at the replication between the arrays, then resume the run',
  });
}

function synced({ target }: PairAction, point: ReplicaPoint): Json {
  return { array: target.array, volume: target.volume, point: { ...point } };
}

export async function isFinallySynced(
  world: World,
  pair: PairAction,
  tag: string,
  signal: AbortSignal,
): Promise<Verdict> {
  const { source, target } = pair;
  const { role } = await (await world.array(source.array)).observe(source.volume, signal);
  if (role !== 'demoted')
    return { holds: false, because: `array ${source.array} shows volume ${source.volume} as ${role}` };
  const points = await (await world.array(target.array)).points(target.volume, signal);
  const point = points.find((candidate) => candidate.tag === tag && candidate.complete);
  return point === undefined
    ? { holds: false, because: `array ${target.array} does not hold the last point, tagged ${tag}, whole` }
    : { holds: true, output: synced(pair, point) };
}

export async function unprepare(
  world: World,
  { pair: { source } }: ActionOf<'unprepare'>,
  context: StepContext,
): Promise<ActResult> {
  await (await world.array(source.array)).unprepare(source.volume, context.signal);
  return { output: null, warnings: [] };
}

export async function promoteSynced(
  world: World,
  action: ActionOf<'promote-synced'>,
  context: StepContext,
): Promise<ActResult> {
  const { pair, syncedBy } = action;
  const point = await arrived(world, pair, pointSyncedBy(syncedBy, pair, context), context);
  return promotePoint(world, pair, point, 'planned', context);
}

/** Invariant 4: without a final sync that this run verified, a planned migration promotes nothing. */
function pointSyncedBy(stepId: string, { target }: PairAction, context: StepContext): string {
  const output = context.output(stepId);
  const point =
    output !== null && typeof output === 'object' && 'point' in output ? output['point'] : undefined;
  const ref = point !== null && typeof point === 'object' && 'ref' in point ? point['ref'] : undefined;
  if (typeof ref === 'string') return ref;
  throw new OperatorError({
    code: 'DR-SYNC-UNVERIFIED',
    what: `Volume ${target.volume} is not promoted: its final synchronisation was not verified by this run`,
    where: { object: `array ${target.array}` },
    known: [`step ${stepId} names no point that has arrived`],
    next: 'Resume the run, so that the synchronisation is done again; or go back with `lifeboat run undo`',
  });
}

export async function demoteSource(
  world: World,
  action: ActionOf<'demote-source'>,
  context: StepContext,
): Promise<ActResult> {
  const { source } = action.pair;
  const array = await world.array(source.array);
  const divergence = await array.divergence(source.volume, context.signal);
  assertAsPlanned(action, divergence, context);
  const common = divergence.common?.ref ?? null;
  await array.demote(
    source.volume,
    { confirm: discardConfirmation('demote', source.volume, common), discard: action.discard },
    context.signal,
  );
  return { output: { common, thrownAway: action.discard ? [...divergence.says] : [] }, warnings: [] };
}

/** A person agreed to go back to one point; another one would throw away something else. */
function assertAsPlanned(
  { pair, discard, common }: ActionOf<'demote-source'>,
  divergence: Divergence,
  { plan }: StepContext,
): void {
  if (!discard || common === null || divergence.common?.ref === common) return;
  throw new OperatorError({
    code: 'DR-DIVERGENCE-CHANGED',
    what: `What array ${pair.source.array} alone holds of volume ${pair.source.volume} is not what the plan said`,
    where: { object: `array ${pair.source.array}` },
    known: [
      `the plan goes back to point ${common}, the array to ${divergence.common?.ref ?? 'none'}`,
      ...divergence.says,
      'nothing was thrown away',
    ],
    next: `Make a new plan and read what it throws away: \`lifeboat plan ${plan.operation} ${plan.group}\``,
  });
}

/** `target` where a crash came after the replication was reversed. */
export async function isDemoted(world: World, pair: PairAction, signal: AbortSignal): Promise<Verdict> {
  const { array, volume } = pair.source;
  const { role } = await (await world.array(array)).observe(volume, signal);
  return role === 'demoted' || role === 'target'
    ? { holds: true, output: { role } }
    : { holds: false, because: `array ${array} shows volume ${volume} as ${role}` };
}

export async function reverseReplication(
  world: World,
  action: ActionOf<'reverse-replication'>,
  context: StepContext,
): Promise<ActResult> {
  const { target } = action.pair;
  await finishDemotion(world, action.pair, context);
  const array = await world.array(target.array);
  const { common } = await array.divergence(target.volume, context.signal);
  const point = await array.reverse(
    target.volume,
    action.tag,
    { confirm: discardConfirmation('reverse', target.volume, common?.ref ?? null), discard: action.discard },
    context.signal,
  );
  return { output: { point: { ...point } }, warnings: [] };
}

/**
 * A source that was closed for the last point, or fenced, shows the role of a demoted one and is none yet: some arrays
 * take no points before the verb itself was called, which is quiet where nothing is left to do. Nothing is thrown away
 * here that the plan's own demotion does not name.
 */
async function finishDemotion(world: World, pair: PairAction, context: StepContext): Promise<void> {
  const { array: name, volume } = pair.source;
  const array = await world.array(name);
  const { role } = await array.observe(volume, context.signal);
  if (role !== 'demoted') return;
  const planned = context.plan.steps
    .map(({ action }) => action)
    .find((action) => action.do === 'demote-source' && action.pair.source.volume === volume);
  const { discard, common } = planned?.do === 'demote-source' ? planned : { discard: false, common: null };
  await array.demote(
    volume,
    { confirm: discardConfirmation('demote', volume, common), discard },
    context.signal,
  );
}

export async function isReversed(
  world: World,
  pair: PairAction,
  tag: string,
  signal: AbortSignal,
): Promise<Verdict> {
  const { source, target } = pair;
  const { role } = await (await world.array(target.array)).observe(target.volume, signal);
  if (role !== 'source')
    return { holds: false, because: `array ${target.array} shows volume ${target.volume} as ${role}` };
  const points = await (await world.array(source.array)).points(source.volume, signal);
  const point = points.find((candidate) => candidate.tag === tag && candidate.complete);
  return point === undefined
    ? { holds: false, because: `array ${source.array} does not hold the first point back, tagged ${tag}` }
    : { holds: true, output: { point: { ...point } } };
}

/** The array of a site that was given up: it takes no more writes, if it can be told so. */
export async function fenceStorage(
  world: World,
  { pair: { source } }: ActionOf<'fence-storage'>,
  context: StepContext,
): Promise<ActResult> {
  const array = await world.array(source.array);
  await array.fence(source.volume, context.signal);
  const { role, writable } = await array.observe(source.volume, context.signal);
  return { output: { array: source.array, volume: source.volume, role, writable }, warnings: [] };
}
