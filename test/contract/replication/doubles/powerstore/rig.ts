/** Two PowerStore doubles as a rig: one pair of arrays for all cases, a pair of volumes for each. */
import { randomUUID } from 'node:crypto';
import { openPowerStore } from '../../../../../src/adapters/replication/powerstore/open.ts';
import { systemClock } from '../../../../../src/adapters/system/clock.ts';
import type { ArraySettings } from '../../../../../src/domain/settings.ts';
import type { Replication } from '../../../../../src/ports/replication.ts';
import type { Mishaps, OpenRig, Place, Rig, Side } from '../../rig.ts';
import type { DoubleRequest } from '../https-double.ts';
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
const pace = { firstSeconds: 0.005, longestSeconds: 0.02, patienceSeconds: 20 };

export interface PowerStorePair {
  readonly arrays: Readonly<Record<Side, PowerStore>>;
  readonly servers: Readonly<Record<Side, PowerStoreServer>>;
  adapter(
    side: Side,
    volumes: Readonly<Record<Side, string>>,
    changes?: { readonly password?: string; readonly fingerprint?: string },
  ): Replication;
  stop(): Promise<void>;
}

const otherOf = (side: Side): Side => (side === 'source' ? 'target' : 'source');

export async function startPowerStorePair(): Promise<PowerStorePair> {
  const arrays = { source: new PowerStore('osaka'), target: new PowerStore('tokyo') };
  arrays.source.other = arrays.target;
  arrays.target.other = arrays.source;
  for (const side of ['source', 'target'] as const)
    arrays[side].hosts.push(
      { id: hostIds[side], iqns: [iqns[side]] },
      { id: 'nobody00-0000-4000-8000-000000000001', iqns: ['iqn.2026-11.com.example:nobody'] },
    );
  const servers = {
    source: await startPowerStore(arrays.source),
    target: await startPowerStore(arrays.target),
  };
  const opened: Replication[] = [];
  const settingsOf = (side: Side, fingerprint?: string): ArraySettings => ({
    name: `powerstore-${arrays[side].name}`,
    site: arrays[side].name,
    type: 'powerstore',
    options: {
      url: servers[side].web.url,
      fingerprint: fingerprint ?? servers[side].web.certificate.sha256,
      username,
    },
    secret: { from: 'env', name: side },
  });
  return {
    arrays,
    servers,
    adapter: (side, volumes, changes = {}) => {
      const other = otherOf(side);
      const passwords = new Map<string, string>([
        [side, changes.password ?? servers[side].password],
        [other, servers[other].password],
      ]);
      const adapter = openPowerStore(
        settingsOf(side, changes.fingerprint),
        {
          clock: systemClock,
          secrets: { resolve: async (ref) => passwords.get('name' in ref ? String(ref.name) : '') ?? '' },
          peers: new Map([[volumes[side], { array: settingsOf(other), volume: volumes[other] }]]),
        },
        pace,
      );
      opened.push(adapter);
      return adapter;
    },
    stop: async () => {
      await Promise.all(opened.map((adapter) => adapter.close()));
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
    return rigOf(pair, volumes);
  };
}

/** A pair that the site has set up, with a first point at the target. */
function seed({ arrays: { source, target } }: PowerStorePair, volumes: Readonly<Record<Side, string>>): void {
  const from = source.add(volumes.source, 'Primary', new Map());
  const to = target.add(volumes.target, 'Primary', new Map(), { description: 'replica of the shop' });
  source.map(hostIds.source, from.id);
  const first = source.snapshot(from, 'site-first');
  const { sourceTime } = first;
  target.add(first.name, 'Snapshot', first.files, { sourceId: to.id, sourceTime });
  const common = { id: randomUUID(), state: 'OK', lastSync: source.now(), looks: 0, next: null };
  const sessionOf = (role: Session['role'], volume: string, remoteVolume: string): Session => ({
    ...common,
    role,
    volume,
    remoteVolume,
  });
  source.sessions.push(sessionOf('Source', from.id, to.id));
  target.sessions.push(sessionOf('Destination', to.id, from.id));
}

async function mend({ arrays, servers }: PowerStorePair): Promise<void> {
  for (const side of ['source', 'target'] as const) {
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

function rigOf(pair: PowerStorePair, volumes: Readonly<Record<Side, string>>): Rig {
  const { servers } = pair;
  return {
    source: pair.adapter('source', volumes),
    target: pair.adapter('target', volumes),
    volumes,
    hosts: (side) => ({ addresses: [], iqns: [iqns[side]] }),
    read: async (place, file) => reached(pair, volumes, place).files.get(file) ?? null,
    write: async (place, file, text) => {
      reached(pair, volumes, place).files.set(file, text);
    },
    reopen: async (side) => pair.adapter(side, volumes),
    patienceSeconds: 30,
    reportsSplit: true,
    secrets: [servers.source.password, servers.target.password, wrongPassword, 'token-osaka', 'token-tokyo'],
    ...mishapsOf(pair, volumes),
  };
}

function mishapsOf(pair: PowerStorePair, volumes: Readonly<Record<Side, string>>): Partial<Mishaps> {
  const { arrays, servers, adapter } = pair;
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
    wrongCredentials: async (side) => adapter(side, volumes, { password: wrongPassword }),
    wrongTrust: async (side) => adapter(side, volumes, { fingerprint: '00'.repeat(32) }),
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
