/**
 * The reading half of the port: a private copy of the disk, looked into with debugfs. Nothing is mounted, no link is
 * followed, files are taken out by inode under names of ours, and everything that a disk could make large is bounded.
 */
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { backupLayout, isBackupDate } from '../../domain/backup-vdi.ts';
import { PortError } from '../../domain/errors.ts';
import type { Uuid } from '../../domain/pool.ts';
import type {
  BackupContents,
  BackupDateEntry,
  BackupImage,
  BackupImageReader,
  BackupTree,
} from '../../ports/backup-vdi.ts';
import {
  type DirectoryEntry,
  damaged,
  isClean,
  type Looking,
  listDirectories,
  repair,
  takeOut,
} from './e2fs.ts';
import { dumpOf, isUuid, vmOf } from './names.ts';
import { provenanceOf } from './read-provenance.ts';
import { timesOf } from './read-times.ts';
import { roomOf } from './room.ts';
import type { Scratch } from './scratch.ts';
import { copySparse, receiveSparse } from './sparse.ts';

const markerBytes = 64;
const mebibyte = 1024 * 1024;
/** Of one file, and of all that one look takes out. A document has some 60 kB, SRMETA.xml 200 bytes per disk. */
const largest = {
  image: 16 * 1024 * mebibyte,
  document: 64 * mebibyte,
  names: 256 * mebibyte,
  provenance: 64 * mebibyte,
  database: 2048 * mebibyte,
  together: 4096 * mebibyte,
} as const;
const most = { dates: 2000, srs: 1000, documents: 20_000 } as const;

interface Opened {
  /** Clean: the image itself, or a copy of it whose journal was replayed. */
  readonly file: string;
  readonly scratch: string;
}

export class BackupReader implements BackupImageReader {
  readonly #scratch: Scratch;
  readonly #opened = new WeakMap<BackupImage, Promise<Opened>>();
  #outs = 0;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  async receive(
    content: AsyncIterable<Uint8Array>,
    bytes: number,
    signal?: AbortSignal,
  ): Promise<BackupImage> {
    if (bytes > largest.image) throw tooLarge(bytes);
    const directory = await this.#scratch.directory();
    const file = path.join(directory, 'image');
    try {
      return { path: file, bytes, sha256: await receiveSparse(content, bytes, file, signal) };
    } catch (error) {
      await this.#scratch.remove(directory);
      throw error;
    }
  }

  async contents(image: BackupImage, signal?: AbortSignal): Promise<BackupContents> {
    const { file, scratch } = await this.#open(image, signal);
    const looking = { scratch, signal };
    const listed = await listDirectories(file, ['/', `/${backupLayout.dates}`], looking);
    const root = listed.get('/') ?? [];
    const format = await this.#marker(file, root, looking);
    const dates = (listed.get(`/${backupLayout.dates}`) ?? []).filter(
      ({ kind, name }) => kind === 'directory' && isBackupDate(name),
    );
    bounded('dates', dates.length, most.dates);
    return {
      format,
      dates: await this.#dates(file, dates.map(({ name }) => name).sort(), looking),
      databases: databasesIn(root),
      usedShare: (await roomOf(file, signal)).usedShare,
    };
  }

  async read(image: BackupImage, date: string, signal?: AbortSignal): Promise<BackupTree> {
    const { file, scratch } = await this.#open(image, signal);
    const looking = { scratch, signal };
    const folder = `/${backupLayout.dates}/${date}`;
    const [all, bySr] = [`${folder}/${backupLayout.all}`, `${folder}/${backupLayout.bySr}`];
    const listed = isBackupDate(date)
      ? await listDirectories(file, [folder, all, bySr], looking)
      : new Map<string, null>();
    const entries = listed.get(folder) ?? null;
    if (entries === null) throw noDate(date);
    const documents = documentsIn(listed.get(all) ?? []);
    bounded('documents', documents.length, most.documents);
    const names = fileNamed(entries, backupLayout.srMeta, largest.names);
    const provenance = fileNamed(entries, backupLayout.provenance, largest.provenance);
    const taken = await this.#take(
      file,
      [...documents, ...[names, provenance].flatMap((entry) => entry ?? [])],
      looking,
    );
    const contentOf = (entry: DirectoryEntry | null): Uint8Array | null =>
      entry === null ? null : (taken.get(entry.inode) ?? null);
    return {
      date,
      srMeta: contentOf(names),
      documents: documents.flatMap((entry) => {
        const archive = contentOf(entry);
        const vm = vmOf(entry.name);
        return archive === null || vm === null ? [] : [{ vm, archive }];
      }),
      links: await this.#links(file, bySr, listed.get(bySr) ?? [], looking),
      provenance: provenanceOf(contentOf(provenance)),
    };
  }

  async readDatabase(
    image: BackupImage,
    pool: Uuid,
    options: { readonly generation?: number; readonly signal?: AbortSignal } = {},
  ): Promise<AsyncIterable<Uint8Array> | null> {
    const { generation = 0, signal } = options;
    const { file, scratch } = await this.#open(image, signal);
    const root = (await listDirectories(file, ['/'], { scratch, signal })).get('/') ?? [];
    const entry = root.find(({ kind, name }) => {
      const found = kind === 'file' ? dumpOf(name) : null;
      return found?.pool === pool && found.generation === generation;
    });
    if (entry === undefined) return null;
    bounded(`bytes of ${entry.name}`, entry.bytes, largest.database);
    const to = await this.#outDirectory(scratch);
    await takeOut(file, [{ inode: entry.inode, to: path.join(to, 'database') }], { scratch, signal });
    return thenRemoved(path.join(to, 'database'), to);
  }

  async release(image: BackupImage): Promise<void> {
    await this.#scratch.remove(path.dirname(image.path));
  }

  #open(image: BackupImage, signal: AbortSignal | undefined): Promise<Opened> {
    const known = this.#opened.get(image);
    if (known !== undefined) return known;
    const opening = open(image, signal);
    this.#opened.set(image, opening);
    // What was stopped or failed for want of a tool may be tried again.
    opening.catch(() => this.#opened.delete(image));
    return opening;
  }

  async #marker(file: string, root: readonly DirectoryEntry[], looking: Looking): Promise<string> {
    const entry = fileNamed(root, backupLayout.marker, markerBytes);
    const content = entry === null ? undefined : (await this.#take(file, [entry], looking)).get(entry.inode);
    if (content !== undefined) return textOf(content).trim();
    throw new PortError('refused', {
      code: 'DR-BACKUP-NOT-A-BACKUP',
      what: 'The disk has a file system, and it is no metadata backup',
      known: [`there is no file ${backupLayout.marker} on it`],
      next: 'Name the right disk; see in the runbook of this code how to find it',
    });
  }

  async #dates(file: string, names: readonly string[], looking: Looking): Promise<BackupDateEntry[]> {
    const folders = names.map((name) => `/${backupLayout.dates}/${name}`);
    const listed = await listDirectories(
      file,
      folders.flatMap((folder) => [folder, `${folder}/${backupLayout.all}`]),
      looking,
    );
    const seen = folders.map((folder, index) => {
      const entries = listed.get(folder) ?? [];
      return {
        name: names[index] ?? '',
        documents: documentsIn(listed.get(`${folder}/${backupLayout.all}`) ?? []).length,
        names: entries.find(({ kind, name }) => kind === 'file' && name === backupLayout.srMeta) ?? null,
        provenance: fileNamed(entries, backupLayout.provenance, largest.provenance),
      };
    });
    const provenances = await this.#take(
      file,
      seen.flatMap(({ provenance }) => provenance ?? []),
      looking,
    );
    const times = await timesOf(
      file,
      seen.flatMap(({ names: entry }) => (entry === null ? [] : [entry.inode])),
      looking,
    );
    return seen.map(({ name, documents, names: entry, provenance }) => ({
      name,
      writtenAt: entry === null ? null : (times.get(entry.inode) ?? null),
      documents,
      provenance: provenance === null ? null : provenanceOf(provenances.get(provenance.inode) ?? null),
    }));
  }

  async #links(
    file: string,
    bySr: string,
    entries: readonly DirectoryEntry[],
    looking: Looking,
  ): Promise<BackupTree['links']> {
    const srs = entries
      .filter(({ kind, name }) => kind === 'directory' && isUuid(name))
      .map(({ name }) => name);
    bounded('SRs', srs.length, most.srs);
    const folders = srs.map((sr) => `${bySr}/${sr}`);
    const listed = await listDirectories(file, folders, looking);
    return srs.flatMap((sr, index) =>
      (listed.get(folders[index] ?? '') ?? []).flatMap(({ kind, name }) => {
        const vm = kind === 'link' || kind === 'file' ? vmOf(name) : null;
        return vm === null ? [] : [{ sr, vm }];
      }),
    );
  }

  /** Content of files by inode. */
  async #take(
    file: string,
    entries: readonly DirectoryEntry[],
    looking: Looking,
  ): Promise<ReadonlyMap<number, Uint8Array>> {
    const taken = new Map<number, Uint8Array>();
    const unique = new Map(entries.map((entry) => [entry.inode, entry]));
    bounded('bytes', sum([...unique.values()].map(({ bytes }) => bytes)), largest.together);
    if (unique.size === 0) return taken;
    const to = await this.#outDirectory(looking.scratch);
    try {
      await takeOut(
        file,
        [...unique.keys()].map((inode) => ({ inode, to: path.join(to, String(inode)) })),
        looking,
      );
      for (const inode of unique.keys()) taken.set(inode, await readFile(path.join(to, String(inode))));
      return taken;
    } finally {
      await rm(to, { recursive: true, force: true });
    }
  }

  async #outDirectory(scratch: string): Promise<string> {
    this.#outs += 1;
    const to = path.join(scratch, `out-${this.#outs}`);
    await mkdir(to, { mode: 0o700 });
    return to;
  }
}

/** A replica is cut in the middle of whatever was going on: its journal is replayed on a copy, as a mount would. */
async function open(image: BackupImage, signal: AbortSignal | undefined): Promise<Opened> {
  const directory = path.dirname(image.path);
  const scratch = path.join(directory, 'read');
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { mode: 0o700 });
  if (await isClean(image.path, signal)) return { file: image.path, scratch };
  const copy = path.join(scratch, 'image');
  await copySparse(image.path, copy, signal);
  if (await repair(copy, signal)) return { file: copy, scratch };
  throw damaged('The file system of the metadata backup is damaged', [
    'e2fsck cannot repair it without asking',
  ]);
}

/** A regular file of that name and not too large; null otherwise. A link is no file, wherever it leads. */
function fileNamed(
  entries: readonly DirectoryEntry[],
  name: string,
  mostBytes: number,
): DirectoryEntry | null {
  return (
    entries.find((entry) => entry.kind === 'file' && entry.name === name && entry.bytes <= mostBytes) ?? null
  );
}

function documentsIn(entries: readonly DirectoryEntry[]): DirectoryEntry[] {
  return entries
    .filter(({ kind, name, bytes }) => kind === 'file' && vmOf(name) !== null && bytes <= largest.document)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function databasesIn(root: readonly DirectoryEntry[]): BackupContents['databases'] {
  return root
    .flatMap(({ kind, name, bytes }) => {
      const found = kind === 'file' ? dumpOf(name) : null;
      return found === null ? [] : [{ ...found, bytes }];
    })
    .sort((a, b) => (a.pool === b.pool ? a.generation - b.generation : a.pool < b.pool ? -1 : 1));
}

function bounded(what: string, found: number, limit: number): void {
  if (found > limit)
    throw damaged('The disk holds more than any metadata backup', [`${found} ${what}, of at most ${limit}`]);
}

function tooLarge(bytes: number): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-NOT-A-BACKUP',
    what: 'The disk is larger than any metadata backup',
    known: [`it has ${bytes} bytes, and hosts make them of 1 GiB`],
    next: 'Name the right disk; see in the runbook of this code how to find it',
  });
}

function noDate(date: string): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-NO-DATE',
    what: `The metadata backup holds no date ${date}`,
    next: 'See which it holds: lifeboat catalog recover GROUP --list',
  });
}

async function* thenRemoved(file: string, directory: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(file);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function textOf(content: Uint8Array): string {
  return Buffer.from(content.buffer, content.byteOffset, content.length).toString('utf8');
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
