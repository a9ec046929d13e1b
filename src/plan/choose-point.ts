/**
 * Which recovery point fits the replica. The replica decides what exists: a disk that was made after the replica's
 * point is not there, however new the metadata is. So the newest point is taken whose disks are all known to be older
 * than the replica; and it is said who is left behind.
 */
import type { Observation, PairObservation } from '../domain/observation.ts';
import type { PointVm, RecoveryPoint } from '../domain/recovery-point.ts';
import type { ReplicaPoint } from '../domain/replication.ts';
import type { GroupSettings } from '../domain/settings.ts';
import { type Instant, secondsBetween } from '../domain/time.ts';

export interface Choice {
  readonly point: RecoveryPoint;
  /** VMs of newer points, or of this one, whose disks are younger than the replica: they will not come up. */
  readonly tooYoung: readonly PointVm[];
  /** Positive when the metadata is newer than the replica. */
  readonly skewSeconds: number | null;
}

/**
 * The points among which a plan chooses, newest first. After the sites have changed places those of the other direction are
 * of another pool, with other networks: they are taken only where nothing else is left, or where a person names one.
 */
export function pointsToChooseFrom(
  group: Pick<GroupSettings, 'name' | 'production'>,
  observation: Pick<Observation, 'catalog'>,
  wanted: string | null,
): readonly RecoveryPoint[] {
  const all = observation.catalog.points.filter((point) => point.group === group.name);
  const ofThisWay = all.filter((point) => point.site === group.production);
  return wanted !== null || ofThisWay.length === 0 ? all : ofThisWay;
}

/** The newest complete point that the target of a pair holds; null when it holds none or could not be asked. */
export function newestComplete(pair: PairObservation): ReplicaPoint | null {
  const complete = (pair.points ?? []).filter((point) => point.complete);
  return complete.reduce<ReplicaPoint | null>(
    (best, p) => (best === null || p.takenAt > best.takenAt ? p : best),
    null,
  );
}

/** The oldest of the newest complete points: what all replicas together stand for; null when one has none. */
export function replicaInstant(pairs: readonly PairObservation[]): Instant | null {
  let oldest: Instant | null = null;
  for (const pair of pairs) {
    const point = newestComplete(pair);
    if (point === null) return null;
    if (oldest === null || point.takenAt < oldest) oldest = point.takenAt;
  }
  return oldest;
}

/** `points` newest first, good ones of the group only. Null when there is none. */
export function choosePoint(
  points: readonly RecoveryPoint[],
  replica: Instant | null,
  wanted: string | null,
): Choice | null {
  if (wanted !== null) {
    const point = points.find((p) => p.id === wanted);
    return point === undefined ? null : describe(point, points, replica);
  }
  const [newest] = points;
  if (newest === undefined) return null;
  if (replica === null) return describe(newest, points, replica);
  const fitting = points.find((point) => youngVms(point, points, replica).length === 0);
  return describe(fitting ?? newest, points, replica);
}

function describe(point: RecoveryPoint, points: readonly RecoveryPoint[], replica: Instant | null): Choice {
  const behind = new Map<string, PointVm>();
  if (replica !== null) {
    for (const vm of youngVms(point, points, replica)) behind.set(vm.uuid, vm);
    const here = new Set(point.vms.map((vm) => vm.uuid));
    for (const newer of points) {
      if (newer.takenAt <= point.takenAt) continue;
      for (const vm of newer.vms) if (!here.has(vm.uuid) && !behind.has(vm.uuid)) behind.set(vm.uuid, vm);
    }
  }
  return {
    point,
    tooYoung: [...behind.values()].sort((a, b) =>
      a.nameLabel < b.nameLabel ? -1 : a.nameLabel > b.nameLabel ? 1 : 0,
    ),
    skewSeconds: replica === null ? null : secondsBetween(replica, point.takenAt),
  };
}

/** VMs of a point that have a disk which no point at or before the replica's instant knew. */
function youngVms(point: RecoveryPoint, points: readonly RecoveryPoint[], replica: Instant): PointVm[] {
  if (point.takenAt <= replica) return [];
  const old = points.filter((p) => p.takenAt <= replica);
  // Without any point from before the replica nothing is known to be too young; the disks themselves will tell.
  if (old.length === 0) return [];
  const known = new Set(old.flatMap((p) => p.vms.flatMap((vm) => vm.vdiUuids)));
  const replicated = new Set(point.replication.map((r) => r.srUuid));
  const sr = new Map(point.vdis.map((vdi) => [vdi.uuid, vdi.srUuid]));
  return point.vms.filter((vm) =>
    vm.vdiUuids.some((vdi) => !known.has(vdi) && replicated.has(sr.get(vdi) ?? '')),
  );
}
