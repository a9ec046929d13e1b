/** What a cluster knows of a volume, read at once, and what that makes it. Pure apart from `readSituation(s)`. */
import type { Json } from '../../../domain/canonical.ts';
import type { Activity, PairView, ReplicaPoint, Role } from '../../../domain/replication.ts';
import type { Asking, OntapControl, Outgoing, Relationship, Snapshot, Volume } from './control.ts';
import { endOf, groupPoints, membersOf } from './groups.ts';
import { type Mark, markOf } from './marks.ts';
import { noVolume } from './refusals.ts';

export interface Situation {
  readonly volume: Volume;
  readonly mark: Mark;
  /** Where this volume is the destination. */
  readonly incoming: Relationship | null;
  readonly outgoing: readonly Outgoing[];
  /** Of a volume in a consistency group: those that are points of the group. */
  readonly snapshots: readonly Snapshot[];
  /** All volumes that are one with this one, itself included: of its consistency group, or it alone. */
  readonly members: readonly Member[];
}

export interface Member {
  readonly volume: Volume;
  readonly mark: Mark;
}

/** Label of the snapshots that Lifeboat takes: nothing without it is ever removed. */
export const snapshotLabel = 'lifeboat';
/** Export policy without rules: nobody may mount. */
export const closedPolicy = 'lifeboat_closed';

export async function readSituation(control: OntapControl, path: string, asking: Asking): Promise<Situation> {
  const situation = (await read(control, path, asking)).get(path);
  if (situation === undefined) throw noVolume(control, path);
  return situation;
}

/** Every volume of the cluster, in four listings. */
export function readSituations(
  control: OntapControl,
  asking: Asking,
): Promise<ReadonlyMap<string, Situation>> {
  return read(control, null, asking);
}

async function read(
  control: OntapControl,
  path: string | null,
  asking: Asking,
): Promise<ReadonlyMap<string, Situation>> {
  const wanted = path === null ? [null] : membersOf(control, path);
  const end = path === null ? null : endOf(control, path);
  const [volumes, incoming, outgoing, snapshots] = await Promise.all([
    Promise.all(wanted.map((one) => control.volumes(one, asking))),
    control.relationships(end, asking),
    control.outgoing(end, asking),
    Promise.all(wanted.map((one) => control.snapshots(one, asking))),
  ]);
  const arriving = new Map(incoming.map((one) => [one.destination, one]));
  const leaving = Map.groupBy(outgoing, ({ source }) => source);
  const held = Map.groupBy(snapshots.flat(), ({ volume }) => volume);
  const there = new Map(volumes.flat().map((volume) => [volume.path, volume]));
  const situations = new Map<string, Situation>();
  for (const volume of there.values()) {
    const members = membersOf(control, volume.path).map((one) => there.get(one));
    const name = endOf(control, volume.path);
    situations.set(volume.path, {
      volume,
      mark: markOf(volume.comment),
      incoming: arriving.get(name) ?? null,
      outgoing: leaving.get(name) ?? [],
      snapshots: pointsHeld(control, volume.path, held),
      members: members.flatMap((one) =>
        one === undefined ? [] : [{ volume: one, mark: markOf(one.comment) }],
      ),
    });
  }
  return situations;
}

function pointsHeld(
  control: OntapControl,
  path: string,
  held: ReadonlyMap<string, readonly Snapshot[]>,
): readonly Snapshot[] {
  const own = held.get(path) ?? [];
  if (!control.groups.has(path)) return own;
  return groupPoints(
    own,
    membersOf(control, path).map((one) => held.get(one) ?? []),
    snapshotLabel,
  );
}

/** What the volume holds now, without asking for anything else where it stands alone. */
export async function snapshotsAt(
  control: OntapControl,
  path: string,
  asking: Asking,
): Promise<readonly Snapshot[]> {
  if (!control.groups.has(path)) return control.snapshots(path, asking);
  const members = membersOf(control, path);
  const all = await Promise.all(members.map((one) => control.snapshots(one, asking)));
  return pointsHeld(control, path, new Map(members.map((one, index) => [one, all[index] ?? []])));
}

/**
 * A relationship that is not broken off makes its destination a target, whatever our marks say. A source never knows
 * what became of its destination.
 */
export function roleOf({ volume, mark, incoming, outgoing }: Situation): Role {
  if (volume.type === 'other') return 'unknown';
  if (incoming !== null && incoming.state !== 'broken_off')
    return volume.type === 'dp' || incoming.state !== 'uninitialized' ? 'target' : 'unknown';
  if (volume.type === 'dp') return 'unpaired';
  if (mark.closed !== undefined) return 'demoted';
  // Broken off, and not yet back at the point that it is promoted to.
  if (mark.promoted?.restoring === true) return 'target';
  if (incoming !== null) return 'promoted';
  if (outgoing.length > 0) return 'source';
  return mark.promoted === undefined ? 'unpaired' : 'promoted';
}

/** Identity of a snapshot on both sides. Before 9.11 ONTAP does not tell it: then name and the source's time, together. */
export function refOf({ groupRef, versionUuid, name, createTime }: Snapshot): string {
  return groupRef ?? versionUuid ?? `${name}@${createTime}`;
}

export function pointOf(snapshot: Snapshot): ReplicaPoint {
  return {
    ref: refOf(snapshot),
    ...(snapshot.label === snapshotLabel ? { tag: snapshot.name } : {}),
    takenAt: snapshot.createTime,
    clock: 'source',
    complete: true,
    consistency: snapshot.groupRef === undefined ? 'crash' : 'group',
  };
}

/** Newest first. ONTAP shows a snapshot at the destination once the whole of it is there. */
export function newestFirst(snapshots: readonly Snapshot[]): Snapshot[] {
  return [...snapshots].sort(
    (a, b) => Date.parse(b.createTime) - Date.parse(a.createTime) || b.name.localeCompare(a.name),
  );
}

export function pointsOf({ snapshots }: Situation): ReplicaPoint[] {
  return newestFirst(snapshots).map(pointOf);
}

export function isActive({ transfer }: Relationship): boolean {
  return transfer.state === 'queued' || transfer.state === 'transferring';
}

export function viewOf(
  control: OntapControl,
  path: string,
  observedAt: string,
  situation: Situation,
): PairView {
  const role = roleOf(situation);
  const { incoming, volume } = situation;
  const newest = role === 'target' ? (pointsOf(situation)[0] ?? null) : null;
  return {
    pair: { array: control.endpoint.array, volume: path },
    observedAt,
    role,
    activity: activityOf(situation, role),
    link: linkOf(incoming),
    health: healthOf(situation, role, newest),
    newestComplete: newest,
    writable: writableOf(situation),
    reportedLagSeconds: incoming?.lagSeconds ?? null,
    raw: { volume, relationship: incoming, outgoing: situation.outgoing } as unknown as Json,
  };
}

function writableOf({ volume, mark }: Situation): PairView['writable'] {
  if (volume.type === 'dp' || !volume.online || mark.promoted?.restoring === true) return false;
  if (mark.closed === undefined) return volume.type === 'rw' ? true : 'unknown';
  // What keeps hosts out was verified when it was done; a policy that is another one now says that it no longer holds.
  return volume.exportPolicy === closedPolicy ? false : 'unknown';
}

const states: Readonly<Record<string, Activity>> = {
  paused: 'quiesced',
  uninitialized: 'initializing',
  synchronizing: 'resyncing',
};

function activityOf({ incoming, mark }: Situation, role: Role): Activity {
  if (role === 'demoted') return 'quiesced';
  if (incoming === null || role !== 'target') return 'unknown';
  if (mark.promoted !== undefined) return 'promoting';
  if (isActive(incoming)) return incoming.state === 'uninitialized' ? 'initializing' : 'transferring';
  if (!incoming.healthy && incoming.transfer.state === 'failed') return 'failed';
  return states[incoming.state] ?? 'idle';
}

/** `up` is never claimed: a healthy relationship only says that its last transfer went well. */
function linkOf(incoming: Relationship | null): PairView['link'] {
  const unreachable = /peer cluster|unreachable|network|connect|timed out/i;
  const failed = incoming !== null && !incoming.healthy;
  return failed && incoming.unhealthyReasons.some((reason) => unreachable.test(reason)) ? 'down' : 'unknown';
}

function healthOf(
  { volume, incoming, mark, snapshots }: Situation,
  role: Role,
  newest: ReplicaPoint | null,
): PairView['health'] {
  const bad: string[] = [];
  const warn: string[] = [];
  if (!volume.online) bad.push(`volume ${volume.path} is offline`);
  if (role === 'promoted')
    warn.push('nothing that is written here is protected before replication is reversed');
  if (incoming !== null && role === 'target') {
    if (!incoming.healthy)
      bad.push(
        ...(incoming.unhealthyReasons.length > 0 ? incoming.unhealthyReasons : ['ONTAP says unhealthy']),
      );
    if (newest === null) bad.push('no complete point has arrived yet');
    if (incoming.state === 'paused') warn.push('the relationship is quiesced: no transfer starts');
    if (incoming.state === 'out_of_sync') warn.push('the relationship is out of sync');
    if (mark.promoted !== undefined)
      bad.push('a promotion was begun; promote again to finish it, or restore');
    const { exportedSnapshot } = incoming;
    if (exportedSnapshot !== null && !snapshots.some(({ name }) => name === exportedSnapshot))
      warn.push(`ONTAP names ${exportedSnapshot} as exported, and it is not among the snapshots`);
  }
  if (mark.closed !== undefined && role === 'demoted' && volume.exportPolicy !== closedPolicy)
    bad.push(`hosts were kept from this volume, and its export policy is ${volume.exportPolicy} now`);
  return { level: bad.length > 0 ? 'bad' : warn.length > 0 ? 'warn' : 'ok', reasons: [...bad, ...warn] };
}
