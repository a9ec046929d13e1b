/**
 * Volumes as btrfs subvolumes. A point is a read-only snapshot under `.lifeboat/VOLUME/points`; the volume itself, the
 * head, is there only where hosts use it, so that a promotion makes it and a replica has none (storage.md A.3). Marks
 * are small files beside the points.
 */
import type { Capabilities, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { shellCommand } from '../../ssh/quote.ts';
import { noPoint, noVolume } from '../send-receive/errors.ts';
import type { Filer } from '../send-receive/filer.ts';
import type { Luns } from '../send-receive/luns/luns.ts';
import { readMark, writeMark } from '../send-receive/marks.ts';
import { lookScript as lookAround, readLook, receiveScript, stopScript } from '../send-receive/scripts.ts';
import type {
  DrillCopy,
  Mark,
  Store,
  StoredPoint,
  StoreIdentity,
  StoreLook,
  Stream,
  StreamTarget,
} from '../send-receive/store.ts';
import { after } from '../send-receive/views.ts';
import { BtrfsExports } from './exports.ts';
import { BtrfsLuns } from './luns.ts';
import type { BtrfsOptions } from './options.ts';
import {
  bridgeScript,
  compareScript,
  cutScript,
  keepScript,
  lookScript,
  marksScript,
  pruneScript,
  recordScript,
  removeScript,
  takeScript,
} from './scripts.ts';
import {
  bridgeName,
  copyName,
  drillPath,
  type FilerLook,
  pointsOf,
  pointsPath,
  readFiler,
  recordPath,
  type SubvolumeState,
  stateOfSubvolume,
} from './subvolumes.ts';

const goodVolume = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

export class BtrfsStore implements Store {
  readonly #filer: Filer;
  readonly #options: BtrfsOptions;
  readonly #exports: BtrfsExports | BtrfsLuns;
  #uuid: string | null = null;

  /** @param luns - null where volumes are shown over NFS */
  constructor(filer: Filer, options: BtrfsOptions, luns: Luns | null) {
    this.#filer = filer;
    this.#options = options;
    this.#exports = luns === null ? new BtrfsExports(filer, options) : this.#asLuns(luns, options);
  }

  #asLuns(luns: Luns, { directory, lun_image: lunImage = '' }: BtrfsOptions): BtrfsLuns {
    return new BtrfsLuns(luns, {
      directory,
      lunImage,
      filer: async () => this.#uuid ?? (await this.identify()).serial,
      record: (path, text) => this.#record(path, text),
    });
  }

  async capable(volumes: readonly string[], signal?: AbortSignal): Promise<Partial<Capabilities>> {
    return this.#exports.capable(volumes, signal);
  }

  async identify(signal?: AbortSignal): Promise<StoreIdentity> {
    const program = ['sh', '-c', lookAround, 'lifeboat-look', this.#options.lock_directory];
    const show = ['btrfs', 'filesystem', 'show', '--raw', this.#options.directory];
    const result = await this.#filer.ask([...program, ...show], signal);
    if (result.code !== 0) throw this.#filer.error(['btrfs', 'filesystem'], result);
    const { clockSeconds, rest } = readLook(result.stdout);
    const serial = /uuid: (\S+)/.exec(rest.join('\n'))?.[1] ?? '';
    this.#uuid = serial;
    return { vendor: 'btrfs', model: 'btrfs file system', serial, clockSeconds };
  }

  async look(volumes: readonly string[], signal?: AbortSignal): Promise<StoreLook> {
    const { clockSeconds, held, look } = await this.#look(signal);
    const states = volumes
      .filter((volume) => goodVolume.test(volume))
      .map((volume) => [volume, stateOfSubvolume(volume, look, held.has(volume))] as const);
    return {
      clockSeconds,
      volumes: new Map(states.flatMap(([volume, state]) => (state === null ? [] : [[volume, state]]))),
    };
  }

  async marked(signal?: AbortSignal): Promise<readonly string[]> {
    const { look } = await this.#look(signal);
    return [...look.records.keys()].flatMap((path) => /^\.lifeboat\/([^/]+)\/mark$/.exec(path)?.[1] ?? []);
  }

  marksProgram(volumes: readonly string[]): readonly string[] {
    return ['sh', '-c', marksScript, 'lifeboat-marks', this.#options.directory, ...volumes];
  }

  readMarks(stdout: string): ReadonlyMap<string, Mark> {
    const { records } = readFiler(stdout.split('\n'));
    const marks = new Map<string, Mark>();
    for (const [path, text] of records) {
      const mark = readMark(text);
      const [, volume] = /^\.lifeboat\/([^/]+)\/mark$/.exec(path) ?? [];
      if (mark !== null && volume !== undefined) marks.set(volume, mark);
    }
    return marks;
  }

  async mark(volume: string, mark: Mark | null): Promise<void> {
    await this.#record(recordPath(volume, 'mark'), mark === null ? '' : writeMark(mark));
  }

  async cut(volume: string, tag: string): Promise<void> {
    const path = this.#path(`${pointsPath(volume)}/${tag}`);
    await this.#filer.must(['sh', '-c', cutScript, 'lifeboat-cut', this.#path(volume), path]);
  }

  async close(volume: string): Promise<void> {
    const { look } = await this.#look();
    await this.#exports.hide(volume, look);
    if (look.subvolumes.has(volume)) await this.#setReadonly(volume, true);
  }

  /** A promotion makes the head out of the point of its mark; a head that was closed is opened again. */
  async open(volume: string): Promise<void> {
    const { look } = await this.#look();
    const mark = readMark(look.records.get(recordPath(volume, 'mark')));
    const head = look.subvolumes.get(volume);
    if (mark?.role !== 'promoting') {
      if (head === undefined) throw noVolume(this.#filer.array, volume);
      if (head.readonly) await this.#setReadonly(volume, false);
    } else {
      const point = pointsOf(volume, look).find(({ ref }) => ref === mark.point);
      if (point === undefined) throw noPoint(this.#filer.array, volume, mark.point ?? '');
      if (head?.parentUuid !== point.subvolume.uuid || head.readonly) {
        await this.#keep(volume);
        await this.#snapshot(point.subvolume.path, volume);
      }
    }
    await this.#exports.showAgain(volume, look);
  }

  async changedSince(volume: string, point: StoredPoint): Promise<boolean> {
    const { look } = await this.#look();
    if (!look.subvolumes.has(volume)) return false;
    const path = this.#path(`${pointsPath(volume)}/${point.name}`);
    const probe = this.#path(`.lifeboat/${volume}/probe`);
    const program = ['sh', '-c', compareScript, 'lifeboat-compare', path, this.#path(volume), probe];
    const said = await this.#filer.must(program);
    return said.split('\n').filter((line) => line !== '').length > 1;
  }

  /** Points are subvolumes of their own, so only the head is in the way; those that are newer go beside it. */
  async rewind(volume: string): Promise<void> {
    await this.#keep(volume);
  }

  finishRewind(): Promise<void> {
    return Promise.resolve();
  }

  async stopArriving(volume: string): Promise<void> {
    const lock = this.#filer.lockPath(volume, 'receive');
    await this.#filer.must(['sh', '-c', stopScript, 'lifeboat-stop', lock]);
  }

  /**
   * A base that was received here was cut at the other filer, where it is not known as received. `btrfs receive` before
   * 6.10.1 then finds the base itself, and not the extents of it that the point shares, so such a stream has a bridge.
   */
  streams(here: SubvolumeState, point: StoredPoint, there: StreamTarget): readonly Stream[] {
    const receiver = there.store;
    if (!(receiver instanceof BtrfsStore)) throw new TypeError('btrfs streams are read by btrfs only');
    const refs = new Set(there.state?.points.filter(({ complete }) => complete).map(({ ref }) => ref));
    if (refs.has(point.ref)) return [];
    const base = here.points.findLast((one) => one !== point && one.complete && refs.has(one.ref));
    const path = (name: string): string => this.#path(`${pointsPath(here.volume)}/${name}`);
    if (base?.received === true) {
      const paths = [base.name, bridgeName, point.name].map(path);
      const send = ['sh', '-c', bridgeScript, 'lifeboat-bridge', ...paths];
      return [{ send, receive: receiver.#receiving(there.volume, point.name, bridgeName) }];
    }
    const parent = base === undefined ? [] : ['-p', path(base.name)];
    const send = ['btrfs', 'send', '-q', ...parent, path(point.name)];
    return [{ send, receive: receiver.#receiving(there.volume, point.name) }];
  }

  async settle(state: SubvolumeState, point: StoredPoint, side: 'sender' | 'receiver'): Promise<void> {
    const { volume } = state;
    const own = state.points.find(({ ref }) => ref === point.ref);
    if (own === undefined) return;
    const older = state.points.filter((one) => one !== own && !after(state, own).includes(one));
    const surplus = older.slice(0, Math.max(0, older.length + 1 - this.#options.keep_points));
    const names = [...surplus.map(({ name }) => name), ...(state.bridged ? [bridgeName] : [])];
    const paths = names.map((name) => this.#path(`${pointsPath(volume)}/${name}`));
    if (paths.length > 0) await this.#filer.must(['sh', '-c', pruneScript, 'lifeboat-prune', ...paths]);
    if (side === 'sender' && state.sent !== own.ref) await this.#record(recordPath(volume, 'sent'), own.ref);
    if (side === 'receiver' && state.mark === null) await this.mark(volume, { role: 'target', point: null });
  }

  async copy(volume: string, point: StoredPoint, drill: string): Promise<string> {
    await this.#exports.mustShow(volume);
    const copy = copyName(volume, drill);
    const { look, clockSeconds } = await this.#look();
    // The mark comes first, so that nothing unmarked is left behind.
    if (!look.drills.has(drillPath(volume, drill)))
      await this.#record(drillPath(volume, drill), `${point.ref} ${clockSeconds}`);
    if (!look.subvolumes.has(copy)) await this.#snapshot(`${pointsPath(volume)}/${point.name}`, copy);
    return copy;
  }

  async copies(signal?: AbortSignal): Promise<readonly DrillCopy[]> {
    const { look } = await this.#look(signal);
    return [...look.drills].flatMap(([path, text]) => {
      const [, volume, drill] = /^\.lifeboat\/([^/]+)\/drills\/([^/]+?)$/.exec(path) ?? [];
      if (volume === undefined || drill === undefined || drill.endsWith('.access')) return [];
      const [point = null, seconds] = text.split(' ');
      const made = Number(seconds);
      return [
        {
          volume,
          drill,
          name: copyName(volume, drill),
          point,
          madeAtSeconds: Number.isFinite(made) ? made : null,
        },
      ];
    });
  }

  async removeCopy({ volume, drill, name }: DrillCopy): Promise<void> {
    if (name !== copyName(volume, drill)) throw noVolume(this.#filer.array, name);
    const { look } = await this.#look();
    await this.#exports.hide(name, look);
    const record = this.#path(drillPath(volume, drill));
    await this.#filer.mustSoon(['sh', '-c', removeScript, 'lifeboat-remove', this.#path(name), record]);
  }

  async publish(name: string, access: Access): Promise<Exposed> {
    return this.#exports.add(name, access, (await this.#look()).look);
  }

  async describe(name: string, signal?: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const { look } = await this.#look(signal);
    return this.#exports.describe(name, look, signal);
  }

  async unpublish(name: string, access: Access): Promise<void> {
    await this.#exports.remove(name, access, (await this.#look()).look);
  }

  async #look(signal?: AbortSignal): Promise<{
    readonly clockSeconds: number;
    readonly held: ReadonlySet<string>;
    readonly look: FilerLook;
  }> {
    const program = ['sh', '-c', lookAround, 'lifeboat-look', this.#options.lock_directory];
    const look = ['sh', '-c', lookScript, 'lifeboat-look', this.#options.directory];
    const result = await this.#filer.ask([...program, ...look], signal);
    if (result.code !== 0 || result.stderr !== '') throw this.#filer.error(['btrfs', 'subvolume'], result);
    const { clockSeconds, held, rest } = readLook(result.stdout);
    return { clockSeconds, held, look: readFiler(rest) };
  }

  #path(inside: string): string {
    return `${this.#options.directory}/${inside}`;
  }

  async #record(path: string, text: string): Promise<void> {
    await this.#filer.must(['sh', '-c', recordScript, 'lifeboat-record', this.#path(path), text]);
  }

  async #setReadonly(volume: string, value: boolean): Promise<void> {
    await this.#filer.must(['btrfs', 'property', 'set', '-ts', this.#path(volume), 'ro', String(value)]);
  }

  async #snapshot(from: string, to: string): Promise<void> {
    await this.#filer.must(['btrfs', 'subvolume', 'snapshot', this.#path(from), this.#path(to)]);
  }

  async #keep(volume: string): Promise<void> {
    const kept = `${volume}.lifeboat-kept-${Math.floor(Date.parse(this.#filer.clock.now()) / 1000)}`;
    const program = ['sh', '-c', keepScript, 'lifeboat-keep', this.#path(volume), this.#path(kept)];
    await this.#filer.mustSoon(program);
  }

  #receiving(volume: string, name: string, bridge = ''): readonly string[] {
    const points = this.#path(pointsPath(volume));
    return [
      'sh',
      '-c',
      receiveScript,
      'lifeboat-receive',
      this.#filer.lockPath(volume, 'receive'),
      shellCommand(['cat', this.#path(recordPath(volume, 'mark'))]),
      shellCommand(['sh', '-c', takeScript, 'lifeboat-take', points, name, bridge]),
      '',
    ];
  }
}
