/**
 * The catalog port: recovery points in one or several targets. Objects are content-addressed by the SHA-256 of their
 * clear bytes; a point is sealed by a signed manifest that names the SHA-256 of each object and of the manifest before.
 */

import type {
  CatalogListing,
  PointSummary,
  PruneResult,
  TargetOutcome,
  VerifyResult,
} from '../domain/catalog.ts';
import type { ObjectRef, RecoveryPoint } from '../domain/recovery-point.ts';
import type { RetentionSettings } from '../domain/settings.ts';

export interface Catalog {
  /** Stores bytes in every reachable target; the same bytes are stored once. Synced before it returns. */
  put(bytes: Uint8Array, signal?: AbortSignal): Promise<ObjectRef>;
  /** Many objects at once: compressed, packed and synced together. What is not committed is not stored. */
  batch?(signal?: AbortSignal): Promise<CatalogBatch>;
  putStream(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<ObjectRef>;
  /** Reads and checks an object from the first target that has it whole. */
  get(object: ObjectRef, signal?: AbortSignal): Promise<Uint8Array>;
  /**
   * Which of these objects each target does not hold whole: packs are read and hashed, as `seal` does. A target that
   * cannot be written to is left out; sealing tells of it. Until the next seal, nobody sweeps what was found.
   */
  lacking?(
    objects: readonly ObjectRef[],
    signal?: AbortSignal,
  ): Promise<readonly { readonly target: string; readonly objects: readonly ObjectRef[] }[]>;

  /**
   * Writes the manifest of a point to each target, atomically, then reads the point back from there. One outcome per
   * target: a failing target is loud and costs nothing in the others. Sealing the same point again is a no-op.
   */
  seal(point: RecoveryPoint, signal?: AbortSignal): Promise<readonly TargetOutcome[]>;

  /** Points of a group (of all groups when null), newest first, merged over the targets. Unreadable ones are in `damaged`. */
  list(group: string | null, signal?: AbortSignal): Promise<CatalogListing>;
  read(pointId: string, signal?: AbortSignal): Promise<RecoveryPoint>;
  /** Re-reads everything: manifests, chain, signatures, every object. Names each damage: target, file, what is wrong. */
  verify(
    options: {
      readonly group?: string;
      readonly pointId?: string;
      /** Also decrypts, unpacks and hashes every object; the default when `pointId` is given. */
      readonly deep?: boolean;
      readonly onProgress?: (done: number, total: number) => void;
    },
    signal?: AbortSignal,
  ): Promise<VerifyResult>;
  /** Removes points that the rules let go and objects that nothing names; never the last good point of a group. */
  prune(
    group: string,
    rules: RetentionSettings,
    options: { readonly dryRun: boolean },
    signal?: AbortSignal,
  ): Promise<PruneResult>;
  close(): Promise<void>;
}

export interface CatalogBatch {
  put(bytes: Uint8Array): Promise<ObjectRef>;
  /** Everything put so far is on the disk of every reachable target when it returns. */
  commit(): Promise<void>;
  /** Never throws. */
  abort(): Promise<void>;
}

export type { CatalogListing, PointSummary, PruneResult, TargetOutcome, VerifyResult };
