/**
 * Points of an image. Lifeboat cuts its own as snapshots named `lifeboat.<milliseconds>.<tag>`: the name says when it was
 * cut by the source's clock, it cannot be given twice, it travels with the next mirror snapshot (or in the journal), it can
 * be cloned on the replica in every release, and it outlives promotions, so both sides know their common point by it.
 * Mirror snapshots that the cluster's own schedule cuts count as points of their own when they are provably newer.
 */
import type { ReplicaPoint } from '../../../domain/replication.ts';
import { type ImageStatus, instantOf, type MirrorNamespace, progressOf, type Snapshot } from './answers.ts';

export interface Cut {
  readonly id: number;
  readonly name: string;
  readonly takenAt: string;
  readonly tag: string;
}

export interface MirrorSnapshot {
  readonly id: number;
  readonly at: string | null;
  readonly mirror: MirrorNamespace;
}

/** Seconds between the cut of ours and the mirror snapshot that carries it; a mirror snapshot that near is not news. */
const carryingSeconds = 30;
const cutName = /^lifeboat\.(\d{10,16})\.(.+)$/;

export function cutNameOf(milliseconds: number, tag: string): string {
  return `lifeboat.${milliseconds}.${tag}`;
}

/** Snapshots that Lifeboat has cut, newest first. */
export function cutsIn(snapshots: readonly Snapshot[]): Cut[] {
  return snapshots
    .flatMap(({ id, name, namespace }) => {
      const [, milliseconds, tag] = cutName.exec(name) ?? [];
      if (namespace.type !== 'user' || milliseconds === undefined || tag === undefined) return [];
      return [{ id, name, tag, takenAt: new Date(Number(milliseconds)).toISOString() }];
    })
    .sort((a, b) => b.takenAt.localeCompare(a.takenAt) || b.id - a.id);
}

/** Mirror snapshots, newest first. */
export function mirrorsIn(snapshots: readonly Snapshot[]): MirrorSnapshot[] {
  return snapshots
    .flatMap(({ id, timestamp, namespace }) =>
      'complete' in namespace ? [{ id, at: instantOf(timestamp), mirror: namespace }] : [],
    )
    .sort((a, b) => b.id - a.id);
}

/** A copy of a snapshot of the primary, whether whole or not. */
export function isCopy({ mirror }: MirrorSnapshot): boolean {
  return (mirror.primary_mirror_uuid ?? '') !== '';
}

/** What a forced promotion leaves before it has done anything else; beneath it the image may be half copied. */
export function isOrphan({ mirror }: MirrorSnapshot): boolean {
  return mirror.primary_mirror_uuid === '';
}

/** The newest copy that is whole. */
export function newestCopy(snapshots: readonly Snapshot[]): MirrorSnapshot | null {
  return mirrorsIn(snapshots).find((one) => isCopy(one) && one.mirror.complete) ?? null;
}

/** A promotion was begun and has not come to its end. */
export function brokeOff(snapshots: readonly Snapshot[]): boolean {
  const [newest] = mirrorsIn(snapshots);
  return newest !== undefined && isOrphan(newest);
}

/** It was begun while a copy was on its way: the image holds half of that copy, and only its snapshots are whole. */
export function brokeOffHalfCopied(snapshots: readonly Snapshot[]): boolean {
  const copy = mirrorsIn(snapshots).find(isCopy);
  return brokeOff(snapshots) && copy?.mirror.complete === false;
}

/** A copy is on its way. */
export function halfArrived(snapshots: readonly Snapshot[]): MirrorSnapshot | null {
  const [newest] = mirrorsIn(snapshots);
  return newest !== undefined && isCopy(newest) && !newest.mirror.complete ? newest : null;
}

/** The newest copy is the last word of a source that has stopped taking writes. */
export function lastWord(snapshots: readonly Snapshot[]): boolean {
  const [newest] = mirrorsIn(snapshots);
  return (
    newest !== undefined && isCopy(newest) && newest.mirror.complete && newest.mirror.state === 'demoted'
  );
}

/** The newest mirror snapshot was cut here: by a primary, or as its last word. */
export function ownLastWord(snapshots: readonly Snapshot[]): boolean {
  const [newest] = mirrorsIn(snapshots);
  return newest !== undefined && !isCopy(newest) && !isOrphan(newest);
}

/** Points of a replica in snapshot mode, newest first. */
export function snapshotPoints(snapshots: readonly Snapshot[], status: ImageStatus | null): ReplicaPoint[] {
  const copy = newestCopy(snapshots);
  if (copy === null) return [];
  // The snapshots of the primary are made here first and filled afterwards: only what lies below a whole copy is whole.
  const own = cutsIn(snapshots).filter(({ id }) => id < copy.id);
  const points = own.map(cutPoint);
  const mirrored = mirrorPoint(copy, status);
  const [newest] = points;
  if (brokeOffHalfCopied(snapshots)) return points;
  if (newest === undefined) return [mirrored];
  const newer = Date.parse(mirrored.takenAt) - Date.parse(newest.takenAt) > carryingSeconds * 1000;
  return newer && mirrored.clock === 'source' ? [mirrored, ...points] : points;
}

/**
 * Points of a replica in journal mode, newest first. Snapshots are replayed in their order with the writes, so one that is
 * here is whole. The replica itself is a point that moves: as new as the last moment at which both sites reported that
 * nothing was missing. The younger of the two reports proves nothing, so the older one dates it.
 */
export function journalPoints(
  snapshots: readonly Snapshot[],
  status: ImageStatus | null,
  globalId: string,
): ReplicaPoint[] {
  const points = cutsIn(snapshots).map(cutPoint);
  const reports = [status?.last_update, status?.peer_sites[0]?.last_update].map((at) => instantOf(at ?? ''));
  const caughtUp = progressOf(status?.description ?? '').entries_behind_primary === 0;
  const [own, peer] = reports;
  if (!caughtUp || own == null || peer == null) return points;
  const takenAt = own < peer ? own : peer;
  const rolling: ReplicaPoint = {
    ref: `journal:${globalId}`,
    takenAt,
    clock: 'target',
    complete: true,
    consistency: 'crash',
  };
  return points[0] !== undefined && points[0].takenAt >= takenAt
    ? [...points, rolling]
    : [rolling, ...points];
}

export function cutPoint({ name, tag, takenAt }: Cut): ReplicaPoint {
  return { ref: name, tag, takenAt, clock: 'source', complete: true, consistency: 'crash' };
}

/**
 * A replica dates its copies by its own clock when the transfer began, which is later than the moment they stand for; the
 * status has the source's time, of this copy or of an older one, so that an age is never understated by it.
 */
function mirrorPoint({ at, mirror }: MirrorSnapshot, status: ImageStatus | null): ReplicaPoint {
  const seconds = progressOf(status?.description ?? '').local_snapshot_timestamp;
  const bySource = seconds === undefined ? null : new Date(seconds * 1000).toISOString();
  return {
    ref: `${mirror.primary_mirror_uuid}:${mirror.primary_snap_id}`,
    takenAt: bySource ?? at ?? new Date(0).toISOString(),
    clock: bySource === null ? 'target' : 'source',
    complete: true,
    consistency: 'crash',
  };
}
