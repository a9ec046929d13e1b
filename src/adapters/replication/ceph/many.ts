/** Many images with a number of commands that does not grow with them: the pool's own status, and one list of all snapshots. */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { FoundPair, PairView } from '../../../domain/replication.ts';
import { type ImageStatus, listsIn, poolInfo, poolStatus, type Snapshot, snapshotList } from './answers.ts';
import { type Image, imageSpec, parseImage, poolSpec } from './options.ts';
import type { Rbd } from './rbd.ts';
import { absent, type ImageState, markIn, marks, roleOf, viewOf } from './state.ts';

type Pool = Pick<Image, 'pool' | 'namespace'>;

interface Listed {
  readonly states: ReadonlyMap<string, ImageState>;
  /** Name of the peer's site in the settings of Ceph; empty when there is no peer. */
  readonly peerSite: string;
}

const poolDetails = z.array(
  z.object({
    pool_name: z.string(),
    application_metadata: z.record(z.string(), z.unknown()).default({}),
  }),
);
const namespaces = z.array(z.object({ name: z.string() }));

export async function observeMany(
  rbd: Rbd,
  volumes: readonly string[],
  now: () => string,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, PairView | PortError>> {
  const views = new Map<string, PairView | PortError>();
  const wanted = new Map<string, Image[]>();
  for (const volume of volumes) {
    const image = orError(() => parseImage(rbd.array, volume));
    if (image instanceof PortError) views.set(volume, image);
    else wanted.set(poolSpec(image), [...(wanted.get(poolSpec(image)) ?? []), image]);
  }
  for (const images of wanted.values()) {
    const [pool] = images;
    if (pool === undefined) continue;
    const listed = await listPool(rbd, pool, new Set(images.map(({ name }) => name)), signal);
    for (const image of images) {
      const volume = imageSpec(image);
      const state = listed?.states.get(image.name);
      views.set(
        volume,
        state === undefined ? absent(rbd.array, volume) : viewOf(rbd.array, volume, now(), state),
      );
    }
  }
  return views;
}

/** Every mirrored image of every pool and namespace that is used by RBD. */
export async function discoverAll(rbd: Rbd, signal: AbortSignal | undefined): Promise<FoundPair[]> {
  const found: FoundPair[] = [];
  for (const pool of await mirroredPools(rbd, signal)) {
    const listed = await listPool(rbd, pool, null, signal);
    for (const [name, state] of listed?.states ?? []) {
      const volume = imageSpec({ ...pool, name });
      const peer = listed?.peerSite === '' || listed === null ? null : { array: listed.peerSite, volume };
      found.push({ volume, role: roleOf(state), peer });
    }
  }
  return found;
}

/** Pools and namespaces where mirroring is on. */
export async function mirroredPools(rbd: Rbd, signal: AbortSignal | undefined): Promise<Pool[]> {
  const args = ['osd', 'pool', 'ls', 'detail', '--format', 'json'];
  const pools = rbd.parsed(poolDetails, (await rbd.ceph(args, signal)).stdout, args);
  const all: Pool[] = [];
  for (const { pool_name: pool, application_metadata } of pools) {
    if (!('rbd' in application_metadata)) continue;
    const inside = (await rbd.read(namespaces, ['namespace', 'ls', pool], signal)) ?? [];
    all.push(...['', ...inside.map(({ name }) => name)].map((namespace) => ({ pool, namespace })));
  }
  const modes = await Promise.all(
    all.map((pool) => rbd.read(poolInfo, ['mirror', 'pool', 'info', poolSpec(pool)], signal)),
  );
  return all.filter((_, at) => (modes[at]?.mode ?? 'disabled') !== 'disabled');
}

/** Null where the pool is not there or not mirrored. */
async function listPool(
  rbd: Rbd,
  pool: Pool,
  names: ReadonlySet<string> | null,
  signal: AbortSignal | undefined,
): Promise<Listed | null> {
  const spec = poolSpec(pool);
  const status = await rbd
    .read(poolStatus, ['mirror', 'pool', 'status', '--verbose', spec], signal)
    .catch(refusedAsNull);
  if (status === null) return null;
  const images = status.images.filter(({ name }) => names === null || names.has(name));
  const specs = images.map(({ name }) => imageSpec({ ...pool, name }));
  const text = await rbd.ofMany(['snap', 'ls', '--all', '--format', 'json'], specs, [], signal);
  const byGlobalId = snapshotsByGlobalId(rbd, text);
  const primaries = images.filter((image) => isPrimary(image, byGlobalId.get(image.global_id) ?? []));
  const marked = markedVolumes(
    await rbd.ofMany(
      ['image-meta', 'get'],
      primaries.map(({ name }) => imageSpec({ ...pool, name })),
      [marks.promoted],
      signal,
    ),
  );
  const states = images.map((image): [string, ImageState] => {
    const snapshots = byGlobalId.get(image.global_id) ?? [];
    return [
      image.name,
      stateOf({ ...pool, name: image.name }, image, snapshots, primaries.includes(image), marked),
    ];
  });
  return { states: new Map(states), peerSite: status.images[0]?.peer_sites[0]?.site_name ?? '' };
}

function stateOf(
  image: Image,
  status: ImageStatus,
  snapshots: readonly Snapshot[],
  primary: boolean,
  marked: ReadonlyMap<string, string>,
): ImageState {
  const mark = markIn(marked.get(imageSpec(image)));
  const mode = snapshots.some(({ namespace }) => namespace.type === 'mirror') ? 'snapshot' : 'journal';
  return {
    image,
    info: {
      name: image.name,
      // The list of a pool does not tell ids: the mark is taken by the name that it carries.
      id: mark?.image ?? '',
      size: 0,
      mirroring: { mode, state: 'enabled', global_id: status.global_id, primary },
    },
    snapshots,
    status,
    meta: mark === null ? {} : { [marks.promoted]: JSON.stringify(mark) },
    underWay: null,
  };
}

/** By the newest mirror snapshot; in journal mode there is none, and only the status tells. */
function isPrimary(status: ImageStatus, snapshots: readonly Snapshot[]): boolean {
  const mirrors = snapshots.flatMap(({ id, namespace }) =>
    'complete' in namespace ? [{ id, namespace }] : [],
  );
  if (mirrors.length === 0) return /local image is primary/.test(status.description);
  const newest = mirrors.reduce((best, one) => (one.id > best.id ? one : best));
  return newest.namespace.state === 'primary';
}

/** A mirror snapshot is named after the image's id that both sides share. */
function snapshotsByGlobalId(rbd: Rbd, text: string): Map<string, Snapshot[]> {
  const lists = listsIn(text).map((list) => rbd.parsed(snapshotList, JSON.stringify(list), ['snap', 'ls']));
  return new Map(
    lists.flatMap((list) => {
      const id = list
        .map(({ name }) => /^\.mirror\.(?:non_)?primary\.([0-9a-f-]{36})\./.exec(name)?.[1])
        .find(Boolean);
      return id === undefined ? [] : [[id, list] as const];
    }),
  );
}

function markedVolumes(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap((line) => {
      const mark = markIn(line);
      return mark === null ? [] : [[mark.volume, line] as const];
    }),
  );
}

function refusedAsNull(error: unknown): null {
  if (error instanceof PortError && error.kind === 'refused') return null;
  throw error;
}

function orError<T>(work: () => T): T | PortError {
  try {
    return work();
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
}
