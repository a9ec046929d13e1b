/**
 * The hypervisor port: a XenAPI pool as the executor and the observer need it, by uuid. Implemented by
 * src/adapters/xenapi over the wire. Every method throws `PortError`; a write whose answer was lost throws kind
 * `outcome-unknown`, and the caller looks before it repeats.
 */

import type { Adjustment } from '../domain/actions/guests.ts';
import type { EndpointView } from '../domain/observation.ts';
import type { PoolFacts, TextMap, Uuid, VmFacts } from '../domain/pool.ts';
import type { StaticAddress } from '../domain/recovery-plan.ts';
import type { Exposed } from '../domain/replication.ts';
import type { Instant } from '../domain/time.ts';
import type { DiskPiece, Extent } from './backup-vdi.ts';

export interface Hypervisor {
  readonly site: string;

  /** Tries every configured address with a plain TLS contact and an unauthenticated call; never throws. */
  contact(signal?: AbortSignal): Promise<readonly EndpointView[]>;

  /** One picture of the pool from bulk reads: a bounded number of calls, whatever the number of VMs. */
  observe(signal?: AbortSignal): Promise<PoolFacts>;

  serverTime(signal?: AbortSignal): Promise<Instant>;

  /** `GET /export_metadata?uuid=…`: the archive as sent. `snapshots` false leaves snapshots out (xapi.md 3.2). */
  exportMetadata(
    vm: Uuid,
    options: { readonly snapshots: boolean },
    signal?: AbortSignal,
  ): Promise<Uint8Array>;

  /** `GET /export_metadata?all=true&include_dom0=false` as a stream: tens of MB in a large pool (performance.md 2). */
  exportAllMetadata(signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;

  /** `GET /pool/xmldbdump` as a stream. Contains secrets. Needs pool-admin. */
  dumpDatabase(signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;

  /** Clear text of a `Secret` object; the uuid comes from a PBD's `<key>_secret` (xapi.md 7.2). */
  readSecret(uuid: Uuid, signal?: AbortSignal): Promise<string>;

  /** Raw content of a VDI in blocks, exactly `virtual_size` bytes (xapi.md 3.6). */
  exportRawVdi(vdi: Uuid, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  importRawVdi(
    vdi: Uuid,
    content: AsyncIterable<Uint8Array>,
    bytes: number,
    signal?: AbortSignal,
  ): Promise<void>;
  /**
   * Writes stretches of a disk and leaves the rest as it is (`chunked`, xapi.md 3.6). `pieces` are those of `extents`, each
   * of at most `backupPieceBytes`, in any order.
   */
  importRawPieces(
    vdi: Uuid,
    extents: readonly Extent[],
    pieces: AsyncIterable<DiskPiece>,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Sets, or with null removes, one entry of a disk's `other_config`. */
  setVdiOtherConfig(vdi: Uuid, key: string, value: string | null, signal?: AbortSignal): Promise<void>;
  /** Uuid of the pool's default SR; null when none is set. */
  defaultSr(signal?: AbortSignal): Promise<Uuid | null>;

  /** Makes a disk with this entry in `other_config`, given in the call that makes it; returns its uuid. */
  createMarkedVdi(
    sr: Uuid,
    disk: {
      readonly nameLabel: string;
      readonly bytes: number;
      readonly mark: { readonly key: string; readonly value: string };
    },
    signal?: AbortSignal,
  ): Promise<Uuid>;
  /**
   * Removes a disk with its content, if its `other_config` has this entry (invariant 11). Kind `refused`, code
   * DR-VDI-NOT-OURS, for one without the entry; quiet when there is no such disk.
   */
  destroyMarkedVdi(
    vdi: Uuid,
    mark: { readonly key: string; readonly value: string },
    signal?: AbortSignal,
  ): Promise<void>;

  /**
   * SR uuids that a probe from this host finds there; `[]` when the device is readable and holds none (xapi.md 7.4). Kind
   * `refused`, code DR-SR-DUPLICATE-LUN, when the host sees another LUN with the same SR on it (xapi.md 7.6).
   */
  probe(
    host: Uuid,
    type: string,
    deviceConfig: TextMap,
    smConfig: TextMap,
    signal?: AbortSignal,
  ): Promise<readonly Uuid[]>;
  introduceSr(sr: SrRecord, signal?: AbortSignal): Promise<void>;
  /** Creates the PBD unless one with the same device_config is there; one with another is replaced (xapi.md 7.5). */
  createPbd(sr: Uuid, host: Uuid, deviceConfig: TextMap, signal?: AbortSignal): Promise<void>;
  plugPbd(sr: Uuid, host: Uuid, signal?: AbortSignal): Promise<void>;
  unplugPbd(sr: Uuid, host: Uuid, signal?: AbortSignal): Promise<void>;
  /** Removes the record of an SR, with its PBDs, all of which must be unplugged; the storage is not touched (xapi.md 7.9). */
  forgetSr(sr: Uuid, signal?: AbortSignal): Promise<void>;
  /** Deletes records of disks that are gone and with them the VBDs of halted VMs (xapi.md 7.9). */
  scanSr(sr: Uuid, signal?: AbortSignal): Promise<void>;
  setSrName(sr: Uuid, nameLabel: string, nameDescription: string, signal?: AbortSignal): Promise<void>;
  setVdiName(vdi: Uuid, nameLabel: string, nameDescription: string, signal?: AbortSignal): Promise<void>;

  /** `PUT /import_metadata`. The answer is the task's, never the socket's (xapi.md 3.4). Returns uuids of created VMs. */
  importMetadata(
    archive: Uint8Array,
    options: { readonly restore: boolean; readonly dryRun: boolean },
    signal?: AbortSignal,
  ): Promise<readonly Uuid[]>;

  /** Clears attached flags of a halted VM (xapi.md 4.6). */
  resetPowerState(vm: Uuid, signal?: AbortSignal): Promise<void>;
  startVm(vm: Uuid, signal?: AbortSignal): Promise<void>;
  cleanShutdownVm(vm: Uuid, signal?: AbortSignal): Promise<void>;
  hardShutdownVm(vm: Uuid, signal?: AbortSignal): Promise<void>;
  /**
   * Removes the record of a halted VM or of a snapshot, if its `other_config` has this entry; its disks stay (xapi.md
   * 8.7). Kind `refused`, code DR-VM-NOT-OURS, for one without the entry; quiet when there is no such VM.
   */
  destroyMarkedVm(
    vm: Uuid,
    mark: { readonly key: string; readonly value: string },
    signal?: AbortSignal,
  ): Promise<void>;
  /** Why each host refuses the VM: empty text for a host that would take it (xapi.md 8.2). */
  whyNotHere(
    vm: Uuid,
    signal?: AbortSignal,
  ): Promise<readonly { readonly host: Uuid; readonly hostName: string; readonly reason: string }[]>;
  blockOperations(
    vm: Uuid,
    operations: readonly string[],
    reason: string,
    signal?: AbortSignal,
  ): Promise<void>;
  unblockOperations(vm: Uuid, operations: readonly string[], signal?: AbortSignal): Promise<void>;
  setHaRestartPriority(vm: Uuid, priority: string, signal?: AbortSignal): Promise<void>;
  setStartDelay(vm: Uuid, seconds: number, signal?: AbortSignal): Promise<void>;
  addVmTag(vm: Uuid, tag: string, signal?: AbortSignal): Promise<void>;
  setVmOtherConfig(vm: Uuid, key: string, value: string | null, signal?: AbortSignal): Promise<void>;
  /** Makes the appliance if no appliance of that name is there, and puts the VMs in. Returns its uuid. */
  rebuildAppliance(
    nameLabel: string,
    nameDescription: string,
    vms: readonly Uuid[],
    signal?: AbortSignal,
  ): Promise<Uuid>;
  /** Memory, vCPUs and preferred host of one VM; null when there is no such VM. */
  vmShape(vm: Uuid, signal?: AbortSignal): Promise<VmShape | null>;
  /** Changes those of them that are given, of a halted VM. */
  adjustVm(vm: Uuid, adjustment: Adjustment, signal?: AbortSignal): Promise<void>;
  /** Static addresses of the VIFs of a VM, by device; null for a family that is not static (xapi.md 8.6). */
  vifAddresses(vm: Uuid, signal?: AbortSignal): Promise<readonly StaticAddress[]>;
  /**
   * Has the guest agent set these addresses: `VIF.configure_ipv4/6`. Peer code `VM_LACKS_FEATURE` as long as the agent
   * has not reported since the last start, or cannot do it (xapi.md 8.6).
   */
  setVifAddress(vm: Uuid, address: StaticAddress, signal?: AbortSignal): Promise<void>;
  /** Power state and guest facts of some VMs, cheaply: for readiness gates. */
  vmStates(vms: readonly Uuid[], signal?: AbortSignal): Promise<ReadonlyMap<Uuid, VmState>>;

  /** Logs out and closes connections; never throws. */
  close(): Promise<void>;
}

export interface VmState {
  readonly powerState: 'Halted' | 'Paused' | 'Running' | 'Suspended';
  readonly residentOn: Uuid | null;
  /** Slept inside VM.start (xapi.md 8.1). */
  readonly startDelaySeconds: number;
  readonly guest: {
    readonly networks: TextMap;
    readonly driversDetected: boolean;
    readonly live: boolean;
  } | null;
}

export type VmShape = Pick<
  VmFacts,
  'memoryStaticMax' | 'memoryDynamicMax' | 'memoryDynamicMin' | 'vcpusAtStartup' | 'affinity'
>;

export interface SrRecord {
  readonly uuid: Uuid;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly type: string;
  readonly contentType: string;
  readonly shared: boolean;
  readonly smConfig: TextMap;
}

/** The device_config of a PBD for an SR of this type that now lives at `exposed` (xapi.md 7.4). */
export type DeviceConfigFor = (type: string, production: TextMap, exposed: Exposed) => TextMap;
