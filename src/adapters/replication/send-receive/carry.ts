/**
 * Carries one point from one filer to another. A transfer counts when the point is at the other side by its own
 * identity; what the programs say is only used for the words of an error (storage.md B.4.1).
 */
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { PortError } from '../../../domain/errors.ts';
import { shellCommand } from '../../ssh/quote.ts';
import type { RemoteResult } from '../../ssh/remote.ts';
import { cancelled, diverged, noVolume, wrongState } from './errors.ts';
import type { Filer } from './filer.ts';
import { exitBusy, exitPromoted, sendScript } from './scripts.ts';
import type { Store, StoredPoint, Stream, VolumeState, VolumeStore } from './store.ts';
import { after, commonOf } from './views.ts';

/** One side of a pair, however it is spoken to. */
export interface End {
  readonly filer: Pick<Filer, 'array' | 'clock' | 'close'>;
  readonly store: VolumeStore;
  readonly volume: string;
}

/** One side of a pair behind SSH. */
export interface Side extends End {
  readonly filer: Filer;
  readonly store: Store;
}

/** A transfer that takes longer than this is a matter for people. */
export const longestSeconds = 24 * 3600;
const pollSeconds = 0.5;

export async function stateOf(side: End, signal?: AbortSignal): Promise<VolumeState | null> {
  const { volumes } = await side.store.look([side.volume], signal);
  return volumes.get(side.volume) ?? null;
}

export async function mustExist(side: End, signal?: AbortSignal): Promise<VolumeState> {
  const state = await stateOf(side, signal);
  if (state === null) throw noVolume(side.filer.array, side.volume);
  return state;
}

/** The point with this tag, which is cut when it is not there yet. */
async function pointOf(from: Side, tag: string, signal?: AbortSignal): Promise<VolumeState> {
  const state = await mustExist(from, signal);
  if (state.points.some((point) => point.tag === tag)) return state;
  await from.store.cut(from.volume, tag);
  return mustExist(from, signal);
}

/** Returns when the point with this tag is complete at the other side. */
export async function carry(from: Side, to: Side, tag: string, signal?: AbortSignal): Promise<StoredPoint> {
  const began = from.filer.clock.monotonicSeconds();
  for (let carried = 0; ; ) {
    const [here, there] = await Promise.all([pointOf(from, tag, signal), stateOf(to, signal)]);
    if (there?.writable === true && there.mark === null) {
      await closeLeftOpen(from, here, to, there);
      continue;
    }
    const point = here.points.find((one) => one.tag === tag);
    if (point === undefined) throw noVolume(from.filer.array, `${from.volume}, point ${tag}`);
    const arrived = there?.points.find(({ ref, complete }) => ref === point.ref && complete);
    if (there !== null && arrived !== undefined) {
      await settle(from, here, to, there, point);
      return arrived;
    }
    if (carried > 1) throw neverArrived(from, to, tag);
    mustTake(from, here, to, there);
    if (await sent(from, here, to, there, point, signal)) carried += 1;
    else {
      if (from.filer.clock.monotonicSeconds() - began > longestSeconds) throw late(from, tag);
      await from.filer.clock.sleep(pollSeconds, signal);
    }
  }
}

/**
 * False when it must be looked again. What was on its way when a link broke may still arrive when it is mended, so an
 * error counts only when the point is not there.
 */
async function sent(
  from: Side,
  here: VolumeState,
  to: Side,
  there: VolumeState | null,
  point: StoredPoint,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    return await sendAll(from, here, to, there, point, signal);
  } catch (error) {
    if (!(error instanceof PortError) || error.kind !== 'refused') throw error;
    const now = await stateOf(to, signal);
    if (now?.points.some(({ ref, complete }) => ref === point.ref && complete) !== true) throw error;
    return true;
  }
}

async function settle(
  from: Side,
  here: VolumeState,
  to: Side,
  there: VolumeState,
  point: StoredPoint,
): Promise<void> {
  await Promise.all([from.store.settle(here, point, 'sender'), to.store.settle(there, point, 'receiver')]);
}

/**
 * A first transfer that was cut off between its last byte and the closing of what it made leaves a replica that takes
 * writes and bears no mark. It is closed when everything on it came from here and nothing was written to it; it is looked
 * at once more when nobody can write any longer. Anything else that takes writes is refused.
 */
async function closeLeftOpen(from: Side, here: VolumeState, to: Side, there: VolumeState): Promise<void> {
  const known = new Set([...here.points, ...(here.remembered ?? [])].map(({ ref }) => ref));
  const newest = there.points.at(-1);
  const ours =
    there.asReceived === true &&
    !there.transferring &&
    there.points.every(({ ours: cut, complete, ref }) => cut && complete && known.has(ref));
  if (newest === undefined || !ours || (await to.store.changedSince(to.volume, newest)))
    throw takesWrites(to);
  await to.store.close(to.volume);
  if (await to.store.changedSince(to.volume, newest)) throw writtenMeanwhile(from, to);
  await to.store.mark(to.volume, { role: 'target', point: null });
}

function takesWrites(to: End): PortError {
  return wrongState(
    to.filer.array,
    `Volume ${to.volume} takes writes, so nothing is sent to it`,
    ['a replica is read-only'],
    'Find out who writes to it; if nobody does, make it read-only, and the next sync goes on',
  );
}

function writtenMeanwhile(from: End, to: End): PortError {
  return wrongState(
    to.filer.array,
    `Volume ${to.volume} was written to while it was being closed, so nothing is sent to it`,
    [`everything else on it came from ${from.filer.array}`, 'it is closed now'],
    'Find out who wrote to it and whether that is needed; then remove the volume by hand, and the next sync makes it anew',
  );
}

/** Refuses a receiver that would lose something, or that is no receiver at all. */
export function mustTake(from: End, here: VolumeState, to: End, there: VolumeState | null): void {
  if (there === null) return;
  if (there.mark !== null && there.mark.role !== 'target' && there.mark.role !== 'demoted')
    throw promoted(to);
  if (there.writable) throw takesWrites(to);
  const common = commonOf(there, here);
  const newer = after(there, common).filter(({ complete }) => complete);
  if (newer.length > 0)
    throw diverged(to.filer.array, to.volume, [
      common === null
        ? `it has no point in common with ${from.filer.array}`
        : `newest common point: ${common.name}`,
      `only there: ${newer.map(({ name }) => name).join(', ')}`,
    ]);
}

function promoted(to: End): PortError {
  return wrongState(
    to.filer.array,
    `Volume ${to.volume} was promoted, so nothing is sent to it`,
    [],
    'Decide which side is the true one: reprotect from there, or restore the replica',
  );
}

/** False when another transfer is under way, which is waited for, and when the rest of an old one was dropped. */
async function sendAll(
  from: Side,
  here: VolumeState,
  to: Side,
  there: VolumeState | null,
  point: StoredPoint,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const target = { volume: to.volume, state: there, store: to.store };
  for (const stream of from.store.streams(here, point, target)) {
    if (stream.resume !== undefined && !(await resumes(from, to, stream.resume, signal))) return false;
    const ended =
      from.filer.options.via === 'filer'
        ? await throughFiler(from, to, stream, signal)
        : await throughLifeboat(from, to, stream, signal);
    if (ended.code === exitBusy) return false;
    if (ended.code === exitPromoted) throw promoted(to);
    if (ended.code !== 0) {
      if (stream.resume !== undefined && (await movedOn(from, to, point, stream, signal))) return false;
      throw transferError(from, to, ended);
    }
  }
  return true;
}

/** What can no longer be finished, because the point it was about is gone, is dropped: it would be in the way for ever. */
async function resumes(
  from: Side,
  to: Side,
  { check, abandon }: NonNullable<Stream['resume']>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { code } = await from.filer.ask(check, signal);
  if (code === 0) return true;
  await to.filer.mustSoon(abandon);
  return false;
}

/**
 * Whether something else is to be sent now. A receiver that was cut off keeps the last bytes of its stream only when it
 * is ended, after it was asked where to go on; and what broke off once more has come further.
 */
async function movedOn(
  from: Side,
  to: Side,
  point: StoredPoint,
  { send }: Stream,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const [here, state] = await Promise.all([mustExist(from, signal), stateOf(to, signal)]);
  const left = from.store.streams(here, point, { volume: to.volume, state, store: to.store });
  return !left.some((stream) => shellCommand(stream.send) === shellCommand(send));
}

function sendArgv(from: Side, stream: Stream, receiver: readonly string[] | null): readonly string[] {
  const lock = from.filer.lockPath(from.volume, 'send');
  const line = receiver === null ? '' : shellCommand(receiver);
  return ['sh', '-c', sendScript, 'lifeboat-send', lock, shellCommand(stream.send), line];
}

function throughFiler(
  from: Side,
  to: Side,
  stream: Stream,
  signal: AbortSignal | undefined,
): Promise<RemoteResult> {
  const receiver = from.filer.linkArgv(to.filer, stream.receive);
  return from.filer.remote.run(from.filer.argv(sendArgv(from, stream, receiver)), {
    effect: 'write',
    timeoutSeconds: longestSeconds,
    signal,
    name: 'the transfer',
  });
}

async function throughLifeboat(
  from: Side,
  to: Side,
  stream: Stream,
  signal: AbortSignal | undefined,
): Promise<RemoteResult> {
  const words: string[] = [];
  const listen = (piece: Buffer): number => words.push(piece.toString('utf8'));
  const sender = await from.filer.open(sendArgv(from, stream, null), signal);
  sender.stderr.on('data', listen);
  try {
    // The receiver ends whoever was there before, so it must not be started before the sender has its lock.
    if (!(await begins(sender.stdout))) return ended(await sender.done, words);
    const receiver = await to.filer.open(stream.receive, signal);
    receiver.stdout.on('data', listen);
    receiver.stderr.on('data', listen);
    await pipeline(sender.stdout, receiver.stdin, signal === undefined ? {} : { signal }).catch(() =>
      sender.close(),
    );
    const [sent, received] = await Promise.all([sender.done, receiver.done]);
    return ended(received.code === 0 ? sent : received, words);
  } catch (error) {
    sender.close();
    throw signal?.aborted === true ? cancelled(from.filer.array) : error;
  }
}

/** Whether a stream has anything in it. */
async function begins(stream: Readable): Promise<boolean> {
  if (stream.readableLength === 0 && !stream.readableEnded) await once(stream, 'readable');
  return stream.readableLength > 0;
}

function ended(
  { code, signal }: Pick<RemoteResult, 'code' | 'signal'>,
  words: readonly string[],
): RemoteResult {
  return { code, signal, stdout: '', stderr: words.join('') };
}

/** Every program ended well, and the point is not there: nobody may go on as if it were. */
export function neverArrived(from: End, to: End, tag: string): PortError {
  return new PortError('protocol', {
    code: 'DR-ARRAY-PROTOCOL',
    what: `Point ${tag} of volume ${from.volume} was sent twice and is not complete at ${to.filer.array}`,
    where: { object: `array ${from.filer.array}` },
    known: ['most often a dataset below the volume was removed or added by hand since the point was cut'],
    next: 'Compare the snapshots of this tag on both filers; the next tag makes a new point',
  });
}

export function late(from: End, tag: string): PortError {
  return new PortError('busy', {
    code: 'DR-ARRAY-SYNC-LATE',
    what: `Point ${tag} of volume ${from.volume} has not arrived within ${longestSeconds / 3600} h`,
    where: { object: `array ${from.filer.array}` },
    next: 'Look at the link between the filers; the transfer goes on by itself',
  });
}

/** Between the filers, what breaks is most often the link: ssh says so with 255. */
function transferError(from: Side, to: Side, ended: RemoteResult): PortError {
  const words = ended.stderr.trim();
  if (ended.code !== 255) return from.filer.error(['send', `${from.volume} to ${to.filer.array}`], ended);
  const kind = /Host key verification/i.test(words)
    ? 'trust'
    : /Permission denied \(/i.test(words)
      ? 'auth'
      : 'unreachable';
  return new PortError(
    kind,
    {
      code: 'DR-ARRAY-LINK',
      what: `The replication link from ${from.filer.array} to ${to.filer.array} does not carry volume ${from.volume}`,
      where: { object: `array ${from.filer.array}` },
      known: [...words.split('\n').slice(-3).filter(Boolean), 'the replica is at its last complete point'],
      next: `Log in to ${from.filer.array} and try the same login to ${to.filer.options.link_host ?? to.filer.options.host}`,
    },
    { peerCode: `ssh ${ended.code}`, peerParams: [words] },
  );
}
