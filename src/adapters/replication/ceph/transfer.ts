/** Points are cut here and awaited there: the other side is asked through the admin host that the settings name for it. */
import type { PortError } from '../../../domain/errors.ts';
import type { ReplicaPoint } from '../../../domain/replication.ts';
import type { Clock } from '../../../ports/system.ts';
import { type Snapshot, snapshotList } from './answers.ts';
import { imageSpec } from './options.ts';
import type { Side } from './peers.ts';
import { cutNameOf, cutPoint, cutsIn, mirrorsIn, snapshotPoints } from './points.ts';
import { exits, type Rbd } from './rbd.ts';
import { type ImageState, inJournalMode } from './state.ts';

/** The point of this tag: the one that is there, or a new one. Sent on its way in either case. */
export async function cut(
  rbd: Rbd,
  state: ImageState,
  tag: string,
  keep: number,
  signal: AbortSignal | undefined,
): Promise<ReplicaPoint> {
  const spec = imageSpec(state.image);
  const there = cutsIn(state.snapshots).find((one) => one.tag === tag);
  const sent = there !== undefined && mirrorsIn(state.snapshots).some(({ id }) => id > there.id);
  const point = there === undefined ? await cutAnew(rbd, state, tag, signal) : cutPoint(there);
  if (there === undefined) await forgetOld(rbd, state, keep - 1, signal);
  if (!inJournalMode(state) && !sent) await rbd.verb(['mirror', 'image', 'snapshot', spec], signal);
  return point;
}

/** Dated by the clock of the admin host of the source. */
export async function cutAnew(
  rbd: Rbd,
  state: ImageState,
  tag: string,
  signal: AbortSignal | undefined,
): Promise<ReplicaPoint> {
  const spec = imageSpec(state.image);
  for (const old of cutsIn(state.snapshots).filter((one) => one.tag === tag))
    await rbd.verb(['snap', 'rm', '--no-progress', `${spec}@${old.name}`], signal, {
      accept: [exits.absent],
    });
  const name = cutNameOf(Date.parse(await clockOf(rbd, signal)), tag);
  await rbd.verb(['snap', 'create', '--no-progress', `${spec}@${name}`], signal);
  const [made] = cutsIn([{ id: 0, name, timestamp: '', namespace: { type: 'user' } }]);
  if (made === undefined) throw new Error(`the name of a point does not read as one: ${name}`);
  return cutPoint(made);
}

/** Only points that Lifeboat has cut; the removal travels with the next mirror snapshot, and clones keep what they need. */
async function forgetOld(
  rbd: Rbd,
  state: ImageState,
  keep: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const { name } of cutsIn(state.snapshots).slice(keep))
    await rbd.verb(['snap', 'rm', '--no-progress', `${imageSpec(state.image)}@${name}`], signal, {
      accept: [exits.absent, exits.notYet],
    });
}

export async function clockOf(rbd: Rbd, signal: AbortSignal | undefined): Promise<string> {
  const { readSeconds: seconds } = rbd.limits;
  const { stdout } = await rbd.run(['date', '-u', '+%Y-%m-%dT%H:%M:%S.%3NZ'], {
    effect: 'read',
    seconds,
    signal,
  });
  return stdout.trim();
}

/**
 * Looks at the other side until `holds`, or until nothing has moved there for so long. An image that is not there is
 * waited for: a first copy and a resync begin without one.
 */
export async function awaitThere(
  side: Side,
  clock: Clock,
  stallSeconds: number,
  what: string,
  holds: (snapshots: readonly Snapshot[]) => boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { rbd, image } = side;
  let last = '';
  let movedAt = clock.monotonicSeconds();
  for (;;) {
    const seen = (await rbd.read(snapshotList, ['snap', 'ls', '--all', imageSpec(image)], signal)) ?? [];
    if (holds(seen)) return;
    const state = JSON.stringify(seen);
    if (state !== last) movedAt = clock.monotonicSeconds();
    last = state;
    if (clock.monotonicSeconds() - movedAt > stallSeconds) throw late(rbd, what, stallSeconds);
    await clock.sleep(rbd.limits.pollSeconds, signal);
  }
}

/** A point of ours is whole there. */
export function holdsWhole(ref: string, journal: boolean): (snapshots: readonly Snapshot[]) => boolean {
  return (snapshots) =>
    journal
      ? cutsIn(snapshots).some(({ name }) => name === ref)
      : snapshotPoints(snapshots, null).some((point) => point.ref === ref);
}

function late(rbd: Rbd, what: string, stallSeconds: number): PortError {
  return rbd.problem('busy', {
    code: 'DR-ARRAY-SYNC-LATE',
    what: `${what} does not arrive at array ${rbd.array}: nothing has moved there for ${stallSeconds} s`,
    next: 'Look at the link between the clusters and at rbd-mirror; the transfer goes on by itself',
  });
}
