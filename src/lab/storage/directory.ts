/**
 * A directory of virtual disks: `<uuid>.vhd` or `<uuid>.raw`, as every file SR keeps them (xapi.md 7.8) and as the lab
 * keeps the logical volumes of a LUN. Knows files only, no records.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createVhd, type Disk, hideVhd, inspectVhd, isEmptyVhd, openVhd, roundedSize } from './vhd.ts';

export interface DiskFile {
  readonly uuid: string;
  readonly format: 'vhd' | 'raw';
  readonly virtualSize: number;
  /** Bytes that the file takes up. */
  readonly physicalSize: number;
  readonly parent: string | null;
  readonly hidden: boolean;
}

/** A file that looks like a disk and cannot be read as one. */
export class DamagedDisk extends Error {
  readonly uuid: string;
  constructor(uuid: string, reason: string) {
    super(reason);
    this.name = 'DamagedDisk';
    this.uuid = uuid;
  }
}

const uuidPattern = '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}';
const diskName = new RegExp(`^(${uuidPattern})\\.(vhd|raw)$`);
export const uuidName = new RegExp(`^${uuidPattern}$`);

export class DiskDirectory {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }

  /** All disks; throws `DamagedDisk` for the first file that is none. */
  list(): DiskFile[] {
    const disks: DiskFile[] = [];
    for (const name of readdirSync(this.path).sort()) {
      const match = diskName.exec(name);
      if (match !== null) disks.push(this.#inspect(match[1] ?? '', match[2] === 'raw' ? 'raw' : 'vhd'));
    }
    return disks;
  }

  find(uuid: string): DiskFile | null {
    for (const format of ['vhd', 'raw'] as const)
      if (existsSync(this.#file(uuid, format))) return this.#inspect(uuid, format);
    return null;
  }

  #file(uuid: string, format: 'vhd' | 'raw'): string {
    return join(this.path, `${uuid}.${format}`);
  }

  #inspect(uuid: string, format: 'vhd' | 'raw'): DiskFile {
    const path = this.#file(uuid, format);
    const size = statSync(path).size;
    if (format === 'raw')
      return { uuid, format, virtualSize: size, physicalSize: size, parent: null, hidden: false };
    try {
      const info = inspectVhd(path);
      const parent = info.parentFile === null ? null : info.parentFile.replace(/\.vhd$/, '');
      return { uuid, format, virtualSize: info.virtualSize, physicalSize: size, parent, hidden: info.hidden };
    } catch (error) {
      throw new DamagedDisk(uuid, error instanceof Error ? error.message : String(error));
    }
  }

  create(uuid: string, bytes: number, format: 'vhd' | 'raw', nowMillis: number): DiskFile {
    const virtualSize = roundedSize(bytes);
    if (format === 'vhd') createVhd(this.#file(uuid, 'vhd'), { virtualSize, nowMillis });
    else {
      const fd = openSync(this.#file(uuid, 'raw'), 'wx', 0o600);
      ftruncateSync(fd, virtualSize);
      closeSync(fd);
    }
    return this.#inspect(uuid, format);
  }

  /**
   * Splits a disk: its content becomes the hidden parent `base`, the disk itself and `child` become empty leaves of it.
   * Where nothing was written since the last split, the leaves share the parent that is there, and no base is made.
   */
  split(uuid: string, child: string, base: string, nowMillis: number): { readonly baseMade: boolean } {
    const leaf = this.#file(uuid, 'vhd');
    const info = inspectVhd(leaf);
    const virtualSize = info.virtualSize;
    if (info.parentFile !== null && isEmptyVhd(leaf)) {
      createVhd(this.#file(child, 'vhd'), {
        virtualSize,
        nowMillis,
        parent: join(this.path, info.parentFile),
      });
      return { baseMade: false };
    }
    const parent = this.#file(base, 'vhd');
    renameSync(leaf, parent);
    hideVhd(parent);
    createVhd(leaf, { virtualSize, nowMillis, parent });
    createVhd(this.#file(child, 'vhd'), { virtualSize, nowMillis, parent });
    return { baseMade: true };
  }

  /** Copies the content of one disk into another of at least its size; what is zero is left out. */
  fill(from: Disk, to: Disk): void {
    copyContent(from, to);
  }

  /** Makes a disk larger; the new room reads as zeros. */
  grow(uuid: string, bytes: number, nowMillis: number): DiskFile {
    const disk = this.find(uuid);
    if (disk === null) throw new DamagedDisk(uuid, 'no such disk');
    const size = roundedSize(bytes);
    if (disk.format === 'raw') {
      const fd = openSync(this.#file(uuid, 'raw'), 'r+');
      ftruncateSync(fd, size);
      closeSync(fd);
      return this.#inspect(uuid, 'raw');
    }
    const old = openVhd(this.#file(uuid, 'vhd'), 'r');
    const larger = `${this.#file(uuid, 'vhd')}.growing`;
    try {
      createVhd(larger, {
        virtualSize: size,
        nowMillis,
        ...(disk.parent === null ? {} : { parent: this.#file(disk.parent, 'vhd') }),
      });
      const grown = openVhd(larger, 'r+');
      copyContent(old, grown);
      grown.close();
    } finally {
      old.close();
    }
    renameSync(larger, this.#file(uuid, 'vhd'));
    return this.#inspect(uuid, 'vhd');
  }

  delete(uuid: string): void {
    for (const format of ['vhd', 'raw'] as const) rmSync(this.#file(uuid, format), { force: true });
  }

  /** Hidden parents that no disk needs any more, deepest last; what the storage manager's collector removes. */
  orphans(): string[] {
    const disks = this.list();
    const needed = new Set(disks.map((d) => d.parent));
    return disks.filter((d) => d.hidden && !needed.has(d.uuid)).map((d) => d.uuid);
  }

  open(uuid: string, mode: 'r' | 'r+'): Disk {
    const disk = this.find(uuid);
    if (disk === null) throw new DamagedDisk(uuid, 'no such disk');
    return disk.format === 'vhd'
      ? openVhd(this.#file(uuid, 'vhd'), mode)
      : openRaw(this.#file(uuid, 'raw'), mode, disk.virtualSize);
  }
}

const copyPiece = 1024 * 1024;
const zeros = Buffer.alloc(copyPiece);

/** Copies what is not zero. */
function copyContent(from: Disk, to: Disk): void {
  for (let at = 0; at < from.virtualSize; at += copyPiece) {
    const bytes = from.read(at, Math.min(copyPiece, from.virtualSize - at));
    if (!bytes.equals(zeros.subarray(0, bytes.length))) to.write(at, bytes);
  }
}

/** A plain file as a disk: raw disks and ISO images. */
export function openRaw(path: string, mode: 'r' | 'r+', virtualSize: number): Disk {
  const fd = openSync(path, mode);
  const check = (offset: number, length: number): void => {
    if (offset < 0 || offset + length > virtualSize)
      throw new RangeError(`${offset}+${length} lies outside a disk of ${virtualSize} bytes`);
  };
  return {
    virtualSize,
    read(offset, length) {
      check(offset, length);
      const bytes = Buffer.alloc(length);
      readSync(fd, bytes, 0, length, offset);
      return bytes;
    },
    write(offset, bytes) {
      check(offset, bytes.length);
      writeSync(fd, bytes, 0, bytes.length, offset);
    },
    close: () => closeSync(fd),
  };
}
