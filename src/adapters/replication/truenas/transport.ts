/**
 * How points travel between two TrueNAS: the source pushes them by a replication of its own (`replication.run_onetime`),
 * over the SSH connection that the site has set up between the filers. A transfer counts when the point is at the other
 * side by its GUID; a job that has FINISHED may have sent nothing (storage.md C.9).
 */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import { refusedByArray } from '../rest/errors.ts';
import { type Pace, pollUntil } from '../rest/poll.ts';
import {
  type End,
  late,
  longestSeconds,
  mustExist,
  mustTake,
  neverArrived,
  stateOf,
} from '../send-receive/carry.ts';
import { noVolume } from '../send-receive/errors.ts';
import type { Transport } from '../send-receive/replication.ts';
import type { StoredPoint, VolumeState } from '../send-receive/store.ts';
import { type LinkView, linkUnknown } from '../send-receive/views.ts';
import { type JobEntry, understood } from './entries.ts';
import { concerns, type TrueNasStore } from './truenas-store.ts';

/** One side of a pair of TrueNAS. */
export interface TrueNasEnd extends End {
  readonly store: TrueNasStore;
  /** Name of the SSH connection of this filer that reaches the other one. */
  readonly connection: string;
}

const connections = z.array(z.looseObject({ id: z.int() }));
/** All that is not our guard: the base of an increment may be anybody's snapshot. */
const everyPoint = '(?!lifeboat_).*';

export function jobTransport(pace: Omit<Pace, 'patienceSeconds'>): Transport<TrueNasEnd> {
  return {
    carry: (from, to, tag, signal) =>
      carry(from, to, tag, { ...pace, patienceSeconds: longestSeconds }, signal),
    links: async (_from, pairs, signal) => {
      const stores = new Set(pairs.map(({ peer }) => peer.store));
      const views = await Promise.all(
        [...stores].map((store) =>
          linksTo(
            store,
            pairs.filter(({ peer }) => peer.store === store),
            signal,
          ),
        ),
      );
      return new Map(views.flat());
    },
  };
}

/** What the other filer says of its side. A look at this side never fails because the other one is gone. */
async function linksTo(
  store: TrueNasStore,
  pairs: readonly { readonly volume: string; readonly peer: TrueNasEnd }[],
  signal: AbortSignal | undefined,
): Promise<readonly (readonly [string, LinkView])[]> {
  try {
    const marks = await store.marksOf(
      pairs.map(({ peer }) => peer.volume),
      signal,
    );
    return pairs.map(({ volume, peer }) => {
      const peerPromoted = marks.get(peer.volume)?.role === 'promoted';
      return [volume, { ...linkUnknown, peerPromoted }];
    });
  } catch (error) {
    if (error instanceof PortError && error.kind !== 'cancelled') return [];
    throw error;
  }
}

async function carry(
  from: TrueNasEnd,
  to: TrueNasEnd,
  tag: string,
  pace: Pace,
  signal: AbortSignal | undefined,
): Promise<StoredPoint> {
  for (let sent = 0; ; ) {
    const [here, there] = await Promise.all([pointOf(from, tag, signal), stateOf(to, signal)]);
    const point = here.points.find((one) => one.tag === tag);
    if (point === undefined) throw noVolume(from.filer.array, `${from.volume}, point ${tag}`);
    const arrived = arrivedIn(there, point);
    if (there !== null && arrived !== undefined) {
      await Promise.all([
        from.store.settle(here, point, 'sender'),
        to.store.settle(there, point, 'receiver'),
      ]);
      return arrived;
    }
    mustTake(from, here, to, there);
    const running = (await from.store.transfers(signal)).find((job) => concerns(job, from.volume));
    if (running === undefined && sent > 1) throw neverArrived(from, to, tag);
    const job = await ended(from, tag, running?.id ?? (await push(from, to)), pace, signal);
    if (running !== undefined) continue;
    sent += 1;
    if (job.state !== 'SUCCESS' && arrivedIn(await stateOf(to, signal), point) === undefined)
      throw failed(from, to, job);
  }
}

function arrivedIn(there: VolumeState | null, point: StoredPoint): StoredPoint | undefined {
  return there?.points.find(({ ref, complete }) => ref === point.ref && complete);
}

async function pointOf(from: TrueNasEnd, tag: string, signal?: AbortSignal): Promise<VolumeState> {
  const state = await mustExist(from, signal);
  if (state.points.some((point) => point.tag === tag)) return state;
  await from.store.cut(from.volume, tag);
  return mustExist(from, signal);
}

/** Never from scratch, never with the deletion of anything: those are decisions of people. */
async function push(from: TrueNasEnd, to: TrueNasEnd): Promise<number> {
  const { api } = from.store;
  const filter = [
    ['name', '=', from.connection],
    ['type', '=', 'SSH_CREDENTIALS'],
  ];
  const method = 'keychaincredential.query';
  const [found] = understood(api.endpoint, method, connections, await api.read(method, [filter]));
  if (found === undefined)
    throw refusedByArray(api.endpoint, `there is no SSH connection ${from.connection}`, 'no-connection');
  const job = await api.call('replication.run_onetime', [
    {
      direction: 'PUSH',
      transport: 'SSH',
      ssh_credentials: found.id,
      source_datasets: [from.volume],
      target_dataset: to.volume,
      recursive: false,
      properties: false,
      name_regex: everyPoint,
      allow_from_scratch: false,
      readonly: 'SET',
      retention_policy: 'NONE',
      retries: 1,
    },
  ]);
  return understood(api.endpoint, 'replication.run_onetime', z.int(), job);
}

async function ended(
  from: TrueNasEnd,
  tag: string,
  id: number,
  pace: Pace,
  signal: AbortSignal | undefined,
): Promise<JobEntry> {
  const gone: JobEntry = { id, method: '', state: 'ABORTED', error: 'the job has vanished' };
  return pollUntil<JobEntry>(
    { endpoint: from.store.api.endpoint, clock: from.filer.clock, pace, signal },
    {
      look: async () => (await from.store.jobs([['id', '=', id]], signal))[0] ?? gone,
      done: ({ state }) => state !== 'WAITING' && state !== 'RUNNING',
      late: () => late(from, tag),
    },
  );
}

function failed(from: TrueNasEnd, to: TrueNasEnd, job: JobEntry): PortError {
  const words = job.error ?? `the job is ${job.state}`;
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-LINK',
      what: `The replication link from ${from.filer.array} to ${to.filer.array} does not carry volume ${from.volume}`,
      where: { object: `array ${from.filer.array}` },
      known: [`job ${job.id}: ${words}`, 'the replica is at its last complete point'],
      next: `Look at the job at ${from.filer.array} and try its SSH connection ${from.connection}`,
    },
    { peerCode: `job ${job.state}`, peerParams: [words] },
  );
}
