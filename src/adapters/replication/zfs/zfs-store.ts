/**
 * Volumes as ZFS datasets. Only what ZFS pool version 23 can do is relied upon, and that is what every newer one can do
 * too (storage.md A.2, C.10). Replicas are never mounted: a mounted one shows neither old nor new.
 */
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { shellCommand } from '../../ssh/quote.ts';
import type { RemoteResult } from '../../ssh/remote.ts';
import { noVolume } from '../send-receive/errors.ts';
import type { Filer } from '../send-receive/filer.ts';
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
import { after } from '../send-receive/views.ts';
import {
  type Dataset,
  looked,
  ours,
  type Part,
  readDatasets,
  shortName,
  snapshotName,
  snapshotPrefix,
  stateOfVolume,
  type VolumeData,
  volumesIn,
} from './datasets.ts';
import { NfsExports } from './exports.ts';
import type { ZfsOptions } from './options.ts';
import { finishRewind, rewindKeeping } from './rewind.ts';
import { closeNewScript, settleScript } from './scripts.ts';

const columns = 'name,property,value,source';

export class ZfsStore implements Store {
  readonly #filer: Filer;
  readonly #options: ZfsOptions;
  readonly #exports: NfsExports;
  readonly #foreign: RegExp;
  /** What the last looks saw of each volume: the parts that its states were made from. */
  readonly #data = new WeakMap<VolumeState, VolumeData>();

  constructor(filer: Filer, options: ZfsOptions) {
    this.#filer = filer;
    this.#options = options;
    this.#exports = new NfsExports(filer, options);
    this.#foreign = new RegExp(options.points);
  }

  async identify(signal?: AbortSignal): Promise<StoreIdentity> {
    const program = ['sh', '-c', lookScript, 'lifeboat-look', this.#options.lock_directory];
    const result = await this.#filer.ask(
      [...program, 'zpool', 'get', 'guid,version', this.#options.pool],
      signal,
    );
    if (result.code !== 0) throw this.#filer.error(['zpool', 'get'], result);
    const { clockSeconds, rest } = readLook(result.stdout);
    const value = (property: string): string =>
      rest.map((line) => line.split(/\s+/)).find(([, name]) => name === property)?.[2] ?? '-';
    const version = value('version');
    return {
      vendor: 'OpenZFS',
      model: version === '-' ? 'pool with feature flags' : `pool version ${version}`,
      serial: value('guid'),
      clockSeconds,
    };
  }

  async look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook> {
    const here = volumes.filter((volume) => this.#isHere(volume));
    const program = ['sh', '-c', lookScript, 'lifeboat-look', this.#options.lock_directory];
    const get = ['zfs', 'get', '-Hp', '-r', '-o', columns, looked.join(','), ...here];
    const result = await this.#filer.ask([...program, ...(here.length === 0 ? [] : get)], signal);
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
    const { parts } = await this.#dataOf(volume);
    await this.#exports.hide(volume);
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
    const probe = `${volume}@${snapshotPrefix}probe`;
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
  }

  streams(here: VolumeState, point: StoredPoint, there: StreamTarget): readonly Stream[] {
    const receiver = there.store;
    if (!(receiver instanceof ZfsStore)) throw new TypeError('ZFS streams are read by ZFS only');
    const own = this.#data.get(here)?.parts ?? [];
    const other = there.state === null ? [] : (receiver.#data.get(there.state)?.parts ?? []);
    return own.flatMap((part) => {
      const target = other.find(({ suffix }) => suffix === part.suffix) ?? null;
      const snapshot = part.snapshots.find((one) => shortName(one) === point.name);
      if (snapshot === undefined || holds(target, snapshot)) return [];
      const base = newestCommon(part, target);
      return [
        {
          send: ['zfs', 'send', ...(base === null ? [] : ['-i', `@${shortName(base)}`]), snapshot.name],
          receive: receiver.#receiving(there.volume, part.suffix, target === null),
        },
      ];
    });
  }

  async settle(state: VolumeState, point: StoredPoint, side: 'sender' | 'receiver'): Promise<void> {
    const parts = this.#data.get(state)?.parts ?? [];
    const own = state.points.find(({ ref }) => ref === point.ref);
    if (own === undefined) return;
    const older = state.points.filter((one) => one.ours && !after(state, own).includes(one) && one !== own);
    const surplus = older.slice(0, Math.max(0, older.length + 1 - this.#options.keep_points));
    const each = (action: string, { name }: StoredPoint): readonly string[] =>
      parts
        .filter(({ snapshots }) => snapshots.some((one) => shortName(one) === name))
        .flatMap(({ dataset }) => [action, `${dataset.name}@${name}`, '']);
    const actions = [
      ...each('hold', own),
      ...(side === 'sender' && state.sent !== own.ref ? ['sent', state.volume, own.ref] : []),
      ...older.slice(-2).flatMap((one) => each('release', one)),
      ...surplus.flatMap((one) => each('remove', one)),
    ];
    await this.#filer.must(['sh', '-c', settleScript, 'lifeboat-settle', ...actions]);
    if (side === 'receiver' && state.mark === null)
      await this.mark(state.volume, { role: 'target', point: null });
  }

  async copy(volume: string, point: StoredPoint, drill: string): Promise<string> {
    const data = await this.#dataOf(volume);
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
    const { parts } = await this.#dataOf(name);
    await this.#exports.hide(name);
    for (const { dataset } of parts.toReversed())
      if (dataset.values['mounted'] === 'yes')
        await this.#filer.mustSoon(['zfs', 'unmount', '-f', dataset.name]);
    await this.#filer.mustSoon(['zfs', 'destroy', '-r', name]);
  }

  async publish(name: string, access: Access): Promise<Exposed> {
    const { root } = await this.#dataOf(name);
    return this.#exports.add(root, access);
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
    const result = await this.#filer.ask([
      'zfs',
      'get',
      '-Hp',
      '-r',
      '-o',
      columns,
      looked.join(','),
      ...names,
    ]);
    this.#mustHaveLooked(result);
    return { volumes: volumesIn(readDatasets(linesOf(result.stdout)), names) };
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

  #receiving(volume: string, suffix: string, first: boolean): readonly string[] {
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
      line('zfs', 'receive', name),
      first ? line(...close) : '',
    ];
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

function holds(part: Part | null, snapshot: Dataset): boolean {
  return part?.snapshots.some(({ values }) => values['guid'] === snapshot.values['guid']) ?? false;
}

/** The newest snapshot of the receiver that the sender has too, under the sender's name. */
function newestCommon(part: Part, target: Part | null): Dataset | null {
  const newest = target?.snapshots.at(-1);
  if (newest === undefined) return null;
  return part.snapshots.find(({ values }) => values['guid'] === newest.values['guid']) ?? null;
}
