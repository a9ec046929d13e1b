/** From settings to an adapter, for every kind of send-and-receive filer. Nobody is contacted before the first call. */
import type { Capabilities } from '../../../domain/replication.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import type { Clock, Secrets } from '../../../ports/system.ts';
import type { Side } from './carry.ts';
import { SendReceiveReplication } from './replication.ts';

export interface FilerSurroundings {
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly peers: ReadonlyMap<string, { readonly array: ArraySettings; readonly volume: string }>;
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

/** `endOf` makes filer and store of one array; a peer of another type is no peer. */
export function openFilers(
  settings: ArraySettings,
  surroundings: FilerSurroundings,
  capabilities: Capabilities,
  endOf: (settings: ArraySettings, surroundings: FilerSurroundings) => Omit<Side, 'volume'>,
): Replication {
  const others = new Map<string, Omit<Side, 'volume'>>();
  const peers = new Map<string, Side>();
  for (const [volume, peer] of surroundings.peers) {
    if (peer.array.type !== settings.type) continue;
    const other = others.get(peer.array.name) ?? endOf(peer.array, surroundings);
    others.set(peer.array.name, other);
    peers.set(volume, { ...other, volume: peer.volume });
  }
  return new SendReceiveReplication({ ...endOf(settings, surroundings), capabilities, peers });
}
