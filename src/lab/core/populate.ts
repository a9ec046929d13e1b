/** Filling a pool with many VMs at once, straight in the database: for benches, where the way there does not matter. */
import { randomUUID } from 'node:crypto';
import { addNetwork } from './build.ts';
import type { Row } from './database.ts';
import type { LabPool } from './pool.ts';
import { nullRef, struct, type Value } from './values.ts';

export interface Crowd {
  readonly vms: number;
  readonly disksPerVm?: number;
  readonly vifsPerVm?: number;
  /** `vm-` gives vm-0001 and so on. */
  readonly prefix?: string;
  readonly running?: boolean;
  readonly memoryBytes?: bigint;
  /** SRs to spread the disks over, by name; made and attached to every host when missing. */
  readonly srs?: readonly string[];
  readonly networks?: readonly string[];
  /** More fields of every VM. */
  readonly fields?: (index: number) => Readonly<Record<string, Value>>;
}

const mebibyte = 1024n * 1024n;

/** An NFS SR that is plugged on every host, as a record only: nothing lies behind it. */
export function addBareSr(pool: LabPool, name: string): Row {
  const sr = pool.db.create('SR', {
    name_label: name,
    type: 'nfs',
    content_type: 'user',
    shared: true,
    physical_size: 16n * 1024n ** 4n,
  });
  for (const host of pool.hosts)
    pool.db.create('PBD', {
      SR: sr.ref,
      host: host.row.ref,
      device_config: struct({ server: `storage.${pool.site}`, serverpath: `/volumes/${name}` }),
      currently_attached: true,
    });
  return sr;
}

/** Adds VMs with disks and network cards; returns their rows. 5,000 take about a second. */
export function populate(pool: LabPool, crowd: Crowd): Row[] {
  const { db } = pool;
  const named = (cls: string, names: readonly string[], make: (name: string) => Row): Row[] =>
    names.map((name) => db.byName(cls, name)[0] ?? make(name));
  const srs = named('SR', crowd.srs ?? ['crowd'], (name) => addBareSr(pool, name));
  const networks = named('network', crowd.networks ?? ['Production LAN'], (name) => addNetwork(pool, name));
  const width = String(crowd.vms).length;
  const vms: Row[] = [];
  for (let i = 0; i < crowd.vms; i += 1) {
    const name = `${crowd.prefix ?? 'vm-'}${String(i + 1).padStart(width, '0')}`;
    const vm = addVm(pool, name, i, crowd);
    for (let d = 0; d < (crowd.disksPerVm ?? 1); d += 1) addDisk(pool, vm, d, pick(srs, i + d), crowd);
    for (let n = 0; n < (crowd.vifsPerVm ?? 1); n += 1) addVif(pool, vm, n, pick(networks, i + n), crowd);
    vms.push(vm);
  }
  return vms;
}

function pick(rows: readonly Row[], index: number): Row {
  const row = rows[index % rows.length];
  if (row === undefined) throw new Error('nothing to choose from');
  return row;
}

function addVm(pool: LabPool, name: string, index: number, crowd: Crowd): Row {
  const memory = crowd.memoryBytes ?? 512n * mebibyte;
  const host = pool.hosts[index % pool.hosts.length];
  return pool.db.create('VM', {
    name_label: name,
    power_state: crowd.running === true ? 'Running' : 'Halted',
    resident_on: crowd.running === true ? (host?.row.ref ?? nullRef) : nullRef,
    domid: crowd.running === true ? BigInt(index + 1) : -1n,
    user_version: 1n,
    memory_overhead: 9n * mebibyte,
    memory_target: crowd.running === true ? memory : 0n,
    memory_static_max: memory,
    memory_dynamic_max: memory,
    memory_dynamic_min: memory,
    memory_static_min: memory / 2n,
    VCPUs_max: 1n,
    VCPUs_at_startup: 1n,
    actions_after_crash: 'restart',
    actions_after_reboot: 'restart',
    actions_after_shutdown: 'destroy',
    HVM_boot_policy: 'BIOS order',
    HVM_boot_params: struct({ order: 'cd' }),
    platform: struct({ viridian: 'true', 'device-model': 'qemu-upstream-compat' }),
    other_config: struct({ mac_seed: randomUUID() }),
    domain_type: 'hvm',
    hardware_platform_version: 2n,
    metrics: pool.db.create('VM_metrics', { current_domain_type: 'unspecified' }).ref,
    ...crowd.fields?.(index),
  });
}

function addDisk(pool: LabPool, vm: Row, device: number, sr: Row, crowd: Crowd): void {
  const uuid = randomUUID();
  const vdi = pool.db.create('VDI', {
    uuid,
    name_label: `${vm.text('name_label')} disk ${device}`,
    SR: sr.ref,
    virtual_size: 8192n * mebibyte,
    physical_utilisation: 512n * mebibyte,
    type: 'user',
    location: uuid,
    managed: true,
    on_boot: 'persist',
  });
  pool.db.create('VBD', {
    VM: vm.ref,
    VDI: vdi.ref,
    userdevice: String(device),
    device: crowd.running === true ? `xvd${String.fromCharCode(97 + device)}` : '',
    bootable: device === 0,
    mode: 'RW',
    type: 'Disk',
    unpluggable: true,
    currently_attached: crowd.running === true,
    metrics: pool.db.create('VBD_metrics').ref,
  });
}

function addVif(pool: LabPool, vm: Row, device: number, network: Row, crowd: Crowd): void {
  pool.db.create('VIF', {
    VM: vm.ref,
    network: network.ref,
    device: String(device),
    MAC: `aa:${randomUUID()
      .replace(/-/g, '')
      .slice(0, 10)
      .replace(/..(?=.)/g, '$&:')}`,
    MAC_autogenerated: true,
    MTU: 1500n,
    locking_mode: 'network_default',
    currently_attached: crowd.running === true,
    metrics: pool.db.create('VIF_metrics').ref,
  });
}
