/**
 * What a person has done on an array, seen before anything is built upon it: the last point brought over by hand, and
 * the replication turned round by hand. A word that nothing shows is not followed (invariants 4 and 7).
 */
import type { Json } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PairAction } from '../../domain/plan.ts';
import type { ReplicaPoint } from '../../domain/replication.ts';
import { type Instant, secondsBetween } from '../../domain/time.ts';
import type { ActionOf, ActResult, StepContext, Verdict } from '../handlers.ts';
import { isDetached } from './detach.ts';
import type { World } from './world.ts';

/** When the SR was seen without a plugged PBD: what is cut from then on holds every write of the pool. */
export async function noteLetGo(
  world: World,
  { site, sr }: ActionOf<'note-let-go'>,
  { signal }: StepContext,
): Promise<ActResult> {
  const detached = await isDetached(world, site, sr, signal);
  if (detached.holds) return { output: { letGoAt: world.clock.now() }, warnings: [] };
  throw unverified(`SR ${sr.nameLabel} is not let go at site ${site}`, `site ${site}`, [detached.because]);
}

/**
 * The last point, as far as it can be seen: the pool has the SR plugged nowhere, the source shows itself as closed to
 * writes, and the target holds a whole point with the tag of this run that was cut after the SR had been let go, by the
 * source's own clock.
 */
export async function seeFinalSync(
  world: World,
  action: ActionOf<'see-final-sync'>,
  context: StepContext,
): Promise<ActResult> {
  const { pair, site, sr, tag } = action;
  const { signal } = context;
  const reasons: string[] = [];
  const detached = await isDetached(world, site, sr, signal);
  if (!detached.holds) reasons.push(detached.because);
  const source = await world.array(pair.source.array);
  const { role } = await source.observe(pair.source.volume, signal);
  if (role !== 'demoted')
    reasons.push(`array ${pair.source.array} shows volume ${pair.source.volume} as ${role}, not demoted`);
  const points = await (await world.array(pair.target.array)).points(pair.target.volume, signal);
  const point = points.find((candidate) => candidate.tag === tag);
  if (point?.complete !== true)
    reasons.push(
      `array ${pair.target.array} ${point === undefined ? `holds no point called ${tag}` : `holds point ${tag}, and not all of it`}`,
    );
  else reasons.push(...(await tooEarly(world, action, point, context)));
  if (point === undefined || reasons.length > 0)
    throw unverified(
      `The last point of volume ${pair.source.volume}, brought over by hand, cannot be seen at the other side`,
      `array ${pair.target.array}, volume ${pair.target.volume}`,
      reasons,
    );
  const { array, volume } = pair.target;
  const output: Json = { array, volume, point: { ...point } };
  return { output, warnings: [] };
}

/** Why this point may lack the last writes; a clock that runs ahead is taken off, to the disadvantage of the point. */
async function tooEarly(
  world: World,
  { pair, letGoBy }: ActionOf<'see-final-sync'>,
  point: ReplicaPoint,
  context: StepContext,
): Promise<string[]> {
  if (point.clock !== 'source')
    return [`point ${point.ref} bears the time of its arrival, so nobody knows when it was cut`];
  const letGoAt = letGoAtOf(context.output(letGoBy));
  if (letGoAt === null) return [`step ${letGoBy} has not noted when the SR was let go`];
  const before = world.clock.now();
  const { clock } = await (await world.array(pair.source.array)).identify(context.signal);
  const aheadSeconds = secondsBetween(before, clock);
  const sinceSeconds = secondsBetween(letGoAt, point.takenAt) - aheadSeconds;
  return sinceSeconds >= 0
    ? []
    : [`point ${point.ref} was cut at ${point.takenAt}, before the SR was let go at ${letGoAt}`];
}

function letGoAtOf(output: Json): Instant | null {
  const at = output !== null && typeof output === 'object' && 'letGoAt' in output ? output['letGoAt'] : null;
  return typeof at === 'string' ? at : null;
}

function unverified(what: string, object: string, known: readonly string[]): OperatorError {
  return new OperatorError({
    code: 'DR-SYNC-UNVERIFIED',
    what,
    where: { object },
    known: [...known, 'nothing was promoted'],
    next: 'Bring it in order on the array, then resume the run; or go back with `lifeboat run undo`',
  });
}

export async function seeReversed(
  world: World,
  { pair }: ActionOf<'see-reversed'>,
  { signal, run }: StepContext,
): Promise<ActResult> {
  const seen = await isReversedByHand(world, pair, signal);
  if (seen.holds) return { output: seen.output ?? null, warnings: [] };
  throw new OperatorError({
    code: 'DR-REVERSE-UNSEEN',
    what: `The replication of SR ${pair.sr} is not seen to go the other way`,
    where: { object: `array ${pair.target.array}, volume ${pair.target.volume}` },
    known: [seen.because, 'the sites have not changed places'],
    next: `Turn it round on the array (or state what you did), then resume the run: \`lifeboat run resume ${run}\``,
  });
}

/** Both sides in their new roles, as their arrays show them or as people state them. */
export async function isReversedByHand(
  world: World,
  { source, target }: PairAction,
  signal: AbortSignal,
): Promise<Verdict> {
  const now = await (await world.array(target.array)).observe(target.volume, signal);
  const then = await (await world.array(source.array)).observe(source.volume, signal);
  const wrong = [
    ...(now.role === 'source' ? [] : [`array ${target.array} shows volume ${target.volume} as ${now.role}`]),
    ...(then.role === 'target'
      ? []
      : [`array ${source.array} shows volume ${source.volume} as ${then.role}, not target`]),
  ];
  return wrong.length === 0
    ? { holds: true, output: { source: now.role, target: then.role } }
    : { holds: false, because: wrong.join('; ') };
}
