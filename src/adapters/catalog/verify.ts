/**
 * The proof of one target. Every stored byte is read once and hashed: the name of a pack is the SHA-256 of its bytes,
 * manifests name the packs, signatures cover the manifests. `deep` also decrypts, unpacks and hashes every object.
 */
import type { ObjectRef } from '../../domain/recovery-point.ts';
import { Sha256 } from './hash.ts';
import { headerFiles, readHeaders } from './header-files.ts';
import type { Body } from './manifest.ts';
import { objectsOf } from './object-index.ts';
import { DamagedPack, type Location } from './pack.ts';
import { mapAtOnce, packPath, type Survey, type SurveyedPoint } from './survey.ts';
import type { Target } from './target.ts';

export interface TargetProof {
  readonly points: readonly string[];
  /** Clear-text hashes of the objects that were decrypted, or names of the packs that were hashed. */
  readonly objects: readonly string[];
  readonly bytesRead: number;
  readonly damage: readonly { readonly file: string; readonly point: string | null; readonly what: string }[];
  readonly notes: readonly { readonly file: string; readonly what: string }[];
}

export interface ProofOptions {
  readonly group: string | null;
  readonly pointId: string | null;
  readonly deep: boolean;
  readonly onProgress: (done: number, total: number) => void;
}

export async function proveTarget(
  target: Target,
  options: ProofOptions,
  signal?: AbortSignal,
): Promise<TargetProof> {
  const { store } = target;
  await target.open(false);
  const group = options.group ?? options.pointId?.split('/')[0] ?? null;
  const survey = await target.survey(group);
  const whole = group === null;
  const points = survey.points.filter(
    ({ manifest }) => options.pointId === null || manifest.point === options.pointId,
  );
  const damage = survey.damage.filter(({ point }) => options.pointId === null || point === options.pointId);
  const notes: { file: string; what: string }[] = [...survey.notes];
  const headers = await readHeaders(store);
  for (const { file, what } of headers.faults) damage.push({ file, point: null, what: `damaged: ${what}` });

  const users = usersOf(points);
  const wanted = whole
    ? [...survey.packs.keys()]
    : [...users.keys()].filter((name) => survey.packs.has(name));
  let bytesRead = 0;
  let done = 0;
  const bad = new Set<string>();
  await mapAtOnce(wanted, async (pack) => {
    signal?.throwIfAborted();
    const hash = new Sha256();
    for await (const piece of store.stream(packPath(pack))) {
      hash.update(piece);
      bytesRead += piece.length;
      signal?.throwIfAborted();
    }
    if (hash.digest() !== pack) bad.add(pack);
    done += 1;
    options.onProgress(done, wanted.length);
  });
  for (const pack of bad) damage.push(...(await nameDamage(target, pack, users.get(pack) ?? [])));
  if (whole) {
    damage.push(...(await strangers(target, survey)));
    for (const name of survey.packs.keys())
      if (!users.has(name)) notes.push({ file: packPath(name), what: 'no point needs it; prune removes it' });
    for (const directory of ['tmp', 'locks', 'writers', 'damaged']) {
      for (const entry of await store.list(directory))
        notes.push({
          file: `${directory}/${entry.name}`,
          what:
            directory === 'damaged'
              ? 'a damaged pack, set aside'
              : 'left over from a run that was cut off, or in use',
        });
    }
  }
  const objects = new Set<string>();
  if (options.deep) {
    for (const point of points) {
      const faults = await openAll(target, point, objects, signal);
      for (const fault of faults) if (!bad.has(fault.pack ?? '')) damage.push(fault);
    }
  }
  return {
    points: points.map(({ manifest }) => manifest.point),
    objects: options.deep ? [...objects] : wanted,
    bytesRead,
    damage: unique(damage),
    notes,
  };
}

function usersOf(points: readonly SurveyedPoint[]): Map<string, SurveyedPoint[]> {
  const users = new Map<string, SurveyedPoint[]>();
  for (const point of points) {
    for (const { name } of point.manifest.packs) {
      const list = users.get(name);
      if (list === undefined) users.set(name, [point]);
      else list.push(point);
    }
  }
  return users;
}

/** A pack whose bytes are not what its name says: which points, and which of their VMs, does it hit? */
async function nameDamage(
  target: Target,
  pack: string,
  users: readonly SurveyedPoint[],
): Promise<TargetProof['damage']> {
  const file = packPath(pack);
  const what = 'the bytes of the pack are not what they were (SHA-256 differs)';
  if (users.length === 0) return [{ file, point: null, what: `${what}; no point needs it` }];
  return Promise.all(
    users.map(async ({ manifest }) => {
      try {
        const body = await target.readBody(manifest);
        const hit: string[] = [];
        for (const object of objectsOf(body.point)) {
          const place = body.objects.find((one) => one.sha256 === object.sha256);
          if (place?.pack !== pack || (await opens(target, object))) continue;
          hit.push(labelOf(body.point, object));
        }
        const detail =
          hit.length === 0 ? 'all objects of this point can still be read' : `lost: ${hit.join(', ')}`;
        return { file, point: manifest.point, what: `${what}; ${detail}` };
      } catch (error) {
        const detail = error instanceof DamagedPack ? 'the point itself cannot be read' : String(error);
        return { file, point: manifest.point, what: `${what}; ${detail}` };
      }
    }),
  );
}

async function opens(target: Target, object: ObjectRef): Promise<boolean> {
  try {
    return (await target.get(object)) !== null;
  } catch (error) {
    if (error instanceof DamagedPack) return false;
    throw error;
  }
}

function labelOf(
  point: { readonly vms: readonly { readonly nameLabel: string; readonly document: ObjectRef }[] },
  object: ObjectRef,
): string {
  const vm = point.vms.find((one) => one.document.sha256 === object.sha256);
  return vm === undefined ? 'the pool database' : `VM ${vm.nameLabel}`;
}

interface DeepFault {
  readonly file: string;
  readonly point: string;
  readonly what: string;
  readonly pack: string | null;
}

/** Opens what the points before have not opened; `opened` grows. A pack is read once for all objects in it. */
async function openAll(
  target: Target,
  surveyed: SurveyedPoint,
  opened: Set<string>,
  signal?: AbortSignal,
): Promise<DeepFault[]> {
  const { manifest } = surveyed;
  const faults: DeepFault[] = [];
  const blame = (file: string, what: string, pack: string | null): void => {
    faults.push({ file, point: manifest.point, what, pack });
  };
  let body: Body;
  try {
    body = await target.readBody(manifest);
  } catch (error) {
    if (!(error instanceof DamagedPack) && !isMissing(error)) throw error;
    blame(packPath(manifest.body.pack), `the point cannot be read: ${error.message}`, manifest.body.pack);
    return faults;
  }
  const places = new Map(body.objects.map((object) => [object.sha256, object]));
  const packs = new Set(manifest.packs.map((pack) => pack.name));
  const byPack = new Map<string, { place: Location; object: ObjectRef }[]>();
  for (const object of objectsOf(body.point)) {
    if (opened.has(object.sha256)) continue;
    const place = places.get(object.sha256);
    if (place === undefined || !packs.has(place.pack)) {
      blame(surveyed.file, `${labelOf(body.point, object)} has no place in the manifest`, null);
      continue;
    }
    const list = byPack.get(place.pack);
    if (list === undefined) byPack.set(place.pack, [{ place, object }]);
    else list.push({ place, object });
  }
  for (const [pack, wanted] of byPack) {
    signal?.throwIfAborted();
    const answers = await target.readTogether(pack, wanted);
    for (const { object, error } of answers) {
      if (error === null) opened.add(object.sha256);
      else if (!(error instanceof DamagedPack) && !isMissing(error)) throw error;
      else blame(packPath(pack), `${labelOf(body.point, object)} cannot be read: ${error.message}`, pack);
    }
  }
  return faults;
}

function isMissing(error: unknown): error is Error {
  return error instanceof Error && error.name === 'StoreMissing';
}

/** Files that nothing of ours would have written. */
async function strangers(
  target: Target,
  survey: Survey,
): Promise<{ file: string; point: null; what: string }[]> {
  const { store } = target;
  const ours = new Set<string>([
    ...headerFiles,
    'packs',
    'points',
    'tmp',
    'locks',
    'writers',
    'damaged',
    'lost+found',
  ]);
  const what = 'a file that does not belong to the catalog';
  const found: { file: string; point: null; what: string }[] = [];
  for (const { name } of await store.list(''))
    if (!ours.has(name)) found.push({ file: name, point: null, what });
  for (const name of survey.strangePacks) found.push({ file: `packs/${name}`, point: null, what });
  return found;
}

function unique<T extends { readonly file: string; readonly point: string | null; readonly what: string }>(
  items: readonly T[],
): T[] {
  return [...new Map(items.map((item) => [`${item.file}\n${item.point}\n${item.what}`, item])).values()];
}
