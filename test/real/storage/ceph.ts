/** Two real Ceph clusters with RBD mirroring between them (`ceph.sh`). */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type CephReplication, openCephArray } from '../../../src/adapters/replication/ceph/ceph-array.ts';
import type { Limits } from '../../../src/adapters/replication/ceph/rbd.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import type { Clock } from '../../../src/ports/system.ts';
import type { Side } from '../../contract/replication/rig.ts';
import { placeOfClusters } from './ceph-place.ts';

const script = join(import.meta.dirname, 'ceph.sh');
const sites = { source: 'alfa', target: 'bravo' } as const;
const octets = { source: '111', target: '112' } as const;
export const pool = 'lb';
/** Longest time for what the rig runs inside a cluster, and for a step of the rig itself. They only end what is stuck. */
const insideSeconds = 60;
const commandSeconds = 120;
/** Longest time of one case: it only ends one that has failed. */
export const caseSeconds = 170;
const slotBytes = 64 * 1024;
const sides = ['source', 'target'] as const;

export class CephPair {
  readonly root = mkdtempSync(join(placeOfClusters(), 'lifeboat-ceph-'));
  readonly adapters = new Set<CephReplication>();
  #images = 0;
  readonly #slots = new Map<string, number>();
  #up = new Set<Side>();
  #linked = false;
  #hurt = false;
  #held = false;
  readonly #ready: string[] = [];

  /** Time at which nothing moves passes quickly once the link is cut: whoever waits for a transfer gives up. */
  readonly clock: Clock;
  #skippedSeconds = 0;

  constructor() {
    this.clock = {
      ...systemClock,
      monotonicSeconds: () => {
        if (!this.#linked) this.#skippedSeconds += 100;
        return systemClock.monotonicSeconds() + this.#skippedSeconds;
      },
    };
  }

  async start(): Promise<void> {
    await Promise.all(
      sides.map(async (side) => {
        await this.#run('make', sites[side], octets[side]);
        await this.#run('up', sites[side], octets[side]);
        this.#up.add(side);
        await this.ceph(side, 'osd', 'pool', 'create', pool, '4');
        await this.rbd(side, 'pool', 'init', pool);
        await this.rbd(side, 'mirror', 'pool', 'enable', pool, 'image', '--site-name', `site-${sites[side]}`);
      }),
    );
    await this.#join();
    await this.peer(pool);
    await Promise.all(sides.map((side) => this.mirror(side, 'start')));
  }

  /** Makes the clusters peers for a pool. */
  async peer(name: string): Promise<void> {
    const token = join(this.root, `token-${name.replaceAll('/', '-')}`);
    const create = ['mirror', 'pool', 'peer', 'bootstrap', 'create', '--site-name', 'site-alfa', name];
    writeFileSync(token, await this.rbd('source', ...create), { mode: 0o600 });
    const take = ['mirror', 'pool', 'peer', 'bootstrap', 'import', '--site-name', 'site-bravo'];
    await this.rbd('target', ...take, '--direction', 'rx-tx', name, token);
  }

  stop(): void {
    for (const side of sides) {
      try {
        this.#now('down', sites[side]);
      } catch {
        // Already gone: nothing is left to stop.
      }
    }
    rmSync(this.root, { recursive: true, force: true });
  }

  /** Both clusters up, the links as they should be, daemons that were hurt started anew. Each case begins here. */
  async mended(): Promise<void> {
    for (const side of sides) await this.#boot(side);
    if (!this.#linked) await this.mendLink();
    if (!this.#hurt && !this.#held) return;
    this.#hurt = false;
    this.#held = false;
    await Promise.all(
      sides.map(async (side) => {
        await this.execute(side, 'tc', 'qdisc', 'del', 'dev', 'repl0', 'root').catch(() => undefined);
        await this.mirror(side, 'stop').catch(() => undefined);
        await this.mirror(side, 'start');
      }),
    );
  }

  /** What follows leaves daemons behind that take long to notice that all is well again. */
  hurt(): void {
    this.#hurt = true;
  }

  async powerOff(side: Side): Promise<void> {
    this.hurt();
    this.#up.delete(side);
    this.#linked = false;
    await this.#run('down', sites[side]);
  }

  async powerOn(side: Side): Promise<void> {
    if (await this.#boot(side)) await this.mirror(side, 'start');
  }

  /** All but rbd-mirror. False: it was up. */
  async #boot(side: Side): Promise<boolean> {
    if (this.#up.has(side)) return false;
    await this.#run('up', sites[side], octets[side]);
    this.#up.add(side);
    if (this.#up.size === 2) await this.#join();
    return true;
  }

  async cutLink(): Promise<void> {
    this.hurt();
    this.#linked = false;
    await this.#run('repl', sites.source, 'down');
  }

  async mendLink(): Promise<void> {
    for (const side of sides) await this.#run('repl', sites[side], 'up');
    this.#linked = true;
  }

  async #join(): Promise<void> {
    await this.#run('join', sites.source, sites.target);
    this.#linked = true;
  }

  mirror(side: Side, to: 'start' | 'stop'): Promise<string> {
    return this.#run('mirror', sites[side], to);
  }

  /** The daemon of the target stands still in the middle of whatever it does. */
  async holdTransfers(): Promise<() => Promise<void>> {
    this.#held = true;
    await this.execute('target', 'sh', '-c', 'kill -STOP $(cat /run/rbd-mirror.pid)');
    return async () => {
      this.#held = false;
      await this.execute('target', 'sh', '-c', 'kill -CONT $(cat /run/rbd-mirror.pid)');
    };
  }

  rbd(side: Side, ...args: string[]): Promise<string> {
    return this.execute(side, 'rbd', ...args);
  }

  ceph(side: Side, ...args: string[]): Promise<string> {
    return this.execute(side, 'ceph', ...args);
  }

  execute(side: Side, ...argv: string[]): Promise<string> {
    return this.#run('exec', sites[side], ...argv);
  }

  /** A fresh mirrored image whose first copy is whole at the target. */
  async newImage(
    options: {
      readonly inPool?: string;
      readonly mode?: 'snapshot' | 'journal';
      readonly size?: string;
    } = {},
  ): Promise<string> {
    this.#images += 1;
    const { inPool = pool, mode = 'snapshot', size = '8M' } = options;
    const volume = `${inPool}/image${this.#images}`;
    const features = mode === 'journal' ? ['--image-feature', 'layering,exclusive-lock,journaling'] : [];
    await this.rbd('source', 'create', '--size', size, ...features, volume);
    // A pool in pool mode mirrors every journaled image by itself.
    if (mode === 'snapshot') await this.rbd('source', 'mirror', 'image', 'enable', volume, mode);
    await until(`the first copy of ${volume}`, async () => {
      if (mode === 'journal')
        return (await this.rbd('target', 'mirror', 'image', 'status', volume)).includes('up+replaying');
      return (await this.rbd('target', 'snap', 'ls', '--all', volume, '--format', 'json')).includes(
        '"complete":true',
      );
    });
    return volume;
  }

  /** A pool whose journaled images are all mirrored. */
  async journaledPool(): Promise<string> {
    const name = 'lbj';
    const mode = ['mirror', 'pool', 'enable', name, 'pool', '--site-name'];
    for (const side of sides) {
      await this.ceph(side, 'osd', 'pool', 'create', name, '4');
      await this.rbd(side, 'pool', 'init', name);
      await this.rbd(side, ...mode, `site-${sites[side]}`);
    }
    await this.peer(name);
    return name;
  }

  /** A mirrored namespace of the first pool, whose peers it shares. */
  async namespace(): Promise<string> {
    const name = `${pool}/ns`;
    for (const side of sides) {
      await this.rbd(side, 'namespace', 'create', name);
      await this.rbd(side, 'mirror', 'pool', 'enable', name, 'image');
    }
    return name;
  }

  /** A transfer is under way over a slow link, and then the source is gone: half a copy is left. The image has 64 MiB. */
  async dieInTransfer(volume: string): Promise<void> {
    await this.rbd('source', 'bench', '--io-type', 'write', '--io-size', '4M', '--io-total', '64M', volume);
    this.hurt();
    const slow = ['root', 'tbf', 'rate', '40mbit', 'burst', '256k', 'latency', '200ms'];
    await this.execute('source', 'tc', 'qdisc', 'add', 'dev', 'repl0', ...slow);
    await this.rbd('source', 'mirror', 'image', 'snapshot', volume);
    await this.#untilListed('a copy is on its way', volume, '"complete":false');
    await this.powerOff('source');
  }

  /** A forced promotion is killed as soon as it has left its orphan at the target, while it waits for rbd-mirror. */
  async breakOffPromotion(volume: string): Promise<void> {
    const kept = 'echo $$ >/run/promotion.pid; exec rbd mirror image promote --force "$1"';
    const broken = this.execute('target', 'sh', '-c', kept, 'sh', volume).then(
      () => new Error('the promotion ended before it could be broken off'),
      () => null,
    );
    await this.#untilListed('a promotion has begun', volume, '"primary_mirror_uuid":""');
    await this.execute('target', 'sh', '-c', 'kill -KILL $(cat /run/promotion.pid)');
    const unbroken = await broken;
    if (unbroken !== null) throw unbroken;
  }

  async #untilListed(what: string, volume: string, words: string): Promise<void> {
    await until(what, async () =>
      (await this.rbd('target', 'snap', 'ls', '--all', volume, '--format', 'json')).includes(words),
    );
  }

  /** Of the whole content. */
  async digest(side: Side, volume: string): Promise<string> {
    const content = await this.#pipe(
      Buffer.alloc(0),
      'exec',
      sites[side],
      'rbd',
      'export',
      '--no-progress',
      volume,
      '-',
    );
    return createHash('sha256').update(content).digest('hex');
  }

  /** Several at a time: their first copies run beside each other. */
  async readyImage(): Promise<string> {
    if (this.#ready.length === 0)
      this.#ready.push(...(await Promise.all(Array.from({ length: 4 }, () => this.newImage()))));
    const volume = this.#ready.shift();
    if (volume === undefined) throw new Error('no image was made');
    return volume;
  }

  async write(side: Side, volume: string, file: string, text: string): Promise<void> {
    const data = Buffer.alloc(slotBytes);
    data.writeUInt32LE(Buffer.byteLength(text));
    data.write(text, 4);
    const head = Buffer.alloc(17);
    head.write('w');
    head.writeBigUInt64LE(BigInt(this.#slot(file) * slotBytes), 1);
    head.writeBigUInt64LE(BigInt(slotBytes), 9);
    const diff = Buffer.concat([Buffer.from('rbd diff v1\n'), head, data, Buffer.from('e')]);
    await this.#pipe(diff, 'exec', sites[side], 'rbd', 'import-diff', '--no-progress', '-', volume);
  }

  async read(side: Side, volume: string, file: string): Promise<string | null> {
    const content = await this.#pipe(
      Buffer.alloc(0),
      'exec',
      sites[side],
      'rbd',
      'export',
      '--no-progress',
      volume,
      '-',
    );
    const start = this.#slot(file) * slotBytes;
    const length = content.readUInt32LE(start);
    return length === 0 ? null : content.toString('utf8', start + 4, start + 4 + length);
  }

  #slot(file: string): number {
    const known = this.#slots.get(file) ?? this.#slots.size;
    this.#slots.set(file, known);
    return known;
  }

  settings(side: Side, changes: { readonly key?: string; readonly hostKey?: string } = {}): ArraySettings {
    const printed = execFileSync('ssh-keygen', ['-lf', join(this.root, sites[side], 'hostkey.pub')], {
      encoding: 'utf8',
    });
    return {
      name: `ceph-${sites[side]}`,
      site: sites[side],
      type: 'ceph',
      options: {
        host: `10.79.${octets[side]}.2`,
        username: 'root',
        host_key: changes.hostKey ?? printed.split(' ')[1] ?? '',
        private_key_file: changes.key ?? join(this.root, 'id'),
        conf: join(this.root, sites[side], 'ceph.conf'),
        ceph_user: 'lifeboat',
        stall_seconds: 120,
      },
      secret: null,
    };
  }

  open(
    side: Side,
    volumes: readonly string[],
    changes: { readonly key?: string; readonly hostKey?: string; readonly limits?: Limits } = {},
  ): CephReplication {
    const other = this.settings(side === 'source' ? 'target' : 'source');
    const adapter = openCephArray(this.settings(side, changes), {
      secrets: { resolve: () => Promise.reject(new Error('there is no secret')) },
      clock: this.clock,
      peers: new Map(volumes.map((volume) => [volume, { array: other, volume }])),
      ...(changes.limits === undefined ? {} : { limits: changes.limits }),
    });
    this.adapters.add(adapter);
    return adapter;
  }

  async closeAdapters(): Promise<void> {
    await Promise.all([...this.adapters].map((adapter) => adapter.close()));
    this.adapters.clear();
  }

  roundTrips(side: Side): number {
    return (
      readFileSync(join(this.root, sites[side], 'sshd.log'), 'utf8').split('Starting session').length - 1
    );
  }

  /** For a case that is stuck: what runs, and what the daemons said last. */
  async evidence(): Promise<string> {
    const parts = await Promise.all(
      sides.flatMap((side) => [
        this.execute(side, 'ps', '-eo', 'pid,stat,etimes,args').catch(String),
        this.execute(side, 'tail', '-n', '15', join(this.root, sites[side], 'log', 'rbd-mirror.log')).catch(
          String,
        ),
      ]),
    );
    return parts.join('\n');
  }

  async #run(...args: string[]): Promise<string> {
    return (await this.#pipe(Buffer.alloc(0), ...args)).toString('utf8');
  }

  #now(...args: string[]): void {
    execFileSync(script, args, { env: { ...process.env, RIG: this.root }, timeout: commandSeconds * 1000 });
  }

  #pipe(stdin: Buffer, ...args: string[]): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const options = {
        env: { ...process.env, RIG: this.root, RIG_SECONDS: String(insideSeconds) },
        timeout: commandSeconds * 1000,
        encoding: 'buffer',
        maxBuffer: 64 * 1024 * 1024,
      } as const;
      const child = execFile(script, args, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else
          reject(new Error(`${args.join(' ')}: ${stderr.toString()} ${stdout.toString()}`, { cause: error }));
      });
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(stdin);
    });
  }
}

async function until(what: string, look: () => Promise<boolean>, seconds = 90): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!(await look().catch(() => false))) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await pause(100);
  }
}
