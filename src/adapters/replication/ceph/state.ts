/** What one cluster knows of one image, and the role and health that follow from it. Truth is in the snapshots; the status of rbd-mirror is up to 30 s old. */
import { z } from 'zod';
import type { Json } from '../../../domain/canonical.ts';
import { PortError } from '../../../domain/errors.ts';
import type { Activity, PairView, ReplicaPoint, Role } from '../../../domain/replication.ts';
import {
  type ImageInfo,
  type ImageStatus,
  imageInfo,
  imageStatus,
  metadata,
  progressOf,
  type Snapshot,
  snapshotList,
} from './answers.ts';
import { type Image, imageSpec } from './options.ts';
import { brokeOff, halfArrived, journalPoints, mirrorsIn, ownLastWord, snapshotPoints } from './points.ts';
import type { Rbd } from './rbd.ts';

/** Kept in the metadata of the image. Metadata travels to the other side, the id of an image does not. */
export const marks = { promoted: 'lifeboat.promoted', demoted: 'lifeboat.demoted' } as const;

const promotedMark = z.object({
  /** Id of the image, and its name. */
  image: z.string(),
  volume: z.string(),
  point: z.string(),
  takenAt: z.string(),
  mode: z.enum(['planned', 'unplanned']),
  /** Found on top of a promotion that broke off: to be rolled back to the point before it counts. */
  halfCopied: z.boolean(),
});
export type PromotedMark = z.infer<typeof promotedMark>;

export interface ImageState {
  readonly image: Image;
  readonly info: ImageInfo & { readonly mirroring: NonNullable<ImageInfo['mirroring']> };
  readonly snapshots: readonly Snapshot[];
  readonly status: ImageStatus | null;
  readonly meta: Readonly<Record<string, string>>;
  /** A promotion by Lifeboat that has not said that it is finished. */
  readonly underWay: PromotedMark | null;
}

/** An image of nothing but marks: a replica takes no metadata of its own before it is promoted. */
export function markerName(image: Image): string {
  return `lifeboat-promotion-${image.name}`;
}

/** Five commands, four of them side by side, whatever the image holds. */
export async function readState(
  rbd: Rbd,
  image: Image,
  signal: AbortSignal | undefined,
): Promise<ImageState> {
  const spec = imageSpec(image);
  const info = await rbd.read(imageInfo, ['info', spec], signal);
  if (info === null) throw absent(rbd.array, spec);
  if (info.mirroring === undefined || info.mirroring.state !== 'enabled') throw unpaired(rbd.array, spec);
  const marker = imageSpec(image, markerName(image));
  const [snapshots, status, meta, underWay] = await Promise.all([
    rbd.read(snapshotList, ['snap', 'ls', '--all', spec], signal),
    rbd.read(imageStatus, ['mirror', 'image', 'status', spec], signal),
    rbd.read(metadata, ['image-meta', 'ls', spec], signal),
    rbd.read(metadata, ['image-meta', 'ls', marker], signal),
  ]);
  return {
    image,
    info: { ...info, mirroring: info.mirroring },
    snapshots: snapshots ?? [],
    status,
    meta: meta ?? {},
    underWay: markIn(underWay?.[marks.promoted]),
  };
}

export function absent(array: string, spec: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-VOLUME',
      what: `Array ${array} has no image ${spec}`,
      where: { object: `array ${array}` },
      next: 'Compare the volume in sites.yaml with `rbd ls`; a replica appears there once its first copy has begun',
    },
    { peerCode: 'not-found', peerParams: [spec] },
  );
}

export function unpaired(array: string, spec: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-VOLUME',
      what: `Image ${spec} of array ${array} is not mirrored`,
      where: { object: `array ${array}` },
      next: 'Enable mirroring: `rbd mirror image enable IMAGE snapshot` on the primary',
    },
    { peerCode: 'unpaired', peerParams: [spec] },
  );
}

export function markIn(text: string | undefined): PromotedMark | null {
  if (text === undefined || text === '') return null;
  try {
    return promotedMark.parse(JSON.parse(text));
  } catch {
    // Written by a person or by another release: as if it were not there.
    return null;
  }
}

/** The promotion that made this side what it is; null where the mark has only travelled here. */
export function promotionOf(state: ImageState): PromotedMark | null {
  const mark = markIn(state.meta[marks.promoted]);
  return mark?.image === state.info.id ? mark : state.underWay;
}

export function inJournalMode({ info }: ImageState): boolean {
  return info.mirroring.mode === 'journal';
}

export function pointsOf(state: ImageState): ReplicaPoint[] {
  const { snapshots, status, info } = state;
  return inJournalMode(state)
    ? journalPoints(snapshots, status, info.mirroring.global_id)
    : snapshotPoints(snapshots, status);
}

export function roleOf(state: ImageState): Role {
  if (state.info.mirroring.primary) return promotionOf(state) === null ? 'source' : 'promoted';
  return wasDemotedHere(state) ? 'demoted' : 'target';
}

/** Its newest mirror snapshot is its own last word as a primary, and nothing has come from the other side since. */
function wasDemotedHere(state: ImageState): boolean {
  if (inJournalMode(state))
    return state.meta[marks.demoted] === state.info.id && !(state.status?.state ?? '').includes('replaying');
  return ownLastWord(state.snapshots);
}

export function viewOf(array: string, volume: string, observedAt: string, state: ImageState): PairView {
  const role = roleOf(state);
  const [newest] = role === 'target' ? pointsOf(state) : [];
  const { remote_snapshot_timestamp: there, local_snapshot_timestamp: here } = progressOf(
    state.status?.description ?? '',
  );
  return {
    pair: { array, volume },
    observedAt,
    role,
    activity: activityOf(state, role),
    link: linkOf(state.status),
    health: healthOf(state, role, newest ?? null),
    newestComplete: newest ?? null,
    writable: state.info.mirroring.primary,
    reportedLagSeconds: there === undefined || here === undefined ? null : Math.max(0, there - here),
    raw: { snapshots: state.snapshots, status: state.status } as unknown as Json,
  };
}

function activityOf(state: ImageState, role: Role): Activity {
  if (state.underWay !== null || brokeOff(state.snapshots)) return 'promoting';
  if (role === 'demoted') return 'quiesced';
  if (role !== 'target') return 'unknown';
  if ((state.status?.state ?? '').includes('error')) return 'failed';
  if (inJournalMode(state))
    return progressOf(state.status?.description ?? '').entries_behind_primary === 0 ? 'idle' : 'unknown';
  const half = halfArrived(state.snapshots);
  if (half === null) return mirrorsIn(state.snapshots).length === 0 ? 'initializing' : 'idle';
  return mirrorsIn(state.snapshots).some((one) => one.mirror.complete) ? 'transferring' : 'initializing';
}

/** A status that says nothing bad may be half a minute old: `up` is never claimed from it. */
function linkOf(status: ImageStatus | null): PairView['link'] {
  const failing = status?.state === 'up+error' && /connect|unreachable|timed out/i.test(status.description);
  return failing ? 'down' : 'unknown';
}

function healthOf(state: ImageState, role: Role, newest: ReplicaPoint | null): PairView['health'] {
  const { status, snapshots } = state;
  const words = `${status?.state ?? 'no status'}: ${(status?.description ?? '').split(', {')[0]}`;
  const bad: string[] = [];
  const warn: string[] = [];
  if (/split-brain/i.test(words)) bad.push(`both sides took writes: ${words}`);
  else if ((status?.state ?? '').includes('error')) bad.push(`rbd-mirror reports ${words}`);
  if (brokeOff(snapshots)) bad.push('a promotion was begun and broke off; promote again to finish it');
  else if (state.underWay !== null) bad.push('a promotion is not finished; promote again to finish it');
  if (role === 'promoted')
    warn.push('nothing that is written here is protected before replication is reversed');
  if (role === 'target') {
    if (newest === null) bad.push('no complete point has arrived yet');
    if (status === null || status.state.startsWith('down')) warn.push(`rbd-mirror does not report: ${words}`);
    if (newest?.clock === 'target')
      warn.push('the newest point is dated by its arrival; the source has not said when it was taken');
  }
  const reasons = [...bad, ...warn];
  return { level: bad.length > 0 ? 'bad' : warn.length > 0 ? 'warn' : 'ok', reasons };
}
