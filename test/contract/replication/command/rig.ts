/** Two "arrays" of runbooks/samples/array-command.sh in directories, and hosts that keep to what is exported to them. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { openCommandArray } from '../../../../src/adapters/replication/command/command-array.ts';
import { systemClock } from '../../../../src/adapters/system/clock.ts';
import type { ArraySettings } from '../../../../src/domain/settings.ts';
import type { Replication } from '../../../../src/ports/replication.ts';
import type { OpenRig, Place, Rig, Side } from '../rig.ts';

export const sample = join(import.meta.dirname, '../../../../runbooks/samples/array-command.sh');
const withMishaps = join(import.meta.dirname, 'mishaps.sh');
const password = 'tea-at-four';
const wrongPassword = 'coffee-at-five';
const addresses = { source: '10.1.0.11', target: '10.2.0.11' } as const;
const stranger = '10.9.9.9';

/** Makes an array with nothing on it. */
export function makeArray(root: string, other: string, serial: string): void {
  for (const folder of ['state', 'volumes', 'exports', 'points', 'drills', 'kept'])
    mkdirSync(join(root, folder), { recursive: true });
  mkdirSync(`${root}.mishaps`);
  writeFileSync(join(root, 'serial'), `${serial}\n`);
  symlinkSync(other, join(root, 'link'));
}

export function addVolume(root: string, name: string, role: 'source' | 'target', peer: string): void {
  mkdirSync(join(root, 'volumes', name));
  mkdirSync(join(root, 'points', name));
  mkdirSync(join(root, 'state', name));
  for (const [fact, text] of [
    ['role', `${role}\n`],
    ['peer', `${peer}\n`],
    ['points', ''],
  ] as const)
    writeFileSync(join(root, 'state', name, fact), text);
}

export const openCommandRig: OpenRig = async (teardown) => {
  const home = mkdtempSync(join(tmpdir(), 'command-array-'));
  const roots = { source: join(home, 'osaka'), target: join(home, 'tokyo') } as const;
  const volumes = { source: 'shop', target: 'shop-replica' } as const;
  const opened: Replication[] = [];
  const otherOf = { source: 'target', target: 'source' } as const;
  for (const side of ['source', 'target'] as const) {
    makeArray(roots[side], roots[otherOf[side]], `dir-${side}`);
    writeFileSync(join(roots[side], 'secret'), `${password}\n`);
    addVolume(roots[side], volumes[side], side, volumes[otherOf[side]]);
  }
  writeFileSync(join(roots.source, 'exports', volumes.source), `${addresses.source} rw\n`);
  const settings = (side: Side): ArraySettings => ({
    name: `dir-${side}`,
    site: side,
    type: 'command',
    options: { program_file: withMishaps, arguments: [sample, roots[side], '127.0.0.1'] },
    secret: { from: 'env', name: 'ARRAY_SECRET' },
  });
  const open = (side: Side, secret = password): Replication => {
    const other = otherOf[side];
    const adapter = openCommandArray(settings(side), {
      secrets: { resolve: () => Promise.resolve(secret) },
      clock: systemClock,
      peers: new Map([[volumes[side], { array: settings(other), volume: volumes[other] }]]),
    });
    opened.push(adapter);
    return adapter;
  };
  teardown(async () => {
    await Promise.all(opened.map((adapter) => adapter.close()));
    rmSync(home, { recursive: true, force: true });
  });
  const mishap = (side: Side, name: string, text = ''): string => {
    const file = join(`${roots[side]}.mishaps`, name);
    writeFileSync(file, text);
    return file;
  };
  return {
    source: open('source'),
    target: open('target'),
    volumes,
    hosts: (side) => ({ addresses: [addresses[side]], iqns: [] }),
    read: async (place, file) => {
      const path = join(mounted(roots, volumes, place).path, file);
      return existsSync(path) ? readFileSync(path, 'utf8') : null;
    },
    write: async (place, file, text) => {
      const { path, writable } = mounted(roots, volumes, place);
      if (!writable) throw new Error('the mount is read-only');
      writeFileSync(join(path, file), text);
    },
    reopen: async (side) => open(side),
    patienceSeconds: 60,
    reportsSplit: true,
    secrets: [password, wrongPassword],
    cutLink: async () => {
      for (const side of ['source', 'target'] as const) unlinkSync(join(roots[side], 'link'));
    },
    mendLink: async () => {
      for (const side of ['source', 'target'] as const)
        symlinkSync(roots[otherOf[side]], join(roots[side], 'link'));
    },
    powerOff: async (side) => renameSync(roots[side], `${roots[side]}.off`),
    powerOn: async (side) => renameSync(`${roots[side]}.off`, roots[side]),
    holdTransfers: async () => {
      const held = [mishap('source', 'hold'), mishap('target', 'hold')];
      return async () => {
        for (const file of held) rmSync(file, { force: true });
      };
    },
    loseAnswer: async (side, verb) => void mishap(side, `lose-${verb}`),
    dieHalfway: async (side, verb) => void mishap(side, `die-${verb}`),
    lie: async (side) => void mishap(side, 'lie'),
    skewClock: async (side, seconds) => void mishap(side, 'skew', String(seconds)),
    roundTrips: async (side) => {
      const calls = join(`${roots[side]}.mishaps`, 'calls');
      return existsSync(calls) ? statSync(calls).size : 0;
    },
    crowd: async () =>
      Array.from({ length: 20 }, (_, i) => {
        addVolume(roots.source, `crowd-${i}`, 'source', `crowd-${i}`);
        addVolume(roots.target, `crowd-${i}`, 'target', `crowd-${i}`);
        return `crowd-${i}`;
      }),
    readKept: async (side, file) => {
      const [kept] = readdirSync(join(roots[side], 'kept'));
      const path = join(roots[side], 'kept', kept ?? 'nothing', file);
      return existsSync(path) ? readFileSync(path, 'utf8') : null;
    },
    wrongCredentials: async (side) => open(side, wrongPassword),
  } satisfies Rig;
};

/** What a host may do by the exports of the array, which is what a file server would go by. */
function mounted(
  roots: Readonly<Record<Side, string>>,
  volumes: Readonly<Record<Side, string>>,
  { side, exposed, as }: Place,
): { path: string; writable: boolean } {
  const path = exposed?.path ?? join(roots[side], 'volumes', volumes[side]);
  const isDrill = basename(path) === 'data';
  const drill = dirname(path);
  const door = isDrill ? `${basename(dirname(drill))}@${basename(drill)}` : basename(path);
  const exports = join(roots[side], 'exports', door);
  const address = as === 'host' ? addresses[side] : stranger;
  const lines = existsSync(exports) ? readFileSync(exports, 'utf8').split('\n') : [];
  const mode = lines.find((line) => line.startsWith(`${address} `))?.split(' ')[1];
  if (mode === undefined || !existsSync(path)) throw new Error(`${path} is refused for ${address}`);
  return { path, writable: mode === 'rw' };
}
