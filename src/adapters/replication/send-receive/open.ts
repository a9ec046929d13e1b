/** From settings to an adapter, for every kind of send-and-receive filer. Nobody is contacted before the first call. */
import type { Capabilities } from '../../../domain/replication.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import { companionsOf, type Paired } from '../consistency-group.ts';
import { carry, type End, type Side } from './carry.ts';
import { readLink } from './link.ts';
import { type Ends, SendReceiveReplication, type Transport } from './replication.ts';

export interface FilerSurroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly peers: ReadonlyMap<string, Paired & { readonly array: ArraySettings }>;
}

/** What every filer of this way can do. */
export const capabilitiesOfFilers: Capabilities = {
  syncNow: true,
  drill: 'clone',
  drillPausesTransfer: false,
  promoteToPoint: true,
  prepare: true,
  reverse: 'incremental',
  restore: true,
  consistencyGroups: false,
  fence: true,
  expose: 'nfs',
};

const streams: Transport<Side> = { carry, links: readLink };

/** `endOf` makes filer and store of one array; a peer of another type is no peer. */
export function openFilers(
  settings: ArraySettings,
  surroundings: FilerSurroundings,
  capabilities: Capabilities,
  endOf: (settings: ArraySettings, surroundings: FilerSurroundings) => Omit<Side, 'volume'>,
): Replication {
  return openEnds(settings, surroundings, capabilities, streams, (array) => {
    const end = endOf(array, surroundings);
    return (volume) => ({ ...end, volume });
  });
}

/** The same for filers whose points travel by other means; `endOf` makes the sides of one array. */
export function openEnds<S extends End>(...known: Parameters<typeof endsOf<S>>): Replication {
  return new SendReceiveReplication(endsOf(...known));
}

/** What such an adapter is made of. */
export function endsOf<S extends End>(
  settings: ArraySettings,
  { peers: others }: Pick<FilerSurroundings, 'peers'>,
  capabilities: Capabilities,
  transport: Transport<S>,
  endOf: (settings: ArraySettings) => (volume: string) => S,
): Ends<S> {
  const ends = new Map<string, (volume: string) => S>();
  const peers = new Map<string, S>();
  for (const [volume, peer] of others) {
    if (peer.array.type !== settings.type) continue;
    const end = ends.get(peer.array.name) ?? endOf(peer.array);
    ends.set(peer.array.name, end);
    peers.set(volume, end(peer.volume));
  }
  const side = endOf(settings);
  const { filer, store } = side('');
  return { filer, store, side, transport, capabilities, peers, companions: companionsOf(others) };
}
