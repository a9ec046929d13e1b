/**
 * The metadata backup that Lifeboat writes, through the real program: an export puts it on the replicated SRs, production
 * and the catalog burn, and a failover needs nothing else.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ArrayRefusal, arrayOf } from '../../src/lab/arrays/index.ts';
import { demoVolumes } from '../../src/lab/demo.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { ends, World } from './trouble.ts';

t.setTimeout(600_000);

const recoveryPlan = `
tiers:
  - { name: all, vms: { names: ['*'] }, ready: [running], timeout: 10min, on_timeout: stop }
`;

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

t.test('what an export wrote onto the storage is enough when everything else is gone', async (t) => {
  const world = await World.start(t, { guests: { db: 1, app: 1, web: 1 }, saved: false });
  world.plan(/^.*$/s, recoveryPlan);
  world.configure([
    /^ {4}retention: /m,
    '    metadata_backup: { method: xenapi, size_mib: 16, every: 1d }\n    retention: ',
  ]);
  ends(t, 'export', await world.run('export', 'shop'), 0);
  const [run] = await world.runs();
  t.match(run?.steps.get('backup-gold-storage'), { status: 'succeeded', warnings: [] });
  await replicate(world.lab);

  arrayOf(world.lab, 'array-production').setLink(arrayOf(world.lab, 'array-recovery'), false);
  await world.killProduction();
  for (const directory of ['catalog', 'catalog-2', '.lifeboat'])
    rmSync(join(world.directory, directory), { recursive: true, force: true });

  ends(
    t,
    'failover',
    await world.run('failover', 'shop', '--yes', 'recovery'),
    0,
    /The catalog holds no recovery point of group shop/,
    /replicated storage: metadata backup of 2/,
    /3 of 3 ready/,
  );
  t.strictSame(world.running('recovery'), ['app-01', 'db-01', 'web-01']);
});
