/** The state of the fake world: two sites with a pool each, one replicated SR between them. */
import type { PairAction } from '../../src/domain/plan.ts';
import type { PoolFacts, SrFacts, VdiFacts, VmFacts } from '../../src/domain/pool.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import type { ReplicaPoint, Role } from '../../src/domain/replication.ts';
import { vbdFacts, vdiFacts, vmFacts } from '../support/facts.ts';

export const at = '2026-01-01T00:00:00.000Z';

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };
export interface FakeSite {
  up: boolean;
  pool: Mutable<PoolFacts>;
  /** What a probe finds, by `server:serverpath`. */
  exports: Record<string, { sr: string; disks: readonly VdiFacts[] }>;
}
export interface FakeVolume {
  role: Role;
  /** Newest first. */
  points: ReplicaPoint[];
  /** The volume on the other side of the pair. */
  peer?: string;
  /** What was written here and is not on the other side. */
  bytesAlone?: number;
  /** Drills with a copy beside it. */
  drills?: string[];
}
export interface FakeState {
  sites: Record<string, FakeSite>;
  volumes: Record<string, FakeVolume>;
  objects: Record<string, string>;
  points: Record<string, RecoveryPoint>;
  /** Every write that reached the world, in order. */
  deeds: string[];
}

export const pair: PairAction = {
  sr: 'sr1',
  source: { array: 'filer-a', volume: 'vol1' },
  target: { array: 'filer-b', volume: 'vol1r' },
};
export const replicaPoint: ReplicaPoint = {
  ref: 'snap-7',
  takenAt: at,
  clock: 'source',
  complete: true,
  consistency: 'crash',
};

export function fakeSr(hosts: readonly string[], server: string): SrFacts {
  return {
    uuid: 'sr1',
    nameLabel: 'Data 1',
    nameDescription: 'first',
    type: 'nfs',
    contentType: 'user',
    shared: true,
    physicalSize: 1,
    physicalUtilisation: 1,
    smConfig: {},
    otherConfig: {},
    tags: [],
    pbds: hosts.map((hostUuid) => ({
      uuid: `pbd-${hostUuid}`,
      hostUuid,
      attached: true,
      deviceConfig: { server, serverpath: '/vol1', options: 'hard', password_secret: 'secret-1' },
    })),
  };
}

export function fakeDisk(name: string, values: Partial<VdiFacts> = {}): VdiFacts {
  return vdiFacts({ uuid: `disk-${name}`, srUuid: 'sr1', nameLabel: `${name} root`, ...values });
}

export function fakeVm(name: string, networkUuid: string, values: Partial<VmFacts> = {}): VmFacts {
  return vmFacts({
    uuid: name,
    nameLabel: name,
    memoryStaticMax: 1,
    memoryDynamicMin: 1,
    memoryDynamicMax: 1,
    memoryOverhead: 1,
    vbds: [vbdFacts(`vbd-${name}`, `disk-${name}`)],
    vifs: [{ uuid: `vif-${name}`, networkUuid, device: '0', mac: '00:16:3e:00:00:01', attached: true }],
    ...values,
  });
}

function fakePool(site: string, hosts: readonly string[], network: string): PoolFacts {
  return {
    uuid: `pool-${site}`,
    nameLabel: site,
    masterUuid: hosts[0] ?? '',
    observedAt: at,
    serverTime: at,
    productBrand: 'XCP-ng',
    productVersion: '8.3.0',
    xapiBuild: { major: 25, minor: 6, text: '25.6.0' },
    haEnabled: false,
    otherConfig: {},
    hosts: hosts.map((uuid) => ({
      uuid,
      nameLabel: uuid,
      address: `10.0.0.${uuid.length}`,
      enabled: true,
      live: true,
      memoryTotal: 1,
      memoryFree: 1,
      cpuCount: 1,
      cpuFeatures: '',
      cpuVendor: '',
    })),
    networks: [
      {
        uuid: `net-${site}`,
        nameLabel: network,
        nameDescription: '',
        bridge: 'xenbr0',
        mtu: 1500,
        managed: true,
        otherConfig: {},
        pifs: [],
      },
    ],
    srs: [],
    vdis: [],
    vms: [],
    defaultTemplateNames: [],
    appliances: [],
    gpuGroups: [],
    vtpmUuids: [],
  };
}

/** Tokyo runs the VMs on `sr1`; Osaka has its replica, not attached. */
export function twoSites(names: readonly string[]): FakeState {
  const disks = names.map((name) => fakeDisk(name));
  const tokyo = fakePool('tokyo', ['ta', 'tbb'], 'Office');
  const vms = names.map((name) => fakeVm(name, 'net-tokyo'));
  return {
    sites: {
      tokyo: {
        up: true,
        exports: {},
        pool: { ...tokyo, srs: [fakeSr(['ta', 'tbb'], 'filer-a')], vdis: disks, vms },
      },
      osaka: {
        up: true,
        pool: fakePool('osaka', ['oa', 'obb'], 'Office DR'),
        exports: {
          'filer-b:/vol1r': {
            sr: 'sr1',
            disks: disks.map((disk) => ({ ...disk, nameLabel: '', nameDescription: '' })),
          },
        },
      },
    },
    volumes: {
      vol1: { role: 'source', points: [], peer: 'vol1r' },
      vol1r: { role: 'target', points: [replicaPoint], peer: 'vol1' },
    },
    objects: {},
    points: {},
    deeds: [],
  };
}
