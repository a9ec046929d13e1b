/**
 * The two-site world of `make demo` and of the sample `sites.yaml`: pools of three hosts, an array at each site, 24 VMs
 * on two SRs in production, and recovery networks that go by other names.
 */
import { addArray, addVolume, pairVolumes } from './arrays/index.ts';
import { addNetwork, addPool, addVlan } from './core/build.ts';
import { invoke } from './core/dispatch.ts';
import type { Lab } from './core/lab.ts';
import type { LabPool } from './core/pool.ts';
import type { ProductName } from './core/product.ts';
import { nullRef, struct } from './core/values.ts';
import { vmState } from './vm/state.ts';

/** How often the production array sends a point: often enough that a newcomer sees the written data arrive. */
const replicationSeconds = 10;

/** What the production array replicates to the recovery array: two NFS volumes. */
export const demoVolumes = ['gold', 'silver'] as const;

interface Role {
  readonly name: string;
  readonly count: number;
  readonly network: string;
  readonly sr: (typeof demoVolumes)[number];
  readonly tier: number;
  readonly memoryMebibytes: bigint;
}

const roles: readonly Role[] = [
  { name: 'db', count: 4, network: 'Database', sr: 'gold', tier: 0, memoryMebibytes: 4096n },
  { name: 'app', count: 8, network: 'Production LAN', sr: 'gold', tier: 1, memoryMebibytes: 2048n },
  { name: 'web', count: 12, network: 'DMZ', sr: 'silver', tier: 2, memoryMebibytes: 1024n },
];

interface Net {
  readonly name: string;
  readonly subnet: string;
  /** VLAN on every host; a network without one leads nowhere, as a drill wants it. */
  readonly vlan?: bigint;
}

const productionNetworks: readonly Net[] = [
  { name: 'Production LAN', subnet: '10.10.0.0/22', vlan: 10n },
  { name: 'DMZ', subnet: '10.10.8.0/24', vlan: 20n },
  { name: 'Database', subnet: '10.10.16.0/24', vlan: 30n },
];

const recoveryNetworks: readonly Net[] = [
  { name: 'Recovery LAN', subnet: '10.20.0.0/22', vlan: 110n },
  { name: 'Recovery DMZ', subnet: '10.20.8.0/24', vlan: 120n },
  { name: 'Recovery Database', subnet: '10.20.16.0/24', vlan: 130n },
  { name: 'Drill LAN', subnet: '10.99.0.0/22' },
  { name: 'Drill DMZ', subnet: '10.99.8.0/24' },
  { name: 'Drill Database', subnet: '10.99.16.0/24' },
];

const arrayAddresses = { production: '127.0.1.100', recovery: '127.0.2.100' };

export async function demoWorld(lab: Lab): Promise<void> {
  await demoOf(lab, {});
}

/** Where the SRs of the two volumes come from, and how the replicas get their first point. */
export interface DemoStorage {
  /** The device_config of a volume at the production site. */
  device(volume: (typeof demoVolumes)[number]): Readonly<Record<string, string>>;
  /** SR type of a volume; absent: nfs. */
  type?(volume: (typeof demoVolumes)[number]): string;
  /** Called once everything is written that the guests begin with. */
  inStep(): Promise<void>;
}

/** The same with fewer guests, by the name of their role, on storage of another kind, and with pools of other ages. */
export async function demoOf(
  lab: Lab,
  guests: Readonly<Record<string, number>>,
  storage: (lab: Lab, pools: readonly LabPool[]) => Promise<DemoStorage> = labArrays,
  products: { readonly production?: ProductName; readonly recovery?: ProductName } = {},
): Promise<void> {
  const production = addPool(lab, {
    name: 'production',
    site: 'production',
    label: 'production',
    product: products.production ?? 'current',
    hosts: [1, 2, 3].map((n) => ({ name: `prod-${n}`, address: `127.0.1.${n}` })),
  });
  const recovery = addPool(lab, {
    name: 'recovery',
    site: 'recovery',
    label: 'recovery',
    product: products.recovery ?? 'current',
    hosts: [1, 2, 3].map((n) => ({ name: `reco-${n}`, address: `127.0.2.${n}` })),
  });
  addNetworks(production, productionNetworks);
  addNetworks(recovery, recoveryNetworks);
  const made = await storage(lab, [production, recovery]);
  for (const pool of [production, recovery]) vmState(pool).agents = true;
  await addGuests(production, guests, made);
  await made.inStep();
}

/** An array of the lab at each site, which replicate by themselves. */
async function labArrays(lab: Lab, pools: readonly LabPool[]): Promise<DemoStorage> {
  const arrays = [];
  for (const [site, address] of Object.entries(arrayAddresses)) {
    const array = await addArray(lab, { name: `array-${site}`, site, address, port: lab.port });
    for (const volume of demoVolumes) addVolume(array, volume, pools);
    arrays.push(array);
  }
  const [source, target] = arrays;
  if (source !== undefined && target !== undefined)
    for (const volume of demoVolumes)
      pairVolumes(
        { array: source, volume },
        { array: target, volume },
        { intervalSeconds: replicationSeconds },
      );
  return {
    device: (volume) => ({ server: arrayAddresses.production, serverpath: `/volumes/${volume}` }),
    // The pairs have been in step for long: the target holds a point from the start.
    inStep: async () => {
      for (const volume of demoVolumes) await source?.sync(volume, null).done;
    },
  };
}

function addNetworks(pool: LabPool, networks: readonly Net[]): void {
  for (const { name, subnet, vlan } of networks) {
    const network = addNetwork(pool, name, { description: subnet });
    vmState(pool).subnets.set(network.uuid, subnet);
    if (vlan !== undefined) addVlan(pool, network, vlan);
  }
}

async function addGuests(
  pool: LabPool,
  guests: Readonly<Record<string, number>>,
  storage: DemoStorage,
): Promise<void> {
  const host = pool.master;
  const srs = new Map<string, string>();
  for (const volume of demoVolumes) {
    const sr = await invoke(
      host,
      'SR.create',
      host.row.ref,
      struct(storage.device(volume)),
      0n,
      `${volume} storage`,
      `NFS volume ${volume} of the production array`,
      storage.type?.(volume) ?? 'nfs',
      'user',
      true,
      struct(),
    );
    srs.set(volume, String(sr));
  }
  for (const role of roles)
    for (let i = 1; i <= (guests[role.name] ?? role.count); i += 1) {
      const name = `${role.name}-${String(i).padStart(2, '0')}`;
      await addGuest(pool, name, role, srs.get(role.sr) ?? nullRef);
    }
}

async function addGuest(pool: LabPool, name: string, role: Role, sr: string): Promise<void> {
  const host = pool.master;
  const memory = role.memoryMebibytes * 1024n * 1024n;
  const vm = String(
    await invoke(
      host,
      'VM.create',
      struct({
        name_label: name,
        name_description: `${role.name} server of the demo`,
        user_version: 1n,
        memory_static_max: memory,
        memory_dynamic_max: memory,
        memory_dynamic_min: memory,
        memory_static_min: memory / 2n,
        VCPUs_max: 2n,
        VCPUs_at_startup: 2n,
        actions_after_crash: 'restart',
        actions_after_reboot: 'restart',
        actions_after_shutdown: 'destroy',
        HVM_boot_policy: 'BIOS order',
        HVM_boot_params: struct({ order: 'cd' }),
        platform: struct({ viridian: 'true' }),
        domain_type: 'hvm',
        order: BigInt(role.tier),
        tags: ['protected', `role:${role.name}`],
      }),
    ),
  );
  const vdi = await invoke(
    host,
    'VDI.create',
    struct({
      name_label: `${name} disk 0`,
      SR: sr,
      virtual_size: 64n * 1024n * 1024n,
      type: 'user',
      sharable: false,
      read_only: false,
      other_config: struct(),
    }),
  );
  await invoke(
    host,
    'VBD.create',
    struct({
      VM: vm,
      VDI: String(vdi),
      userdevice: '0',
      bootable: true,
      mode: 'RW',
      type: 'Disk',
      unpluggable: true,
      empty: false,
      other_config: struct(),
    }),
  );
  const network = pool.db.byName('network', role.network)[0]?.ref ?? nullRef;
  await invoke(
    host,
    'VIF.create',
    struct({ device: '0', network, VM: vm, MAC: '', MTU: 1500n, other_config: struct() }),
  );
  await invoke(host, 'VM.start', vm, false, false);
}
