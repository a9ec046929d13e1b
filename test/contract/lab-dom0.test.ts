/**
 * The control domain of a lab host: the two scripts of the host over real SSH, with the options, words and exit codes of
 * xapi.md 5.3 to 5.6. What they write is a real ext3 file system.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import t, { type Test } from 'tap';
import { invoke } from '../../src/lab/core/dispatch.ts';
import type { LabHost, LabPool } from '../../src/lab/core/pool.ts';
import { struct } from '../../src/lab/core/values.ts';
import { demoOf } from '../../src/lab/demo.ts';
import { type Dom0, mishapsOf, openDom0, scheduleBackup } from '../../src/lab/dom0/index.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { metadataBackupUuid } from '../../src/lab/storage/vdi.ts';

t.setTimeout(240_000);

const scripts = '/opt/xensource/bin';
const smallDisk = 32n * 1024n * 1024n;

interface House {
  readonly lab: Lab;
  readonly pool: LabPool;
  readonly dom0: Dom0;
  readonly sr: string;
  run(host: LabHost, line: string, input?: string): Promise<{ code: number; out: string; err: string }>;
}

async function house(t: Test): Promise<House> {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-dom0-'));
  const lab = await startLab({
    world: (made) => demoOf(made, { db: 1, app: 1, web: 1 }),
    storage: directory,
  });
  const dom0 = await openDom0(lab);
  t.teardown(async () => {
    await lab.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const pool = lab.pool('production');
  mishapsOf(pool).diskBytes = smallDisk;
  const sr = pool.db.byName('SR', 'gold storage')[0]?.uuid ?? '';
  return { lab, pool, dom0, sr, run: (host, line, input) => typed(lab, dom0, host, line, input) };
}

function typed(
  lab: Lab,
  dom0: Dom0,
  host: LabHost,
  line: string,
  input = '',
  password = lab.credentials.password,
): Promise<{ code: number; out: string; err: string }> {
  const client = new ssh2.Client();
  return new Promise((resolve, reject) => {
    client.once('error', reject);
    client.once('ready', () =>
      client.exec(line, (error, channel) => {
        if (error !== undefined && error !== null) {
          reject(error);
          return;
        }
        let [out, err, code] = ['', '', -1];
        channel.on('data', (piece: Buffer) => {
          out += piece.toString();
        });
        channel.stderr.on('data', (piece: Buffer) => {
          err += piece.toString();
        });
        channel.on('exit', (given: number) => {
          code = given;
        });
        channel.on('close', () => {
          client.end();
          resolve({ code, out, err });
        });
        channel.end(input);
      }),
    );
    client.connect({ host: host.address, port: dom0.port, username: 'root', password });
  });
}

t.test('a host is looked at, and its schedule is a link', async (t) => {
  const { lab, pool, dom0, run } = await house(t);
  const [master, member] = pool.hosts;
  if (master === undefined || member === undefined) throw new Error('the pool has three hosts');
  t.match((await run(master, 'cat /etc/xensource/pool.conf')).out, /^master$/);
  t.equal((await run(member, 'cat /etc/xensource/pool.conf')).out, `slave:${master.address}`);
  t.match((await run(member, "cat '/etc/xensource-inventory'")).out, member.row.uuid);
  t.equal((await run(master, 'ls /etc/cron.daily')).out, '');
  scheduleBackup(master, 'daily');
  t.equal((await run(master, 'ls -1 /etc/cron.daily')).out, 'backup-metadata\n');
  t.match(await run(master, 'readlink /etc/cron.daily/backup-metadata'), {
    code: 0,
    out: /backup-metadata-cron/,
  });
  t.equal((await run(master, 'rm -f /etc/cron.daily/backup-metadata')).code, 0);
  t.equal((await run(master, 'test -L /etc/cron.daily/backup-metadata')).code, 1);
  t.match(await run(master, 'shutdown now'), { code: 127 });
  t.match(await run(master, 'cat /etc/xensource-inventory | sh'), { code: 2 });
  await t.rejects(typed(lab, dom0, master, 'true', '', 'wrong'), /authentication/i);
});

t.test('the backup script: who may run it, on which disk, and what it leaves', async (t) => {
  const { pool, sr, run } = await house(t);
  const [master, member] = pool.hosts;
  if (master === undefined || member === undefined) throw new Error('the pool has three hosts');
  const backup = `${scripts}/xe-backup-metadata`;
  t.equal((await run(member, `${backup} -c -u ${sr}`)).code, 1, 'a member refuses');
  t.equal((await run(master, `${backup} -y -c -u ${sr}`)).code, 1, '-y is no option of it');
  t.equal((await run(master, `${backup} -c`)).code, 1, 'there is no default SR');
  t.equal((await run(master, `${backup} -u ${sr}`)).code, 3, 'no disk, and none is to be made');
  const made = await run(master, `${backup} -c -u '${sr}' -k 2`);
  t.equal(made.code, 0, made.err);
  for (const words of [
    /^Using SR: gold storage$/m,
    new RegExp(`^Creating new backup VDI: ${metadataBackupUuid(sr)}$`, 'm'),
    /^Checking backup VDI space usage: \d+%$/m,
    /^Rotating old backups: found 0$/m,
    /^Backing up pool database: done$/m,
    /^Backing up VM metadata: done$/m,
  ])
    t.match(made.out, words);
  t.equal((await run(master, `${backup} -n -u ${sr}`)).code, 0, 'the disk is found');
  const vdi = pool.db.byUuid('VDI', metadataBackupUuid(sr));
  t.strictSame(vdi.rows('VBDs', 'VBD'), [], 'and attached to nobody');
  t.match({ ...vdi.map('other_config') }, { 'ctxs-pool-backup': 'true' });

  mishapsOf(pool).exports.add(pool.db.byName('VM', 'db-01')[0]?.uuid ?? '');
  const lying = await run(master, `${backup} -u ${sr} -k 2`);
  t.match(lying, { code: 0, err: '', out: /Backing up VM metadata: done/ }, 'a failed export shows nowhere');
});

t.test('the restore script: dates, dry run, all VMs or those of the SR, names', async (t) => {
  const { lab, pool, sr, run } = await house(t);
  const backup = await run(pool.master, `${scripts}/xe-backup-metadata -c -u ${sr}`);
  t.equal(backup.code, 0, backup.err);
  const restore = `${scripts}/xe-restore-metadata -u ${sr}`;
  const names = new Map(pool.db.all('VDI').map((vdi) => [vdi.uuid, vdi.text('name_label')]));
  for (const vm of pool.db.all('VM'))
    if (!vm.bool('is_control_domain') && vm.text('power_state') === 'Running')
      await invoke(pool.master, 'VM.hard_shutdown', vm.ref);
  const sold = pool.db.all('VM').filter((vm) => /^(?:db|app|web)-/.test(vm.text('name_label')));
  for (const vm of sold) await invoke(pool.master, 'VM.destroy', vm.ref);
  for (const vdi of pool.db.byUuid('SR', sr).rows('VDIs', 'VDI')) vdi.set({ name_label: '' });

  t.match(await run(pool.master, `${restore} -p`), { code: 0, out: `${metadataBackupUuid(sr)}\n` });
  const dates = await run(pool.master, `${restore} -l`);
  t.match(dates.out, /^\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\n$/);
  t.equal((await run(pool.master, `${restore} -d 2001-01-01-00-00-00 -y`)).code, 1, 'no such date');
  t.match(await run(pool.master, restore), { code: 1, err: /Aborted/ }, 'nobody said yes');
  const dry = await run(pool.master, `${restore} -n -y`);
  t.match(dry, { code: 0, out: /Restored 3 VM\(s\), and 0 error\(s\)\n$/ });
  t.equal(pool.db.byName('VM', 'db-01').length, 0, 'a dry run makes nothing');
  const some = await run(pool.master, `${restore} -m sr`, 'yes\n');
  t.match(some, { code: 0, out: /Restored 2 VM\(s\), and 0 error\(s\)\n$/ });
  t.equal(pool.db.byName('VM', 'web-01').length, 0, 'the disks of web-01 are on the other SR');
  const disk = pool.db.byUuid('SR', sr).rows('VDIs', 'VDI')[0];
  t.equal(disk?.text('name_label'), names.get(disk?.uuid ?? ''), 'names are back');

  const foreign = await invoke(
    pool.master,
    'VDI.create',
    struct({
      name_label: 'a guest wrote this',
      SR: pool.db.byUuid('SR', sr).ref,
      virtual_size: smallDisk,
      type: 'user',
      sharable: false,
      read_only: false,
      other_config: struct(),
    }),
  );
  const uuid = pool.db.row('VDI', String(foreign)).uuid;
  t.equal((await run(pool.master, `${restore} -x ${uuid} -l`)).code, 1, 'another disk needs -o');
  t.equal((await run(pool.master, `${scripts}/xe-restore-metadata -u nobody -l`)).code, 1);
  t.match(
    await run(lab.pool('recovery').master, restore),
    { code: 1 },
    'the other pool does not know the SR',
  );
});
