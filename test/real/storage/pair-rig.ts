/** The contract's rig over two real filers: what ZFS and btrfs have in common. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import type { Access, Replication } from '../../../src/ports/replication.ts';
import type { OpenRig, Place, Rig, Side, Verb } from '../../contract/replication/rig.ts';
import type { FilerRig, RealFiler } from './filer.ts';

/** What the rig must know of a kind of filer. */
export interface Kind {
  readonly type: 'zfs' | 'btrfs';
  options(filer: RealFiler): Readonly<Record<string, string | number | boolean>>;
  /** Name of the volume of the n-th case. */
  volume(n: number): string;
  /** Makes the volume of the source, empty and writable. */
  make(filer: RealFiler, volume: string): Promise<void>;
  /** The path of a volume, a copy or what was exposed; null when it is not mounted, or hosts may not reach it. */
  mounted(filer: RealFiler, volumeOrPath: string, host: string | null): Promise<string | null>;
  /** Where a demotion keeps what it has put aside. */
  kept(filer: RealFiler, volume: string): Promise<string | null>;
  /** Patterns of the command at which a verb dies, or after which its answer is lost. */
  readonly halfway: Readonly<
    Record<'promote' | 'reverse' | 'drillStart' | 'prepare', readonly [Side, string]>
  >;
  readonly last: Readonly<Partial<Record<Verb, string>>>;
}

const sides: readonly Side[] = ['source', 'target'];
const host = '10.1.1.1';
const crowdSize = 20;
/** A case that takes longer than this says what the filers are doing; the suite ends it soon after. */
const stuckSeconds = 280;

export function openPair(rig: FilerRig, kind: Kind): { readonly open: OpenRig; readonly pair: PairOfFilers } {
  let cases = 0;
  const pair = new PairOfFilers(rig, kind);
  const open: OpenRig = async (teardown) => {
    cases += 1;
    const stuck = setTimeout(() => console.error(rig.report()), stuckSeconds * 1000);
    teardown(() => clearTimeout(stuck));
    await rig.ready();
    pair.clear();
    const volume = kind.volume(cases);
    await kind.make(pair.filer('source'), volume);
    const opened = await pair.rigOf(volume, teardown);
    await opened.source.syncNow(volume, 'lb-first-0');
    return opened;
  };
  return { open, pair };
}

export class PairOfFilers {
  readonly #rig: FilerRig;
  readonly #kind: Kind;

  constructor(rig: FilerRig, kind: Kind) {
    this.#rig = rig;
    this.#kind = kind;
  }

  filer(side: Side): RealFiler {
    return this.#rig.filers[side === 'source' ? 0 : 1];
  }

  /** Takes back every mishap that is still waiting for its command. */
  clear(): void {
    for (const side of sides)
      for (const file of ['hold', 'fail', 'lose']) this.filer(side).take(`run/${file}`);
  }

  settings(side: Side, changes: ArraySettings['options'] = {}): ArraySettings {
    const filer = this.filer(side);
    return {
      name: side,
      site: side,
      type: this.#kind.type,
      secret: null,
      options: {
        host: filer.address,
        username: 'root',
        host_key: filer.hostKey,
        private_key_file: join(this.#rig.directory, 'operator'),
        link_host: side === 'source' ? '10.78.0.1' : '10.78.0.2',
        link_identity: '/run/link',
        link_known_hosts: '/run/known_hosts',
        ...this.#kind.options(filer),
        ...changes,
      },
    };
  }

  /** The adapter of a side; `volumes` have the same name on both. */
  adapter(side: Side, volumes: readonly string[], changes: ArraySettings['options'] = {}): Replication {
    const other = this.settings(side === 'source' ? 'target' : 'source', changes);
    return openReplication(this.settings(side, changes), {
      secrets: { resolve: () => Promise.reject(new Error('no secret is needed')) },
      clock: systemClock,
      peers: new Map(volumes.map((volume) => [volume, { array: other, volume }])),
    });
  }

  async rigOf(
    volume: string,
    teardown: (work: () => Promise<void> | void) => void,
    changes: ArraySettings['options'] = {},
  ): Promise<Rig> {
    const crowd = Array.from({ length: crowdSize }, (_, n) => `${volume}-crowd-${n}`);
    const open = (side: Side, more: ArraySettings['options'] = {}): Replication => {
      const adapter = this.adapter(side, [volume, ...crowd], { ...changes, ...more });
      teardown(() => adapter.close());
      return adapter;
    };
    const [source, target] = [open('source'), open('target')];
    const { halfway, last } = this.#kind;
    return {
      source,
      target,
      volumes: { source: volume, target: volume },
      hosts: (): Access => ({ addresses: [host], iqns: [] }),
      read: async (place, file) => {
        const path = join(await this.#path(place, volume), file);
        return existsSync(path) ? readFileSync(path, 'utf8') : null;
      },
      write: async (place, file, text) => {
        writeDurably(join(await this.#path(place, volume), file), text);
      },
      reopen: async (side) => open(side),
      patienceSeconds: 60,
      reportsSplit: true,
      secrets: [readFileSync(join(this.#rig.directory, 'operator'), 'utf8').slice(100, 200)],
      cutLink: () => this.#rig.cutLink(),
      mendLink: () => this.#rig.mendLink(),
      powerOff: (side) => this.filer(side).powerOff(),
      powerOn: () => this.#rig.ready(),
      holdTransfers: async () => {
        for (const side of sides) this.filer(side).put('run/hold', '');
        return async () => {
          for (const side of sides) this.filer(side).take('run/hold');
        };
      },
      loseAnswer: async (side, verb) => {
        const pattern = last[verb];
        if (pattern === undefined) throw new Error(`which command ends ${verb}?`);
        this.filer(side).put('run/lose', pattern);
      },
      dieHalfway: async (_, verb) => {
        const [side, pattern] = halfway[verb];
        this.filer(side).put('run/fail', pattern);
      },
      roundTrips: async (side) =>
        this.filer(side).isOn
          ? [
              ...this.filer(side)
                .log('sshd.log')
                .matchAll(/Starting session/g),
            ].length
          : 0,
      bytesCarried: () => this.#rig.linkBytes(),
      crowd: async () => {
        for (const one of crowd) await this.#kind.make(this.filer('target'), one);
        return crowd;
      },
      readKept: async (side, file) => {
        const path = await this.#kind.kept(this.filer(side), volume);
        if (path === null || !existsSync(join(path, file))) return null;
        return readFileSync(join(path, file), 'utf8');
      },
      wrongCredentials: async (side) =>
        open(side, { private_key_file: join(this.#rig.directory, 'stranger') }),
      wrongTrust: async (side) => open(side, { host_key: 'A'.repeat(43) }),
    };
  }

  async #path(place: Place, volume: string): Promise<string> {
    const filer = this.filer(place.side);
    if (!filer.isOn) throw new Error(`filer ${filer.name} is off`);
    const what = place.exposed?.path ?? volume;
    const asHost = place.exposed === null ? null : place.as === 'host' ? host : '10.9.9.9';
    const path = await this.#kind.mounted(filer, what, asHost);
    if (path === null) throw new Error(`${what} cannot be reached at ${filer.name}`);
    return filer.path(path);
  }
}

function writeDurably(path: string, text: string): void {
  const file = openSync(path, 'w');
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
