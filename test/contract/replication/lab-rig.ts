/** The lab's arrays as a rig: one lab for all cases, a pair of volumes of its own for each. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLabArray } from '../../../src/adapters/replication/lab/lab-array.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { addArray, addVolume, arraysOf, type LabArray, pairVolumes } from '../../../src/lab/arrays/index.ts';
import { addPool } from '../../../src/lab/core/build.ts';
import type { LabClock } from '../../../src/lab/core/clock.ts';
import { type Lab, startLab } from '../../../src/lab/lab.ts';
import { fabricOf } from '../../../src/lab/storage/index.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import type { OpenRig, Place, Rig, Side } from './rig.ts';

const sites: Readonly<Record<Side, string>> = { source: 'osaka', target: 'tokyo' };
const hostAddresses: Readonly<Record<Side, string>> = { source: '127.31.1.1', target: '127.31.2.1' };
const arrayAddresses: Readonly<Record<Side, string>> = { source: '127.31.1.100', target: '127.31.2.100' };
const strangerAddress = '127.31.9.9';
const wrongPassword = 'wrong-secret';

export interface LabArrays {
  readonly lab: Lab;
  readonly arrays: Readonly<Record<Side, LabArray>>;
  /** Another instance of the adapter. */
  adapter(side: Side, changes?: { readonly password?: string; readonly fingerprint?: string }): Replication;
  password(side: Side): string;
  requests(side: Side): number;
  /** A fresh pair: `<name>` at the source, `<name>-replica` at the target. */
  pair(name: string, intervalSeconds?: number): Readonly<Record<Side, string>>;
  /** What a host of that side can mount; throws when it cannot. */
  directory(side: Side, server: string, path: string, as: Place['as']): { path: string; writable: boolean };
  stop(): Promise<void>;
}

export async function startLabArrays(options: { readonly clock?: LabClock } = {}): Promise<LabArrays> {
  const storage = mkdtempSync(join(tmpdir(), 'lab-array-'));
  const made = new Map<Side, LabArray>();
  const lab = await startLab({
    storage,
    ...options,
    world: async (world) => {
      for (const side of ['source', 'target'] as const) {
        const site = sites[side];
        const hosts = [{ name: `${site}-1`, address: hostAddresses[side] }];
        addPool(world, { name: site, site, label: site, hosts });
        const array = { name: `filer-${site}`, site, address: arrayAddresses[side] };
        made.set(side, await addArray(world, array));
      }
    },
  });
  const [source, target] = [made.get('source'), made.get('target')];
  if (source === undefined || target === undefined) throw new Error('the world has no arrays');
  const arrays = { source, target };
  const server = (side: Side) => {
    const found = arraysOf(lab).get(arrays[side].name);
    if (found === undefined) throw new Error(`no server of ${arrays[side].name}`);
    return found;
  };
  const opened: Replication[] = [];
  return {
    lab,
    arrays,
    adapter: (side, changes = {}) => {
      const { url, certificate, login } = server(side);
      const { username, password } = login;
      const open = openLabArray(
        {
          name: arrays[side].name,
          site: sites[side],
          type: 'lab',
          options: { url, fingerprint: changes.fingerprint ?? certificate.sha256, username },
          secret: { from: 'env', name: 'ARRAY_PASSWORD' },
        },
        {
          secrets: { resolve: () => Promise.resolve(changes.password ?? password) },
          clock: systemClock,
        },
      );
      opened.push(open);
      return open;
    },
    password: (side) => server(side).login.password,
    requests: (side) => server(side).log.length,
    pair: (name, intervalSeconds) => {
      const volumes = { source: name, target: `${name}-replica` };
      for (const side of ['source', 'target'] as const)
        addVolume(arrays[side], volumes[side], [lab.pool('osaka'), lab.pool('tokyo')]);
      pairVolumes(
        { array: source, volume: volumes.source },
        { array: target, volume: volumes.target },
        { intervalSeconds: intervalSeconds ?? null },
      );
      return volumes;
    },
    directory: (side, address, path, as) => {
      const pool = lab.pool(sites[side]);
      const from = as === 'host' ? hostAddresses[side] : strangerAddress;
      const mount = fabricOf(pool).mount(pool, address, path, from);
      if (mount === null) throw new Error(`${address}:${path} is refused for ${from}`);
      return { path: mount.directory, writable: mount.access() === 'rw' };
    },
    stop: async () => {
      await Promise.all(opened.map((adapter) => adapter.close()));
      await lab.stop();
      rmSync(storage, { recursive: true, force: true });
    },
  };
}

/** Rigs in a running lab. */
export function labRigs(world: LabArrays): OpenRig {
  let pairs = 0;
  return async (teardown) => {
    pairs += 1;
    const volumes = world.pair(`shop-${pairs}`);
    teardown(() => mend(world));
    return labRig(world, volumes);
  };
}

/** What a case has broken: the next one finds whole arrays. */
async function mend({ lab, arrays }: LabArrays): Promise<void> {
  for (const array of [arrays.source, arrays.target]) array.faults.clear();
  arrays.source.setLink(arrays.target, true);
  for (const side of ['source', 'target'] as const) if (!arrays[side].up) await lab.reviveSite(sites[side]);
}

function labRig(world: LabArrays, volumes: Readonly<Record<Side, string>>): Rig {
  const { lab, arrays } = world;
  const at = ({ side, exposed, as }: Place) => {
    const { server = arrayAddresses[side], path = `/volumes/${volumes[side]}` } = exposed ?? {};
    return world.directory(side, server, path, as);
  };
  const once = (side: Side, verb: string, kind: 'lose-answer' | 'die-halfway'): void => {
    arrays[side].faults.add({ verb, volume: volumes[side], effect: { kind } });
  };
  return {
    source: world.adapter('source'),
    target: world.adapter('target'),
    volumes,
    hosts: (side) => ({ addresses: [hostAddresses[side]], iqns: [] }),
    read: async (place, file) => textIn(at(place).path, file),
    write: async (place, file, text) => {
      const { path, writable } = at(place);
      if (!writable) throw new Error('the mount is read-only');
      writeFileSync(join(path, file), text);
    },
    reopen: async (side) => world.adapter(side),
    patienceSeconds: 60,
    reportsSplit: true,
    secrets: [world.password('source'), world.password('target'), wrongPassword],
    cutLink: async () => arrays.source.setLink(arrays.target, false),
    mendLink: async () => arrays.source.setLink(arrays.target, true),
    powerOff: (side) => lab.killSite(sites[side]),
    powerOn: (side) => lab.reviveSite(sites[side]),
    holdTransfers: async () => {
      const ids = [arrays.source, arrays.target].map(
        ({ faults }) => [faults, faults.add({ effect: { kind: 'hold-transfers' } })] as const,
      );
      return async () => {
        for (const [faults, id] of ids) faults.remove(id);
      };
    },
    loseAnswer: async (side, verb) => once(side, verb, 'lose-answer'),
    dieHalfway: async (side, verb) => once(side, verb, 'die-halfway'),
    lie: async (side) => {
      arrays[side].faults.add({ effect: { kind: 'lie' } });
    },
    skewClock: async (side, seconds) => {
      arrays[side].faults.add({ effect: { kind: 'skew-clock', seconds } });
    },
    roundTrips: async (side) => world.requests(side),
    bytesCarried: async () => arrays.source.transfers.bytesSent + arrays.target.transfers.bytesSent,
    crowd: async () =>
      Array.from({ length: 500 }, (_, i) => world.pair(`${volumes.source}-crowd-${i}`).target),
    readKept: async (side, file) => {
      const last = arrays[side].volume(volumes[side]).kept.at(-1);
      if (last === undefined) throw new Error('nothing has been kept');
      return textIn(last.directory, file);
    },
    wrongCredentials: async (side) => world.adapter(side, { password: wrongPassword }),
    wrongTrust: async (side) => world.adapter(side, { fingerprint: '00'.repeat(32) }),
  };
}

function textIn(directory: string, file: string): string | null {
  try {
    return readFileSync(join(directory, file), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
