/** ZFS and btrfs as the story needs to know them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { btrfsKind } from './storage/btrfs-kind.ts';
import { zfsKind } from './storage/zfs-kind.ts';
import type { StoryKind } from './story-storage.ts';

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');
const hostsOf = (text: string): string[] => text.split(',').filter((host) => host !== '' && host !== '-');

export const zfsStory: StoryKind = {
  ...zfsKind,
  named: (volume) => `tank/${volume}`,
  exports: (filer) =>
    linesOf(
      filer.ask(['zfs', 'list', '-H', '-t', 'filesystem', '-o', 'mounted,mountpoint,lifeboat:access']),
    ).flatMap((line) => {
      const [mounted, path = '', access = ''] = line.split('\t');
      return mounted === 'yes' ? [{ path, hosts: hostsOf(access) }] : [];
    }),
  inventory: async (filer) =>
    linesOf(await filer.exec('zfs', 'list', '-H', '-t', 'filesystem', '-o', 'name')).sort(),
  newestPointSeconds: async (filer, volume) => {
    const said = await filer.exec('zfs', 'get', '-Hp', '-r', '-o', 'name,value', 'creation', volume);
    const points = linesOf(said).filter((line) => line.includes('@'));
    return Math.max(...points.map((line) => Number(line.split('\t')[1])));
  },
};

/** A copy's record lies with its volume. */
function recordOf(name: string): string {
  const [, volume = name, drill] = /^(.+)\.lifeboat-drill-(.+)$/.exec(name) ?? [];
  return join('.lifeboat', volume, drill === undefined ? 'access' : `drills/${drill}.access`);
}

export const btrfsStory: StoryKind = {
  ...btrfsKind,
  named: (volume) => volume,
  exports: (served) => {
    const top = served.seen(served.filer.pool);
    return readdirSync(top)
      .filter((name) => !name.startsWith('.'))
      .map((name) => {
        const record = join(top, recordOf(name));
        const hosts = existsSync(record) ? hostsOf(readFileSync(record, 'utf8').trim()) : [];
        return { path: join(served.filer.pool, name), hosts };
      });
  },
  inventory: async (filer) =>
    linesOf(await filer.exec('btrfs', 'subvolume', 'list', filer.pool))
      .map((line) => line.replace(/^.* path /, ''))
      .filter((path) => !path.includes('/points/'))
      .sort(),
  // The moment of the cut, as the source wrote it into the name: a received subvolume is as young as its arrival.
  newestPointSeconds: async (filer, volume) => {
    const names = await filer.exec('ls', join(filer.pool, '.lifeboat', volume, 'points'));
    return Math.max(...linesOf(names).map((name) => Number(name.split('@')[1])));
  },
};
