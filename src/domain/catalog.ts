/** What the catalog answers: listings, proofs and clean-ups (the port is src/ports/catalog.ts). */
import type { Problem } from './errors.ts';
import type { Instant } from './time.ts';

export interface TargetOutcome {
  readonly target: string;
  readonly ok: boolean;
  readonly problem: Problem | null;
}

export interface CatalogListing {
  readonly points: readonly PointSummary[];
  readonly damaged: readonly { readonly id: string; readonly target: string; readonly reason: string }[];
  readonly targets: readonly TargetOutcome[];
}

export interface PointSummary {
  readonly id: string;
  readonly group: string;
  readonly takenAt: Instant;
  readonly vmCount: number;
  readonly failureCount: number;
  /** Sealed, signature and chain right, all objects present, no VM failed. Bytes of objects are re-read by `verify`. */
  readonly good: boolean;
  readonly targets: readonly string[];
  readonly bytes: number;
}

export interface VerifyResult {
  readonly pointsChecked: number;
  readonly objectsChecked: number;
  readonly bytesRead: number;
  readonly damage: readonly {
    readonly target: string;
    readonly file: string;
    readonly point: string | null;
    readonly what: string;
  }[];
  readonly targets: readonly TargetOutcome[];
  /** Not damage: leftovers of a crash, packs that nothing needs. */
  readonly notes?: readonly { readonly target: string; readonly file: string; readonly what: string }[];
}

export interface PruneResult {
  readonly removed: readonly { readonly id: string; readonly takenAt: Instant }[];
  readonly kept: readonly {
    readonly id: string;
    readonly takenAt: Instant;
    readonly reasons: readonly string[];
  }[];
  readonly bytesFreed: number;
  /** What was not removed for now, and why. */
  readonly notes?: readonly string[];
  readonly targets?: readonly TargetOutcome[];
}
