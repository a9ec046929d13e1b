/** What has to be cleaned up: what is seen of drills, and what cannot be seen of the one that is remembered. */
import { type DrillRemains, drillRemains } from '../../domain/drill.ts';
import type { GroupState } from '../../domain/group.ts';
import type { Observation } from '../../domain/observation.ts';
import type { GroupSettings } from '../../domain/settings.ts';

/** Of the drill that the state remembers, an array whose list cannot be read is told to stop every clone: that does no harm. */
export function remainsOf(
  group: GroupSettings,
  observation: Observation,
  open: GroupState['drill'],
): DrillRemains[] {
  const view = observation.sites[group.recovery];
  const found = drillRemains(group, observation, view?.reachable === true ? view.pool : null);
  if (open === null) return found;
  const seen = found.find(({ drill }) => drill === open.id) ?? {
    drill: open.id,
    vms: [],
    srs: [],
    clones: [],
  };
  const unread = group.storage
    .map(({ target }) => target)
    .filter(({ array }) => observation.arrays?.find((each) => each.array === array)?.drills == null);
  return [
    ...found.filter(({ drill }) => drill !== open.id),
    { ...seen, clones: [...seen.clones, ...unread] },
  ];
}
