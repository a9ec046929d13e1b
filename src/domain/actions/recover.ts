/**
 * The metadata that travelled with the storage: read from the metadata backup on a clone of the replica, where the catalog
 * has nothing (xapi.md 5). The clone is made, attached and taken away as in a drill.
 */
import type { HostOfSr } from '../plan.ts';
import type { Uuid } from '../pool.ts';

export type RecoverAction =
  /** The clone is attached to the coordinator under the SR uuid that is found on it: no catalog tells what it is. */
  | {
      readonly do: 'attach-found-clone';
      readonly site: string;
      readonly drill: string;
      /** As the settings name it: by uuid or by name. */
      readonly sr: string;
      readonly clonedBy: string;
      readonly host: HostOfSr;
    }
  /** Reads the backup's disk of this SR and keeps what was asked for in the catalog. */
  | {
      readonly do: 'read-backup';
      readonly site: string;
      readonly group: string;
      readonly sr: string;
      readonly attachedBy: string;
      readonly wish: BackupWish;
    }
  /** Says what all of the SRs together held; fails when none of them held a backup. */
  | { readonly do: 'judge-backups'; readonly group: string; readonly readBy: readonly string[] }
  /** Unplugs and forgets every SR that bears the mark of this drill. */
  | { readonly do: 'forget-found-clones'; readonly site: string; readonly drill: string };

export type RecoverCondition = {
  readonly is: 'found-clones-forgotten';
  readonly site: string;
  readonly drill: string;
};

/** What a person wants from a metadata backup. */
export interface BackupWish {
  /**
   * `newest`: the newest date that is whole, and those after it that are not; `list`: nothing is kept, the dates are
   * told; else these dates.
   */
  readonly dates: 'newest' | 'list' | readonly string[];
  /** VMs of the group by its rules, those with a disk on the SR of the backup, or all of them. */
  readonly vms: 'group' | 'sr' | 'all';
  /**
   * A disk that a person names instead of the one with the deterministic uuid: guests may have written it
   * (CVE-2024-31144, xapi.md 5.2).
   */
  readonly legacy: Uuid | null;
}

/** Output of `read-backup`. */
export interface BackupFound {
  readonly sr: string;
  readonly srUuid: Uuid;
  /** Null: the SR carries no metadata backup. */
  readonly vdi: Uuid | null;
  /** Other disks that might be older backups, which nobody looked into. */
  readonly candidates: readonly { readonly uuid: Uuid; readonly nameLabel: string; readonly bytes: number }[];
  /** Newest first. */
  readonly dates: readonly BackupDateFound[];
  readonly kept: readonly BackupKept[];
}

export interface BackupDateFound {
  readonly date: string;
  readonly takenAt: string;
  readonly documents: number;
  /** Lifeboat wrote it, as the date itself claims. */
  readonly byLifeboat: boolean;
}

export interface BackupKept {
  readonly date: string;
  readonly pointId: string;
  readonly vms: number;
  /** VMs that are not in the point, each with the reason. */
  readonly failures: number;
}
