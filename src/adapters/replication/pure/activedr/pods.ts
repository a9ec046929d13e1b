/** What a FlashArray lists of its ActiveDR pods, as the state of volumes. A volume is `POD::VOLUME`. */
import { z } from 'zod';
import { readMark } from '../../send-receive/marks.ts';
import type { Mark, StoredPoint, VolumeState } from '../../send-receive/store.ts';
import type { LinkView } from '../../send-receive/views.ts';
import type { PureApi } from '../api.ts';
import { arrayItem, listTags, pointPrefix, type Tags } from '../state.ts';

const named = z.looseObject({ name: z.string() });
export const podItem = z.looseObject({
  name: z.string(),
  destroyed: z.boolean().nullish(),
  promotion_status: z.string().nullish(),
});
const linkItem = z.looseObject({
  local_pod: named,
  remote_pod: named,
  direction: z.string(),
  status: z.string(),
  lag: z.number().nullish(),
  recovery_point: z.number().nullish(),
  paused: z.boolean().nullish(),
});
const snapshotItem = z.looseObject({ name: z.string(), created: z.number() });

export type PodLink = z.infer<typeof linkItem>;

export interface PodListing {
  readonly clockMilliseconds: number;
  readonly pods: ReadonlyMap<string, z.infer<typeof podItem>>;
  readonly links: ReadonlyMap<string, PodLink>;
  readonly volumes: ReadonlySet<string>;
  /** By volume. */
  readonly snapshots: ReadonlyMap<string, readonly z.infer<typeof snapshotItem>[]>;
  readonly tags: Tags;
}

/**
 * Six lists, however many pods there are. What is written down of a pod is read last: it is written before a pod is opened, so
 * that an open one is never seen without the drill or the promotion that opened it.
 */
export async function listPods(api: PureApi, signal?: AbortSignal): Promise<PodListing> {
  const [arrays, pods, links, volumes, snapshots] = await Promise.all([
    api.list('/arrays', arrayItem, {}, signal),
    api.list('/pods', podItem, {}, signal),
    api.list('/pod-replica-links', linkItem, {}, signal),
    api.list('/volumes', named, { destroyed: false }, signal),
    api.list('/volume-snapshots', snapshotItem, { destroyed: false }, signal),
  ]);
  const tags = await listTags(api, signal);
  return {
    clockMilliseconds: arrays[0]?._as_of ?? Number.NaN,
    pods: new Map(pods.map((one) => [one.name, one])),
    links: new Map(links.map((one) => [one.local_pod.name, one])),
    volumes: new Set(volumes.map(({ name }) => name)),
    snapshots: Map.groupBy(snapshots, ({ name }) => name.slice(0, name.lastIndexOf('.'))),
    tags,
  };
}

export function podOf(volume: string): string {
  return volume.slice(0, Math.max(0, volume.indexOf('::')));
}

/**
 * A demoted pod can be changed by nobody, and what is written in a pod is replicated: what Lifeboat must remember of it is
 * written on a small volume beside it.
 */
export function markerOf(pod: string): string {
  return `lifeboat-marks-${pod}`;
}

/** What Purity keeps of a pod from before its last demotion; it is in the bin until it is eradicated. */
export function undoOf(pod: string): string {
  return `${pod}.undo-demote`;
}

export interface OpenDrill {
  readonly drill: string;
  readonly point: string;
  /** Volumes that are shown in it. */
  readonly volumes: readonly string[];
}

/** `DRILL POINT VOLUME,VOLUME` */
export function drillOf(tags: Readonly<Record<string, string>>): OpenDrill | null {
  const [drill, point, volumes = ''] = (tags['drill'] ?? '').split(' ');
  if (drill === undefined || drill === '' || point === undefined) return null;
  return { drill, point, volumes: volumes.split(',').filter(Boolean) };
}

export function drillTag({ drill, point, volumes }: OpenDrill): string {
  return `${drill} ${point} ${volumes.join(',')}`;
}

export function tagsOf({ tags }: PodListing, pod: string): Readonly<Record<string, string>> {
  return tags.get(markerOf(pod)) ?? {};
}

/** Takes writes, and for no drill: whoever promoted it, with Lifeboat or by hand. */
export function isPromoted(listing: PodListing, pod: string): boolean {
  return listing.pods.get(pod)?.promotion_status === 'promoted' && drillOf(tagsOf(listing, pod)) === null;
}

/** @param members - the volumes that sites.yaml names of the pod: a point is whole when all of them hold it */
export function stateOfPod(
  listing: PodListing,
  volume: string,
  members: readonly string[],
): VolumeState | null {
  const name = podOf(volume);
  const pod = listing.pods.get(name);
  if (pod === undefined || pod.destroyed === true || !listing.volumes.has(volume)) return null;
  const tags = tagsOf(listing, name);
  const link = listing.links.get(name);
  const drill = drillOf(tags);
  const isOpen = pod.promotion_status === 'promoted';
  const points = [...pointsOf(listing, volume, members), ...journaled(listing, volume, tags, link)];
  const sends = link?.direction === 'outbound' ? (link.recovery_point ?? 0) / 1000 : null;
  return {
    volume,
    writable: isOpen && drill === null && tags['closed'] !== 'yes',
    points,
    mark: drill === null ? markIn(tags, isOpen) : { role: 'target', point: null },
    transferring:
      link?.status === 'baselining' ||
      link?.status === 'quiescing' ||
      (sends !== null && points.some(({ takenAtSeconds }) => takenAtSeconds > sends)),
    sent: sends === null ? null : (points.findLast((one) => one.takenAtSeconds <= sends)?.ref ?? null),
    bytesSinceNewest: null,
    raw: {
      pod: name,
      promotion_status: pod.promotion_status ?? '',
      direction: link?.direction ?? '',
      link: link?.status ?? '',
      recovery_point: String(link?.recovery_point ?? ''),
      ...tags,
    },
  };
}

/** A pod that somebody else has demoted takes no writes, and one that he has promoted is no replica, whatever is written down of it. */
function markIn(tags: Readonly<Record<string, string>>, isOpen: boolean): Mark | null {
  const mark = readMark(tags['mark']);
  if (mark?.role === 'target' && isOpen) return null;
  return mark?.role === 'promoted' && !isOpen ? { ...mark, role: 'promoting' } : mark;
}

/**
 * Snapshots of all volumes of the pod under one suffix. A replica shows one once it stands at that moment or after it: its
 * writes and its snapshots arrive in order.
 */
function pointsOf({ snapshots }: PodListing, volume: string, members: readonly string[]): StoredPoint[] {
  const held = members.map((one) => new Set((snapshots.get(one) ?? []).map(({ name }) => suffixOf(name))));
  return (snapshots.get(volume) ?? [])
    .filter(({ name }) => numberOf(suffixOf(name)) > 0)
    .filter(({ name }) => held.every((suffixes) => suffixes.has(suffixOf(name))))
    .sort((a, b) => numberOf(suffixOf(a.name)) - numberOf(suffixOf(b.name)))
    .map(({ name, created }) => pointOf(suffixOf(name), created, true, members.length > 1));
}

/** While a drill has the pod open, what arrives waits in the journal of the array: a point that was sent is known by name. */
function journaled(
  { snapshots }: PodListing,
  volume: string,
  tags: Readonly<Record<string, string>>,
  link: PodLink | undefined,
): StoredPoint[] {
  const [suffix, at] = (tags['arrived'] ?? '').split('@');
  const created = Number(at);
  const listed = (snapshots.get(volume) ?? []).some(({ name }) => suffixOf(name) === suffix);
  if (suffix === undefined || suffix === '' || listed || drillOf(tags) === null) return [];
  return [pointOf(suffix, created, created <= (link?.recovery_point ?? 0), false)];
}

function pointOf(suffix: string, created: number, complete: boolean, isGroup: boolean): StoredPoint {
  return {
    ref: refOf(suffix, created),
    name: suffix,
    tag: tagIn(suffix),
    takenAtSeconds: created / 1000,
    complete,
    ours: true,
    consistency: isGroup ? 'group' : 'crash',
  };
}

export function refOf(suffix: string, created: number): string {
  return `${suffix}@${created}`;
}

/** Of a numbered suffix. */
export function tagIn(suffix: string): string {
  return suffix.slice(suffix.indexOf('-', pointPrefix.length) + 1);
}

const numbered = new RegExp(`^${pointPrefix}(\\d+)-.`);

/** Points are numbered: the two arrays date them by clocks of their own. 0 for what is none of ours. */
export function numberOf(suffix: string): number {
  return Number(numbered.exec(suffix)?.[1] ?? 0);
}

export function suffixOf(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}

export function linkViewOf(link: PodLink | undefined, peerPromoted: boolean): LinkView {
  if (link === undefined) return { link: 'down', peerPromoted };
  const down = link.status === 'unhealthy' || link.status === 'paused' || link.paused === true;
  return { link: down ? 'down' : 'up', peerPromoted };
}
