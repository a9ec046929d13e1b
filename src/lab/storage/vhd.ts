/**
 * Virtual disks in the VHD format that the storage manager uses: dynamic disks with 2 MiB blocks and differencing
 * disks whose parent lies beside them (xapi.md 7.8, 9.3). Sizes and offsets are bytes. Everything a scan needs is in
 * the file, so that a plain copy of a directory is a replica.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const sector = 512;
const blockBytes = 2 * 1024 * 1024;
const sectorsPerBlock = blockBytes / sector;
const unallocated = 0xffffffff;
const headerAt = sector;
const tableAt = sector + 1024;
/** Seconds between 1970 and 2000, where the format's clock begins. */
const formatEpoch = 946_684_800;
const hiddenAt = 85;

export interface VhdInfo {
  /** The identity inside the file, which a child names as its parent; not the VDI's uuid. */
  readonly id: string;
  readonly virtualSize: number;
  readonly kind: 'fixed' | 'dynamic' | 'differencing';
  readonly hidden: boolean;
  /** File name of the parent, as the child's header names it. */
  readonly parentFile: string | null;
}

/** A disk size as the storage manager rounds it: up to whole blocks. */
export function roundedSize(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / blockBytes)) * blockBytes;
}

/** Makes an empty dynamic disk; with a parent a differencing one of the parent's size. Fails when the file is there. */
export function createVhd(
  path: string,
  options: { readonly virtualSize: number; readonly nowMillis: number; readonly parent?: string },
): void {
  const entries = Math.ceil(options.virtualSize / blockBytes);
  const tableBytes = roundUp(entries * 4);
  const batmapAt = tableAt + tableBytes;
  const batmapBytes = roundUp(Math.ceil(entries / 8));
  const locatorsAt = batmapAt + sector + batmapBytes;
  const locators = options.parent === undefined ? [] : parentLocators(basename(options.parent));
  const footerAt = locatorsAt + locators.length * sector;
  const file = Buffer.alloc(footerAt + sector);

  const footer = makeFooter(options.virtualSize, options.parent === undefined ? 3 : 4, options.nowMillis);
  footer.copy(file, 0);
  footer.copy(file, footerAt);

  const header = file.subarray(headerAt, tableAt);
  header.write('cxsparse', 0, 'latin1');
  header.fill(0xff, 8, 16);
  header.writeBigUInt64BE(BigInt(tableAt), 16);
  header.writeUInt32BE(0x00010000, 24);
  header.writeUInt32BE(entries, 28);
  header.writeUInt32BE(blockBytes, 32);
  if (options.parent !== undefined) {
    const parent = inspectVhd(options.parent);
    Buffer.from(parent.id.replaceAll('-', ''), 'hex').copy(header, 40);
    header.writeUInt32BE(Math.floor(options.nowMillis / 1000) - formatEpoch, 56);
    Buffer.from(basename(options.parent), 'utf16le').swap16().copy(header, 64);
    locators.forEach((locator, i) => {
      const at = 576 + i * 24;
      header.write(locator.code, at, 'latin1');
      header.writeUInt32BE(1, at + 4);
      header.writeUInt32BE(locator.text.length, at + 8);
      header.writeBigUInt64BE(BigInt(locatorsAt + i * sector), at + 16);
      locator.text.copy(file, locatorsAt + i * sector);
    });
  }
  header.writeUInt32BE(checksum(header, 36), 36);
  file.fill(0xff, tableAt, tableAt + tableBytes);

  const batmap = file.subarray(batmapAt, batmapAt + sector);
  batmap.write('tdbatmap', 0, 'latin1');
  batmap.writeBigUInt64BE(BigInt(batmapAt + sector), 8);
  batmap.writeUInt32BE(batmapBytes / sector, 16);
  batmap.writeUInt32BE(0x00010002, 20);
  batmap.writeUInt32BE(0xffffffff, 24);

  const fd = openSync(path, 'wx', 0o600);
  try {
    writeSync(fd, file, 0, file.length, 0);
  } finally {
    closeSync(fd);
  }
}

/** Reads footer and header. Throws an Error that says what is wrong with the file. */
export function inspectVhd(path: string): VhdInfo {
  const fd = openSync(path, 'r');
  try {
    return readInfo(fd, path);
  } finally {
    closeSync(fd);
  }
}

/** Marks a disk as an inner node of a chain, which no VM may use itself. */
export function hideVhd(path: string): void {
  const fd = openSync(path, 'r+');
  try {
    const size = fstatSync(fd).size;
    const footer = readFooter(fd, size, path);
    footer.writeUInt8(1, hiddenAt);
    writeFooter(fd, footer, size - sector);
  } finally {
    closeSync(fd);
  }
}

/** True when no block was ever written to the file itself. */
export function isEmptyVhd(path: string): boolean {
  const disk = openVhd(path, 'r');
  try {
    return disk.allocatedBlocks === 0;
  } finally {
    disk.close();
  }
}

/** A disk that is read and written at byte offsets, whatever its format. */
export interface Disk {
  readonly virtualSize: number;
  /** Bytes at an offset; beyond the end of the disk it throws. */
  read(offset: number, length: number): Buffer;
  write(offset: number, bytes: Uint8Array): void;
  close(): void;
}

export interface VhdDisk extends Disk {
  readonly allocatedBlocks: number;
}

/** Opens a disk with its chain of parents. */
export function openVhd(path: string, mode: 'r' | 'r+'): VhdDisk {
  return new Vhd(path, mode);
}

class Vhd implements VhdDisk {
  readonly virtualSize: number;
  readonly #fd: number;
  readonly #table: Buffer;
  readonly #tableAt: number;
  readonly #fixed: boolean;
  readonly #parent: Vhd | null;
  #footerAt: number;

  constructor(path: string, mode: 'r' | 'r+') {
    this.#fd = openSync(path, mode);
    try {
      const info = readInfo(this.#fd, path);
      this.virtualSize = info.virtualSize;
      this.#fixed = info.kind === 'fixed';
      this.#footerAt = fstatSync(this.#fd).size - sector;
      if (this.#fixed) {
        this.#table = Buffer.alloc(0);
        this.#tableAt = 0;
      } else {
        const header = readAt(this.#fd, headerAt, 1024);
        this.#tableAt = Number(header.readBigUInt64BE(16));
        this.#table = readAt(this.#fd, this.#tableAt, header.readUInt32BE(28) * 4);
      }
      this.#parent = info.parentFile === null ? null : new Vhd(join(dirname(path), info.parentFile), 'r');
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  get allocatedBlocks(): number {
    let count = 0;
    for (let i = 0; i < this.#table.length; i += 4)
      if (this.#table.readUInt32BE(i) !== unallocated) count += 1;
    return count;
  }

  read(offset: number, length: number): Buffer {
    this.#check(offset, length);
    if (this.#fixed) return readAt(this.#fd, offset, length);
    const out = Buffer.alloc(length);
    for (let at = offset; at < offset + length; ) {
      const block = Math.floor(at / blockBytes);
      const end = Math.min(offset + length, (block + 1) * blockBytes);
      this.#readBlock(block, at, out.subarray(at - offset, end - offset));
      at = end;
    }
    return out;
  }

  #readBlock(block: number, from: number, out: Buffer): void {
    const start = this.#table.readUInt32BE(block * 4);
    if (start === unallocated) {
      if (this.#parent !== null && from < this.#parent.virtualSize) {
        const length = Math.min(out.length, this.#parent.virtualSize - from);
        this.#parent.read(from, length).copy(out);
      }
      return;
    }
    const dataAt = start * sector + sector;
    if (this.#parent === null) {
      readAt(this.#fd, dataAt + (from % blockBytes), out.length).copy(out);
      return;
    }
    const bitmap = readAt(this.#fd, start * sector, sector);
    const end = from + out.length;
    for (let at = from; at < end; ) {
      const index = Math.floor((at % blockBytes) / sector);
      const ours = ((bitmap[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
      const next = Math.min(end, (Math.floor(at / sector) + 1) * sector);
      const bytes = ours
        ? readAt(this.#fd, dataAt + (at % blockBytes), next - at)
        : this.#parent.read(at, next - at);
      bytes.copy(out, at - from);
      at = next;
    }
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#check(offset, bytes.length);
    if (this.#fixed) {
      writeSync(this.#fd, bytes, 0, bytes.length, offset);
      return;
    }
    const end = offset + bytes.length;
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / blockBytes);
      const next = Math.min(end, (block + 1) * blockBytes);
      this.#writeBlock(block, at, bytes.subarray(at - offset, next - offset));
      at = next;
    }
  }

  #writeBlock(block: number, offset: number, bytes: Uint8Array): void {
    // Whole sectors only: the rest of the first and last one comes from what can be read there now.
    const first = Math.floor(offset / sector) * sector;
    const last = Math.min(Math.ceil((offset + bytes.length) / sector) * sector, this.virtualSize);
    const whole = this.read(first, last - first);
    whole.set(bytes, offset - first);
    const start = this.#allocated(block);
    const bitmap = readAt(this.#fd, start * sector, sector);
    for (let at = first; at < last; at += sector) {
      const index = Math.floor((at % blockBytes) / sector);
      bitmap[index >> 3] = (bitmap[index >> 3] ?? 0) | (0x80 >> (index & 7));
    }
    writeSync(this.#fd, whole, 0, whole.length, start * sector + sector + (first % blockBytes));
    writeSync(this.#fd, bitmap, 0, sector, start * sector);
  }

  #allocated(block: number): number {
    const known = this.#table.readUInt32BE(block * 4);
    if (known !== unallocated) return known;
    const footer = readAt(this.#fd, this.#footerAt, sector);
    const start = this.#footerAt / sector;
    ftruncateSync(this.#fd, this.#footerAt);
    this.#footerAt += sector + sectorsPerBlock * sector;
    ftruncateSync(this.#fd, this.#footerAt + sector);
    writeSync(this.#fd, footer, 0, sector, this.#footerAt);
    this.#table.writeUInt32BE(start, block * 4);
    writeSync(this.#fd, this.#table, block * 4, 4, this.#tableAt + block * 4);
    return start;
  }

  #check(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.virtualSize)
      throw new RangeError(`${offset}+${length} lies outside a disk of ${this.virtualSize} bytes`);
  }

  close(): void {
    this.#parent?.close();
    closeSync(this.#fd);
  }
}

function makeFooter(size: number, type: number, nowMillis: number): Buffer {
  const footer = Buffer.alloc(sector);
  footer.write('conectix', 0, 'latin1');
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(0x00010000, 12);
  footer.writeBigUInt64BE(BigInt(headerAt), 16);
  footer.writeUInt32BE(Math.floor(nowMillis / 1000) - formatEpoch, 24);
  footer.write('tap\0', 28, 'latin1');
  footer.writeUInt32BE(0x00010003, 32);
  footer.writeBigUInt64BE(BigInt(size), 40);
  footer.writeBigUInt64BE(BigInt(size), 48);
  footer.writeUInt32BE(geometry(size), 56);
  footer.writeUInt32BE(type, 60);
  Buffer.from(randomUUID().replaceAll('-', ''), 'hex').copy(footer, 68);
  footer.writeUInt32BE(checksum(footer, 64), 64);
  return footer;
}

function writeFooter(fd: number, footer: Buffer, endAt: number): void {
  footer.writeUInt32BE(0, 64);
  footer.writeUInt32BE(checksum(footer, 64), 64);
  writeSync(fd, footer, 0, sector, endAt);
  if (footer.readUInt32BE(60) !== 2) writeSync(fd, footer, 0, sector, 0);
}

function readFooter(fd: number, size: number, path: string): Buffer {
  if (size < sector) throw new Error(`${path}: too short for a VHD`);
  const footer = readAt(fd, size - sector, sector);
  if (footer.toString('latin1', 0, 8) !== 'conectix') throw new Error(`${path}: no VHD footer at its end`);
  const sum = footer.readUInt32BE(64);
  if (sum !== checksum(footer, 64)) throw new Error(`${path}: checksum of the VHD footer is wrong`);
  return footer;
}

function readInfo(fd: number, path: string): VhdInfo {
  const footer = readFooter(fd, fstatSync(fd).size, path);
  const type = footer.readUInt32BE(60);
  const kind = type === 2 ? 'fixed' : type === 3 ? 'dynamic' : type === 4 ? 'differencing' : null;
  if (kind === null) throw new Error(`${path}: unknown VHD type ${type}`);
  let parentFile: string | null = null;
  if (kind !== 'fixed') {
    const header = readAt(fd, headerAt, 1024);
    if (header.toString('latin1', 0, 8) !== 'cxsparse') throw new Error(`${path}: no VHD header`);
    if (kind === 'differencing')
      parentFile = Buffer.from(header.subarray(64, 576)).swap16().toString('utf16le').replace(/\0.*$/s, '');
  }
  return {
    id: footer.toString('hex', 68, 84).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    virtualSize: Number(footer.readBigUInt64BE(48)),
    kind,
    hidden: footer.readUInt8(hiddenAt) !== 0,
    parentFile,
  };
}

function parentLocators(name: string): { readonly code: string; readonly text: Buffer }[] {
  return [
    { code: 'MacX', text: Buffer.from(`file://./${name}`) },
    { code: 'W2ku', text: Buffer.from(`.\\${name}`, 'utf16le') },
    { code: 'W2ru', text: Buffer.from(`.\\${name}`, 'utf16le') },
  ];
}

/** The format's sum: ones' complement over all bytes but the four of the sum itself. */
function checksum(bytes: Buffer, sumAt: number): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 1) if (i < sumAt || i >= sumAt + 4) sum += bytes[i] ?? 0;
  return ~sum >>> 0;
}

/** Cylinders, heads and sectors as the format's appendix computes them. */
function geometry(size: number): number {
  const total = Math.min(Math.floor(size / sector), 65535 * 16 * 255);
  let sectors = 17;
  let heads = Math.max(4, Math.floor((Math.floor(total / 17) + 1023) / 1024));
  let tracks = Math.floor(total / 17);
  if (total >= 65535 * 16 * 63) {
    sectors = 255;
    heads = 16;
    tracks = Math.floor(total / sectors);
  } else if (tracks >= heads * 1024 || heads > 16) {
    sectors = 31;
    heads = 16;
    tracks = Math.floor(total / sectors);
    if (tracks >= heads * 1024) {
      sectors = 63;
      tracks = Math.floor(total / sectors);
    }
  }
  return ((Math.floor(tracks / heads) << 16) | (heads << 8) | sectors) >>> 0;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / sector) * sector;
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const count = readSync(fd, bytes, done, length - done, offset + done);
    if (count === 0) break;
    done += count;
  }
  return bytes;
}
