/** Two FlashArray doubles as a rig: one pair of arrays for all cases, a protection group for each. */
import { openPure } from '../../../../../src/adapters/replication/pure/open.ts';
import type { Mishaps, OpenRig, Place, Rig, Side } from '../../rig.ts';
import type { DoubleRequest } from '../https-double.ts';
import { type NamedPair, openedOver, PairOfArrays, quickPace, sides } from '../pair.ts';
import { FlashArray, type Volume } from './flash-array.ts';
import { type PureServer, startPure } from './server.ts';

export const iqns: Readonly<Record<Side, string>> = {
  source: 'iqn.2026-11.com.example:osaka-1',
  target: 'iqn.2026-11.com.example:tokyo-1',
};
export const hostNames: Readonly<Record<Side, string>> = { source: 'osaka-1', target: 'tokyo-1' };
export const wrongToken = 'wrong-token';

export interface PurePair {
  readonly arrays: Readonly<Record<Side, FlashArray>>;
  readonly servers: Readonly<Record<Side, PureServer>>;
  readonly adapters: PairOfArrays;
  stop(): Promise<void>;
}

/** A volume as a host knows it: by the member of the protection group. */
interface PureRigPair extends NamedPair {
  readonly disk: string;
}

export async function startPurePair(): Promise<PurePair> {
  const arrays = { source: new FlashArray('osaka'), target: new FlashArray('tokyo') };
  arrays.source.other = arrays.target;
  arrays.target.other = arrays.source;
  for (const side of sides)
    arrays[side].hosts.push(
      { name: hostNames[side], iqns: [iqns[side]] },
      { name: 'nobody', iqns: ['iqn.2026-11.com.example:nobody'] },
    );
  const servers = { source: await startPure(arrays.source), target: await startPure(arrays.target) };
  const named = (side: Side) => ({
    name: `pure-${arrays[side].name}`,
    options: {
      url: servers[side].web.url,
      fingerprint: servers[side].web.certificate.sha256,
      array_name: arrays[side].name,
    },
  });
  const adapters = new PairOfArrays({
    type: 'pure',
    arrays: { source: named('source'), target: named('target') },
    secrets: { source: servers.source.token, target: servers.target.token },
    open: (settings, surroundings) => openPure(settings, surroundings, quickPace),
  });
  return {
    arrays,
    servers,
    adapters,
    stop: async () => {
      await adapters.close();
      await Promise.all([servers.source.web.stop(), servers.target.web.stop()]);
    },
  };
}

export function pureRigs(pair: PurePair): OpenRig {
  let count = 0;
  return async (teardown) => {
    count += 1;
    const volumes = { source: `shop-${count}`, target: `shop-${count}-replica` };
    const disk = `${volumes.source}-lun`;
    seed(pair, volumes, [disk]);
    teardown(() => mend(pair));
    return { ...rigOf(pair, [{ volumes, disk }]), together: async () => together(pair, `shop-${count}`) };
  };
}

/** Two members of one protection group, which are called otherwise at the other array. */
function together(pair: PurePair, name: string): readonly [Rig, Rig] {
  const groups = { source: `${name}-group`, target: `${name}-group-copy` };
  const member = (what: string): PureRigPair => {
    const disk = `${name}-${what}`;
    return { volumes: { source: disk, target: `${disk}-copy` }, groups, disk };
  };
  const [log, data] = [member('log'), member('data')];
  seed(pair, groups, [log.disk, data.disk]);
  return [rigOf(pair, [log, data]), rigOf(pair, [data, log])];
}

/** A group that the site has set up, with a first point at the target. */
function seed(
  { arrays: { source, target } }: PurePair,
  groups: Readonly<Record<Side, string>>,
  disks: readonly string[],
): void {
  for (const volume of disks) {
    source.addVolume(volume);
    source.connections.push({ host: hostNames.source, volume, lun: source.connections.length + 1 });
  }
  source.addGroup(groups.source, disks, [target.name]);
  const first = source.snapshot(groups.source, 'site-first', false);
  const incoming = { ...first, name: `${source.name}:${first.name}` };
  target.addGroup(`${source.name}:${groups.source}`);
  target.snapshots.push(incoming);
  target.transfers.push({ name: incoming.name, started: first.created, completed: target.now() });
}

export async function mend({ arrays, servers }: PurePair): Promise<void> {
  for (const side of sides) {
    arrays[side].linked = true;
    arrays[side].clockOffsetSeconds = 0;
    servers[side].faults.length = 0;
    servers[side].overrides.clear();
    arrays[side].forget();
    if (!arrays[side].up) await power({ arrays, servers }, side, true);
  }
}

export async function power(
  { arrays, servers }: Pick<PurePair, 'arrays' | 'servers'>,
  side: Side,
  on: boolean,
): Promise<void> {
  arrays[side].up = on;
  if (!on) await servers[side].web.powerOff();
  else await servers[side].web.powerOn();
  if (on) for (const array of [arrays.source, arrays.target]) array.resume();
}

function rigOf(pair: PurePair, pairs: readonly [PureRigPair, ...PureRigPair[]]): Rig {
  const { servers, adapters } = pair;
  const [own] = pairs;
  return {
    ...openedOver(adapters, pairs, wrongToken),
    hosts: (side) => ({ addresses: [], iqns: [iqns[side]] }),
    read: async (place, file) => reached(pair, own, place).files.get(file) ?? null,
    write: async (place, file, text) => {
      reached(pair, own, place).files.set(file, text);
    },
    reportsSplit: true,
    secrets: [servers.source.token, servers.target.token, wrongToken, 'session-osaka', 'session-tokyo'],
    ...mishapsOf(pair, own),
  };
}

function mishapsOf(pair: PurePair, { volumes, disk }: PureRigPair): Partial<Mishaps> {
  const { arrays, servers } = pair;
  const setLink = (linked: boolean): void => {
    for (const array of [arrays.source, arrays.target]) array.linked = linked;
    for (const array of [arrays.source, arrays.target]) array.resume();
  };
  return {
    cutLink: async () => setLink(false),
    mendLink: async () => setLink(true),
    powerOff: (side) => power(pair, side, false),
    powerOn: (side) => power(pair, side, true),
    holdTransfers: async () => {
      const release = [arrays.source.hold(), arrays.target.hold()];
      return async () => {
        for (const one of release) one();
      };
    },
    loseAnswer: async (side, verb) => {
      servers[side].faults.push({ matches: lastStep[verb] ?? never, effect: 'lose' });
    },
    dieHalfway: async (side, verb) => {
      servers[side].faults.push({ matches: laterStep[verb], effect: 'die' });
    },
    lie: async (side) => {
      const healthy = [{ name: `osaka:${volumes.source}`, lag: 0, status: 'healthy' }];
      servers[side].overrides.set('GET /protection-groups/performance', {
        status: 200,
        body: { items: healthy },
      });
    },
    skewClock: async (side, seconds) => {
      arrays[side].clockOffsetSeconds = seconds;
    },
    roundTrips: async (side) => servers[side].web.requests.length,
    bytesCarried: async () => arrays.source.bytesSent + arrays.target.bytesSent,
    crowd: async () =>
      Array.from({ length: 400 }, (_, i) => {
        const name = `${volumes.source}-${i}`;
        seed(pair, { source: name, target: name }, [`${name}-lun`]);
        const { target } = arrays;
        target.addVolume(`${name}-own`);
        target.addGroup(name, [`${name}-own`]);
        return name;
      }),
    readKept: async (side, file) => {
      const kept = arrays[side].volumeSnapshots.findLast(({ name }) =>
        name.startsWith(`${disk}.lifeboat-kept-`),
      );
      if (kept === undefined) throw new Error('nothing has been kept');
      return kept.files.get(file) ?? null;
    },
  };
}

export type Matches = (request: DoubleRequest) => boolean;
export const never: Matches = () => false;
export const calls =
  (wanted: string): Matches =>
  ({ method, path }) =>
    `${method} ${path}`.replace('/api/2.26', '') === wanted;
export const tags =
  (text: string): Matches =>
  (request) =>
    calls('PUT /volumes/tags/batch')(request) && JSON.stringify(request.body).includes(text);

/** The request that completes a verb. */
const lastStep: Readonly<Record<string, Matches>> = {
  syncNow: calls('POST /protection-group-snapshots'),
  prepare: tags('prepared:'),
  promote: tags('promoted:'),
  demote: tags('demoted:'),
  reverse: calls('POST /protection-group-snapshots'),
  drillStart: calls('POST /connections'),
  drillStop: calls('DELETE /volumes'),
  fence: calls('DELETE /connections'),
};

/** A request before which a verb has had some effect. */
const laterStep: Readonly<Record<'promote' | 'reverse' | 'drillStart' | 'prepare', Matches>> = {
  promote: calls('POST /protection-groups/volumes'),
  reverse: calls('POST /protection-group-snapshots'),
  drillStart: calls('POST /connections'),
  prepare: calls('DELETE /connections'),
};

/** What a host of that side gets at, or nothing. */
function reached(
  { arrays }: PurePair,
  { volumes, groups }: PureRigPair,
  { side, exposed, as }: Place,
): Volume {
  const array = arrays[side];
  if (!array.up) throw new Error('the array is dark');
  const host = as === 'host' ? hostNames[side] : 'nobody';
  const [only] = array.groups.get(volumes[side])?.members ?? [];
  const member = groups === undefined ? only : volumes[side];
  const volume =
    exposed === null
      ? array.volumes.get(member ?? '')
      : [...array.volumes.values()].find(
          ({ serial }) => `3624a9370${serial.toLowerCase()}` === exposed.scsiId,
        );
  const connected = array.connections.some((one) => one.host === host && one.volume === volume?.name);
  if (volume === undefined || !connected) throw new Error('there is no such disk');
  return volume;
}
