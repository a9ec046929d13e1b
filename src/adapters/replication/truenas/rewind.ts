/**
 * A dataset becomes what it was at one of its snapshots, and what it was until now is kept beside it, as in the zfs
 * adapter: `pool.snapshot.rollback` would destroy the newer snapshots. Every step can be found out and done again.
 */
import type { Clock } from '../../../ports/system.ts';
import { ours } from '../zfs/datasets.ts';
import { asDataset, type DatasetEntry } from './entries.ts';
import type { TrueNasApi } from './rpc.ts';

const making = 'lifeboat:making';

/** What was set on the dataset itself and its clone would not have. */
const carried = [
  'acltype',
  'aclmode',
  'atime',
  'compression',
  'quota',
  'recordsize',
  'refquota',
  'refreservation',
  'reservation',
  'sync',
];

interface Rewinding {
  readonly api: TrueNasApi;
  readonly clock: Clock;
  datasets(names: readonly string[]): Promise<readonly DatasetEntry[]>;
}

function newName(volume: string): string {
  return `${volume}.lifeboat-new`;
}

export async function rewindKeeping(filer: Rewinding, volume: string, snapshot: string): Promise<void> {
  const { old } = await inspect(filer, volume);
  const dataset_properties = { ...(old === null ? {} : settingsOf(old)), readonly: 'on', [making]: volume };
  await filer.api.call('pool.snapshot.clone', [
    { snapshot: `${volume}@${snapshot}`, dataset_dst: newName(volume), dataset_properties },
  ]);
  await takeOver(filer, volume);
}

/** What was begun and broken off: finished when the clone had begun to take over, else removed. */
export async function finishRewind(filer: Rewinding, volume: string): Promise<void> {
  const { old, fresh } = await inspect(filer, volume);
  if (fresh === null) return;
  if (old === null) await rename(filer, newName(volume), volume);
  else if (originOf(old).startsWith(`${newName(volume)}@`)) await takeOver(filer, volume);
  else if (asDataset(fresh).local[making] === volume)
    await filer.api.call('pool.dataset.delete', [newName(volume), { recursive: true, force: true }]);
}

async function takeOver(filer: Rewinding, volume: string): Promise<void> {
  const { fresh } = await inspect(filer, volume);
  if (fresh !== null && originOf(fresh).startsWith(`${volume}@`))
    await filer.api.call('pool.dataset.promote', [newName(volume)]);
  const kept = `${volume}.lifeboat-kept-${Math.floor(Date.parse(filer.clock.now()) / 1000)}`;
  await rename(filer, volume, kept);
  const change = [
    { key: ours.kept, value: volume },
    { key: ours.mark, remove: true },
  ];
  await filer.api.call('pool.dataset.update', [kept, { user_properties_update: change }]);
  await rename(filer, newName(volume), volume);
}

/** Nobody writes: the volume is closed. Shares and extents name it by its path, which the new one takes over. */
async function rename({ api }: Rewinding, from: string, to: string): Promise<void> {
  await api.call('pool.dataset.rename', [from, { new_name: to, force: true }]);
}

async function inspect(filer: Rewinding, volume: string) {
  const found = await filer.datasets([volume, newName(volume)]);
  return {
    old: found.find(({ id }) => id === volume) ?? null,
    fresh: found.find(({ id }) => id === newName(volume)) ?? null,
  };
}

function originOf({ origin }: DatasetEntry): string {
  return origin?.rawvalue ?? '';
}

function settingsOf(entry: DatasetEntry): Readonly<Record<string, string>> {
  const values = entry as Readonly<Record<string, unknown>>;
  const set = carried.flatMap((name) => {
    const property = values[name] as { readonly source?: unknown; readonly rawvalue?: unknown } | undefined;
    const isLocal = property?.source === 'LOCAL' && typeof property.rawvalue === 'string';
    return isLocal ? [[name, String(property.rawvalue)] as const] : [];
  });
  const { [ours.sent]: _sent, [making]: _making, ...marks } = asDataset(entry).local;
  return { ...Object.fromEntries(set), ...marks };
}
