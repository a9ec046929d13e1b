/** What an array says about itself and its volumes: role, link, health, lag (storage.md B.2, B.3). */
import type { Capabilities } from '../../domain/replication.ts';
import type { LabArray } from './array.ts';
import type { Divergence } from './direction.ts';
import type { Drill } from './drill.ts';
import type { Point, Volume } from './volume.ts';

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
  readonly drills: readonly string[];
  readonly kept: readonly { readonly ref: string; readonly takenAt: string; readonly why: string }[];
}

export const labCapabilities: Capabilities = {
  syncNow: true,
  drill: 'clone',
  drillPausesTransfer: false,
  promoteToPoint: true,
  prepare: true,
  reverse: 'incremental',
  restore: true,
  consistencyGroups: false,
  fence: true,
  expose: 'nfs',
};

export function identityView(array: LabArray) {
  return {
    vendor: 'Lifeboat',
    model: 'lab array',
    serial: array.serial,
    name: array.name,
    clock: instant(array.now()),
  };
}

export function pointView(point: Point): PointView {
  const { ref, tag, takenAt, complete } = point;
  return { ref, tag, takenAt: instant(takenAt), complete };
}

export function divergenceView(divergence: Divergence) {
  const { common } = divergence;
  return { ...divergence, common: common === null ? null : pointView(common) };
}

export function drillView({ volume, drill, exportPath, madeAt }: Drill) {
  return { volume, drill, name: exportPath, madeAt: instant(madeAt) };
}

export function volumeView(array: LabArray, volume: Volume): VolumeView {
  const { peer } = volume;
  const [newest] = array.points(volume.name);
  const linked = peer !== null && (array.faults.lies || array.linkUp(peer.array));
  const role = roleOf(array, volume);
  const lagSeconds = lag(array, newest);
  return {
    volume: volume.name,
    role,
    activity: volume.promoting !== null ? 'promoting' : volume.transfer !== null ? 'transferring' : 'idle',
    link: peer === null ? 'unknown' : linked ? 'up' : 'down',
    health: array.faults.lies ? { level: 'ok', reasons: [] } : health(volume, role, linked, lagSeconds),
    newestComplete: newest === undefined ? null : pointView(newest),
    promotedFrom: volume.promotedFrom,
    writable: ['standalone', 'source', 'promoted'].includes(volume.state),
    lagSeconds,
    intervalSeconds: volume.intervalSeconds,
    peer: peer === null ? null : { array: peer.array.name, serial: peer.array.serial, volume: peer.volume },
    drills: [...volume.drills.keys()],
    kept: volume.kept.map(({ ref, takenAt, why }) => ({ ref, takenAt: instant(takenAt), why })),
  };
}

function instant(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

function lag(array: LabArray, newest: Point | undefined): number | null {
  if (newest === undefined) return null;
  return array.faults.lies ? 0 : (array.now() - newest.takenAt) / 1000;
}

function roleOf(array: LabArray, volume: Volume): VolumeView['role'] {
  const { peer } = volume;
  if (peer === null || volume.state === 'standalone') return 'unpaired';
  if (volume.state !== 'source' || !array.linkUp(peer.array)) return volume.state;
  // Both sides take writes: neither is the copy of the other any more.
  return peer.array.volume(peer.volume).state === 'promoted' ? 'split' : 'source';
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
  if (role === 'target' && volume.awaitsFirst)
    reasons.push('no point has arrived since the direction was turned');
  if (role === 'target' && lagSeconds === null) reasons.push('no complete point has arrived yet');
  const interval = volume.intervalSeconds;
  if (role === 'target' && interval !== null && lagSeconds !== null && lagSeconds > 2 * interval)
    reasons.push(`the newest point is ${Math.round(lagSeconds)} s old, the schedule says ${interval} s`);
  if (volume.lastFailure !== null && role === 'source') reasons.push(`last transfer: ${volume.lastFailure}`);
  return { level: reasons.length === 0 ? 'ok' : 'warn', reasons };
}
