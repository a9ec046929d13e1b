/**
 * Which way a group is protected now. sites.yaml is written once; after a reprotect the sites have changed places, and
 * every planner, check and report sees the group as it stands today.
 */
import type { GroupState } from './group.ts';
import type { GroupSettings, NetworkMapping } from './settings.ts';

/** The group with production and recovery as they are now. Without a state, or before any reprotect: as configured. */
export function oriented(group: GroupSettings, state: Pick<GroupState, 'roles'> | null): GroupSettings {
  return state?.roles === 'swapped' ? mirrored(group) : group;
}

/**
 * The group as a step sees it that works towards this site: what the plan says counts there, not how the group stands
 * by now, so that a journal is resumed in the direction in which it was begun.
 */
export function towards(group: GroupSettings, recovery: string): GroupSettings {
  return group.recovery === recovery ? group : mirrored(group);
}

/** The group with its sites exchanged: where it goes when it moves the other way. */
export function mirrored(group: GroupSettings): GroupSettings {
  return {
    ...group,
    production: group.recovery,
    recovery: group.production,
    storage: group.storage.map(({ sr, source, target }) => ({ sr, source: target, target: source })),
    networks: mirroredNetworks(group.networks),
  };
}

/** Where two production networks share one at the recovery site, the first of the settings is taken on the way back. */
function mirroredNetworks(networks: readonly NetworkMapping[]): NetworkMapping[] {
  const back = new Map<string, NetworkMapping>();
  for (const { production, recovery, drill, drillAtProduction } of networks)
    if (!back.has(recovery))
      back.set(recovery, {
        production: recovery,
        recovery: production,
        drill: drillAtProduction,
        drillAtProduction: drill,
      });
  return [...back.values()];
}
