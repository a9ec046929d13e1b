/** The replicated pairs of a group, and what was seen of them. */
import type { Observation, PairObservation } from '../domain/observation.ts';
import type { GroupSettings } from '../domain/settings.ts';

/** The pairs of a group, in the order of its storage, with what was seen of each. */
export function pairsOf(group: GroupSettings, observation: Observation): PairObservation[] {
  return group.storage.map(
    (storage) =>
      observation.pairs.find((pair) => pair.sr === storage.sr) ?? {
        sr: storage.sr,
        source: null,
        target: null,
        points: null,
      },
  );
}

export function alreadyPromoted(pair: PairObservation): boolean {
  return pair.target?.role === 'promoted';
}
