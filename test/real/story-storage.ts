/**
 * Real filers as the NFS servers of the lab's pools: what a filer has mounted, and lets a host reach, is what that host
 * can mount. An SR keeps its way to the filer through a power cut, as an NFS mount does.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Lab } from '../../src/lab/core/lab.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { type DemoStorage, demoVolumes } from '../../src/lab/demo.ts';
import { type Access, Fabric, type Share, setFabric } from '../../src/lab/storage/index.ts';
import type { FilerRig, RealFiler } from './storage/filer.ts';
import type { Kind, PairOfFilers } from './storage/pair-rig.ts';

/** A directory of a filer and the addresses that may mount it. */
export interface Export {
  readonly path: string;
  readonly hosts: readonly string[];
}

/** What the story must know of a kind of filer, beside what the rig knows. */
export interface StoryKind extends Kind {
  /** The array's name of a volume of the sample. */
  named(volume: string): string;
  /** Everything that could be mounted, as the filer itself lists it. */
  exports(filer: ServedFiler): readonly Export[];
  /** Names of everything that takes up space, points left out: what a drill must leave as it was. */
  inventory(filer: RealFiler): Promise<readonly string[]>;
  /** When the newest point of a volume was taken, in seconds since 1970: the filer's own word. */
  newestPointSeconds(filer: RealFiler, volume: string): Promise<number>;
}

export class ServedFiler {
  readonly filer: RealFiler;
  readonly #kind: StoryKind;
  /** A path that stays the same when the filer gets another process. */
  readonly #root: string;

  constructor(filer: RealFiler, kind: StoryKind) {
    this.filer = filer;
    this.#kind = kind;
    this.#root = `${filer.directory}.root`;
    this.find();
  }

  /** To be called after each start of the filer. */
  find(): void {
    rmSync(this.#root, { force: true });
    symlinkSync(this.filer.path('/'), this.#root);
  }

  /** Runs a program inside, and waits for it: the lab's drivers ask in the middle of a call. */
  ask(program: readonly string[]): string {
    const first = readFileSync(join(this.filer.directory, 'first'), 'utf8').trim();
    const words = ['-t', first, '-m', '-n', '-u', '-p', '-r', '-w', ...program];
    return execFileSync('nsenter', words, { encoding: 'utf8' });
  }

  /** A path of the filer as this process reaches it. */
  seen(path: string): string {
    return join(this.#root, path);
  }

  shares(): Share[] {
    if (!this.filer.isOn) return [];
    return this.#kind.exports(this).map(({ path, hosts }) => ({
      server: this.filer.address,
      path,
      directory: this.seen(path),
      isolated: path.includes('.lifeboat-drill-'),
      access: () => this.#access(path),
      admits: (address: string) => hosts.includes(address),
    }));
  }

  /** What is not mounted is a bare directory of the file system above. */
  #access(path: string): Access {
    const directory = this.seen(path);
    if (!this.filer.isOn || !existsSync(directory)) return 'none';
    if (statSync(directory).dev === statSync(dirname(directory)).dev) return 'none';
    try {
      accessSync(directory, constants.W_OK);
      return 'rw';
    } catch {
      return 'ro';
    }
  }
}

class FilerFabric extends Fabric {
  readonly #filers: readonly ServedFiler[];

  constructor(localRoot: string, filers: readonly ServedFiler[]) {
    super(localRoot);
    this.#filers = filers;
  }

  override sharesOf(pool: LabPool, server: string): Share[] {
    const served = this.#filers.filter(({ filer }) => filer.address === server);
    return [...super.sharesOf(pool, server), ...served.flatMap((filer) => filer.shares())];
  }
}

/** The storage of the sample's two volumes: made at the production filer, shown to the hosts there, copied to nowhere yet. */
export function storyStorage(
  rig: FilerRig,
  pair: PairOfFilers,
  kind: StoryKind,
  served: readonly ServedFiler[],
) {
  return async (lab: Lab, pools: readonly LabPool[]): Promise<DemoStorage> => {
    const fabric = new FilerFabric(lab.directory('local-disks'), served);
    for (const pool of pools) setFabric(pool, fabric);
    const [filer] = rig.filers;
    const [production] = pools;
    const volumes = demoVolumes.map((volume) => kind.named(volume));
    const adapter = pair.adapter('source', volumes);
    const paths = new Map<string, string>();
    try {
      for (const volume of demoVolumes) {
        await kind.make(filer, kind.named(volume));
        const addresses = (production?.hosts ?? []).map(({ address }) => address);
        const { path = '' } = await adapter.expose(kind.named(volume), { addresses, iqns: [] });
        paths.set(volume, path);
      }
    } finally {
      await adapter.close();
    }
    return {
      device: (volume) => ({ server: filer.address, serverpath: paths.get(volume) ?? '' }),
      inStep: () => Promise.resolve(),
    };
  };
}
