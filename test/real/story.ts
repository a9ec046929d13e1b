/**
 * The whole promise on real storage, through the real program alone: two pools of the lab stand on two real filers, guests
 * write, the link breaks, a drill is held, production loses its power, and the way back. What guests wrote is read back
 * byte for byte at each stop.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Test } from 'tap';
import { drillPrefix } from '../../src/domain/drill.ts';
import { isQuarantined } from '../../src/domain/quarantine.ts';
import { readDisk, writeDisk } from '../../src/lab/commands/disks.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { ledgerOf } from '../../src/lab/vm/guest.ts';
import { ends, World } from '../scripts/trouble.ts';
import type { FilerRig } from './storage/filer.ts';
import { PairOfFilers } from './storage/pair-rig.ts';
import { ServedFiler, type StoryKind, storyStorage } from './story-storage.ts';

type Site = 'production' | 'recovery';
type Change = readonly [from: string | RegExp, to: string];

const guests = { db: 1, app: 1, web: 1 };
const vms = ['app-01', 'db-01', 'web-01'];
const pageBytes = 256 * 1024;
/** A step starts the real program several times, on a machine that others use as well. */
const stepSeconds = 300;

const recoveryPlan = `
tiers:
  - { name: database, vms: { names: ['db-*'] }, ready: [running, guest-agent], timeout: 10min, on_timeout: stop }
  - { name: rest, vms: { names: ['*'] }, ready: [running], timeout: 10min, on_timeout: stop }
`;

/** What the guests have written so far: a page of bytes of its own on every disk at each stop. */
class Disks {
  readonly #lab: Lab;
  #pages: readonly string[] = [];

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  write(site: Site, words: string): void {
    this.#put(site, words);
    this.#pages = [...this.#pages, words];
  }

  /** Written after the last point that left the site: nobody will ever read it again. */
  writeInVain(site: Site, words: string): void {
    this.#put(site, words);
  }

  /** Every byte as it was written; `prefix` names the copies of a drill. */
  areWhole(t: Test, site: Site, prefix = ''): void {
    for (const vm of vms)
      for (const [page, words] of this.#pages.entries()) {
        const read = this.#get(site, `${prefix}${vm}`, page);
        t.ok(read.equals(bytesOf(vm, words)), `${prefix}${vm} reads what it wrote: ${words}`);
      }
  }

  /** Behind the last page there is nothing. */
  end(t: Test, site: Site): void {
    for (const vm of vms)
      t.ok(
        this.#get(site, vm, this.#pages.length).every((byte) => byte === 0),
        `${vm} reads no more than that`,
      );
  }

  #put(site: Site, words: string): void {
    for (const vm of vms)
      writeDisk(this.#lab, {
        site,
        vm,
        disk: '0',
        offset: pageBytes * this.#pages.length,
        data: bytesOf(vm, words),
      });
  }

  #get(site: Site, vm: string, page: number): Buffer {
    return readDisk(this.#lab, { site, vm, disk: '0', offset: pageBytes * page, length: pageBytes });
  }
}

function bytesOf(vm: string, words: string): Buffer {
  return createHash('shake256', { outputLength: pageBytes }).update(`${vm} ${words}`).digest();
}

/** The sites of the sample on real filers, and the program to steer them. */
export class StoryWorld {
  readonly world: World;
  readonly rig: FilerRig;
  readonly kind: StoryKind;
  readonly pair: PairOfFilers;
  readonly #served: readonly ServedFiler[];

  private constructor(
    world: World,
    rig: FilerRig,
    kind: StoryKind,
    pair: PairOfFilers,
    served: readonly ServedFiler[],
  ) {
    this.world = world;
    this.rig = rig;
    this.kind = kind;
    this.pair = pair;
    this.#served = served;
    this.configure();
    world.plan(/^.*$/s, recoveryPlan);
  }

  static async start(t: Test, rig: FilerRig, kind: StoryKind): Promise<StoryWorld> {
    const pair = new PairOfFilers(rig, kind);
    const served = rig.filers.map((filer) => new ServedFiler(filer, kind));
    const storage = storyStorage(rig, pair, kind, served);
    const world = await World.start(t, { guests, saved: false, storage });
    return new StoryWorld(world, rig, kind, pair, served);
  }

  /** The sample with these filers for its arrays, and further changes; `recovery` are those of the recovery array. */
  configure(changes: readonly Change[] = [], recovery: ArrayChanges = {}): void {
    const names = demoVolumes
      .filter((volume) => this.kind.named(volume) !== volume)
      .map(
        (volume): Change => [new RegExp(`volume: ${volume}\\b`, 'g'), `volume: ${this.kind.named(volume)}`],
      );
    this.world.configure([/^arrays:\n.*?(?=^groups:)/ms, this.#arrays(recovery)], ...names, ...changes);
  }

  run(...words: readonly string[]): ReturnType<World['run']> {
    return this.world.run(...words);
  }

  async powerCut(): Promise<void> {
    await Promise.all([this.world.killProduction(), this.rig.filers[0].powerOff()]);
  }

  async powerBack(): Promise<void> {
    await this.rig.ready();
    this.#served[0]?.find();
    await this.world.lab.reviveSite('production');
  }

  #arrays({ options: changes, secret }: ArrayChanges): string {
    const { production, recovery } = {
      production: this.pair.settings('source'),
      recovery: this.pair.settings('target'),
    };
    // YAML takes JSON as it is.
    return `arrays: ${JSON.stringify({
      'array-production': { site: 'production', type: production.type, options: production.options },
      'array-recovery': {
        site: 'recovery',
        type: recovery.type,
        options: { ...recovery.options, ...changes },
        secret,
      },
    })}\n`;
  }
}

interface ArrayChanges {
  /** An option that is undefined is left out. */
  readonly options?: Readonly<Record<string, string | undefined>>;
  readonly secret?: object;
}

interface StatusJson {
  readonly takenAt: string;
  readonly groups: readonly {
    readonly lossSeconds: number | null;
    readonly replicas: readonly { readonly sr: string; readonly ageSeconds: number | null }[];
  }[];
}

/** The VMs run here and nowhere else; what the other site still holds of them cannot start. */
function servesAt(t: Test, world: World, here: Site): void {
  const there = here === 'production' ? 'recovery' : 'production';
  t.strictSame(world.running(here), vms, `all VMs run at ${here}`);
  t.strictSame(world.running(there), [], `none runs at ${there}`);
  for (const vm of world.lab.pool(there).db.all('VM')) {
    if (!vms.includes(vm.text('name_label'))) continue;
    const otherConfig = vm.map('other_config') as Record<string, string>;
    t.ok(isQuarantined({ otherConfig }), 'its copy is marked');
    t.match(vm.map('blocked_operations'), { start: /./, resume: /./ }, 'and cannot start');
  }
}

/** What a pool holds, by kind: a drill must leave it as it was. */
function poolInventory({ lab }: World, site: Site): unknown {
  const kinds = ['VM', 'SR', 'VDI', 'PBD', 'VBD', 'VIF', 'network'] as const;
  return kinds.map((kind) => [
    kind,
    lab
      .pool(site)
      .db.all(kind)
      .map(({ uuid }) => uuid)
      .sort(),
  ]);
}

/** Tells the story in steps, each with a limit of its own; after one that failed the rest would only repeat it. */
export async function failoverStory(t: Test, rig: FilerRig, kind: StoryKind): Promise<void> {
  const story = await StoryWorld.start(t, rig, kind);
  const { world } = story;
  const disks = new Disks(world.lab);
  const filersHold = () => Promise.all(rig.filers.map((filer) => kind.inventory(filer)));
  let told = true;
  const step = async (what: string, work: (t: Test) => Promise<void>): Promise<void> => {
    const skip = told ? false : 'an earlier step failed';
    await t.test(what, { timeout: stepSeconds * 1000, skip }, work);
    told = told && t.passing();
    if (!told) t.comment(rig.report());
  };

  await step('protected: the first point makes the replica', async (t) => {
    disks.write('production', 'protected');
    ends(t, 'export before there is a replica', await story.run('export', 'shop'), 3);
    ends(t, 'verify', await story.run('verify', 'shop'), 1, /`lifeboat verify --sync`/);
    ends(t, 'verify with a sync', await story.run('verify', 'shop', '--sync'), 0);
    ends(t, 'export', await story.run('export', 'shop'), 0);
    ends(t, 'status', await story.run('status', 'shop'), 0, /protected; the VMs run at production/);
  });

  await step('the link is cut: the alarm tells the true lag', async (t) => {
    disks.write('production', 'while the link was down');
    await rig.cutLink();
    story.configure([['rpo: 15min', 'rpo: 1s']]);
    ends(
      t,
      'verify',
      await story.run('verify', 'shop'),
      1,
      /DR-REPLICA-OLD/,
      /DR-ARRAY-LINK/,
      /the RPO is 1 s/,
    );
    ends(t, 'status', await story.run('status', 'shop'), 3, /DR-REPLICA-OLD/, /would be lost now/, /link/);
    const { out } = await story.run('--json', 'status', 'shop');
    const { takenAt, groups } = JSON.parse(out) as StatusJson;
    const newest = await Promise.all(
      demoVolumes.map((volume) => kind.newestPointSeconds(rig.filers[1], kind.named(volume))),
    );
    const lag = newest.map((seconds) => Date.parse(takenAt) / 1000 - seconds);
    const shown = groups[0]?.replicas.map(({ ageSeconds }) => ageSeconds ?? Number.NaN) ?? [];
    t.strictSame(shown.map(Math.floor), lag.map(Math.floor), 'the age of the point that the filer holds');
    t.equal(
      Math.floor(groups[0]?.lossSeconds ?? 0),
      Math.floor(Math.max(...lag)),
      'and the loss is the oldest one',
    );
  });

  await step('mended: it goes on by itself from where it was', async (t) => {
    await rig.mendLink();
    story.configure();
    ends(t, 'verify', await story.run('verify', 'shop', '--sync'), 0);
    ends(t, 'status', await story.run('status', 'shop'), 0);
  });

  await step('a drill reads the data back, and leaves nothing', async (t) => {
    const before = { pool: poolInventory(world, 'recovery'), filers: await filersHold() };
    ends(
      t,
      'drill',
      await story.run('drill', 'shop', '--yes', 'recovery', '--keep'),
      0,
      /drill cleanup shop/,
    );
    disks.areWhole(t, 'recovery', drillPrefix);
    t.notSame(await filersHold(), before.filers, 'copies stand');
    ends(t, 'cleanup', await story.run('drill', 'cleanup', 'shop', '--yes', 'recovery'), 0);
    ends(t, 'a whole drill', await story.run('drill', 'shop', '--yes', 'recovery'), 0, /Cleaned up yes/);
    t.strictSame({ pool: poolInventory(world, 'recovery'), filers: await filersHold() }, before);
    t.strictSame(world.running('production'), vms, 'production never noticed');
    disks.areWhole(t, 'production');
  });

  await step('power is cut at production: failover to the last point', async (t) => {
    disks.write('production', 'the last orders');
    ends(t, 'verify', await story.run('verify', 'shop', '--sync'), 0);
    disks.writeInVain('production', 'while the smoke rose');
    await story.powerCut();
    ends(
      t,
      'failover',
      await story.run('failover', 'shop', '--yes', 'recovery'),
      0,
      /Failover of group shop, from production to recovery/,
      /3 of 3 ready/,
    );
    t.strictSame(world.running('recovery'), vms, 'all VMs run at recovery');
    disks.areWhole(t, 'recovery');
    disks.end(t, 'recovery');
    disks.write('recovery', 'failed over');
  });

  await step('production returns: reprotect', async (t) => {
    await story.powerBack();
    t.match((await story.run('status', 'shop')).said, /DR-SITE-RETURNED/);
    ends(t, 'quarantine', await story.run('quarantine', 'shop', '--yes', 'production'), 0);
    const reprotect = ['reprotect', 'shop', '--yes', 'production'] as const;
    ends(t, 'without a word', await story.run(...reprotect), 10, /--discard-changes/, /Nothing was changed/);
    ends(t, 'reprotect', await story.run(...reprotect, '--discard-changes', 'on the paper log'), 0);
    servesAt(t, world, 'recovery');
    disks.areWhole(t, 'recovery');
    disks.write('recovery', 'reprotected');
  });

  await step('failback: home again with everything', async (t) => {
    ends(
      t,
      'failback',
      await story.run('failback', 'shop', '--yes', 'production'),
      0,
      /3 of 3 ready/,
      /Loss none/,
    );
    servesAt(t, world, 'production');
    disks.areWhole(t, 'production');
    disks.end(t, 'production');
    disks.write('production', 'home');
    ends(t, 'verify', await story.run('verify', 'shop', '--sync'), 0);
    t.match((await story.run('status', 'shop')).said, /Group shop, production → recovery/);
    t.strictSame(ledgerOf(world.lab).violations, [], 'no disk ever had writers at both sites');
  });

  await step('every mistake at an array ends in a sentence with the next step', async (t) => {
    const refused = /The SSH server refuses the login/;
    const says = async (what: string, ...words: readonly RegExp[]): Promise<void> => {
      ends(t, what, await story.run('check', 'shop'), 10, ...words);
      story.configure();
    };
    story.configure([], { options: { private_key_file: join(rig.directory, 'stranger') } });
    await says('wrong key', refused, /Next: Correct user, password or private_key_file/);
    story.configure([], {
      options: { private_key_file: undefined },
      secret: { command: ['printf', 'a wrong password'] },
    });
    await says('wrong password', refused, /Next: Correct user, password or private_key_file/);
    story.configure([], { options: { host_key: 'A'.repeat(43) } });
    await says('wrong host key', /shows another host key than the pinned one/, /ssh-keygen -lf/);
    await rig.filers[1].link('down');
    await says(
      'unreachable',
      /(Cannot reach the SSH server|The SSH server does not answer)/,
      /Next: Look whether the server/,
    );
    await rig.filers[1].link('up');
    const target = (volume: string): string =>
      `target: { array: array-recovery, volume: ${kind.named(volume)} }`;
    story.configure([[target('gold'), target('gone')]]);
    await says('missing volume', /There is no volume \S*gone/, /Next: Compare the name in sites\.yaml/);
    await kind.make(rig.filers[1], kind.named('plain'));
    story.configure([[target('gold'), target('plain')]]);
    await says('wrong role', /DR-REPLICA-ROLE/, /plain of array array-recovery is source, not a replica/);
    ends(t, 'and all is well again', await story.run('status', 'shop'), 0);
  });
}
