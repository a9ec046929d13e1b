/** From the settings of an array of type `zfs` to its adapter. Nobody is contacted before the first call. */
import type { Capabilities } from '../../../domain/replication.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Replication } from '../../../ports/replication.ts';
import type { ReplicationSurroundings } from '../open.ts';
import type { Side } from '../send-receive/carry.ts';
import { Filer } from '../send-receive/filer.ts';
import { SendReceiveReplication } from '../send-receive/replication.ts';
import { zfsOptions } from './options.ts';
import { explainZfs } from './words.ts';
import { ZfsStore } from './zfs-store.ts';

const capabilities: Capabilities = {
  syncNow: true,
  drill: 'clone',
  drillPausesTransfer: false,
  promoteToPoint: true,
  prepare: true,
  reverse: 'incremental',
  restore: true,
  consistencyGroups: true,
  fence: true,
  expose: 'nfs',
};

export function openZfs(settings: ArraySettings, surroundings: ReplicationSurroundings): Replication {
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

function endOf(settings: ArraySettings, surroundings: ReplicationSurroundings): Omit<Side, 'volume'> {
  const options = zfsOptions(settings);
  const filer = new Filer(settings, options, surroundings, explainZfs);
  return { filer, store: new ZfsStore(filer, options) };
}
