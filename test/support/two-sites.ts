/**
 * Two sites as a planner sees them: 24 VMs of a shop on two replicated SRs in Osaka, three hosts in Tokyo to take them.
 * Everything is a plain value; a test changes what its story needs.
 */
import type { Observation, PairObservation, SiteView } from '../../src/domain/observation.ts';
import type {
  HostFacts,
  NetworkFacts,
  PoolFacts,
  SrFacts,
  VdiFacts,
  VmFacts,
} from '../../src/domain/pool.ts';
import type { PointVm, RecoveryPoint } from '../../src/domain/recovery-point.ts';
import type { ReplicaPoint } from '../../src/domain/replication.ts';
import { nothing } from '../../src/domain/scope.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { vbdFacts, vmFacts } from './facts.ts';

export const now = '2026-03-14T02:00:00.000Z';
const gib = 1024 ** 3;

/** A uuid that a reader can follow: `uuid('vm', 7)`. */
export function uuid(kind: string, number: number): string {
  const kinds: Record<string, string> = {
    pool: '0',
    host: '1',
    network: '2',
    sr: '3',
    vdi: '4',
    vm: '5',
    vbd: '6',
    vif: '7',
    pbd: '8',
    vapp: '9',
  };
  return `0000000${kinds[kind] ?? 'f'}-0000-4000-8000-${String(number).padStart(12, '0')}`;
}

export const shop: GroupSettings = {
  name: 'shop',
  production: 'osaka',
  recovery: 'tokyo',
  scope: { include: { ...nothing, names: ['db-*', 'app-*', 'web-*'] }, exclude: nothing },
  storage: [
    {
      sr: 'Tier 1',
      source: { array: 'filer-osaka', volume: 'tier1' },
      target: { array: 'filer-tokyo', volume: 'tier1-copy' },
    },
    {
      sr: 'Tier 2',
      source: { array: 'filer-osaka', volume: 'tier2' },
      target: { array: 'filer-tokyo', volume: 'tier2-copy' },
    },
  ],
  rpoSeconds: 900,
  rtoSeconds: 3600,
  networks: [
    { production: 'Production LAN', recovery: 'Tokyo LAN', drill: null, drillAtProduction: null },
    { production: 'Database', recovery: 'Tokyo Database', drill: null, drillAtProduction: null },
  ],
  plan: {
    file: 'runbooks/shop.yaml',
    tiers: [
      {
        name: 'database',
        vms: { ...nothing, names: ['db-*'] },
        ready: [{ gate: 'guest-agent' }],
        timeoutSeconds: 300,
        onTimeout: 'stop',
      },
      {
        name: 'application',
        vms: { ...nothing, names: ['app-*'] },
        ready: [{ gate: 'running' }],
        timeoutSeconds: 300,
        onTimeout: 'continue',
      },
      {
        name: 'web',
        vms: { ...nothing, names: ['web-*'] },
        ready: [{ gate: 'running' }],
        timeoutSeconds: 300,
        onTimeout: 'continue',
      },
    ],
    others: 'by-order',
    honourStartDelay: true,
  },
  retention: { last: 10, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, maxAgeSeconds: null },
};

export function host(number: number, name: string, freeGib: number): HostFacts {
  return {
    uuid: uuid('host', number),
    nameLabel: name,
    address: `192.0.2.${number}`,
    enabled: true,
    live: true,
    memoryTotal: 128 * gib,
    memoryFree: freeGib * gib,
    cpuCount: 16,
    cpuFeatures: '17cbfbff-f7fa3223-2c100800-00000021',
    cpuVendor: 'GenuineIntel',
    gpuGroupUuids: [],
  };
}

export function network(
  number: number,
  name: string,
  hosts: readonly HostFacts[],
  bridge = `xenbr${number}`,
): NetworkFacts {
  return {
    uuid: uuid('network', number),
    nameLabel: name,
    nameDescription: '',
    bridge,
    mtu: 1500,
    managed: true,
    otherConfig: {},
    pifs: hosts.map((h) => ({ hostUuid: h.uuid, device: 'eth0', vlan: -1, attached: true })),
  };
}

export function sr(number: number, name: string, hosts: readonly HostFacts[]): SrFacts {
  return {
    uuid: uuid('sr', number),
    nameLabel: name,
    nameDescription: '',
    type: 'nfs',
    contentType: 'user',
    shared: true,
    physicalSize: 1024 * gib,
    physicalUtilisation: 100 * gib,
    smConfig: {},
    otherConfig: {},
    tags: [],
    pbds: hosts.map((h, index) => ({
      uuid: uuid('pbd', number * 100 + index),
      hostUuid: h.uuid,
      attached: true,
      deviceConfig: { server: '192.0.2.50', serverpath: `/exports/tier${number}` },
    })),
  };
}

/** `db-01` … `db-04`, `app-01` … `app-08`, `web-01` … `web-12`; databases on the first SR, the rest on the second. */
export const vmNames: readonly string[] = [
  ...['db-01', 'db-02', 'db-03', 'db-04'],
  ...Array.from({ length: 8 }, (_, i) => `app-${String(i + 1).padStart(2, '0')}`),
  ...Array.from({ length: 12 }, (_, i) => `web-${String(i + 1).padStart(2, '0')}`),
];

export function vm(
  number: number,
  name: string,
  networkUuid: string,
  changes: Partial<VmFacts> = {},
): VmFacts {
  return vmFacts({
    uuid: uuid('vm', number),
    nameLabel: name,
    macSeed: `seed-${number}`,
    memoryStaticMax: 4 * gib,
    memoryDynamicMin: 4 * gib,
    memoryDynamicMax: 4 * gib,
    vcpusAtStartup: 2,
    haRestartPriority: name.startsWith('db-') ? 'restart' : '',
    applianceUuid: name.startsWith('web-') ? uuid('vapp', 1) : null,
    vbds: [vbdFacts(uuid('vbd', number), uuid('vdi', number))],
    vifs: [{ uuid: uuid('vif', number), networkUuid, device: '0', mac: '02:00:00:00:00:01', attached: true }],
    ...changes,
  });
}

export function vdi(number: number, srUuid: string): VdiFacts {
  return {
    uuid: uuid('vdi', number),
    srUuid,
    location: uuid('vdi', number),
    nameLabel: `disk ${number}`,
    nameDescription: '',
    type: 'user',
    virtualSize: 20 * gib,
    managed: true,
    missing: false,
    isASnapshot: false,
    snapshotOf: null,
    readOnly: false,
    smConfig: {},
    otherConfig: {},
  };
}

function pool(
  name: string,
  number: number,
  parts: Pick<PoolFacts, 'hosts' | 'networks' | 'srs' | 'vdis' | 'vms' | 'appliances'>,
): PoolFacts {
  return {
    uuid: uuid('pool', number),
    nameLabel: name,
    masterUuid: parts.hosts[0]?.uuid ?? '',
    observedAt: now,
    serverTime: now,
    productBrand: 'XCP-ng',
    productVersion: '8.3.0',
    xapiBuild: { major: 25, minor: 6, text: '25.6.0' },
    haEnabled: false,
    haPlan: { hostFailuresToTolerate: 0, planExistsFor: 0, allowOvercommit: false },
    clockOffsetSeconds: 0,
    storageDrivers: ['ext', 'lvm', 'lvmoiscsi', 'nfs'],
    otherConfig: {},
    defaultTemplateNames: [],
    gpuGroups: [],
    vtpmUuids: [],
    ...parts,
  };
}

export function productionPool(): PoolFacts {
  const hosts = [host(1, 'osaka-1', 32), host(2, 'osaka-2', 32), host(3, 'osaka-3', 32)];
  const lan = network(1, 'Production LAN', hosts);
  const database = network(2, 'Database', hosts);
  const srs = [sr(1, 'Tier 1', hosts), sr(2, 'Tier 2', hosts)];
  const vms = vmNames.map((name, i) => vm(i + 1, name, (name.startsWith('db-') ? database : lan).uuid));
  return pool('osaka-pool', 1, {
    hosts,
    networks: [lan, database],
    srs,
    vdis: vmNames.map((name, i) => vdi(i + 1, (srs[name.startsWith('db-') ? 0 : 1] ?? srs[0])?.uuid ?? '')),
    vms,
    appliances: [
      {
        uuid: uuid('vapp', 1),
        nameLabel: 'Shop front',
        nameDescription: '',
        vmUuids: vms.filter((v) => v.applianceUuid !== null).map((v) => v.uuid),
      },
    ],
  });
}

export function recoveryPool(): PoolFacts {
  const hosts = [host(11, 'tokyo-1', 96), host(12, 'tokyo-2', 96), host(13, 'tokyo-3', 96)];
  return pool('tokyo-pool', 2, {
    hosts,
    networks: [network(11, 'Tokyo LAN', hosts, 'xenbr0'), network(12, 'Tokyo Database', hosts, 'xapi1')],
    srs: [],
    vdis: [],
    vms: [],
    appliances: [],
  });
}

/** The recovery point that an export of this pool would seal at that time. */
export function pointOf(facts: PoolFacts, takenAt: string, number = 1): RecoveryPoint {
  const srOf = new Map(facts.vdis.map((d) => [d.uuid, d.srUuid]));
  const vms: PointVm[] = facts.vms.map((v) => {
    const vdiUuids = v.vbds.flatMap((vbd) => vbd.vdiUuid ?? []);
    return {
      uuid: v.uuid,
      nameLabel: v.nameLabel,
      document: { sha256: v.uuid.replaceAll('-', '').repeat(2), bytes: 30_000 },
      powerState: v.powerState,
      order: v.order,
      startDelaySeconds: v.startDelaySeconds,
      memoryStaticMax: v.memoryStaticMax,
      memoryDynamicMax: v.memoryDynamicMax,
      memoryOverhead: v.memoryOverhead,
      vcpusAtStartup: v.vcpusAtStartup,
      hasVgpu: v.hasVgpu,
      ...(v.bootCpu === undefined ? {} : { bootCpu: v.bootCpu }),
      haRestartPriority: v.haRestartPriority,
      haAlwaysRun: v.haAlwaysRun,
      tags: v.tags,
      folder: null,
      srUuids: [...new Set(vdiUuids.flatMap((d) => srOf.get(d) ?? []))],
      vdiUuids,
      networkNames: v.vifs.flatMap(
        (vif) => facts.networks.find((n) => n.uuid === vif.networkUuid)?.nameLabel ?? [],
      ),
      applianceUuid: v.applianceUuid,
      ...(v.digest === undefined ? {} : { digest: v.digest }),
    };
  });
  return {
    id: `shop/${takenAt.replace(/[-:]|\.\d+/g, '')}-000${number}`,
    group: 'shop',
    takenAt,
    site: 'osaka',
    poolUuid: facts.uuid,
    poolName: facts.nameLabel,
    productBrand: facts.productBrand,
    productVersion: facts.productVersion,
    xapiBuild: facts.xapiBuild,
    configDigest: 'c'.repeat(64),
    vms,
    failures: [],
    srs: facts.srs.map((s) => ({ ...s, secretDeviceConfig: {} })),
    vdis: facts.vdis,
    networks: facts.networks,
    hosts: facts.hosts,
    appliances: facts.appliances,
    poolOtherConfig: {},
    haEnabled: facts.haEnabled,
    database: null,
    replication: facts.srs.map((s, i) => ({
      srUuid: s.uuid,
      source: shop.storage[i]?.source ?? { array: '', volume: '' },
      target: shop.storage[i]?.target ?? { array: '', volume: '' },
      newestPoint: null,
      gap: null,
    })),
  };
}

export function replicaPoint(takenAt: string, complete = true): ReplicaPoint {
  return { ref: `p-${takenAt}`, takenAt, clock: 'source', complete, consistency: 'crash' };
}

/** The pairs of the group: production's array dark, the target with these points. */
export function pairs(points: readonly ReplicaPoint[]): PairObservation[] {
  return shop.storage.map((storage) => ({
    sr: storage.sr,
    source: null,
    target: {
      pair: storage.target,
      observedAt: now,
      role: 'target',
      link: 'down',
      health: { level: 'ok', reasons: [] },
      newestComplete: points[0] ?? null,
      writable: false,
      reportedLagSeconds: null,
      raw: {},
    },
    points,
  }));
}

export const deadProduction: SiteView = {
  reachable: false,
  site: 'osaka',
  observedAt: now,
  problem: {
    code: 'DR-POOL-UNREACHABLE',
    what: 'No host of pool osaka answers',
    next: 'Check the network and the hosts.',
  },
  endpoints: [
    { url: 'https://192.0.2.1', answered: false, detail: 'connection refused', observedAt: now },
    { url: 'https://192.0.2.2', answered: false, detail: 'connection refused', observedAt: now },
    { url: 'https://192.0.2.3', answered: false, detail: 'connection refused', observedAt: now },
  ],
};

export function alive(facts: PoolFacts, site: string): SiteView {
  return { reachable: true, site, pool: facts, endpoints: [] };
}

/** Ten minutes after the last export and four after the last replication, Osaka goes dark. */
export function disaster(changes: Partial<Observation> = {}): Observation {
  return {
    id: 'obs-000000000001',
    takenAt: now,
    sites: { osaka: deadProduction, tokyo: alive(recoveryPool(), 'tokyo') },
    pairs: pairs([replicaPoint(addSeconds(now, -240)), replicaPoint(addSeconds(now, -540))]),
    catalog: { observedAt: now, points: [pointOf(productionPool(), addSeconds(now, -600))], damaged: [] },
    gaps: [],
    ...changes,
  };
}

/** A quiet night: everything answers. */
export function quiet(): Observation {
  return disaster({
    sites: { osaka: alive(productionPool(), 'osaka'), tokyo: alive(recoveryPool(), 'tokyo') },
  });
}
