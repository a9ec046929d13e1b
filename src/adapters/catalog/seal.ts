/**
 * How a point is sealed in one target: what it rests upon is proved whole, then its body, its manifest and the chain are
 * written, and all of it is read back.
 */
import { canonicalJson } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { ObjectRef, RecoveryPoint } from '../../domain/recovery-point.ts';
import type { Instant } from '../../domain/time.ts';
import { Sha256 } from './hash.ts';
import type { CatalogKeys } from './keys.ts';
import {
  type Body,
  bodyFormat,
  type Chain,
  chainFormat,
  type Manifest,
  manifestFormat,
  manifestPath,
  readSigned,
  type Signed,
  signedText,
  Unsigned,
} from './manifest.ts';
import { type ObjectIndex, objectsOf } from './object-index.ts';
import { compress, DamagedPack, type Location } from './pack.ts';
import { listPacks, mapAtOnce, packPath } from './survey.ts';
import { StoreMissing, type TargetStore, writeAtomically } from './target-store.ts';

export interface SealTarget {
  readonly store: TargetStore;
  readonly keys: CatalogKeys;
  readonly index: ObjectIndex;
  readonly now: () => Instant;
}

/** Seals a point in a target whose lock for the group is held. */
export async function sealPoint(
  target: SealTarget,
  point: RecoveryPoint,
  fetch: (object: ObjectRef) => Promise<Buffer>,
): Promise<void> {
  if (await alreadySealed(target, point)) return;
  const objects = objectsOf(point);
  await complete(target, objects, fetch);
  const places = objects.map((object) => ({ sha256: object.sha256, ...target.index.placeOf(object) }));
  const body: Body = { format: bodyFormat, point, objects: places };
  const bodyPlace = await writeBody(target, body);
  await publishManifest(target, point, body, bodyPlace);
}

async function writeBody({ index }: SealTarget, body: Body): Promise<{ name: string } & Location> {
  const bytes = Buffer.from(canonicalJson(body));
  const name = index.nameOf(new Sha256().update(bytes).digest());
  const session = index.session();
  try {
    await session.add(name, await compress(bytes), bytes.length);
    await session.commit();
  } catch (error) {
    await session.abort();
    throw error;
  }
  const location = index.placeNamed(name);
  if (location === undefined) throw new Error('a body that was just written is not known');
  return { name, ...location };
}

async function publishManifest(
  target: SealTarget,
  point: RecoveryPoint,
  body: Body,
  bodyPlace: { name: string } & Location,
): Promise<void> {
  const { store, keys, index } = target;
  const { group } = point;
  const survey = await index.survey(group);
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
    sealedAt: target.now(),
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
  await writeChain(store, keys, {
    format: chainFormat,
    catalog: keys.catalogId,
    group,
    head: { sequence: manifest.sequence, sha256 },
    pruned: chain?.value.pruned ?? [],
  });
  await readBack(target, manifest, sha256);
}

/** What was just written is read again: the manifest, its body, and that every pack is still there. */
async function readBack(target: SealTarget, manifest: Manifest, sha256: string): Promise<void> {
  const { store, index } = target;
  const read = await readManifest(target, manifest.point);
  if (read?.sha256 !== sha256)
    throw new DamagedPack(`${manifestPath(manifest.point)} does not read back as it was written`);
  await index.readBody(read.value);
  const { packs: there } = await listPacks(store);
  for (const pack of manifest.packs) {
    if (there.get(pack.name)?.bytes !== pack.bytes)
      throw new DamagedPack(`${packPath(pack.name)} has gone while the point was being sealed`);
  }
  if (!(await index.packIsWhole(manifest.body.pack)))
    throw new DamagedPack(`${packPath(manifest.body.pack)} does not read back as it was written`);
}

async function alreadySealed(target: SealTarget, point: RecoveryPoint): Promise<boolean> {
  const sealed = await readManifest(target, point.id);
  if (sealed === null) return false;
  const body = await target.index.readBody(sealed.value);
  if (canonicalJson(body.point) !== canonicalJson(point)) {
    throw new OperatorError({
      code: 'DR-CATALOG-SEALED',
      what: `Recovery point ${point.id} is sealed already in catalog target ${target.store.name}, with other content`,
      where: { object: `${target.store.address}/${manifestPath(point.id)}` },
      next: 'Export again: a new recovery point gets a new id',
    });
  }
  return true;
}

async function readManifest({ store, keys }: SealTarget, pointId: string): Promise<Signed<Manifest> | null> {
  try {
    return readSigned<Manifest>(await store.read(manifestPath(pointId)), manifestFormat, keys.publicKey);
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
async function complete(
  { index }: SealTarget,
  objects: readonly ObjectRef[],
  fetch: (object: ObjectRef) => Promise<Buffer>,
): Promise<void> {
  const absent = (): ObjectRef[] => objects.filter((object) => !index.holds(object.sha256));
  if (absent().length > 0) await index.learnLoosePacks();
  const packs = new Set(
    objects.flatMap((object) => index.placeNamed(index.nameOf(object.sha256))?.pack ?? []),
  );
  await mapAtOnce([...packs], async (pack) => {
    if (!(await index.packIsWhole(pack))) await index.setAside(pack);
  });
  const missing = absent();
  if (missing.length === 0) return;
  const session = index.session();
  try {
    for (const object of missing) {
      const clear = await fetch(object);
      await session.add(index.nameOf(object.sha256), await compress(clear), clear.length);
    }
    await session.commit();
  } catch (error) {
    await session.abort();
    throw error;
  }
}

export async function writeChain(store: TargetStore, keys: CatalogKeys, chain: Chain): Promise<void> {
  const { text } = signedText(chain, keys.signing);
  await writeAtomically(store, `points/${chain.group}/chain`, Buffer.from(text));
}
