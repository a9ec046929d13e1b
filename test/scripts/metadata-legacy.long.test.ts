/** A disk that a guest could have written is no source of metadata, unless a person names it (CVE-2024-31144). */
import t from 'tap';
import { invoke } from '../../src/lab/core/dispatch.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { metadataBackupUuid } from '../../src/lab/storage/vdi.ts';
import { burn, hostBackup, prepared, replicate } from './burnt.ts';
import { ends } from './trouble.ts';

t.setTimeout(600_000);

t.test('a disk of an older host is read when a person names it, and never before', async (t) => {
  const { world, sr } = await prepared(t);
  await hostBackup(world.lab, sr);
  const legacy = await underAnotherUuid(world.lab, sr);
  await replicate(world.lab);
  await burn(world);

  ends(
    t,
    'failover',
    await world.run('failover', 'shop', '--yes', 'recovery'),
    10,
    /DR-BACKUP-NONE/,
    /a good recovery point of the group/,
  );
  ends(
    t,
    'recover',
    await world.run('catalog', 'recover', 'shop', '--legacy', legacy, '--vms', 'sr', '--yes', 'recovery'),
    3,
    /a guest may have written it/,
    /kept as shop\/\S+ \(2 VMs\)/,
  );
  ends(t, 'plan', await world.run('plan', 'failover', 'shop'), 0, /app-01, db-01/);
});

/** The backup as a host before 2024 would have made it: the same content, another uuid. */
async function underAnotherUuid(lab: Lab, sr: string): Promise<string> {
  const pool = lab.pool('production');
  const vdi = pool.db.byUuid('VDI', metadataBackupUuid(sr));
  const copy = pool.db.row(
    'VDI',
    String(await invoke(pool.master, 'VDI.copy', vdi.ref, vdi.text('SR'), '', '')),
  );
  await invoke(pool.master, 'VDI.destroy', vdi.ref);
  return copy.uuid;
}
