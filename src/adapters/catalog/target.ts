/**
 * One target: opened once, announced while we write to it, asked for objects and points. A target knows nothing of the
 * others; it is given a way to fetch objects that it lacks.
 */
import type { ObjectRef, RecoveryPoint } from '../../domain/recovery-point.ts';
import { type HeaderOptions, type OpenedHeader, openHeader } from './header-files.ts';
import type { CatalogKeys } from './keys.ts';
import { waitUntilFree, withLock } from './locks.ts';
import type { Body, Chain, Manifest } from './manifest.ts';
import { ObjectIndex } from './object-index.ts';
import type { Location } from './pack.ts';
import { sealPoint, writeChain } from './seal.ts';
import type { PackSession } from './session.ts';
import { mapAtOnce, type Survey } from './survey.ts';
import { discard, type TargetStore, temporaryPath } from './target-store.ts';

export type TargetOptions = HeaderOptions;

interface Opened extends OpenedHeader {
  readonly index: ObjectIndex;
}

export class Target {
  readonly store: TargetStore;
  readonly #options: TargetOptions;
  #opening: { readonly create: boolean; readonly ended: Promise<Opened> } | null = null;
  #opened: Opened | null = null;
  #registration: Promise<string> | null = null;
  #holders = 0;

  constructor(options: TargetOptions) {
    this.store = options.store;
    this.#options = options;
  }

  get name(): string {
    return this.store.name;
  }

  /** Files of damaged packs that were set aside since it was opened: older points have lost what only they held. */
  get aside(): readonly string[] {
    return this.#opened?.index.aside ?? [];
  }

  /** Whether this process set the target up. */
  get isNew(): boolean {
    return this.#opened?.isNew ?? false;
  }

  /** Opens the target; sets an empty one up only when `create`. */
  async open(create: boolean): Promise<CatalogKeys> {
    return (await this.#open(create)).keys;
  }

  async #open(create: boolean): Promise<Opened> {
    // Somebody who only reads does not set the target up: who writes tries again after them.
    while (create && this.#opening?.create === false) await this.#opening.ended.catch(() => undefined);
    if (this.#opened !== null) return this.#opened;
    this.#opening ??= { create, ended: this.#openOnce(create) };
    const opening = this.#opening;
    try {
      this.#opened = await opening.ended;
      return this.#opened;
    } finally {
      if (this.#opening === opening) this.#opening = null;
    }
  }

  async #openOnce(create: boolean): Promise<Opened> {
    await this.store.open({ create });
    const header = await openHeader(this.#options, create);
    return { ...header, index: new ObjectIndex(this.store, header.keys) };
  }

  async survey(group: string | null): Promise<Survey> {
    return (await this.#open(false)).index.survey(group);
  }

  /**
   * Says that we write, so that nobody sweeps what is not sealed yet, and learns what the newest points hold. Each call
   * is ended by `release`; `rest` takes the word back when nobody holds it any more.
   */
  async startWriting(): Promise<void> {
    this.#holders += 1;
    try {
      this.#registration ??= this.#register();
      await this.#registration;
    } catch (error) {
      this.#registration = null;
      this.#holders -= 1;
      throw error;
    }
  }

  release(): void {
    this.#holders -= 1;
  }

  async #register(): Promise<string> {
    const { index } = await this.#open(true);
    const path = `writers/${temporaryPath().slice(4, 28)}.json`;
    const file = await this.store.create(path);
    try {
      await file.write(Buffer.from(JSON.stringify(this.#options.owner)));
      await file.close();
    } catch (error) {
      await discard(this.store, file);
      throw error;
    }
    await waitUntilFree(this.store, 'prune');
    await index.learnNewest();
    return path;
  }

  /** Nothing is under way here any more. */
  async rest(): Promise<void> {
    const registration = this.#registration;
    if (registration === null || this.#holders > 0) return;
    this.#registration = null;
    const [path] = await Promise.allSettled([registration]);
    if (path.status === 'fulfilled') await Promise.allSettled([this.store.remove(path.value)]);
  }

  nameOf(sha256: string): string {
    return this.#index.nameOf(sha256);
  }

  holds(sha256: string): boolean {
    return this.#index.holds(sha256);
  }

  session(): PackSession {
    return this.#index.session();
  }

  /** Of a target that is open already. */
  get #index(): ObjectIndex {
    if (this.#opened === null) throw new Error('the target is not open');
    return this.#opened.index;
  }

  /** Reads, authenticates and checks an object; null when this target does not know it. */
  async get(object: ObjectRef): Promise<Buffer | null> {
    return (await this.#open(false)).index.get(object);
  }

  /** Opens many objects of one pack, reading neighbours together; an error per object, null where there is none. */
  async readTogether(
    pack: string,
    wanted: readonly { readonly place: Location; readonly object: ObjectRef }[],
  ): Promise<{ readonly object: ObjectRef; readonly error: unknown }[]> {
    return (await this.#open(false)).index.readTogether(pack, wanted);
  }

  async readPoint(manifest: Manifest): Promise<RecoveryPoint> {
    return (await this.readBody(manifest)).point;
  }

  async readBody(manifest: Manifest): Promise<Body> {
    return (await this.#open(false)).index.readBody(manifest);
  }

  /** Those of the objects that no pack holds, or only one that is not what it was. */
  async lacking(objects: readonly ObjectRef[]): Promise<ObjectRef[]> {
    return (await this.#open(false)).index.lacking(objects);
  }

  /** Whether every pack of a point is, byte for byte, what it was. */
  async isWhole(manifest: Manifest): Promise<boolean> {
    const { index } = await this.#open(false);
    const whole = await mapAtOnce(manifest.packs, (pack) => index.packIsWhole(pack.name));
    return whole.every(Boolean);
  }

  /** Seals a point here. `fetch` gives objects that this target lacks; it throws when nobody has one. */
  async seal(point: RecoveryPoint, fetch: (object: ObjectRef) => Promise<Buffer>): Promise<void> {
    await this.startWriting();
    try {
      await withLock(this.store, `group-${point.group}`, this.#options.owner, async () => {
        const { keys, index } = await this.#open(true);
        const { store } = this;
        await sealPoint({ store, keys, index, now: this.#options.now }, point, fetch);
      });
    } finally {
      this.release();
    }
  }

  async writeChain(chain: Chain): Promise<void> {
    await writeChain(this.store, await this.open(false), chain);
  }

  async close(): Promise<void> {
    this.#holders = 0;
    if (this.#opened !== null) await this.rest();
    await this.store.close();
  }
}
