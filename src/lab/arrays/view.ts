/** What an array says about a volume: role, link, health, lag (storage.md B.2, B.3). */
import type { ArrayRefusal, LabArray, Point, Volume } from './array.ts';

export type { ArrayRefusal };

export interface PointView {
  readonly ref: string;
  readonly tag: string | null;
  readonly takenAt: string;
  readonly complete: boolean;
}

export interface VolumeView {
  readonly volume: string;
  readonly role: 'source' | 'target' | 'promoted' | 'demoted' | 'split' | 'unpaired';
  readonly activity: 'idle' | 'transferring' | 'promoting';
  readonly link: 'up' | 'down' | 'unknown';
  readonly health: { readonly level: 'ok' | 'warn'; readonly reasons: readonly string[] };
  readonly newestComplete: PointView | null;
  readonly promotedFrom: string | null;
  readonly writable: boolean;
  readonly lagSeconds: number | null;
  readonly intervalSeconds: number | null;
  readonly peer: { readonly array: string; readonly serial: string; readonly volume: string } | null;
}

export function pointView(point: Point): PointView {
  return {
    ref: point.ref,
    tag: point.tag,
    takenAt: new Date(point.takenAt).toISOString(),
    complete: point.complete,
  };
}

export function volumeView(array: LabArray, volume: Volume): VolumeView {
  const { peer } = volume;
  const [newest] = array.points(volume.name);
  const linked = peer !== null && array.linkUp(peer.array);
  const lagSeconds = newest === undefined ? null : (array.clock.now() - newest.takenAt) / 1000;
  const role = roleOf(volume, linked);
  return {
    volume: volume.name,
    role,
    activity: volume.promoting !== null ? 'promoting' : volume.transfer !== null ? 'transferring' : 'idle',
    link: peer === null ? 'unknown' : linked ? 'up' : 'down',
    health: health(volume, role, linked, lagSeconds),
    newestComplete: newest === undefined ? null : pointView(newest),
    promotedFrom: volume.promotedFrom,
    writable: ['standalone', 'source', 'promoted'].includes(volume.state),
    lagSeconds,
    intervalSeconds: volume.intervalSeconds,
    peer: peer === null ? null : { array: peer.array.name, serial: peer.array.serial, volume: peer.volume },
  };
}

function roleOf(volume: Volume, linked: boolean): VolumeView['role'] {
  if (volume.peer === null) return 'unpaired';
  const other = linked ? volume.peer.array.volume(volume.peer.volume).state : null;
  switch (volume.state) {
    case 'source':
      // Both sides take writes: neither is the copy of the other any more.
      return other === 'promoted' ? 'split' : 'source';
    case 'standalone':
      return 'unpaired';
    default:
      return volume.state;
  }
}

function health(
  volume: Volume,
  role: VolumeView['role'],
  linked: boolean,
  lagSeconds: number | null,
): VolumeView['health'] {
  const reasons: string[] = [];
  if (role === 'promoted') reasons.push('nothing replicates this volume since it was promoted');
  if (role === 'split') reasons.push('both sides of the pair take writes');
  if (volume.peer !== null && !linked) reasons.push(`array ${volume.peer.array.name} does not answer`);
  if (role === 'target' && lagSeconds === null) reasons.push('no complete point has arrived yet');
  const interval = volume.intervalSeconds;
  if (role === 'target' && interval !== null && lagSeconds !== null && lagSeconds > 2 * interval)
    reasons.push(`the newest point is ${Math.round(lagSeconds)} s old, the schedule says ${interval} s`);
  if (volume.lastFailure !== null && role === 'source') reasons.push(`last transfer: ${volume.lastFailure}`);
  return { level: reasons.length === 0 ? 'ok' : 'warn', reasons };
}
