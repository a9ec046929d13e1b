/**
 * Consistency groups: one relationship `SVM:/cg/NAME` for several volumes, whose snapshots are cut and restored together.
 * A point of the group is a snapshot that every one of its volumes of sites.yaml holds under one name, and that was taken
 * for the group: by Lifeboat, or by SnapMirror for a transfer. Its identity is made of those of its parts, so that it is the
 * same on both clusters and cannot be given twice.
 */
import { createHash } from 'node:crypto';
import { groupHalfWay, groupsHere, groupsThere, type Paired } from '../consistency-group.ts';
import type { ClusterFacts, OntapControl, Snapshot, VolumePath } from './control.ts';
import { partsOf } from './options.ts';

/** By volume, the path of its group as a relationship names it; in the order of sites.yaml, which pairs the volumes of both sides. */
export type Groups = ReadonlyMap<VolumePath, string>;

export const noGroups: Groups = new Map();

export function groupsOfOwn(peers: ReadonlyMap<string, Paired>): Groups {
  return pathsOf(groupsHere(peers));
}

export function groupsOfPeer(peers: ReadonlyMap<string, Paired>): Groups {
  return pathsOf(groupsThere(peers));
}

function pathsOf(names: ReadonlyMap<string, string>): Groups {
  return new Map(
    [...names].map(([volume, name]): [string, string] => [volume, `${partsOf(volume).svm}:/cg/${name}`]),
  );
}

/** What a relationship calls this volume: its group, where it belongs to one. */
export function endOf({ groups }: Pick<OntapControl, 'groups'>, volume: VolumePath): string {
  return groups.get(volume) ?? volume;
}

/** All volumes of the group of this one, itself included. */
export function membersOf(
  { groups }: Pick<OntapControl, 'groups'>,
  volume: VolumePath,
): readonly VolumePath[] {
  const group = groups.get(volume);
  if (group === undefined) return [volume];
  return [...groups].flatMap(([one, name]) => (name === group ? [one] : []));
}

/** `SVM:/cg/NAME` in its parts. */
export function groupParts(group: string): { readonly svm: string; readonly name: string } {
  const [svm = '', name = ''] = group.split(':/cg/');
  return { svm, name };
}

/** Asynchronous SnapMirror of consistency groups came with 9.13.1. */
export function knowsGroups({ version }: Pick<ClusterFacts, 'version'>): boolean {
  const [, generation, major, minor] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(version) ?? [];
  const [a = 0, b = 0, c = 0] = [generation, major, minor].map((part) => Number(part ?? 0));
  return a > 9 || (a === 9 && (b > 13 || (b === 13 && c >= 1)));
}

const takenForGroup = (snapshot: Snapshot, label: string): boolean =>
  snapshot.label === label || snapshot.name.startsWith('snapmirror.');

/**
 * Those snapshots of `own` that are points of its group, each with the identity of the whole.
 * @param held - the snapshots of every member, `own` included
 */
export function groupPoints(
  own: readonly Snapshot[],
  held: readonly (readonly Snapshot[])[],
  label: string,
): Snapshot[] {
  return own.flatMap((snapshot) => {
    const parts = held.map((all) => all.find(({ name }) => name === snapshot.name));
    if (!takenForGroup(snapshot, label)) return [];
    const ids = parts.map((part) =>
      part === undefined || !takenForGroup(part, label) ? null : part.versionUuid,
    );
    if (ids.some((id) => id === null)) return [];
    const groupRef = createHash('sha256').update(ids.toSorted().join(' ')).digest('hex').slice(0, 32);
    // Within the seconds that ONTAP holds writes for it the volumes may differ: the oldest never flatters.
    const oldest = parts.map((part) => part?.createTime ?? snapshot.createTime).toSorted()[0];
    return [{ ...snapshot, createTime: oldest ?? snapshot.createTime, groupRef }];
  });
}

export function noMember(control: OntapControl, volume: VolumePath, group: string) {
  return groupHalfWay(control.endpoint.array, `Volume ${volume} of consistency group ${group} is not there`, [
    'sites.yaml names it as a volume of the group',
  ]);
}
