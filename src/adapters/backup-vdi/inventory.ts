/** What lies on an image, with the inodes: what the writer needs to know before it adds to it. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type BackupProvenance, backupLayout, datePath, isBackupDate } from '../../domain/backup-vdi.ts';
import type { Uuid } from '../../domain/pool.ts';
import { ask, byInode, type DirectoryEntry, type Looking, listDirectories, takeOut } from './e2fs.ts';
import { isUuid, vmOf } from './names.ts';
import { provenanceOf } from './read-provenance.ts';

export interface Inventory {
  readonly hasMarker: boolean;
  readonly hasConf: boolean;
  readonly hasDates: boolean;
  /** Entries of the root besides `lost+found`. */
  readonly root: readonly DirectoryEntry[];
  /** Names of all dates, oldest first. */
  readonly dates: readonly string[];
  /** By date, for those that Lifeboat wrote. */
  readonly provenances: ReadonlyMap<string, BackupProvenance>;
}

/** A provenance names every document: 100,000 of them are far below this. */
const mostProvenanceBytes = 16 * 1024 * 1024;

export async function takeInventory(image: string, looking: Looking): Promise<Inventory> {
  const { marker, conf, dates: datesDirectory } = backupLayout;
  const top = await listDirectories(image, ['/', conf, datesDirectory], looking);
  const root = (top.get('/') ?? []).filter(({ name }) => name !== 'lost+found');
  const dates = (top.get(datesDirectory) ?? [])
    .filter(({ name, kind }) => kind === 'directory' && isBackupDate(name))
    .map(({ name }) => name)
    .sort();
  return {
    hasMarker: root.some(({ name, kind }) => name === marker && kind === 'file'),
    hasConf: top.get(conf) !== null && top.get(conf) !== undefined,
    hasDates: root.some(({ name, kind }) => name === datesDirectory && kind === 'directory'),
    root,
    dates,
    provenances: await provenancesOf(image, dates, looking),
  };
}

async function provenancesOf(
  image: string,
  dates: readonly string[],
  looking: Looking,
): Promise<ReadonlyMap<string, BackupProvenance>> {
  if (dates.length === 0) return new Map();
  const listed = await listDirectories(image, dates.map(datePath), looking);
  const files = dates.flatMap((date, index) => {
    const entry = (listed.get(datePath(date)) ?? []).find(({ name }) => name === backupLayout.provenance);
    const isReadable = entry?.kind === 'file' && entry.bytes <= mostProvenanceBytes;
    return isReadable && entry !== undefined
      ? [{ date, inode: entry.inode, to: path.join(looking.scratch, `provenance-${index}`) }]
      : [];
  });
  await takeOut(image, files, looking);
  const read = await Promise.all(
    files.map(async ({ date, to }) => [date, provenanceOf(await readFile(to))] as const),
  );
  return new Map(read.flatMap(([date, provenance]) => (provenance === null ? [] : [[date, provenance]])));
}

/** Documents and links of one date, by VM. */
export interface DateFiles {
  readonly documents: ReadonlyMap<Uuid, DirectoryEntry>;
  /** By SR, then by VM. */
  readonly links: ReadonlyMap<Uuid, ReadonlyMap<Uuid, DirectoryEntry>>;
  /** Every path of the date below its directory; null for a date that holds anything else than the layout says. */
  readonly paths: { readonly files: readonly string[]; readonly directories: readonly string[] } | null;
}

export async function filesOfDate(image: string, date: string, looking: Looking): Promise<DateFiles> {
  const { all, bySr, srMeta, provenance } = backupLayout;
  const at = datePath(date);
  const listed = await listDirectories(image, [at, `${at}/${all}`, `${at}/${bySr}`], looking);
  const srs = (listed.get(`${at}/${bySr}`) ?? []).filter(
    ({ name, kind }) => kind === 'directory' && isUuid(name),
  );
  const bySrPaths = srs.map(({ name }) => `${at}/${bySr}/${name}`);
  const inSrs = srs.length === 0 ? new Map() : await listDirectories(image, bySrPaths, looking);
  const documents = named(listed.get(`${at}/${all}`) ?? [], 'file');
  const links = new Map(
    srs.map(({ name }, index) => [name, named(inSrs.get(bySrPaths[index] ?? '') ?? [], 'link')] as const),
  );
  const known = new Set<string>([all, bySr, srMeta, provenance]);
  const top = listed.get(at) ?? [];
  const isOurs =
    top.every(({ name }) => known.has(name)) &&
    documents.size === (listed.get(`${at}/${all}`) ?? []).length &&
    srs.length === (listed.get(`${at}/${bySr}`) ?? []).length &&
    srs.every(({ name }, index) => links.get(name)?.size === inSrs.get(bySrPaths[index] ?? '')?.length);
  return { documents, links, paths: isOurs ? pathsOf(top, documents, links) : null };
}

function named(
  entries: readonly DirectoryEntry[],
  kind: DirectoryEntry['kind'],
): ReadonlyMap<Uuid, DirectoryEntry> {
  return new Map(
    entries.flatMap((entry) => {
      const vm = entry.kind === kind ? vmOf(entry.name) : null;
      return vm === null ? [] : [[vm, entry] as const];
    }),
  );
}

function pathsOf(
  top: readonly DirectoryEntry[],
  documents: DateFiles['documents'],
  links: DateFiles['links'],
): NonNullable<DateFiles['paths']> {
  const { all, bySr, documentSuffix } = backupLayout;
  return {
    files: [
      ...top.filter(({ kind }) => kind === 'file').map(({ name }) => name),
      ...[...documents.keys()].map((vm) => `${all}/${vm}${documentSuffix}`),
      ...[...links].flatMap(([sr, vms]) =>
        [...vms.keys()].map((vm) => `${bySr}/${sr}/${vm}${documentSuffix}`),
      ),
    ],
    directories: [
      ...[...links.keys()].map((sr) => `${bySr}/${sr}`),
      ...top.filter(({ kind }) => kind === 'directory').map(({ name }) => name),
    ],
  };
}

/** How many names each inode has, and where it leads when it is a short link. */
export async function inodeFacts(
  image: string,
  inodes: readonly number[],
  looking: Looking,
): Promise<ReadonlyMap<number, InodeFacts>> {
  const said = await ask(
    image,
    inodes.map((inode) => `stat ${byInode(inode)}`),
    looking,
  );
  const facts = new Map<number, { links: number; target: string | null }>();
  let inode = 0;
  for (const line of said.split('\n')) {
    inode = Number(/^Inode: (\d+) /.exec(line)?.[1] ?? inode);
    const links = /^Links: (\d+) /.exec(line)?.[1];
    if (links !== undefined) facts.set(inode, { links: Number(links), target: null });
    const target = /^Fast link dest: "(.*)"$/.exec(line)?.[1];
    const known = facts.get(inode);
    if (target !== undefined && known !== undefined) known.target = target;
  }
  return facts;
}

export interface InodeFacts {
  readonly links: number;
  readonly target: string | null;
}
