/** The observed pool, arranged for the questions that an import asks; made once, however many documents follow. */
import type { NetworkFacts, PoolFacts, SrFacts, VbdFacts, VdiFacts, VmFacts } from '../../domain/pool.ts';

export class PoolIndex {
  readonly facts: PoolFacts;
  readonly vms: ReadonlyMap<string, VmFacts>;
  readonly srs: ReadonlyMap<string, SrFacts>;
  readonly vdis: ReadonlyMap<string, VdiFacts>;
  readonly hosts: ReadonlySet<string>;
  readonly vtpms: ReadonlySet<string>;
  readonly bySeed: ReadonlyMap<string, readonly VmFacts[]>;
  readonly networksByName: ReadonlyMap<string, readonly NetworkFacts[]>;
  readonly networksByBridge: ReadonlyMap<string, readonly NetworkFacts[]>;
  /** ISOs by file name, in any ISO SR that is no physical drive. */
  readonly isos: ReadonlyMap<string, readonly VdiFacts[]>;
  readonly byScsiId: ReadonlyMap<string, VdiFacts>;
  readonly vbdOwners: ReadonlyMap<string, VmFacts>;
  readonly vifOwners: ReadonlyMap<string, VmFacts>;
  readonly macOwners: ReadonlyMap<string, readonly { readonly vm: VmFacts; readonly networkUuid: string }[]>;
  /** Drives of VMs that are no snapshots, by disk. */
  readonly diskUsers: ReadonlyMap<string, readonly { readonly vm: VmFacts; readonly vbd: VbdFacts }[]>;
  readonly #byLocation: ReadonlyMap<string, VdiFacts>;

  constructor(facts: PoolFacts) {
    this.facts = facts;
    this.vms = new Map(facts.vms.map((vm) => [vm.uuid, vm]));
    this.srs = new Map(facts.srs.map((sr) => [sr.uuid, sr]));
    this.vdis = new Map(facts.vdis.map((vdi) => [vdi.uuid, vdi]));
    this.hosts = new Set(facts.hosts.map((host) => host.uuid));
    this.vtpms = new Set(facts.vtpmUuids);
    this.bySeed = groups(facts.vms, (vm) => vm.macSeed);
    this.networksByName = groups(facts.networks, (network) => network.nameLabel);
    this.networksByBridge = groups(facts.networks, (network) => network.bridge);
    const libraries = new Set(
      facts.srs.filter((sr) => sr.contentType === 'iso' && sr.type !== 'udev').map((sr) => sr.uuid),
    );
    this.isos = groups(
      facts.vdis.filter((vdi) => libraries.has(vdi.srUuid)),
      (vdi) => vdi.location,
    );
    const byLocation = new Map<string, VdiFacts>();
    const byScsiId = new Map<string, VdiFacts>();
    for (const vdi of facts.vdis) {
      const key = `${vdi.srUuid} ${vdi.location}`;
      if (!byLocation.has(key)) byLocation.set(key, vdi);
      const scsiId = vdi.smConfig['SCSIid'];
      if (scsiId !== undefined && scsiId !== '' && !byScsiId.has(scsiId)) byScsiId.set(scsiId, vdi);
    }
    this.#byLocation = byLocation;
    this.byScsiId = byScsiId;
    const vbdOwners = new Map<string, VmFacts>();
    const vifOwners = new Map<string, VmFacts>();
    const macOwners = new Map<string, { vm: VmFacts; networkUuid: string }[]>();
    const diskUsers = new Map<string, { vm: VmFacts; vbd: VbdFacts }[]>();
    for (const vm of facts.vms) {
      for (const vbd of vm.vbds) {
        vbdOwners.set(vbd.uuid, vm);
        if (vbd.vdiUuid !== null && vbd.type === 'Disk' && !vm.isSnapshot)
          append(diskUsers, vbd.vdiUuid, { vm, vbd });
      }
      for (const vif of vm.vifs) {
        vifOwners.set(vif.uuid, vm);
        if (!vm.isSnapshot && !vm.isTemplate)
          append(macOwners, vif.mac.toLowerCase(), { vm, networkUuid: vif.networkUuid });
      }
    }
    this.vbdOwners = vbdOwners;
    this.vifOwners = vifOwners;
    this.macOwners = macOwners;
    this.diskUsers = diskUsers;
  }

  diskAt(srUuid: string, location: string): VdiFacts | null {
    return this.#byLocation.get(`${srUuid} ${location}`) ?? null;
  }
}

function groups<T>(items: readonly T[], key: (item: T) => string | null): Map<string, T[]> {
  const map = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    if (name !== null && name !== '') append(map, name, item);
  }
  return map;
}

function append<T>(map: Map<string, T[]>, key: string, item: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else list.push(item);
}
