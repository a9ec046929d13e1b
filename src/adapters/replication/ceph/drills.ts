/**
 * Copies for drills: a thin clone where the point can be cloned, else a full copy of a replica that stood still meanwhile.
 * The name says which drill and which image; the mark in the metadata says that Lifeboat has made it. A copy that died
 * before its mark is known by its name and its parent.
 */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { DrillLeftover, ReplicaPoint } from '../../../domain/replication.ts';
import { imageInfo, imageNames, metadata } from './answers.ts';
import { type Image, imageSpec, poolSpec } from './options.ts';
import { cutsIn, halfArrived, newestCopy } from './points.ts';
import { exits, type Rbd } from './rbd.ts';
import { type ImageState, readState } from './state.ts';

const prefix = 'lifeboat-drill-';
const drillMark = 'lifeboat.drill';
const mark = z.object({ drill: z.string(), volume: z.string(), madeAt: z.string(), point: z.string() });

/** The image name comes last and whole: neither part can be taken for the other. */
export function drillName(image: Image, drill: string): string {
  return `${prefix}${drill.length}-${drill}-${image.name}`;
}

function partsOf(name: string): { readonly drill: string; readonly image: string } | null {
  const [, digits, rest] = /^lifeboat-drill-(\d+)-(.+)$/.exec(name) ?? [];
  if (digits === undefined || rest === undefined) return null;
  const length = Number(digits);
  return { drill: rest.slice(0, length), image: rest.slice(length + 1) };
}

/** Makes the copy, or finds it: its mark is written last, so a copy with a mark is whole. */
export async function makeDrill(
  rbd: Rbd,
  state: ImageState,
  drill: string,
  point: ReplicaPoint,
  now: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const name = drillName(state.image, drill);
  const spec = imageSpec(state.image, name);
  const volume = imageSpec(state.image);
  const seen = markOf(await rbd.read(metadata, ['image-meta', 'ls', spec], signal));
  if (seen !== null && seen.drill === drill && seen.volume === volume) {
    if (seen.point === point.ref) return name;
    throw otherPoint(rbd, drill, seen.point);
  }
  if (await exists(rbd, spec, signal)) await removeOurs(rbd, state.image, drill, signal);
  const cut = cutsIn(state.snapshots).find(({ name: snapshot }) => snapshot === point.ref);
  if (cut === undefined) await copyStanding(rbd, state, spec, signal);
  else await rbd.verb(['clone', '--image-feature', 'layering', `${volume}@${cut.name}`, spec], signal);
  const text = JSON.stringify({ drill, volume, madeAt: now, point: point.ref });
  await rbd.verb(['image-meta', 'set', spec, drillMark, text], signal);
  return name;
}

/** Removes the copy of this drill; nothing that does not carry our name and either our mark or this parent. */
export async function removeOurs(
  rbd: Rbd,
  image: Image,
  drill: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const spec = imageSpec(image, drillName(image, drill));
  const info = await rbd.read(imageInfo, ['info', spec], signal);
  if (info === null) return;
  const seen = markOf(await rbd.read(metadata, ['image-meta', 'ls', spec], signal));
  const marked = seen !== null && seen.drill === drill && seen.volume === imageSpec(image);
  const child = info.parent?.image === image.name && info.parent.pool === image.pool;
  const unfinished = seen === null && (child || info.parent === undefined);
  if (!marked && !unfinished) throw notOurs(rbd, spec);
  const { copySeconds: seconds } = rbd.limits;
  const result = await rbd.verb(['rm', '--no-progress', spec], signal, {
    seconds,
    accept: [exits.absent, exits.notYet],
  });
  if (result.code === exits.notYet) throw inUse(rbd, spec);
}

/** Two commands for the names of a pool, and one more for each copy that is found. */
export async function listDrills(
  rbd: Rbd,
  pools: readonly Pick<Image, 'pool' | 'namespace'>[],
  signal: AbortSignal | undefined,
): Promise<DrillLeftover[]> {
  const found: DrillLeftover[] = [];
  for (const pool of pools) {
    const names = (await rbd.read(imageNames, ['ls', poolSpec(pool)], signal)) ?? [];
    for (const name of names) {
      const parts = partsOf(name);
      if (parts === null) continue;
      const image = { ...pool, name: parts.image };
      const seen = markOf(await rbd.read(metadata, ['image-meta', 'ls', imageSpec(image, name)], signal));
      found.push({ volume: imageSpec(image), drill: parts.drill, name, madeAt: seen?.madeAt ?? null });
    }
  }
  return found;
}

/**
 * Releases before Squid cannot clone a mirror snapshot (storage.md A.5). A replica between two transfers is equal to its
 * newest copy: it is copied whole, and the copy counts only when no transfer began meanwhile.
 */
async function copyStanding(
  rbd: Rbd,
  state: ImageState,
  spec: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const before = newestCopy(state.snapshots)?.id;
  if (halfArrived(state.snapshots) !== null) throw moving(rbd, imageSpec(state.image));
  const { copySeconds: seconds } = rbd.limits;
  await rbd.verb(
    ['cp', '--no-progress', '--image-feature', 'layering', imageSpec(state.image), spec],
    signal,
    { seconds },
  );
  const after = await readState(rbd, state.image, signal);
  if (
    before !== undefined &&
    halfArrived(after.snapshots) === null &&
    newestCopy(after.snapshots)?.id === before
  )
    return;
  await rbd.verb(['rm', '--no-progress', spec], signal, { seconds, accept: [exits.absent] });
  throw moving(rbd, imageSpec(state.image));
}

async function exists(rbd: Rbd, spec: string, signal: AbortSignal | undefined): Promise<boolean> {
  return (await rbd.read(imageInfo, ['info', spec], signal)) !== null;
}

function markOf(meta: Readonly<Record<string, string>> | null): z.infer<typeof mark> | null {
  const text = meta?.[drillMark];
  if (text === undefined) return null;
  try {
    return mark.parse(JSON.parse(text));
  } catch {
    // Not written by us: it proves nothing.
    return null;
  }
}

function moving(rbd: Rbd, spec: string): PortError {
  return rbd.problem('busy', {
    code: 'DR-ARRAY-BUSY',
    what: `A transfer to ${spec} began while it was copied for a drill`,
    known: [
      'this point was not cut by Lifeboat, so it can only be copied while nothing arrives',
      'the copy was removed',
    ],
    next: 'Cut a point first with `lifeboat export`, which can be cloned at any time, or try again',
  });
}

function otherPoint(rbd: Rbd, drill: string, point: string): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-REFUSED',
    what: `Drill ${drill} has its copy already, of another point`,
    known: [`its point is ${point}`],
    next: `Clean it up first: \`lifeboat drill cleanup GROUP\``,
  });
}

function notOurs(rbd: Rbd, spec: string): PortError {
  return rbd.problem('refused', {
    code: 'DR-ARRAY-NOT-OURS',
    what: `Image ${spec} has the name of a drill's copy, but Lifeboat has not made it`,
    known: ['nothing was removed'],
    next: 'Find out who made it, and remove it by hand if nobody needs it',
  });
}

function inUse(rbd: Rbd, spec: string): PortError {
  return new PortError('busy', {
    code: 'DR-ARRAY-BUSY',
    what: `Image ${spec} is still watched by a host`,
    where: { object: `array ${rbd.array}` },
    known: ['Ceph forgets a host that has died after 30 s'],
    next: 'Detach it from the host, then clean up again',
  });
}
