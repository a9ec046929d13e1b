/** The host's own script over SSH, on the lab's control domains: what it says, what it does, and what is believed. */
import t, { type Test } from 'tap';
import { mishapsOf, scheduleBackup } from '../../src/lab/dom0/index.ts';
import { names } from './house.ts';
import { BackupHouse, withScript } from './lab.ts';

t.setTimeout(300_000);

/** One lab for all of them: each leaves the pool as it found it, but for what is on the disk. */
const backup = await BackupHouse.start(t);

t.test('an export has the master run it, and reads what it wrote', async (t: Test) => {
  const { house, gold } = backup;
  const method = 'host-script';
  const run = await house.run({ operation: 'export', group: 'shop' }, backup.with({ method, history: 5 }));
  t.equal(run.outcome, 'done', run.summary ?? '');
  t.match(run.steps.get('backup-gold-storage')?.output, { documents: 3, dates: 1 });
  const scripts = backup.dom0.commands.filter(({ line }) => line.includes("xe-backup-metadata'"));
  const master = backup.lab.pool('production').master.name;
  t.strictSame(
    scripts.map(({ host, line }) => `${host}: ${line.replaceAll("'", '')}`)[0],
    `${master}: /opt/xensource/bin/xe-backup-metadata -c -u ${gold} -k 5`,
  );
  t.equal(names(backup.image(), '/metadata').length, 1);
  const planned = await house.with(backup.with({ method }), (app) =>
    app.plan({ operation: 'export', group: 'shop' }),
  );
  t.notMatch(planned.plan.steps, [{ id: /backup-gold/ }], 'the mark tells when it was written');
});

t.test('nothing that it says is believed before the disk has been read', async (t: Test) => {
  const pool = backup.lab.pool('production');
  const mishaps = mishapsOf(pool);
  const vm = pool.db.byName('VM', 'db-01')[0]?.uuid ?? '';
  const already = backup.dom0.commands.length;
  await withScript(t, backup, async ({ run }) => {
    await t.rejects(run({ password: 'wrong' }), /DR-SSH-LOGIN/);
    await t.rejects(run({ hostKey: 'A'.repeat(43) }), /DR-SSH-HOSTKEY/);
    await t.rejects(run({ without: pool.master.row.uuid }), /DR-DOM0-UNSET/);
    t.equal(backup.dom0.commands.length, already, 'nothing was run so far');

    mishaps.exports.add(vm);
    await t.rejects(run(), /DR-BACKUP-UNPROVEN/, 'exit 0, and one VM is missing');
    await t.rejects(run(), /no document of db-01/, 'it is named');
    mishaps.exports.clear();
    const older = await run();
    t.match(older.output, { documents: 3 });
    t.strictSame(older.warnings, []);

    await t.rejects(
      run({ answer: { code: 0, stdout: 'Backing up VM metadata: done\n', stderr: '' } }),
      /DR-BACKUP-UNPROVEN.*no date that was not there before|no date that was not there before.*DR-BACKUP-UNPROVEN/s,
      'it lies: nothing was written',
    );
    await t.rejects(
      run({ answer: { code: 1, stdout: 'Checking backup VDI space usage: 93%\n', stderr: 'full' } }),
      /DR-BACKUP-FULL/,
    );
    await t.rejects(
      run({ answer: { code: 127, stdout: '', stderr: 'No such file' } }),
      /DR-BACKUP-SCRIPT-ABSENT/,
    );
    await t.rejects(
      run({ answer: { code: 1, stdout: '', stderr: 'fsck failed' } }),
      /fsck failed.*DR-BACKUP-SCRIPT\]/s,
    );
    await t.rejects(run({ answer: { code: null, stdout: '', stderr: '' } }), /a signal ended it/);

    await t.rejects(
      run({ pool: 'ffffffff-1111-4111-8111-111111111111', history: 1 }),
      /DR-BACKUP-FOREIGN-HISTORY/,
    );
    t.match((await run({ history: 2 })).output, { dates: 2 }, 'its own history it may prune');
  });
});

t.test('a job of a host that would prune the history is told, with its remedy', async (t: Test) => {
  const pool = backup.lab.pool('production');
  const sr = { uuid: backup.gold, nameLabel: 'gold storage' };
  await withScript(t, backup, async ({ look }) => {
    const [first] = pool.hosts;
    if (first === undefined) throw new Error('a pool has hosts');
    pool.row.set({ default_SR: pool.db.byUuid('SR', sr.uuid).ref });
    t.strictSame((await look('production', sr)).warnings, [], 'no job');
    scheduleBackup(first, 'weekly');
    const { warnings } = await look('production', sr);
    t.equal(warnings.length, 1);
    t.match(warnings[0], /\/etc\/cron\.weekly\/backup-metadata/);
    t.match(warnings[0], /keeps 12 dates of whatever pool, where 25 are to stay/);
    t.match(warnings[0], `ssh root@${first.name} rm /etc/cron.weekly/backup-metadata`);
    t.strictSame(
      (await look('production', { ...sr, uuid: 'another' })).warnings,
      [],
      'another SR is no matter of ours',
    );
    backup.dom0.closed.add(first);
    t.match((await look('production', { ...sr, uuid: 'another' })).warnings, [
      /nobody looked for backup jobs on/,
    ]);
  });
});
