/**
 * A place for the files of a catalog: a directory on this machine or on an SFTP server. Paths are relative to the
 * target's root and use `/`. The steps are small on purpose: what must be atomic is composed of them in one place
 * (`writeAtomically`), and a test can stop the program between any two.
 */
import { randomBytes } from 'node:crypto';

export interface StoreEntry {
  readonly name: string;
  readonly kind: 'file' | 'directory' | 'other';
  readonly bytes: number;
  /** By the clock of the machine that holds the file. */
  readonly modifiedAtSeconds: number;
}

export interface StoreFile {
  readonly path: string;
  /** Appends. */
  write(bytes: Uint8Array): Promise<void>;
  /** The bytes are on the disk when it returns. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface TargetStore {
  /** Name of the target in sites.yaml. */
  readonly name: string;
  /** Address for people: a path or `sftp://host/path`. */
  readonly address: string;
  /** Connects, and makes the root directory when `create`. */
  open(options: { readonly create: boolean }): Promise<void>;
  /** Entries in the order of their names; empty when the directory does not exist. */
  list(directory: string): Promise<readonly StoreEntry[]>;
  stat(path: string): Promise<StoreEntry | null>;
  /** A whole file, or a part of it; `StoreMissing` when it is not there, fewer bytes than asked when it ends early. */
  read(path: string, part?: { readonly offset: number; readonly length: number }): Promise<Uint8Array>;
  /** A file in pieces. A piece is valid until the next one is asked for. */
  stream(path: string): AsyncIterable<Uint8Array>;
  /** A new file, mode 0600; `StoreExists` when there is one. */
  create(path: string): Promise<StoreFile>;
  /** Directory with its parents, mode 0700. */
  makeDirectory(path: string): Promise<void>;
  /** Atomic; replaces what was there. */
  rename(from: string, to: string): Promise<void>;
  /** Names in the directory are on the disk when it returns, where the kind of target can promise it. */
  syncDirectory(path: string): Promise<void>;
  /** No error when it is not there. */
  remove(path: string): Promise<void>;
  close(): Promise<void>;
}

export class StoreMissing extends Error {
  constructor(path: string) {
    super(`${path} does not exist`);
    this.name = 'StoreMissing';
  }
}

export class StoreExists extends Error {
  constructor(path: string) {
    super(`${path} exists already`);
    this.name = 'StoreExists';
  }
}

export const temporaryDirectory = 'tmp';

export function temporaryPath(): string {
  return `${temporaryDirectory}/${randomBytes(12).toString('hex')}.tmp`;
}

export function directoryOf(path: string): string {
  const cut = path.lastIndexOf('/');
  return cut < 0 ? '' : path.slice(0, cut);
}

/** Gives a finished temporary file its name: bytes synced first, then the name, then the directory. */
export async function publish(store: TargetStore, file: StoreFile, path: string): Promise<void> {
  await file.sync();
  await file.close();
  await store.rename(file.path, path);
  await store.syncDirectory(directoryOf(path));
}

/** After a crash at any step the old content or the new one is there, never a mixture. */
export async function writeAtomically(store: TargetStore, path: string, bytes: Uint8Array): Promise<void> {
  const file = await store.create(temporaryPath());
  try {
    await file.write(bytes);
    await publish(store, file, path);
  } catch (error) {
    await discard(store, file);
    throw error;
  }
}

/** Takes back a temporary file as far as the target lets us: it is told by `verify` when it stays. */
export async function discard(store: TargetStore, file: StoreFile): Promise<void> {
  await Promise.allSettled([file.close()]);
  await Promise.allSettled([store.remove(file.path)]);
}
