/** Directories as the content of volumes and points: whole copies, and what differs between two of them. */
import { execFile, execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  type Stats,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const copyOptions = ['-a', '--sparse=always', '--reflink=auto', '-T'];

/** A copy of one moment: nothing else of the lab runs while it is made. */
export function copyNow(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  execFileSync('cp', [...copyOptions, from, to], { stdio: ['ignore', 'ignore', 'pipe'] });
}

export async function copy(from: string, to: string, signal?: AbortSignal): Promise<void> {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  await run('cp', [...copyOptions, from, to], signal === undefined ? {} : { signal });
}

const chunkBytes = 64 * 1024;

interface Chunk {
  readonly offset: number;
  readonly bytes: Buffer;
}

export type Change =
  | { readonly kind: 'removed'; readonly path: string }
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'file'; readonly path: string; readonly stat: Stats; readonly chunks: readonly Chunk[] };

/** What turns a copy of `base` into a copy of `tree`, in an order in which it can be applied. */
export function differences(base: string, tree: string): Change[] {
  const [before, after] = [entries(base), entries(tree)];
  const changes: Change[] = [];
  for (const path of [...before.keys()].toReversed()) {
    const now = after.get(path);
    if (now === undefined || now.isDirectory() !== before.get(path)?.isDirectory())
      changes.push({ kind: 'removed', path });
  }
  for (const [path, stat] of after) {
    const old = before.get(path);
    if (stat.isDirectory()) {
      if (old?.isDirectory() !== true) changes.push({ kind: 'directory', path, mode: stat.mode });
      continue;
    }
    const known = old?.isFile() === true ? old : null;
    if (known !== null && surelySame(known, stat)) continue;
    const chunks = changedChunks(known === null ? null : join(base, path), join(tree, path));
    if (known === null || known.size !== stat.size || chunks.length > 0)
      changes.push({ kind: 'file', path, stat, chunks });
  }
  return changes;
}

/** Bytes that carry the changes: content alone. */
export function bytesOf(changes: readonly Change[]): number {
  let bytes = 0;
  for (const change of changes)
    if (change.kind === 'file') for (const chunk of change.chunks) bytes += chunk.bytes.length;
  return bytes;
}

/** Files, as `differences` would count them beside an empty tree, without reading them. */
export function bytesIn(tree: string): number {
  let bytes = 0;
  for (const stat of entries(tree).values())
    if (stat.isFile()) bytes += stat.blocks === 0 ? stat.size : Math.min(stat.size, stat.blocks * 512);
  return bytes;
}

export function apply(changes: readonly Change[], tree: string): void {
  for (const change of changes) {
    const path = join(tree, change.path);
    if (change.kind === 'removed') rmSync(path, { recursive: true, force: true });
    else if (change.kind === 'directory') mkdirSync(path, { recursive: true, mode: change.mode });
    else writeFile(path, change.stat, change.chunks);
  }
}

function writeFile(path: string, stat: Stats, chunks: readonly Chunk[]): void {
  const file = openSync(path, existsSync(path) ? 'r+' : 'w+', stat.mode);
  try {
    for (const { offset, bytes } of chunks) writeSync(file, bytes, 0, bytes.length, offset);
    ftruncateSync(file, stat.size);
    futimesSync(file, stat.atimeMs / 1000, stat.mtimeMs / 1000);
  } finally {
    closeSync(file);
  }
  chmodSync(path, stat.mode);
}

/** Everything below a directory by its path in there, parents first. */
function entries(root: string): Map<string, Stats> {
  const found = new Map<string, Stats>();
  if (!existsSync(root)) return found;
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort())
    found.set(name, lstatSync(join(root, name)));
  return found;
}

/**
 * A file whose size and time of change are those of its copy. A change within the same tick of the file system's clock
 * as the copying would not show, so a file that was young when it was copied is compared.
 */
function surelySame(copied: Stats, now: Stats): boolean {
  const youngMilliseconds = 2000;
  return (
    copied.size === now.size &&
    copied.mtimeMs === now.mtimeMs &&
    copied.ctimeMs - copied.mtimeMs > youngMilliseconds
  );
}

const zeros = Buffer.alloc(chunkBytes);

function changedChunks(base: string | null, path: string): Chunk[] {
  const file = openSync(path, 'r');
  const other = base === null ? null : openSync(base, 'r');
  const chunks: Chunk[] = [];
  try {
    const [now, before] = [Buffer.alloc(chunkBytes), Buffer.alloc(chunkBytes)];
    for (let offset = 0; ; offset += chunkBytes) {
      const length = readSync(file, now, 0, chunkBytes, offset);
      if (length === 0) return chunks;
      const known = other === null ? 0 : readSync(other, before, 0, chunkBytes, offset);
      // Where the base ends, its continuation counts as zeros: that is how a longer file begins.
      if (known < length) zeros.copy(before, known, 0, length - known);
      const piece = now.subarray(0, length);
      if (!piece.equals(before.subarray(0, length))) chunks.push({ offset, bytes: Buffer.from(piece) });
    }
  } finally {
    closeSync(file);
    if (other !== null) closeSync(other);
  }
}
