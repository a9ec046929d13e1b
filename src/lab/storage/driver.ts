/** What a storage driver of the lab does: probe a device, format it, attach it on a host and show its disks. */
import { statfsSync } from 'node:fs';
import type { LabHost, LabPool } from '../core/pool.ts';
import type { DiskDirectory } from './directory.ts';
import type { Access, Lun, VolumeMetadata } from './fabric.ts';
import type { Disk } from './vhd.ts';

/** A device seen from one host, with the clear passwords of its device_config. */
export interface Context {
  readonly pool: LabPool;
  readonly host: LabHost;
  readonly deviceConfig: Readonly<Record<string, string>>;
  readonly smConfig: Readonly<Record<string, string>>;
}

/** A disk as a scan reports it. */
export interface ScannedDisk {
  readonly uuid: string | null;
  readonly location: string;
  readonly virtualSize: number;
  readonly physicalSize: number;
  readonly hidden: boolean;
  readonly readOnly: boolean;
  readonly smConfig: Readonly<Record<string, string>>;
  /** A name that new records get. */
  readonly nameLabel: string;
  /** What the metadata volume of an LVM SR knows about it. */
  readonly metadata: VolumeMetadata | null;
}

/** An SR that is attached on one host. */
export interface Backend {
  access(): Access;
  /** The disks; null where they are not files of ours (ISO libraries). */
  readonly disks: DiskDirectory | null;
  scan(): ScannedDisk[];
  space(): { readonly total: number; readonly used: number };
  open(location: string, mode: 'r' | 'r+'): Disk;
  /** The LUN under an LVM SR. */
  readonly lun: Lun | null;
  /** Ways to the LUN that are in use, and that there are; absent where nothing counts them (xapi.md 7.11). */
  readonly paths?: { readonly up: number; readonly total: number };
  /** True for a copy made for a drill: its writers are nobody's twins. */
  isolated?(): boolean;
}

export interface Driver {
  readonly name: string;
  readonly description: string;
  readonly capabilities: readonly string[];
  /** Devices of device_config in the order of the driver's manual. */
  probe(context: Context): string;
  /** Makes an SR on the device; whatever was there is lost. */
  create(context: Context, sr: string): void;
  attach(context: Context, sr: string): Backend;
  /** Takes an SR off its device. */
  remove(context: Context, sr: string): void;
}

/** Size and use of the file system under a directory. */
export function fileSystemSpace(directory: string): { readonly total: number; readonly used: number } {
  const found = statfsSync(directory);
  return { total: found.bsize * found.blocks, used: found.bsize * (found.blocks - found.bfree) };
}
