/**
 * The writing half of the port. Everything happens on a private copy; what comes out has been checked by e2fsck and
 * compared, file by file, with what was to be written, before anybody may send it anywhere.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import path from 'node:path';
import { backupFullShare, linkTarget } from '../../domain/backup-vdi.ts';
import { PortError } from '../../domain/errors.ts';
import type {
  BackupImage,
  BackupImageWriter,
  BackupToWrite,
  BackupWritten,
  DiskPiece,
  Extent,
} from '../../ports/backup-vdi.ts';
import { type Appended, appendDate, sha256Of } from './append.ts';
import {
  contentsOf,
  type DirectoryEntry,
  damaged,
  isClean,
  type Looking,
  listDirectories,
  repair,
} from './e2fs.ts';
import { filesOfDate, inodeFacts, takeInventory } from './inventory.ts';
import { type Room, roomOf } from './room.ts';
import type { Scratch } from './scratch.ts';
import {
  blockBytes,
  compareFiles,
  copySparse,
  filledExtents,
  hashOfFile,
  piecesOf,
  unitsWithin,
} from './sparse.ts';
import { runTool, toolFailed } from './tools.ts';

/** What every ext3 since the kernels of old hosts understands; the machine's own defaults are not asked (xapi.md 5.9). */
const features = 'none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file';
const label = 'PoolMetadata';

type Elsewhere = 'digestOf' | 'keepUndo' | 'undone' | 'forgetUndo';

export class BackupWriter implements Omit<BackupImageWriter, Elsewhere> {
  readonly #scratch: Scratch;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  async build(bytes: number, tree: BackupToWrite, signal?: AbortSignal): Promise<BackupWritten> {
    return this.#written(tree, bytes, signal, async (image) => {
      await makeFileSystem(image, bytes, tree.provenance.takenAt, signal);
      return new Set();
    });
  }

  async append(from: BackupImage, tree: BackupToWrite, signal?: AbortSignal): Promise<BackupWritten> {
    return this.#written(tree, from.bytes, signal, async (image) => {
      const filled = await copySparse(from.path, image, signal);
      return (await makeFit(image, signal)) ? null : filled;
    });
  }

  async changes(from: BackupImage, to: BackupImage, signal?: AbortSignal): Promise<readonly Extent[]> {
    const { extents } = await compareFiles(from.path, to.path, signal);
    const room = await roomOf(from.path, signal).catch(() => null);
    return room === null ? extents : freeFirst(extents, room.free);
  }

  async filled(image: BackupImage, signal?: AbortSignal): Promise<readonly Extent[]> {
    return filledExtents(image.path, signal);
  }

  content(image: BackupImage, extents: readonly Extent[]): AsyncIterable<DiskPiece> {
    return piecesOf(image.path, extents);
  }

  async release(image: BackupImage): Promise<void> {
    await this.#scratch.remove(path.dirname(image.path));
  }

  async #written(
    tree: BackupToWrite,
    bytes: number,
    signal: AbortSignal | undefined,
    /** Returns the units that held something before; null when it cannot be known. */
    prepare: (image: string) => Promise<ReadonlySet<number> | null>,
  ): Promise<BackupWritten> {
    const directory = await this.#scratch.directory();
    const image = path.join(directory, 'image');
    try {
      const filled = await prepare(image);
      const looking = { scratch: await subdirectory(directory, 'write'), signal };
      const appended = await withRoom(image, () => appendDate(image, tree, looking), signal);
      await verify(image, tree, appended, { scratch: await subdirectory(directory, 'verify'), signal });
      const room = await roomOf(image, signal);
      if (room.usedShare > backupFullShare) throw full(room, await takeInventory(image, looking), tree);
      await Promise.all(
        ['write', 'verify'].map((name) => rm(path.join(directory, name), { recursive: true, force: true })),
      );
      const { files: _files, linkedDocuments: _linked, ...figures } = appended;
      const free = unitsWithin(room.free);
      const sha256 = await hashOfFile(image, signal, (unit) => free.has(unit) && filled?.has(unit) === false);
      return { image: { path: image, bytes, sha256 }, ...figures, usedShare: room.usedShare };
    } catch (error) {
      await this.#scratch.remove(directory);
      throw error;
    }
  }
}

async function subdirectory(of: string, name: string): Promise<string> {
  const made = path.join(of, name);
  await mkdir(made, { mode: 0o700 });
  return made;
}

async function makeFileSystem(image: string, bytes: number, at: string, signal?: AbortSignal): Promise<void> {
  const file = await open(image, 'wx', 0o600);
  try {
    await file.truncate(bytes);
  } finally {
    await file.close();
  }
  const end = await runTool(
    'mke2fs',
    [
      ...['-q', '-F', '-t', 'ext3', '-O', features, '-b', String(blockBytes), '-I', '256'],
      ...['-i', '16384', '-m', '0', '-L', label, '-E', 'lazy_itable_init=0,nodiscard', image],
    ],
    { at, signal },
  );
  if (end.code !== 0) throw toolFailed('mke2fs', 'No file system could be made for the metadata backup', end);
}

/** What a host left unclean is mended as its mount would; what is broken beyond that is left to a person. True when it was. */
async function makeFit(image: string, signal?: AbortSignal): Promise<boolean> {
  if (await isClean(image, signal)) return false;
  if ((await repair(image, signal)) && (await isClean(image, signal))) return true;
  throw damaged('The file system of the metadata backup is damaged', [
    'e2fsck cannot repair it without asking, and its older dates shall not be lost by a guess',
  ]);
}

/** debugfs has only words for a full disk. */
async function withRoom<T>(image: string, act: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const isFull =
      error instanceof PortError &&
      error.problem.code === 'DR-BACKUP-TOOL' &&
      (error.problem.known ?? []).some((word) => /allocate block|no free|allocate inode/i.test(word));
    if (!isFull) throw error;
    const room = await roomOf(image, signal).catch(() => null);
    throw fullWith(['the new date does not fit on it', ...(room === null ? [] : [left(room)])]);
  }
}

const left = (room: Room): string =>
  `${Math.floor((room.freeBlocks * blockBytes) / 1024 ** 2)} MiB and ${room.freeInodes} names were free then`;

function full(
  room: Room,
  { dates, provenances }: Awaited<ReturnType<typeof takeInventory>>,
  tree: BackupToWrite,
): PortError {
  const own = [...provenances.values()].filter(({ pool }) => pool.uuid === tree.pool).length;
  return fullWith([
    `it would be ${Math.ceil(room.usedShare * 100)} % full, and hosts stop at ${backupFullShare * 100} %`,
    `${own} dates of this pool by Lifeboat, ${dates.length - own} by others`,
  ]);
}

function fullWith(known: readonly string[]): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-FULL',
    what: 'There is no room for another date on the disk of the metadata backup',
    known: [...known, 'nothing was sent to the disk'],
    next: 'Lower history or dumps of metadata_backup, let a host prune its own dates, or give the SR a larger disk (runbook of this code)',
  });
}

/** e2fsck first, then every path of the date, then the bytes that were written (invariant 7). */
async function verify(
  image: string,
  tree: BackupToWrite,
  appended: Appended,
  looking: Looking,
): Promise<void> {
  if (!(await isClean(image, looking.signal)))
    throw mismatch(['e2fsck finds errors in what was put together']);
  const { documents, links } = await filesOfDate(image, tree.date, looking);
  const wrong: string[] = [];
  for (const { vm } of tree.documents) {
    const linked = appended.linkedDocuments.get(vm);
    const there = documents.get(vm);
    if (there === undefined || (linked !== undefined && linked !== there.inode))
      wrong.push(`document of VM ${vm}`);
  }
  if (documents.size !== tree.documents.length) wrong.push(`${documents.size} documents`);
  const inodes = [...links.values()].flatMap((vms) => [...vms.values()].map(({ inode }) => inode));
  const facts = await inodeFacts(image, inodes, looking);
  for (const { sr, vm } of tree.links) {
    const inode = links.get(sr)?.get(vm)?.inode ?? 0;
    if (facts.get(inode)?.target !== linkTarget(vm)) wrong.push(`link of VM ${vm} on SR ${sr}`);
  }
  wrong.push(...(await wrongFiles(image, appended, looking)));
  if (wrong.length > 0) throw mismatch(wrong);
}

async function wrongFiles(image: string, { files }: Appended, looking: Looking): Promise<string[]> {
  const entries = await entriesOf(image, [...files.keys()], looking);
  const missing = [...files.keys()].filter((where) => !entries.has(where));
  const paths = new Map([...entries].map(([where, { inode }]) => [inode, where]));
  const wrong: string[] = [];
  for await (const { inode, content } of contentsOf(image, [...entries.values()], looking)) {
    const where = paths.get(inode) ?? '';
    if (sha256Of(content) !== files.get(where)?.sha256) wrong.push(where);
  }
  return [...missing, ...wrong];
}

async function entriesOf(
  image: string,
  paths: readonly string[],
  looking: Looking,
): Promise<ReadonlyMap<string, DirectoryEntry>> {
  const byDirectory = Map.groupBy(paths, (where) => path.posix.dirname(where));
  const directories = [...byDirectory.keys()];
  const listed = await listDirectories(
    image,
    directories.map((directory) => (directory === '.' ? '/' : directory)),
    looking,
  );
  return new Map(
    directories.flatMap((directory) => {
      const entries = new Map(
        (listed.get(directory === '.' ? '/' : directory) ?? []).map((entry) => [entry.name, entry]),
      );
      return (byDirectory.get(directory) ?? []).flatMap((where) => {
        const entry = entries.get(path.posix.basename(where));
        return entry === undefined ? [] : [[where, entry] as const];
      });
    }),
  );
}

function mismatch(wrong: readonly string[]): PortError {
  return new PortError('protocol', {
    code: 'DR-BACKUP-MISMATCH',
    what: 'The metadata backup that was put together is not what was to be written',
    known: [...wrong.slice(0, 5), 'nothing was sent to the disk'],
    next: 'Run the export again; if it stays so, keep the image and report it: it is a defect of the program or of e2fsprogs',
  });
}

/**
 * Blocks that were free come first: a write that breaks off among them has not touched what the older dates need. An
 * extent that is partly free is cut in two.
 */
export function freeFirst(
  extents: readonly Extent[],
  free: readonly (readonly [number, number])[],
): readonly Extent[] {
  const early: Extent[] = [];
  const late: Extent[] = [];
  let next = 0;
  for (const { offset, bytes } of extents) {
    let block = offset / blockBytes;
    const end = (offset + bytes) / blockBytes;
    while (block < end) {
      while (next < free.length && (free[next]?.[1] ?? 0) < block) next += 1;
      const [first, last] = free[next] ?? [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
      const isFree = block >= first;
      const until = Math.min(end, isFree ? last + 1 : first);
      (isFree ? early : late).push({ offset: block * blockBytes, bytes: (until - block) * blockBytes });
      block = until;
    }
  }
  return [...early, ...late];
}
