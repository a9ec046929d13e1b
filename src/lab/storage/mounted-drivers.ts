/**
 * Drivers of XCP-ng that mount a file system of their own kind: cephfs, glusterfs, moosefs (xapi.md 7.4, 7.8). They lack
 * what the NFS driver checks: a plug does not look whether the SR's directory is there or can be written to.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { uuidName } from './directory.ts';
import type { Context, Driver } from './driver.ts';
import { backendFailure, plainFailure, pythonException } from './errors.ts';
import { fabricOf, type Mount } from './fabric.ts';
import { fileBackend, srList } from './file-drivers.ts';

const capabilities = [
  'SR_PROBE',
  'SR_UPDATE',
  'VDI_CLONE',
  'VDI_CREATE',
  'VDI_DELETE',
  'VDI_ATTACH',
  'VDI_DETACH',
  'VDI_GENERATE_CONFIG',
  'VDI_MIRROR',
  'VDI_RESET_ON_BOOT',
  'VDI_RESIZE',
  'VDI_SNAPSHOT',
  'VDI_UPDATE',
];

interface Kind {
  readonly name: string;
  readonly description: string;
  /** The program that the driver looks for on the host. */
  readonly client: string;
  /** Server and path in the order in which they are tried. */
  addresses(context: Context): readonly { readonly server: string; readonly path: string }[];
}

const refused = 'mount failed with return code 32';

/** Null when nobody lets the host mount it. `SR_BACKEND_FAILURE_47` where the client is missing. */
function mount(kind: Kind, context: Context): Mount | null {
  const fabric = fabricOf(context.pool);
  if (fabric.withoutClient.has(`${context.host.name}:${kind.name}`))
    backendFailure(47, `${kind.client} is not installed`);
  for (const { server, path } of kind.addresses(context)) {
    const found = fabric.mount(context.pool, server, path, context.host.address);
    if (found !== null) return found;
  }
  return null;
}

function driverFor(kind: Kind): Driver {
  return {
    name: kind.name,
    description: kind.description,
    capabilities,
    probe(context) {
      // The driver does not catch its own exception here.
      const { directory } = mount(kind, context) ?? pythonException(refused);
      return srList(
        readdirSync(directory)
          .filter((name) => uuidName.test(name) && statSync(join(directory, name)).isDirectory())
          .sort(),
      );
    },
    create(context, sr) {
      const { directory } = mount(kind, context) ?? plainFailure(111, `mount error [opterr=${refused}]`);
      mkdirSync(join(directory, sr), { recursive: true, mode: 0o700 });
    },
    attach(context, sr) {
      const found = mount(kind, context) ?? plainFailure(12, refused);
      return fileBackend(found, join(found.directory, sr));
    },
    remove(context, sr) {
      const found = mount(kind, context);
      if (found !== null) rmSync(join(found.directory, sr), { recursive: true, force: true });
    },
  };
}

function need(context: Context, key: string): string {
  return context.deviceConfig[key] ?? pythonException(`'${key}'`);
}

export const cephfs = driverFor({
  name: 'cephfs',
  description: 'CephFS VHD',
  client: 'ceph',
  addresses(context) {
    const servers = (context.deviceConfig['server'] ?? backendFailure(102)).split(',');
    const path = need(context, 'serverpath');
    return servers.map((server) => ({ server, path }));
  },
});

/** `server:/volume`; the backup servers are asked for the same volume when the first one is silent. */
export const glusterfs = driverFor({
  name: 'glusterfs',
  description: 'GlusterFS VHD',
  client: 'glusterfs',
  addresses(context) {
    const [server = '', path = ''] = (context.deviceConfig['server'] ?? backendFailure(102)).split(':');
    const backups = context.deviceConfig['backupservers']?.split(':') ?? [];
    return [server, ...backups].map((each) => ({ server: each, path }));
  },
});

export const moosefs = driverFor({
  name: 'moosefs',
  description: 'MooseFS VHD',
  client: 'MooseFS client',
  addresses: (context) => [{ server: need(context, 'masterhost'), path: need(context, 'rootpath') }],
});
