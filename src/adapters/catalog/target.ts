/**
 * One target: its keys, what it holds, and how a point is sealed in it. A target knows nothing of the others; it is
 * given a way to fetch objects that it lacks.
 */
import { canonicalJson } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { ObjectRef, RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Instant } from '../../domain/time.ts';
import { Sha256 } from './hash.ts';
import {
  type CatalogHeader,
  type CatalogKeys,
  DamagedHeader,
  headerText,
  makeHeader,
  type OperatorKey,
  objectName,
  readHeader,
  unlock,
} from './keys.ts';
import { type LockOwner, waitUntilFree, withLock } from './locks.ts';
import {
  type Body,
  bodyFormat,
  type Chain,
  chainFormat,
  type Manifest,
  manifestFormat,
  readSigned,
  type Signed,
  signedText,
  Unsigned,
} from './manifest.ts';
import {
  compress,
  DamagedPack,
  type Location,
  openRecord,
  packHeaderBytes,
  packSalt,
  walkRecords,
} from './pack.ts';
import { noCatalogYet } from './problems.ts';
import { PackSession } from './session.ts';
import { listPacks, mapAtOnce, packPath, type Survey, surveyTarget } from './survey.ts';
import { discard, StoreMissing, type TargetStore, temporaryPath, writeAtomically } from './target-store.ts';

const windowBytes = 4 * 1024 * 1024;

export const headerFiles = ['catalog.json', 'catalog-copy.json'] as const;

export interface TargetOptions {
  readonly store: TargetStore;
  readonly key: () => Promise<OperatorKey>;
  readonly now: () => Instant;
  readonly owner: LockOwner;
}

export class Target {
  readonly store: TargetStore;
  readonly #options: TargetOptions;
  #opened: Promise<CatalogKeys> | null = null;
  #keys: CatalogKeys | null = null;
  #isNew = false;
  /** Known places of objects. While we write it holds only what lies in packs that are there with their size. */
  #known = new Map<string, Location>();
  #salts = new Map<string, Uint8Array>();
  #registration: Promise<string> | null = null;
  #holders = 0;
  #bodiesRead = new Set<string>();

  constructor(options: TargetOptions) {
    this.store = options.store;
    this.#options = options;
  }

  get name(): string {
    return this.store.name;
  }

  /** Whether this process set the target up. */
  get isNew(): boolean {
    return this.#isNew;
  }

  /** Opens the target; sets an empty one up only when `create`. */
  async open(create: boolean): Promise<CatalogKeys> {
    if (this.#keys !== null) return this.#keys;
    this.#opened ??= this.#open(create);
    try {
      this.#keys = await this.#opened;
      return this.#keys;
    } finally {
      this.#opened = null;
    }
  }

  async #open(create: boolean): Promise<CatalogKeys> {
    const { store } = this;
    await store.open({ create });
    const found = await readHeaders(store);
    if (found.header !== null) {
      const keys = await unlock(found.header, await this.#options.key());
      if (create) await this.#repairHeaders(found.header);
      return keys;
    }
    if (found.damage !== null) throw found.damage;
    const foreign = (await store.list('')).filter(
      (entry) => !['tmp', 'locks', 'writers', 'lost+found'].includes(entry.name),
    );
    if (foreign.some((entry) => entry.name === 'packs' || entry.name === 'points'))
      throw new DamagedHeader('it and its copy are missing');
    if (!create) throw noCatalogYet(store);
    if (foreign[0] !== undefined) {
      throw new OperatorError({
        code: 'DR-CATALOG-FOREIGN',
        what: `Catalog target ${store.name} holds files that are not of a catalog`,
        where: { object: store.address },
        known: [`such as ${JSON.stringify(foreign[0].name)}`],
        next: 'Give an empty directory, or correct the path in sites.yaml',
      });
    }
    return this.#setUp();
  }

  async #setUp(): Promise<CatalogKeys> {
    const { store } = this;
    for (const directory of ['tmp', 'locks', 'writers']) await store.makeDirectory(directory);
    return withLock(store, 'set-up', this.#options.owner, async () => {
      const faster = await readHeaders(store);
      if (faster.header !== null) return unlock(faster.header, await this.#options.key());
      const { header, keys } = await makeHeader(await this.#options.key(), this.#options.now());
      for (const file of headerFiles) await writeAtomically(store, file, Buffer.from(headerText(header)));
      for (const directory of ['packs', 'points']) await store.makeDirectory(directory);
      await store.syncDirectory('');
      this.#isNew = true;
      return keys;
    });
  }

  async #repairHeaders(header: CatalogHeader): Promise<void> {
    for (const directory of ['tmp', 'locks', 'writers', 'packs', 'points']) {
      if ((await this.store.stat(directory)) === null) await this.store.makeDirectory(directory);
    }
    for (const file of headerFiles) {
      if ((await this.store.stat(file)) === null)
        await writeAtomically(this.store, file, Buffer.from(headerText(header)));
    }
  }

  async survey(group: string | null): Promise<Survey> {
    const keys = await this.open(false);
    return surveyTarget(this.store, keys.publicKey, keys.catalogId, group);
  }

  /**
   * Says that we write, so that nobody sweeps what is not sealed yet, and learns what the newest points hold. Each call
   * is ended by `release`; `rest` takes the word back when nobody holds it any more.
   */
  async startWriting(): Promise<void> {
    this.#holders += 1;
    try {
      await this.open(true);
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
    await this.#learnNewest();
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
    if (this.#keys === null) throw new Error('the target is not open');
    return objectName(this.#keys, sha256);
  }

  holds(sha256: string): boolean {
    return this.#known.has(this.nameOf(sha256));
  }

  session(): PackSession {
    if (this.#keys === null) throw new Error('the target is not open');
    return new PackSession(this.store, this.#keys, (name, location) => this.#known.set(name, location));
  }

  /** Reads, authenticates and checks an object; null when this target does not know it. */
  async get(object: ObjectRef): Promise<Buffer | null> {
    await this.open(false);
    const location = await this.#locate(object.sha256);
    return location === null ? null : this.#readAt(location, object);
  }

  /** Opens many objects of one pack, reading neighbours together; an error per object, null where there is none. */
  async readTogether(
    pack: string,
    wanted: readonly { readonly place: Location; readonly object: ObjectRef }[],
  ): Promise<{ readonly object: ObjectRef; readonly error: unknown }[]> {
    const keys = await this.open(false);
    const answers: { object: ObjectRef; error: unknown }[] = [];
    for (const neighbours of windows(wanted)) {
      try {
        const offset = neighbours[0]?.place.offset ?? 0;
        const end = Math.max(...neighbours.map(({ place }) => place.offset + place.length));
        const path = await this.#pathOf(pack);
        const bytes = await this.store.read(path, { offset, length: end - offset });
        const salt = await this.#saltOf(pack, path);
        for (const { place, object } of neighbours) {
          const record = bytes.subarray(place.offset - offset, place.offset - offset + place.length);
          const [answer] = await Promise.allSettled([openRecord(keys, salt, place.offset, record, object)]);
          answers.push({ object, error: answer.status === 'rejected' ? answer.reason : null });
        }
      } catch (error) {
        for (const { object } of neighbours) answers.push({ object, error });
      }
    }
    return answers;
  }

  async readPoint(manifest: Manifest): Promise<RecoveryPoint> {
    return (await this.readBody(manifest)).point;
  }

  async readBody(manifest: Manifest): Promise<Body> {
    const keys = await this.open(false);
    const bytes = await this.#readAt(manifest.body, null);
    const hash = new Sha256().update(bytes).digest();
    if (objectName(keys, hash) !== manifest.body.name)
      throw new DamagedPack('the body of the point is another object');
    const body = JSON.parse(bytes.toString('utf8')) as Body;
    if (body.format !== bodyFormat || body.point.id !== manifest.point)
      throw new DamagedPack('the body belongs to another point');
    for (const { sha256, ...location } of body.objects) {
      const name = objectName(keys, sha256);
      if (!this.#known.has(name)) this.#known.set(name, location);
    }
    this.#bodiesRead.add(manifest.point);
    return body;
  }

  /** Seals a point here. `fetch` gives objects that this target lacks; it throws when nobody has one. */
  async seal(point: RecoveryPoint, fetch: (object: ObjectRef) => Promise<Buffer>): Promise<void> {
    await this.startWriting();
    try {
      await withLock(this.store, `group-${point.group}`, this.#options.owner, () =>
        this.#sealLocked(point, fetch),
      );
    } finally {
      this.release();
    }
  }

  async #sealLocked(point: RecoveryPoint, fetch: (object: ObjectRef) => Promise<Buffer>): Promise<void> {
    const keys = await this.open(true);
    if (await this.#alreadySealed(point, keys)) return;
    const objects = objectsOf(point);
    await this.#complete(objects, fetch);
    const places = objects.map((object) => ({ sha256: object.sha256, ...this.#placeOf(object) }));
    const body: Body = { format: bodyFormat, point, objects: places };
    const bodyPlace = await this.#writeBody(body);
    await this.#publishManifest(point, body, bodyPlace, keys);
  }

  async #writeBody(body: Body): Promise<{ name: string } & Location> {
    const bytes = Buffer.from(canonicalJson(body));
    const name = this.nameOf(new Sha256().update(bytes).digest());
    const session = this.session();
    try {
      await session.add(name, await compress(bytes), bytes.length);
      await session.commit();
    } catch (error) {
      await session.abort();
      throw error;
    }
    const location = this.#known.get(name);
    if (location === undefined) throw new Error('a body that was just written is not known');
    return { name, ...location };
  }

  async #publishManifest(
    point: RecoveryPoint,
    body: Body,
    bodyPlace: { name: string } & Location,
    keys: CatalogKeys,
  ): Promise<void> {
    const { store } = this;
    const { group } = point;
    const survey = await this.survey(group);
    const newest = survey.points.reduce<(typeof survey.points)[number] | null>(
      (best, one) => (best === null || one.manifest.sequence > best.manifest.sequence ? one : best),
      null,
    );
    const chain = survey.chains.get(group) ?? null;
    const head = newest === null ? null : { sequence: newest.manifest.sequence, sha256: newest.sha256 };
    const last = chain?.value.head ?? null;
    // When the newest manifest cannot be read, the signed chain file still tells where the chain goes on.
    const before = last !== null && last.sequence > (head?.sequence ?? 0) ? last : head;
    const names = [...new Set([bodyPlace.pack, ...body.objects.map((object) => object.pack)])].sort();
    const packs = names.map((name) => ({ name, bytes: survey.packs.get(name)?.bytes ?? -1 }));
    const lost = packs.find((pack) => pack.bytes < 0);
    if (lost !== undefined)
      throw new DamagedPack(`${packPath(lost.name)} has gone while the point was being sealed`);
    const manifest: Manifest = {
      format: manifestFormat,
      catalog: keys.catalogId,
      group,
      point: point.id,
      takenAt: point.takenAt,
      sealedAt: this.#options.now(),
      sequence: (before?.sequence ?? 0) + 1,
      previous: before?.sha256 ?? null,
      vmCount: point.vms.length,
      failureCount: point.failures.length,
      bytes: body.objects.reduce((sum, object) => sum + object.bytes, 0),
      body: bodyPlace,
      packs,
    };
    const { text, sha256 } = signedText(manifest, keys.signing);
    await store.makeDirectory(`points/${group}`);
    await store.syncDirectory('points');
    await writeAtomically(store, manifestPath(point.id), Buffer.from(text));
    await this.writeChain({
      format: chainFormat,
      catalog: keys.catalogId,
      group,
      head: { sequence: manifest.sequence, sha256 },
      pruned: chain?.value.pruned ?? [],
    });
    await this.#readBack(manifest, sha256, keys);
  }

  async writeChain(chain: Chain): Promise<void> {
    const keys = await this.open(false);
    const { text } = signedText(chain, keys.signing);
    await writeAtomically(this.store, `points/${chain.group}/chain`, Buffer.from(text));
  }

  /** What was just written is read again: the manifest, its body, and that every pack is still there. */
  async #readBack(manifest: Manifest, sha256: string, keys: CatalogKeys): Promise<void> {
    const read = await this.#readManifest(manifest.point, keys);
    if (read?.sha256 !== sha256)
      throw new DamagedPack(`${manifestPath(manifest.point)} does not read back as it was written`);
    await this.readBody(read.value);
    const { packs: there } = await listPacks(this.store);
    for (const pack of manifest.packs) {
      if (there.get(pack.name)?.bytes !== pack.bytes)
        throw new DamagedPack(`${packPath(pack.name)} has gone while the point was being sealed`);
    }
    if (!(await this.#packIsWhole(manifest.body.pack)))
      throw new DamagedPack(`${packPath(manifest.body.pack)} does not read back as it was written`);
  }

  async #alreadySealed(point: RecoveryPoint, keys: CatalogKeys): Promise<boolean> {
    const sealed = await this.#readManifest(point.id, keys);
    if (sealed === null) return false;
    const body = await this.readBody(sealed.value);
    if (canonicalJson(body.point) !== canonicalJson(point)) {
      throw new OperatorError({
        code: 'DR-CATALOG-SEALED',
        what: `Recovery point ${point.id} is sealed already in catalog target ${this.name}, with other content`,
        where: { object: `${this.store.address}/${manifestPath(point.id)}` },
        next: 'Export again: a new recovery point gets a new id',
      });
    }
    return true;
  }

  async #readManifest(pointId: string, keys: CatalogKeys): Promise<Signed<Manifest> | null> {
    try {
      return readSigned<Manifest>(
        await this.store.read(manifestPath(pointId)),
        manifestFormat,
        keys.publicKey,
      );
    } catch (error) {
      if (error instanceof StoreMissing) return null;
      if (error instanceof Unsigned)
        throw new DamagedPack(`${manifestPath(pointId)} is damaged: ${error.message}`);
      throw error;
    }
  }

  /**
   * Makes sure that every object lies here whole: looks into packs that nothing names yet, re-reads every pack that the
   * point will rest upon, sets damaged ones aside, and fetches from elsewhere what is still missing.
   */
  async #complete(
    objects: readonly ObjectRef[],
    fetch: (object: ObjectRef) => Promise<Buffer>,
  ): Promise<void> {
    const absent = (): ObjectRef[] => objects.filter((object) => !this.holds(object.sha256));
    if (absent().length > 0) await this.#learnLoosePacks();
    const packs = new Set(
      objects.flatMap((object) => this.#known.get(this.nameOf(object.sha256))?.pack ?? []),
    );
    await mapAtOnce([...packs], async (pack) => {
      if (!(await this.#packIsWhole(pack))) await this.#setAside(pack);
    });
    const missing = absent();
    if (missing.length === 0) return;
    const session = this.session();
    try {
      for (const object of missing) {
        const clear = await fetch(object);
        await session.add(this.nameOf(object.sha256), await compress(clear), clear.length);
      }
      await session.commit();
    } catch (error) {
      await session.abort();
      throw error;
    }
  }

  /** Whether every pack of a point is, byte for byte, what it was. */
  async isWhole(manifest: Manifest): Promise<boolean> {
    const whole = await mapAtOnce(manifest.packs, (pack) => this.#packIsWhole(pack.name));
    return whole.every(Boolean);
  }

  async #packIsWhole(pack: string): Promise<boolean> {
    const hash = new Sha256();
    try {
      for await (const piece of this.store.stream(packPath(pack))) hash.update(piece);
    } catch (error) {
      if (error instanceof StoreMissing) return false;
      throw error;
    }
    return hash.digest() === pack;
  }

  /** Its whole records can still be read there; new points no longer rest upon it. */
  async #setAside(pack: string): Promise<void> {
    for (const [name, location] of this.#known) if (location.pack === pack) this.#known.delete(name);
    if ((await this.store.stat(packPath(pack))) === null) return;
    await this.store.makeDirectory('damaged');
    await this.store.rename(packPath(pack), `damaged/${pack}.pack`);
    await this.store.syncDirectory('damaged');
    await this.store.syncDirectory('packs');
  }

  #placeOf(object: ObjectRef): Location {
    const place = this.#known.get(this.nameOf(object.sha256));
    if (place === undefined)
      throw new DamagedPack(`object ${object.sha256.slice(0, 12)} is not in this target`);
    return place;
  }

  async #locate(sha256: string): Promise<Location | null> {
    const name = this.nameOf(sha256);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const survey = await this.survey(null);
    for (const { manifest } of [...survey.points].sort(newestFirst)) {
      if (this.#bodiesRead.has(manifest.point)) continue;
      await Promise.allSettled([this.readBody(manifest)]);
      const found = this.#known.get(name);
      if (found !== undefined) return found;
    }
    await this.#learnLoosePacks(survey);
    return this.#known.get(name) ?? null;
  }

  /** The newest point of each group names nearly everything that the next one will want again. */
  async #learnNewest(): Promise<void> {
    this.#known = new Map();
    this.#bodiesRead = new Set();
    const survey = await this.survey(null);
    const newest = new Map<string, Manifest>();
    for (const { manifest } of survey.points) {
      if (manifest.sequence > (newest.get(manifest.group)?.sequence ?? 0))
        newest.set(manifest.group, manifest);
    }
    for (const manifest of newest.values()) {
      // A damaged point gives nothing to build upon: its objects are written again.
      await Promise.allSettled([this.readBody(manifest)]);
    }
    const sizes = new Map(
      survey.points.flatMap(({ manifest }) => manifest.packs.map((p) => [p.name, p.bytes])),
    );
    for (const [name, { pack }] of this.#known) {
      if (survey.packs.get(pack)?.bytes !== sizes.get(pack)) this.#known.delete(name);
    }
  }

  /** Objects of packs that no manifest names: what a run wrote before it crashed. */
  async #learnLoosePacks(survey?: Survey): Promise<void> {
    const { points, packs } = survey ?? (await this.survey(null));
    const named = new Set(points.flatMap(({ manifest }) => manifest.packs.map((pack) => pack.name)));
    for (const pack of packs.keys()) {
      if (named.has(pack)) continue;
      const bytes = await this.store.read(packPath(pack));
      if (new Sha256().update(bytes).digest() !== pack) continue;
      this.#salts.set(pack, Uint8Array.from(packSalt(bytes)));
      for (const { name, ...at } of walkRecords(bytes)) {
        if (!this.#known.has(name)) this.#known.set(name, { pack, ...at });
      }
    }
  }

  async #readAt(location: Location, expected: ObjectRef | null): Promise<Buffer> {
    const keys = await this.open(false);
    const path = await this.#pathOf(location.pack);
    const record = await this.store.read(path, { offset: location.offset, length: location.length });
    const salt = await this.#saltOf(location.pack, path);
    try {
      return await openRecord(keys, salt, location.offset, record, expected);
    } catch (error) {
      if (!(error instanceof DamagedPack)) throw error;
      this.#salts.delete(location.pack);
      throw new DamagedPack(`${path}, byte ${location.offset}: ${error.message}`);
    }
  }

  async #saltOf(pack: string, path: string): Promise<Uint8Array> {
    let salt = this.#salts.get(pack);
    if (salt === undefined) {
      salt = packSalt(await this.store.read(path, { offset: 0, length: packHeaderBytes }));
      this.#salts.set(pack, salt);
    }
    return salt;
  }

  async #pathOf(pack: string): Promise<string> {
    const path = packPath(pack);
    if ((await this.store.stat(path)) !== null) return path;
    const aside = `damaged/${pack}.pack`;
    return (await this.store.stat(aside)) === null ? path : aside;
  }

  async close(): Promise<void> {
    this.#holders = 0;
    if (this.#keys !== null) await this.rest();
    await this.store.close();
  }
}

export function manifestPath(pointId: string): string {
  const match = /^([A-Za-z0-9][A-Za-z0-9_.-]*)\/([A-Za-z0-9][A-Za-z0-9_.-]*)$/.exec(pointId);
  if (match === null) {
    throw new OperatorError({
      code: 'DR-POINT-UNKNOWN',
      what: `${JSON.stringify(pointId)} is not the id of a recovery point`,
      next: 'Choose one that `lifeboat catalog list` shows',
    });
  }
  return `points/${match[1]}/${match[2]}.point`;
}

/** Records in the order of the pack, in groups that are read at once: neighbours, up to about 4 MiB. */
function windows<T extends { readonly place: Location }>(wanted: readonly T[]): T[][] {
  const groups: T[][] = [];
  let start = 0;
  let end = 0;
  for (const one of [...wanted].sort((a, b) => a.place.offset - b.place.offset)) {
    const { offset, length } = one.place;
    const group = groups.at(-1);
    if (group === undefined || offset - end > windowBytes / 16 || offset + length - start > windowBytes) {
      groups.push([one]);
      start = offset;
    } else group.push(one);
    end = offset + length;
  }
  return groups;
}

/** Every object that a point names, each once. */
export function objectsOf(point: RecoveryPoint): ObjectRef[] {
  const objects = new Map<string, ObjectRef>();
  for (const vm of point.vms) objects.set(vm.document.sha256, vm.document);
  if (point.database !== null) objects.set(point.database.sha256, point.database);
  return [...objects.values()];
}

export async function readHeaders(store: TargetStore): Promise<{
  readonly header: CatalogHeader | null;
  readonly damage: DamagedHeader | null;
  readonly faults: readonly { readonly file: string; readonly what: string }[];
}> {
  const faults: { file: string; what: string }[] = [];
  const headers: CatalogHeader[] = [];
  let damage: DamagedHeader | null = null;
  for (const file of headerFiles) {
    try {
      headers.push(readHeader(Buffer.from(await store.read(file)).toString('latin1')));
    } catch (error) {
      if (error instanceof StoreMissing) faults.push({ file, what: 'it is missing' });
      else if (error instanceof DamagedHeader) {
        damage = error;
        faults.push({ file, what: error.message });
      } else throw error;
    }
  }
  const [first, second] = headers;
  if (first !== undefined && second !== undefined && headerText(first) !== headerText(second))
    faults.push({ file: headerFiles[1], what: `it is not a copy of ${headerFiles[0]}` });
  return { header: first ?? null, damage, faults };
}

export function newestFirst(a: { readonly manifest: Manifest }, b: { readonly manifest: Manifest }): number {
  const [x, y] = [a.manifest, b.manifest];
  return x.takenAt < y.takenAt ? 1 : x.takenAt > y.takenAt ? -1 : y.sequence - x.sequence;
}
