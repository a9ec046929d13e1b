/**
 * Opens the body of `/import_metadata` the way xapi does (xapi.md 3.4): the first 512 bytes decide. A tar header
 * that names `ova.xml` is read as plain tar; anything else goes through zstd or gzip, by the magic number. Whatever
 * is wrong ends as `End_of_file`. Content-Length plays no part while something is missing: the reader waits until
 * the client closes.
 */
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { TarError, unpackOva } from '../../metadata/tar.ts';

const block = 512;
const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** The end of the body came too soon: `INTERNAL_ERROR [End_of_file]`. */
export class EndOfFile extends Error {
  constructor() {
    super('End_of_file');
    this.name = 'EndOfFile';
  }
}

/** Pieces of a body as they come in; `null` when the client has closed its side. */
export interface Pieces {
  next(): Promise<Uint8Array | null>;
}

/** Bytes in the amounts that the reader wants. */
class Reader {
  readonly #pieces: Pieces;
  #buffered: Buffer[] = [];
  #length = 0;
  #taken = 0;
  #ended = false;

  constructor(pieces: Pieces) {
    this.#pieces = pieces;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Up to `bytes`; fewer only at the end. */
  async upTo(bytes: number): Promise<Buffer> {
    while (this.#length < bytes && !this.#ended) {
      const piece = await this.#pieces.next();
      if (piece === null) this.#ended = true;
      else {
        this.#buffered.push(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
        this.#length += piece.byteLength;
      }
    }
    const [first] = this.#buffered;
    const all =
      first !== undefined && this.#buffered.length === 1
        ? first
        : Buffer.concat(this.#buffered, this.#length);
    const part = all.subarray(0, bytes);
    const rest = all.subarray(part.length);
    this.#buffered = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    this.#taken += part.length;
    return part;
  }

  async exactly(bytes: number): Promise<Buffer> {
    const part = await this.upTo(bytes);
    if (part.length < bytes) throw new EndOfFile();
    return part;
  }

  /** What is there, without waiting for more than one piece. */
  async some(limit: number): Promise<Buffer> {
    if (this.#length > 0) return this.upTo(Math.min(limit, this.#length));
    const piece = await this.#pieces.next();
    if (piece === null) {
      this.#ended = true;
      return Buffer.alloc(0);
    }
    this.#buffered.push(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
    this.#length += piece.byteLength;
    return this.upTo(Math.min(limit, this.#length));
  }
}

/**
 * The text of `ova.xml`. `drain` reads what is left of the declared length, as builds since CA-426637 do before
 * they close the connection.
 *
 * @throws EndOfFile
 */
export async function openArchive(
  pieces: Pieces,
  declaredLength: number | null,
): Promise<{ readonly xml: string; readonly drain: () => Promise<void> }> {
  const reader = new Reader(pieces);
  const first = await reader.upTo(block);
  const header = first.length === block ? readHeader(first) : null;
  if (header !== null && header.name === 'ova.xml') {
    const body = await reader.exactly(header.size);
    await reader.exactly(padding(header.size));
    return {
      xml: decode(body),
      drain: async () => {
        const left = (declaredLength ?? reader.taken) - reader.taken;
        if (left > 0) await reader.upTo(left);
      },
    };
  }
  const unpacked = await decompress(first, reader, declaredLength);
  try {
    return { xml: decode(unpackOva(unpacked)), drain: async () => undefined };
  } catch (error) {
    if (error instanceof TarError) throw new EndOfFile();
    throw error;
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder('utf-8').decode(bytes);
}

function padding(size: number): number {
  return (block - (size % block)) % block;
}

function readHeader(bytes: Buffer): { name: string; size: number } | null {
  const field = (from: number, length: number): string => {
    const raw = bytes.subarray(from, from + length).toString('latin1');
    const end = raw.indexOf('\0');
    return end < 0 ? raw : raw.slice(0, end);
  };
  let sum = 0;
  for (const [index, byte] of bytes.entries()) sum += index >= 148 && index < 156 ? 0x20 : byte;
  if (Number.parseInt(field(148, 8).trim(), 8) !== sum) return null;
  const size = Number.parseInt(field(124, 12).trim(), 8);
  return Number.isSafeInteger(size) ? { name: field(0, 100), size } : null;
}

/**
 * Packs the text of `ova.xml` as xapi does: a header of the old kind, the content padded to 512, two zero blocks.
 * Takes pieces, so that the document of a large pool is held only once more.
 */
export function packArchive(pieces: readonly Buffer[], modifiedAt: number): Buffer {
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const archive = Buffer.alloc(block + size + padding(size) + 2 * block);
  const octal = (at: number, digits: number, value: number): void => {
    archive.write(`${Math.floor(value).toString(8).padStart(digits, '0')}\0`, at, 'latin1');
  };
  archive.write('ova.xml', 0, 'latin1');
  octal(100, 7, 0o400);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, size);
  octal(136, 11, modifiedAt / 1000);
  let sum = 8 * 0x20;
  for (const byte of archive.subarray(0, block)) sum += byte;
  octal(148, 7, sum);
  let at = block;
  for (const piece of pieces) at += piece.copy(archive, at);
  return archive;
}

/** Feeds the declared length, or what comes before the client closes, through the decompressor. */
async function decompress(first: Buffer, reader: Reader, declaredLength: number | null): Promise<Buffer> {
  const engine = first.subarray(0, 4).equals(zstdMagic) ? createZstdDecompress() : createGunzip();
  const out: Buffer[] = [];
  let broken = false;
  engine.on('data', (piece: Buffer) => out.push(piece));
  const finished = new Promise<void>((done) => {
    engine.on('end', done);
    engine.on('close', done);
    engine.on('error', () => {
      broken = true;
      done();
    });
  });
  const limit = declaredLength ?? Number.POSITIVE_INFINITY;
  let piece = first;
  while (!broken) {
    if (piece.length > 0 && !engine.write(piece)) {
      await Promise.race([new Promise((go) => engine.once('drain', go)), finished]);
    }
    // A decompressor that has seen rubbish dies at once; give it the chance to say so before waiting for more.
    await new Promise((go) => setImmediate(go));
    if (broken || reader.taken >= limit) break;
    piece = await reader.some(limit - reader.taken);
    if (piece.length === 0) break;
  }
  if (!broken) engine.end();
  await finished;
  return Buffer.concat(out);
}
