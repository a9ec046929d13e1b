/** Writing packs into one target: objects are appended to temporary files, which get their names when they are whole. */
import type { CatalogKeys } from './keys.ts';
import { type Location, PackEncoder } from './pack.ts';
import { discard, publish, type StoreFile, type TargetStore, temporaryPath } from './target-store.ts';

const flushBytes = 1024 * 1024;
/** A pack is closed beyond this size, so that damage and clean-up stay small. */
const packLimitBytes = 32 * 1024 * 1024;

interface OpenPack {
  readonly encoder: PackEncoder;
  readonly file: StoreFile;
  readonly records: { readonly name: string; readonly at: Omit<Location, 'pack'> }[];
  /** One buffer for the life of the pack: many small ones would wait for the garbage collector outside of its heap. */
  readonly buffer: Buffer;
  filled: number;
}

export class PackSession {
  readonly #store: TargetStore;
  readonly #keys: CatalogKeys;
  readonly #published: (name: string, location: Location) => void;
  readonly #pending = new Set<string>();
  #pack: OpenPack | null = null;

  constructor(store: TargetStore, keys: CatalogKeys, published: (name: string, location: Location) => void) {
    this.#store = store;
    this.#keys = keys;
    this.#published = published;
  }

  has(name: string): boolean {
    return this.#pending.has(name);
  }

  async add(name: string, compressed: Uint8Array, bytes: number): Promise<void> {
    const pack = await this.#open();
    const { parts, at } = pack.encoder.record(compressed, name, bytes);
    pack.records.push({ name, at });
    this.#pending.add(name);
    await this.#write(pack, parts);
    if (pack.encoder.offset > packLimitBytes) await this.commit();
  }

  /** For objects that come as a stream: chunks of at most 1 MiB, then `end` or `abort`. */
  async chunk(compressed: Uint8Array, last: boolean): Promise<void> {
    const pack = await this.#open();
    await this.#write(pack, pack.encoder.chunk(compressed, last));
  }

  async end(name: string, bytes: number): Promise<void> {
    const pack = await this.#open();
    const { trailer, at } = pack.encoder.end(name, bytes);
    pack.records.push({ name, at });
    this.#pending.add(name);
    await this.#write(pack, [trailer]);
  }

  /** Everything added so far is on the disk and can be found when it returns. */
  async commit(): Promise<void> {
    const pack = this.#pack;
    if (pack === null) return;
    this.#pack = null;
    try {
      await this.#flush(pack);
      const name = pack.encoder.name();
      await publish(this.#store, pack.file, `packs/${name}.pack`);
      for (const record of pack.records) {
        this.#published(record.name, { pack: name, ...record.at });
        this.#pending.delete(record.name);
      }
    } catch (error) {
      await discard(this.#store, pack.file);
      throw error;
    }
  }

  async abort(): Promise<void> {
    const pack = this.#pack;
    this.#pack = null;
    this.#pending.clear();
    if (pack !== null) await discard(this.#store, pack.file);
  }

  async #open(): Promise<OpenPack> {
    if (this.#pack !== null) return this.#pack;
    const encoder = new PackEncoder(this.#keys);
    const file = await this.#store.create(temporaryPath());
    this.#pack = { encoder, file, records: [], buffer: Buffer.allocUnsafe(flushBytes), filled: 0 };
    await this.#write(this.#pack, [encoder.header]);
    return this.#pack;
  }

  async #write(pack: OpenPack, parts: readonly Uint8Array[]): Promise<void> {
    for (const part of parts) {
      if (part.length > flushBytes - pack.filled) await this.#flush(pack);
      if (part.length > flushBytes) await pack.file.write(part);
      else {
        pack.buffer.set(part, pack.filled);
        pack.filled += part.length;
      }
    }
  }

  async #flush(pack: OpenPack): Promise<void> {
    if (pack.filled > 0) await pack.file.write(pack.buffer.subarray(0, pack.filled));
    pack.filled = 0;
  }
}
