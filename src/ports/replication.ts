/**
 * The replication port: one instance per array (storage.md B). An adapter is made with the pairs of the settings, so
 * that it knows the other side of each of its volumes; the planner decides which array each call goes to. Verbs are
 * idempotent by target state and leave a mark on the array; a verb is done when `observe` shows the new role, never
 * because a call returned. Unplanned verbs on the target never talk to the source. Errors are `PortError`, with the
 * array's own words in `peerCode` and `peerParams`.
 */
import type { PortError } from '../domain/errors.ts';
import type {
  Capabilities,
  Divergence,
  DrillLeftover,
  Exposed,
  FoundPair,
  PairRef,
  PairView,
  ReplicaPoint,
} from '../domain/replication.ts';

export interface ArrayIdentity {
  readonly vendor: string;
  readonly model: string;
  readonly serial: string;
  /** The array's own clock. */
  readonly clock: string;
}

/** Which hosts may reach a volume. */
export interface Access {
  readonly addresses: readonly string[];
  readonly iqns: readonly string[];
  readonly wwns?: readonly string[];
}

/** A verb that may throw away data: `confirm` is `discardConfirmation(…)` of what `divergence` said. */
export interface Discarding {
  readonly confirm: string;
  /** False: refused (kind `refused`) when this side holds anything that the other one does not. */
  readonly discard: boolean;
}

export interface Replication {
  readonly array: string;
  identify(signal?: AbortSignal): Promise<ArrayIdentity>;
  capabilities(signal?: AbortSignal): Promise<Capabilities>;
  /** Every pair that this array takes part in: a constant number of round trips, however many there are. */
  discover(signal?: AbortSignal): Promise<readonly FoundPair[]>;
  /** Read only, from this array's side only. */
  observe(volume: string, signal?: AbortSignal): Promise<PairView>;
  /** Many volumes in a constant number of round trips; each with its view or its own error. */
  observeAll(
    volumes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, PairView | PortError>>;
  /** On the target: what could be promoted or cloned, newest first. */
  points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]>;
  /** On the source: cuts a point with this tag and sends it; the same tag twice is one point. Returns when it is complete on the target. */
  syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint>;
  /** On the source: no write is accepted from here on; the last point is cut with this tag and sent. Returns when it is complete on the target. */
  prepare(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint>;
  /** On the source, after `prepare` and before any promotion: writes are accepted again. */
  unprepare(volume: string, signal?: AbortSignal): Promise<void>;
  /**
   * On the target. `confirm` repeats volume and point, so that a stale plan cannot promote something else. `planned` is
   * refused unless the source is prepared and the point is its last one.
   */
  promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void>;
  /** On either side after a promotion: the newest common point, and what this side alone holds. */
  divergence(volume: string, signal?: AbortSignal): Promise<Divergence>;
  /** On the old source: stops taking writes and becomes the replica-to-be. What it alone holds is kept unless discarded. */
  demote(volume: string, options: Discarding, signal?: AbortSignal): Promise<void>;
  /** On the promoted side, once the old source is demoted: replicates the other way; returns when a point with this tag has arrived there. */
  reverse(volume: string, tag: string, options: Discarding, signal?: AbortSignal): Promise<ReplicaPoint>;
  /** On the promoted side: undoes the promotion; the original direction again, what was written here is thrown away. */
  restore(volume: string, options: Discarding, signal?: AbortSignal): Promise<void>;
  /** For people: by which names hosts find a LUN, and who is at it now. Absent where volumes are no LUNs. */
  describe?(volume: string, signal?: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** Makes the volume reachable for these hosts and says how. */
  expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed>;
  /** Takes the volume away from these hosts again. */
  conceal(volume: string, access: Access, signal?: AbortSignal): Promise<void>;
  /** On the target: a writable copy of a point beside the replica, marked with the drill, reachable for these hosts. Again with the same drill: the same copy. */
  drillStart(
    volume: string,
    options: { readonly drill: string; readonly point: string; readonly access: Access },
    signal?: AbortSignal,
  ): Promise<Exposed>;
  /** Removes the copy of this drill and nothing else; quiet when there is none. */
  drillStop(volume: string, drill: string, signal?: AbortSignal): Promise<void>;
  /** Copies with our mark, found on the array and not in our records. */
  drillList(signal?: AbortSignal): Promise<readonly DrillLeftover[]>;
  /** At the source, best effort: read-only or unmapped. */
  fence(volume: string, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export type { PairRef };
