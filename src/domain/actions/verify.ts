/** What verify does: replication held against the RPO, the catalog read back, the sites compared. */
import type { PairAction } from '../plan.ts';
import type { SitesLook } from '../site-look.ts';
import type { Instant } from '../time.ts';

export type VerifyAction =
  /** A point with this tag is cut and has arrived; the same tag twice is one point. */
  | { readonly do: 'sync-replication'; readonly pair: PairAction; readonly tag: string }
  /** Role, health and lag of both sides; fails when what the target holds does not keep the promise. */
  | { readonly do: 'verify-replication'; readonly pair: PairAction; readonly rpoSeconds: number }
  /** Manifests, chain, signatures and packs of the group in every target; with `deep`, every byte. */
  | { readonly do: 'verify-catalog'; readonly group: string; readonly deep: boolean }
  /** Both sites as they are now; its output is what the next verification compares with. */
  | {
      readonly do: 'compare-sites';
      readonly production: string;
      readonly recovery: string;
      /** Null when nobody looked before. */
      readonly since: { readonly at: Instant; readonly by: string; readonly looks: SitesLook } | null;
      /** Whose VMs are named by a difference; null without one. */
      readonly pointId: string | null;
    }
  /** All checks of a failover in quiet times, with the rehearsal of its import; fails when something blocks. */
  | { readonly do: 'verify-readiness'; readonly group: string; readonly site: string };

export type VerifyCondition = { readonly is: 'synced'; readonly pair: PairAction; readonly tag: string };
