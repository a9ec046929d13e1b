/** One point under a tag: a snapshot here, shipped to the other cluster as a snapshot there, and awaited. */
import { createHash } from 'node:crypto';
import { PortError } from '../../../domain/errors.ts';
import type { ReplicaPoint } from '../../../domain/replication.ts';
import type { Clock } from '../../../ports/system.ts';
import { busy } from '../rest/errors.ts';
import { type Pace, pollUntil } from '../rest/poll.ts';
import type { Snapshot } from './answers.ts';
import { definitionPath, type LinstorApi } from './api.ts';
import { readMarks } from './marks.ts';
import type { OtherSide } from './peers.ts';
import {
  dispatchOf,
  isReceived,
  newestFirst,
  pointOf,
  receiptOf,
  refOf,
  snapshotsOf,
  tagProp,
  takenAtProp,
} from './state.ts';

export interface Carrying {
  readonly api: LinstorApi;
  readonly volume: string;
  readonly other: OtherSide;
  readonly clock: Clock;
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
}

/** The name makes the cluster itself refuse a second snapshot of one tag. */
export function snapshotName(tag: string): string {
  return `lb_${createHash('sha256').update(tag).digest('hex').slice(0, 24)}`;
}

/** Cuts the point unless it is there, ships it unless it is on its way, and returns it once it has arrived whole. */
export async function carry(carrying: Carrying, tag: string): Promise<ReplicaPoint> {
  const { api, volume, other, clock, pace, signal } = carrying;
  let shipped = false;
  const step = async (): Promise<ReplicaPoint | string> => {
    const here = await snapshotsOf(api, volume, signal);
    const snapshot = here.find(({ name }) => name === snapshotName(tag));
    if (snapshot === undefined) return cut(carrying, tag);
    const arrived = await arrival(other, snapshot, signal);
    if (arrived !== null) return arrived;
    const dispatch = dispatchOf(snapshot, api.options.remote);
    if (dispatch === 'under way' || dispatch === 'complete') return dispatch;
    if (shipped && dispatch === 'failed') throw brokeOff(api, volume, snapshot);
    if (shipped) return 'queued';
    const sent = await ship(carrying, snapshot);
    shipped ||= sent;
    return sent ? 'sent' : 'waiting for another one';
  };
  const seen = await pollUntil(
    { endpoint: api.endpoint, clock, pace, signal },
    {
      look: step,
      done: (found) => typeof found !== 'string',
      late: (found) => late(api, volume, tag, String(found)),
    },
  );
  if (typeof seen === 'string') throw late(api, volume, tag, seen);
  await trim(carrying);
  return seen;
}

async function cut({ api, volume, signal }: Carrying, tag: string): Promise<string> {
  // The date is the one before the cut, so that the point never looks younger than it is.
  const { clock } = await api.version(signal);
  const body = {
    name: snapshotName(tag),
    snapshot_definition_props: { [tagProp]: tag, [takenAtProp]: clock },
  };
  await api.make(definitionPath(volume, '/snapshots'), body, signal);
  return 'cut';
}

/** False while the other cluster is busy with an earlier one. */
async function ship({ api, volume, other, signal }: Carrying, { name }: Snapshot): Promise<boolean> {
  const { storage_pool: pool } = other.api.options;
  const body = {
    src_rsc_name: volume,
    src_snap_name: name,
    dst_rsc_name: other.volume,
    ...(pool === undefined ? {} : { dst_stor_pool: pool }),
    download_only: true,
    allow_incremental: true,
  };
  const path = `/v1/remotes/${encodeURIComponent(api.options.remote)}/backups/ship`;
  try {
    await api.act('POST', path, body, signal);
    return true;
  } catch (error) {
    if (error instanceof PortError && error.kind === 'busy') return false;
    throw error;
  }
}

async function arrival(
  other: OtherSide,
  snapshot: Snapshot,
  signal: AbortSignal | undefined,
): Promise<ReplicaPoint | null> {
  const there = await snapshotsOf(other.api, other.volume, signal);
  const found = there.find((one) => isReceived(one) && refOf(one) === snapshot.uuid);
  return found !== undefined && receiptOf(found) === 'complete' ? pointOf(found, true) : null;
}

/** Our older points go; never the newest, nor one that a mark names, nor anybody else's. */
async function trim({ api, volume, other, signal }: Carrying): Promise<void> {
  await trimSide(api, volume, signal);
  await trimSide(other.api, other.volume, signal);
}

async function trimSide(api: LinstorApi, volume: string, signal: AbortSignal | undefined): Promise<void> {
  const all = await snapshotsOf(api, volume, signal);
  const ours = all.filter(({ snapshot_definition_props: props }) => props[tagProp] !== undefined);
  const old = newestFirst(ours).slice(api.options.keep_points);
  if (old.length === 0) return;
  const marked = (await readMarks(api, signal)).volumes.get(volume)?.point;
  for (const snapshot of old.filter((one) => refOf(one) !== marked)) {
    const path = definitionPath(volume, `/snapshots/${encodeURIComponent(snapshot.name)}`);
    // A snapshot that a drill stands on, or that is being shipped, stays until the next time.
    await api.remove(path, signal).catch((error: unknown) => {
      if (!(error instanceof PortError) || error.kind === 'cancelled') throw error;
    });
  }
}

function brokeOff(api: LinstorApi, volume: string, { name }: Snapshot): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-LINK',
      what: `The shipment of volume ${volume} to the other site has failed`,
      where: { object: `array ${api.array}` },
      known: [`LINSTOR says that shipping snapshot ${name} to remote ${api.options.remote} has failed`],
      next: 'Look at the link between the satellites of both clusters and at `linstor error-reports list`, then try again',
    },
    { peerCode: 'Failed', peerParams: [name] },
  );
}

function late(api: LinstorApi, volume: string, tag: string, last: string): PortError {
  const said = `point ${tag} of volume ${volume} has not arrived, and nothing moves: ${last}`;
  return busy(api.endpoint, said, 'late');
}
