/**
 * A catalog target on an SFTP server (OpenSSH). Needs its extensions `posix-rename` and `fsync`: without them nothing
 * would be atomic or synced, and the target is refused. A directory cannot be synced over SFTP; what a crash of the
 * server can undo there is the name of the newest files, which the reading back at the next look tells.
 */
import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2';
import { OperatorError } from '../../domain/errors.ts';
import {
  type SshAddress,
  SshConnection,
  type SshCredentials,
  type SshTimes,
  usualTimes,
} from '../ssh/connection.ts';
import {
  type StoreEntry,
  StoreExists,
  type StoreFile,
  StoreMissing,
  type TargetStore,
} from './target-store.ts';

/** Every server takes 32 KiB a message; many messages under way at once make up for the distance. */
const messageBytes = 32 * 1024;
const windowBytes = 1024 * 1024;
const noSuchFile = 2;

export interface SftpTarget {
  readonly name: string;
  readonly address: SshAddress;
  readonly path: string;
  readonly credentials: () => Promise<SshCredentials>;
  readonly times?: SshTimes;
}

interface Link {
  readonly connection: SshConnection;
  readonly sftp: SFTPWrapper;
}

export class SftpStore implements TargetStore {
  readonly name: string;
  readonly address: string;
  readonly #target: SftpTarget;
  #link: Promise<Link> | null = null;

  constructor(target: SftpTarget) {
    this.name = target.name;
    const { host, port, username } = target.address;
    this.address = `sftp://${username}@${host}${port === 22 ? '' : `:${port}`}/${target.path.replace(/^\//, '')}`;
    this.#target = target;
  }

  async open(options: { readonly create: boolean }): Promise<void> {
    await this.#connected();
    if (options.create) {
      await this.makeDirectory('');
      return;
    }
    const entry = await this.stat('');
    if (entry === null) throw Object.assign(new Error('missing'), { code: 'ENOENT' });
    if (entry.kind !== 'directory') throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR' });
  }

  async list(directory: string): Promise<readonly StoreEntry[]> {
    try {
      const entries = await this.#call<FileEntryWithStats[]>((sftp, done) =>
        sftp.readdir(this.#path(directory), (error, list) => done(error, list)),
      );
      return entries
        .filter(({ filename }) => filename !== '.' && filename !== '..')
        .map(({ filename, attrs }) => entryOf(filename, attrs))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (error) {
      if (statusOf(error) === noSuchFile) return [];
      throw error;
    }
  }

  async stat(path: string): Promise<StoreEntry | null> {
    try {
      const stats = await this.#call<Stats>((sftp, done) =>
        sftp.stat(this.#path(path), (error, s) => done(error, s)),
      );
      return entryOf(path.slice(path.lastIndexOf('/') + 1), stats);
    } catch (error) {
      if (statusOf(error) === noSuchFile) return null;
      throw error;
    }
  }

  async read(path: string, part?: { readonly offset: number; readonly length: number }): Promise<Uint8Array> {
    return this.#withHandle(path, async (handle) => {
      const wanted = part ?? { offset: 0, length: await this.#sizeOf(handle) };
      const bytes = Buffer.alloc(wanted.length);
      let filled = 0;
      while (filled < wanted.length) {
        const length = Math.min(windowBytes, wanted.length - filled);
        const got = await this.#fill(handle, bytes.subarray(filled, filled + length), wanted.offset + filled);
        filled += got;
        if (got < length) break;
      }
      return bytes.subarray(0, filled);
    });
  }

  async *stream(path: string): AsyncIterable<Uint8Array> {
    const handle = await this.#openFile(path, 'r');
    const buffers = [Buffer.alloc(windowBytes), Buffer.alloc(windowBytes)];
    let pending: Promise<number> | null = null;
    try {
      const size = await this.#sizeOf(handle);
      let position = 0;
      const ask = (turn: number): Promise<number> | null => {
        const length = Math.min(windowBytes, size - position);
        const buffer = buffers[turn % 2];
        return length <= 0 || buffer === undefined
          ? null
          : this.#fill(handle, buffer.subarray(0, length), position);
      };
      pending = ask(0);
      for (let turn = 0; pending !== null; turn += 1) {
        const got = await pending;
        position += got;
        pending = got === 0 ? null : ask(turn + 1);
        const buffer = buffers[turn % 2];
        if (got > 0 && buffer !== undefined) yield buffer.subarray(0, got);
      }
    } finally {
      if (pending !== null) await Promise.allSettled([pending]);
      await this.#closeHandle(handle);
    }
  }

  async create(path: string): Promise<StoreFile> {
    let handle: Buffer;
    try {
      handle = await this.#openFile(path, 'wx');
    } catch (error) {
      // SFTP 3 has no code for "exists already".
      if (!(error instanceof StoreMissing) && (await this.stat(path)) !== null) throw new StoreExists(path);
      throw error;
    }
    let position = 0;
    let open = true;
    return {
      path,
      write: async (bytes) => {
        const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        for (let from = 0; from < buffer.length; from += windowBytes) {
          const end = Math.min(buffer.length, from + windowBytes);
          const messages: Promise<void>[] = [];
          for (let at = from; at < end; at += messageBytes) {
            const length = Math.min(messageBytes, end - at);
            const place = position + at;
            messages.push(
              this.#call<void>((sftp, done) =>
                sftp.write(handle, buffer, at, length, place, (error) => done(error)),
              ),
            );
          }
          await allDone(messages);
        }
        position += buffer.length;
      },
      sync: () => this.#call<void>((sftp, done) => sftp.ext_openssh_fsync(handle, (error) => done(error))),
      close: async () => {
        if (!open) return;
        open = false;
        await this.#closeHandle(handle);
      },
    };
  }

  async makeDirectory(path: string): Promise<void> {
    const whole = this.#path(path);
    const parts = whole.split('/').filter((part) => part !== '');
    for (let count = 1; count <= parts.length; count += 1) {
      const directory = `${whole.startsWith('/') ? '/' : ''}${parts.slice(0, count).join('/')}`;
      const there = async (): Promise<boolean> => {
        try {
          const stats = await this.#call<Stats>((sftp, done) =>
            sftp.stat(directory, (error, s) => done(error, s)),
          );
          if (!stats.isDirectory()) throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR' });
          return true;
        } catch (error) {
          if (statusOf(error) === noSuchFile) return false;
          throw error;
        }
      };
      if (await there()) continue;
      try {
        await this.#call<void>((sftp, done) =>
          sftp.mkdir(directory, { mode: 0o700 }, (error) => done(error)),
        );
      } catch (error) {
        if (!(await there())) throw error;
      }
    }
  }

  async rename(from: string, to: string): Promise<void> {
    try {
      await this.#call<void>((sftp, done) =>
        sftp.ext_openssh_rename(this.#path(from), this.#path(to), (error) => done(error)),
      );
    } catch (error) {
      throw statusOf(error) === noSuchFile ? new StoreMissing(from) : error;
    }
  }

  async syncDirectory(_path: string): Promise<void> {
    return;
  }

  async remove(path: string): Promise<void> {
    try {
      await this.#call<void>((sftp, done) => sftp.unlink(this.#path(path), (error) => done(error)));
    } catch (error) {
      if (statusOf(error) !== noSuchFile) throw error;
    }
  }

  async close(): Promise<void> {
    const link = this.#link;
    this.#link = null;
    if (link === null) return;
    const [answer] = await Promise.allSettled([link]);
    if (answer.status === 'fulfilled') answer.value.connection.close();
  }

  #path(path: string): string {
    return path === '' ? this.#target.path : `${this.#target.path}/${path}`;
  }

  async #connected(): Promise<Link> {
    const link = this.#link;
    if (link !== null) {
      const standing = await link;
      if (standing.connection.lost === null) return standing;
    }
    // Whoever comes while a new connection is being made shares it.
    if (this.#link === link) this.#link = this.#connect();
    const mine = this.#link;
    if (mine === null) throw new Error('the target was closed');
    try {
      return await mine;
    } catch (error) {
      if (this.#link === mine) this.#link = null;
      throw error;
    }
  }

  async #connect(): Promise<Link> {
    const connection = await SshConnection.connect(
      this.#target.address,
      await this.#target.credentials(),
      this.#target.times ?? usualTimes,
    );
    try {
      const sftp = await connection.sftp();
      return { connection, sftp };
    } catch (error) {
      connection.close();
      throw this.#explained(error);
    }
  }

  async #call<T>(
    action: (sftp: SFTPWrapper, done: (error: Error | null | undefined, value?: T) => void) => void,
  ): Promise<T> {
    const { connection, sftp } = await this.#connected();
    try {
      return await connection.guard<T>((done) => action(sftp, (error, value) => done(error, value as T)));
    } catch (error) {
      throw this.#explained(error);
    }
  }

  async #openFile(path: string, flags: 'r' | 'wx'): Promise<Buffer> {
    try {
      return await this.#call<Buffer>((sftp, done) =>
        sftp.open(this.#path(path), flags, { mode: 0o600 }, (error, handle) => done(error, handle)),
      );
    } catch (error) {
      throw statusOf(error) === noSuchFile ? new StoreMissing(path) : error;
    }
  }

  async #withHandle<T>(path: string, action: (handle: Buffer) => Promise<T>): Promise<T> {
    const handle = await this.#openFile(path, 'r');
    try {
      return await action(handle);
    } finally {
      await this.#closeHandle(handle);
    }
  }

  async #closeHandle(handle: Buffer): Promise<void> {
    await this.#call<void>((sftp, done) => sftp.close(handle, (error) => done(error)));
  }

  async #sizeOf(handle: Buffer): Promise<number> {
    return (await this.#call<Stats>((sftp, done) => sftp.fstat(handle, (error, stats) => done(error, stats))))
      .size;
  }

  /** Fills the buffer from the file with many messages at once; returns how many bytes there were. */
  async #fill(handle: Buffer, buffer: Buffer, position: number): Promise<number> {
    const messages: Promise<number>[] = [];
    for (let at = 0; at < buffer.length; at += messageBytes) {
      messages.push(
        this.#fillMessage(handle, buffer, at, Math.min(messageBytes, buffer.length - at), position + at),
      );
    }
    const counts = await allDone(messages);
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** A server may answer with fewer bytes than asked; zero means the end of the file. */
  async #fillMessage(
    handle: Buffer,
    buffer: Buffer,
    at: number,
    length: number,
    position: number,
  ): Promise<number> {
    let filled = 0;
    while (filled < length) {
      const got = await this.#call<number>((sftp, done) =>
        sftp.read(handle, buffer, at + filled, length - filled, position + filled, (error, bytesRead) => {
          // The end of the file is an error for SFTP and none for us.
          if (statusOf(error) === 1) done(null, 0);
          else done(error, bytesRead);
        }),
      );
      if (got === 0) break;
      filled += got;
    }
    return filled;
  }

  #explained(error: unknown): unknown {
    const message = error instanceof Error ? error.message : '';
    if (/does not support this extended request/i.test(message)) {
      return new OperatorError({
        code: 'DR-SFTP-SERVER',
        what: 'The SFTP server cannot sync or replace files',
        where: { object: this.address },
        known: ['its extensions posix-rename@openssh.com and fsync@openssh.com are missing'],
        next: 'Use a server with OpenSSH (internal-sftp), or another target',
      });
    }
    const words: Record<number, string> = { 3: 'EACCES' };
    const code = words[statusOf(error)];
    if (code !== undefined) return Object.assign(new Error(message), { code });
    if (statusOf(error) === 4) {
      return new OperatorError({
        code: 'DR-SFTP-FAILURE',
        what: `The SFTP server refuses an operation on catalog target ${this.name}`,
        where: { object: this.address },
        known: [
          'the server says only "failure": its disk may be full, or a part of the path is not a directory',
        ],
        next: 'Look at the free space (df) and the log of the SSH server, then repeat',
      });
    }
    return error;
  }
}

/** Like Promise.all, but nothing is under way any more when it rejects: buffers must not change afterwards. */
async function allDone<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

function entryOf(name: string, stats: Stats): StoreEntry {
  return {
    name,
    kind: stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other',
    bytes: stats.size,
    modifiedAtSeconds: stats.mtime,
  };
}

/** SFTP status codes: 1 end of file, 2 no such file, 3 permission denied, 4 failure. */
function statusOf(error: unknown): number {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : -1;
}
