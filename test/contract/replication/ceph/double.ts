/** Two clusters of `model.ts` behind two SSH servers, and the rig of the contract over them. */
import type { ServerChannel } from 'ssh2';
import type { Test } from 'tap';
import { type CephReplication, openCephArray } from '../../../../src/adapters/replication/ceph/ceph-array.ts';
import { type Limits, usualLimits } from '../../../../src/adapters/replication/ceph/rbd.ts';
import { systemClock } from '../../../../src/adapters/system/clock.ts';
import type { ArraySettings } from '../../../../src/domain/settings.ts';
import type { Clock } from '../../../../src/ports/system.ts';
import { startSshServer, type TestSshServer } from '../../../support/ssh-server.ts';
import type { Place, Rig, Side, Verb } from '../rig.ts';
import { type Answer, Cluster, hangs } from './model.ts';

export const volume = 'lb/shop';
export const quick: Limits = { ...usualLimits, heldSeconds: 0.05, pollSeconds: 0.01, verbSeconds: 1 };

interface Changes {
  readonly password?: string;
  readonly hostKey?: string;
}
/** Far longer than any case: only a cut link makes it pass. */
const stallSeconds = 1000;

export interface Double {
  readonly clusters: Readonly<Record<Side, Cluster>>;
  readonly servers: Readonly<Record<Side, TestSshServer>>;
  /** Both clusters as at the beginning: one mirrored image, whole on both sides. */
  reset(): void;
  open(side: Side, changes?: Changes): CephReplication;
  /** Loses the answer of the next command that fits, after its effect. */
  lose(side: Side, fits: (words: readonly string[]) => boolean): void;
  /** Answers the next command that fits with this instead. */
  instead(
    side: Side,
    fits: (words: readonly string[]) => boolean,
    answer: (channel: ServerChannel) => void,
  ): void;
}

/** The command after which nothing but the answer is left of a verb. */
const lastOf: Readonly<Partial<Record<Verb, readonly string[]>>> = {
  syncNow: ['mirror', 'image', 'snapshot'],
  prepare: ['mirror', 'image', 'demote'],
  unprepare: ['mirror', 'image', 'promote'],
  promote: ['rm', 'lb/lifeboat-promotion-shop'],
  demote: ['mirror', 'image', 'demote'],
  reverse: ['image-meta', 'remove'],
  restore: ['mirror', 'image', 'resync'],
  expose: ['ceph-conf'],
  conceal: ['status'],
  drillStart: ['image-meta', 'set'],
  drillStop: ['rm'],
  fence: ['mirror', 'image', 'demote'],
};
const firstOf = {
  promote: ['mirror', 'image', 'promote'],
  prepare: ['snap', 'create'],
  reverse: ['mirror', 'image', 'snapshot'],
  drillStart: ['clone'],
} as const;

export async function startDouble(t: Pick<Test, 'teardown'>): Promise<Double> {
  const clusters = { source: new Cluster('osaka'), target: new Cluster('tokyo') };
  clusters.source.peer = clusters.target;
  clusters.target.peer = clusters.source;
  const reset = (): void => {
    for (const cluster of Object.values(clusters)) cluster.reset();
    clusters.source.createMirrored(volume, globalIdOf(1));
    clusters.source.copyAll();
  };
  reset();
  const losing = { source: null as null | Fits, target: null as null | Fits };
  const replacing = { source: null as null | Replacement, target: null as null | Replacement };
  const serve = (side: Side) =>
    startSshServer(t as Test, {
      refuseChannel: () => !clusters[side].up,
      command: async (line, channel) => {
        const words = wordsOf(line);
        const replaced = replacing[side];
        if (replaced?.fits(words) === true) {
          replacing[side] = null;
          replaced.answer(channel);
          return;
        }
        const answer = await answerTo(clusters[side], words, channel);
        if (losing[side]?.(words) === true) {
          losing[side] = null;
          servers[side].cut();
          return;
        }
        if (answer === hangs) await untilFree(clusters[side], words, channel);
        else reply(channel, answer);
      },
    });
  const servers = { source: await serve('source'), target: await serve('target') };
  const settings = (side: Side, changes: Changes = {}): ArraySettings => ({
    name: clusters[side].name,
    site: side,
    type: 'ceph',
    options: {
      host: '127.0.0.1',
      port: servers[side].port,
      username: 'operator',
      host_key: changes.hostKey ?? servers[side].hostKey,
      stall_seconds: stallSeconds,
    },
    secret: { from: 'env', name: changes.password ?? 'right' },
  });
  // With the link down the time for which nothing moves passes at each look.
  let skipped = 0;
  const clock: Clock = {
    ...systemClock,
    monotonicSeconds() {
      if (!clusters.source.linked) skipped += stallSeconds;
      return systemClock.monotonicSeconds() + skipped;
    },
  };
  return {
    clusters,
    servers,
    reset() {
      reset();
      for (const side of ['source', 'target'] as const) {
        losing[side] = null;
        replacing[side] = null;
      }
    },
    open(side, changes) {
      const other = settings(side === 'source' ? 'target' : 'source');
      const adapter = openCephArray(settings(side, changes), {
        // The name of the secret is its value here: nothing is looked up.
        secrets: { resolve: (ref) => Promise.resolve('name' in ref ? ref.name : '') },
        clock,
        peers: new Map([[volume, { array: other, volume }]]),
        limits: quick,
      });
      t.teardown(() => adapter.close());
      return adapter;
    },
    lose(side, fits) {
      losing[side] = fits;
    },
    instead(side, fits, answer) {
      replacing[side] = { fits, answer };
    },
  };
}

type Fits = (words: readonly string[]) => boolean;
interface Replacement {
  readonly fits: Fits;
  readonly answer: (channel: ServerChannel) => void;
}

export function starts(words: readonly string[], start: readonly string[]): boolean {
  return start.every((word, at) => words[at] === word);
}

export function globalIdOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
}

/** Words of the command itself: without the wrapping that bounds it, and without where its keys are. */
export function wordsOf(line: string): string[] {
  const all = [...line.matchAll(/'((?:[^']|'\\'')*)'/g)].map(([, text = '']) =>
    text.replaceAll("'\\''", "'"),
  );
  const start = all.findIndex((word) => ['rbd', 'ceph', 'ceph-conf', 'date', 'xargs'].includes(word));
  const [program = '', ...rest] = all.slice(start);
  if (program === 'xargs') return ['xargs', ...wordsOf(rest.map((word) => `'${word}'`).join(' '))];
  const kept: string[] = program === 'date' || program === 'ceph-conf' ? [program] : [];
  for (let at = 0; at < rest.length; at += 1) {
    const word = rest[at] ?? '';
    if (
      ['--id', '--conf', '--keyring', '--format', '--from-snap', '--size', '--image-feature'].includes(word)
    ) {
      if (word === '--from-snap') kept.push(rest[at + 1] ?? '');
      at += 1;
    } else if (!['--all', '--verbose', '--no-progress'].includes(word)) kept.push(word);
  }
  return kept;
}

async function answerTo(
  cluster: Cluster,
  words: readonly string[],
  channel: ServerChannel,
): Promise<Answer | typeof hangs> {
  const [program = ''] = words;
  if (program === 'date') return { code: 0, stdout: `${new Date(cluster.now()).toISOString()}\n` };
  if (program === 'ceph-conf') return { code: 0, stdout: `[v2:192.0.2.1:3300/0]\n` };
  if (program === '--version') return { code: 0, stdout: 'ceph version 16.2.15 (model) pacific (stable)\n' };
  if (program !== 'xargs')
    return cluster.answer(program === 'diff' ? ['diff', '', ...words.slice(1)] : words);
  const pieces: Buffer[] = [];
  for await (const piece of channel) pieces.push(piece as Buffer);
  const each = Buffer.concat(pieces).toString().split('\n').filter(Boolean);
  const answers = each.map((name) =>
    cluster.answer(words.slice(1).map((word) => (word === '{}' ? name : word))),
  );
  const printed = answers.map((one) => (one === hangs || one.code !== 0 ? '' : textOf(one.stdout)));
  return { code: answers.some((one) => one !== hangs && one.code !== 0) ? 123 : 0, stdout: printed.join('') };
}

function textOf(stdout: unknown): string {
  return typeof stdout === 'string' ? stdout : `${JSON.stringify(stdout)}\n`;
}

function reply(channel: ServerChannel, answer: Answer): void {
  if (answer.stdout !== undefined) channel.write(textOf(answer.stdout));
  if (answer.stderr !== undefined) channel.stderr.write(answer.stderr);
  channel.exit(answer.code);
  channel.end();
}

/** A held promotion goes on as soon as the connection of the daemon is blocked. */
async function untilFree(cluster: Cluster, words: readonly string[], channel: ServerChannel): Promise<void> {
  await cluster.freed();
  const answer = cluster.answer(words);
  reply(channel, answer === hangs ? { code: 124 } : answer);
}

/** A rig over clusters that every case begins with anew; the two adapters keep their connections. */
export function openDoubleRig(double: Double, adapters: Readonly<Record<Side, CephReplication>>): Rig {
  double.reset();
  const { clusters, servers } = double;
  const at = (place: Place) => {
    const image = clusters[place.side].images.get(place.exposed?.path ?? volume);
    if (place.as === 'stranger' || image === undefined || !clusters[place.side].up)
      throw new Error('out of reach');
    return image;
  };
  const powered = (side: Side, up: boolean): void => {
    clusters[side].up = up;
    if (!up) servers[side].cut();
    else clusters[side].copyAll();
  };
  return {
    ...adapters,
    volumes: { source: volume, target: volume },
    hosts: () => ({ addresses: ['192.0.2.20'], iqns: [] }),
    read: async (place, file) => at(place).files.get(file) ?? null,
    write: async (place, file, text) => {
      const image = at(place);
      if (!image.primary) throw new Error('read-only');
      image.files.set(file, text);
    },
    reopen: (side) => Promise.resolve(double.open(side)),
    patienceSeconds: 60,
    reportsSplit: false,
    secrets: ['right', 'wrong-password'],
    cutLink: async () => {
      clusters.source.linked = false;
    },
    mendLink: async () => {
      clusters.source.linked = true;
      clusters.source.copyAll();
    },
    powerOff: async (side) => powered(side, false),
    powerOn: async (side) => powered(side, true),
    holdTransfers: async () => {
      clusters.target.standsStill = true;
      return async () => {
        clusters.target.standsStill = false;
        clusters.source.copyAll();
      };
    },
    loseAnswer: async (side, verb) => {
      const last = lastOf[verb] ?? [];
      double.lose(side, (words) => starts(words, last));
    },
    dieHalfway: async (side, verb) => double.lose(side, (words) => starts(words, firstOf[verb])),
    skewClock: async (side, seconds) => {
      clusters[side].clockOffsetSeconds = seconds;
    },
    roundTrips: async (side) => servers[side].commands.length,
    crowd: async () => {
      const volumes = Array.from({ length: 20 }, (_, at) => `lb/crowd${at}`);
      for (const [at, one] of volumes.entries()) clusters.source.createMirrored(one, globalIdOf(at + 100));
      clusters.source.copyAll();
      return volumes;
    },
    wrongCredentials: async (side) => double.open(side, { password: 'wrong-password' }),
    wrongTrust: async (side) => double.open(side, { hostKey: 'A'.repeat(43) }),
  };
}
