/** Which network of the recovery pool stands for one of production: by its true name, never by its bridge. */
import type { NetworkTarget } from '../domain/plan.ts';
import type { NetworkFacts, PoolFacts } from '../domain/pool.ts';
import type { PointVm } from '../domain/recovery-point.ts';
import type { GroupSettings } from '../domain/settings.ts';

/** Which network of the recovery pool is meant: the one for the real thing, or the isolated one for drills. */
export type NetworkUse = 'recovery' | 'drill';

/** The name of a production network at the recovery site: as mapped, else the same name. */
export function mappedName(group: GroupSettings, production: string): string {
  return group.networks.find((mapping) => mapping.production === production)?.recovery ?? production;
}

/** The isolated network for drills; null where none is named, and then there is no drill (invariant 3). */
export function drillName(group: GroupSettings, production: string): string | null {
  return group.networks.find((mapping) => mapping.production === production)?.drill ?? null;
}

export function networksNamed(pool: PoolFacts, nameLabel: string): NetworkFacts[] {
  return pool.networks.filter((network) => network.nameLabel === nameLabel);
}

/** Every network name that the VMs use, and the one network here that bears the mapped name. */
export function networkTargets(
  group: GroupSettings,
  pool: PoolFacts,
  vms: readonly PointVm[],
  use: NetworkUse = 'recovery',
): NetworkTarget[] {
  const names = [...new Set(vms.flatMap((vm) => vm.networkNames))].sort();
  return names.flatMap((production) => {
    const name = use === 'drill' ? drillName(group, production) : mappedName(group, production);
    const found = name === null ? [] : networksNamed(pool, name);
    const [network] = found;
    // A missing or ambiguous name is a problem of the checks; the plan never guesses a network (invariant 12).
    if (network === undefined || found.length > 1) return [];
    return [
      {
        production,
        recovery: { uuid: network.uuid, nameLabel: network.nameLabel, bridge: network.bridge },
      },
    ];
  });
}
