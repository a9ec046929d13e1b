/** A catalog target in a directory of this machine, or of a file system that is mounted here. */
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type StoreEntry,
  StoreExists,
  type StoreFile,
  StoreMissing,
  type TargetStore,
} from './target-store.ts';

const pieceBytes = 1024 * 1024;

export class LocalStore implements TargetStore {
  readonly name: string;
  readonly address: string;

  constructor(name: string, path: string) {
    this.name = name;
    this.address = path;
  }

  async open(options: { readonly create: boolean }): Promise<void> {
    if (options.create) await mkdir(this.address, { recursive: true, mode: 0o700 });
    const entries = await stat(this.address);
    if (!entries.isDirectory()) throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR' });
  }

  async list(directory: string): Promise<readonly StoreEntry[]> {
    let names: string[];
    try {
      names = await readdir(this.#path(directory));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
    const entries = await Promise.all(
      names.sort().map((name) => this.stat(directory === '' ? name : `${directory}/${name}`)),
    );
    return entries.filter((entry) => entry !== null);
  }

  async stat(path: string): Promise<StoreEntry | null> {
    try {
      const found = await stat(this.#path(path));
      return {
        name: path.slice(path.lastIndexOf('/') + 1),
        kind: found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other',
        bytes: found.size,
        modifiedAtSeconds: found.mtimeMs / 1000,
      };
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    }
  }

  async read(path: string, part?: { readonly offset: number; readonly length: number }): Promise<Uint8Array> {
    try {
      if (part === undefined) return await readFile(this.#path(path));
      const file = await open(this.#path(path), 'r');
      try {
        const bytes = Buffer.allocUnsafe(part.length);
        let filled = 0;
        while (filled < part.length) {
          const { bytesRead } = await file.read(bytes, filled, part.length - filled, part.offset + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        return bytes.subarray(0, filled);
      } finally {
        await file.close();
      }
    } catch (error) {
      throw translated(error, path);
    }
  }

  /** Two buffers take turns: while one is hashed by the caller, the other is being filled. */
  async *stream(path: string): AsyncIterable<Uint8Array> {
    let file: FileHandle;
    try {
      file = await open(this.#path(path), 'r');
    } catch (error) {
      throw translated(error, path);
    }
    let pending: Promise<{ bytesRead: number; buffer: Buffer }> | null = null;
    try {
      const { size } = await file.stat();
      const length = Math.max(1, Math.min(pieceBytes, size));
      const buffers = [Buffer.allocUnsafe(length), Buffer.allocUnsafe(size > length ? length : 0)];
      let position = 0;
      pending = file.read(buffers[0] ?? Buffer.alloc(0), 0, length, 0);
      for (let turn = 1; ; turn += 1) {
        const { bytesRead, buffer } = await pending;
        pending = null;
        if (bytesRead === 0) return;
        position += bytesRead;
        // Small files need no second look at their end: the caller compares the number of bytes.
        const next = buffers[turn % 2] ?? Buffer.alloc(0);
        if (position < size) pending = file.read(next, 0, length, position);
        yield buffer.subarray(0, bytesRead);
        if (pending === null) return;
      }
    } finally {
      if (pending !== null) await Promise.allSettled([pending]);
      await file.close();
    }
  }

  async create(path: string): Promise<StoreFile> {
    try {
      return new LocalFile(path, await open(this.#path(path), 'wx', 0o600));
    } catch (error) {
      throw translated(error, path);
    }
  }

  async makeDirectory(path: string): Promise<void> {
    await mkdir(this.#path(path), { recursive: true, mode: 0o700 });
  }

  async rename(from: string, to: string): Promise<void> {
    await rename(this.#path(from), this.#path(to));
  }

  async syncDirectory(path: string): Promise<void> {
    const directory = await open(this.#path(path), 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async remove(path: string): Promise<void> {
    await rm(this.#path(path), { force: true });
  }

  async close(): Promise<void> {
    return;
  }

  #path(path: string): string {
    return join(this.address, path);
  }
}

class LocalFile implements StoreFile {
  readonly path: string;
  readonly #file: FileHandle;
  #open = true;

  constructor(path: string, file: FileHandle) {
    this.path = path;
    this.#file = file;
  }

  async write(bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      written += (await this.#file.write(bytes, written, bytes.length - written)).bytesWritten;
    }
  }

  async sync(): Promise<void> {
    await this.#file.sync();
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#file.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function translated(error: unknown, path: string): unknown {
  if (codeOf(error) === 'ENOENT') return new StoreMissing(path);
  return codeOf(error) === 'EEXIST' ? new StoreExists(path) : error;
}
