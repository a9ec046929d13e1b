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

/** What the pair is doing besides its role; `unknown` where the array does not tell. */
export type Activity =
  | 'idle'
  | 'initializing'
  | 'transferring'
  | 'quiesced'
  | 'promoting'
  | 'resyncing'
  | 'paused'
  | 'failed'
  | 'unknown';

export interface PairRef {
  /** Name of the array in sites.yaml that is asked. */
  readonly array: string;
  /** The array's own name of the replicated volume or group. */
  readonly volume: string;
}

/** One moment of the source that the target holds. Only a complete point counts (storage.md B.4.4). */
export interface ReplicaPoint {
  /** The point's own identity: a GUID, a serial, never a name that can be given twice. */
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
  readonly activity?: Activity;
  readonly link: 'up' | 'down' | 'unknown';
  readonly health: { readonly level: 'ok' | 'warn' | 'bad' | 'unknown'; readonly reasons: readonly string[] };
  readonly newestComplete: ReplicaPoint | null;
  readonly writable: boolean | 'unknown';
  /** Shown, never trusted alone. */
  readonly reportedLagSeconds: number | null;
  /** The array's own answer, as evidence; without secrets. */
  readonly raw: Json;
}

/**
 * The link of a pair as its sides see it. A replica that must never wait for its source cannot tell, so one side that
 * knows is enough; null for a side that was not seen.
 */
export function linkOf(source: PairView | null, target: PairView | null): PairView['link'] {
  const said = [source?.link, target?.link];
  return said.includes('down') ? 'down' : said.includes('up') ? 'up' : 'unknown';
}

/** How hosts reach a volume: the address part of a PBD's device_config. */
export interface Exposed {
  readonly kind: 'nfs' | 'iscsi' | 'fc' | 'file' | 'rbd' | 'smb' | 'cephfs' | 'gluster';
  readonly server?: string;
  readonly path?: string;
  readonly portals?: readonly string[];
  readonly iqn?: string;
  readonly lun?: number;
  readonly scsiId?: string;
}

/**
 * What an array can do, asked of it and never assumed. A verb that is not there is absent from plans and printed as a
 * hand-off to a person.
 */
export interface Capabilities {
  /** A point can be cut and sent on request. */
  readonly syncNow: boolean;
  /** How a drill gets its copy: a clone beside the replica, the replica itself in a test mode, or not at all. */
  readonly drill: 'clone' | 'in-place' | 'none';
  /** A drill holds up the replication while it lasts. */
  readonly drillPausesTransfer: boolean;
  /** An older point than the newest can be promoted. */
  readonly promoteToPoint: boolean;
  /** The source can be made to refuse writes before the last point is cut. */
  readonly prepare: boolean;
  /** How the direction is turned after a promotion. */
  readonly reverse: 'incremental' | 'full' | 'none';
  readonly restore: boolean;
  readonly consistencyGroups: boolean;
  readonly fence: boolean;
  readonly expose: 'lun' | 'nfs' | 'file' | 'none';
  /**
   * Verbs that a person carries out on this array, each with the sentence that tells how; `{volume}`, `{array}`,
   * `{point}`, `{drill}`, `{tag}` and `{hosts}` stand for what the plan knows. Absent where nobody is needed.
   */
  readonly handOffs?: Readonly<Partial<Record<HandOffVerb, string>>>;
  /** By volume: what further names in these sentences stand for. */
  readonly handOffNames?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** True where all that it shows is what people state: good enough to wait for, and never a proof. */
  readonly stated?: boolean;
}

/** `expose`: asked before the array is, which then says where hosts find what the person has shown. */
export type HandOffVerb = 'prepare' | 'promote' | 'expose' | 'reverse' | 'drillStart' | 'drillStop';

/** A pair as one array lists it. */
export interface FoundPair {
  readonly volume: string;
  readonly role: Role;
  /** The other side as this array knows it: serial or address, and its name of the volume; null when it does not tell. */
  readonly peer: { readonly array: string; readonly volume: string } | null;
}

/** What two sides that both took writes have in common, and what would be lost by going back to it (storage.md B.4.10). */
export interface Divergence {
  /** Newest point that both sides hold; null when there is none and only a full copy helps. */
  readonly common: ReplicaPoint | null;
  /** Points and bytes of this side that are not on the other one; null where the array cannot tell. */
  readonly pointsLost: number | null;
  readonly bytesLost: number | null;
  /** Sentences for the person who decides. */
  readonly says: readonly string[];
}

/** A copy that Lifeboat made for a drill, found by its mark on the array. */
export interface DrillLeftover {
  readonly volume: string;
  readonly drill: string;
  /** The array's own name of the copy. */
  readonly name: string;
  readonly madeAt: Instant | null;
}

/** What `promote` must be told as `confirm`: volume and point once more, so that a stale call promotes nothing else. */
export function promotionConfirmation(volume: string, pointRef: string): string {
  return `${volume}@${pointRef}`;
}

/** What `demote`, `reverse` and `restore` must be told: the verb, the volume, and the common point it falls back to. */
export function discardConfirmation(
  verb: 'demote' | 'reverse' | 'restore',
  volume: string,
  commonRef: string | null,
): string {
  return `${verb} ${volume} to ${commonRef ?? 'nothing'}`;
}
