/** What a filer holds, as the port shows it. */
import type { Divergence, PairView, ReplicaPoint, Role } from '../../../domain/replication.ts';
import type { Instant } from '../../../domain/time.ts';
import type { StoredPoint, VolumeState } from './store.ts';

/** What is known of the other side without asking it: over the filers' own link. */
export interface LinkView {
  readonly link: 'up' | 'down' | 'unknown';
  /** The other side takes writes because it was promoted. */
  readonly peerPromoted: boolean;
}

export const linkUnknown: LinkView = { link: 'unknown', peerPromoted: false };

export function instantOf(seconds: number): Instant {
  return new Date(seconds * 1000).toISOString();
}

export function replicaPoint(point: StoredPoint): ReplicaPoint {
  return {
    ref: point.ref,
    ...(point.tag === null ? {} : { tag: point.tag }),
    takenAt: instantOf(point.takenAtSeconds),
    clock: 'source',
    complete: point.complete,
    consistency: point.consistency,
  };
}

export function newestOf(state: VolumeState): StoredPoint | null {
  return state.points.findLast(({ complete }) => complete) ?? null;
}

/** The newest point of this side that the other one holds, or can send from though it is gone there. */
export function commonOf(state: VolumeState, other: VolumeState): StoredPoint | null {
  const known = [...other.points, ...(other.remembered ?? [])];
  const there = new Set(known.filter(({ complete }) => complete).map(({ ref }) => ref));
  return state.points.findLast(({ ref, complete }) => complete && there.has(ref)) ?? null;
}

/** Points that came after this one. */
export function after(state: VolumeState, point: StoredPoint | null): readonly StoredPoint[] {
  return point === null ? state.points : state.points.slice(state.points.indexOf(point) + 1);
}

export function roleOf(state: VolumeState, { peerPromoted }: LinkView = linkUnknown): Role {
  switch (state.mark?.role) {
    case 'promoted':
      return 'promoted';
    case 'prepared':
    case 'fenced':
    case 'demoted':
      return 'demoted';
    case 'target':
    case 'promoting':
      return 'target';
    case undefined:
      if (!state.writable) return 'target';
      return peerPromoted ? 'split' : 'source';
  }
}

/** `seconds`: the filer's clock. */
export function pairView(
  array: string,
  state: VolumeState,
  seen: { readonly at: Instant; readonly seconds: number; readonly link: LinkView },
): PairView {
  const role = roleOf(state, seen.link);
  const sent = [...state.points, ...(state.remembered ?? [])].find(({ ref }) => ref === state.sent) ?? null;
  const newest = role === 'source' || role === 'split' ? sent : newestOf(state);
  return {
    pair: { array, volume: state.volume },
    observedAt: seen.at,
    role,
    activity: activityOf(state),
    link: seen.link.link,
    health: healthOf(role, state, seen.link),
    newestComplete: newest === null ? null : replicaPoint(newest),
    writable: state.writable,
    reportedLagSeconds:
      role === 'target' && newest !== null ? Math.max(0, seen.seconds - newest.takenAtSeconds) : null,
    raw: state.raw,
  };
}

function activityOf({ transferring, mark }: VolumeState): NonNullable<PairView['activity']> {
  if (mark?.role === 'promoting') return 'promoting';
  if (transferring) return 'transferring';
  return mark?.role === 'prepared' ? 'quiesced' : 'idle';
}

function healthOf(role: Role, state: VolumeState, { link }: LinkView): PairView['health'] {
  const say = (level: PairView['health']['level'], ...reasons: string[]): PairView['health'] => ({
    level,
    reasons,
  });
  if (role === 'split')
    return say('bad', 'both sides take writes: the other one was promoted and this one was not demoted');
  if (link === 'down') return say('bad', 'the replication link is down');
  if (role === 'promoted') return say('warn', 'nothing protects it until replication is reversed');
  if (role === 'demoted') return say('warn', `it takes no writes: it is ${state.mark?.role}`);
  if (role === 'target' && newestOf(state) === null) return say('bad', 'no complete point has arrived');
  return say('ok');
}

/** `changed`: whether this side was written since the common point; null when it may have been. */
export function divergenceOf(state: VolumeState, other: VolumeState, changed: boolean | null): Divergence {
  const common = commonOf(state, other);
  const newer = after(state, common);
  const says = [
    common === null
      ? 'the two sides have no point in common: only a full copy helps'
      : `the newest common point is of ${instantOf(common.takenAtSeconds)}`,
    newer.length === 0
      ? 'no point was cut here since then'
      : `${newer.length} points were cut here since then: ${newer.map(({ name }) => name).join(', ')}`,
    ...(changed === false ? [] : [`what was written to ${state.volume} since then is on this side only`]),
  ];
  return {
    common: common === null ? null : replicaPoint(common),
    pointsLost: newer.length,
    bytesLost: changed === false && newer.length === 0 ? 0 : null,
    says,
  };
}
