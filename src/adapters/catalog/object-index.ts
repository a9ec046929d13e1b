/** Which objects a target holds and where: learnt from sealed points and from packs that no point names yet. */
import type { ObjectRef, RecoveryPoint } from '../../domain/recovery-point.ts';
import { Sha256 } from './hash.ts';
import { type CatalogKeys, objectName } from './keys.ts';
import { type Body, bodyFormat, type Manifest, newestFirst } from './manifest.ts';
import { DamagedPack, type Location, openRecord, packHeaderBytes, packSalt, walkRecords } from './pack.ts';
import { PackSession } from './session.ts';
import { mapAtOnce, packPath, type Survey, surveyTarget } from './survey.ts';
import { StoreMissing, type TargetStore } from './target-store.ts';

const windowBytes = 4 * 1024 * 1024;

export class ObjectIndex {
  readonly #store: TargetStore;
  readonly #keys: CatalogKeys;
  /** While we write it holds only what lies in packs that are there with their size. */
  #known = new Map<string, Location>();
  #salts = new Map<string, Uint8Array>();
  #bodiesRead = new Set<string>();
  readonly #aside: string[] = [];

  /** Files of damaged packs that were set aside since this target was opened. */
  get aside(): readonly string[] {
    return this.#aside;
  }

  constructor(store: TargetStore, keys: CatalogKeys) {
    this.#store = store;
    this.#keys = keys;
  }

  survey(group: string | null): Promise<Survey> {
    return surveyTarget(this.#store, this.#keys.publicKey, this.#keys.catalogId, group);
  }

  /** A session whose objects are known here as soon as their packs are published. */
  session(): PackSession {
    return new PackSession(this.#store, this.#keys, (name, location) => this.#known.set(name, location));
  }

  nameOf(sha256: string): string {
    return objectName(this.#keys, sha256);
  }

  holds(sha256: string): boolean {
    return this.#known.has(this.nameOf(sha256));
  }

  /** Reads, authenticates and checks an object; null when this target does not know it. */
  async get(object: ObjectRef): Promise<Buffer | null> {
    const location = await this.#locate(object.sha256);
    return location === null ? null : this.#readAt(location, object);
  }

  /** Opens many objects of one pack, reading neighbours together; an error per object, null where there is none. */
  async readTogether(
    pack: string,
    wanted: readonly { readonly place: Location; readonly object: ObjectRef }[],
  ): Promise<{ readonly object: ObjectRef; readonly error: unknown }[]> {
    const keys = this.#keys;
    const answers: { object: ObjectRef; error: unknown }[] = [];
    for (const neighbours of windows(wanted)) {
      try {
        const offset = neighbours[0]?.place.offset ?? 0;
        const end = Math.max(...neighbours.map(({ place }) => place.offset + place.length));
        const path = await this.#pathOf(pack);
        const bytes = await this.#store.read(path, { offset, length: end - offset });
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

  async readBody(manifest: Manifest): Promise<Body> {
    const keys = this.#keys;
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

  placeNamed(name: string): Location | undefined {
    return this.#known.get(name);
  }

  placeOf(object: ObjectRef): Location {
    const place = this.#known.get(this.nameOf(object.sha256));
    if (place === undefined)
      throw new DamagedPack(`object ${object.sha256.slice(0, 12)} is not in this target`);
    return place;
  }

  async #locate(sha256: string): Promise<Location | null> {
    await this.#learnUntilFound([sha256]);
    return this.#known.get(this.nameOf(sha256)) ?? null;
  }

  /** The newest point of each group names nearly everything that the next one will want again. */
  async learnNewest(): Promise<void> {
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
  async learnLoosePacks(survey?: Survey): Promise<void> {
    const { points, packs } = survey ?? (await this.survey(null));
    const named = new Set(points.flatMap(({ manifest }) => manifest.packs.map((pack) => pack.name)));
    for (const pack of packs.keys()) {
      if (named.has(pack)) continue;
      const bytes = await this.#store.read(packPath(pack));
      if (new Sha256().update(bytes).digest() !== pack) continue;
      this.#salts.set(pack, Uint8Array.from(packSalt(bytes)));
      for (const { name, ...at } of walkRecords(bytes)) {
        if (!this.#known.has(name)) this.#known.set(name, { pack, ...at });
      }
    }
  }

  /** Those of the objects that no pack holds, or only one that is not what it was. */
  async lacking(objects: readonly ObjectRef[]): Promise<ObjectRef[]> {
    await this.#learnUntilFound(objects.map((object) => object.sha256));
    const packOf = ({ sha256 }: ObjectRef): string | undefined => this.#known.get(this.nameOf(sha256))?.pack;
    const damaged = new Set<string>();
    await mapAtOnce([...new Set(objects.flatMap((object) => packOf(object) ?? []))], async (pack) => {
      if (!(await this.packIsWhole(pack))) damaged.add(pack);
    });
    return objects.filter((object) => {
      const pack = packOf(object);
      return pack === undefined || damaged.has(pack);
    });
  }

  /** Reads older points, newest first, as long as one of these is missing. */
  async #learnUntilFound(sha256s: readonly string[]): Promise<void> {
    const allFound = (): boolean => sha256s.every((sha256) => this.holds(sha256));
    if (allFound()) return;
    const survey = await this.survey(null);
    for (const { manifest } of [...survey.points].sort(newestFirst)) {
      if (this.#bodiesRead.has(manifest.point)) continue;
      await Promise.allSettled([this.readBody(manifest)]);
      if (allFound()) return;
    }
    await this.learnLoosePacks(survey);
  }

  async packIsWhole(pack: string): Promise<boolean> {
    const hash = new Sha256();
    try {
      for await (const piece of this.#store.stream(packPath(pack))) hash.update(piece);
    } catch (error) {
      if (error instanceof StoreMissing) return false;
      throw error;
    }
    return hash.digest() === pack;
  }

  /** Its whole records can still be read there; new points no longer rest upon it. */
  async setAside(pack: string): Promise<void> {
    for (const [name, location] of this.#known) if (location.pack === pack) this.#known.delete(name);
    if ((await this.#store.stat(packPath(pack))) === null) return;
    await this.#store.makeDirectory('damaged');
    await this.#store.rename(packPath(pack), `damaged/${pack}.pack`);
    this.#aside.push(`damaged/${pack}.pack`);
    await this.#store.syncDirectory('damaged');
    await this.#store.syncDirectory('packs');
  }

  async #readAt(location: Location, expected: ObjectRef | null): Promise<Buffer> {
    const keys = this.#keys;
    const path = await this.#pathOf(location.pack);
    const record = await this.#store.read(path, { offset: location.offset, length: location.length });
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
      // A copy: the bytes that were read belong to a buffer a thousand times as large.
      salt = Uint8Array.from(packSalt(await this.#store.read(path, { offset: 0, length: packHeaderBytes })));
      this.#salts.set(pack, salt);
    }
    return salt;
  }

  async #pathOf(pack: string): Promise<string> {
    const path = packPath(pack);
    if ((await this.#store.stat(path)) !== null) return path;
    const aside = `damaged/${pack}.pack`;
    return (await this.#store.stat(aside)) === null ? path : aside;
  }
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
