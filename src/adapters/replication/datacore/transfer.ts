/**
 * A point under a tag: a time at the source up to which everything has arrived. The array keeps no points of its own;
 * this one is known when its buffer was seen empty in two figures that are younger than the first, and it is then
 * written down at the destination.
 */
import { PortError } from '../../../domain/errors.ts';
import type { ReplicaPoint } from '../../../domain/replication.ts';
import type { Clock } from '../../../ports/system.ts';
import { busy, notUnderstood } from '../rest/errors.ts';
import { type Pace, pollUntil } from '../rest/poll.ts';
import type { DatacoreApi } from './api.ts';
import { type MarkedPoint, markOf, writeMark } from './mark.ts';
import { bytesToSend, collectedAt, linkIsBroken, pointsOf, replicaPoint } from './state.ts';

export interface Carrying {
  readonly api: DatacoreApi;
  readonly volume: string;
  readonly other: { readonly api: DatacoreApi; readonly volume: string };
  readonly clock: Clock;
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
}

/** Nobody writes twice into one description at a time. */
const waitsForDrill = 'a drill is open at the destination';

export async function carry(carrying: Carrying, tag: string): Promise<ReplicaPoint> {
  const { api, volume, other, clock, pace, signal } = carrying;
  const known = pointsOf(await other.api.disk(other.volume, signal)).find((point) => point.tag === tag);
  if (known !== undefined) return known;
  const at = await drained(carrying);
  const seen = await pollUntil(
    { endpoint: other.api.endpoint, clock, pace, signal },
    {
      look: () => writeDown(carrying, { tag, at }),
      done: (found) => typeof found !== 'string',
      late: (found) => busy(api.endpoint, `point ${tag} of ${volume}: ${String(found)}`, 'late'),
    },
  );
  if (typeof seen === 'string') throw busy(api.endpoint, seen, 'late');
  return seen;
}

/** Milliseconds by the clock of the source; everything that was written before has left its buffer. */
async function drained({ api, volume, clock, pace, signal }: Carrying): Promise<number> {
  let first: number | null = null;
  const younger = new Set<number>();
  const look = async (): Promise<string> => {
    const disk = await api.disk(volume, signal);
    const at = collectedAt(disk);
    if (at === null) throw notUnderstood(api.endpoint, `gives no figures of the replication of ${volume}`);
    if (linkIsBroken(disk))
      throw linkDown(api, volume, disk.VirtualDiskReplicationData?.TransferStatus ?? '');
    first ??= at;
    if (at > first) younger.add(at);
    const left = bytesToSend(disk);
    return left === 0 && younger.size >= 2 ? 'empty' : `${left} bytes are left to send at ${at}`;
  };
  await pollUntil(
    { endpoint: api.endpoint, clock, pace, signal },
    {
      look,
      done: (seen) => seen === 'empty',
      progress: (seen) => seen.replace(/ at .*/, ''),
      late: (seen) => busy(api.endpoint, `the buffer of ${volume} does not become empty: ${seen}`, 'late'),
    },
  );
  return first ?? 0;
}

/** The point once it can be read back at the destination. */
async function writeDown({ other, signal }: Carrying, point: MarkedPoint): Promise<ReplicaPoint | string> {
  const disk = await other.api.disk(other.volume, signal);
  const mark = markOf(disk);
  const points = mark.points ?? [];
  const there = points.find(({ tag }) => tag === point.tag);
  if (there !== undefined) return replicaPoint(disk, there);
  if (mark.drill !== undefined) return waitsForDrill;
  // Two points within one figure of the array are still two.
  const at = Math.max(point.at, (points[0]?.at ?? 0) + 1);
  await writeMark(other.api, disk, { ...mark, points: [{ ...point, at }, ...points] }, signal);
  return 'written down';
}

function linkDown(api: DatacoreApi, volume: string, words: string): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-LINK',
      what: `Volume ${volume} cannot be sent to the other site`,
      where: { object: `array ${api.array}` },
      known: [`SANsymphony says: ${words}`, 'the destination stays as it was'],
      next: 'Look at the link between the DataCore servers, then try again',
    },
    { peerCode: 'transfer', peerParams: [words] },
  );
}
