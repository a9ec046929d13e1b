/** Which streams bring a point to the other filer, and what is done on each side once it is there. */
import type { StoredPoint, Stream, VolumeState } from '../send-receive/store.ts';
import { after } from '../send-receive/views.ts';
import { type Dataset, type Part, shortName, snapshotPrefix, tokenOf } from './datasets.ts';

/** The receiving program for a part of the volume. */
export type Receiving = (suffix: string, first: boolean) => readonly string[];

/** What is missing of the point, part by part; the rest of a stream that broke off comes before anything else. */
export function streamsOf(
  own: readonly Part[],
  other: readonly Part[],
  point: StoredPoint,
  to: { readonly volume: string; readonly receiving: Receiving },
): readonly Stream[] {
  return own.flatMap((part) => {
    const target = other.find(({ suffix }) => suffix === part.suffix) ?? null;
    const snapshot = part.snapshots.find((one) => shortName(one) === point.name);
    if (snapshot === undefined || holds(target, snapshot)) return [];
    const receive = to.receiving(part.suffix, target === null || target.snapshots.length === 0);
    const token = target === null ? null : tokenOf(target.dataset);
    if (token !== null) return [resuming(token, `${to.volume}${part.suffix}`, receive)];
    const base = newestCommon(part, target);
    return [{ send: ['zfs', 'send', ...(base === null ? [] : ['-i', base]), snapshot.name], receive }];
  });
}

function resuming(token: string, name: string, receive: readonly string[]): Stream {
  return {
    send: ['zfs', 'send', '-t', token],
    receive,
    resume: { check: ['zfs', 'send', '-n', '-t', token], abandon: ['zfs', 'receive', '-A', name] },
  };
}

function holds(part: Part | null, snapshot: Dataset): boolean {
  return part?.snapshots.some(({ values }) => values['guid'] === snapshot.values['guid']) ?? false;
}

/** The newest snapshot of the receiver that the sender has or remembers, as the sender calls it: `@name` or `#name`. */
function newestCommon(part: Part, target: Part | null): string | null {
  const newest = target?.snapshots.at(-1);
  if (newest === undefined) return null;
  const same = ({ values }: Dataset): boolean => values['guid'] === newest.values['guid'];
  const snapshot = part.snapshots.find(same);
  if (snapshot !== undefined) return `@${shortName(snapshot)}`;
  const bookmark = part.bookmarks.find(same);
  return bookmark === undefined ? null : `#${shortName(bookmark)}`;
}

export interface Settling {
  readonly state: VolumeState;
  readonly parts: readonly Part[];
  readonly point: StoredPoint;
  readonly side: 'sender' | 'receiver';
  /** How many points of ours stay, and bookmarks of ours beside the newest. */
  readonly keep: number;
  readonly bookmarks: boolean;
}

/** Triples for `settleScript`. */
export function settleActions(settling: Settling): readonly string[] {
  const { state, parts, point, side, keep } = settling;
  const older = state.points.filter((one) => one.ours && !after(state, point).includes(one) && one !== point);
  const surplus = older.slice(0, Math.max(0, older.length + 1 - keep));
  const each = (action: string, { name }: StoredPoint): readonly string[] =>
    parts
      .filter(({ snapshots }) => snapshots.some((one) => shortName(one) === name))
      .flatMap(({ dataset }) => [action, `${dataset.name}@${name}`, '']);
  return [
    ...each('hold', point),
    ...(side === 'sender' && settling.bookmarks ? bookmarkActions(settling) : []),
    ...(side === 'sender' && state.sent !== point.ref ? ['sent', state.volume, point.ref] : []),
    ...older.slice(-2).flatMap((one) => each('release', one)),
    ...surplus.flatMap((one) => each('remove', one)),
  ];
}

/**
 * A bookmark is named after the point and not after its snapshot, which may be renamed. Those of others stay, and of ours
 * as many as the other side has points to go back to.
 */
function bookmarkActions({ parts, point, keep }: Settling): readonly string[] {
  const wanted = `${snapshotPrefix}${point.ref}`;
  return parts.flatMap(({ dataset, snapshots, bookmarks }) => {
    const snapshot = snapshots.find((one) => shortName(one) === point.name);
    if (snapshot === undefined) return [];
    const made = bookmarks.some((one) => shortName(one) === wanted);
    const before = bookmarks.filter(
      (one) => shortName(one).startsWith(snapshotPrefix) && isOlder(one, snapshot),
    );
    return [
      ...(made ? [] : ['bookmark', snapshot.name, `${dataset.name}#${wanted}`]),
      ...before.slice(0, Math.max(0, before.length - keep)).flatMap(({ name }) => ['forget', name, '']),
    ];
  });
}

function isOlder(one: Dataset, than: Dataset): boolean {
  return Number(one.values['createtxg']) < Number(than.values['createtxg']);
}
