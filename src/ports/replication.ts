/**
 * The replication port: one instance per array (storage.md B). Verbs are idempotent by target state; a verb is done
 * when `observe` shows the new role, never because a call returned. Unplanned verbs on the target never talk to the
 * source. Errors are `PortError`.
 */
import type { Exposed, PairRef, PairView, ReplicaPoint } from '../domain/replication.ts';

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
}

export interface Replication {
  readonly array: string;
  identify(signal?: AbortSignal): Promise<ArrayIdentity>;
  /** Read only, from this array's side only. */
  observe(volume: string, signal?: AbortSignal): Promise<PairView>;
  /** On the target: what could be promoted, newest first. */
  points(volume: string, signal?: AbortSignal): Promise<readonly ReplicaPoint[]>;
  /** On the source: cuts a point with this tag and sends it; the same tag twice is one point. Returns when it is complete on the target. */
  syncNow(volume: string, tag: string, signal?: AbortSignal): Promise<ReplicaPoint>;
  /** On the target. `confirm` repeats volume and point, so that a stale plan cannot promote something else. */
  promote(
    volume: string,
    options: { readonly mode: 'planned' | 'unplanned'; readonly point: string; readonly confirm: string },
    signal?: AbortSignal,
  ): Promise<void>;
  /** Makes the volume reachable for these hosts and says how. */
  expose(volume: string, access: Access, signal?: AbortSignal): Promise<Exposed>;
  /** At the source, best effort: read-only or unmapped. */
  fence(volume: string, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export type { PairRef };
