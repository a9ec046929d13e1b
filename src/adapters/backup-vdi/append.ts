/**
 * A new date on an image, by commands of debugfs. What the newest date of ours holds already is linked, so that a night
 * costs what has changed; what goes, goes after the new date is there. Others' dates are never touched.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  backupLayout,
  confPath,
  databasePath,
  datePath,
  datesToLetGo,
  documentPath,
  linkPath,
  linkTarget,
  rotationStanza,
} from '../../domain/backup-vdi.ts';
import { PortError } from '../../domain/errors.ts';
import type { Uuid } from '../../domain/pool.ts';
import type { BackupToWrite } from '../../ports/backup-vdi.ts';
import { byInode, change, contentsOf, type DirectoryEntry, type Looking, plain, quoted } from './e2fs.ts';
import { type DateFiles, filesOfDate, type Inventory, inodeFacts, takeInventory } from './inventory.ts';
import { dumpOf } from './names.ts';
import { blockBytes } from './sparse.ts';

export interface Appended {
  readonly documentsWritten: number;
  readonly documentsLinked: number;
  readonly bytesNew: number;
  readonly removedDates: readonly string[];
  /** What was written under its path, to be read back. */
  readonly files: ReadonlyMap<string, { readonly sha256: string; readonly bytes: number }>;
  readonly linkedDocuments: ReadonlyMap<Uuid, number>;
}

/** Of ext3; a document that never changes is written anew long before. */
const mostNames = 30_000;
/** Of an entry with a name of 43 characters, and of an empty directory. */
const entryBytes = 52;

export async function appendDate(image: string, tree: BackupToWrite, looking: Looking): Promise<Appended> {
  const inventory = await takeInventory(image, looking);
  assertIsBackup(inventory);
  const own = [...inventory.provenances]
    .filter(([, provenance]) => provenance.pool.uuid === tree.pool)
    .map(([date]) => date)
    .sort();
  const newest = own.at(-1);
  const before = newest === undefined ? null : await filesOfDate(image, newest, looking);
  const reused = before === null ? nothingReused : await reusable(image, tree, before, looking);
  const adding = new Adding(tree, inventory, looking.scratch);
  adding.frame();
  await adding.documents(reused);
  adding.links(reused);
  await adding.database();
  const at = tree.provenance.takenAt;
  await change(image, adding.commands, { ...looking, at });
  const removed = await letGo(image, datesToLetGo([...own, tree.date], tree.history), { ...looking, at });
  return {
    documentsWritten: tree.documents.length - adding.linked.size,
    documentsLinked: adding.linked.size,
    bytesNew: [...adding.files.values()].reduce((sum, { bytes }) => sum + bytes, 0),
    removedDates: removed,
    files: adding.files,
    linkedDocuments: adding.linked,
  };
}

/** A file system with something on it and without the marker is somebody's own. */
function assertIsBackup({ hasMarker, root }: Inventory): void {
  if (hasMarker || root.length === 0) return;
  throw new PortError('refused', {
    code: 'DR-BACKUP-NOT-A-BACKUP',
    what: 'The disk has a file system, and it is no metadata backup',
    known: [`there is no file ${backupLayout.marker} on it, but ${root.length} others`],
    next: 'See in the runbook of this code who may have written it; Lifeboat leaves it as it is',
  });
}

/** Inodes of the newest date of ours that can stand in the new one as well, and how many names each has. */
interface Reusable {
  readonly documents: ReadonlyMap<Uuid, Named>;
  /** By SR, then by VM. */
  readonly links: ReadonlyMap<Uuid, ReadonlyMap<Uuid, Named>>;
}
interface Named {
  readonly inode: number;
  readonly names: number;
}
const nothingReused: Reusable = { documents: new Map(), links: new Map() };

/** The disk is believed only after it was read: a document is reused when its very bytes are those wanted. */
async function reusable(
  image: string,
  tree: BackupToWrite,
  before: DateFiles,
  looking: Looking,
): Promise<Reusable> {
  const links = [...before.links.values()].flatMap((vms) => [...vms.values()]);
  const documents = [...before.documents.values()];
  const facts = await inodeFacts(
    image,
    [...documents, ...links].map(({ inode }) => inode),
    looking,
  );
  const namedOf = ({ inode }: DirectoryEntry): Named | null => {
    const names = facts.get(inode)?.links ?? mostNames;
    return names < mostNames ? { inode, names } : null;
  };
  const wanted = new Map(tree.documents.map(({ vm, sha256 }) => [vm, sha256]));
  const hashes = await hashesOf(
    image,
    [...before.documents].filter(([vm]) => wanted.has(vm)),
    looking,
  );
  const same = [...before.documents].flatMap(([vm, entry]) => {
    const named = hashes.get(vm) === wanted.get(vm) ? namedOf(entry) : null;
    return named === null || !wanted.has(vm) ? [] : [[vm, named] as const];
  });
  return {
    documents: new Map(same),
    links: new Map(
      [...before.links].map(([sr, vms]) => {
        const kept = [...vms].flatMap(([vm, entry]) => {
          const named = facts.get(entry.inode)?.target === linkTarget(vm) ? namedOf(entry) : null;
          return named === null ? [] : [[vm, named] as const];
        });
        return [sr, new Map(kept)] as const;
      }),
    ),
  };
}

/** No document of a VM comes near this. */
const mostDocumentBytes = 64 * 1024 * 1024;

async function hashesOf(
  image: string,
  documents: readonly (readonly [Uuid, DirectoryEntry])[],
  looking: Looking,
): Promise<ReadonlyMap<Uuid, string>> {
  const files = new Map(
    documents
      .filter(([, { bytes }]) => bytes <= mostDocumentBytes)
      .map(([vm, entry]) => [entry.inode, { vm, ...entry }]),
  );
  const hashes = new Map<Uuid, string>();
  for await (const { inode, content } of contentsOf(image, [...files.values()], looking))
    hashes.set(files.get(inode)?.vm ?? '', sha256Of(content));
  return hashes;
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Commands for debugfs, with the local files that they take. */
class Adding {
  readonly commands: string[] = [];
  readonly files = new Map<string, { readonly sha256: string; readonly bytes: number }>();
  readonly linked = new Map<Uuid, number>();
  readonly #tree: BackupToWrite;
  readonly #inventory: Inventory;
  readonly #scratch: string;

  constructor(tree: BackupToWrite, inventory: Inventory, scratch: string) {
    this.#tree = tree;
    this.#inventory = inventory;
    this.#scratch = scratch;
  }

  /** What the format asks for beside the dates: written once, and left alone from then on. */
  frame(): void {
    const { vdi, pool, date, history, srMeta, provenance } = this.#tree;
    const { hasMarker, hasConf, hasDates, root } = this.#inventory;
    if (!hasMarker) this.#write(backupLayout.marker, Buffer.from(`${backupLayout.formatVersion}\n`));
    if (!hasConf && !root.some(({ name }) => name === backupLayout.conf)) {
      this.commands.push(`mkdir ${backupLayout.conf}`);
      this.#write(confPath(vdi), Buffer.from(rotationStanza(vdi, pool, history)));
    }
    if (!hasDates) this.commands.push(`mkdir ${backupLayout.dates}`);
    this.#directory(datePath(date), 4);
    this.#write(`${datePath(date)}/${backupLayout.srMeta}`, srMeta);
    this.#write(
      `${datePath(date)}/${backupLayout.provenance}`,
      Buffer.from(`${JSON.stringify(provenance)}\n`),
    );
  }

  async documents(reused: Reusable): Promise<void> {
    const { date, documents } = this.#tree;
    this.#directory(`${datePath(date)}/${backupLayout.all}`, documents.length);
    for (const { vm, archive } of documents) {
      const there = reused.documents.get(vm);
      if (there === undefined) this.#write(documentPath(date, vm), await archive());
      else {
        this.#name(there, documentPath(date, vm));
        this.linked.set(vm, there.inode);
      }
    }
  }

  links(reused: Reusable): void {
    const { date, links } = this.#tree;
    const bySr = Map.groupBy(links, ({ sr }) => sr);
    this.#directory(`${datePath(date)}/${backupLayout.bySr}`, bySr.size);
    for (const [sr, vms] of bySr) {
      const directory = `${datePath(date)}/${backupLayout.bySr}/${sr}`;
      this.#directory(directory, vms.length);
      for (const { vm } of vms) {
        const there = reused.links.get(sr)?.get(vm);
        if (there === undefined)
          this.commands.push(`symlink ${plain(linkPath(date, sr, vm))} ${plain(linkTarget(vm))}`);
        else this.#name(there, linkPath(date, sr, vm));
      }
    }
  }

  /** Rotated as logrotate does, by names alone: no byte of an older dump is written again. */
  async database(): Promise<void> {
    const { pool, database, dumps } = this.#tree;
    if (database === null) return;
    const kept = this.#inventory.root.flatMap(({ name, inode, kind }) => {
      const dump = kind === 'file' ? dumpOf(name) : null;
      return dump?.pool === pool ? [{ name, inode, generation: dump.generation }] : [];
    });
    for (const { name, inode, generation } of kept.sort((a, b) => b.generation - a.generation)) {
      if (generation + 1 >= dumps) this.commands.push(`rm ${plain(name)}`);
      else
        this.commands.push(
          `ln ${byInode(inode)} ${plain(databasePath(pool, generation + 1))}`,
          `unlink ${plain(name)}`,
        );
    }
    const pieces: Uint8Array[] = [];
    for await (const piece of database) pieces.push(piece);
    this.#write(databasePath(pool, 0), Buffer.concat(pieces));
  }

  /** debugfs does not make a directory longer when it links something into it: room is made beforehand. */
  #directory(where: string, entries: number): void {
    this.commands.push(`mkdir ${plain(where)}`);
    const perBlock = Math.floor(blockBytes / entryBytes);
    const more = Math.ceil((entries + 2) / perBlock) - 1;
    for (let block = 0; block < more; block += 1) this.commands.push(`expand_dir ${where}`);
  }

  #name({ inode, names }: Named, where: string): void {
    this.commands.push(
      `ln ${byInode(inode)} ${plain(where)}`,
      `set_inode_field ${byInode(inode)} links_count ${names + 1}`,
    );
  }

  #write(where: string, content: Uint8Array): void {
    // A thousand small files: handing each to another thread would cost more than writing it.
    const local = path.join(this.#scratch, `new-${this.files.size}`);
    writeFileSync(local, content, { mode: 0o600 });
    this.commands.push(`write ${quoted(local)} ${plain(where)}`);
    this.files.set(where, { sha256: sha256Of(content), bytes: content.length });
  }
}

/** A date goes when it holds what Lifeboat put there and nothing else. */
async function letGo(
  image: string,
  dates: readonly string[],
  looking: Looking & { readonly at: string },
): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const date of dates) {
    const { paths } = await filesOfDate(image, date, looking);
    if (paths === null) continue;
    const at = datePath(date);
    await change(
      image,
      [
        ...paths.files.map((file) => `rm ${plain(`${at}/${file}`)}`),
        ...paths.directories.map((directory) => `rmdir ${plain(`${at}/${directory}`)}`),
        `rmdir ${plain(at)}`,
      ],
      looking,
    );
    removed.push(date);
  }
  return removed;
}
