/** What `lifeboat catalog import` made of a backup of other tools. */
import type { TargetOutcome } from './catalog.ts';
import type { ForeignOrigin } from './recovery-point.ts';
import type { Instant } from './time.ts';

export interface ForeignImport {
  /** Of the point that was made; of the one that would be made when nothing was kept. */
  readonly pointId: string;
  readonly group: string;
  readonly takenAt: Instant;
  readonly origin: ForeignOrigin;
  /** VMs of the group that the backup holds, by name. */
  readonly taken: readonly string[];
  /** VMs of the backup that are not of the group, by name. */
  readonly left: readonly string[];
  /** Files that are no backup of a VM although they should be one; they keep the point from being good. */
  readonly failures: readonly { readonly file: string; readonly reason: string }[];
  /** What a person must know of what was read. */
  readonly remarks: readonly string[];
  /** What hinders a failover from this point until somebody settles it. */
  readonly open: readonly string[];
  /** One outcome per target of the catalog; null for a look that kept nothing. */
  readonly targets: readonly TargetOutcome[] | null;
}
