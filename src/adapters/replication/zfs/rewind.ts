/**
 * A dataset becomes what it was at one of its snapshots, and what it was until now is kept beside it. Nothing is
 * destroyed: `zfs rollback -r` would take the newer snapshots with it, those of others too. A clone of the snapshot takes
 * over the older snapshots (promote) and the name. Every step can be found out and done again after a crash.
 */
import type { Filer } from '../send-receive/filer.ts';
import type { StoredPoint } from '../send-receive/store.ts';
import { type Dataset, ours, readDatasets, shortName, type VolumeData, volumesIn } from './datasets.ts';

const making = 'lifeboat:making';

function newName(volume: string): string {
  return `${volume}.lifeboat-new`;
}

export async function rewindKeeping(filer: Filer, data: VolumeData, point: StoredPoint): Promise<void> {
  const volume = data.root.name;
  const parts = data.parts.filter(({ snapshots }) => snapshots.some((one) => shortName(one) === point.name));
  for (const { suffix, dataset } of parts) {
    const name = `${newName(volume)}${suffix}`;
    const settings = await localSettings(filer, dataset);
    await filer.must([
      'zfs',
      'clone',
      ...options({ ...settings, canmount: 'noauto', readonly: 'on', [making]: volume }, dataset),
      `${dataset.name}@${point.name}`,
      name,
    ]);
    await unmount(filer, name);
  }
  await takeOver(filer, volume);
}

/** What was begun and broken off: finished when the clone had begun to take over, else removed. */
export async function finishRewind(filer: Filer, volume: string): Promise<void> {
  const found = await inspect(filer, volume);
  if (found.fresh === null) return;
  if (found.old === null) await rename(filer, newName(volume), volume);
  else if (found.begun) await takeOver(filer, volume);
  else if (found.fresh.local[making] === volume)
    await filer.mustSoon(['zfs', 'destroy', '-r', newName(volume)]);
}

async function takeOver(filer: Filer, volume: string): Promise<void> {
  const { datasets } = await inspect(filer, volume);
  const fresh = datasets.filter(({ name }) => isBelow(name, newName(volume)));
  for (const { name, values } of fresh)
    if (isBelow((values['origin'] ?? '').split('@')[0] ?? '', volume))
      await filer.mustSoon(['zfs', 'promote', name]);
  const kept = `${volume}.lifeboat-kept-${Math.floor(Date.parse(filer.clock.now()) / 1000)}`;
  await rename(filer, volume, kept);
  await filer.must(['zfs', 'set', `${ours.kept}=${volume}`, kept]);
  await filer.must(['zfs', 'inherit', ours.mark, kept]);
  await rename(filer, newName(volume), volume);
}

async function rename(filer: Filer, from: string, to: string): Promise<void> {
  await filer.mustSoon(['zfs', 'rename', from, to]);
}

interface Found {
  readonly old: Dataset | null;
  readonly fresh: Dataset | null;
  /** The clone has taken over snapshots already. */
  readonly begun: boolean;
  readonly datasets: readonly Dataset[];
}

async function inspect(filer: Filer, volume: string): Promise<Found> {
  const fresh = newName(volume);
  const { stdout } = await filer.ask([
    'zfs',
    'get',
    '-Hp',
    '-r',
    '-o',
    'name,property,value,source',
    ['origin', making].join(','),
    volume,
    fresh,
  ]);
  const datasets = readDatasets(stdout.split('\n').filter((line) => line !== '')).filter(
    ({ name }) => !name.includes('@'),
  );
  const found = volumesIn(datasets, [volume, fresh]);
  return {
    old: found.get(volume)?.root ?? null,
    fresh: found.get(fresh)?.root ?? null,
    begun: datasets.some(
      ({ name, values }) =>
        isBelow(name, volume) && isBelow((values['origin'] ?? '').split('@')[0] ?? '', fresh),
    ),
    datasets,
  };
}

function isBelow(name: string, root: string): boolean {
  return name === root || name.startsWith(`${root}/`);
}

/** Settings of the dataset that its clone would not have: quota, compression, mount point, our own marks. */
async function localSettings(filer: Filer, dataset: Dataset): Promise<Readonly<Record<string, string>>> {
  const program = [
    'zfs',
    'get',
    '-Hp',
    '-s',
    'local',
    '-o',
    'name,property,value,source',
    'all',
    dataset.name,
  ];
  const [found] = readDatasets((await filer.must(program)).split('\n').filter((line) => line !== ''));
  const { [ours.sent]: _sent, ...settings } = found?.local ?? {};
  return settings;
}

/** A zvol is mounted nowhere, and its clone has the sizes of its origin; a reservation for both at once may not fit. */
const notOfCloneOfVolume = new Set(['canmount', 'volsize', 'volblocksize', 'refreservation']);

function options(settings: Readonly<Record<string, string>>, { values }: Dataset): readonly string[] {
  const forVolume = values['type'] === 'volume';
  return Object.entries(settings)
    .filter(([key]) => !(forVolume && notOfCloneOfVolume.has(key)))
    .flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}

/** A clone is mounted by some releases whatever `canmount` says. */
async function unmount(filer: Filer, name: string): Promise<void> {
  const { stdout } = await filer.ask(['zfs', 'get', '-H', '-o', 'value', 'mounted', name]);
  if (stdout.trim() === 'yes') await filer.mustSoon(['zfs', 'unmount', '-f', name]);
}
