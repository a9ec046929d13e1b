/**
 * Production and its catalog both destroyed, through the real program: the group is recovered from the metadata backup
 * that the host's own script wrote onto the replicated SR, and from nothing else.
 */
import t from 'tap';
import { arrayOf } from '../../src/lab/arrays/index.ts';
import { metadataBackupUuid } from '../../src/lab/storage/vdi.ts';
import { burn, hostBackup, prepared, replicate, vms } from './burnt.ts';
import { ends } from './trouble.ts';

t.setTimeout(600_000);

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
    /Source replicated storage: metadata backup of \S+ on SR gold storage/,
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
