/** btrfs as the rig needs to know it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { RealFiler } from './filer.ts';
import type { Kind } from './pair-rig.ts';

function accessOf(filer: RealFiler, name: string): string {
  const [, volume = name, drill] = /^(.+)\.lifeboat-drill-(.+)$/.exec(name) ?? [];
  const record = drill === undefined ? 'access' : `drills/${drill}.access`;
  const file = join(filer.path(filer.pool), '.lifeboat', volume, record);
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
}

export const btrfsKind: Kind = {
  type: 'btrfs',
  options: (filer) => ({ directory: filer.pool, exports: 'none' }),
  volume: (n) => `v${n}`,
  make: async (filer, volume) => {
    await filer.exec('btrfs', 'subvolume', 'create', join(filer.pool, volume));
  },
  mounted: async (filer, volumeOrPath, host) => {
    const name = basename(volumeOrPath);
    const path = join(filer.pool, name);
    if (!existsSync(filer.path(path))) return null;
    return host === null || accessOf(filer, name).split(',').includes(host) ? path : null;
  },
  kept: async (filer, volume) => {
    const prefix = `${volume}.lifeboat-kept-`;
    const found = readdirSync(filer.path(filer.pool)).filter((name) => name.startsWith(prefix));
    const last = found.sort().at(-1);
    return last === undefined ? null : filer.path(join(filer.pool, last));
  },
  halfway: {
    promote: ['target', 'btrfs subvolume snapshot */points/*'],
    reverse: ['source', 'btrfs filesystem sync */.lifeboat/v*[0-9]'],
    drillStart: ['target', 'btrfs subvolume snapshot *.lifeboat-drill-*'],
    prepare: ['source', 'btrfs subvolume snapshot -r *'],
  },
  last: {},
};
