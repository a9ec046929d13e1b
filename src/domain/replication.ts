/** What an array says about a replication pair, and what hosts need to reach a volume (storage.md B.2, B.3). */
import type { Json } from './canonical.ts';
import type { Instant } from './time.ts';

export type Role =
  | 'source'
  | 'target'
  | 'promoted'
  | 'demoted'
  | 'in-test'
  | 'split'
  | 'unpaired'
  | 'unknown';

export interface PairRef {
  /** Name of the array in sites.yaml that is asked. */
  readonly array: string;
  /** The array's own name of the replicated volume or group. */
  readonly volume: string;
}

/** One moment of the source that the target holds. Only a complete point counts (storage.md B.4.4). */
export interface ReplicaPoint {
  readonly ref: string;
  readonly tag?: string;
  readonly takenAt: Instant;
  readonly clock: 'source' | 'target' | 'array';
  readonly complete: boolean;
  readonly consistency: 'crash' | 'group' | 'unknown';
}

export interface PairView {
  readonly pair: PairRef;
  readonly observedAt: Instant;
  readonly role: Role;
  readonly link: 'up' | 'down' | 'unknown';
  readonly health: { readonly level: 'ok' | 'warn' | 'bad' | 'unknown'; readonly reasons: readonly string[] };
  readonly newestComplete: ReplicaPoint | null;
  readonly writable: boolean | 'unknown';
  /** Shown, never trusted alone. */
  readonly reportedLagSeconds: number | null;
  readonly raw: Json;
}

/** How hosts reach a volume: the address part of a PBD's device_config. */
export interface Exposed {
  readonly kind: 'nfs' | 'iscsi' | 'fc' | 'file' | 'rbd';
  readonly server?: string;
  readonly path?: string;
  readonly portals?: readonly string[];
  readonly iqn?: string;
  readonly scsiId?: string;
}

/** What `promote` must be told as `confirm`: volume and point once more, so that a stale call promotes nothing else. */
export function promotionConfirmation(volume: string, pointRef: string): string {
  return `${volume}@${pointRef}`;
}
