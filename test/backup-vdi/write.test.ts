/**
 * The metadata backup written through XenAPI alone, on the lab: over the real adapters, looked at with e2fsprogs, restored
 * from by the host's own script.
 */

import t, { type Test } from 'tap';
import { backupVdiMark } from '../../src/domain/backup-vdi.ts';
import type { Run } from '../../src/domain/run.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import { mishapsOf } from '../../src/lab/dom0/index.ts';
import { parseSrMeta } from '../../src/metadata/srmeta.ts';
import { fileOf, fsck, linkOf, names } from './house.ts';
import { BackupHouse, shutDown, withWriting, writtenIn } from './lab.ts';

t.setTimeout(300_000);

const stepsOf = (run: Run): string[] => [...run.steps.keys()].filter((id) => id.startsWith('backup'));
const exporting = { operation: 'export', group: 'shop' } as const;

t.test(
  'an export writes it where it is asked for, and the script of a host restores from it',
  async (t: Test) => {
    const backup = await BackupHouse.start(t);
    const { house, gold, disk } = backup;
    const pool = backup.lab.pool('production');
    const run = await house.run(exporting, backup.with());
    t.equal(run.outcome, 'done', run.summary ?? '');
    t.strictSame(stepsOf(run), [
      'backup-gold-storage',
      'backup-silver-storage',
      'backup-jobs-production',
      'backup-jobs-recovery',
    ]);
    const first = writtenIn(run.steps.get('backup-gold-storage')?.output ?? null);
    t.match(first, { documentsWritten: 3, documentsLinked: 0, removedDates: [] });
    t.match(pool.db.byUuid('VDI', disk).map('other_config'), {
      'ctxs-pool-backup': 'true',
      [backupVdiMark]: new RegExp(`^${first.date} 20`),
    });
    const image = backup.image();
    t.equal(fsck(image), 'clean');
    t.strictSame(
      names(image, '/'),
      ['.ctxs-metadata-backup', `${pool.row.uuid}.db`, 'conf', 'lost+found', 'metadata'].sort(),
    );
    const vms = ['app-01', 'db-01', 'web-01'].map((name) => pool.db.byName('VM', name)[0]?.uuid ?? '');
    t.strictSame(names(image, `/metadata/${first.date}/all`), vms.map((vm) => `${vm}.vmmeta`).sort());
    const [db = ''] = names(image, `/metadata/${first.date}/by-sr/${gold}`);
    t.equal(linkOf(image, `/metadata/${first.date}/by-sr/${gold}/${db}`), `../../all/${db}`);
    const storage = parseSrMeta(fileOf(image, `/metadata/${first.date}/SRMETA.xml`));
    t.strictSame(storage.map(({ nameLabel }) => nameLabel).sort(), ['gold storage', 'silver storage']);

    const planned = await house.with(backup.with(), (app) => app.plan(exporting));
    t.notMatch(planned.plan.steps, [{ id: /backup/ }], 'a day has not gone by');

    const script = '/opt/xensource/bin/xe-restore-metadata';
    t.same(await backup.onMaster('production', `${script} -u ${gold} -l`), {
      code: 0,
      said: `${first.date}\n`,
    });
    const ref = await shutDown(backup, 'db-01');
    await invoke(pool.master, 'VM.destroy', ref);
    const restored = await backup.onMaster('production', `${script} -u ${gold} -m sr -y`);
    t.match(restored.said, /Restored 1 VM\(s\)/, 'the script takes the document as one of its own');
    t.equal(pool.db.byName('VM', 'db-01')[0]?.text('power_state'), 'Halted');

    await house.save();
    await withWriting(t, backup, async ({ write }) => {
      const second = writtenIn((await write({ history: 1 })).output);
      t.match(second, { documentsWritten: 1, documentsLinked: 2, removedDates: [first.date] });
      t.ok(second.bytesSent < first.bytesSent, `${second.bytesSent} bytes instead of ${first.bytesSent}`);
    });
    // A date is named by its second, and a fast machine needs less than one for a write.
    mishapsOf(pool).minutesAheadOfUtc = -60;
    const theirs = await backup.onMaster(
      'production',
      `/opt/xensource/bin/xe-backup-metadata -u ${gold} -k 12`,
    );
    t.equal(theirs.code, 0, theirs.said);
    await house.save();
    await withWriting(t, backup, async ({ write }) => {
      t.match(await write({ history: 1 }), { warnings: [] });
    });
    const after = backup.image();
    t.equal(fsck(after), 'clean', 'after a host has written to it and Lifeboat again');
    const dates = names(after, '/metadata');
    const own = dates.filter((date) => names(after, `/metadata/${date}`).includes('LIFEBOAT.json'));
    t.strictSame([dates.length, own.length], [2, 1], 'the date of the host stays');
    t.equal(own[0], dates.at(-1), 'and ours is the newest');
    t.match((await backup.onMaster('production', `${script} -u ${gold} -l`)).said, new RegExp(`^${own[0]}`));
  },
);
