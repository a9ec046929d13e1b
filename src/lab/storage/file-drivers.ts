/** Drivers that keep disks as files: nfs, smb, ext, file (xapi.md 7.4, 7.8). */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../core/failure.ts';
import { DamagedDisk, DiskDirectory, type DiskFile, uuidName } from './directory.ts';
import { type Backend, type Context, type Driver, fileSystemSpace, type ScannedDisk } from './driver.ts';
import { backendFailure, mountRefused } from './errors.ts';
import { fabricOf, type Mount } from './fabric.ts';
import { element, xmlDocument } from './xml.ts';

const common = [
  'VDI_ACTIVATE',
  'VDI_ATTACH',
  'VDI_CLONE',
  'VDI_CONFIG_CBT',
  'VDI_CREATE',
  'VDI_DEACTIVATE',
  'VDI_DELETE',
  'VDI_DETACH',
  'VDI_GENERATE_CONFIG',
  'VDI_MIRROR',
  'VDI_READ_CACHING',
  'VDI_RESET_ON_BOOT',
  'VDI_RESIZE',
  'VDI_SNAPSHOT',
  'VDI_UPDATE',
];
const shared = ['SR_CACHING', 'SR_PROBE', 'SR_UPDATE', 'THIN_PROVISIONING', ...common];

export function scannedFile(disk: DiskFile): ScannedDisk {
  return {
    uuid: disk.uuid,
    location: disk.uuid,
    virtualSize: disk.virtualSize,
    physicalSize: disk.physicalSize,
    hidden: disk.hidden,
    readOnly: false,
    smConfig:
      disk.format === 'raw' ? { type: 'raw' } : disk.parent === null ? {} : { 'vhd-parent': disk.parent },
    nameLabel: '',
    metadata: null,
  };
}

/** Disks as files of a mounted directory. */
export function fileBackend(mount: Mount, directory: string): Backend {
  const disks = new DiskDirectory(directory);
  return {
    access: () => (existsSync(directory) ? mount.access() : 'none'),
    isolated: () => mount.isolated === true,
    disks,
    lun: null,
    scan() {
      if (this.access() === 'none') backendFailure(40, 'Stale file handle');
      try {
        return disks.list().map(scannedFile);
      } catch (error) {
        if (error instanceof DamagedDisk) backendFailure(40, `uuid=${error.uuid}`);
        throw error;
      }
    },
    space: () => fileSystemSpace(directory),
    open: (location, mode) => disks.open(location, mode),
  };
}

export function srList(uuids: readonly string[], more: readonly ReturnType<typeof element>[] = []): string {
  const srs = uuids.map((uuid) => element('SR', [element('UUID', uuid)]));
  return xmlDocument(element('SRlist', [...srs, ...more]));
}

function subdirectories(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => uuidName.test(name) && statSync(join(directory, name)).isDirectory())
    .sort();
}

function nfsServer(context: Context): string {
  return context.deviceConfig['server'] ?? backendFailure(102);
}

function nfsMount(context: Context, below = ''): Mount {
  const server = nfsServer(context);
  const path = context.deviceConfig['serverpath'] ?? nfsExports(context, server);
  return (
    fabricOf(context.pool).mount(context.pool, server, `${path}${below}`, context.host.address) ??
    mountRefused(server)
  );
}

function nfsExports(context: Context, server: string): never {
  const shares = fabricOf(context.pool)
    .sharesOf(context.pool, server)
    .filter((s) => s.access() !== 'none');
  if (shares.length === 0) backendFailure(108);
  const list = shares.map((share) =>
    element('Export', [element('Target', server), element('Path', share.path), element('Accesslist', '*')]),
  );
  backendFailure(101, '', xmlDocument(element('nfs-exports', list)));
}

function nosubdir(context: Context): boolean {
  return context.smConfig['nosubdir'] === 'true';
}

export const nfs: Driver = {
  name: 'nfs',
  description: 'NFS VHD',
  capabilities: shared,
  probe(context) {
    const mount = nfsMount(context);
    const versions =
      context.deviceConfig['probeversion'] === undefined
        ? []
        : [element('SupportedVersions', [element('Version', '3'), element('Version', '4')])];
    return srList(subdirectories(mount.directory), versions);
  },
  create(context, sr) {
    const mount = nfsMount(context);
    if (mount.access() !== 'rw') backendFailure(461);
    if (!nosubdir(context)) mkdirSync(join(mount.directory, sr), { recursive: true, mode: 0o700 });
  },
  attach(context, sr) {
    const mount = nfsMount(context, nosubdir(context) ? '' : `/${sr}`);
    if (mount.access() !== 'rw') backendFailure(461);
    return fileBackend(mount, mount.directory);
  },
  remove(context, sr) {
    const mount = nfsMount(context);
    if (!nosubdir(context)) rmSync(join(mount.directory, sr), { recursive: true, force: true });
  },
};

function smbMount(context: Context): Mount {
  const server = context.deviceConfig['server'] ?? backendFailure(102);
  const parts = server.split('\\').filter((part) => part !== '');
  const [host = '', ...path] = parts;
  const found =
    fabricOf(context.pool).mount(context.pool, host, `\\${path.join('\\')}`, context.host.address) ??
    backendFailure(111, 'mount failed with return code 2');
  const { username, password } = context.deviceConfig;
  if (found.login !== undefined && (found.login.username !== username || found.login.password !== password))
    backendFailure(111, 'mount failed with return code 13');
  return found;
}

export const smb: Driver = {
  name: 'smb',
  description: 'SMB VHD',
  capabilities: shared,
  probe: (context) => srList(subdirectories(smbMount(context).directory)),
  create(context, sr) {
    mkdirSync(join(smbMount(context).directory, sr), { recursive: true, mode: 0o700 });
  },
  attach(context, sr) {
    const mount = smbMount(context);
    const directory = join(mount.directory, sr);
    if (!existsSync(directory)) backendFailure(111, 'mount failed with return code 2');
    return fileBackend(mount, directory);
  },
  remove(context, sr) {
    rmSync(join(smbMount(context).directory, sr), { recursive: true, force: true });
  },
};

/** A directory of the host itself, or of a share that is mounted there under its export path. */
function fileMount(context: Context): Mount {
  const location = context.deviceConfig['location'] ?? backendFailure(94);
  const fabric = fabricOf(context.pool);
  return (
    fabric.mount(context.pool, '', location, context.host.address) ??
    fabric.local(context.host.name, location)
  );
}

export const file: Driver = {
  name: 'file',
  description: 'Local Path VHD',
  capabilities: [
    'SR_PROBE',
    'SR_UPDATE',
    'THIN_PROVISIONING',
    ...common.filter((c) => !/READ_CACHING|RESET_ON_BOOT|VDI_UPDATE/.test(c)),
  ],
  probe: (context) => srList(subdirectories(fileMount(context).directory)),
  create: (context) => {
    fileMount(context);
  },
  attach(context) {
    const mount = fileMount(context);
    return fileBackend(mount, mount.directory);
  },
  remove: (context) => {
    fileMount(context);
  },
};

function localDevice(context: Context): string {
  return context.deviceConfig['device'] ?? backendFailure(90);
}

/**
 * What stands for a formatted device: a LUN that the host sees, by its SCSIid, or a disk of the host itself. Null for a
 * LUN that is not there.
 */
function deviceOf(context: Context): Mount | null {
  const { host, pool } = context;
  const device = localDevice(context);
  const scsiId = /^\/dev\/disk\/by-id\/scsi-(.+)$/.exec(device)?.[1];
  if (scsiId === undefined) return fabricOf(pool).local(host.name, device);
  const lun = fabricOf(pool)
    .visibleLuns(host)
    .find((seen) => seen.scsiId === scsiId);
  if (lun === undefined) return null;
  mkdirSync(lun.directory, { recursive: true, mode: 0o700 });
  return { directory: lun.directory, access: () => lun.access(), isolated: lun.isolated === true };
}

function deviceDriver(name: string, description: string, capabilities: readonly string[]): Driver {
  return {
    name,
    description,
    capabilities,
    // A device that is not there is one without SRs, as recorded.
    probe(context) {
      const device = deviceOf(context);
      return srList(device === null ? [] : subdirectories(device.directory));
    },
    create(context, sr) {
      const { directory } = deviceOf(context) ?? backendFailure(91);
      for (const old of subdirectories(directory)) rmSync(join(directory, old), { recursive: true });
      mkdirSync(join(directory, sr), { mode: 0o700 });
    },
    attach(context, sr) {
      const device = deviceOf(context);
      const directory = join(device?.directory ?? '', sr);
      if (device === null || !existsSync(directory))
        backendFailure(47, `no such volume group: XSLocalEXT-${sr}`);
      if (device.access() !== 'rw') backendFailure(52, `XSLocalEXT-${sr} is read-only`);
      return fileBackend(device, directory);
    },
    remove(context, sr) {
      const device = deviceOf(context);
      if (device !== null) rmSync(join(device.directory, sr), { recursive: true, force: true });
    },
  };
}

export const ext = deviceDriver('ext', 'Local EXT3 VHD', [
  'SR_PROBE',
  'SR_SUPPORTS_LOCAL_CACHING',
  'SR_UPDATE',
  'THIN_PROVISIONING',
  ...common,
]);
export const localLvm = deviceDriver('lvm', 'Local VHD on LVM', [
  'SR_PROBE',
  'SR_TRIM',
  'SR_UPDATE',
  ...common.filter((c) => !/GENERATE_CONFIG|READ_CACHING/.test(c)),
]);

/** A driver whose records exist and whose devices the lab does not play. */
export function unsupported(
  name: string,
  description: string,
  capabilities: readonly string[],
  refuse: () => never,
): Driver {
  return {
    name,
    description,
    capabilities,
    probe: refuse,
    create: () => fail('SR_OPERATION_NOT_SUPPORTED'),
    attach: () => backendFailure(47),
    remove: () => fail('SR_OPERATION_NOT_SUPPORTED'),
  };
}
