/**
 * An ext file system in a private file, by way of debugfs. Files are taken out one by one under names of ours: links and
 * names on the disk never lead anywhere on this machine.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PortError } from '../../domain/errors.ts';
import type { Instant } from '../../domain/time.ts';
import { runTool, type ToolCall, type ToolEnd, toolFailed, wordsOf } from './tools.ts';

export interface DirectoryEntry {
  readonly inode: number;
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  readonly name: string;
  /** Of a file; 0 for others. */
  readonly bytes: number;
}

export interface Looking {
  /** A directory of ours beside the image, for scripts of debugfs. */
  readonly scratch: string;
  readonly signal?: AbortSignal | undefined;
}

/** debugfs reads `<n>` as an inode number. */
export const byInode = (inode: number): string => `<${inode}>`;

/** Words of a path that debugfs takes as they are: nothing else is ever handed to it. */
const plainPath = /^[A-Za-z0-9_./<>-]+$/;

export function plain(where: string): string {
  if (!plainPath.test(where)) throw new TypeError(`not a path for debugfs: ${JSON.stringify(where)}`);
  return where;
}

/**
 * Entries of some directories, given by path or `byInode`, without `.` and `..`; null for one that is not there. One
 * program, however many directories.
 */
export async function listDirectories(
  image: string,
  directories: readonly string[],
  looking: Looking,
): Promise<ReadonlyMap<string, readonly DirectoryEntry[] | null>> {
  const commands = directories.map((directory) => `ls -p ${plain(directory)}`);
  const { stdout } = await debugfs(image, commands, looking);
  const listed = new Map<string, DirectoryEntry[] | null>();
  let next = 0;
  let current: DirectoryEntry[] = [];
  let isThere = false;
  const close = (): void => {
    if (next > 0) listed.set(directories[next - 1] ?? '', isThere ? current : null);
  };
  for (const line of stdout.split('\n')) {
    if (next < commands.length && line === `debugfs: ${commands[next]}`) {
      close();
      next += 1;
      current = [];
      isThere = false;
      continue;
    }
    const entry = entryOf(line);
    if (entry === null) continue;
    // Every directory lists itself.
    isThere = true;
    if (entry.name !== '.' && entry.name !== '..') current.push(entry);
  }
  close();
  return listed;
}

function entryOf(line: string): DirectoryEntry | null {
  const [, inode, mode, name, bytes] = /^\/(\d+)\/(\d{6})\/\d+\/\d+\/(.*)\/(\d*)\/$/.exec(line) ?? [];
  if (inode === undefined || mode === undefined || name === undefined) return null;
  return { inode: Number(inode), kind: kindOf(mode), name, bytes: Number(bytes ?? '') };
}

function kindOf(mode: string): DirectoryEntry['kind'] {
  const format = Number.parseInt(mode, 8) & 0o170000;
  if (format === 0o100000) return 'file';
  if (format === 0o040000) return 'directory';
  return format === 0o120000 ? 'link' : 'other';
}

/** Takes regular files out, by inode, to paths of ours, which must not hold blanks or quotes. */
export async function takeOut(
  image: string,
  files: readonly { readonly inode: number; readonly to: string }[],
  looking: Looking,
): Promise<void> {
  if (files.length === 0) return;
  const end = await debugfs(
    image,
    files.map(({ inode, to }) => `dump ${byInode(inode)} ${quoted(to)}`),
    looking,
  );
  if (wordsOf(end.stderr).length > 0)
    throw damaged('Files of the metadata backup cannot be read', wordsOf(end.stderr));
}

/** So much content is held at once. */
const batchBytes = 32 * 1024 * 1024;

/** Content of regular files, in their order, without a file of ours for each: what is only compared is never stored. */
export async function* contentsOf(
  image: string,
  files: readonly { readonly inode: number; readonly bytes: number }[],
  looking: Looking,
): AsyncGenerator<{ readonly inode: number; readonly content: Uint8Array }> {
  for (let from = 0; from < files.length; ) {
    let to = from;
    let bytes = 0;
    do bytes += files[to++]?.bytes ?? 0;
    while (to < files.length && bytes + (files[to]?.bytes ?? 0) <= batchBytes);
    yield* contentsOfBatch(image, files.slice(from, to), bytes, looking);
    from = to;
  }
}

/** debugfs repeats each command on a line of its own, and the content follows. */
async function* contentsOfBatch(
  image: string,
  files: readonly { readonly inode: number; readonly bytes: number }[],
  bytes: number,
  looking: Looking,
): AsyncGenerator<{ readonly inode: number; readonly content: Uint8Array }> {
  const commands = files.map(({ inode }) => `cat ${byInode(inode)}`);
  const { output, stderr } = await debugfs(image, commands, looking, {
    maxOutputBytes: bytes + 64 * (files.length + 1),
  });
  let at = 0;
  for (const [index, { inode, bytes: length }] of files.entries()) {
    const line = `debugfs: ${commands[index]}\n`;
    const begin = at + line.length;
    const isThere = output.toString('latin1', at, begin) === line && begin + length <= output.length;
    if (!isThere || wordsOf(stderr).length > 0)
      throw damaged('Files of the metadata backup cannot be read', [`inode ${inode}`, ...wordsOf(stderr)]);
    yield { inode, content: output.subarray(begin, begin + length) };
    at = begin + length;
  }
}

/** debugfs keeps what stands between double quotes together. */
export function quoted(local: string): string {
  if (/["\\\n\r]/.test(local)) throw new TypeError(`not a path for debugfs: ${JSON.stringify(local)}`);
  return `"${local}"`;
}

/** Changes an image. debugfs ends with 0 whatever happened: every word on stderr is a failure. */
export async function change(
  image: string,
  commands: readonly string[],
  looking: Looking & { readonly at: Instant },
): Promise<void> {
  if (commands.length === 0) return;
  const end = await debugfs(image, commands, looking, { options: ['-w'], at: looking.at });
  if (end.code !== 0 || wordsOf(end.stderr).length > 0)
    throw toolFailed('debugfs', 'The metadata backup could not be put together', end);
}

/** Asks of an image without changing it: what debugfs prints. */
export async function ask(image: string, commands: readonly string[], looking: Looking): Promise<string> {
  return commands.length === 0 ? '' : (await debugfs(image, commands, looking)).stdout;
}

let scripts = 0;

async function debugfs(
  image: string,
  commands: readonly string[],
  { scratch, signal }: Looking,
  {
    options = [],
    ...call
  }: Pick<ToolCall, 'at' | 'maxOutputBytes'> & { readonly options?: readonly string[] } = {},
): Promise<ToolEnd> {
  scripts += 1;
  const script = path.join(scratch, `commands-${scripts}`);
  await writeFile(script, `${commands.join('\n')}\n`, { mode: 0o600 });
  return runTool('debugfs', [...options, '-f', script, image], { signal, ...call });
}

/**
 * Checks an image without touching it: true when it is clean. Kind `refused`, code DR-BACKUP-NOT-A-BACKUP, for one that
 * holds no ext file system at all.
 */
export async function isClean(image: string, signal?: AbortSignal): Promise<boolean> {
  const end = await runTool('e2fsck', ['-fn', image], { signal });
  if (end.code === 0) return true;
  if (/Bad magic number|superblock is corrupt|not a valid ext/i.test(end.stderr + end.stdout))
    throw new PortError('refused', {
      code: 'DR-BACKUP-NOT-A-BACKUP',
      what: 'The disk holds no file system of a metadata backup',
      known: ['e2fsck finds no ext2, ext3 or ext4 on it'],
      next: 'See in the runbook of this code who may have written it; Lifeboat leaves it as it is',
    });
  return false;
}

/** Repairs a private copy as a mount of a host would: the journal is replayed. False when more is broken than that. */
export async function repair(image: string, signal?: AbortSignal): Promise<boolean> {
  // 1: errors were corrected. What -p cannot mend without asking, a person shall look at.
  const end = await runTool('e2fsck', ['-fp', image], { signal });
  return end.code === 0 || end.code === 1;
}

export function damaged(what: string, known: readonly string[]): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-DAMAGED',
    what,
    known: known.slice(0, 5),
    next: 'Use an older date or another source; look by hand at the disk, which was not changed',
  });
}
