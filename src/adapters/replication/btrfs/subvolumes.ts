/** Subvolumes, records and points out of what the look at a btrfs filer prints. */
import { readMark } from '../send-receive/marks.ts';
import type { StoredPoint, VolumeState } from '../send-receive/store.ts';

export interface Subvolume {
  readonly id: number;
  readonly uuid: string;
  readonly parentUuid: string;
  readonly receivedUuid: string;
  readonly path: string;
  readonly readonly: boolean;
}

export interface FilerLook {
  readonly subvolumes: ReadonlyMap<string, Subvolume>;
  /** Text of the records of ours, by path. */
  readonly records: ReadonlyMap<string, string>;
  readonly drills: ReadonlyMap<string, string>;
}

const listed = /^subvolume ID (\d+) .* parent_uuid (\S+)\s+received_uuid (\S+)\s+uuid (\S+) path (.*)$/;

export function readFiler(lines: readonly string[]): FilerLook {
  const closed = new Set(lines.map((line) => /^readonly ID .* path (.*)$/.exec(line)?.[1]));
  const subvolumes = new Map<string, Subvolume>();
  for (const line of lines) {
    const [, id, parentUuid, receivedUuid, uuid, path] = listed.exec(line) ?? [];
    if (id === undefined || parentUuid === undefined || receivedUuid === undefined) continue;
    if (uuid === undefined || path === undefined) continue;
    const readonly = closed.has(path);
    subvolumes.set(path, { id: Number(id), uuid, parentUuid, receivedUuid, path, readonly });
  }
  return { subvolumes, records: textsOf('record', lines), drills: textsOf('drill', lines) };
}

function textsOf(kind: string, lines: readonly string[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const line of lines) {
    const [, path, text = ''] = new RegExp(`^${kind} (\\S+)(?: (.*))?$`).exec(line) ?? [];
    if (path !== undefined) texts.set(path, text);
  }
  return texts;
}

export function recordPath(volume: string, name: 'mark' | 'sent' | 'access'): string {
  return `.lifeboat/${volume}/${name}`;
}

export function pointsPath(volume: string): string {
  return `.lifeboat/${volume}/points`;
}

/** Its name is not that of a point, so that it is never taken for one. */
export const bridgeName = 'bridge';

export function drillPath(volume: string, drill: string): string {
  return `.lifeboat/${volume}/drills/${drill}`;
}

export function copyName(volume: string, drill: string): string {
  return `${volume}.lifeboat-drill-${drill}`;
}

export interface SubvolumePoint extends StoredPoint {
  /** It came from the other filer, and was not cut here. */
  readonly received: boolean;
}

export interface SubvolumeState extends VolumeState {
  readonly points: readonly SubvolumePoint[];
  /** A bridge (scripts.ts) of the last transfer is still here. */
  readonly bridged: boolean;
}

/** The points of a volume with their subvolumes, in the order in which they came to be here. */
export function pointsOf(
  volume: string,
  { subvolumes }: FilerLook,
): readonly (SubvolumePoint & { readonly subvolume: Subvolume })[] {
  const prefix = `${pointsPath(volume)}/`;
  return [...subvolumes.values()]
    .filter(({ path }) => path.startsWith(prefix))
    .sort((a, b) => a.id - b.id)
    .flatMap((subvolume) => {
      const name = subvolume.path.slice(prefix.length);
      const [, tag, seconds] = /^([^@/]+)@(\d+)$/.exec(name) ?? [];
      if (tag === undefined) return [];
      const received = subvolume.receivedUuid !== '-';
      return [
        {
          ref: received ? subvolume.receivedUuid : subvolume.uuid,
          received,
          name,
          tag,
          takenAtSeconds: Number(seconds),
          // A receive that broke off leaves the name, writable (storage.md A.3).
          complete: subvolume.readonly,
          ours: true,
          consistency: 'crash' as const,
          subvolume,
        },
      ];
    });
}

/** Null when neither the volume nor anything that we keep for it is there. */
export function stateOfSubvolume(
  volume: string,
  look: FilerLook,
  transferring: boolean,
): SubvolumeState | null {
  const head = look.subvolumes.get(volume);
  const mark = readMark(look.records.get(recordPath(volume, 'mark')));
  const points = pointsOf(volume, look);
  if (head === undefined && mark === null && points.length === 0) return null;
  return {
    volume,
    writable: head !== undefined && !head.readonly,
    points: points.map(({ subvolume: _, ...point }) => point),
    bridged: look.subvolumes.has(`${pointsPath(volume)}/${bridgeName}`),
    mark,
    sent: look.records.get(recordPath(volume, 'sent')) ?? null,
    transferring,
    bytesSinceNewest: null,
    raw: {
      head: head === undefined ? 'none' : head.uuid,
      readonly: String(head?.readonly ?? true),
      mark: look.records.get(recordPath(volume, 'mark')) ?? '-',
      points: String(points.length),
    },
  };
}
