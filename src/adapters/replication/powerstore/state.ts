/** What a PowerStore lists, as the state of volumes (states of sessions: storage.md C.5 and B.3). */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { readMark } from '../send-receive/marks.ts';
import type { Mark, StoredPoint, VolumeState } from '../send-receive/store.ts';
import type { PowerStoreApi } from './api.ts';
import { type Notes, notesOf } from './notes.ts';

const protection = z.looseObject({
  source_id: z.string().nullish(),
  source_timestamp: z.string().nullish(),
});
export const volumeItem = z.looseObject({
  id: z.string(),
  name: z.string(),
  description: z.string().nullish(),
  type: z.string(),
  state: z.string(),
  wwn: z.string().nullish(),
  creation_timestamp: z.string(),
  protection_data: protection.nullish(),
});
export type VolumeItem = z.infer<typeof volumeItem>;
export const volumeFields = [
  'id',
  'name',
  'description',
  'type',
  'state',
  'wwn',
  'creation_timestamp',
  'protection_data',
];

export const sessionItem = z.looseObject({
  id: z.string(),
  state: z.string(),
  role: z.string(),
  resource_type: z.string(),
  local_resource_id: z.string(),
  remote_system_id: z.string(),
  last_sync_timestamp: z.string().nullish(),
  storage_element_pairs: z.array(z.looseObject({ local_storage_element_id: z.string().nullish() })).nullish(),
});
export type Session = z.infer<typeof sessionItem>;
export const sessionFields = [
  'id',
  'state',
  'role',
  'resource_type',
  'local_resource_id',
  'remote_system_id',
  'last_sync_timestamp',
  'storage_element_pairs',
];

export const mappingItem = z.looseObject({
  volume_id: z.string(),
  host_id: z.string().nullish(),
  host_group_id: z.string().nullish(),
  logical_unit_number: z.int().nullish(),
});
export const mappingFields = ['volume_id', 'host_id', 'host_group_id', 'logical_unit_number'];

export const groupItem = z.looseObject({
  id: z.string(),
  name: z.string(),
  type: z.string(),
  creation_timestamp: z.string(),
  is_write_order_consistent: z.boolean().nullish(),
  protection_data: protection.nullish(),
  volumes: z.array(z.looseObject({ id: z.string() })).default([]),
});
export type GroupItem = z.infer<typeof groupItem>;
export const groupFields = [
  'id',
  'name',
  'type',
  'creation_timestamp',
  'is_write_order_consistent',
  'protection_data',
  'volumes(id)',
];

export const clusterItem = z.looseObject({
  name: z.string(),
  global_id: z.string(),
  system_time: z.string(),
});

export const pointPrefix = 'lifeboat-';
export const keptPrefix = 'lifeboat-kept-';

export interface Listing {
  readonly clockSeconds: number;
  /** Volumes and clones by name. */
  readonly volumes: ReadonlyMap<string, VolumeItem>;
  /** By the volume that they are of. */
  readonly snapshots: ReadonlyMap<string, readonly VolumeItem[]>;
  /** By volume; those of a group stand behind each of its members. */
  readonly sessions: ReadonlyMap<string, Session>;
  /** Volumes that some host reaches. */
  readonly mapped: ReadonlySet<string>;
  /** Volume groups by name, and their snapshots by group; empty where no volume shares a group. */
  readonly groups: ReadonlyMap<string, GroupItem>;
  readonly groupSnapshots: ReadonlyMap<string, readonly GroupItem[]>;
}

/** Four lists, however many volumes there are, and one more where volumes share groups (`grouped`). */
export async function list(api: PowerStoreApi, grouped: boolean, signal?: AbortSignal): Promise<Listing> {
  const [clusters, all, sessions, mappings, groups] = await Promise.all([
    api.list('cluster', clusterItem, ['name', 'global_id', 'system_time'], {}, signal),
    api.list('volume', volumeItem, volumeFields, {}, signal),
    api.list('replication_session', sessionItem, sessionFields, {}, signal),
    api.list('host_volume_mapping', mappingItem, mappingFields, {}, signal),
    grouped ? api.list('volume_group', groupItem, groupFields, {}, signal) : [],
  ]);
  const snapshots = all.filter(({ type, state }) => type === 'Snapshot' && state === 'Ready');
  return {
    clockSeconds: secondsOf(clusters[0]?.system_time),
    volumes: new Map(all.filter(({ type }) => type !== 'Snapshot').map((one) => [one.name, one])),
    snapshots: Map.groupBy(snapshots, ({ protection_data: data }) => data?.source_id ?? ''),
    sessions: sessionsByVolume(sessions),
    mapped: new Set(mappings.map(({ volume_id: id }) => id)),
    groups: new Map(groups.filter(({ type }) => type !== 'Snapshot').map((one) => [one.name, one])),
    groupSnapshots: Map.groupBy(
      groups.filter(({ type }) => type === 'Snapshot'),
      ({ protection_data: data }) => data?.source_id ?? '',
    ),
  };
}

/** The session of a group stands behind each of its members. */
export function sessionsByVolume(sessions: readonly Session[]): ReadonlyMap<string, Session> {
  return new Map(
    sessions.flatMap((session) =>
      [
        session.local_resource_id,
        ...(session.storage_element_pairs ?? []).flatMap(({ local_storage_element_id: id }) => id ?? []),
      ].map((id): [string, Session] => [id, session]),
    ),
  );
}

/** The array holds hosts off a destination, and lets nothing of it be changed. */
export function isDestination(session: Session | undefined): boolean {
  return session?.role === 'Destination' && !/^(Failed_Over|Partial_Failed_Over)$/.test(session.state);
}

/** @param groupName - the volume group that sites.yaml names for it; null for a volume that stands alone */
export function stateOfVolume(listing: Listing, name: string, groupName: string | null): VolumeState | null {
  const volume = listing.volumes.get(name);
  const group = groupName === null ? null : groupOf(listing, volume, groupName);
  if (volume === undefined || (groupName !== null && group === null)) return null;
  const session = listing.sessions.get(volume.id);
  const notes = notesOf(volume.description);
  const mark = markOf(notes, session);
  const own = listing.snapshots.get(volume.id) ?? [];
  const points =
    group === null
      ? inOrder(own, notes).map((one) => pointOf(one, one.id, 'crash'))
      : inOrder(listing.groupSnapshots.get(group.id) ?? [], notes).flatMap((one) =>
          memberPoint(one, own, group),
        );
  const lastSync = secondsOf(session?.last_sync_timestamp);
  const sends = session?.role === 'Source';
  return {
    volume: name,
    writable: isWritable(listing, volume, session, notes),
    points,
    mark,
    transferring: /^(Synchronizing|Initializing|Resuming|Reprotecting)$/.test(session?.state ?? ''),
    sent: sends ? (points.findLast((one) => one.takenAtSeconds <= lastSync)?.ref ?? null) : null,
    bytesSinceNewest: null,
    raw: {
      volume: volume.id,
      session: session?.id ?? '',
      state: session?.state ?? '',
      role: session?.role ?? '',
      last_sync: session?.last_sync_timestamp ?? '',
      ...notes,
    },
  };
}

/** What a destination bears of old is about the time before: it cannot be rewritten there. */
function markOf(notes: Notes, session: Session | undefined): Mark | null {
  return isDestination(session) ? { role: 'target', point: null } : readMark(notes['mark']);
}

/**
 * After a failover that nobody has finished, the replica bears no mark and no host reaches it; an old source that comes
 * back has its hosts.
 */
function isWritable(
  { mapped }: Listing,
  { id }: VolumeItem,
  session: Session | undefined,
  notes: Notes,
): boolean {
  if (isDestination(session) || notes['closed'] === 'yes') return false;
  const mark = readMark(notes['mark']);
  if (session?.state !== 'Failed_Over' || (mark !== null && mark.role !== 'target')) return true;
  return mapped.has(id);
}

/** Null where there is no such group, or the volume is none of its members. */
export function groupOf(
  listing: Listing,
  volume: VolumeItem | undefined,
  groupName: string,
): GroupItem | null {
  const group = listing.groups.get(groupName);
  return group?.volumes.some(({ id }) => id === volume?.id) === true ? group : null;
}

type AnySnapshot = Pick<VolumeItem, 'id' | 'name' | 'creation_timestamp' | 'protection_data'>;

function inOrder<T extends AnySnapshot>(snapshots: readonly T[], notes: Notes): readonly T[] {
  return snapshots
    .filter((one) => !one.name.startsWith(keptPrefix) && !isPutAside(notes, one))
    .sort((a, b) => secondsOf(a.creation_timestamp) - secondsOf(b.creation_timestamp));
}

/** A snapshot of the group is a point of the volume when it holds one of it; what is in it is known by that one's id. */
function memberPoint(snapshot: GroupItem, own: readonly VolumeItem[], group: GroupItem): StoredPoint[] {
  const member = own.find(({ id }) => snapshot.volumes.some((one) => one.id === id));
  if (member === undefined) return [];
  return [pointOf(snapshot, member.id, group.is_write_order_consistent === false ? 'crash' : 'group')];
}

/** The snapshot of the group that is this point. */
export function groupSnapshotAt(listing: Listing, group: GroupItem, ref: string): GroupItem | null {
  const all = listing.groupSnapshots.get(group.id) ?? [];
  return all.find((one) => pointOf(one, one.id, 'group').ref === ref) ?? null;
}

/** The time of the source goes with a snapshot; with its name it is the same on both arrays. */
function pointOf(snapshot: AnySnapshot, name: string, consistency: StoredPoint['consistency']): StoredPoint {
  const taken = snapshot.protection_data?.source_timestamp ?? snapshot.creation_timestamp;
  const ours = snapshot.name.startsWith(pointPrefix);
  const identity = `${snapshot.name}@${Date.parse(taken)}`;
  return {
    ref: createHash('sha256').update(identity).digest('hex').slice(0, 20),
    name,
    tag: ours ? snapshot.name.slice(pointPrefix.length) : null,
    takenAtSeconds: secondsOf(taken),
    complete: true,
    ours,
    consistency,
  };
}

/** Between a point that the volume was put back to and that moment: kept, and no point any more. */
function isPutAside(notes: Notes, { creation_timestamp: created }: AnySnapshot): boolean {
  const at = Date.parse(created);
  return (notes['kept'] ?? '')
    .split(',')
    .map((range) => range.split('-').map((text) => Number.parseInt(text, 36)))
    .some(([from = Number.NaN, to = Number.NaN]) => at > from && at <= to);
}

export function secondsOf(timestamp: string | null | undefined): number {
  return Date.parse(timestamp ?? '') / 1000;
}
