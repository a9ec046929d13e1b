/** ZFS as the rig needs to know it. */
import type { RealFiler } from './filer.ts';
import type { Kind } from './pair-rig.ts';

async function datasets(filer: RealFiler): Promise<readonly (readonly string[])[]> {
  const columns = 'name,mounted,mountpoint,lifeboat:access,lifeboat:kept';
  const said = await filer.exec('zfs', 'list', '-H', '-t', 'filesystem', '-o', columns);
  return said.split('\n').map((line) => line.split('\t'));
}

export const zfsKind: Kind = {
  type: 'zfs',
  options: () => ({ pool: 'tank', exports: 'none' }),
  volume: (n) => `tank/v${n}`,
  make: async (filer, volume) => {
    await filer.exec('zfs', 'create', volume);
  },
  mounted: async (filer, volumeOrPath, host) => {
    for (const [name, mounted, path = '', access = ''] of await datasets(filer)) {
      if (name !== volumeOrPath && path !== volumeOrPath) continue;
      const may = host === null || access.split(',').includes(host);
      return mounted === 'yes' && may ? path : null;
    }
    return null;
  },
  kept: async (filer, volume) => {
    const found = (await datasets(filer)).filter(([, , , , kept]) => kept === volume).at(-1);
    const [name = '', mounted, path = ''] = found ?? [];
    if (name === '') return null;
    if (mounted !== 'yes') await filer.exec('zfs', 'mount', name);
    return filer.path(path);
  },
  halfway: {
    promote: ['target', 'zfs set canmount=on *'],
    reverse: ['source', 'zfs set lifeboat:mark=target*'],
    drillStart: ['target', 'zfs set lifeboat:access=*'],
    prepare: ['source', 'zfs snapshot *'],
  },
  last: {
    syncNow: 'zfs snapshot *',
    promote: 'zfs set lifeboat:mark=promoted*',
    drillStart: 'zfs set lifeboat:access=*',
    drillStop: 'zfs destroy *',
    prepare: 'zfs set lifeboat:mark=prepared:[0-9]*',
    demote: 'zfs set lifeboat:mark=demoted*',
    reverse: 'zfs inherit lifeboat:mark *',
    fence: 'zfs unmount *',
  },
};
