/** In what two sites do not fit together now, and which VMs that touches. What one side does not tell is no difference. */
import type { Difference } from '../domain/drift.ts';
import type { Instant } from '../domain/time.ts';
import { hostDifferences } from './hosts.ts';
import { networkDifferences } from './networks.ts';
import type { SitePair } from './pairs.ts';
import { paperDifferences } from './papers.ts';
import { storageDifferences } from './storage.ts';

export type { PairedGroup, SitePair, WatchedVm } from './pairs.ts';

/** What breaks something first, then by aspect and object: the same sites give the same list. */
export function differencesOf(pair: SitePair, now: Instant): Difference[] {
  const found = [
    ...networkDifferences(pair),
    ...storageDifferences(pair),
    ...hostDifferences(pair),
    ...paperDifferences(pair, now),
  ];
  const rank = ({ breaks, aspect, object, id }: Difference): string =>
    [breaks ? 0 : 1, aspect, object, id].join('\u0000');
  return found.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}
