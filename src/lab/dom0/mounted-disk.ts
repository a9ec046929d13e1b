/**
 * A disk attached to the control domain and its file system. Mounting would need root, so the file system is copied out
 * with debugfs and, when it was changed, made anew with mke2fs: what a reader finds on the disk is a real ext3.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from '../core/database.ts';
import { invoke } from '../core/dispatch.ts';
import type { LabHost } from '../core/pool.ts';
import { struct } from '../core/values.ts';
import { backendOn } from '../storage/state.ts';
import type { Disk } from '../storage/vhd.ts';

const piece = 1024 * 1024;
const nothing = Buffer.alloc(piece);

/** Runs a program of e2fsprogs, wherever the system keeps them. */
export function e2fs(program: string, args: readonly string[], input = ''): SpawnSyncReturns<string> {
  const { PATH = '' } = process.env;
  return spawnSync(program, [...args], {
    input,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    env: { PATH: `${PATH}:/usr/sbin:/sbin`, LC_ALL: 'C', TZ: 'UTC' },
  });
}

export class MountedDisk {
  /** The tree of the file system, in a directory of ours. */
  readonly tree: string;
  readonly #directory: string;
  readonly #image: string;
  readonly #host: LabHost;
  readonly #vdi: Row;
  readonly #vbd: Row;

  private constructor(host: LabHost, vdi: Row, vbd: Row) {
    this.#host = host;
    this.#vdi = vdi;
    this.#vbd = vbd;
    this.#directory = mkdtempSync(join(tmpdir(), 'lab-dom0-'));
    this.#image = join(this.#directory, 'image');
    this.tree = join(this.#directory, 'tree');
  }

  /** Plugs the disk into the control domain, for reading and writing. @throws XenFailure */
  static async attach(host: LabHost, vdi: Row): Promise<MountedDisk> {
    const vbd = host.pool.db.row(
      'VBD',
      String(
        await invoke(
          host,
          'VBD.create',
          struct({
            VM: host.row.text('control_domain'),
            VDI: vdi.ref,
            userdevice: 'autodetect',
            bootable: false,
            mode: 'RW',
            type: 'Disk',
            empty: false,
            other_config: struct(),
          }),
        ),
      ),
    );
    try {
      await invoke(host, 'VBD.plug', vbd.ref);
      const mounted = new MountedDisk(host, vdi, vbd);
      mounted.#copyOut();
      return mounted;
    } catch (error) {
      vbd.destroy();
      throw error;
    }
  }

  /** An empty ext3, as the script makes one on a new disk; what was there is gone. */
  format(): boolean {
    return e2fs('mke2fs', ['-q', '-F', '-t', 'ext3', this.#image]).status === 0;
  }

  /** Whether a check finds it clean; one that had to repair something counts as a failure (xapi.md 5.3). */
  isClean(): boolean {
    return e2fs('e2fsck', ['-p', this.#image]).status === 0;
  }

  /** Copies the file system out into `tree`. */
  mount(): boolean {
    mkdirSync(this.tree);
    return e2fs('debugfs', ['-R', `rdump / ${this.tree}`, this.#image]).status === 0;
  }

  /** The marker as the restore script looks for it: without a mount, and only a regular file counts. */
  hasMarker(): boolean {
    const { stdout } = e2fs('debugfs', ['-R', 'stat /.ctxs-metadata-backup', this.#image]);
    return /Type: regular/.test(stdout);
  }

  /** Percent of the space that is taken. */
  usedPercent(): number {
    const { stdout } = e2fs('debugfs', ['-R', 'show_super_stats -h', this.#image]);
    const figure = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(stdout)?.[1] ?? 0);
    const blocks = figure('Block count');
    return blocks === 0 ? 100 : Math.ceil((100 * (blocks - figure('Free blocks'))) / blocks);
  }

  /** Writes the tree back onto the disk. False when it does not fit. */
  unmount(): boolean {
    rmSync(join(this.tree, 'lost+found'), { recursive: true, force: true });
    const made = e2fs('mke2fs', ['-q', '-F', '-t', 'ext3', '-d', this.tree, this.#image]).status === 0;
    if (made) this.#copyIn();
    return made;
  }

  /** Unplugs the disk and removes what was made for it. */
  async detach(): Promise<void> {
    rmSync(this.#directory, { recursive: true, force: true });
    await invoke(this.#host, 'VBD.unplug', this.#vbd.ref);
    this.#vbd.destroy();
  }

  #open(mode: 'r' | 'r+'): Disk {
    const sr = this.#vdi.row('SR', 'SR');
    const backend = sr === undefined ? null : backendOn(this.#host.pool, sr, this.#host.row.ref);
    if (backend === null) throw new Error('a plugged disk has its SR on the host');
    return backend.open(this.#vdi.text('location'), mode);
  }

  #copyOut(): void {
    const disk = this.#open('r');
    const image = openSync(this.#image, 'w', 0o600);
    try {
      ftruncateSync(image, disk.virtualSize);
      for (let at = 0; at < disk.virtualSize; at += piece) {
        const bytes = disk.read(at, Math.min(piece, disk.virtualSize - at));
        if (!isNothing(bytes)) writeSync(image, bytes, 0, bytes.length, at);
      }
    } finally {
      closeSync(image);
      disk.close();
    }
  }

  #copyIn(): void {
    const disk = this.#open('r+');
    const image = openSync(this.#image, 'r');
    const buffer = Buffer.alloc(piece);
    try {
      for (let at = 0; at < disk.virtualSize; at += piece) {
        const bytes = buffer.subarray(
          0,
          readSync(image, buffer, 0, Math.min(piece, disk.virtualSize - at), at),
        );
        if (!bytes.equals(disk.read(at, bytes.length))) disk.write(at, bytes);
      }
    } finally {
      closeSync(image);
      disk.close();
    }
  }
}

function isNothing(bytes: Buffer): boolean {
  return bytes.equals(nothing.subarray(0, bytes.length));
}
