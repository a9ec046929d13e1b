/**
 * Packs: files that hold encrypted objects one after the other (docs/catalog-format.md, "Packs"). A pack is named by
 * the SHA-256 of its own bytes, so that damage shows without any key.
 *
 *     "LFBTPCK1"  salt (32 bytes)  record  record  …
 *     record = chunk … last chunk  name of the object (32)  clear bytes (8)
 *     chunk  = length, highest bit set in the last one (4)  ciphertext  tag (16)
 */
import { createCipheriv, createDecipheriv, createHash, type Hash, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { type CatalogKeys, objectName, packKey } from './keys.ts';

export const packMagic = Buffer.from('LFBTPCK1', 'latin1');
export const packHeaderBytes = 40;
export const trailerBytes = 40;
export const chunkBytes = 1024 * 1024;
const lastMark = 0x8000_0000;

/** Where an object lies. */
export interface Location {
  readonly pack: string;
  readonly offset: number;
  readonly length: number;
  readonly bytes: number;
}

export class DamagedPack extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DamagedPack';
  }
}

export const compressionParams = { [constants.ZSTD_c_compressionLevel]: 3 };
const compressLater = promisify(zstdCompress);
const decompressLater = promisify(zstdDecompress);

/** Small objects on the spot; large ones in another thread. */
export function compress(bytes: Uint8Array): Promise<Buffer> | Buffer {
  return bytes.length <= 256 * 1024
    ? zstdCompressSync(bytes, { params: compressionParams })
    : compressLater(bytes, { params: compressionParams });
}

/** Encrypts records for one pack and keeps the hash that becomes its name. It writes nothing itself. */
export class PackEncoder {
  readonly #key: Buffer;
  readonly #hash: Hash = createHash('sha256');
  readonly header: Buffer;
  #offset = packHeaderBytes;
  #recordStart = packHeaderBytes;
  #chunk = 0;

  constructor(keys: CatalogKeys) {
    const salt = randomBytes(32);
    this.#key = packKey(keys, salt);
    this.header = Buffer.concat([packMagic, salt]);
    this.#hash.update(this.header);
  }

  /** Bytes so far, header included. */
  get offset(): number {
    return this.#offset;
  }

  /** A record in one go. */
  record(
    compressed: Uint8Array,
    name: string,
    bytes: number,
  ): { parts: Buffer[]; at: Omit<Location, 'pack'> } {
    const parts: Buffer[] = [];
    let from = 0;
    while (compressed.length - from > chunkBytes) {
      parts.push(...this.chunk(compressed.subarray(from, from + chunkBytes), false));
      from += chunkBytes;
    }
    parts.push(...this.chunk(compressed.subarray(from), true));
    const { trailer, at } = this.end(name, bytes);
    parts.push(trailer);
    return { parts, at };
  }

  /** One chunk of at most 1 MiB of the record under way. */
  chunk(compressed: Uint8Array, last: boolean): Buffer[] {
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonceAt(this.#offset));
    cipher.setAAD(chunkLabel(this.#recordStart, this.#chunk, last));
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE((compressed.length | (last ? lastMark : 0)) >>> 0);
    const parts = [length, cipher.update(compressed), cipher.final(), cipher.getAuthTag()];
    this.#chunk += 1;
    for (const part of parts) this.#account(part);
    return parts;
  }

  end(name: string, bytes: number): { trailer: Buffer; at: Omit<Location, 'pack'> } {
    const trailer = Buffer.alloc(trailerBytes);
    trailer.write(name, 0, 'hex');
    trailer.writeBigUInt64BE(BigInt(bytes), 32);
    this.#account(trailer);
    const at = { offset: this.#recordStart, length: this.#offset - this.#recordStart, bytes };
    this.#recordStart = this.#offset;
    this.#chunk = 0;
    return { trailer, at };
  }

  /** The name of the pack: SHA-256 of all bytes. Call it once, at the end. */
  name(): string {
    return this.#hash.digest('hex');
  }

  #account(part: Buffer): void {
    this.#hash.update(part);
    this.#offset += part.length;
  }
}

export function packSalt(header: Uint8Array): Uint8Array {
  if (header.length < packHeaderBytes || !packMagic.equals(header.subarray(0, packMagic.length)))
    throw new DamagedPack('it does not begin as a pack does');
  return header.subarray(packMagic.length, packHeaderBytes);
}

/** Decrypts a record; `DamagedPack` when it is not exactly what was written at this offset of this pack. */
export async function openRecord(
  keys: CatalogKeys,
  salt: Uint8Array,
  offset: number,
  record: Uint8Array,
  expected: { readonly sha256: string; readonly bytes: number } | null,
): Promise<Buffer> {
  const key = packKey(keys, salt);
  const view = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const compressed: Buffer[] = [];
  let at = 0;
  for (let index = 0, last = false; !last; index += 1) {
    if (view.length - at < 20 + trailerBytes) throw new DamagedPack('a record is cut off');
    const mark = view.readUInt32BE(at);
    last = mark >= lastMark;
    const length = last ? mark - lastMark : mark;
    if (length > chunkBytes || at + 20 + length + trailerBytes > view.length)
      throw new DamagedPack('a chunk is longer than its record');
    const decipher = createDecipheriv('aes-256-gcm', key, nonceAt(offset + at), { authTagLength: 16 });
    decipher.setAAD(chunkLabel(offset, index, last));
    decipher.setAuthTag(view.subarray(at + 4 + length, at + 20 + length));
    try {
      compressed.push(decipher.update(view.subarray(at + 4, at + 4 + length)));
      decipher.final();
    } catch {
      throw new DamagedPack('a chunk fails its authentication');
    }
    at += 20 + length;
  }
  if (view.length - at !== trailerBytes) throw new DamagedPack('a record has bytes beyond its end');
  const name = view.toString('hex', at, at + 32);
  const bytes = Number(view.readBigUInt64BE(at + 32));
  if (expected !== null && bytes !== expected.bytes)
    throw new DamagedPack(`a record holds ${bytes} bytes where ${expected.bytes} are expected`);
  const clear = await decompress(
    compressed.length === 1 ? (compressed[0] ?? Buffer.alloc(0)) : Buffer.concat(compressed),
    bytes,
  );
  const sha256 = createHash('sha256').update(clear).digest('hex');
  if (objectName(keys, sha256) !== name) throw new DamagedPack('a record has the name of another object');
  if (expected !== null && sha256 !== expected.sha256) throw new DamagedPack('a record holds another object');
  return clear;
}

/** The records of a pack, by walking over it; the caller has checked the pack's hash. */
export function* walkRecords(pack: Uint8Array): Generator<{ name: string } & Omit<Location, 'pack'>> {
  packSalt(pack);
  const view = Buffer.from(pack.buffer, pack.byteOffset, pack.byteLength);
  let start = packHeaderBytes;
  let at = start;
  while (at < view.length) {
    if (at + 4 > view.length) throw new DamagedPack('a record is cut off');
    const mark = view.readUInt32BE(at);
    const last = mark >= lastMark;
    at += 20 + (last ? mark - lastMark : mark);
    if (!last) continue;
    if (at + trailerBytes > view.length) throw new DamagedPack('a record is cut off');
    const name = view.toString('hex', at, at + 32);
    const bytes = Number(view.readBigUInt64BE(at + 32));
    at += trailerBytes;
    yield { name, offset: start, length: at - start, bytes };
    start = at;
  }
}

async function decompress(compressed: Buffer, bytes: number): Promise<Buffer> {
  const options = { maxOutputLength: Math.max(1, bytes) };
  try {
    const clear =
      bytes <= 256 * 1024
        ? zstdDecompressSync(compressed, options)
        : await decompressLater(compressed, options);
    if (clear.length !== bytes) throw new DamagedPack('a record unpacks to another number of bytes');
    return clear;
  } catch (error) {
    if (error instanceof DamagedPack) throw error;
    throw new DamagedPack('a record cannot be unpacked');
  }
}

/** A pack has a key of its own, so the place within the pack makes a nonce that never comes twice. */
function nonceAt(offset: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(offset), 4);
  return nonce;
}

function chunkLabel(recordOffset: number, index: number, last: boolean): Buffer {
  const label = Buffer.alloc(13);
  label.writeBigUInt64BE(BigInt(recordOffset), 0);
  label.writeUInt32BE(index, 8);
  label.writeUInt8(last ? 1 : 0, 12);
  return label;
}
