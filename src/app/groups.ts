/** Which groups a request names, and the questions that a group asks of the world. */
import { exitCodes, OperatorError } from '../domain/errors.ts';
import { nearest } from '../domain/nearest.ts';
import type { GroupSettings, Settings } from '../domain/settings.ts';
import { defaultPointsPerGroup, type ObserveRequest } from '../observe/observe.ts';

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
