/** The replicated pairs of a group, and what was seen of them. */
import { keptTogether } from '../domain/consistency-group.ts';
import type { Observation, PairObservation } from '../domain/observation.ts';
import type { GroupSettings, ReplicatedSr } from '../domain/settings.ts';

/**
 * The pairs of a group, in the order of its storage, with what was seen of each. Of a consistency group only the points
 * that are whole on all of its volumes are points at all, so that every choice among them is one moment.
 */
export function pairsOf(group: GroupSettings, observation: Observation): PairObservation[] {
  return group.storage.map((storage) => {
    const seen = seenOf(storage, observation);
    const others = keptTogether(group.storage, storage).filter((one) => one !== storage);
    if (seen.points === null || others.length === 0) return seen;
    const held = others.map((one) => seenOf(one, observation).points);
    if (held.some((points) => points === null)) return { ...seen, points: null };
    const whole = held.map(
      (points) => new Set((points ?? []).filter(({ complete }) => complete).map(({ ref }) => ref)),
    );
    return { ...seen, points: seen.points.filter(({ ref }) => whole.every((refs) => refs.has(ref))) };
  });
}

function seenOf({ sr }: ReplicatedSr, observation: Observation): PairObservation {
  return observation.pairs.find((pair) => pair.sr === sr) ?? { sr, source: null, target: null, points: null };
}

export function alreadyPromoted(pair: PairObservation): boolean {
  return pair.target?.role === 'promoted';
}
