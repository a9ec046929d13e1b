/** A recovery point: the metadata of a group at one moment, with the storage state it belongs to. */
import type {
  ApplianceFacts,
  CpuFacts,
  HostFacts,
  NetworkFacts,
  PoolFacts,
  SrFacts,
  TextMap,
  Uuid,
  VdiFacts,
  VmFacts,
  XapiBuild,
} from './pool.ts';
import type { ReplicaPoint } from './replication.ts';
import type { Instant } from './time.ts';

export interface RecoveryPoint {
  /** `GROUP/YYYYMMDDTHHMMSSZ-xxxx`: sorts by time within a group. */
  readonly id: string;
  readonly group: string;
  readonly takenAt: Instant;
  readonly site: string;
  readonly poolUuid: Uuid;
  readonly poolName: string;
  readonly productBrand: string;
  readonly productVersion: string;
  readonly xapiBuild: XapiBuild;
  readonly configDigest: string;
  readonly vms: readonly PointVm[];
  /** VMs of the group whose document could not be had, each with the reason. A point with failures is not good. */
  readonly failures: readonly { readonly uuid: Uuid; readonly nameLabel: string; readonly reason: string }[];
  readonly srs: readonly PointSr[];
  readonly vdis: readonly VdiFacts[];
  readonly networks: readonly NetworkFacts[];
  readonly hosts: readonly HostFacts[];
  readonly appliances: readonly ApplianceFacts[];
  readonly poolOtherConfig: TextMap;
  /** Whether HA was enabled; absent in older points. */
  readonly haEnabled?: boolean;
  /** `/pool/xmldbdump` of the same moment; null when the role of our user did not allow it. */
  readonly database: ObjectRef | null;
  readonly replication: readonly PointReplication[];
  /** Of a point that was made from a backup of other tools; absent where Lifeboat took it itself. */
  readonly foreign?: ForeignOrigin;
}

/**
 * Files of `xe vm-export metadata=true`, a tree of `xe-backup-metadata`, a dump of the pool's database, or the metadata
 * backup that travelled with the replicated storage.
 */
export type ForeignKind = 'vm-export' | 'vmmeta' | 'database' | 'backup-vdi';

export interface ForeignOrigin {
  readonly kind: ForeignKind;
  readonly files: readonly string[];
  readonly importedAt: Instant;
  /**
   * Who says when the backup was made: a person, what Lifeboat wrote beside it, the time of its newest file, or the name
   * of its directory.
   */
  readonly timeFrom: 'person' | 'lifeboat' | 'file' | 'name';
  /** What the backup does not say and where it comes from instead, one sentence each. */
  readonly unsaid: readonly string[];
  /** Where it was found, of a metadata backup on replicated storage. */
  readonly storage?: { readonly sr: string; readonly vdi: Uuid; readonly date: string };
}

/** A stored object of the catalog: SHA-256 of its clear bytes and their number. */
export interface ObjectRef {
  readonly sha256: string;
  readonly bytes: number;
}

export interface PointVm {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  /** The VM's metadata document: a minimal tar with `ova.xml`, without snapshots (xapi.md 4.11). */
  readonly document: ObjectRef;
  /** The state to bring it up in: as it was seen, or as it was before a planned migration shut it down. */
  readonly powerState: string;
  readonly order: number;
  readonly startDelaySeconds: number;
  readonly memoryStaticMax: number;
  readonly memoryDynamicMax: number;
  /** Bytes that the hypervisor needs for the VM beside its own memory; absent in older points. */
  readonly memoryOverhead?: number;
  readonly vcpusAtStartup: number;
  /** Whether it has a virtual GPU; absent in older points. */
  readonly hasVgpu?: boolean;
  /** CPU that it saw at its last start; absent in older points and for a VM that was never started. */
  readonly bootCpu?: CpuFacts;
  readonly haRestartPriority: string;
  readonly haAlwaysRun: boolean;
  readonly tags: readonly string[];
  readonly folder: string | null;
  readonly srUuids: readonly Uuid[];
  readonly vdiUuids: readonly Uuid[];
  readonly networkNames: readonly string[];
  readonly applianceUuid: Uuid | null;
  /** `VmFacts.digest` when the document was true; absent when it cannot be known. The next export compares it. */
  readonly digest?: string;
  /** The earlier point that fetched the document, when this one found the VM unchanged; absent when it was fetched anew. */
  readonly documentFrom?: DocumentOrigin;
}

export interface DocumentOrigin {
  readonly pointId: string;
  readonly takenAt: Instant;
}

/** An SR of the group with what a PBD needs; secrets are in `secretDeviceConfig`, which only the encrypted catalog holds. */
export interface PointSr extends SrFacts {
  /** Resolved secrets by device_config key, such as `chappassword` (xapi.md 7.2). */
  readonly secretDeviceConfig: TextMap;
}

export interface PointReplication {
  readonly srUuid: Uuid;
  readonly source: { readonly array: string; readonly volume: string };
  readonly target: { readonly array: string; readonly volume: string };
  /** Newest complete point on the target when the metadata was taken; null when it could not be learned. */
  readonly newestPoint: ReplicaPoint | null;
  readonly gap: string | null;
}

/** VMs as a recovery point of this moment knows them, but for their documents. */
export function pointVmsOf(
  vms: readonly VmFacts[],
  pool: Pick<PoolFacts, 'vdis' | 'networks'>,
): Omit<PointVm, 'document'>[] {
  const srOf = new Map(pool.vdis.map((vdi) => [vdi.uuid, vdi.srUuid]));
  const networkNames = new Map(pool.networks.map((network) => [network.uuid, network.nameLabel]));
  return vms.map((vm) => {
    const disks = vm.vbds.flatMap((vbd) =>
      vbd.type === 'Disk' && vbd.vdiUuid !== null ? [vbd.vdiUuid] : [],
    );
    return {
      uuid: vm.uuid,
      nameLabel: vm.nameLabel,
      powerState: vm.powerState,
      order: vm.order,
      startDelaySeconds: vm.startDelaySeconds,
      memoryStaticMax: vm.memoryStaticMax,
      memoryDynamicMax: vm.memoryDynamicMax,
      memoryOverhead: vm.memoryOverhead,
      vcpusAtStartup: vm.vcpusAtStartup,
      hasVgpu: vm.hasVgpu,
      ...(vm.bootCpu === undefined ? {} : { bootCpu: vm.bootCpu }),
      haRestartPriority: vm.haRestartPriority,
      haAlwaysRun: vm.haAlwaysRun,
      tags: vm.tags,
      folder: vm.otherConfig['folder'] ?? null,
      srUuids: [...new Set(disks.flatMap((uuid) => srOf.get(uuid) ?? []))].sort(),
      vdiUuids: disks,
      networkNames: [...new Set(vm.vifs.flatMap((vif) => networkNames.get(vif.networkUuid) ?? []))].sort(),
      applianceUuid: vm.applianceUuid,
      ...(vm.digest === undefined ? {} : { digest: vm.digest }),
    };
  });
}
