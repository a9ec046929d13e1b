/** What a virtual disk and its mark mean: role, points, whether anybody may write. */
import type { PairView, ReplicaPoint, Role } from '../../../domain/replication.ts';
import type { Instant } from '../../../domain/time.ts';
import { wrongRole } from '../rest/refusals.ts';
import { millisecondsOf, statusWords, type VirtualDisk } from './answers.ts';
import type { DatacoreApi } from './api.ts';
import { type MarkedPoint, markOf } from './mark.ts';

export type Stand = 'active' | 'standby' | 'testing' | 'none' | 'other';

export function standOf({ VirtualDiskReplicationData: data }: VirtualDisk): Stand {
  if (data === null || data === undefined) return 'none';
  if (statusWords.testMode.test(data.Status)) return 'testing';
  if (statusWords.active.test(data.Status)) return 'active';
  return statusWords.standby.test(data.Status) ? 'standby' : 'other';
}

export function roleOf(disk: VirtualDisk): Role {
  const { role } = markOf(disk);
  switch (standOf(disk)) {
    case 'none':
      return 'unpaired';
    case 'other':
      return 'unknown';
    case 'testing':
      return 'in-test';
    case 'standby':
      return role === undefined || role === 'target' || role === 'promoting' ? 'target' : 'demoted';
    case 'active':
      if (role === 'promoting' || role === 'promoted' || role === 'reversing') return 'promoted';
      return role === 'prepared' ? 'demoted' : 'source';
  }
}

export function mustBe(api: DatacoreApi, disk: VirtualDisk, verb: string, ...needed: readonly Role[]): void {
  const role = roleOf(disk);
  if (!needed.includes(role)) throw wrongRole(api.array, disk.Alias, verb, role, needed);
}

/** The same wherever it is told: the replication and the time at the source. */
export function refOf(disk: VirtualDisk, { at }: MarkedPoint): string {
  return `${disk.VirtualDiskReplicationData?.Id ?? disk.Id}@${at}`;
}

export function pointsOf(disk: VirtualDisk): ReplicaPoint[] {
  return (markOf(disk).points ?? []).map((point) => replicaPoint(disk, point));
}

export function replicaPoint(disk: VirtualDisk, point: MarkedPoint): ReplicaPoint {
  return {
    ref: refOf(disk, point),
    tag: point.tag,
    takenAt: new Date(point.at).toISOString(),
    clock: 'source',
    complete: true,
    consistency: 'crash',
  };
}

export function bytesToSend({ PerformanceData: data }: VirtualDisk): number {
  return data?.ReplicationBytesToSend ?? 0;
}

/** When the array took the figures; null when it does not say. */
export function collectedAt({ PerformanceData: data }: VirtualDisk): number | null {
  return data === null || data === undefined ? null : millisecondsOf(data.CollectionTime);
}

export function linkIsBroken({ VirtualDiskReplicationData: data }: VirtualDisk): boolean {
  return statusWords.linkBroken.test(data?.TransferStatus ?? '');
}

export function viewOf(array: string, disk: VirtualDisk, observedAt: Instant): PairView {
  const role = roleOf(disk);
  const mark = markOf(disk);
  const taken = mark.role === 'preparing' || mark.role === 'prepared' || mark.role === 'fenced';
  const takesWrites = role === 'source' || role === 'promoted' || role === 'in-test';
  const { VirtualDiskReplicationData: data } = disk;
  return {
    pair: { array, volume: disk.Alias },
    observedAt,
    role,
    activity: activityOf(disk),
    link: data === null || data === undefined ? 'unknown' : linkIsBroken(disk) ? 'down' : 'unknown',
    health: healthOf(disk, role),
    // A source that was a destination once still has the points of that time.
    newestComplete: role === 'source' ? null : (pointsOf(disk)[0] ?? null),
    writable: role === 'unknown' || role === 'unpaired' ? 'unknown' : takesWrites && !taken,
    // The array's own lag has no unit that could be read anywhere; it is in `raw`.
    reportedLagSeconds: null,
    raw: {
      id: disk.Id,
      status: disk.Status,
      replication:
        data === null || data === undefined
          ? null
          : { ...data, PartnerVirtualDiskAlias: data.PartnerVirtualDiskAlias ?? null },
      bytesToSend: bytesToSend(disk),
      timeLag: disk.PerformanceData?.ReplicationTimeLag ?? null,
      mark: mark.role ?? null,
      drill: mark.drill?.drill ?? null,
    },
  };
}

function activityOf(disk: VirtualDisk): NonNullable<PairView['activity']> {
  const status = disk.VirtualDiskReplicationData?.Status ?? '';
  if (standOf(disk) === 'none' || standOf(disk) === 'other') return 'unknown';
  if (linkIsBroken(disk)) return 'failed';
  if (statusWords.unfinished.test(status)) return 'initializing';
  if (bytesToSend(disk) > 0) return 'transferring';
  return markOf(disk).role === 'prepared' ? 'quiesced' : 'idle';
}

function healthOf(disk: VirtualDisk, role: Role): PairView['health'] {
  if (role === 'promoted')
    return { level: 'warn', reasons: ['it is promoted: nothing protects what is written here'] };
  const { VirtualDiskReplicationData: data } = disk;
  if (data === null || data === undefined) return { level: 'bad', reasons: ['it is not replicated'] };
  const reasons = [data.Status, data.TransferStatus].filter((text) => text !== '');
  if (linkIsBroken(disk)) return { level: 'bad', reasons };
  if (role === 'in-test') return { level: 'warn', reasons: ['test mode: what arrives waits at the source'] };
  if (data.StatusLevel !== 0 || statusWords.unfinished.test(data.Status)) return { level: 'warn', reasons };
  return { level: 'ok', reasons: [] };
}
