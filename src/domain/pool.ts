/**
 * What we saw of a XenAPI pool: plain, immutable facts. Identity is the uuid; labels are for people.
 * Names follow the XenAPI fields they come from, in camel case (xapi.md gives each one's traps).
 */
import type { Instant } from './time.ts';

export type Uuid = string;
export type TextMap = Readonly<Record<string, string>>;

/** First two numbers of a xapi build (`25.6.0` → major 25, minor 6): the import's version gate (xapi.md 3.8). */
export interface XapiBuild {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
}

export interface PoolFacts {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly masterUuid: Uuid;
  readonly observedAt: Instant;
  /** The pool's own clock when it was asked (`host.get_servertime` of the master). */
  readonly serverTime: Instant;
  readonly productBrand: string;
  readonly productVersion: string;
  readonly xapiBuild: XapiBuild;
  readonly haEnabled: boolean;
  /** What HA promises (xapi.md 8.5); absent when it could not be learned. */
  readonly haPlan?: HaPlan;
  /** The pool's clock less ours, measured around the question; absent when it was not measured. */
  readonly clockOffsetSeconds?: number;
  /** Types that the storage managers of the pool drive (`SM.type`); absent when the pool does not tell (xapi.md 7.2). */
  readonly storageDrivers?: readonly string[];
  /** It was asked over a connection that may be TLS 1.0; absent where it may not. */
  readonly oldTls?: true;
  readonly otherConfig: TextMap;
  readonly hosts: readonly HostFacts[];
  readonly networks: readonly NetworkFacts[];
  readonly srs: readonly SrFacts[];
  readonly vdis: readonly VdiFacts[];
  /** VMs, snapshots and custom templates. Default templates and control domains are left out. */
  readonly vms: readonly VmFacts[];
  /** Name labels of default templates: an import matches a default template by name (xapi.md 4.5 rule 1). */
  readonly defaultTemplateNames: readonly string[];
  readonly appliances: readonly ApplianceFacts[];
  /** GPU groups with the `GPU_types` list that an import compares (xapi.md 4.9). */
  readonly gpuGroups: readonly {
    readonly uuid: Uuid;
    readonly nameLabel: string;
    readonly gpuTypes: readonly string[];
  }[];
  readonly vtpmUuids: readonly Uuid[];
  /** Certificates of the hosts (xapi.md 1.7); absent where the pool has no such class. */
  readonly certificates?: readonly CertificateFacts[];
}

export interface CertificateFacts {
  readonly hostUuid: Uuid;
  /** `host` is what clients see, `host_internal` what the hosts of the pool show to one another. */
  readonly type: string;
  readonly notAfter: Instant;
  /** SHA-256, 64 hexadecimal digits in lower case; empty where the pool does not tell. */
  readonly sha256: string;
}

export interface HaPlan {
  /** So many hosts may fail while every protected VM still finds room; that room is kept free. */
  readonly hostFailuresToTolerate: number;
  readonly planExistsFor: number;
  readonly allowOvercommit: boolean;
}

export interface HostFacts {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly address: string;
  readonly enabled: boolean;
  readonly live: boolean;
  /** Bytes; `memoryFree` is what the host itself computes as free for VMs. */
  readonly memoryTotal: number;
  readonly memoryFree: number;
  readonly cpuCount: number;
  /** Text of `cpu_info.features_hvm` or the older `features`. */
  readonly cpuFeatures: string;
  readonly cpuVendor: string;
  /** GPU groups of which the host has a card (`PGPU`); absent when it could not be learned. */
  readonly gpuGroupUuids?: readonly Uuid[];
  /** iSCSI initiator name, which the array of the recovery site lets in; absent or empty where the host has none (xapi.md 7.11). */
  readonly iscsiIqn?: string;
  /** It reaches LUNs over several paths (`host.multipathing`, xapi.md 7.11); absent where it does not. */
  readonly multipathing?: true;
  /** Absent where the host does not tell. */
  readonly licence?: LicenceFacts;
}

export interface LicenceFacts {
  /** `host.edition`, such as `xcp-ng`, `premium-per-socket`, `free`. */
  readonly edition: string;
  /** `expiry` of `host.license_params`; null where the licence has no end. */
  readonly expiresAt: Instant | null;
}

export interface NetworkFacts {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly bridge: string;
  readonly mtu: number;
  readonly managed: boolean;
  readonly otherConfig: TextMap;
  /** One entry per host with a PIF here. VLAN −1 is untagged. */
  readonly pifs: readonly {
    readonly hostUuid: Uuid;
    readonly device: string;
    readonly vlan: number;
    readonly attached: boolean;
  }[];
}

export interface SrFacts {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly type: string;
  readonly contentType: string;
  readonly shared: boolean;
  readonly physicalSize: number;
  readonly physicalUtilisation: number;
  readonly smConfig: TextMap;
  readonly otherConfig: TextMap;
  readonly tags: readonly string[];
  readonly pbds: readonly PbdFacts[];
}

export interface PbdFacts {
  readonly uuid: Uuid;
  readonly hostUuid: Uuid;
  readonly attached: boolean;
  /** As the pool shows it: passwords appear as `<key>_secret` uuids that mean nothing in another pool (xapi.md 7.2). */
  readonly deviceConfig: TextMap;
}

export interface VdiFacts {
  readonly uuid: Uuid;
  readonly srUuid: Uuid;
  readonly location: string;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly type: string;
  readonly virtualSize: number;
  readonly managed: boolean;
  readonly missing: boolean;
  readonly isASnapshot: boolean;
  readonly snapshotOf: Uuid | null;
  readonly readOnly: boolean;
  readonly smConfig: TextMap;
  readonly otherConfig: TextMap;
}

export type PowerState = 'Halted' | 'Paused' | 'Running' | 'Suspended';

export interface VmFacts {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly powerState: PowerState;
  readonly isTemplate: boolean;
  readonly isSnapshot: boolean;
  readonly snapshotOf: Uuid | null;
  readonly residentOn: Uuid | null;
  readonly affinity: Uuid | null;
  readonly tags: readonly string[];
  readonly otherConfig: TextMap;
  readonly macSeed: string | null;
  /** The restore counter (xapi.md 4.5), kept as text: it is an API int. */
  readonly version: number;
  readonly memoryStaticMax: number;
  readonly memoryDynamicMin: number;
  readonly memoryDynamicMax: number;
  readonly memoryOverhead: number;
  readonly vcpusAtStartup: number;
  readonly order: number;
  readonly startDelaySeconds: number;
  readonly shutdownDelaySeconds: number;
  readonly haRestartPriority: string;
  readonly haAlwaysRun: boolean;
  readonly applianceUuid: Uuid | null;
  readonly blockedOperations: TextMap;
  readonly domainType: string;
  readonly vbds: readonly VbdFacts[];
  readonly vifs: readonly VifFacts[];
  readonly vtpms: readonly Uuid[];
  readonly hasVgpu: boolean;
  /** CPU that it saw at its last start (`last_boot_CPU_flags`), in the form of `HostFacts.cpuFeatures`; absent before any. */
  readonly bootCpu?: CpuFacts;
  readonly suspendVdiUuid: Uuid | null;
  /** What the guest agent reports; null without agent. */
  readonly guest: {
    readonly networks: TextMap;
    readonly driversDetected: boolean;
    readonly live: boolean;
  } | null;
  /**
   * SHA-256, in hexadecimal digits, over all that makes up the VM's metadata document and matters for a recovery: equal
   * digests mean documents that import alike. Absent when it cannot be known; VMs with a virtual TPM never have one.
   */
  readonly digest?: string;
}

export interface CpuFacts {
  readonly vendor: string;
  readonly features: string;
}

export interface VbdFacts {
  readonly uuid: Uuid;
  readonly vdiUuid: Uuid | null;
  readonly userdevice: string;
  readonly type: 'Disk' | 'CD' | 'Floppy';
  readonly mode: 'RW' | 'RO';
  readonly empty: boolean;
  readonly bootable: boolean;
  readonly attached: boolean;
}

export interface VifFacts {
  readonly uuid: Uuid;
  readonly networkUuid: Uuid;
  readonly device: string;
  readonly mac: string;
  readonly attached: boolean;
}

export interface ApplianceFacts {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly vmUuids: readonly Uuid[];
}

/**
 * `device_config` without what means nothing in another pool: `<key>_secret` is the uuid of a secret there, `SRmaster` the
 * mark of its master (xapi.md 7.2).
 */
export function plainDeviceConfig(config: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config).filter(
      ([key]) => !key.endsWith('_secret') && !/password/i.test(key) && key !== 'SRmaster',
    ),
  );
}
