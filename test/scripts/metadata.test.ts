/**
 * Production and its catalog both destroyed, through the real program: the group is recovered from the metadata backup
 * that the host's own script wrote onto the replicated SR, and from nothing else.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ArrayRefusal, arrayOf } from '../../src/lab/arrays/index.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import { mishapsOf, runCommand } from '../../src/lab/dom0/index.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { metadataBackupUuid } from '../../src/lab/storage/vdi.ts';
import { ends, World } from './trouble.ts';

t.setTimeout(600_000);

const guests = { db: 1, app: 1, web: 2 };
const vms = ['app-01', 'db-01', 'web-01', 'web-02'];

const recoveryPlan = `
tiers:
  - { name: all, vms: { names: ['*'] }, ready: [running], timeout: 10min, on_timeout: stop }
`;

/** What the host's job does at night: its script, on the master, onto the default SR or the one that is named. */
async function hostBackup(lab: Lab, sr: string, ...options: readonly string[]): Promise<string> {
  const pool = lab.pool('production');
  const said: string[] = [];
  const line = ['/opt/xensource/bin/xe-backup-metadata', '-c', '-u', sr, ...options].join(' ');
  const code = await runCommand(pool.master, line, {
    out: (text) => said.push(text),
    err: (text) => said.push(text),
    input: async () => '',
  });
  if (code !== 0) throw new Error(said.join(''));
  return said.join('');
}

async function replicate(lab: Lab): Promise<void> {
  const source = arrayOf(lab, 'array-production');
  for (const volume of demoVolumes)
    for (let sent = false; !sent; ) {
      try {
        await source.sync(volume, null).done;
        sent = true;
      } catch (error) {
        if (!(error instanceof ArrayRefusal) || error.code !== 'busy') throw error;
        await lab.clock.sleep(0.1);
      }
    }
}

/** The site with its pool, its array and everything that Lifeboat had saved of it. */
async function burn(world: World): Promise<void> {
  arrayOf(world.lab, 'array-production').setLink(arrayOf(world.lab, 'array-recovery'), false);
  await world.killProduction();
  for (const directory of ['catalog', 'catalog-2', '.lifeboat'])
    rmSync(join(world.directory, directory), { recursive: true, force: true });
}

async function prepared(t: Test): Promise<{ readonly world: World; readonly sr: string }> {
  const world = await World.start(t, { guests, saved: false });
  world.plan(/^.*$/s, recoveryPlan);
  const pool = world.lab.pool('production');
  mishapsOf(pool).diskBytes = 64n * 1024n * 1024n;
  return { world, sr: pool.db.byName('SR', 'gold storage')[0]?.uuid ?? '' };
}

t.test('failover recovers the group from the replicated SR alone', async (t) => {
  const { world, sr } = await prepared(t);
  const names = new Map(
    world.lab
      .pool('production')
      .db.all('VDI')
      .map((vdi) => [vdi.uuid, vdi.text('name_label')]),
  );
  await hostBackup(world.lab, sr);
  await replicate(world.lab);
  await burn(world);

  const result = await world.run('failover', 'shop', '--yes', 'recovery');
  ends(
    t,
    'failover',
    result,
    0,
    /The catalog holds no recovery point of group shop/,
    /Recovery of the metadata of group shop/,
    /the metadata backup on the replicated storage/,
    /4 of 4 ready/,
  );
  t.strictSame(world.running('recovery'), vms, 'all VMs run at recovery');
  const pool = world.lab.pool('recovery');
  for (const vm of vms) {
    const vdi = pool.db.byName('VM', vm)[0]?.rows('VBDs', 'VBD')[0]?.row('VDI', 'VDI');
    t.equal(vdi?.text('name_label'), names.get(vdi?.uuid ?? ''), `the disk of ${vm} has its name`);
  }
  t.equal(pool.db.byName('SR', 'gold storage').length, 1, 'and the SR its own');
  t.strictSame(
    pool.db.all('SR').filter((each) => each.text('name_label').startsWith('drill: ')),
    [],
    'no clone is left attached',
  );
  t.strictSame(arrayOf(world.lab, 'array-recovery').drills.list(), [], 'nor one on the array');
  const operations = (await world.runs()).map((run) => `${run.plan.operation} ${run.outcome}`);
  t.strictSame(operations, ['recover-metadata done', 'failover done']);
  t.ok(pool.db.findByUuid('VDI', metadataBackupUuid(sr)), 'the backup came along');
});
