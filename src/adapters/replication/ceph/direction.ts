/** After a promotion: what one side alone holds, and which way replication goes. */
import type { PortError } from '../../../domain/errors.ts';
import { type Divergence, discardConfirmation, type ReplicaPoint } from '../../../domain/replication.ts';
import type { Discarding } from '../../../ports/replication.ts';
import { imageSpec } from './options.ts';
import { cutPoint, cutsIn } from './points.ts';
import { bytesSince } from './promotion.ts';
import type { Rbd } from './rbd.ts';
import { type ImageState, promotionOf } from './state.ts';

export async function divergenceOf(
  rbd: Rbd,
  own: ImageState,
  other: ImageState,
  signal: AbortSignal | undefined,
): Promise<Divergence> {
  const spec = imageSpec(own.image);
  const theirs = new Set(cutsIn(other.snapshots).map(({ name }) => name));
  const cuts = cutsIn(own.snapshots);
  const common = cuts.find(({ name }) => theirs.has(name));
  if (common === undefined) return withoutCommonCut(own, other, spec);
  const pointsLost = cuts.filter(({ takenAt }) => takenAt > common.takenAt).length;
  const bytesLost = await bytesSince(rbd, spec, common.name, signal);
  const says = [
    `${spec} and its other side have in common what was taken at ${common.takenAt}`,
    bytesLost === 0
      ? 'nothing was written here since'
      : `what was written here since is lost: ${bytesLost ?? 'an unknown number of'} bytes in ${pointsLost} points`,
    'after an unplanned promotion Ceph copies the whole image when replication is turned round',
  ];
  return { common: cutPoint(common), pointsLost, bytesLost, says };
}

/** The promotion remembers its point even where no snapshot of ours marks it. */
function withoutCommonCut(own: ImageState, other: ImageState, spec: string): Divergence {
  const mark = promotionOf(own) ?? promotionOf(other);
  const common: ReplicaPoint | null =
    mark === null
      ? null
      : { ref: mark.point, takenAt: mark.takenAt, clock: 'source', complete: true, consistency: 'crash' };
  const since =
    common === null ? 'no point that both sides are known to hold' : `the point of ${common.takenAt}`;
  return {
    common,
    pointsLost: null,
    bytesLost: null,
    says: [`${spec} goes back to ${since}; Ceph cannot tell how much was written since`],
  };
}

/** Throws unless nothing is lost, or a person has named exactly what is. */
export function mayDiscard(
  rbd: Rbd,
  verb: 'demote' | 'reverse' | 'restore',
  volume: string,
  options: Discarding,
  divergence: Divergence,
): void {
  if (!options.discard && divergence.bytesLost === 0) return;
  const { common, says } = divergence;
  if (!options.discard)
    throw rbd.problem('refused', {
      code: 'DR-ARRAY-DIVERGED',
      what: `${volume} holds writes that its other side does not have, and ${verb} would throw them away`,
      known: says,
      next: 'Save what is needed, then make a plan that names what it throws away',
    });
  if (options.confirm !== discardConfirmation(verb, volume, common?.ref ?? null))
    throw wrongConfirmation(rbd, `what ${verb} of volume ${volume} throws away`);
}

export function wrongConfirmation(rbd: Rbd, what: string): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-CONFIRM',
    what: `The confirmation does not name ${what}`,
    next: 'Make a new plan; this one was made for something else',
  });
}
