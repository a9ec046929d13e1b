/**
 * A file in a dataset as an iSCSI LUN, over two real filers with real tgtd: what hosts see of it, who is let in, and what
 * is left after whatever breaks.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import { startFilers, whyNoFilers } from './storage/filer.ts';
import {
  access,
  confDirectory,
  failureOf,
  host,
  login,
  lunBytes,
  lunStory,
  openLuns,
  readBack,
  startTarget,
  stopTarget,
  stranger,
  whyNoTargets,
} from './storage/lun-rig.ts';
import { zfsKind } from './storage/zfs-kind.ts';

const run = promisify(execFile);
const timeout = 120_000;

const skip = whyNoFilers('zfs') || whyNoTargets();
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('zfs', 47);
  t.teardown(() => filers.stop());
  const open = await openLuns(filers, zfsKind);

  t.test(
    'hosts find the LUN by the identity that was foretold, and nobody else finds it',
    { timeout },
    async (t) => {
      const { pair, volume, source } = await open(t);
      t.match(await source.capabilities(), { expose: 'lun', drill: 'clone' });
      const exposed = await source.expose(volume, access);
      t.match(exposed, { kind: 'iscsi', lun: 1, portals: [`${pair.filer('source').address}:3260`] });
      const session = await login(exposed);
      t.equal(await session.scsiId(), exposed.scsiId);
      const serial = await session.serial();
      t.ok(
        exposed.scsiId?.startsWith(`36001405${serial.slice(0, 25)}`),
        'and the serial is that of the SCSIid',
      );
      await session.logout();

      const url = `iscsi://${pair.filer('source').address}/${exposed.iqn}/1`;
      const inquiry = await run('iscsi-inq', ['-i', host, '-e', '1', '-c', '128', url]);
      t.match(inquiry.stdout, serial, 'libiscsi reads the same serial');
      const capacity = await run('iscsi-readcapacity16', ['-i', host, '-s', url]);
      t.equal(capacity.stdout.trim(), String(lunBytes));
      const listed = (name: string) =>
        run('iscsi-ls', ['-i', name, `iscsi://${pair.filer('source').address}/`]).then(
          ({ stdout }) => stdout,
        );
      t.match(await listed(host), exposed.iqn ?? '');
      t.notMatch(await listed(stranger), exposed.iqn ?? '', 'it is not even listed to a stranger');
      await t.rejects(login(exposed, stranger), /refused/);

      t.same(await source.expose(volume, access), exposed, 'shown again it is the same');
      await source.conceal(volume, access);
      await t.rejects(login(exposed), /refused/);
      t.same(await source.expose(volume, access), exposed, 'and shown anew it is the same');
    },
  );

  t.test('written over iSCSI, replicated, drilled, promoted, read over iSCSI', { timeout }, async (t) =>
    lunStory(t, await open(t)),
  );

  t.test('sessions of initiators whom nobody of us let in hold it', { timeout }, async (t) => {
    const w = await open(t);
    const { volume, source } = w;
    const exposed = await source.expose(volume, access);
    const [, tid = ''] =
      new RegExp(`Target (\\d+): ${exposed.iqn}$`, 'm').exec(await w.shown('source')) ?? [];
    await w.tgtadm('source', '--op', 'bind', '--mode', 'target', '--tid', tid, '-Q', stranger);
    const session = await login(exposed, stranger);

    await source.conceal(volume, access);
    await t.rejects(login(exposed), /refused/);
    t.equal(await session.read(1), '', 'the stranger is left alone');
    const error = await failureOf(source.fence(volume));
    t.match(error, { kind: 'busy', problem: { code: 'DR-ARRAY-BUSY' } });
    t.match(error.message, new RegExp(stranger));
    t.equal(await session.read(1), '');

    await session.logout();
    await source.fence(volume);
    t.notMatch(await w.shown('source'), exposed.iqn ?? '');
    t.match(await source.observe(volume), { role: 'demoted', writable: false });
  });

  t.test('what the site shows by a target of its own is used as it is', { timeout }, async (t) => {
    const w = await open(t);
    const { volume, file, source } = w;
    const own = 'iqn.2026-01.org.example:by-hand';
    const on = ['--tid', '3'];
    await w.tgtadm('source', '--op', 'new', '--mode', 'target', ...on, '-T', own);
    await w.tgtadm('source', '--op', 'new', '--mode', 'logicalunit', ...on, '--lun', '5', '-b', file);
    t.teardown(() => w.tgtadm('source', '--op', 'delete', '--mode', 'target', ...on));
    const id = `scsi_id=600140500000000000000000000000aa`;
    await w.tgtadm('source', '--op', 'update', '--mode', 'logicalunit', ...on, '--lun', '5', '--params', id);
    const error = await failureOf(source.expose(volume, access));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-REFUSED' } });
    t.match(error.message, own);
    await w.tgtadm('source', '--op', 'bind', '--mode', 'target', ...on, '-Q', host);
    const exposed = await source.expose(volume, access);
    t.match(exposed, { iqn: own, lun: 5, scsiId: '3600140500000000000000000000000aa' });
    const session = await login(exposed);
    t.equal(await session.scsiId(), exposed.scsiId);
    await session.logout();
    await source.conceal(volume, access);
    t.match(await w.shown('source'), own, 'it is not ours to take away');
  });

  t.test('tgtd that was restarted shows it again, or is told anew', { timeout }, async (t) => {
    const w = await open(t);
    const { pair, volume, source } = w;
    const filer = pair.filer('source');
    const exposed = await source.expose(volume, access);
    await stopTarget(filer);
    const error = await failureOf(source.expose(volume, access));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-TOOLS' } });
    await startTarget(filer);
    await t.rejects(login(exposed), /refused/);
    await filer.exec(
      'sh',
      '-c',
      `cat ${confDirectory}/*.conf >/run/targets.conf && tgt-admin -e -c /run/targets.conf`,
    );
    const session = await login(exposed);
    t.equal(await session.scsiId(), exposed.scsiId, 'as tgt-admin makes it from what was kept');
    await session.logout();

    await stopTarget(filer);
    await startTarget(filer);
    t.same(await source.expose(volume, access), exposed);
    await readBack(exposed, 1);
    await source.conceal(volume, access);
    const kept = await filer.exec('ls', confDirectory);
    t.notMatch(kept, new RegExp(`${volume.replace('/', '-')}-`), 'what is not shown is not kept');
  });

  t.test('what broke off or whose answer was lost is made good by the next call', { timeout }, async (t) => {
    const { pair, volume, source } = await open(t);
    const filer = pair.filer('source');
    for (const [mishap, op] of [
      ['lose', 'new --mode logicalunit'],
      ['fail', 'bind'],
    ]) {
      filer.put(`run/${mishap}`, `tgtadm *--op ${op} *`);
      await failureOf(source.expose(volume, access));
      const exposed = await source.expose(volume, access);
      const session = await login(exposed);
      t.equal(await session.scsiId(), exposed.scsiId, `${mishap} ${op}`);
      await session.logout();
      await source.conceal(volume, access);
    }
    for (const [mishap, op] of [
      ['lose', 'unbind'],
      ['fail', 'delete'],
    ]) {
      const exposed = await source.expose(volume, access);
      filer.put(`run/${mishap}`, `tgtadm *--op ${op} *`);
      await failureOf(source.conceal(volume, access));
      await source.conceal(volume, access);
      await t.rejects(login(exposed), /refused/, `${mishap} ${op}`);
      t.notMatch(await filer.exec('ls', confDirectory), new RegExp(`${volume.replace('/', '-')}-`));
    }
  });

  t.test('CHAP is an account of the filer, which Lifeboat binds', { timeout }, async (t) => {
    const w = await open(t, { chap_user: 'sr-user' });
    const { pair, volume, source } = w;
    const error = await failureOf(source.expose(volume, access));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-REFUSED' } });
    t.match(error.message, /CHAP account/);
    const account = ['--user', 'sr-user', '--password', 'secretsecret1'];
    await w.tgtadm('source', '--op', 'new', '--mode', 'account', ...account);
    const exposed = await source.expose(volume, access);
    const at = `${pair.filer('source').address}/${exposed.iqn}/1`;
    await t.rejects(run('iscsi-inq', ['-i', host, `iscsi://${at}`]));
    await run('iscsi-inq', ['-i', host, `iscsi://sr-user%secretsecret1@${at}`]);
    t.notMatch(
      await pair.filer('source').exec('sh', '-c', `cat ${confDirectory}/* 2>/dev/null; :`),
      exposed.iqn ?? '',
    );
  });
}
