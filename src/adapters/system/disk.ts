/** The disk under Lifeboat: how much room there is, and whether it takes a file. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OperatorError } from '../../domain/errors.ts';
import type { Space } from '../../ports/home.ts';

/** Of the file system that holds the path, or the nearest directory above it that exists. */
export async function spaceAt(path: string): Promise<Space> {
  try {
    const { bavail, blocks, bsize, ffree, files } = await statfs(path);
    return {
      freeBytes: bavail * bsize,
      totalBytes: blocks * bsize,
      // File systems that make inodes as they are needed count none.
      freeFiles: files === 0 ? null : ffree,
    };
  } catch (error) {
    const above = dirname(path);
    if (codeOf(error) === 'ENOENT' && above !== path) return spaceAt(above);
    throw unusable(path, error);
  }
}

/** Writes, syncs, reads back and removes a small file; makes the directory when it is missing. */
export async function tryWriting(directory: string): Promise<void> {
  const content = randomBytes(512);
  const path = join(directory, `.written-to-try-${content.toString('hex', 0, 6)}`);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write(content);
      await file.sync();
    } finally {
      await file.close();
    }
    if (!content.equals(await readFile(path))) throw new Error('other bytes were read than were written');
    await rm(path);
  } catch (error) {
    // What a full disk left of it goes; where nothing was made there is nothing to remove.
    await rm(path, { force: true }).catch(() => undefined);
    throw unusable(directory, error);
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : '';

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EROFS: 'the file system is mounted read-only',
  ENOTDIR: 'a part of its path is not a directory',
  EIO: 'the disk reports an error',
};

function unusable(path: string, error: unknown): OperatorError {
  return new OperatorError(
    {
      code: 'DR-SELF-DISK',
      what: `Lifeboat cannot use ${path}`,
      where: { object: path },
      known: [reasons[codeOf(error)] ?? (error instanceof Error ? error.message : String(error))],
      next: 'Give the user that runs Lifeboat the right to write there, on a file system that takes files',
    },
    { cause: error },
  );
}
