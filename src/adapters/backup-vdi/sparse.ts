/** Disks as files with holes: zeros are not stored, not compared twice, and not sent. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { backupPieceBytes } from '../../domain/backup-vdi.ts';
import { PortError } from '../../domain/errors.ts';
import type { DiskPiece, Extent } from '../../ports/backup-vdi.ts';

/** What ext calls a block here, and what a host writes at least (xapi.md 3.6). */
export const blockBytes = 4096;
/** Of a file at once: fewer, larger reads, since most of a disk is a hole. */
const windowBytes = 8 * 1024 * 1024;
const digestUnitBytes = 1024 * 1024;
const zeros = Buffer.alloc(windowBytes);

/**
 * What a disk holds, as one SHA-256: over each mebibyte that is not all zeros, with its place. A disk is mostly zeros, which
 * would cost more than all the rest.
 */
export class DiskDigest {
  readonly #hash = createHash('sha256');
  readonly #unit = Buffer.alloc(digestUnitBytes);
  #filled = 0;
  #units = 0;

  update(piece: Uint8Array): void {
    for (let at = 0; at < piece.length; ) {
      const taken = Math.min(digestUnitBytes - this.#filled, piece.length - at);
      const part = piece.subarray(at, at + taken);
      at += taken;
      if (this.#filled === 0 && taken === digestUnitBytes) this.#add(part);
      else {
        this.#unit.set(part, this.#filled);
        this.#filled += taken;
        if (this.#filled === digestUnitBytes) this.#addFilled();
      }
    }
  }

  /** A whole unit of zeros, without having looked at it. */
  skipUnit(): void {
    if (this.#filled > 0) throw new RangeError('a unit is skipped as a whole');
    this.#units += 1;
  }

  digest(): string {
    if (this.#filled > 0) this.#addFilled();
    return this.#hash.digest('hex');
  }

  #addFilled(): void {
    this.#add(this.#unit.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #add(unit: Uint8Array): void {
    if (!isZero(unit)) this.#hash.update(`${this.#units} ${unit.length} `).update(unit);
    this.#units += 1;
  }
}

/** `DiskDigest` of a stream that is kept nowhere. DR-BACKUP-CUT when it is not exactly `bytes` long. */
export async function digestOf(
  content: AsyncIterable<Uint8Array>,
  bytes: number,
  signal?: AbortSignal,
): Promise<string> {
  const digest = new DiskDigest();
  let came = 0;
  for await (const piece of content) {
    signal?.throwIfAborted();
    came += piece.length;
    digest.update(piece);
  }
  if (came !== bytes) throw cut(came, bytes);
  return digest.digest();
}

/** Writes a stream into a new file; returns its `DiskDigest`. DR-BACKUP-CUT when it is not exactly `bytes` long. */
export async function receiveSparse(
  content: AsyncIterable<Uint8Array>,
  bytes: number,
  to: string,
  signal?: AbortSignal,
): Promise<string> {
  const hash = new DiskDigest();
  const file = await open(to, 'wx', 0o600);
  let at = 0;
  try {
    for await (const piece of content) {
      signal?.throwIfAborted();
      if (at + piece.length > bytes) throw cut(at + piece.length, bytes);
      hash.update(piece);
      await writeUnlessZero(file, piece, at);
      at += piece.length;
    }
    if (at !== bytes) throw cut(at, bytes);
    await file.truncate(bytes);
  } finally {
    await file.close();
  }
  return hash.digest();
}

async function writeUnlessZero(file: FileHandle, piece: Uint8Array, at: number): Promise<void> {
  if (isZero(piece)) return;
  for (const { offset, bytes } of runs(piece.length, (from, to) => !isZero(piece.subarray(from, to))))
    await writeWhole(file, piece.subarray(offset, offset + bytes), at + offset);
}

/** A disk that fills up takes a part of what it is given, and says so only when it is given the rest. */
export async function writeWhole(
  file: Pick<FileHandle, 'write'>,
  content: Uint8Array,
  at: number,
): Promise<void> {
  for (let done = 0; done < content.length; ) {
    const { bytesWritten } = await file.write(content, done, content.length - done, at + done);
    done += bytesWritten;
  }
}

function isZero(piece: Uint8Array): boolean {
  for (let at = 0; at < piece.length; at += windowBytes) {
    const part = piece.subarray(at, at + windowBytes);
    if (!zeros.subarray(0, part.length).equals(part)) return false;
  }
  return true;
}

/** Neighbouring blocks of a window that a question says yes to, joined. */
function runs(length: number, asked: (from: number, to: number) => boolean): Extent[] {
  const found: { offset: number; bytes: number }[] = [];
  for (let from = 0; from < length; from += blockBytes) {
    const to = Math.min(from + blockBytes, length);
    if (!asked(from, to)) continue;
    const last = found.at(-1);
    if (last !== undefined && last.offset + last.bytes === from) last.bytes += to - from;
    else found.push({ offset: from, bytes: to - from });
  }
  return found;
}

/** A copy with its holes. Returns the units (`hashOfFile`) that are not all zeros. */
export async function copySparse(
  from: string,
  to: string,
  signal?: AbortSignal,
): Promise<ReadonlySet<number>> {
  const filled = new Set<number>();
  const [source, target] = await both(from, to, 'wx');
  try {
    const { size } = await source.stat();
    const window = Buffer.allocUnsafe(windowBytes);
    for (let at = 0; at < size; at += windowBytes) {
      signal?.throwIfAborted();
      const piece = await readWindow(source, window, at, size);
      await writeUnlessZero(target, piece, at);
      for (let part = 0; part < piece.length; part += digestUnitBytes)
        if (!isZero(piece.subarray(part, part + digestUnitBytes))) filled.add((at + part) / digestUnitBytes);
    }
    await target.truncate(size);
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
  return filled;
}

export interface Compared {
  readonly extents: readonly Extent[];
  /** `DiskDigest` of the second file. */
  readonly sha256: string;
}

/** Where the second file differs from the first, block by block; both are of one size. */
export async function compareFiles(first: string, second: string, signal?: AbortSignal): Promise<Compared> {
  const [before, after] = await both(first, second, 'r');
  const hash = new DiskDigest();
  const extents: Extent[] = [];
  try {
    const { size } = await after.stat();
    const [left, right] = [Buffer.allocUnsafe(windowBytes), Buffer.allocUnsafe(windowBytes)];
    for (let at = 0; at < size; at += windowBytes) {
      signal?.throwIfAborted();
      const [old, now] = await Promise.all([
        readWindow(before, left, at, size),
        readWindow(after, right, at, size),
      ]);
      hash.update(now);
      if (old.equals(now)) continue;
      const differs = runs(now.length, (from, to) => !old.subarray(from, to).equals(now.subarray(from, to)));
      for (const run of differs) join(extents, { offset: at + run.offset, bytes: run.bytes });
    }
  } finally {
    await Promise.all([before.close(), after.close()]);
  }
  return { extents, sha256: hash.digest() };
}

/**
 * `DiskDigest` of a file. Units that are known to be holes are not read: zeros of a hole would fill the memory of this machine
 * as if they were data.
 */
export async function hashOfFile(
  of: string,
  signal?: AbortSignal,
  isHole: (unit: number) => boolean = () => false,
): Promise<string> {
  const digest = new DiskDigest();
  const file = await open(of, 'r');
  try {
    const { size } = await file.stat();
    const window = Buffer.allocUnsafe(digestUnitBytes);
    for (let unit = 0; unit * digestUnitBytes < size; unit += 1) {
      signal?.throwIfAborted();
      const at = unit * digestUnitBytes;
      const piece = window.subarray(0, Math.min(digestUnitBytes, size - at));
      if (isHole(unit)) digest.skipUnit();
      else {
        await fill(file, piece, at);
        digest.update(piece);
      }
    }
  } finally {
    await file.close();
  }
  return digest.digest();
}

/** Units that lie whole within stretches of free blocks, which are given as first and last, ascending. */
export function unitsWithin(free: readonly (readonly [number, number])[]): ReadonlySet<number> {
  const blocksPerUnit = digestUnitBytes / blockBytes;
  return new Set(
    free.flatMap(([first, last]) => {
      const from = Math.ceil(first / blocksPerUnit);
      const to = Math.floor((last + 1) / blocksPerUnit);
      return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
    }),
  );
}

/** Where a file is not all zeros. */
export async function filledExtents(of: string, signal?: AbortSignal): Promise<readonly Extent[]> {
  const file = await open(of, 'r');
  const extents: Extent[] = [];
  try {
    const { size } = await file.stat();
    const window = Buffer.allocUnsafe(windowBytes);
    for (let at = 0; at < size; at += windowBytes) {
      signal?.throwIfAborted();
      const piece = await readWindow(file, window, at, size);
      if (isZero(piece)) continue;
      for (const run of runs(piece.length, (from, to) => !isZero(piece.subarray(from, to))))
        join(extents, { offset: at + run.offset, bytes: run.bytes });
    }
  } finally {
    await file.close();
  }
  return extents;
}

function join(extents: Extent[], next: Extent): void {
  const last = extents.at(-1);
  if (last !== undefined && last.offset + last.bytes === next.offset)
    extents[extents.length - 1] = { offset: last.offset, bytes: last.bytes + next.bytes };
  else extents.push(next);
}

/** Content of some stretches of a file, in pieces of at most 1 MiB. */
export async function* piecesOf(of: string, extents: readonly Extent[]): AsyncGenerator<DiskPiece> {
  const file = await open(of, 'r');
  try {
    for (const { offset, bytes } of extents)
      for (let at = offset; at < offset + bytes; at += backupPieceBytes) {
        const content = Buffer.allocUnsafe(Math.min(backupPieceBytes, offset + bytes - at));
        await fill(file, content, at);
        yield { offset: at, content };
      }
  } finally {
    await file.close();
  }
}

/** Puts pieces into a file, as a host does with a disk. */
export async function patchFile(to: string, pieces: AsyncIterable<DiskPiece>): Promise<void> {
  const file = await open(to, 'r+');
  try {
    for await (const { offset, content } of pieces) await writeWhole(file, content, offset);
  } finally {
    await file.close();
  }
}

async function both(first: string, second: string, mode: 'r' | 'wx'): Promise<[FileHandle, FileHandle]> {
  const one = await open(first, 'r');
  try {
    return [one, await open(second, mode, 0o600)];
  } catch (error) {
    await one.close();
    throw error;
  }
}

async function readWindow(file: FileHandle, window: Buffer, at: number, size: number): Promise<Buffer> {
  const piece = window.subarray(0, Math.min(windowBytes, size - at));
  await fill(file, piece, at);
  return piece;
}

async function fill(file: FileHandle, into: Buffer, at: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file.read(into, done, into.length - done, at + done);
    if (bytesRead === 0) throw cut(at + done, at + into.length);
    done += bytesRead;
  }
}

function cut(came: number, expected: number): PortError {
  return new PortError('protocol', {
    code: 'DR-BACKUP-CUT',
    what: 'The disk of the metadata backup did not arrive as long as it is',
    known: [`${came} bytes so far, ${expected} were expected`],
    next: 'Read it again; look at the log of the host if it is cut again',
  });
}
