/**
 * What the adapter asks of a cluster, in words that REST and the CLI share. Reads are one listing each, however much there
 * is. Writes return when the cluster has taken them on and their job has ended; whether they had their effect is seen by
 * looking. Creating what is there and removing what is not are quiet. Errors are `PortError`.
 */

import type { Clock } from '../../../ports/system.ts';
import type { Pace } from '../rest/poll.ts';
import type { Groups } from './groups.ts';

/** `svm:volume`, as ONTAP writes the ends of a relationship. */
export type VolumePath = string;

export interface ClusterFacts {
  readonly name: string;
  readonly serial: string;
  readonly version: string;
  /** The clock of a node. */
  readonly clock: string;
}

export interface Volume {
  readonly path: VolumePath;
  /** For REST; the CLI goes by the path. */
  readonly uuid: string;
  readonly svm: string;
  readonly name: string;
  readonly type: 'rw' | 'dp' | 'other';
  readonly online: boolean;
  readonly comment: string;
  /** Where it is mounted in the namespace of its SVM; empty when it is not. */
  readonly junction: string;
  readonly exportPolicy: string;
  /** Of a FlexClone: the volume that it was made of. */
  readonly cloneParent: string | null;
  readonly madeAt: string | null;
}

export interface Snapshot {
  readonly volume: VolumePath;
  readonly name: string;
  readonly uuid: string;
  /** The same on every volume to which it was replicated; null in releases that do not tell (before 9.11). */
  readonly versionUuid: string | null;
  /** By the clock of the cluster that took it. */
  readonly createTime: string;
  readonly label: string | null;
  /** Identity of the point of the consistency group that it is a part of; absent for a volume that stands alone. */
  readonly groupRef?: string;
}

/** A relationship whose destination is on this cluster; only there is its state known. */
export interface Relationship {
  readonly uuid: string;
  readonly source: VolumePath;
  readonly sourceCluster: string | null;
  readonly destination: VolumePath;
  /** As REST words it: `uninitialized`, `snapmirrored`, `paused`, `broken_off`, `in_sync`, … */
  readonly state: string;
  readonly transfer: {
    /** `queued`, `transferring`, `success`, `failed`, `aborted`, `hard_aborted`; null when there was none. */
    readonly state: string | null;
    /** Known while it is active. */
    readonly uuid: string | null;
    readonly endTime: string | null;
    readonly bytes: number | null;
  };
  readonly healthy: boolean;
  readonly unhealthyReasons: readonly string[];
  readonly lagSeconds: number | null;
  readonly exportedSnapshot: string | null;
  readonly policy: string | null;
}

/** A relationship whose source is on this cluster, as the source knows it: without any state. */
export interface Outgoing {
  readonly uuid: string;
  readonly source: VolumePath;
  readonly destination: VolumePath;
  readonly destinationCluster: string | null;
}

export interface Lun {
  /** `/vol/VOLUME/LUN` */
  readonly path: string;
  readonly serialHex: string | null;
  readonly maps: readonly { readonly igroup: string; readonly id: number }[];
}

export interface ExportRule {
  readonly index: number;
  readonly clients: readonly string[];
  readonly rw: boolean;
}

export interface Igroup {
  readonly name: string;
  readonly initiators: readonly string[];
}

/** How hosts reach an SVM. */
export interface Portals {
  readonly nfs: readonly string[];
  readonly iscsi: readonly string[];
  readonly iqn: string | null;
}

export interface Asking {
  readonly signal: AbortSignal | undefined;
}

export interface OntapControl {
  /** Name of the array in sites.yaml, and its address: for messages. */
  readonly endpoint: { readonly array: string; readonly url: string };
  /** Whether this way of asking knows consistency groups, where the release does. */
  readonly keepsTogether: boolean;
  /** Which volumes of this cluster share a consistency group. */
  readonly groups: Groups;
  cluster(asking: Asking): Promise<ClusterFacts>;
  /** All, or the one. */
  volumes(only: VolumePath | null, asking: Asking): Promise<readonly Volume[]>;
  /** Volumes whose comment begins with this. */
  volumesWithComment(beginning: string, asking: Asking): Promise<readonly Volume[]>;
  snapshots(only: VolumePath | null, asking: Asking): Promise<readonly Snapshot[]>;
  relationships(destination: VolumePath | null, asking: Asking): Promise<readonly Relationship[]>;
  outgoing(source: VolumePath | null, asking: Asking): Promise<readonly Outgoing[]>;
  luns(volume: Volume, asking: Asking): Promise<readonly Lun[]>;
  /** Volumes that hold a LUN: one listing. */
  volumesWithLuns(asking: Asking): Promise<ReadonlySet<VolumePath>>;
  rules(svm: string, policy: string, asking: Asking): Promise<readonly ExportRule[] | null>;
  igroup(svm: string, name: string, asking: Asking): Promise<Igroup | null>;
  portals(svm: string, asking: Asking): Promise<Portals>;
  /** Bytes that the volume differs from its snapshot by; null where the release cannot tell. */
  changedSince(volume: Volume, snapshot: string, asking: Asking): Promise<number | null>;

  comment(volume: Volume, text: string, asking: Asking): Promise<void>;
  takeSnapshot(volume: Volume, name: string, label: string, asking: Asking): Promise<void>;
  dropSnapshot(volume: Volume, snapshot: Snapshot, asking: Asking): Promise<void>;
  /** Of all volumes of the group (`SVM:/cg/NAME`) at one moment. */
  takeGroupSnapshot(group: string, name: string, label: string, asking: Asking): Promise<void>;
  dropGroupSnapshot(group: string, name: string, asking: Asking): Promise<void>;
  /** All volumes of the group become what they were at this snapshot; newer ones are gone. */
  restoreGroup(group: string, snapshot: string, asking: Asking): Promise<void>;
  startTransfer(relationship: Relationship, snapshot: string, asking: Asking): Promise<void>;
  abortTransfer(relationship: Relationship, asking: Asking): Promise<void>;
  quiesce(relationship: Relationship, asking: Asking): Promise<void>;
  /** `snapshot` null: at what arrived last. */
  break(relationship: Relationship, snapshot: string | null, asking: Asking): Promise<void>;
  /** Takes up transfers again after `quiesce`. */
  resume(relationship: Relationship, asking: Asking): Promise<void>;
  /** Goes back to the newest common snapshot; what the destination alone holds is gone. */
  resync(relationship: Relationship, asking: Asking): Promise<void>;
  createRelationship(
    source: VolumePath,
    destination: VolumePath,
    policy: string | null,
    asking: Asking,
    /** Of two consistency groups: the volumes of each, in the order in which they are pairs. */
    members?: { readonly source: readonly VolumePath[]; readonly destination: readonly VolumePath[] },
  ): Promise<void>;
  /** At the destination; the volume and its snapshots stay. */
  deleteRelationship(relationship: Relationship, asking: Asking): Promise<void>;
  /** At the source: forgets a relationship that the destination no longer has; the snapshots stay. */
  release(outgoing: Outgoing, asking: Asking): Promise<void>;

  clone(parent: Volume, name: string, snapshot: string, comment: string, asking: Asking): Promise<void>;
  mount(volume: Volume, junction: string, asking: Asking): Promise<void>;
  unmount(volume: Volume, asking: Asking): Promise<void>;
  useExportPolicy(volume: Volume, policy: string, asking: Asking): Promise<void>;
  takeOffline(volume: Volume, asking: Asking): Promise<void>;
  deleteVolume(volume: Volume, asking: Asking): Promise<void>;

  createPolicy(svm: string, policy: string, asking: Asking): Promise<void>;
  deletePolicy(svm: string, policy: string, asking: Asking): Promise<void>;
  addRule(svm: string, policy: string, client: string, asking: Asking): Promise<void>;
  removeRule(svm: string, policy: string, index: number, asking: Asking): Promise<void>;
  createIgroup(svm: string, name: string, initiators: readonly string[], asking: Asking): Promise<void>;
  addInitiator(svm: string, igroup: string, initiator: string, asking: Asking): Promise<void>;
  deleteIgroup(svm: string, name: string, asking: Asking): Promise<void>;
  map(svm: string, lun: string, igroup: string, id: number | null, asking: Asking): Promise<void>;
  unmap(svm: string, lun: string, igroup: string, asking: Asking): Promise<void>;
  close(): Promise<void>;
}

/** What waiting needs, beside the cluster. */
export interface Patience {
  readonly clock: Clock;
  readonly pace: Pace;
}
