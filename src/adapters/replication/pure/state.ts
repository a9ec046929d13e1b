/** What a FlashArray lists, as the state of volumes. A volume is a protection group with one member, or a member of a shared one. */
import { z } from 'zod';
import { readMark } from '../send-receive/marks.ts';
import type { Mark, StoredPoint, VolumeState } from '../send-receive/store.ts';
import type { PureApi } from './api.ts';
import { type Place, type Places, volumeAt } from './places.ts';

const named = z.looseObject({ name: z.string() });

export const arrayItem = z.looseObject({
  id: z.string(),
  name: z.string(),
  os: z.string().nullish(),
  version: z.string(),
  _as_of: z.number(),
});
const memberItem = z.looseObject({ group: named, member: named });
const snapshotItem = z.looseObject({ name: z.string(), created: z.number() });
const transferItem = z.looseObject({
  name: z.string(),
  started: z.number().nullish(),
  completed: z.number().nullish(),
});
const tagItem = z.looseObject({ resource: named, key: z.string(), value: z.string() });
export const connectionItem = z.looseObject({ host: named, volume: named, lun: z.int() });

/** Tags live in a name space of our own and are not copied with the volume. */
export const tagSpace = 'lifeboat';
export const pointPrefix = 'lifeboat-';

/** Which volume belongs to which group, and what is written on it. */
export interface Membership {
  readonly groups: ReadonlySet<string>;
  /** Member volumes of each group. */
  readonly members: ReadonlyMap<string, readonly string[]>;
  /** By volume. */
  readonly tags: Tags;
}

export type Tags = ReadonlyMap<string, Readonly<Record<string, string>>>;

export interface Listing extends Membership {
  readonly clockMilliseconds: number;
  /** Group snapshots by their group, `ARRAY:GROUP` where they came from elsewhere; oldest first. */
  readonly snapshots: ReadonlyMap<string, readonly z.infer<typeof snapshotItem>[]>;
  readonly transfers: ReadonlyMap<string, z.infer<typeof transferItem>>;
  /** `[ARRAY:]GROUP.SUFFIX.MEMBER`; null where no volume shares its group with others, and nobody needs to know. */
  readonly contents: ReadonlySet<string> | null;
}

/** Six lists, however many volumes there are, and one more where volumes share a group (`shared`). */
export async function list(api: PureApi, shared: boolean, signal?: AbortSignal): Promise<Listing> {
  const [arrays, membership, snapshots, transfers, contents] = await Promise.all([
    api.list('/arrays', arrayItem, {}, signal),
    listMembership(api, signal),
    api.list('/protection-group-snapshots', snapshotItem, { destroyed: false }, signal),
    api.list('/protection-group-snapshots/transfer', transferItem, { destroyed: false }, signal),
    shared ? api.list('/volume-snapshots', named, { destroyed: false }, signal) : null,
  ]);
  const ordered = [...snapshots].sort((a, b) => a.created - b.created || (a.name < b.name ? -1 : 1));
  return {
    ...membership,
    clockMilliseconds: arrays[0]?._as_of ?? Number.NaN,
    snapshots: Map.groupBy(ordered, ({ name }) => name.slice(0, name.lastIndexOf('.'))),
    transfers: new Map(transfers.map((one) => [one.name, one])),
    contents: contents === null ? null : new Set(contents.map(({ name }) => name)),
  };
}

/** Three lists. */
export async function listMembership(api: PureApi, signal?: AbortSignal): Promise<Membership> {
  const [groups, members, tags] = await Promise.all([
    api.list('/protection-groups', named, { destroyed: false }, signal),
    api.list('/protection-groups/volumes', memberItem, {}, signal),
    listTags(api, signal),
  ]);
  return {
    groups: new Set(groups.map(({ name }) => name)),
    members: new Map(
      [...Map.groupBy(members, ({ group }) => group.name)].map(([group, rows]) => [
        group,
        rows.map(({ member }) => member.name),
      ]),
    ),
    tags,
  };
}

/** What Lifeboat has written on volumes. */
export async function listTags(api: PureApi, signal?: AbortSignal): Promise<Tags> {
  const rows = await api.list('/volumes/tags', tagItem, { namespaces: tagSpace }, signal);
  return new Map(
    [...Map.groupBy(rows, ({ resource }) => resource.name)].map(([volume, tags]) => [
      volume,
      Object.fromEntries(tags.map(({ key, value }) => [key, value])),
    ]),
  );
}

/** The marks of all volumes, from two lists. */
export async function listMarks(
  api: PureApi,
  places: Places,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Mark>> {
  const [members, tags] = await Promise.all([
    api.list('/protection-groups/volumes', memberItem, {}, signal),
    listTags(api, signal),
  ]);
  return new Map(
    members.flatMap(({ group, member }): [string, Mark][] => {
      const mark = readMark(tags.get(member.name)?.['mark']);
      const volume = volumeAt(places, group.name, member.name);
      return mark === null || volume === null ? [] : [[volume, mark]];
    }),
  );
}

export function stateOfGroup(listing: Listing, volume: string, place: Place): VolumeState | null {
  if (!isHere(listing, place)) return null;
  const { group, incoming } = place;
  const member = memberOf(listing, place);
  const tags = member === null ? {} : (listing.tags.get(member) ?? {});
  const own = (listing.snapshots.get(group) ?? []).filter(({ created }) => !isKept(tags['kept'], created));
  const arrived = incoming === null ? [] : (listing.snapshots.get(incoming) ?? []);
  const done = (name: string): boolean => typeof listing.transfers.get(name)?.completed === 'number';
  const held = [...own, ...arrived].filter(({ name }) => holdsIt(listing, place, name));
  if (place.member !== null && member === null && held.length === 0) return null;
  const points = held
    .sort((a, b) => arrivalOf(listing, a) - arrivalOf(listing, b))
    .map((one) => pointOf(one, place, !isFromElsewhere(one) || done(one.name)));
  const under = held.some(({ name }) => {
    const transfer = listing.transfers.get(name);
    return transfer !== undefined && typeof transfer.completed !== 'number';
  });
  const sent = own.findLast(({ name }) => done(name) && holdsIt(listing, place, name));
  return {
    volume,
    writable: member !== null && tags['closed'] !== 'yes',
    points,
    mark: readMark(tags['mark']),
    transferring: under,
    sent: sent === undefined ? null : refOf(sent),
    bytesSinceNewest: null,
    raw: { group, member: member ?? '', incoming: incoming ?? '', ...tags },
  };
}

export function isHere({ groups }: Membership, { group, incoming }: Place): boolean {
  return groups.has(group) || (incoming !== null && groups.has(incoming));
}

/** Null where nothing but points is here. */
export function memberOf({ members }: Membership, { group, member }: Place): string | null {
  const all = members.get(group) ?? [];
  return all.find((one) => member === null || one === member) ?? null;
}

/** `[ARRAY:]GROUP.SUFFIX.MEMBER`, for a volume that shares its group. */
export function contentName({ member, theirs }: Place, snapshot: string): string {
  return `${snapshot}.${isFromElsewhere({ name: snapshot }) ? theirs : member}`;
}

/** A snapshot from before a volume joined the group is no point of it. */
function holdsIt({ contents }: Listing, place: Place, snapshot: string): boolean {
  return place.member === null || contents?.has(contentName(place, snapshot)) === true;
}

function isFromElsewhere({ name }: { readonly name: string }): boolean {
  return name.includes(':');
}

/** When a snapshot came to be on this array, by its own clock: the clock of the other one may be off. */
export function arrivalOf({ transfers }: Listing, snapshot: z.infer<typeof snapshotItem>): number {
  if (!isFromElsewhere(snapshot)) return snapshot.created;
  return transfers.get(snapshot.name)?.completed ?? Number.POSITIVE_INFINITY;
}

function pointOf(snapshot: z.infer<typeof snapshotItem>, { member }: Place, complete: boolean): StoredPoint {
  const suffix = suffixOf(snapshot.name);
  const ours = suffix.startsWith(pointPrefix);
  return {
    ref: refOf(snapshot),
    name: snapshot.name,
    tag: ours ? suffix.slice(pointPrefix.length) : null,
    takenAtSeconds: snapshot.created / 1000,
    complete,
    ours,
    consistency: member === null ? 'crash' : 'group',
  };
}

/** Purity keeps the time of the source for a replicated snapshot; with the suffix it is the same on both arrays. */
function refOf({ name, created }: z.infer<typeof snapshotItem>): string {
  return `${suffixOf(name)}@${created}`;
}

function suffixOf(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}

/** Snapshots between a point that the volume was put back to and that moment: kept, and no points any more. */
function isKept(ranges: string | undefined, created: number): boolean {
  return (ranges ?? '')
    .split(',')
    .map((range) => range.split('-').map(Number))
    .some(([from = Number.NaN, to = Number.NaN]) => created > from && created <= to);
}
