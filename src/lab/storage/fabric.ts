/**
 * What hosts can reach: NFS shares, iSCSI targets and Fibre Channel LUNs. A share or LUN is a real directory; an array
 * behind it may take it away or make it read-only at any time, so access is asked at each use.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabHost, LabPool } from '../core/pool.ts';

/** `none`: the device does not answer, or is not presented. */
export type Access = 'rw' | 'ro' | 'none';

export interface Share {
  /** Address of the NFS server; null for any. */
  readonly server: string | null;
  /** Export path, such as `/exports/prod1`. */
  readonly path: string;
  readonly directory: string;
  access(): Access;
  /** May the host of this address mount it? Absent: every host. */
  admits?(address: string): boolean;
  /** Who may mount an SMB share; absent: everybody. */
  readonly login?: { readonly username: string; readonly password: string };
  /** A copy made for a drill. */
  readonly isolated?: boolean;
}

export interface Lun {
  readonly scsiId: string;
  readonly serial: string;
  readonly vendor: string;
  readonly lunId: number;
  readonly sizeBytes: number;
  /** Holds `vg.json` and the disks of the volume group: a copy of the directory is a copy of the LUN. */
  readonly directory: string;
  access(): Access;
  /** Is it presented to the host of this address (LUN mask)? Absent: to every host that reaches the target or port. */
  admits?(address: string): boolean;
  /** A copy made for a drill. */
  readonly isolated?: boolean;
}

/** One portal of a target: a target with several portals is several of these, with one IQN and the same LUNs. */
export interface IscsiTarget {
  /** Portal address, without the port. */
  readonly address: string;
  readonly port: number;
  readonly iqn: string;
  readonly chap?: { readonly user: string; readonly password: string };
  /** What the target says of itself when the host asks back (`incoming_chapuser`). */
  readonly incomingChap?: { readonly user: string; readonly password: string };
  readonly luns: readonly Lun[];
  /** Does the portal answer? Absent: yes. */
  up?(): boolean;
}

/** LUNs that Fibre Channel adapters see. */
export interface FibreChannel {
  /** Names of the hosts whose adapters are zoned to it; null for all. */
  readonly hosts: readonly string[] | null;
  readonly luns: readonly Lun[];
  /** Ways from each host to its LUNs; absent: one. */
  readonly paths?: number;
}

/** A directory that a host has mounted. */
export interface Mount {
  readonly directory: string;
  access(): Access;
  readonly login?: Share['login'];
  readonly isolated?: boolean;
}

/** The volume group on a LUN, with the metadata volume of xapi.md 7.7. */
export interface VolumeGroup {
  /** The SR's uuid: the group is called VG_XenStorage-<uuid>. */
  readonly sr: string;
  nameLabel: string;
  nameDescription: string;
  volumes: Record<string, VolumeMetadata>;
}

export interface VolumeMetadata {
  nameLabel: string;
  nameDescription: string;
  isASnapshot: boolean;
  snapshotOf: string;
  snapshotTime: string;
  type: string;
  readOnly: boolean;
  managed: boolean;
}

export class Fabric {
  readonly shares: Share[] = [];
  readonly targets: IscsiTarget[] = [];
  readonly fibreChannel: FibreChannel[] = [];
  /** Local disks of hosts: `<host name>:<device>` such as `tokyo1:/dev/sdb`. */
  readonly localDisks = new Map<string, Lun>();
  /** Hosts that lack the client of a file system: `<host name>:<SR type>` such as `tokyo1:cephfs`. */
  readonly withoutClient = new Set<string>();
  /** Where local paths of hosts lie (`file` SRs, local ISO libraries). */
  readonly localRoot: string;

  constructor(localRoot: string) {
    this.localRoot = localRoot;
  }

  /** Shares of a server, with the ones that any server has. */
  sharesOf(pool: LabPool, server: string): Share[] {
    const open = [...pool.exports].map(
      ([path, directory]): Share => ({ server: null, path, directory, access: () => 'rw' }),
    );
    return [...this.shares, ...open].filter((s) => s.server === null || s.server === server);
  }

  /** Mounts a path of a server, or a directory below an exported one, on a host; null when the server refuses. */
  mount(pool: LabPool, server: string, path: string, from: string): Mount | null {
    const clean = path.replace(/\/+$/, '');
    const share = this.sharesOf(pool, server)
      .filter((s) => clean === s.path || clean.startsWith(`${s.path}/`))
      .sort((a, b) => b.path.length - a.path.length)[0];
    if (share === undefined || share.access() === 'none' || share.admits?.(from) === false) return null;
    const below = clean.slice(share.path.length + 1);
    if (below.split('/').includes('..')) return null;
    const directory = below === '' ? share.directory : join(share.directory, below);
    if (!existsSync(directory) || !statSync(directory).isDirectory()) return null;
    return {
      directory,
      access: () => share.access(),
      isolated: share.isolated === true,
      ...(share.login === undefined ? {} : { login: share.login }),
    };
  }

  /** A directory of a host's own file system, made when missing. */
  local(host: string, path: string): Mount {
    const clean = path.split('/').filter((part) => part !== '' && part !== '.' && part !== '..');
    const directory = join(this.localRoot, host, ...clean);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return { directory, access: () => 'rw' };
  }

  /** LUNs that the Fibre Channel adapters of a host see: zoned, presented, and answering. */
  visibleLuns(host: LabHost): Lun[] {
    const zoned = this.fibreChannel.filter((f) => f.hosts === null || f.hosts.includes(host.name));
    return zoned.flatMap((f) => f.luns).filter((lun) => isPresented(lun, host));
  }

  /** Ways from a host to a LUN that it sees over Fibre Channel. */
  pathsTo(host: LabHost, lun: Lun): number {
    const zoned = this.fibreChannel.filter((f) => f.hosts === null || f.hosts.includes(host.name));
    return zoned.filter((f) => f.luns.includes(lun)).reduce((sum, f) => sum + (f.paths ?? 1), 0);
  }
}

export function isPresented(lun: Lun, host: LabHost): boolean {
  return lun.access() !== 'none' && lun.admits?.(host.address) !== false;
}

const groupFile = 'vg.json';

export function readVolumeGroup(lun: Lun): VolumeGroup | null {
  const path = join(lun.directory, groupFile);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as VolumeGroup) : null;
}

export function writeVolumeGroup(lun: Lun, group: VolumeGroup): void {
  mkdirSync(lun.directory, { recursive: true, mode: 0o700 });
  writeFileSync(join(lun.directory, groupFile), `${JSON.stringify(group, null, 1)}\n`, { mode: 0o600 });
}

const fabrics = new WeakMap<LabPool, Fabric>();

export function setFabric(pool: LabPool, fabric: Fabric): void {
  fabrics.set(pool, fabric);
}

export function fabricOf(pool: LabPool): Fabric {
  const fabric = fabrics.get(pool);
  if (fabric === undefined) throw new Error(`pool ${pool.name} has no fabric`);
  return fabric;
}
