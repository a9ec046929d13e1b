/** Two FlashArray doubles with ActiveDR pods as a rig: one pair of arrays for all cases, a pod for each. */
import { openActiveDr } from '../../../../../src/adapters/replication/pure/activedr/open.ts';
import type { Mishaps, OpenRig, Place, Rig, Side } from '../../rig.ts';
import { type NamedPair, openedOver, PairOfArrays, quickPace } from '../pair.ts';
import type { Volume } from './flash-array.ts';
import { Pod, Pods, type ReplicaLink } from './pods.ts';
import {
  calls,
  hostNames,
  iqns,
  type Matches,
  mend,
  never,
  type PurePair,
  power,
  startPurePair,
  tags,
  wrongToken,
} from './rig.ts';

export interface ActiveDrPair extends PurePair {
  readonly pods: Pods;
}

export async function startActiveDrPair(): Promise<ActiveDrPair> {
  const pair = await startPurePair();
  const { arrays, servers } = pair;
  const pods = new Pods();
  arrays.source.pods = pods;
  arrays.target.pods = pods;
  const named = (side: Side) => ({
    name: `pure-${arrays[side].name}`,
    options: {
      url: servers[side].web.url,
      fingerprint: servers[side].web.certificate.sha256,
    },
  });
  const adapters = new PairOfArrays({
    type: 'pure-activedr',
    arrays: { source: named('source'), target: named('target') },
    secrets: { source: servers.source.token, target: servers.target.token },
    open: (settings, surroundings) => openActiveDr(settings, surroundings, quickPace),
  });
  return {
    ...pair,
    pods,
    adapters,
    stop: async () => {
      await adapters.close();
      await pair.stop();
    },
  };
}

export function activeDrRigs(pair: ActiveDrPair): OpenRig {
  let count = 0;
  return async (teardown) => {
    count += 1;
    const single = seed(pair, `shop-${count}`, ['disk']);
    teardown(() => mend(pair));
    const [own] = single.pairs;
    if (own === undefined) throw new Error('there is a volume');
    return { ...rigOf(pair, single.link, [own]), together: async () => together(pair, `duo-${count}`) };
  };
}

/** Two volumes of one pod. */
function together(pair: ActiveDrPair, name: string): readonly [Rig, Rig] {
  const { link, pairs } = seed(pair, name, ['log', 'data']);
  const groups = { source: name, target: `${name}-copy` };
  const [log, data] = pairs.map((one) => ({ ...one, groups }));
  if (log === undefined || data === undefined) throw new Error('there are two volumes');
  return [rigOf(pair, link, [log, data]), rigOf(pair, link, [data, log])];
}

/** A pod that the site has set up, promoted and linked; everything of it has arrived. */
function seed(
  { arrays: { source, target }, pods }: ActiveDrPair,
  name: string,
  disks: readonly string[],
): { readonly link: ReplicaLink; readonly pairs: readonly NamedPair[] } {
  const pairs = disks.map((disk) => ({
    volumes: { source: `${name}::${disk}`, target: `${name}-copy::${disk}` },
  }));
  for (const { volumes } of pairs) {
    source.addVolume(volumes.source);
    target.addVolume(volumes.target);
    const lun = source.connections.length + 1;
    source.connections.push({ host: hostNames.source, volume: volumes.source, lun });
  }
  const from = new Pod(source, name, 'promoted');
  const link = pods.tie(from, new Pod(target, `${name}-copy`, 'demoted'));
  pods.snapshot(
    source,
    pairs.map(({ volumes }) => volumes.source),
    'lifeboat-1-first',
  );
  link.advance();
  return { link, pairs };
}

function rigOf(pair: ActiveDrPair, link: ReplicaLink, pairs: readonly [NamedPair, ...NamedPair[]]): Rig {
  const { servers, adapters } = pair;
  const [{ volumes }] = pairs;
  return {
    ...openedOver(adapters, pairs, wrongToken),
    hosts: (side) => ({ addresses: [], iqns: [iqns[side]] }),
    read: async (place, file) => reached(pair, volumes, place).files.get(file) ?? null,
    write: async (place, file, text) => {
      const volume = reached(pair, volumes, place);
      const [pod = ''] = volume.name.split('::');
      if (pair.pods.must(pair.arrays[place.side], pod).status !== 'promoted')
        throw new Error('the disk is write-protected');
      volume.files.set(file, text);
    },
    reportsSplit: true,
    secrets: [servers.source.token, servers.target.token, wrongToken, 'session-osaka', 'session-tokyo'],
    ...mishapsOf(pair, link, volumes),
  };
}

function mishapsOf(
  pair: ActiveDrPair,
  link: ReplicaLink,
  volumes: Readonly<Record<Side, string>>,
): Partial<Mishaps> {
  const { arrays, servers, pods } = pair;
  return {
    cutLink: async () => {
      arrays.source.linked = false;
      arrays.target.linked = false;
    },
    mendLink: async () => {
      arrays.source.linked = true;
      arrays.target.linked = true;
    },
    powerOff: (side) => power(pair, side, false),
    powerOn: (side) => power(pair, side, true),
    holdTransfers: async () => {
      link.held = true;
      return async () => {
        link.held = false;
      };
    },
    loseAnswer: async (side, verb) => {
      servers[side].faults.push({ matches: lastStep[verb] ?? never, effect: 'lose' });
    },
    dieHalfway: async (side, verb) => {
      servers[side].faults.push({ matches: laterStep[verb], effect: 'die' });
    },
    lie: async () => {
      link.lying = true;
    },
    skewClock: async (side, seconds) => {
      arrays[side].clockOffsetSeconds = seconds;
    },
    roundTrips: async (side) => servers[side].web.requests.length,
    bytesCarried: async () => link.bytes,
    crowd: async () =>
      Array.from({ length: 60 }, (_, i) => {
        const { pairs } = seed(pair, `crowd-${volumes.source.replace('::', '-')}-${i}`, ['disk']);
        return pairs[0]?.volumes.target ?? '';
      }),
    readKept: async (side, file) => {
      const [pod = '', disk = ''] = volumes[side].split('::');
      const { undo, kept } = pods.must(arrays[side], pod);
      const last = undo ?? kept.at(-1);
      if (last === undefined) throw new Error('nothing has been kept');
      return last.get(disk)?.get(file) ?? null;
    },
  };
}

/** The request that completes a verb. */
const lastStep: Readonly<Record<string, Matches>> = {
  syncNow: calls('POST /volume-snapshots'),
  prepare: calls('PATCH /pods'),
  promote: tags('promoted:'),
  demote: tags('demoted:'),
  reverse: calls('POST /volume-snapshots'),
  drillStart: calls('POST /connections'),
  drillStop: calls('DELETE /pods'),
  fence: calls('DELETE /connections'),
};

/** A request before which a verb has had some effect. */
const laterStep: Readonly<Record<'promote' | 'reverse' | 'drillStart' | 'prepare', Matches>> = {
  promote: calls('PATCH /pods'),
  reverse: calls('POST /volume-snapshots'),
  drillStart: calls('POST /connections'),
  prepare: calls('DELETE /connections'),
};

/** What a host of that side gets at, or nothing. */
function reached(
  { arrays }: PurePair,
  volumes: Readonly<Record<Side, string>>,
  { side, exposed, as }: Place,
): Volume {
  const array = arrays[side];
  if (!array.up) throw new Error('the array is dark');
  const host = as === 'host' ? hostNames[side] : 'nobody';
  const volume =
    exposed === null
      ? array.volumes.get(volumes[side])
      : [...array.volumes.values()].find(
          ({ serial }) => `3624a9370${serial.toLowerCase()}` === exposed.scsiId,
        );
  const connected = array.connections.some((one) => one.host === host && one.volume === volume?.name);
  if (volume === undefined || !connected) throw new Error('there is no such disk');
  return volume;
}
