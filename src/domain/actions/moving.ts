/**
 * What migrate, reprotect and failback do beside the acts of a failover: shut down, let go of the storage, hand it over,
 * quarantine the old copies, turn the replication round.
 */
import type { Roles } from '../group.ts';
import type { NamedVm, PairAction } from '../plan.ts';
import type { Uuid } from '../pool.ts';

/** A VM that is put away, with what it had before, so that it can be given back. */
export interface QuarantinedVm extends NamedVm {
  /** `ha_restart_priority`; empty without HA (xapi.md 8.5). */
  readonly haPriority: string;
  /** Whether `other_config.auto_poweron` is "true" (xapi.md 8.4). */
  readonly autoStart: boolean;
  /** Operations that somebody else had blocked: they stay so. */
  readonly blocked: readonly string[];
}

export interface NamedSr {
  readonly uuid: Uuid;
  readonly nameLabel: string;
}

export type MovingAction =
  /** How both sides stand, for the journal. */
  | { readonly do: 'note-standing'; readonly site: string; readonly seen: readonly string[] }
  /** Start blocked, then shut down by the guest itself; switched off only when `force` says so. */
  | {
      readonly do: 'shut-down-vm';
      readonly site: string;
      readonly vm: NamedVm;
      readonly force: boolean;
      readonly reason: string;
    }
  /** Undoes `shut-down-vm`: unblocked and started, unless its twin runs. */
  | {
      readonly do: 'bring-back-vm';
      readonly site: string;
      readonly vm: NamedVm;
      /** Operations that somebody else had blocked: they stay so. */
      readonly blocked: readonly string[];
      readonly twinSite: string;
    }
  /** Halted copies that must not start by themselves: blocked and marked, auto-start and HA off. */
  | {
      readonly do: 'quarantine-vms';
      readonly site: string;
      readonly vms: readonly QuarantinedVm[];
      /** Stops those that run; without it a running one fails the step. */
      readonly stopRunning: boolean;
      readonly reason: string;
    }
  /** Undoes `quarantine-vms`. */
  | { readonly do: 'release-vms'; readonly site: string; readonly vms: readonly QuarantinedVm[] }
  /** PBDs unplugged on every host, the record kept: nothing of the pool can write to the SR any more (xapi.md 7.9). */
  | { readonly do: 'detach-sr'; readonly site: string; readonly sr: NamedSr }
  /** Undoes `detach-sr`: plugged again, the master first, as the PBDs are. */
  | {
      readonly do: 'plug-sr';
      readonly site: string;
      readonly sr: NamedSr;
      readonly hosts: readonly {
        readonly uuid: Uuid;
        readonly nameLabel: string;
        readonly master: boolean;
      }[];
    }
  /** The record of a detached SR goes, where none but put-away copies use it: no storage is touched (xapi.md 7.9). */
  | { readonly do: 'forget-sr'; readonly site: string; readonly sr: NamedSr }
  /** The source takes no more writes, its last point arrives at the target (`Replication.prepare`). */
  | { readonly do: 'final-sync'; readonly pair: PairAction; readonly tag: string }
  /** Seen without a plugged PBD, and when: the last point that a person brings over must be younger. */
  | { readonly do: 'note-let-go'; readonly site: string; readonly sr: NamedSr }
  /** The last point that a person has brought over: seen whole at the target, and cut after step `letGoBy`. */
  | {
      readonly do: 'see-final-sync';
      readonly pair: PairAction;
      readonly site: string;
      readonly sr: NamedSr;
      readonly tag: string;
      readonly letGoBy: string;
    }
  /** The replication that a person has turned round: both sides seen, or stated, in their new roles. */
  | { readonly do: 'see-reversed'; readonly pair: PairAction }
  /** Undoes `final-sync`. */
  | { readonly do: 'unprepare'; readonly pair: PairAction }
  /** Promotes the point that step `syncedBy` brought over, and no other (invariant 4). */
  | { readonly do: 'promote-synced'; readonly pair: PairAction; readonly syncedBy: string }
  /** The array of a site that was given up stops taking writes, as far as it can be reached. */
  | { readonly do: 'fence-storage'; readonly pair: PairAction }
  /** PBDs of a site that was given up are unplugged, as far as it can be reached. */
  | { readonly do: 'release-storage'; readonly site: string; readonly srs: readonly NamedSr[] }
  /** The old source becomes the replica-to-be; what it alone holds goes only when a person said so. */
  | {
      readonly do: 'demote-source';
      readonly pair: PairAction;
      readonly discard: boolean;
      /** Newest point that both sides hold, as it was when the plan was made; null when it was not known then. */
      readonly common: string | null;
    }
  /** The promoted side replicates to the old source; over when a point has arrived there. */
  | {
      readonly do: 'reverse-replication';
      readonly pair: PairAction;
      readonly tag: string;
      /** Whether what the old source alone holds may go. */
      readonly discard: boolean;
    }
  /** The sites change places: from here on every look at the group goes the other way. */
  | {
      readonly do: 'swap-roles';
      readonly group: string;
      readonly roles: Roles;
      readonly activeSite: string;
    };

export type MovingCondition =
  | {
      readonly is: 'vm-brought-back';
      readonly site: string;
      readonly vm: NamedVm;
      readonly blocked: readonly string[];
    }
  | { readonly is: 'vm-shut-down'; readonly site: string; readonly vm: NamedVm }
  | { readonly is: 'vms-quarantined'; readonly site: string; readonly vms: readonly QuarantinedVm[] }
  | { readonly is: 'sr-detached'; readonly site: string; readonly sr: NamedSr }
  | { readonly is: 'sr-forgotten'; readonly site: string; readonly sr: NamedSr }
  | { readonly is: 'finally-synced'; readonly pair: PairAction; readonly tag: string }
  | { readonly is: 'source-demoted'; readonly pair: PairAction }
  | { readonly is: 'replication-reversed'; readonly pair: PairAction; readonly tag: string }
  | { readonly is: 'reversed-by-hand'; readonly pair: PairAction }
  | {
      readonly is: 'roles-swapped';
      readonly group: string;
      readonly roles: Roles;
      readonly activeSite: string;
    };
