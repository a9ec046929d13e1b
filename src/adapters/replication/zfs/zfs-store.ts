/**
 * Volumes as ZFS datasets. What every ZFS since pool version 23 can do is relied upon (storage.md A.2); what came later
 * (resumed transfers, bookmarks) is used where the filer has it (C.10). Replicas are never mounted: a mounted one shows neither old nor new.
 */
import type { Capabilities, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { shellCommand } from '../../ssh/quote.ts';
import type { RemoteResult } from '../../ssh/remote.ts';
import { noVolume } from '../send-receive/errors.ts';
import type { Filer } from '../send-receive/filer.ts';
import type { Luns } from '../send-receive/luns/luns.ts';
import { readMark, writeMark } from '../send-receive/marks.ts';
import { lookScript, readLook, receiveScript, stopScript } from '../send-receive/scripts.ts';
import type {
  DrillCopy,
  Mark,
  Store,
  StoredPoint,
  StoreIdentity,
  StoreLook,
  Stream,
  StreamTarget,
  VolumeState,
} from '../send-receive/store.ts';
import {
  type Dataset,
  looked,
  ours,
  probeName,
  readDatasets,
  resumeToken,
  shortName,
  snapshotName,
  stateOfVolume,
  tokenOf,
  type VolumeData,
  volumesIn,
} from './datasets.ts';
import { byHand, NfsExports } from './exports.ts';
import { modelOf, type Probed, probeScript, readProbe, type ZfsFeatures } from './features.ts';
import { ZfsLuns } from './luns.ts';
import type { ZfsOptions } from './options.ts';
import { finishRewind, rewindKeeping } from './rewind.ts';
import { closeNewScript, settleScript } from './scripts.ts';
import { settleActions, streamsOf } from './streams.ts';

const columns = 'name,property,value,source';

export class ZfsStore implements Store {
  readonly #filer: Filer;
  readonly #options: ZfsOptions;
  readonly #exports: NfsExports | ZfsLuns;
  readonly #foreign: RegExp;
  #known: Probed | null = null;
  /** What the last looks saw of each volume: the parts that its states were made from. */
  readonly #data = new WeakMap<VolumeState, VolumeData>();

  /** @param luns - null where volumes are shown over NFS, or by a person */
  constructor(filer: Filer, options: ZfsOptions, luns: Luns | null) {
    this.#filer = filer;
    this.#options = options;
    this.#exports =
      luns === null
        ? new NfsExports(filer, options)
        : new ZfsLuns(filer, options, luns, async () => (await this.#probed()).serial);
    this.#foreign = new RegExp(options.points);
  }

  async identify(signal?: AbortSignal): Promise<StoreIdentity> {
    const { clockSeconds, serial, features } = await this.#probe(signal);
    return { vendor: 'OpenZFS', model: modelOf(features), serial, clockSeconds };
  }

  async capable(volumes: readonly string[], signal?: AbortSignal): Promise<Partial<Capabilities>> {
    if (this.#options.expose === 'none') return byHand;
    // Only a zvol makes a difference then, and a ZFS that knows none need not be looked at.
    if (this.#options.expose === 'nfs' && !(await this.features(signal)).zvols) return {};
    const { volumes: found } = await this.look(volumes, signal);
    const datasets = [...found.values()].flatMap((state) => this.#data.get(state)?.root ?? []);
    return this.#exports.capable(datasets, signal);
  }

  /** Asked once; an upgrade of the filer counts from the next start. */
  async features(signal?: AbortSignal): Promise<ZfsFeatures> {
    return (await this.#probed(signal)).features;
  }

  async #probed(signal?: AbortSignal): Promise<Probed> {
    return this.#known ?? this.#probe(signal);
  }

  async #probe(signal?: AbortSignal): Promise<Probed & { readonly clockSeconds: number }> {
    const look = ['sh', '-c', lookScript, 'lifeboat-look', this.#options.lock_directory];
    const probe = ['sh', '-c', probeScript, 'lifeboat-probe', this.#options.pool];
    const result = await this.#filer.ask([...look, ...probe], signal);
    if (result.code !== 0) throw this.#filer.error(['zpool', 'get'], result);
    const { clockSeconds, rest } = readLook(result.stdout);
    const probed = readProbe(rest);
    this.#known = probed;
    return { ...probed, clockSeconds };
  }

  async look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook> {
    const here = volumes.filter((volume) => this.#isHere(volume));
    const program = ['sh', '-c', lookScript, 'lifeboat-look', this.#options.lock_directory];
    const get = here.length === 0 ? [] : this.#getting(here, await this.features(signal));
    const result = await this.#filer.ask([...program, ...get], signal);
    this.#mustHaveLooked(result);
    const { clockSeconds, held, rest } = readLook(result.stdout);
    const found = volumesIn(readDatasets(rest), here);
    const states = new Map<string, VolumeState>();
    for (const [volume, data] of found) {
      const state = stateOfVolume(volume, data, held.has(volume), this.#foreign);
      this.#data.set(state, data);
      states.set(volume, state);
    }
    return { clockSeconds, volumes: states };
  }

  async marked(signal?: AbortSignal): Promise<readonly string[]> {
    return (await this.#localProperties([ours.mark], signal)).map(({ name }) => name);
  }

  marksProgram(volumes: readonly string[]): readonly string[] {
    return ['zfs', 'get', '-Hp', '-s', 'local', '-o', columns, ours.mark, ...volumes];
  }

  readMarks(stdout: string): ReadonlyMap<string, Mark> {
    const marks = new Map<string, Mark>();
    for (const { name, local } of readDatasets(linesOf(stdout))) {
      const mark = readMark(local[ours.mark]);
      if (mark !== null) marks.set(name, mark);
    }
    return marks;
  }

  async mark(volume: string, mark: Mark | null): Promise<void> {
    await this.#filer.must(
      mark === null
        ? ['zfs', 'inherit', ours.mark, volume]
        : ['zfs', 'set', `${ours.mark}=${writeMark(mark)}`, volume],
    );
  }

  async cut(volume: string, tag: string): Promise<void> {
    const { parts } = await this.#dataOf(volume);
    const name = `${volume}@${snapshotName(tag, parts.length)}`;
    const result = await this.#filer.tell(['zfs', 'snapshot', '-r', '-o', `${ours.tag}=${tag}`, name]);
    // Somebody else has cut the same tag at the same moment.
    if (result.code !== 0 && !/already exists/i.test(result.stderr))
      throw this.#filer.error(['zfs', 'snapshot'], result);
  }

  async close(volume: string): Promise<void> {
    const { parts, root } = await this.#dataOf(volume);
    await this.#exports.hide(root);
    await this.#filer.must(['zfs', 'set', 'readonly=on', volume]);
    for (const { dataset } of parts.toReversed()) {
      if (dataset.values['type'] !== 'filesystem') continue;
      await this.#filer.must(['zfs', 'set', 'canmount=noauto', dataset.name]);
      if (dataset.values['mounted'] === 'yes')
        await this.#filer.mustSoon(['zfs', 'unmount', '-f', dataset.name]);
    }
  }

  async open(volume: string): Promise<void> {
    const { parts, root } = await this.#dataOf(volume);
    await this.#filer.must(['zfs', 'set', 'readonly=off', volume]);
    for (const { dataset } of parts) {
      if (dataset.values['type'] !== 'filesystem') continue;
      await this.#filer.must(['zfs', 'set', 'canmount=on', dataset.name]);
      await this.#mount(dataset.name);
    }
    await this.#exports.showAgain(root);
  }

  async changedSince(volume: string, point: StoredPoint): Promise<boolean> {
    const probe = `${volume}@${probeName}`;
    await this.#filer.tell(['zfs', 'destroy', '-r', probe]);
    await this.#filer.must(['zfs', 'snapshot', '-r', probe]);
    try {
      const { parts } = await this.#dataOf(volume);
      const snapshots = parts.map(({ dataset }) => `${dataset.name}@${point.name}`);
      const program = ['zfs', 'get', '-Hp', '-o', 'value', 'used', ...snapshots];
      // What only the point still refers to has been overwritten since.
      return linesOf(await this.#filer.must(program)).some((used) => Number(used) !== 0);
    } finally {
      await this.#filer.mustSoon(['zfs', 'destroy', '-r', probe]);
    }
  }

  async rewind(volume: string, point: StoredPoint): Promise<void> {
    await rewindKeeping(this.#filer, await this.#dataOf(volume), point);
  }

  async finishRewind(volume: string): Promise<void> {
    if (this.#isHere(volume)) await finishRewind(this.#filer, volume);
  }

  async stopArriving(volume: string): Promise<void> {
    const lock = this.#filer.lockPath(volume, 'receive');
    await this.#filer.must(['sh', '-c', stopScript, 'lifeboat-stop', lock]);
    if (!(await this.features()).resume) return;
    const { parts } = await this.#dataOf(volume);
    // Nobody goes on with it, and it is in nobody's way: that it stays must not hold up a promotion.
    for (const { dataset } of parts)
      if (tokenOf(dataset) !== null) await this.#filer.tell(['zfs', 'receive', '-A', dataset.name]);
  }

  streams(here: VolumeState, point: StoredPoint, there: StreamTarget): readonly Stream[] {
    const receiver = there.store;
    if (!(receiver instanceof ZfsStore)) throw new TypeError('ZFS streams are read by ZFS only');
    const own = this.#data.get(here)?.parts ?? [];
    const other = there.state === null ? [] : (receiver.#data.get(there.state)?.parts ?? []);
    const resumable = [this, receiver].every((one) => one.#known?.features.resume === true);
    return streamsOf(own, other, point, {
      volume: there.volume,
      receiving: (suffix, first) => receiver.#receiving(there.volume, suffix, first, resumable),
    });
  }

  async settle(state: VolumeState, point: StoredPoint, side: 'sender' | 'receiver'): Promise<void> {
    const parts = this.#data.get(state)?.parts ?? [];
    const own = state.points.find(({ ref }) => ref === point.ref);
    if (own === undefined) return;
    const keep = this.#options.keep_points;
    const { bookmarks } = await this.features();
    const actions = settleActions({ state, parts, point: own, side, keep, bookmarks });
    await this.#filer.must(['sh', '-c', settleScript, 'lifeboat-settle', ...actions]);
    if (side === 'receiver' && state.mark === null)
      await this.mark(state.volume, { role: 'target', point: null });
  }

  async copy(volume: string, point: StoredPoint, drill: string): Promise<string> {
    const data = await this.#dataOf(volume);
    // A copy that no host may see would only be in the way.
    await this.#exports.mustShow(data.root);
    const copy = `${volume}.lifeboat-drill-${drill}`;
    const { volumes } = await this.#datasetsOf([copy]);
    const made = String(Math.floor(Date.parse(this.#filer.clock.now()) / 1000));
    for (const { suffix, dataset, snapshots } of data.parts) {
      const name = `${copy}${suffix}`;
      const missing = !volumes.get(copy)?.parts.some((part) => part.suffix === suffix);
      if (!missing || !snapshots.some((one) => shortName(one) === point.name)) continue;
      const marks = { [ours.drill]: drill, [ours.of]: volume, [ours.point]: point.ref, [ours.made]: made };
      const options = suffix === '' ? { readonly: 'off', ...marks } : { readonly: 'off' };
      const words = Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
      await this.#filer.must(['zfs', 'clone', ...words, `${dataset.name}@${point.name}`, name]);
      if (dataset.values['type'] === 'filesystem') await this.#mount(name);
    }
    return copy;
  }

  async copies(signal?: AbortSignal): Promise<readonly DrillCopy[]> {
    const marks = [ours.drill, ours.of, ours.point, ours.made];
    return (await this.#localProperties(marks, signal)).flatMap(({ name, local }) => {
      const [drill, volume, made] = [local[ours.drill], local[ours.of], Number(local[ours.made])];
      if (drill === undefined || volume === undefined) return [];
      const point = local[ours.point] ?? null;
      return [{ name, drill, volume, point, madeAtSeconds: Number.isFinite(made) ? made : null }];
    });
  }

  async removeCopy({ name, drill, volume }: DrillCopy): Promise<void> {
    if (name !== `${volume}.lifeboat-drill-${drill}`) throw noVolume(this.#filer.array, name);
    const { parts, root } = await this.#dataOf(name);
    await this.#exports.hide(root);
    for (const { dataset } of parts.toReversed())
      if (dataset.values['mounted'] === 'yes')
        await this.#filer.mustSoon(['zfs', 'unmount', '-f', dataset.name]);
    await this.#filer.mustSoon(['zfs', 'destroy', '-r', name]);
  }

  async publish(name: string, access: Access): Promise<Exposed> {
    const { root } = await this.#dataOf(name);
    return this.#exports.add(root, access);
  }

  async describe(name: string, signal?: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const { root } = await this.#dataOf(name);
    return this.#exports.describe(root, signal);
  }

  async unpublish(name: string, access: Access): Promise<void> {
    const { root } = await this.#dataOf(name);
    await this.#exports.remove(root, access);
  }

  /** Only datasets of the pool of this array, and nothing that zfs(8) would take for an option. */
  #isHere(volume: string): boolean {
    return volume.startsWith(`${this.#options.pool}/`) && /^[A-Za-z0-9][A-Za-z0-9_.:/ -]*[^/]$/.test(volume);
  }

  async #datasetsOf(
    names: readonly string[],
  ): Promise<{ readonly volumes: ReadonlyMap<string, VolumeData> }> {
    const result = await this.#filer.ask(this.#getting(names, await this.features()));
    this.#mustHaveLooked(result);
    return { volumes: volumesIn(readDatasets(linesOf(result.stdout)), names) };
  }

  #getting(names: readonly string[], { resume }: ZfsFeatures): readonly string[] {
    const properties = [...looked, ...(resume ? [resumeToken] : [])].join(',');
    return ['zfs', 'get', '-Hp', '-r', '-o', columns, properties, ...names];
  }

  async #dataOf(volume: string): Promise<VolumeData> {
    const data = this.#isHere(volume) ? (await this.#datasetsOf([volume])).volumes.get(volume) : undefined;
    if (data === undefined) throw noVolume(this.#filer.array, volume);
    return data;
  }

  /** A volume that is not there ends the command with 1, and the others are printed all the same. */
  #mustHaveLooked(result: RemoteResult): void {
    const others = linesOf(result.stderr).filter((line) => !/dataset does not exist/.test(line));
    if (result.code !== 0 && (result.code !== 1 || others.length > 0 || result.stderr === ''))
      throw this.#filer.error(['zfs', 'get'], { ...result, stderr: others.join('\n') });
  }

  async #localProperties(properties: readonly string[], signal?: AbortSignal): Promise<readonly Dataset[]> {
    const program = ['zfs', 'get', '-Hp', '-r', '-s', 'local', '-o', columns, properties.join(',')];
    const result = await this.#filer.ask([...program, this.#options.pool], signal);
    if (result.code !== 0) throw this.#filer.error(['zfs', 'get'], result);
    return readDatasets(linesOf(result.stdout));
  }

  async #mount(name: string): Promise<void> {
    const result = await this.#filer.tell(['zfs', 'mount', name]);
    if (result.code !== 0 && !/already mounted/i.test(result.stderr))
      throw this.#filer.error(['zfs', 'mount'], result);
  }

  #receiving(volume: string, suffix: string, first: boolean, resumable: boolean): readonly string[] {
    const name = `${volume}${suffix}`;
    const line = (...program: string[]): string => shellCommand(program);
    const close = ['sh', '-c', closeNewScript, 'lifeboat-close', name];
    return [
      'sh',
      '-c',
      receiveScript,
      'lifeboat-receive',
      this.#filer.lockPath(volume, 'receive'),
      line('zfs', 'get', '-H', '-s', 'local', '-o', 'value', ours.mark, volume),
      // Every release that can resume can also leave what it makes unmounted.
      line('zfs', 'receive', ...(resumable ? ['-s', '-u'] : []), name),
      first ? line(...close) : '',
    ];
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
