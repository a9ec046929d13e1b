/** Datasets and snapshots as `zfs get -Hp -o name,property,value,source` prints them, which every ZFS can. */
import { readMark } from '../send-receive/marks.ts';
import type { StoredPoint, VolumeState } from '../send-receive/store.ts';

/** Properties of ours. Marks of a parent are inherited, so only a local value counts. */
export const ours = {
  mark: 'lifeboat:mark',
  sent: 'lifeboat:sent',
  tag: 'lifeboat:tag',
  access: 'lifeboat:access',
  drill: 'lifeboat:drill',
  of: 'lifeboat:of',
  point: 'lifeboat:point',
  made: 'lifeboat:made',
  kept: 'lifeboat:kept',
} as const;

export const looked = [
  'type',
  'guid',
  'creation',
  'createtxg',
  'readonly',
  'mounted',
  'mountpoint',
  'origin',
  ours.mark,
  ours.sent,
  ours.tag,
  ours.access,
];

/** Known to newer releases only. */
export const resumeToken = 'receive_resume_token';

export interface Dataset {
  readonly name: string;
  readonly values: Readonly<Record<string, string>>;
  /** Values that were set on this very dataset. */
  readonly local: Readonly<Record<string, string>>;
}

export const snapshotPrefix = 'lifeboat-';
/** Cut and removed again to find out whether anything was written; never a point. */
export const probeName = `${snapshotPrefix}probe`;

/** The name of a point: its tag and, when the volume has others below it, how many belong together. */
export function snapshotName(tag: string, parts: number): string {
  return `${snapshotPrefix}${tag}${parts === 1 ? '' : `:${parts}`}`;
}

function partsIn(name: string): number {
  return Number(/:(\d+)$/.exec(name)?.[1] ?? 1);
}

export function readDatasets(lines: readonly string[]): Dataset[] {
  const found = new Map<
    string,
    { name: string; values: Record<string, string>; local: Record<string, string> }
  >();
  for (const line of lines) {
    const [name = '', property = '', value = '', source = ''] = line.split('\t');
    let dataset = found.get(name);
    if (dataset === undefined) {
      dataset = { name, values: {}, local: {} };
      found.set(name, dataset);
    }
    dataset.values[property] = value;
    if (source === 'local') dataset.local[property] = value;
  }
  return [...found.values()];
}

/** A volume, what lies below it, and the snapshots of each. */
export interface VolumeData {
  readonly root: Dataset;
  /** The volume and everything below it, parents before children. */
  readonly parts: readonly Part[];
}

export interface Part {
  /** '' for the volume itself, else what follows its name. */
  readonly suffix: string;
  readonly dataset: Dataset;
  /** Oldest first. */
  readonly snapshots: readonly Dataset[];
  /** Oldest first; none where ZFS has no bookmarks. */
  readonly bookmarks: readonly Dataset[];
}

/** What `receive -s` has kept of a stream that broke off; null when there is nothing. */
export function tokenOf({ values }: Dataset): string | null {
  const token = values[resumeToken] ?? '-';
  return token === '-' || token === '' ? null : token;
}

/** The volumes out of all that was printed; one that is not there is missing. */
export function volumesIn(
  datasets: readonly Dataset[],
  names: readonly string[],
): ReadonlyMap<string, VolumeData> {
  const wanted = new Set(names);
  const marked = (sign: '@' | '#'): Map<string, Dataset[]> =>
    Map.groupBy(
      datasets.filter(({ name }) => name.includes(sign)),
      ({ name }) => name.slice(0, name.indexOf(sign)),
    );
  const [snapshots, bookmarks] = [marked('@'), marked('#')];
  const parts = new Map<string, Part[]>();
  for (const dataset of datasets) {
    if (/[@#]/.test(dataset.name)) continue;
    const volume = volumeOf(dataset.name, wanted);
    if (volume === null) continue;
    const list = parts.get(volume) ?? [];
    parts.set(volume, list);
    const of = (all: ReadonlyMap<string, Dataset[]>): Dataset[] => (all.get(dataset.name) ?? []).sort(byAge);
    const suffix = dataset.name.slice(volume.length);
    list.push({ suffix, dataset, snapshots: of(snapshots), bookmarks: of(bookmarks) });
  }
  const found = new Map<string, VolumeData>();
  for (const [volume, list] of parts) {
    list.sort((a, b) => (a.suffix < b.suffix ? -1 : 1));
    const root = list[0]?.dataset;
    if (root?.name === volume) found.set(volume, { root, parts: list });
  }
  return found;
}

function volumeOf(dataset: string, wanted: ReadonlySet<string>): string | null {
  for (let name = dataset; name !== ''; name = name.slice(0, Math.max(0, name.lastIndexOf('/'))))
    if (wanted.has(name)) return name;
  return null;
}

/** Two snapshots of one transaction group are told apart by nothing, and need not be. */
function byAge(a: Dataset, b: Dataset): number {
  return Number(a.values['createtxg']) - Number(b.values['createtxg']);
}

export function shortName({ name }: Dataset): string {
  return name.slice(name.search(/[@#]/) + 1);
}

export function stateOfVolume(
  volume: string,
  data: VolumeData,
  transferring: boolean,
  foreign: RegExp,
): VolumeState {
  const { values, local } = data.root;
  const { snapshots: root = [], bookmarks = [] } = data.parts[0] ?? {};
  const written = Number(values['written']);
  return {
    volume,
    // Of a first stream that broke off there is a name and nothing that could be mounted.
    writable: values['readonly'] === 'off' && !(root.length === 0 && tokenOf(data.root) !== null),
    points: root.flatMap((snapshot) => storedPoint(snapshot, data, foreign) ?? []),
    remembered: bookmarks.map(rememberedPoint),
    asReceived: isAsReceived(data),
    mark: readMark(local[ours.mark]),
    sent: local[ours.sent] ?? null,
    transferring,
    bytesSinceNewest: Number.isFinite(written) ? written : null,
    raw: { ...values, snapshots: String(root.length), datasets: String(data.parts.length) },
  };
}

/** Without grants, clones and snapshots of others, and never a sender: nobody but the receiver has done anything here. */
function isAsReceived({ parts }: VolumeData): boolean {
  return parts.every(
    ({ dataset: { values, local }, snapshots }) =>
      (values['origin'] ?? '-') === '-' &&
      local[ours.access] === undefined &&
      local[ours.sent] === undefined &&
      snapshots.every((one) => shortName(one).startsWith(snapshotPrefix)),
  );
}

function rememberedPoint(bookmark: Dataset): StoredPoint {
  const name = shortName(bookmark);
  return {
    ref: bookmark.values['guid'] ?? '',
    name,
    tag: null,
    takenAtSeconds: Number(bookmark.values['creation']),
    complete: true,
    ours: name.startsWith(snapshotPrefix),
    consistency: 'crash',
  };
}

/** A snapshot as a point; null for one that neither we nor a known replicator made. */
function storedPoint(snapshot: Dataset, { parts }: VolumeData, foreign: RegExp): StoredPoint | null {
  const name = shortName(snapshot);
  const local = snapshot.local[ours.tag];
  const named = name.startsWith(snapshotPrefix);
  if (name === probeName) return null;
  if (!named && local === undefined && !foreign.test(name)) return null;
  const present = parts.filter(({ snapshots }) => snapshots.some((one) => shortName(one) === name));
  return {
    ref: snapshot.values['guid'] ?? '',
    name,
    tag: local ?? (named ? name.slice(snapshotPrefix.length).replace(/:\d+$/, '') : null),
    takenAtSeconds: Number(snapshot.values['creation']),
    complete: present.length >= (named ? partsIn(name) : 1),
    ours: local !== undefined || named,
    consistency: present.length > 1 ? 'group' : 'crash',
  };
}
