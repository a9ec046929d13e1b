/** The metadata backup on a replicated SR: written through XenAPI, or by the host's own script; and whose jobs prune it. */
import type { NamedVm } from '../plan.ts';
import type { NamedSr } from './moving.ts';

export type BackupAction =
  /** The documents of a recovery point as a new date on the disk, read back by SHA-256. */
  | {
      readonly do: 'write-backup';
      readonly site: string;
      readonly sr: NamedSr;
      readonly pointId: string;
      readonly history: number;
      readonly dumps: number;
      /** Of a disk that has to be made. */
      readonly bytes: number;
    }
  /** `xe-backup-metadata` on the master, and its new date read back: a zero exit proves nothing (xapi.md 5.3). */
  | {
      readonly do: 'run-backup-script';
      readonly site: string;
      readonly sr: NamedSr;
      readonly history: number;
      /** VMs of the group, each of which must be in the new date. */
      readonly vms: readonly NamedVm[];
      readonly vmsInPool: number;
    }
  /** Jobs of hosts that write to, and prune, the same disk (xapi.md 5.7, 5.8). Looks only. */
  | {
      readonly do: 'look-at-backup-jobs';
      readonly site: string;
      readonly srs: readonly NamedSr[];
      readonly history: number;
    };
