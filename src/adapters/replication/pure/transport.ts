/**
 * How points travel between two FlashArrays: the array sends a snapshot of the group by itself once it is cut, and goes
 * on by itself when a link that broke is there again. Arrived is what the target lists as completed.
 */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import { groupHalfWay } from '../consistency-group.ts';
import { stopped } from '../rest/errors.ts';
import type { Pace } from '../rest/poll.ts';
import { type End, late, longestSeconds, mustExist, mustTake, stateOf } from '../send-receive/carry.ts';
import type { Transport } from '../send-receive/replication.ts';
import type { StoredPoint } from '../send-receive/store.ts';
import type { LinkView } from '../send-receive/views.ts';
import type { PureStore } from './pure-store.ts';

export interface PureEnd extends End {
  readonly filer: End['filer'] & { readonly store: PureStore };
  readonly store: PureStore;
}

const connectionItem = z.looseObject({ remote: z.looseObject({ name: z.string() }), status: z.string() });

export function snapshotTransport(pace: Omit<Pace, 'patienceSeconds'>): Transport<PureEnd> {
  return {
    carry: (from, to, tag, signal) => carry(from, to, tag, pace, signal),
    links: async (from, pairs, signal) => {
      const views = new Map<string, LinkView>();
      for (const [store, group] of Map.groupBy(pairs, ({ peer }) => peer.store)) {
        const link = await linkTo(from.store, store.arrayName, signal);
        const promoted = await promotedAt(store, signal);
        for (const { volume, peer } of group)
          views.set(volume, { link, peerPromoted: promoted.has(peer.volume) });
      }
      return views;
    },
  };
}

async function linkTo(
  { api }: PureStore,
  array: string,
  signal: AbortSignal | undefined,
): Promise<'up' | 'down'> {
  const connections = await api.list('/array-connections', connectionItem, {}, signal);
  const found = connections.find(({ remote }) => remote.name === array);
  return found !== undefined && /^(connected|partially_connected)$/.test(found.status) ? 'up' : 'down';
}

/** A look at this side never fails because the other one is gone. */
async function promotedAt(store: PureStore, signal: AbortSignal | undefined): Promise<ReadonlySet<string>> {
  try {
    return await store.promotedVolumes(signal);
  } catch (error) {
    if (error instanceof PortError && error.kind !== 'cancelled') return new Set();
    throw error;
  }
}

async function carry(
  from: PureEnd,
  to: PureEnd,
  tag: string,
  pace: Omit<Pace, 'patienceSeconds'>,
  signal: AbortSignal | undefined,
): Promise<StoredPoint> {
  const { clock } = from.filer;
  const began = clock.monotonicSeconds();
  let asked = false;
  for (let pause = pace.firstSeconds; ; pause = Math.min(pause * 1.5, pace.longestSeconds)) {
    const [here, there] = await Promise.all([mustExist(from, signal), stateOf(to, signal)]);
    const point = here.points.find((one) => one.tag === tag);
    const arrived = there?.points.find(({ ref, complete }) => ref === point?.ref && complete);
    if (there !== null && arrived !== undefined) {
      await Promise.all([from.store.settle(here, arrived), to.store.settle(there, arrived)]);
      return arrived;
    }
    mustTake(from, here, to, there);
    if ((await linkTo(from.store, to.store.arrayName, signal)) === 'down') throw linkDown(from, to);
    if (point === undefined) {
      if (asked) throw notInGroup(from, tag);
      asked = true;
      await from.store.mustReplicateTo(from.volume, to.store.arrayName);
      await from.store.cut(from.volume, tag);
    }
    if (clock.monotonicSeconds() - began > longestSeconds) throw late(from, tag);
    await clock.sleep(pause, signal).catch((error: unknown) => {
      throw stopped(from.store.api.endpoint, error);
    });
  }
}

/** The group has a snapshot of this tag from before the volume belonged to it. */
function notInGroup(from: PureEnd, tag: string): PortError {
  return groupHalfWay(from.filer.array, `Point ${tag} does not hold volume ${from.volume}`, [
    'the protection group was cut under this tag, and the volume was not among its members then',
  ]);
}

function linkDown(from: PureEnd, to: PureEnd): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-LINK',
      what: `The replication link from ${from.filer.array} to ${to.filer.array} does not carry volume ${from.volume}`,
      where: { object: `array ${from.filer.array}` },
      known: [`its connection to ${to.store.arrayName} is down`, 'the replica is at its last complete point'],
      next: 'Look at the array connection on both arrays; what was cut is sent when it is there again',
    },
    { peerCode: 'array-connection' },
  );
}
