/** What of a pool decides whether a group could move there, small enough to be kept in every journal of a verification. */
import type { HostFacts, PoolFacts, Uuid, XapiBuild } from './pool.ts';
import type { Instant } from './time.ts';

export interface SiteLook {
  readonly takenAt: Instant;
  readonly poolUuid: Uuid;
  readonly poolName: string;
  readonly productVersion: string;
  readonly xapiBuild: XapiBuild;
  readonly haEnabled: boolean;
  readonly hosts: readonly LookedAtHost[];
  readonly networks: readonly {
    readonly uuid: Uuid;
    readonly nameLabel: string;
    readonly mtu: number;
    /** Distinct VLANs of its interfaces, −1 for untagged. */
    readonly vlans: readonly number[];
    /** Hosts with an interface on it. */
    readonly hosts: number;
  }[];
  readonly srs: readonly {
    readonly uuid: Uuid;
    readonly nameLabel: string;
    readonly type: string;
    /** Hosts that have it plugged. */
    readonly plugged: number;
  }[];
  /** Null when the pool did not tell. */
  readonly drivers: readonly string[] | null;
}

export type LookedAtHost = Pick<
  HostFacts,
  'uuid' | 'nameLabel' | 'memoryTotal' | 'memoryFree' | 'cpuCount' | 'cpuFeatures' | 'cpuVendor'
> & {
  /** Enabled and alive. */
  readonly inService: boolean;
};

/** Both sites of a group; null for one that could not be looked at. */
export interface SitesLook {
  readonly production: SiteLook | null;
  readonly recovery: SiteLook | null;
}

export function lookOf(pool: PoolFacts): SiteLook {
  const byName = <T extends { readonly nameLabel: string; readonly uuid: Uuid }>(items: readonly T[]): T[] =>
    [...items].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
  return {
    takenAt: pool.observedAt,
    poolUuid: pool.uuid,
    poolName: pool.nameLabel,
    productVersion: pool.productVersion,
    xapiBuild: pool.xapiBuild,
    haEnabled: pool.haEnabled,
    hosts: byName(pool.hosts).map(
      ({ uuid, nameLabel, memoryTotal, memoryFree, cpuCount, cpuFeatures, cpuVendor, enabled, live }) => ({
        uuid,
        nameLabel,
        memoryTotal,
        memoryFree,
        cpuCount,
        cpuFeatures,
        cpuVendor,
        inService: enabled && live,
      }),
    ),
    networks: byName(pool.networks).map(({ uuid, nameLabel, mtu, pifs }) => ({
      uuid,
      nameLabel,
      mtu,
      vlans: [...new Set(pifs.map((pif) => pif.vlan))].sort((a, b) => a - b),
      hosts: new Set(pifs.map((pif) => pif.hostUuid)).size,
    })),
    srs: byName(pool.srs).map(({ uuid, nameLabel, type, pbds }) => ({
      uuid,
      nameLabel,
      type,
      plugged: pbds.filter((pbd) => pbd.attached).length,
    })),
    drivers: pool.storageDrivers === undefined ? null : [...pool.storageDrivers].sort(),
  };
}

const key = ({ nameLabel, uuid }: { readonly nameLabel: string; readonly uuid: Uuid }): string =>
  `${nameLabel} ${uuid}`;
