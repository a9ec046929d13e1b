/**
 * The data set of performance.md 1: one and two disks by turns, an empty CD drive, one and two VIFs on two networks,
 * from 5 to 25 keys of other_config, and in every fiftieth VM one value of 20 kB. All of it running. At the recovery site
 * the SRs are there already, with every disk: attaching them costs both ways of recovery the same.
 */
import { randomUUID } from 'node:crypto';
import { addNetwork, addPool, addVlan } from '../../src/lab/core/build.ts';
import type { Lab } from '../../src/lab/core/lab.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { addBareSr, populate } from '../../src/lab/core/populate.ts';
import { struct, type Value } from '../../src/lab/core/values.ts';

export interface WorldSpec {
  readonly vms: number;
  /** VMs of the first tier; their names begin with `first-`. */
  readonly firstTier: number;
  /** Names of pools that could take the VMs, each with every disk. */
  readonly recoveries: readonly string[];
  /** Hosts of each of those pools; one when absent. */
  readonly hosts?: number;
}

export const srNames = ['silver', 'gold'] as const;
export const networkNames = ['Production LAN', 'Database'] as const;
export const recoveryNetworkOf = (name: string): string => `Recovery ${name}`;

const tebibyte = 1024n ** 4n;

export function benchWorld(spec: WorldSpec): (lab: Lab) => void {
  return (lab) => {
    const production = addPool(lab, {
      name: 'production',
      site: 'production',
      label: 'production',
      hosts: [{ name: 'prod-1', address: '127.0.71.1', memoryBytes: 16n * tebibyte }],
    });
    for (const name of srNames) addBareSr(production, name);
    addGuests(production, 'first-', spec.firstTier);
    addGuests(production, 'vm-', spec.vms - spec.firstTier);
    for (const [index, name] of spec.recoveries.entries()) {
      const pool = addPool(lab, {
        name,
        site: name,
        label: name,
        hosts: Array.from({ length: spec.hosts ?? 1 }, (_, host) => ({
          name: `${name}-${host + 1}`,
          address: `127.0.${72 + index}.${host + 1}`,
          memoryBytes: 16n * tebibyte,
        })),
      });
      for (const [number, network] of networkNames.entries())
        addVlan(pool, addNetwork(pool, recoveryNetworkOf(network)), BigInt(100 + number));
      copyStorage(production, pool);
    }
  };
}

function addGuests(pool: LabPool, prefix: string, count: number): void {
  const half = Math.floor(count / 2);
  const kinds = [
    { count: count - half, devices: 1, prefix: `${prefix}a-` },
    { count: half, devices: 2, prefix: `${prefix}b-` },
  ];
  for (const kind of kinds) {
    if (kind.count === 0) continue;
    const vms = populate(pool, {
      vms: kind.count,
      disksPerVm: kind.devices,
      vifsPerVm: kind.devices,
      prefix: kind.prefix,
      running: true,
      srs: srNames,
      networks: networkNames,
      fields: (index) => ({ other_config: struct(otherConfig(index)) }),
    });
    for (const vm of vms)
      pool.db.create('VBD', {
        VM: vm.ref,
        userdevice: '3',
        mode: 'RO',
        type: 'CD',
        empty: true,
        unpluggable: true,
        metrics: pool.db.create('VBD_metrics').ref,
      });
  }
}

function otherConfig(index: number): Record<string, Value> {
  const keys: Record<string, Value> = { mac_seed: randomUUID() };
  for (let key = 0; key < 4 + (index % 21); key += 1)
    keys[`XenCenter.CustomFields.field${key}`] = `value ${key} of ${randomUUID()}`;
  if (index % 50 === 7) keys['notes'] = randomUUID().repeat(555);
  return keys;
}

/** What the storage replication would have brought: the same SRs with the same disks. */
function copyStorage(from: LabPool, to: LabPool): void {
  for (const name of srNames) {
    const source = from.db.byName('SR', name)[0];
    if (source === undefined) throw new Error(`there is no SR ${name}`);
    const sr = addBareSr(to, name);
    sr.set({ uuid: source.text('uuid') });
    const config = source.rows('PBDs', 'PBD')[0]?.map('device_config');
    if (config !== undefined) for (const pbd of sr.rows('PBDs', 'PBD')) pbd.set({ device_config: config });
    for (const vdi of source.rows('VDIs', 'VDI'))
      to.db.create('VDI', {
        uuid: vdi.text('uuid'),
        name_label: vdi.text('name_label'),
        SR: sr.ref,
        virtual_size: vdi.int('virtual_size'),
        physical_utilisation: vdi.int('physical_utilisation'),
        type: 'user',
        location: vdi.text('location'),
        managed: true,
        on_boot: 'persist',
      });
  }
}
