/**
 * A plan is data: computed from an observation, printed, hashed, confirmed, and executed step by step. Actions and
 * conditions are tagged unions of plain values; identity is always a uuid, an array's name and a volume.
 */

import type { BackupAction } from './actions/backup.ts';
import type { CanaryAction } from './actions/canary.ts';
import type { DrillAction, DrillCondition } from './actions/drill.ts';
import type { GuestAction, GuestCondition } from './actions/guests.ts';
import type { MovingAction, MovingCondition } from './actions/moving.ts';
import type { RecoverAction, RecoverCondition } from './actions/recover.ts';
import type { VerifyAction, VerifyCondition } from './actions/verify.ts';
import type { ExportStrategy } from './limits.ts';
import type { TextMap, Uuid } from './pool.ts';
import type { DocumentOrigin, ObjectRef } from './recovery-point.ts';
import type { ReplicaPoint } from './replication.ts';
import type { ReadinessGate, VolumeSettings } from './settings.ts';
import type { Instant } from './time.ts';

export type Operation =
  | 'export'
  | 'verify'
  | 'drill'
  | 'drill-cleanup'
  | 'migrate'
  | 'failover'
  | 'reprotect'
  | 'failback'
  | 'canary'
  /** The metadata that travelled with the storage is read from a clone of the replica. */
  | 'recover-metadata';

export interface Plan {
  readonly id: string;
  readonly operation: Operation;
  readonly group: string;
  /** Generation of the group that this plan was made for; an older one cannot act (invariant 9). */
  readonly generation: number;
  readonly basedOn: { readonly observation: string; readonly takenAt: Instant };
  readonly configDigest: string;
  readonly steps: readonly Step[];
  /** How many steps may occupy a resource at once, where it is not as usual (src/domain/limits.ts). */
  readonly limits?: Readonly<Record<string, number>>;
  readonly expects: Expectation;
  /** What keeps the plan from being runnable; empty for a runnable plan. */
  readonly waitingOn: readonly string[];
}

/** The promise, stated before the run; the report puts the facts beside it. */
export interface Expectation {
  readonly pointId: string | null;
  readonly metadataTakenAt: Instant | null;
  /** Where the metadata of the point was found; the catalog's own export when absent. */
  readonly metadataFrom?: { readonly sr: string; readonly date: string };
  /** Newest complete replica point per SR, and its age against the clock of the observation. */
  readonly replicas: readonly {
    readonly sr: string;
    readonly point: ReplicaPoint | null;
    readonly ageSeconds: number | null;
  }[];
  readonly skewSeconds: number | null;
  readonly lossSeconds: number | null;
  readonly rpoSeconds: number;
  readonly rtoSeconds: number;
  readonly forecastSeconds: number;
  readonly tiers: readonly {
    readonly name: string;
    readonly vms: readonly { readonly uuid: Uuid; readonly nameLabel: string }[];
  }[];
  /** VMs that will not be started. `lost` marks those that ought to be and cannot: a run without them is not clean. */
  readonly leftOut: readonly {
    readonly nameLabel: string;
    readonly reason: string;
    readonly lost?: boolean;
  }[];
  /** Sentences for people: consequences, in order of weight. */
  readonly notes: readonly string[];
}

export interface Step {
  /** Short and stable: `promote-sr1`, `start-web03`. */
  readonly id: string;
  /** Steps that must have ended before this one starts. */
  readonly after: readonly string[];
  /**
   * Those of `after` that must have succeeded; where one failed or was skipped, this step is skipped too. All of
   * `after` when absent. A failed step that is not needed here only delays.
   */
  readonly needs?: readonly string[];
  readonly action: Action;
  /** Observed before and after the act; null for acts whose own answer is the proof (reading, recording). */
  readonly holdsWhen: Condition | null;
  /** Takes the effect back while no point of no return has been passed; may be repeated like a repeatable step. */
  readonly undo?: Action;
  /** Observed before and after the undo; its own answer is the proof when absent. */
  readonly undoneWhen?: Condition;
  readonly pointOfNoReturn: boolean;
  /** Whether the act may be repeated when its outcome is unknown and the condition does not hold. */
  readonly repeatable: boolean;
  readonly timeoutSeconds: number;
  /** Further tries after the first, each after a look at the world; as many as fit into the timeout when absent. */
  readonly retriesMax?: number;
  readonly forecastSeconds: number;
  /** Which limited thing it occupies: `pool:tokyo`, `array:filer-b`, `host:…`. */
  readonly uses: readonly string[];
  /**
   * What happens to the run when it fails: stop everything; go on and report; or go on with what does not need it (a
   * clean-up) and end as failed.
   */
  readonly onFailure: 'stop' | 'continue' | 'finish';
  readonly why: string;
}

export type Action =
  | BackupAction
  | CanaryAction
  | DrillAction
  | GuestAction
  | MovingAction
  | RecoverAction
  | VerifyAction
  | { readonly do: 'record-evidence'; readonly site: string; readonly evidence: readonly string[] }
  | {
      readonly do: 'capture-pool';
      readonly site: string;
      readonly vms: readonly Uuid[];
      readonly srs: readonly Uuid[];
      /** The SRs of the group by name or uuid, as the settings call them: saved even where no VM has a disk on them. */
      readonly groupSrs: readonly string[];
      /** VMs that were shut down for a planned migration: halted now, and to be started where the point is used. */
      readonly toBeStarted?: readonly Uuid[];
    }
  | {
      readonly do: 'save-documents';
      readonly site: string;
      readonly vms: readonly NamedVm[];
      readonly strategy: ExportStrategy;
      readonly concurrency: number;
      /** VMs that did not change: their documents of an earlier point are used again. */
      readonly kept?: readonly KeptDocument[];
      /** For the strategy, should more VMs have to be fetched than was planned. */
      readonly vmsInPool?: number;
    }
  | { readonly do: 'record-replication'; readonly pairs: readonly PairAction[] }
  | { readonly do: 'seal-point'; readonly pointId: string }
  | { readonly do: 'verify-point'; readonly pointId: string }
  | { readonly do: 'rehearse-import'; readonly site: string; readonly pointId: string }
  | { readonly do: 'prune-catalog'; readonly group: string }
  | {
      readonly do: 'record-replica';
      readonly pair: PairAction;
      readonly expected: ReplicaPoint;
      readonly ageSeconds: number;
    }
  | {
      readonly do: 'fence-vms';
      readonly site: string;
      readonly vms: readonly NamedVm[];
      readonly reason: string;
    }
  | { readonly do: 'promote'; readonly pair: PairAction; readonly point: ReplicaPoint }
  | { readonly do: 'expose'; readonly pair: PairAction; readonly site: string }
  | { readonly do: 'attach-sr'; readonly site: string; readonly sr: SrToAttach }
  | {
      readonly do: 'compare-disks';
      readonly site: string;
      readonly srUuid: Uuid;
      readonly disks: readonly DiskName[];
      /** What explains a disk that does not match. */
      readonly against?: {
        readonly pointTakenAt: Instant;
        /** Null where the replica has no point of its own, and in a move, where nothing is younger than it. */
        readonly replicaTakenAt: Instant | null;
        /** Locations of further disks that the point knows on this SR, which no VM of it uses. */
        readonly others: readonly string[];
      };
    }
  | {
      readonly do: 'restore-names';
      readonly site: string;
      readonly srUuid: Uuid;
      readonly nameLabel: string;
      readonly nameDescription: string;
      readonly disks: readonly DiskName[];
    }
  | {
      readonly do: 'import-vms';
      readonly site: string;
      readonly pointId: string;
      readonly vms: readonly ImportedVm[];
      readonly networks: readonly NetworkTarget[];
      /** The drill that these are copies for: imported under new identities, marked, HA and auto-start off. */
      readonly drill?: string;
    }
  | {
      readonly do: 'rebuild-appliance';
      readonly site: string;
      readonly nameLabel: string;
      readonly nameDescription: string;
      readonly vms: readonly NamedVm[];
    }
  | {
      readonly do: 'start-vm';
      readonly site: string;
      readonly vm: NamedVm;
      /** Where its twin may run; null for the copy of a drill, whose original is another VM. */
      readonly twinSite: string | null;
      /** Its own start_delay where that is not to be slept: taken off for the start, and put back (xapi.md 8.1). */
      readonly skippedDelaySeconds?: number;
    }
  | {
      readonly do: 'await-ready';
      readonly site: string;
      readonly vm: NamedVm;
      readonly gates: readonly ReadinessGate[];
    }
  | {
      readonly do: 'restore-ha';
      readonly site: string;
      readonly vms: readonly (NamedVm & { readonly priority: string })[];
    }
  | { readonly do: 'tombstone'; readonly group: string; readonly lostSite: string }
  /** Undo of `tombstone`, as long as nothing was promoted. */
  | { readonly do: 'lift-tombstone'; readonly group: string; readonly lostSite: string };

export interface NamedVm {
  readonly uuid: Uuid;
  readonly nameLabel: string;
}
/** A VM as it will be at the site; `original` is its uuid in the recovery point when a copy gets another one. */
export interface ImportedVm extends NamedVm {
  readonly original?: Uuid;
}
/** A document that stays, the digest that its VM must still have, and the point that fetched it. */
export interface KeptDocument extends NamedVm {
  readonly document: ObjectRef;
  readonly digest: string;
  readonly from: DocumentOrigin;
}
export interface PairAction {
  readonly sr: string;
  readonly source: VolumeSettings;
  readonly target: VolumeSettings;
}
export interface SrToAttach {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly type: string;
  readonly contentType: string;
  readonly shared: boolean;
  readonly smConfig: TextMap;
  /** device_config without secrets and without the address, which `expose` yields and the executor merges. */
  readonly deviceConfig: TextMap;
  /** Where the secrets come from: the recovery point's encrypted copy. */
  readonly pointId: string;
  /** Step whose output holds the `Exposed` address; null when the production address is used unchanged. */
  readonly exposedBy: string | null;
  readonly hosts: readonly HostOfSr[];
}
export interface HostOfSr {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly master: boolean;
}
export interface DiskName {
  readonly uuid: Uuid;
  readonly location: string;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly virtualSize: number;
  readonly usedBy: readonly string[];
}
/** A production network by name, and the network of the recovery pool that takes its place. */
export interface NetworkTarget {
  readonly production: string;
  readonly recovery: { readonly uuid: Uuid; readonly nameLabel: string; readonly bridge: string };
}

export type Condition =
  | DrillCondition
  | GuestCondition
  | MovingCondition
  | RecoverCondition
  | VerifyCondition
  | { readonly is: 'promoted'; readonly pair: PairAction }
  | {
      readonly is: 'sr-attached';
      readonly site: string;
      readonly srUuid: Uuid;
      readonly hosts: readonly Uuid[];
    }
  | {
      readonly is: 'names-restored';
      readonly site: string;
      readonly srUuid: Uuid;
      readonly disks: readonly DiskName[];
    }
  | {
      readonly is: 'vms-imported';
      readonly site: string;
      readonly vms: readonly ImportedVm[];
      readonly networks: readonly NetworkTarget[];
    }
  | {
      readonly is: 'appliance-has';
      readonly site: string;
      readonly nameLabel: string;
      readonly vms: readonly NamedVm[];
    }
  | {
      readonly is: 'vm-running';
      readonly site: string;
      readonly vm: NamedVm;
      /** The start_delay that must have been put back; absent where it was left alone. */
      readonly skippedDelaySeconds?: number;
    }
  | {
      readonly is: 'vm-ready';
      readonly site: string;
      readonly vm: NamedVm;
      readonly gates: readonly ReadinessGate[];
    }
  | { readonly is: 'vms-fenced'; readonly site: string; readonly vms: readonly NamedVm[] }
  | {
      readonly is: 'ha-restored';
      readonly site: string;
      readonly vms: readonly (NamedVm & { readonly priority: string })[];
    }
  | { readonly is: 'point-sealed'; readonly pointId: string }
  | { readonly is: 'tombstoned'; readonly group: string; readonly lostSite: string }
  | { readonly is: 'tombstone-lifted'; readonly group: string; readonly lostSite: string };
