/** Which groups a request names, and the questions that a group asks of the world. */
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import { nearest } from '../domain/nearest.ts';
import { oriented } from '../domain/orientation.ts';
import type { GroupSettings, Settings } from '../domain/settings.ts';
import { defaultPointsPerGroup, type ObserveRequest } from '../observe/observe.ts';
import type { GroupStates } from '../ports/system.ts';

/** The groups of these names, all of them for an empty list; unknown names are an error of usage. */
export function groupsNamed(settings: Settings, names: readonly string[]): GroupSettings[] {
  if (names.length === 0) return [...settings.groups];
  const unknown = names.filter((name) => !settings.groups.some((group) => group.name === name));
  if (unknown.length > 0) {
    const known = settings.groups.map((group) => group.name);
    throw new OperatorError(
      unknown.map((name) => {
        const close = nearest(name, known);
        return {
          code: 'DR-GROUP-UNKNOWN' as const,
          what: `There is no protection group ${name}`,
          where: { file: settings.file },
          known: [`the groups are ${known.join(', ')}`],
          next: close === null ? 'Name one of them.' : `Did you mean ${close}?`,
        };
      }),
      { exitCode: exitCodes.usage },
    );
  }
  return names.flatMap((name) => settings.groups.find((group) => group.name === name) ?? []);
}

export function groupNamed(settings: Settings, name: string): GroupSettings {
  const [group] = groupsNamed(settings, [name]);
  if (group === undefined) throw new Error('a name that is known has a group');
  return group;
}

export interface GroupAsItStands {
  /** As it is oriented now: production is where its VMs belong. */
  readonly group: GroupSettings;
  /** Null when nothing was ever done for the group. */
  readonly state: GroupState | null;
}

/** Groups with their states, each the way in which it is protected now; everything that looks at groups begins here. */
export async function asTheyStand(
  states: GroupStates,
  groups: readonly GroupSettings[],
): Promise<GroupAsItStands[]> {
  return Promise.all(
    groups.map(async (configured) => {
      const state = await states.get(configured.name);
      return { group: oriented(configured, state), state };
    }),
  );
}

/** What must be looked at to speak about these groups: their sites, their replication, their recovery points. */
export function observeRequest(groups: readonly GroupSettings[], pointId: string | null): ObserveRequest {
  return {
    sites: [...new Set(groups.flatMap((group) => [group.production, group.recovery]))],
    pairs: groups.flatMap((group) => group.storage),
    groups: groups.map((group) => group.name),
    pointsPerGroup: defaultPointsPerGroup,
    pointId,
  };
}
