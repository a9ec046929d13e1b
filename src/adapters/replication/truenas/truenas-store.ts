/**
 * Volumes as datasets and zvols of a TrueNAS, through its API. What is there is read by the rules of the zfs adapter;
 * what stays on the filer are the same marks.
 */

import { PortError } from '../../../domain/errors.ts';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import type { Clock } from '../../../ports/system.ts';
import { noVolume } from '../send-receive/errors.ts';
import { readMark, writeMark } from '../send-receive/marks.ts';
import type {
  DrillCopy,
  Mark,
  StoredPoint,
  StoreIdentity,
  StoreLook,
  VolumeState,
  VolumeStore,
} from '../send-receive/store.ts';
import { after } from '../send-receive/views.ts';
import { type Dataset, ours, shortName, snapshotName, stateOfVolume, volumesIn } from '../zfs/datasets.ts';
import {
  asDataset,
  asSnapshot,
  type DatasetEntry,
  datasetEntries,
  type JobEntry,
  jobEntries,
  snapshotEntries,
  systemInfo,
  understood,
} from './entries.ts';
import { IscsiTargets } from './iscsi.ts';
import { NfsShares } from './nfs.ts';
import type { TrueNasOptions } from './options.ts';
import { finishRewind, rewindKeeping } from './rewind.ts';
import type { TrueNasApi } from './rpc.ts';

/** Snapshots of ours that are no points: their names lack the prefix of points. */
const guardName = 'lifeboat_guard';
const probeName = 'lifeboat_probe';
/** Snapshots of the periodic tasks of TrueNAS. */
const foreignPoints = /^auto-/;

export class TrueNasStore implements VolumeStore {
  readonly api: TrueNasApi;
  readonly #clock: Clock;
  readonly #options: TrueNasOptions;
  readonly #nfs: NfsShares;
  readonly #iscsi: IscsiTargets;

  constructor(api: TrueNasApi, options: TrueNasOptions, clock: Clock) {
    this.api = api;
    this.#clock = clock;
    this.#options = options;
    const address = options.data_address ?? new URL(options.url).hostname;
    this.#nfs = new NfsShares(api, address);
    this.#iscsi = new IscsiTargets(api, address, options.iscsi_portal);
  }

  async identify(signal?: AbortSignal): Promise<StoreIdentity> {
    const { pool } = this.#options;
    const [info, pools] = await Promise.all([
      this.#info(signal),
      this.api.read('pool.query', [[['name', '=', pool]]], signal),
    ]);
    const [found] = Array.isArray(pools) ? (pools as readonly { readonly guid?: unknown }[]) : [];
    if (found === undefined) throw noVolume(this.api.endpoint.array, pool);
    return {
      vendor: 'TrueNAS',
      model: `${info.system_product ?? 'TrueNAS'} ${info.version}`,
      serial: String(found.guid),
      clockSeconds: info.datetime.$date / 1000,
    };
  }

  async look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook> {
    const here = volumes.filter((volume) => this.#isHere(volume));
    const [info, entries, snapshots, jobs] = await Promise.all([
      this.#info(signal),
      this.#datasets([['id', 'in', here]], signal),
      this.#snapshots([['dataset', 'in', here]], signal),
      this.transfers(signal),
    ]);
    const found = volumesIn([...entries.map(asDataset), ...snapshots], here);
    const states = new Map<string, VolumeState>();
    for (const [volume, data] of found) {
      const transferring = jobs.some((job) => concerns(job, volume));
      states.set(volume, stateOfVolume(volume, data, transferring, foreignPoints));
    }
    return { clockSeconds: info.datetime.$date / 1000, volumes: states };
  }

  async marked(signal?: AbortSignal): Promise<readonly string[]> {
    const all = await this.#ofPool(signal);
    return all.filter(({ local }) => local[ours.mark] !== undefined).map(({ name }) => name);
  }

  /** The marks of these volumes in one call. */
  async marksOf(volumes: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, Mark>> {
    const marks = new Map<string, Mark>();
    for (const { name, local } of (await this.#datasets([['id', 'in', volumes]], signal)).map(asDataset)) {
      const mark = readMark(local[ours.mark]);
      if (mark !== null) marks.set(name, mark);
    }
    return marks;
  }

  /** A volume without a mark is an ordinary source, over which nobody sends: its guard is not needed. */
  async mark(volume: string, mark: Mark | null): Promise<void> {
    await this.#setUserProperty(volume, ours.mark, mark === null ? null : writeMark(mark));
    if (mark === null) await this.#dropGuard(volume);
  }

  async cut(volume: string, tag: string): Promise<void> {
    await this.#snapshot(volume, snapshotName(tag, 1));
  }

  async close(volume: string): Promise<void> {
    await this.#mustBeHere(volume);
    await this.api.call('pool.dataset.update', [volume, { readonly: 'ON' }]);
    await this.#dropGuard(volume);
  }

  /**
   * TrueNAS receives with `zfs receive -F`, which takes back what was written since: a task of the old source would
   * undo a promotion. A held snapshot that the source does not have makes it fail instead.
   */
  async open(volume: string): Promise<void> {
    await this.#mustBeHere(volume);
    await this.#snapshot(volume, guardName);
    await this.#quietly('EEXIST', 'pool.snapshot.hold', [`${volume}@${guardName}`]);
    await this.api.call('pool.dataset.update', [volume, { readonly: 'OFF' }]);
  }

  async changedSince(volume: string, point: StoredPoint): Promise<boolean> {
    const probe = `${volume}@${probeName}`;
    await this.#quietly('ENOENT', 'pool.snapshot.delete', [probe]);
    await this.#snapshot(volume, probeName);
    try {
      const snapshots = await this.#snapshots([['dataset', '=', volume]]);
      const base = snapshots.find((one) => shortName(one) === point.name);
      return snapshots
        .filter(({ values }) => Number(values['createtxg']) > Number(base?.values['createtxg']))
        .some(({ values }) => values['written'] !== '0');
    } finally {
      await this.#quietly('ENOENT', 'pool.snapshot.delete', [probe]);
    }
  }

  async rewind(volume: string, point: StoredPoint): Promise<void> {
    await this.#dropGuard(volume);
    await rewindKeeping(this.#rewinding(), volume, point.name);
  }

  async finishRewind(volume: string): Promise<void> {
    if (this.#isHere(volume)) await finishRewind(this.#rewinding(), volume);
  }

  /** What this filer itself fetches for the volume. What others send ends at the guard. */
  async stopArriving(volume: string): Promise<void> {
    const pulling = [
      ['target_dataset', '=', volume],
      ['direction', '=', 'PULL'],
      ['enabled', '=', true],
    ];
    const tasks = await this.api.read('replication.query', [pulling]);
    for (const { id } of Array.isArray(tasks) ? (tasks as readonly { readonly id: number }[]) : [])
      await this.api.call('replication.update', [id, { enabled: false }]);
    for (const job of await this.transfers())
      if (targetOf(job) === volume) await this.api.call('core.job_abort', [job.id]);
  }

  /** Jobs of this filer that carry snapshots now. */
  async transfers(signal?: AbortSignal): Promise<readonly JobEntry[]> {
    return this.jobs(
      [
        ['method', 'in', ['replication.run', 'replication.run_onetime']],
        ['state', 'in', ['WAITING', 'RUNNING']],
      ],
      signal,
    );
  }

  async jobs(filters: readonly unknown[], signal?: AbortSignal): Promise<readonly JobEntry[]> {
    const answer = await this.api.read('core.get_jobs', [filters], signal);
    return understood(this.api.endpoint, 'core.get_jobs', jobEntries, answer);
  }

  async settle(state: VolumeState, point: StoredPoint, side: 'sender' | 'receiver'): Promise<void> {
    const own = state.points.find(({ ref }) => ref === point.ref);
    if (own === undefined) return;
    const { volume } = state;
    await this.#quietly('EEXIST', 'pool.snapshot.hold', [`${volume}@${own.name}`]);
    if (side === 'sender' && state.sent !== own.ref) await this.#setUserProperty(volume, ours.sent, own.ref);
    const older = state.points.filter((one) => one.ours && !after(state, own).includes(one) && one !== own);
    for (const { name } of older.slice(-2))
      await this.#quietly('ENOENT', 'pool.snapshot.release', [`${volume}@${name}`]);
    for (const { name } of older.slice(0, Math.max(0, older.length + 1 - this.#options.keep_points)))
      await this.#quietly('ENOENT', 'pool.snapshot.delete', [`${volume}@${name}`, { defer: true }]);
    if (side === 'receiver' && state.mark === null) await this.mark(volume, { role: 'target', point: null });
  }

  async copy(volume: string, point: StoredPoint, drill: string): Promise<string> {
    const name = copyName(volume, drill);
    if ((await this.#datasets([['id', '=', name]])).length > 0) return name;
    const made = String(Math.floor(Date.parse(this.#clock.now()) / 1000));
    const marks = { [ours.drill]: drill, [ours.of]: volume, [ours.point]: point.ref, [ours.made]: made };
    await this.api.call('pool.snapshot.clone', [
      {
        snapshot: `${volume}@${point.name}`,
        dataset_dst: name,
        dataset_properties: { readonly: 'off', ...marks },
      },
    ]);
    return name;
  }

  async copies(signal?: AbortSignal): Promise<readonly DrillCopy[]> {
    return (await this.#ofPool(signal)).flatMap(({ name, local }) => {
      const [drill, volume, made] = [local[ours.drill], local[ours.of], Number(local[ours.made])];
      if (drill === undefined || volume === undefined) return [];
      const point = local[ours.point] ?? null;
      return [{ name, drill, volume, point, madeAtSeconds: Number.isFinite(made) ? made : null }];
    });
  }

  async removeCopy({ name, drill, volume }: DrillCopy): Promise<void> {
    if (name !== copyName(volume, drill)) throw noVolume(this.api.endpoint.array, name);
    const { type } = await this.#mustBeHere(name);
    await this.#shows(type).remove(name);
    await this.api.call('pool.dataset.delete', [name, { recursive: true, force: true }]);
  }

  async publish(name: string, access: Access): Promise<Exposed> {
    const { type } = await this.#mustBeHere(name);
    return this.#shows(type).add(name, access);
  }

  async unpublish(name: string, access: Access): Promise<void> {
    const { type } = await this.#mustBeHere(name);
    await this.#shows(type).take(name, access);
  }

  #shows(type: DatasetEntry['type']): NfsShares | IscsiTargets {
    return type === 'VOLUME' ? this.#iscsi : this.#nfs;
  }

  #isHere(volume: string): boolean {
    return volume.startsWith(`${this.#options.pool}/`) && !volume.includes('@');
  }

  async #mustBeHere(volume: string): Promise<DatasetEntry> {
    const [found] = this.#isHere(volume) ? await this.#datasets([['id', '=', volume]]) : [];
    if (found === undefined) throw noVolume(this.api.endpoint.array, volume);
    return found;
  }

  async #info(signal?: AbortSignal) {
    const answer = await this.api.read('system.info', [], signal);
    return understood(this.api.endpoint, 'system.info', systemInfo, answer);
  }

  async #datasets(filters: readonly unknown[], signal?: AbortSignal): Promise<readonly DatasetEntry[]> {
    const extra = { flat: true, retrieve_children: true, retrieve_user_props: true };
    const answer = await this.api.read('pool.dataset.query', [filters, { extra }], signal);
    return understood(this.api.endpoint, 'pool.dataset.query', datasetEntries, answer);
  }

  async #ofPool(signal?: AbortSignal): Promise<readonly Dataset[]> {
    return (await this.#datasets([['pool', '=', this.#options.pool]], signal)).map(asDataset);
  }

  async #snapshots(filters: readonly unknown[], signal?: AbortSignal): Promise<readonly Dataset[]> {
    const answer = await this.api.read('pool.snapshot.query', [filters], signal);
    return understood(this.api.endpoint, 'pool.snapshot.query', snapshotEntries, answer).map(asSnapshot);
  }

  async #snapshot(dataset: string, name: string): Promise<void> {
    await this.#quietly('EEXIST', 'pool.snapshot.create', [{ dataset, name }]);
  }

  async #dropGuard(volume: string): Promise<void> {
    const guard = `${volume}@${guardName}`;
    await this.#quietly('ENOENT', 'pool.snapshot.release', [guard]);
    await this.#quietly('ENOENT', 'pool.snapshot.delete', [guard]);
  }

  async #setUserProperty(volume: string, key: string, value: string | null): Promise<void> {
    const change = value === null ? { key, remove: true } : { key, value };
    await this.api.call('pool.dataset.update', [volume, { user_properties_update: [change] }]);
  }

  /** What is already so is no failure. */
  async #quietly(already: 'EEXIST' | 'ENOENT', method: string, params: readonly unknown[]): Promise<void> {
    try {
      await this.api.call(method, params);
    } catch (error) {
      const code = already === 'ENOENT' ? 'not-found' : already;
      const said = /already exists|does not exist|not found|tag already|no such tag/i;
      const isSo =
        error instanceof PortError &&
        error.kind === 'refused' &&
        (error.peerCode === code || said.test(error.peerParams.join(' ')));
      if (!isSo) throw error;
    }
  }

  #rewinding() {
    return {
      api: this.api,
      clock: this.#clock,
      datasets: (names: readonly string[]) => this.#datasets([['id', 'in', names]]),
    };
  }
}

function copyName(volume: string, drill: string): string {
  return `${volume}.lifeboat-drill-${drill}`;
}

/** A job of ours names its datasets; one of a task of the site names the task alone. */
function definitionOf(job: JobEntry): { source_datasets?: unknown; target_dataset?: unknown } {
  const [first] = job.arguments ?? [];
  return typeof first === 'object' && first !== null ? first : {};
}

export function targetOf(job: JobEntry): unknown {
  return definitionOf(job).target_dataset;
}

export function concerns(job: JobEntry, volume: string): boolean {
  const { source_datasets: sources, target_dataset: target } = definitionOf(job);
  return target === volume || (Array.isArray(sources) && sources.includes(volume));
}
