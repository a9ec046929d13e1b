/**
 * One sitting at the lab, by the real program: protect, drill, migrate, failback, failover, reprotect, failback, drill. At each stop
 * every VM runs once, at the site where it belongs, and its guest reads back what it wrote before. Nothing here depends
 * on how long anything takes: facts are asserted, not screens.
 */
import t, { type Test } from 'tap';
import { isQuarantined } from '../../src/domain/quarantine.ts';
import { ArrayRefusal, arrayOf } from '../../src/lab/arrays/index.ts';
import { readDisk, writeDisk } from '../../src/lab/commands/disks.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { ends, World } from './trouble.ts';

type Site = 'production' | 'recovery';

const guests = { db: 1, app: 1, web: 2 };
const vms = ['app-01', 'db-01', 'web-01', 'web-02'];

const recoveryPlan = `
tiers:
  - { name: database, vms: { names: ['db-*'] }, ready: [running, guest-agent], timeout: 10min, on_timeout: stop }
  - { name: rest, vms: { names: ['*'] }, ready: [running], timeout: 10min, on_timeout: stop }
`;

/** What the guests of the group have written so far, at one place of each disk per stop. */
class Diary {
  readonly #lab: Lab;
  #pages: string[] = [];

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  write(site: Site, words: string): void {
    for (const vm of vms) this.#put(site, vm, this.#pages.length, `${vm}: ${words}`);
    this.#pages = [...this.#pages, words];
  }

  /** Written after the last point that left the site: nobody will ever read it again. */
  writeInVain(site: Site, words: string): void {
    for (const vm of vms) this.#put(site, vm, this.#pages.length, `${vm}: ${words}`);
  }

  #put(site: Site, vm: string, page: number, text: string): void {
    writeDisk(this.#lab, { site, vm, disk: '0', offset: 4096 * page, data: Buffer.from(text) });
  }

  /** Every page as it was written, on every disk. */
  isWhole(t: Test, site: Site): void {
    for (const vm of vms)
      for (const [page, words] of this.#pages.entries()) {
        const text = `${vm}: ${words}`;
        const place = { site, vm, disk: '0', offset: 4096 * page, length: text.length };
        t.equal(readDisk(this.#lab, place).toString(), text, `${vm} reads what it wrote: ${words}`);
      }
  }

  /** The page behind the last one was never written as far as this site knows. */
  lacks(t: Test, site: Site, words: string): void {
    for (const vm of vms) {
      const text = `${vm}: ${words}`;
      const place = { site, vm, disk: '0', offset: 4096 * this.#pages.length, length: text.length };
      t.not(readDisk(this.#lab, place).toString(), text, `${vm} knows nothing of: ${words}`);
    }
  }
}

/** The VMs run here and nowhere else; what the other site still holds of them cannot start by itself. */
function servesAt(t: Test, world: World, here: Site): void {
  const there = here === 'production' ? 'recovery' : 'production';
  t.strictSame(world.running(here), vms, `all VMs run at ${here}`);
  t.strictSame(world.running(there), [], `none runs at ${there}`);
  for (const vm of world.lab.pool(there).db.all('VM')) {
    if (!vms.includes(vm.text('name_label'))) continue;
    t.ok(
      isQuarantined({ otherConfig: vm.map('other_config') as Record<string, string> }),
      'its copy is marked',
    );
    t.match(vm.map('blocked_operations'), { start: /./, resume: /./, pool_migrate: /./ }, 'and cannot start');
  }
}

// The real program is started more than a dozen times, on whatever machine this is.
t.setTimeout(600_000);

t.test('protect, drill, migrate, failback, failover, reprotect, failback, drill', async (t) => {
  const world = await World.start(t, { guests, saved: false });
  world.plan(/^.*$/s, recoveryPlan);
  const diary = new Diary(world.lab);
  const status = async (what: string, ...words: readonly RegExp[]): Promise<void> => {
    // How good everything is besides (ages, clocks, hosts) is not what this test is about.
    const { said } = await world.run('status', 'shop');
    for (const pattern of words) t.match(said, pattern, `status ${what}: ${pattern.source}`);
  };

  diary.write('production', 'protected');
  ends(t, 'export', await world.run('export', 'shop'), 0, /New point|recovery point/i);

  ends(
    t,
    'drill',
    await world.run('drill', 'shop', '--yes', 'recovery'),
    0,
    /Inventory the same before and after/,
    /Cleaned up yes/,
  );
  t.strictSame(world.running('production'), vms, 'production never noticed');
  t.strictSame([...world.powerStates('recovery')], [], 'and nothing of the drill is left');

  ends(
    t,
    'migrate to where it is',
    await world.run('failback', 'shop', '--yes', 'production'),
    0,
    /Nothing is left to do: the group runs at site production already/,
  );
  ends(
    t,
    'migrate',
    await world.run('migrate', 'shop', '--yes', 'recovery'),
    0,
    /Planned migration of group shop, from production to recovery/,
    /Loss none: the last write was seen at the other side before anything was promoted/,
    /4 of 4 ready/,
  );
  servesAt(t, world, 'recovery');
  diary.isWhole(t, 'recovery');
  await status(
    'after the migration',
    /Group shop, recovery → production/,
    /protected; the VMs run at recovery/,
  );
  diary.write('recovery', 'migrated');

  ends(
    t,
    'failback',
    await world.run('failback', 'shop', '--yes', 'production'),
    0,
    /Failback of group shop, from recovery to production/,
    /Loss none/,
    /4 of 4 ready/,
  );
  servesAt(t, world, 'production');
  diary.isWhole(t, 'production');
  diary.write('production', 'back home');

  // The last point that leaves the site has everything so far; what comes after it is lost with the site.
  await lastPoint(world.lab);
  diary.writeInVain('production', 'written while the smoke rose');
  await world.killProduction();
  ends(
    t,
    'failover',
    await world.run('failover', 'shop', '--yes', 'recovery'),
    0,
    /Failover of group shop, from production to recovery/,
    /4 of 4 ready/,
  );
  t.strictSame(world.running('recovery'), vms, 'all VMs run at recovery');
  diary.isWhole(t, 'recovery');
  diary.lacks(t, 'recovery', 'written while the smoke rose');
  await status('after the failover', /failed over; the VMs run at recovery/, /DR-GROUP-UNPROTECTED/);
  ends(
    t,
    'reprotect while the site is dead',
    await world.run('reprotect', 'shop', '--yes', 'production'),
    10,
    /site production to come back/,
    /Nothing was changed/,
  );
  diary.write('recovery', 'failed over');

  await world.lab.reviveSite('production');
  link(world.lab, true);
  await status('when the site is back', /DR-SITE-RETURNED/, /lifeboat quarantine shop/);
  ends(t, 'quarantine', await world.run('quarantine', 'shop', '--yes', 'production'), 0);
  servesAt(t, world, 'recovery');
  ends(
    t,
    'reprotect without a word about what is thrown away',
    await world.run('reprotect', 'shop', '--yes', 'production'),
    10,
    /DR-DIVERGENCE/,
    /--discard-changes/,
    /Nothing was changed/,
  );
  ends(
    t,
    'reprotect',
    await world.run(
      'reprotect',
      'shop',
      '--yes',
      'production',
      '--discard-changes',
      'the orders are in the paper log',
    ),
    0,
    /Reprotection of group shop, from recovery to production/,
  );
  servesAt(t, world, 'recovery');
  diary.isWhole(t, 'recovery');
  await status(
    'after the reprotection',
    /Group shop, recovery → production/,
    /protected; the VMs run at recovery/,
  );
  diary.write('recovery', 'reprotected');

  ends(t, 'failback at last', await world.run('failback', 'shop', '--yes', 'production'), 0, /4 of 4 ready/);
  servesAt(t, world, 'production');
  diary.isWhole(t, 'production');
  await status('at the end', /Group shop, production → recovery/, /protected; the VMs run at production/);

  ends(
    t,
    'drill where the VMs ran before',
    await world.run('drill', 'shop', '--yes', 'recovery'),
    0,
    /Inventory the same before and after/,
    /Cleaned up yes/,
  );
  servesAt(t, world, 'production');

  const operations = (await world.runs()).map((run) => `${run.plan.operation} ${run.outcome}`);
  t.strictSame(operations, [
    'export done',
    'drill done',
    'migrate done',
    'failback done',
    'failover done',
    'reprotect done',
    'reprotect done',
    'failback done',
    'drill done',
  ]);
});

/** Everything that was written so far reaches the other array; nothing that comes after it does. */
async function lastPoint(lab: Lab): Promise<void> {
  const source = arrayOf(lab, 'array-production');
  for (const volume of demoVolumes)
    for (let sent = false; !sent; ) {
      try {
        await source.sync(volume, 'before-the-fire').done;
        sent = true;
      } catch (error) {
        if (!(error instanceof ArrayRefusal) || error.code !== 'busy') throw error;
        await lab.clock.sleep(0.1);
      }
    }
  link(lab, false);
}

function link(lab: Lab, up: boolean): void {
  arrayOf(lab, 'array-production').setLink(arrayOf(lab, 'array-recovery'), up);
}
