/**
 * How points travel between two PowerStores: a snapshot of the source goes along with the next synchronization, which
 * is asked for. Arrived is what the destination lists. A session that was failed over is turned round first.
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
import type { PowerStoreStore } from './powerstore-store.ts';
import { sessionFields, sessionItem, sessionsByVolume, volumeFields, volumeItem } from './state.ts';

export interface PowerStoreEnd extends End {
  readonly filer: End['filer'] & { readonly store: PowerStoreStore };
  readonly store: PowerStoreStore;
}

const remoteItem = z.looseObject({ id: z.string(), data_connection_state: z.string().nullish() });

export function sessionTransport(pace: Pace): Transport<PowerStoreEnd> {
  return {
    carry: (from, to, tag, signal) => carry(from, to, tag, pace, signal),
    links: async ({ store: { api } }, pairs, signal) => {
      if (pairs.length === 0) return new Map();
      const [volumes, sessions, up] = await Promise.all([
        api.list('volume', volumeItem, volumeFields, { type: 'neq.Snapshot' }, signal),
        api.list('replication_session', sessionItem, sessionFields, {}, signal),
        linksUp(api, signal),
      ]);
      const ids = new Map(volumes.map(({ name, id }) => [name, id]));
      const bySource = sessionsByVolume(sessions);
      return new Map(
        pairs.map(({ volume }): [string, LinkView] => {
          const session = bySource.get(ids.get(volume) ?? '');
          const link = session !== undefined && up.has(session.remote_system_id) ? 'up' : 'down';
          return [volume, { link, peerPromoted: session?.state === 'Failed_Over' }];
        }),
      );
    },
  };
}

async function linksUp(
  api: PowerStoreStore['api'],
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string>> {
  const remotes = await api.list('remote_system', remoteItem, ['id', 'data_connection_state'], {}, signal);
  const up = remotes.filter(({ data_connection_state: state }) =>
    /^(OK|Partial_Data_Connection_Loss)$/.test(state ?? ''),
  );
  return new Set(up.map(({ id }) => id));
}

async function carry(
  from: PowerStoreEnd,
  to: PowerStoreEnd,
  tag: string,
  pace: Pace,
  signal: AbortSignal | undefined,
): Promise<StoredPoint> {
  const { clock } = from.filer;
  const began = clock.monotonicSeconds();
  let asked = false;
  for (let pause = pace.firstSeconds; ; pause = Math.min(pause * 1.5, pace.longestSeconds)) {
    const [here, there] = await Promise.all([mustExist(from, signal), stateOf(to, signal)]);
    const point = here.points.find((one) => one.tag === tag);
    const arrived = there?.points.find(({ ref }) => ref === point?.ref);
    if (there !== null && arrived !== undefined) {
      await Promise.all([from.store.settle(here, arrived), to.store.settle(there, arrived)]);
      return arrived;
    }
    mustTake(from, here, to, there);
    await mustBeLinked(from, signal);
    if (point === undefined) {
      if (asked)
        throw groupHalfWay(from.filer.array, `Point ${tag} does not hold volume ${from.volume}`, [
          'a snapshot of this name is there, and the volume was not among the members then',
        ]);
      asked = true;
      await from.store.cut(from.volume, tag);
    } else await send(from, to, signal);
    if (clock.monotonicSeconds() - began > longestSeconds) throw late(from, tag);
    await clock.sleep(pause, signal).catch((error: unknown) => {
      throw stopped(from.store.api.endpoint, error);
    });
  }
}

async function send(from: PowerStoreEnd, to: PowerStoreEnd, signal: AbortSignal | undefined): Promise<void> {
  const session = await from.store.session(from.volume, signal);
  if (session.state !== 'Failed_Over') return from.store.synchronize(from.volume);
  // The last moment in which the old source can be written on: as a destination it says by its session what it is.
  for (const one of to.store.companions(to.volume)) await to.store.mark(one, { role: 'target', point: null });
  await from.store.reprotect(from.volume, signal);
}

async function mustBeLinked(from: PowerStoreEnd, signal: AbortSignal | undefined): Promise<void> {
  const session = await from.store.session(from.volume, signal);
  if ((await linksUp(from.store.api, signal)).has(session.remote_system_id)) return;
  throw new PortError(
    'refused',
    {
      code: 'DR-ARRAY-LINK',
      what: `The replication link from ${from.filer.array} does not carry volume ${from.volume}`,
      where: { object: `array ${from.filer.array}` },
      known: [`its session is ${session.state}`, 'the replica is at its last complete point'],
      next: 'Look at the remote system on both arrays; what was cut is sent when it is there again',
    },
    { peerCode: 'remote-system' },
  );
}
