/** What only a drill does: copies of the replica and of the VMs, evidence, and the clean-up. */
import type { Uuid } from '../pool.ts';
import type { ReplicaPoint } from '../replication.ts';
import type { ReadinessGate } from '../settings.ts';
import type { Instant } from '../time.ts';

export type DrillAction =
  | { readonly do: 'record-inventory'; readonly site: string }
  | {
      readonly do: 'clone-replica';
      readonly site: string;
      readonly drill: string;
      readonly sr: string;
      readonly target: VolumeRef;
      readonly point: ReplicaPoint;
    }
  | {
      readonly do: 'record-proof';
      readonly site: string;
      readonly drill: string;
      readonly pointId: string;
      readonly vms: readonly ProvenVm[];
    }
  | {
      readonly do: 'remove-copies';
      readonly site: string;
      readonly drill: string;
      readonly vms: readonly Named[];
    }
  | {
      readonly do: 'forget-clone';
      readonly site: string;
      readonly drill: string;
      readonly srUuid: Uuid;
      readonly nameLabel: string;
    }
  | { readonly do: 'stop-clone'; readonly drill: string; readonly target: VolumeRef }
  | {
      readonly do: 'compare-inventory';
      readonly site: string;
      readonly group: string;
      /** Arrays that must hold no clone any more. */
      readonly arrays: readonly string[];
      /** Step of this run that recorded the inventory before; null when an earlier run did. */
      readonly recordedBy: string | null;
      /** The inventory of that earlier run; null when its journal is gone. */
      readonly before: Inventory | null;
    };

export type DrillCondition =
  | {
      readonly is: 'copies-gone';
      readonly site: string;
      readonly drill: string;
      readonly vms: readonly Named[];
    }
  | { readonly is: 'clone-forgotten'; readonly site: string; readonly drill: string; readonly srUuid: Uuid }
  | { readonly is: 'clone-stopped'; readonly drill: string; readonly target: VolumeRef };

export interface Named {
  readonly uuid: Uuid;
  readonly nameLabel: string;
}
export interface VolumeRef {
  readonly array: string;
  readonly volume: string;
}
/** A copy that shall be proven to work: `original` is the VM that it stands for. */
export interface ProvenVm extends Named {
  readonly original: Uuid;
  readonly tier: string;
  readonly gates: readonly ReadinessGate[];
  readonly startedBy: string;
  /** Null in a tier without gates beside `running`. */
  readonly readyBy: string | null;
}

/** What a pool holds, by name and uuid: enough to say that a drill left nothing behind and took nothing away. */
export interface Inventory {
  readonly takenAt: Instant;
  readonly vms: readonly Named[];
  readonly srs: readonly Named[];
  readonly networks: readonly Named[];
  readonly appliances: readonly Named[];
}
