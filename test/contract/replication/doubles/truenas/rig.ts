/** Two TrueNAS doubles as a rig: one pair of them for all cases, a pair of volumes for each. */
import { openTrueNas } from '../../../../../src/adapters/replication/truenas/open.ts';
import type { Mishaps, OpenRig, Place, Rig, Side } from '../../rig.ts';
import { openedOver, PairOfArrays, quickPace } from '../pair.ts';
import { type Dataset, Filer } from './filer.ts';
import { startTrueNas, type TrueNasServer } from './server.ts';

const hosts: Readonly<Record<Side, { readonly address: string; readonly iqn: string }>> = {
  source: { address: '10.1.0.11', iqn: 'iqn.2026-11.com.example:osaka-1' },
  target: { address: '10.2.0.11', iqn: 'iqn.2026-11.com.example:tokyo-1' },
};
const stranger = { address: '10.9.9.9', iqn: 'iqn.2026-11.com.example:nobody' };
const wrongKey = '9-wrong-key';

export interface TrueNasPair {
  readonly filers: Readonly<Record<Side, Filer>>;
  readonly servers: Readonly<Record<Side, TrueNasServer>>;
  readonly adapters: PairOfArrays;
  stop(): Promise<void>;
}

export async function startTrueNasPair(): Promise<TrueNasPair> {
  const filers = { source: new Filer('osaka'), target: new Filer('tokyo') };
  filers.source.other = filers.target;
  filers.target.other = filers.source;
  const servers = {
    source: await startTrueNas(filers.source),
    target: await startTrueNas(filers.target),
  };
  const named = (side: Side) => ({
    name: `nas-${filers[side].name}`,
    options: {
      url: servers[side].url,
      fingerprint: servers[side].certificate.sha256,
      username: servers[side].login.username,
      pool: 'tank',
      ssh_connection: 'to the other site',
    },
  });
  const adapters = new PairOfArrays({
    type: 'truenas',
    arrays: { source: named('source'), target: named('target') },
    secrets: { source: servers.source.login.key, target: servers.target.login.key },
    open: (settings, surroundings) => openTrueNas(settings, surroundings, quickPace),
  });
  return {
    filers,
    servers,
    adapters,
    stop: async () => {
      await adapters.close();
      await Promise.all([servers.source.stop(), servers.target.stop()]);
    },
  };
}

/** Rigs of one pair of filers. A fresh pair of volumes has a point and its mark already, as after the first sync. */
export function trueNasRigs(pair: TrueNasPair, type: Dataset['type'] = 'FILESYSTEM'): OpenRig {
  let count = 0;
  return async (teardown) => {
    count += 1;
    const name = `shop-${type.toLowerCase()}-${count}`;
    const volumes = { source: `tank/${name}`, target: `tank/${name}-replica` };
    seed(pair, volumes, type);
    teardown(() => mend(pair));
    return rigOf(pair, volumes);
  };
}

export function seed(
  { filers }: TrueNasPair,
  volumes: Readonly<Record<Side, string>>,
  type: Dataset['type'],
): void {
  filers.source.add(volumes.source, type);
  const replica = filers.target.add(volumes.target, type);
  const { guid, name, creation, files } = filers.source.snapshot(volumes.source, 'lifeboat-first');
  replica.readonly = true;
  replica.snapshots = [{ guid, name, creation, files, txg: 1, written: 0, held: false }];
  replica.properties.set('lifeboat:mark', 'target:-');
}

async function mend({ filers, servers }: TrueNasPair): Promise<void> {
  for (const side of ['source', 'target'] as const) {
    filers[side].linked = true;
    filers[side].clockOffsetSeconds = 0;
    servers[side].faults.length = 0;
    servers[side].overrides.clear();
    if (!filers[side].up) await servers[side].powerOn();
  }
}

function rigOf(pair: TrueNasPair, volumes: Readonly<Record<Side, string>>): Rig {
  const { filers, servers } = pair;
  return {
    ...openedOver(pair.adapters, [{ volumes }], wrongKey),
    hosts: (side) => ({ addresses: [hosts[side].address], iqns: [hosts[side].iqn] }),
    read: async (place, file) => reached(pair, volumes, place).files.get(file) ?? null,
    write: async (place, file, text) => {
      const dataset = reached(pair, volumes, place);
      if (dataset.readonly) throw new Error('read-only file system');
      dataset.files.set(file, text);
    },
    reportsSplit: true,
    secrets: [servers.source.login.key, servers.target.login.key, wrongKey],
    ...mishapsOf(pair, volumes),
    crowd: async () =>
      Array.from({ length: 500 }, (_, i) => {
        const crowd = { source: `${volumes.source}-${i}`, target: `${volumes.target}-${i}` };
        seed({ ...pair, filers }, crowd, 'FILESYSTEM');
        return crowd.target;
      }),
  };
}

function mishapsOf(
  { filers, servers }: TrueNasPair,
  volumes: Readonly<Record<Side, string>>,
): Partial<Mishaps> {
  return {
    cutLink: async () => setLink(filers, false),
    mendLink: async () => setLink(filers, true),
    powerOff: (side) => servers[side].powerOff(),
    powerOn: (side) => servers[side].powerOn(),
    holdTransfers: async () => {
      const release = [filers.source.hold(), filers.target.hold()];
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
      const state = { state: 'FINISHED', datetime: { $date: filers[side].nowMilliseconds() } };
      const task = { id: 1, name: 'shop', source_datasets: [volumes.source], enabled: true, state };
      servers[side].overrides.set('replication.query', () => [task]);
    },
    skewClock: async (side, seconds) => {
      filers[side].clockOffsetSeconds = seconds;
    },
    roundTrips: async (side) => servers[side].calls.length,
    bytesCarried: async () => filers.source.bytesSent + filers.target.bytesSent,
    readKept: async (side, file) => {
      const kept = [...filers[side].datasets.values()].filter(
        ({ properties }) => properties.get('lifeboat:kept') === volumes[side],
      );
      const last = kept.at(-1);
      if (last === undefined) throw new Error('nothing has been kept');
      return last.files.get(file) ?? null;
    },
  };
}

function setLink(filers: TrueNasPair['filers'], linked: boolean): void {
  filers.source.linked = linked;
  filers.target.linked = linked;
}

type Matches = (method: string, params: readonly unknown[]) => boolean;
const never: Matches = () => false;
const calls =
  (wanted: string): Matches =>
  (method) =>
    method === wanted;
const updates =
  (text: string): Matches =>
  (method, params) =>
    method === 'pool.dataset.update' && JSON.stringify(params).includes(text);

/** The call that completes a verb. */
const lastStep: Readonly<Record<string, Matches>> = {
  syncNow: calls('replication.run_onetime'),
  prepare: updates('"prepared:'),
  promote: updates('"promoted:'),
  demote: updates('"demoted:'),
  reverse: updates('"remove":true'),
  drillStart: calls('sharing.nfs.create'),
  drillStop: calls('pool.dataset.delete'),
  fence: updates('"readonly":"ON"'),
};

/** A call before which a verb has had some effect. */
const laterStep: Readonly<Record<'promote' | 'reverse' | 'drillStart' | 'prepare', Matches>> = {
  promote: updates('"readonly":"OFF"'),
  reverse: calls('replication.run_onetime'),
  drillStart: calls('sharing.nfs.create'),
  prepare: updates('"readonly":"ON"'),
};

/** What a host of that side gets at, or nothing. */
function reached(
  { filers, servers }: TrueNasPair,
  volumes: Readonly<Record<Side, string>>,
  { side, exposed, as }: Place,
): Dataset {
  const filer = filers[side];
  if (!filer.up) throw new Error('the filer is dark');
  if (exposed === null) return filer.must(volumes[side]);
  const host = as === 'host' ? hosts[side] : stranger;
  const { nfs, extents, targets, links, initiators } = servers[side].shares;
  if (exposed.kind === 'nfs') {
    const share = nfs.find(({ path }) => path === exposed.path);
    if (share === undefined || share['enabled'] !== true) throw new Error('no such export');
    if (!(share['hosts'] as readonly string[]).includes(host.address)) throw new Error('access denied');
    return filer.must(String(exposed.path).replace('/mnt/', ''));
  }
  const target = targets.find(({ name }) => exposed.iqn?.endsWith(`:${String(name)}`));
  const link = links.find((one) => one['target'] === target?.['id'] && one['lunid'] === exposed.lun);
  const extent = extents.find(({ id }) => id === link?.['extent']);
  const [group] = (target?.['groups'] ?? []) as readonly { readonly initiator: number }[];
  const admitted = initiators.find(({ id }) => id === group?.initiator)?.['initiators'];
  if (extent === undefined || !Array.isArray(admitted) || !admitted.includes(host.iqn))
    throw new Error('login refused');
  return filer.must(String(extent['disk']).replace('zvol/', ''));
}
