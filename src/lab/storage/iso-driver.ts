/** ISO libraries: every image of a share is a read-only VDI named by its file (xapi.md 7.4, 7.8). */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openRaw } from './directory.ts';
import { type Context, type Driver, fileSystemSpace } from './driver.ts';
import { backendFailure, probeNotSupported } from './errors.ts';
import { fabricOf, type Mount } from './fabric.ts';

function mount(context: Context): Mount {
  const { deviceConfig, pool, host } = context;
  const location = deviceConfig['location'] ?? backendFailure(220);
  const fabric = fabricOf(pool);
  if (location.startsWith('\\\\') || location.startsWith('//')) {
    const [server = '', ...path] = location.split(/[\\/]/).filter((part) => part !== '');
    return fabric.mount(pool, server, `\\${path.join('\\')}`, host.address) ?? backendFailure(224);
  }
  const match = /^([^/:]+):(\/.*)$/.exec(location);
  if (match !== null) {
    const [, server = '', path = ''] = match;
    return (
      fabric.mount(pool, server, path, host.address) ??
      backendFailure(222, `mount failed on server \`${server}\` with return code 110`)
    );
  }
  if (deviceConfig['type'] === 'nfs_iso' || deviceConfig['type'] === 'cifs') backendFailure(225);
  if (!location.startsWith('/')) backendFailure(226);
  return fabric.mount(pool, '', location, host.address) ?? fabric.local(host.name, location);
}

export const iso: Driver = {
  name: 'iso',
  description: 'ISO',
  capabilities: ['SR_ATTACH', 'SR_DETACH', 'SR_SCAN', 'VDI_ATTACH', 'VDI_CREATE', 'VDI_DELETE', 'VDI_DETACH'],
  probe: probeNotSupported,
  create: (context) => {
    mount(context);
  },
  attach(context) {
    const { directory, access } = mount(context);
    return {
      access,
      disks: null,
      lun: null,
      scan() {
        if (access() === 'none') backendFailure(40, 'Stale file handle');
        return readdirSync(directory)
          .filter((name) => /\.(?:iso|img)$/i.test(name))
          .sort()
          .map((name) => {
            const { size } = statSync(join(directory, name));
            return {
              uuid: null,
              location: name,
              virtualSize: size,
              physicalSize: size,
              hidden: false,
              readOnly: true,
              smConfig: {},
              nameLabel: name,
              metadata: null,
            };
          });
      },
      space: () => fileSystemSpace(directory),
      open: (location) => {
        const path = join(directory, location);
        return openRaw(path, 'r', statSync(path).size);
      },
    };
  },
  remove: () => undefined,
};
