/** The two sites with both SRs in one consistency group of their arrays. */
import type { PairObservation } from '../../src/domain/observation.ts';
import type { ReplicaPoint } from '../../src/domain/replication.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import { pairs, shop } from './two-sites.ts';

export const together: GroupSettings = {
  ...shop,
  storage: shop.storage.map(({ sr, source, target }) => ({
    sr,
    source: { ...source, consistencyGroup: 'shop' },
    target: { ...target, consistencyGroup: 'shop-copy' },
  })),
};

/** What each replica holds, in the order of the group's storage. */
export function holding(...points: readonly (readonly ReplicaPoint[] | null)[]): PairObservation[] {
  return pairs([]).map((pair, index) => ({ ...pair, points: points[index] ?? null }));
}
