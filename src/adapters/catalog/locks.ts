/**
 * Locks as files of a target, so that programs on several machines see each other. A lock of a process that has died is
 * taken over; one of another machine counts as dead when it is older than `foreignLockSeconds`.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import { livenessOf, type ProcessMark } from '../state/process.ts';
import { discard, StoreExists, StoreMissing, type TargetStore, temporaryPath } from './target-store.ts';

const foreignLockSeconds = 3600;
const unreadableLockSeconds = 1;
const patienceSeconds = 60;

export interface LockOwner {
  readonly mark: ProcessMark;
  readonly what: string;
}

export async function withLock<T>(
  store: TargetStore,
  name: string,
  owner: LockOwner,
  action: () => Promise<T>,
): Promise<T> {
  const path = `locks/${name}.json`;
  const text = JSON.stringify({ ...owner, nonce: randomBytes(8).toString('hex') });
  const until = performance.now() + patienceSeconds * 1000;
  while (!(await tryCreate(store, path, text))) {
    if (!(await clearStale(store, path)) && performance.now() > until) throw await held(store, path);
  }
  try {
    return await action();
  } finally {
    await store.remove(path);
  }
}

/** Resolves when nobody alive holds the lock. */
export async function waitUntilFree(store: TargetStore, name: string): Promise<void> {
  const path = `locks/${name}.json`;
  const until = performance.now() + patienceSeconds * 1000;
  while ((await store.stat(path)) !== null) {
    if (!(await clearStale(store, path)) && performance.now() > until) throw await held(store, path);
  }
}

/** Whether the process that wrote such a file may still be at work. */
export async function ownerMayLive(store: TargetStore, path: string): Promise<boolean> {
  const file = await readLock(store, path);
  if (file === null) return false;
  if (file.owner === null) return (await ageSeconds(store, path)) < unreadableLockSeconds;
  const liveness = livenessOf(file.owner.mark);
  if (liveness === 'elsewhere') return (await ageSeconds(store, path)) < foreignLockSeconds;
  return liveness === 'alive';
}

/** Seconds since a file was written, by the clock of the machine that holds it. */
export async function ageSeconds(store: TargetStore, path: string): Promise<number> {
  const entry = await store.stat(path);
  return entry === null ? Number.POSITIVE_INFINITY : (await storeNowSeconds(store)) - entry.modifiedAtSeconds;
}

/** The clock of the target, learned by writing a file there: ours may differ. */
export async function storeNowSeconds(store: TargetStore): Promise<number> {
  const file = await store.create(temporaryPath());
  try {
    await file.write(new Uint8Array(1));
    return (await store.stat(file.path))?.modifiedAtSeconds ?? 0;
  } finally {
    await discard(store, file);
  }
}

async function tryCreate(store: TargetStore, path: string, text: string): Promise<boolean> {
  try {
    const file = await store.create(path);
    try {
      await file.write(Buffer.from(text));
      await file.close();
    } catch (error) {
      // A full disk takes the name and not the content: a lock without an owner must not stay.
      await discard(store, file);
      throw error;
    }
    return true;
  } catch (error) {
    if (error instanceof StoreExists) return false;
    throw error;
  }
}

/** True when the lock is gone and it is worth trying again at once. */
async function clearStale(store: TargetStore, path: string): Promise<boolean> {
  if (await removeStale(store, path)) return true;
  await pause(25);
  return false;
}

/** Removes the lock or mark of a process that has died; false when it may live. */
export async function removeStale(store: TargetStore, path: string): Promise<boolean> {
  const seen = await readLock(store, path);
  if (seen === null) return true;
  if (await ownerMayLive(store, path)) return false;
  // Two may come here at once: the one who moved away a fresh lock instead of the stale one puts it back.
  const aside = temporaryPath();
  try {
    await store.rename(path, aside);
  } catch (error) {
    if (error instanceof StoreMissing || (await store.stat(path)) === null) return true;
    throw error;
  }
  const moved = await readLock(store, aside);
  if (moved !== null && moved.text !== seen.text) {
    await store.rename(aside, path);
    return false;
  }
  await store.remove(aside);
  return true;
}

async function readLock(
  store: TargetStore,
  path: string,
): Promise<{ readonly text: string; readonly owner: LockOwner | null } | null> {
  let text: string;
  try {
    text = Buffer.from(await store.read(path)).toString('utf8');
  } catch (error) {
    if (error instanceof StoreMissing) return null;
    throw error;
  }
  try {
    const owner = JSON.parse(text) as LockOwner;
    return { text, owner: typeof owner.mark?.pid === 'number' ? owner : null };
  } catch {
    return { text, owner: null };
  }
}

async function held(store: TargetStore, path: string): Promise<OperatorError> {
  const owner = (await readLock(store, path))?.owner;
  return new OperatorError(
    {
      code: 'DR-CATALOG-LOCKED',
      what: `Catalog target ${store.name} is in use by another process`,
      where: { object: `${store.address}/${path}` },
      known: owner == null ? [] : [`process ${owner.mark.pid} on ${owner.mark.host}: ${owner.what}`],
      next: 'Wait until that process has ended, then repeat',
    },
    { exitCode: exitCodes.locked },
  );
}
