/**
 * A store that counts the steps which change something and lets a test do what it likes at any of them. After a crash
 * nothing works any more, and what was not synced by then is gone, as on a machine that lost its power.
 */
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { StoreFile, TargetStore } from '../../src/adapters/catalog/target-store.ts';

export class Crash extends Error {
  constructor() {
    super('the machine has lost its power');
    this.name = 'Crash';
  }
}

export interface Faults {
  /** Called before each changing step with its number, from 1; throws what shall go wrong. */
  before(step: number, what: string): void;
}

export class FaultyStore {
  steps = 0;
  crashed = false;
  readonly #unsynced = new Map<string, number>();
  readonly #store: TargetStore;
  readonly #faults: Faults;

  constructor(store: TargetStore, faults: Faults) {
    this.#store = store;
    this.#faults = faults;
  }

  get store(): TargetStore {
    const inner = this.#store;
    const read = <A extends unknown[], R>(action: (...args: A) => R): ((...args: A) => R) => {
      return (...args) => {
        if (this.crashed) throw new Crash();
        return action(...args);
      };
    };
    const change = <A extends unknown[], R>(what: string, action: (...args: A) => Promise<R>) => {
      return async (...args: A): Promise<R> => {
        this.#step(`${what} ${String(args[0] ?? '')}`);
        return action(...args);
      };
    };
    return {
      name: inner.name,
      address: inner.address,
      open: (options) => inner.open(options),
      list: read((path) => inner.list(path)),
      stat: read((path) => inner.stat(path)),
      read: read((path, part) => inner.read(path, part)),
      stream: read((path) => inner.stream(path)),
      create: change('create', async (path: string) => this.#file(await inner.create(path))),
      makeDirectory: change('makeDirectory', (path: string) => inner.makeDirectory(path)),
      rename: change('rename', async (from: string, to: string) => {
        await inner.rename(from, to);
        const lost = this.#unsynced.get(from);
        this.#unsynced.delete(from);
        this.#unsynced.delete(to);
        if (lost !== undefined) this.#unsynced.set(to, lost);
      }),
      syncDirectory: change('syncDirectory', (path: string) => inner.syncDirectory(path)),
      remove: change('remove', async (path: string) => {
        await inner.remove(path);
        this.#unsynced.delete(path);
      }),
      close: () => inner.close(),
    };
  }

  #file(file: StoreFile): StoreFile {
    let synced = 0;
    let written = 0;
    // Locks and marks of writers speak of processes; after a power failure there are none.
    const counts = !/^(locks|writers)\//.test(file.path);
    if (counts) this.#unsynced.set(file.path, 0);
    return {
      path: file.path,
      write: async (bytes) => {
        this.#step(`write ${file.path}`);
        await file.write(bytes);
        written += bytes.length;
        if (counts) this.#unsynced.set(file.path, synced);
      },
      sync: async () => {
        this.#step(`sync ${file.path}`);
        await file.sync();
        synced = written;
        this.#unsynced.delete(file.path);
      },
      close: () => file.close(),
    };
  }

  #step(what: string): void {
    if (this.crashed) throw new Crash();
    this.steps += 1;
    try {
      this.#faults.before(this.steps, what);
    } catch (error) {
      if (error instanceof Crash) {
        this.crashed = true;
        for (const [path, bytes] of this.#unsynced) truncateSync(join(this.#store.address, path), bytes);
      }
      throw error;
    }
  }
}
