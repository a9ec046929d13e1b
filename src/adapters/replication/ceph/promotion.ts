/**
 * Promotion of a replica. A forced one waits without limit for the rbd-mirror daemon of its own cluster, which may wait for
 * the dead one; then only the connection of that daemon is blocked. One that breaks off leaves an orphan snapshot on top
 * of data that may be half copied, and Ceph takes the orphan for whole when it is asked again: so what was begun is
 * marked first, and such an image is rolled back to a whole snapshot before anybody is told that it is promoted.
 */
import { PortError } from '../../../domain/errors.ts';
import type { ReplicaPoint } from '../../../domain/replication.ts';
import { extents, lockList, watcherList } from './answers.ts';
import { imageSpec } from './options.ts';
import { brokeOffHalfCopied, cutsIn, newestCopy } from './points.ts';
import { exits, type Rbd } from './rbd.ts';
import { type ImageState, markerName, marks, type PromotedMark, readState } from './state.ts';

/** How often a promotion that found a stale lock is asked again. */
const lockTries = 3;
const blockSeconds = 600;

export async function promote(
  rbd: Rbd,
  state: ImageState,
  mode: 'planned' | 'unplanned',
  point: ReplicaPoint,
  sleep: (seconds: number) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const wasHalf = brokeOffHalfCopied(state.snapshots) || state.underWay?.halfCopied === true;
  if (wasHalf && !cutsIn(state.snapshots).some(({ name }) => name === point.ref))
    throw halfCopied(rbd, state);
  const mark: PromotedMark = {
    image: state.info.id,
    volume: imageSpec(state.image),
    point: point.ref,
    takenAt: point.takenAt,
    mode,
    halfCopied: wasHalf,
  };
  await begin(rbd, state, mark, signal);
  if (!state.info.mirroring.primary) {
    if (mode === 'planned') await plannedOrUnmarked(rbd, state, sleep, signal);
    else await forced(rbd, state, sleep, signal);
  }
  await finish(rbd, state, mark, signal);
}

/** Completes what a dead caller has begun: the image is primary already, the mark says what is left. */
export async function finish(
  rbd: Rbd,
  state: ImageState,
  mark: PromotedMark,
  signal: AbortSignal | undefined,
): Promise<void> {
  const spec = imageSpec(state.image);
  const seen = await readState(rbd, state.image, signal);
  if (!seen.info.mirroring.primary) throw notPromoted(rbd, spec);
  if (mark.halfCopied) {
    const { copySeconds: seconds } = rbd.limits;
    await rbd.verb(['snap', 'rollback', '--no-progress', `${spec}@${mark.point}`], signal, { seconds });
  }
  // Snapshots of a transfer that never ended were made here before their data came.
  for (const { name, takenAt } of cutsIn(seen.snapshots))
    if (takenAt > mark.takenAt) await rbd.verb(['snap', 'rm', '--no-progress', `${spec}@${name}`], signal);
  await rbd.verb(
    ['image-meta', 'set', spec, marks.promoted, JSON.stringify({ ...mark, halfCopied: false })],
    signal,
  );
  await removeMarker(rbd, state, signal);
}

async function begin(
  rbd: Rbd,
  state: ImageState,
  mark: PromotedMark,
  signal: AbortSignal | undefined,
): Promise<void> {
  const marker = imageSpec(state.image, markerName(state.image));
  // No journaling: in a pool that mirrors all journaled images the marker itself must stay here.
  await rbd.verb(['create', '--size', '1M', '--image-feature', 'layering', marker], signal, {
    accept: [exits.exists],
  });
  await rbd.verb(['image-meta', 'set', marker, marks.promoted, JSON.stringify(mark)], signal);
}

async function removeMarker(rbd: Rbd, state: ImageState, signal: AbortSignal | undefined): Promise<void> {
  const marker = imageSpec(state.image, markerName(state.image));
  await rbd.verb(['rm', '--no-progress', marker], signal, { accept: [exits.absent] });
}

/** A refusal leaves the image as it was, and no mark of a promotion beside it. */
async function plannedOrUnmarked(
  rbd: Rbd,
  state: ImageState,
  sleep: (seconds: number) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await promoteDemoted(rbd, state, sleep, signal);
  } catch (error) {
    if (error instanceof PortError && error.kind === 'refused') await removeMarker(rbd, state, signal);
    throw error;
  }
}

/**
 * Makes a demoted image, or the replica of one, primary. 16: the other side's demotion has not arrived here yet; 30: it has,
 * and rbd-mirror still has the image open.
 */
export async function promoteDemoted(
  rbd: Rbd,
  state: ImageState,
  sleep: (seconds: number) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const spec = imageSpec(state.image);
  const { verbSeconds, pollSeconds } = rbd.limits;
  for (let waited = 0; ; waited += pollSeconds) {
    const args = ['mirror', 'image', 'promote', spec];
    const result = await rbd.verb(args, signal, { accept: [exits.notYet, exits.readOnly, exits.already] });
    if (result.code === 0 || result.code === exits.already) return;
    if (waited > verbSeconds) throw rbd.refused(args, result);
    await sleep(pollSeconds);
  }
}

async function forced(
  rbd: Rbd,
  state: ImageState,
  sleep: (seconds: number) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const spec = imageSpec(state.image);
  const args = ['mirror', 'image', 'promote', '--force', spec];
  // A replica refuses every writer: who holds its lock before we ask for it is rbd-mirror.
  const holders = (await rbd.read(lockList, ['lock', 'ls', spec], signal)) ?? [];
  const lockers = new Set(holders.map(({ locker }) => locker));
  for (let tries = 1; ; tries += 1) {
    const result = await unlessHeld(rbd, state, args, lockers, sleep, signal);
    if (result.code === 0 || result.code === exits.already) return;
    if (result.code !== exits.readOnly || tries === lockTries) throw rbd.refused(args, result);
    await breakDeadLocks(rbd, spec, signal);
  }
}

/** The command goes on while it is looked who holds it up: broken off, it would leave half a promotion. */
async function unlessHeld(
  rbd: Rbd,
  state: ImageState,
  args: readonly string[],
  lockers: ReadonlySet<string>,
  sleep: (seconds: number) => Promise<void>,
  signal: AbortSignal | undefined,
): ReturnType<Rbd['verb']> {
  const { heldSeconds, forcedSeconds: seconds } = rbd.limits;
  const blocked: string[] = [];
  let over = false;
  const promoting = rbd
    .verb(args, signal, { accept: [exits.readOnly, exits.already], seconds })
    .finally(() => {
      over = true;
    });
  const freeing = sleep(heldSeconds).then(async () => {
    if (!over) blocked.push(...(await blockDaemon(rbd, state, lockers, signal)));
  });
  // A failure to free it shows as a promotion that stays held; its own reason is not needed then.
  freeing.catch(() => undefined);
  try {
    return await promoting;
  } catch (error) {
    if (error instanceof PortError && error.problem.code === 'DR-ARRAY-OUTCOME-UNKNOWN')
      throw held(rbd, state, blocked, seconds);
    throw error;
  }
}

/** Blocks the connections by which rbd-mirror of this cluster watches this image, and no other client of it. */
async function blockDaemon(
  rbd: Rbd,
  state: ImageState,
  lockers: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const watching = await rbd.read(watcherList, ['status', imageSpec(state.image)], signal);
  const addresses = (watching?.watchers ?? [])
    .filter(({ client, address }) => lockers.has(`client.${client}`) && /^[^ ]+\/\d+$/.test(address))
    .map(({ address }) => address);
  for (const address of addresses)
    await rbd.ceph(['osd', 'blocklist', 'add', address, String(blockSeconds)], signal);
  return addresses;
}

/** A lock whose owner no longer watches the image belongs to a connection that was blocked or has died. */
async function breakDeadLocks(rbd: Rbd, spec: string, signal: AbortSignal | undefined): Promise<void> {
  const [locks, watching] = await Promise.all([
    rbd.read(lockList, ['lock', 'ls', spec], signal),
    rbd.read(watcherList, ['status', spec], signal),
  ]);
  const alive = new Set(watching?.watchers.map(({ client }) => `client.${client}`));
  for (const { id, locker } of locks ?? [])
    if (!alive.has(locker))
      await rbd.verb(['lock', 'rm', spec, id, locker], signal, { accept: [exits.absent] });
}

function held(rbd: Rbd, state: ImageState, blocked: readonly string[], seconds: number): PortError {
  const spec = imageSpec(state.image);
  return rbd.problem('outcome-unknown', {
    code: 'DR-ARRAY-HELD',
    what: `The forced promotion of ${spec} is held up: Ceph waits for rbd-mirror, which waits for the lost cluster`,
    known: [
      `it was ended after ${seconds} s`,
      blocked.length > 0
        ? `the connection of rbd-mirror was blocked: ${blocked.join(', ')}`
        : 'no connection of rbd-mirror was found that could be blocked',
    ],
    next: 'Stop rbd-mirror at the recovery site (`systemctl stop ceph-rbd-mirror.target`), then resume the run',
  });
}

function halfCopied(rbd: Rbd, state: ImageState): PortError {
  const spec = imageSpec(state.image);
  const [cut] = cutsIn(state.snapshots).filter(({ id }) => id < (newestCopy(state.snapshots)?.id ?? 0));
  return rbd.problem('refused', {
    code: 'DR-ARRAY-HALF-COPIED',
    what: `An earlier promotion of ${spec} broke off: what it holds now may be half copied`,
    known: [
      cut === undefined
        ? 'there is no point of Lifeboat on it to roll back to'
        : `the newest point that it can be rolled back to is ${cut.name}, taken ${cut.takenAt}`,
      'nothing was done',
    ],
    next: 'Make a new plan: it takes the point that is named; without one, copy the newest mirror snapshot by hand',
  });
}

function notPromoted(rbd: Rbd, spec: string): PortError {
  return rbd.problem('outcome-unknown', {
    code: 'DR-ARRAY-OUTCOME-UNKNOWN',
    what: `Ceph says that ${spec} was promoted, and shows it as a replica`,
    next: 'Look at `rbd info` and `rbd mirror image status` of the image, then resume the run',
  });
}

/** Bytes that were written since a snapshot; null when it is not there. */
export async function bytesSince(
  rbd: Rbd,
  spec: string,
  snapshot: string,
  signal: AbortSignal | undefined,
): Promise<number | null> {
  const { copySeconds: seconds } = rbd.limits;
  const changed = await rbd.read(extents, ['diff', '--from-snap', snapshot, spec], signal, seconds);
  return changed?.reduce((sum, { length }) => sum + length, 0) ?? null;
}
