/**
 * Where private copies of disks lie: below the state directory, for our eyes only, each in a directory of its own that goes
 * with it. What a killed process left behind goes at the next start.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { PortError } from '../../domain/errors.ts';

const prefix = 'image-';

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EFBIG: 'the file system takes no file of this size',
  EACCES: 'permission denied',
  EROFS: 'the file system is mounted read-only',
  EIO: 'the disk reports an error',
};

export class Scratch {
  readonly #root: string;
  #ready: Promise<void> | null = null;

  constructor(root: string) {
    this.#root = root;
  }

  /** Where everything lies, made if need be. */
  async root(): Promise<string> {
    return this.#prepared(async () => this.#root);
  }

  /** A new directory, mode 0700. */
  async directory(): Promise<string> {
    return this.#prepared(async () => {
      const made = path.join(this.#root, `${prefix}${process.pid}-${randomBytes(6).toString('hex')}`);
      await mkdir(made, { mode: 0o700 });
      return made;
    });
  }

  async #prepared(then: () => Promise<string>): Promise<string> {
    try {
      this.#ready ??= this.#prepare();
      await this.#ready;
      return await then();
    } catch (error) {
      this.#ready = null;
      throw noPlace([error instanceof Error ? error.message : String(error)], this.#root, error);
    }
  }

  /** Work on private copies: a disk of this machine that is full or cannot be written is told as such. */
  async within<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const reason = error instanceof Error && 'code' in error ? reasons[String(error.code)] : undefined;
      throw reason === undefined ? error : noPlace([reason], this.#root, error);
    }
  }

  /** Removes a directory of ours; never throws. */
  async remove(directory: string): Promise<void> {
    if (path.dirname(directory) !== this.#root || !path.basename(directory).startsWith(prefix)) return;
    await rm(directory, { recursive: true, force: true }).catch(() => undefined);
  }

  async #prepare(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#root)) {
      const owner = /^image-(\d+)-[0-9a-f]{12}$/.exec(name)?.[1];
      if (owner !== undefined && !isAlive(Number(owner))) await this.remove(path.join(this.#root, name));
    }
  }
}

export function noPlace(known: readonly string[], directory?: string, cause?: unknown): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-BACKUP-SCRATCH',
      what: 'There is no place for a private copy of the metadata backup',
      ...(directory === undefined ? {} : { where: { object: directory } }),
      known,
      next: 'Make the state directory writable for the user of Lifeboat, with room for twice what the disk holds',
    },
    { cause },
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
