/** How points travel between two pods: by themselves. Arrived is what the other pod holds, or what its journal has reached. */
import { PortError } from '../../../../domain/errors.ts';
import { stopped } from '../../rest/errors.ts';
import type { Pace } from '../../rest/poll.ts';
import { late, longestSeconds, mustExist, mustTake, stateOf } from '../../send-receive/carry.ts';
import type { Transport } from '../../send-receive/replication.ts';
import type { StoredPoint, VolumeState } from '../../send-receive/store.ts';
import type { LinkView } from '../../send-receive/views.ts';
import type { PodEnd } from './pod-array.ts';
import { drillOf, isPromoted, linkViewOf, type PodListing, podOf } from './pods.ts';

export function podTransport(pace: Pace): Transport<PodEnd> {
  return {
    carry: (from, to, tag, signal) => carry(from, to, tag, pace, signal),
    links: async (from, pairs, signal) => {
      const views = new Map<string, LinkView>();
      if (pairs.length === 0) return views;
      const { links } = await from.store.listing(signal);
      for (const [store, group] of Map.groupBy(pairs, ({ peer }) => peer.store)) {
        const there = await listingOf(store, signal);
        for (const { volume, peer } of group)
          views.set(
            volume,
            linkViewOf(links.get(podOf(volume)), there !== null && isPromoted(there, podOf(peer.volume))),
          );
      }
      return views;
    },
  };
}

/** A look at this side never fails because the other one is gone. */
async function listingOf(store: PodEnd['store'], signal?: AbortSignal): Promise<PodListing | null> {
  try {
    return await store.listing(signal);
  } catch (error) {
    if (error instanceof PortError && error.kind !== 'cancelled') return null;
    throw error;
  }
}

async function carry(
  from: PodEnd,
  to: PodEnd,
  tag: string,
  pace: Pace,
  signal: AbortSignal | undefined,
): Promise<StoredPoint> {
  const { clock } = from.filer;
  const began = clock.monotonicSeconds();
  for (let pause = pace.firstSeconds; ; pause = Math.min(pause * 1.5, pace.longestSeconds)) {
    const [here, there] = await Promise.all([mustExist(from, signal), stateOf(to, signal)]);
    const point = here.points.find((one) => one.tag === tag);
    const arrived = there?.points.find(({ ref, complete }) => ref === point?.ref && complete);
    if (there !== null && arrived !== undefined) {
      await from.store.settle(here, arrived);
      return arrived;
    }
    if (point !== undefined && waitsForDrill(there, point)) await to.store.noteArrived(to.volume, point);
    mustTake(from, here, to, there);
    const link = linkViewOf(await from.store.linkOf(from.volume, signal), false);
    if (link.link === 'down') throw linkDown(from, to);
    if (point === undefined) await from.store.cut(from.volume, tag);
    if (clock.monotonicSeconds() - began > longestSeconds) throw late(from, tag);
    await clock.sleep(pause, signal).catch((error: unknown) => {
      throw stopped(from.store.api.endpoint, error);
    });
  }
}

/** The pod is open for a drill and lists nothing new, and its link has come further than the point. */
function waitsForDrill(there: VolumeState | null, point: StoredPoint): boolean {
  if (there === null || drillOf(there.raw) === null) return false;
  return Number(there.raw['recovery_point']) >= Math.round(point.takenAtSeconds * 1000);
}

function linkDown(from: PodEnd, to: PodEnd): PortError {
  return new PortError(
    'refused',
    {
      code: 'DR-ARRAY-LINK',
      what: `The replica link from ${from.filer.array} to ${to.filer.array} does not carry pod ${podOf(from.volume)}`,
      where: { object: `array ${from.filer.array}` },
      known: ['it is unhealthy or paused', 'the replica is at its last recovery point'],
      next: 'Look at the replica link of the pod on both arrays; it goes on by itself when it is healthy again',
    },
    { peerCode: 'replica-link' },
  );
}
