/** Two PowerStore doubles as a rig: one pair of arrays for all cases, a pair of volumes for each. */
import { randomUUID } from 'node:crypto';
import { openPowerStore } from '../../../../../src/adapters/replication/powerstore/open.ts';
import type { Mishaps, OpenRig, Place, Rig, Side } from '../../rig.ts';
import type { DoubleRequest } from '../https-double.ts';
import { type NamedPair, openedOver, PairOfArrays, quickPace, sides } from '../pair.ts';
import { PowerStore, type Session, type Volume } from './power-store.ts';
import { type PowerStoreServer, root, startPowerStore, username } from './server.ts';

const iqns: Readonly<Record<Side, string>> = {
  source: 'iqn.2026-11.com.example:osaka-1',
  target: 'iqn.2026-11.com.example:tokyo-1',
};
const hostIds: Readonly<Record<Side, string>> = {
  source: '5a10c0de-0001-4000-8000-000000000001',
  target: '70c10ade-0001-4000-8000-000000000001',
};
const wrongPassword = 'wrong-password';

export interface PowerStorePair {
  readonly arrays: Readonly<Record<Side, PowerStore>>;
  readonly servers: Readonly<Record<Side, PowerStoreServer>>;
  readonly adapters: PairOfArrays;
  stop(): Promise<void>;
}

export async function startPowerStorePair(): Promise<PowerStorePair> {
  const arrays = { source: new PowerStore('osaka'), target: new PowerStore('tokyo') };
  arrays.source.other = arrays.target;
  arrays.target.other = arrays.source;
  for (const side of sides)
    arrays[side].hosts.push(
      { id: hostIds[side], iqns: [iqns[side]] },
      { id: 'nobody00-0000-4000-8000-000000000001', iqns: ['iqn.2026-11.com.example:nobody'] },
    );
  const servers = {
    source: await startPowerStore(arrays.source),
    target: await startPowerStore(arrays.target),
  };
  const named = (side: Side) => ({
    name: `powerstore-${arrays[side].name}`,
    options: {
      url: servers[side].web.url,
      fingerprint: servers[side].web.certificate.sha256,
      username,
    },
  });
  const adapters = new PairOfArrays({
    type: 'powerstore',
    arrays: { source: named('source'), target: named('target') },
    secrets: { source: servers.source.password, target: servers.target.password },
    open: (settings, surroundings) => openPowerStore(settings, surroundings, quickPace),
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

export function powerStoreRigs(pair: PowerStorePair): OpenRig {
  let count = 0;
  return async (teardown) => {
    count += 1;
    const volumes = { source: `shop-${count}`, target: `shop-${count}-replica` };
    seed(pair, volumes);
    teardown(() => mend(pair));
    return { ...rigOf(pair, [{ volumes }]), together: async () => together(pair, `shop-${count}`) };
  };
}

/** A pair that the site has set up, with a first point at the target. */
function seed(pair: PowerStorePair, volumes: Readonly<Record<Side, string>>): void {
  const { source, target } = pair.arrays;
  const { from, to } = volumesOf(pair, volumes);
  const first = source.snapshot(from, 'site-first');
  const { sourceTime } = first;
  target.add(first.name, 'Snapshot', first.files, { sourceId: to.id, sourceTime });
  tie(pair, { kind: 'volume', local: from.id, remote: to.id }, [{ volume: from.id, remoteVolume: to.id }]);
}

function volumesOf({ arrays: { source, target } }: PowerStorePair, volumes: Readonly<Record<Side, string>>) {
  const from = source.add(volumes.source, 'Primary', new Map());
  const to = target.add(volumes.target, 'Primary', new Map(), { description: 'replica of the shop' });
  source.map(hostIds.source, from.id);
  return { from, to };
}

function tie(
  { arrays: { source, target } }: PowerStorePair,
  { kind, local, remote }: Pick<Session, 'kind' | 'local' | 'remote'>,
  pairs: Session['pairs'],
): void {
  const common = { id: randomUUID(), kind, state: 'OK', lastSync: source.now(), looks: 0, next: null };
  source.sessions.push({ ...common, role: 'Source', local, remote, pairs });
  target.sessions.push({
    ...common,
    role: 'Destination',
    local: remote,
    remote: local,
    pairs: pairs.map(({ volume, remoteVolume }) => ({ volume: remoteVolume, remoteVolume: volume })),
  });
}

/** Two volumes of one volume group, which is replicated as a whole; no snapshot of it has been taken yet. */
function together(pair: PowerStorePair, name: string): readonly [Rig, Rig] {
  const { source, target } = pair.arrays;
  const groups = { source: `${name}-group`, target: `${name}-group-copy` };
  const member = (what: string): NamedPair => ({
    volumes: { source: `${name}-${what}`, target: `${name}-${what}-copy` },
    groups,
  });
  const [log, data] = [member('log'), member('data')];
  const made = [log, data].map(({ volumes }) => volumesOf(pair, volumes));
  const local = { id: randomUUID(), name: groups.source, members: new Set(made.map(({ from }) => from.id)) };
  const remote = { id: randomUUID(), name: groups.target, members: new Set(made.map(({ to }) => to.id)) };
  source.groups.push(local);
  target.groups.push(remote);
  tie(
    pair,
    { kind: 'volume_group', local: local.id, remote: remote.id },
    made.map(({ from, to }) => ({ volume: from.id, remoteVolume: to.id })),
  );
  return [rigOf(pair, [log, data]), rigOf(pair, [data, log])];
}

async function mend({ arrays, servers }: PowerStorePair): Promise<void> {
  for (const side of sides) {
    arrays[side].linked = true;
    arrays[side].clockOffsetSeconds = 0;
    arrays[side].lying = false;
    servers[side].faults.length = 0;
    servers[side].overrides.clear();
    arrays[side].forget();
    if (!arrays[side].up) await power({ arrays, servers }, side, true);
  }
}

async function power(
  { arrays, servers }: Pick<PowerStorePair, 'arrays' | 'servers'>,
  side: Side,
  on: boolean,
): Promise<void> {
  arrays[side].up = on;
  if (!on) await servers[side].web.powerOff();
  else await servers[side].web.powerOn();
  if (on) arrays.source.meet();
}

function rigOf(pair: PowerStorePair, pairs: readonly [NamedPair, ...NamedPair[]]): Rig {
  const { servers, adapters } = pair;
  const [{ volumes }] = pairs;
  return {
    ...openedOver(adapters, pairs, wrongPassword),
    hosts: (side) => ({ addresses: [], iqns: [iqns[side]] }),
    read: async (place, file) => reached(pair, volumes, place).files.get(file) ?? null,
    write: async (place, file, text) => {
      reached(pair, volumes, place).files.set(file, text);
    },
    reportsSplit: true,
    secrets: [servers.source.password, servers.target.password, wrongPassword, 'token-osaka', 'token-tokyo'],
    ...mishapsOf(pair, volumes),
  };
}

function mishapsOf(pair: PowerStorePair, volumes: Readonly<Record<Side, string>>): Partial<Mishaps> {
  const { arrays, servers } = pair;
  const setLink = (linked: boolean): void => {
    for (const array of [arrays.source, arrays.target]) array.linked = linked;
    arrays.source.meet();
  };
  return {
    cutLink: async () => setLink(false),
    mendLink: async () => setLink(true),
    powerOff: (side) => power(pair, side, false),
    powerOn: (side) => power(pair, side, true),
    holdTransfers: async () => {
      arrays.source.held = true;
      arrays.target.held = true;
      return async () => {
        arrays.source.release();
        arrays.target.release();
      };
    },
    loseAnswer: async (side, verb) => {
      servers[side].faults.push({ matches: lastStep[verb] ?? never, effect: 'lose' });
    },
    dieHalfway: async (side, verb) => {
      servers[side].faults.push({ matches: laterStep[verb], effect: 'die' });
    },
    lie: async (side) => {
      arrays[side].lying = true;
    },
    skewClock: async (side, seconds) => {
      arrays[side].clockOffsetSeconds = seconds;
    },
    roundTrips: async (side) => servers[side].web.requests.length,
    bytesCarried: async () => arrays.source.bytesSent + arrays.target.bytesSent,
    crowd: async () =>
      Array.from({ length: 400 }, (_, i) => {
        const crowd = { source: `${volumes.source}-${i}`, target: `${volumes.target}-${i}` };
        seed(pair, crowd);
        return crowd.target;
      }),
    readKept: async (side, file) => {
      const volume = arrays[side].named(volumes[side]);
      const kept = arrays[side]
        .snapshotsOf(volume?.id ?? '')
        .findLast(({ name }) => name.startsWith('lifeboat-kept-'));
      if (kept === undefined) throw new Error('nothing has been kept');
      return kept.files.get(file) ?? null;
    },
  };
}

type Matches = (request: DoubleRequest) => boolean;
const never: Matches = () => false;
const calls =
  (method: string, path: RegExp): Matches =>
  (request) =>
    request.method === method && path.test(request.path.slice(root.length));
const notes =
  (text: string): Matches =>
  (request) =>
    calls('PATCH', /^\/volume\//)(request) && JSON.stringify(request.body).includes(text);

/** The request that completes a verb. */
const lastStep: Readonly<Record<string, Matches>> = {
  syncNow: calls('POST', /\/sync$/),
  prepare: notes('prepared:'),
  promote: notes('promoted:'),
  demote: notes('demoted:'),
  reverse: calls('POST', /\/reprotect$/),
  drillStart: calls('POST', /\/attach$/),
  drillStop: calls('DELETE', /^\/volume\//),
  fence: calls('POST', /\/detach$/),
};

/** A request before which a verb has had some effect. */
const laterStep: Readonly<Record<'promote' | 'reverse' | 'drillStart' | 'prepare', Matches>> = {
  promote: notes('promoting:'),
  reverse: calls('POST', /\/sync$/),
  drillStart: calls('POST', /\/attach$/),
  prepare: calls('POST', /\/detach$/),
};

/** What a host of that side gets at, or nothing. */
function reached(
  { arrays }: PowerStorePair,
  volumes: Readonly<Record<Side, string>>,
  { side, exposed, as }: Place,
): Volume {
  const array = arrays[side];
  if (!array.up) throw new Error('the array is dark');
  const volume =
    exposed === null
      ? array.named(volumes[side])
      : [...array.volumes.values()].find(({ wwn }) => wwn === `naa.${exposed.scsiId?.slice(1)}`);
  const mapped = array.mappings.some(
    (one) => as === 'host' && one.host === hostIds[side] && one.volume === volume?.id,
  );
  if (volume === undefined || !mapped) throw new Error('there is no such disk');
  if (array.isDestination(volume.id)) throw new Error('the disk is write-protected');
  return volume;
}
