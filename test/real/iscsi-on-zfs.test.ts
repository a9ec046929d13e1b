/**
 * A file in a dataset as an iSCSI LUN, over two real filers with real tgtd: what hosts see of it, from the first login
 * to the promotion on the other side. LIO needs a kernel with it, and is tried against a double (test/contract).
 */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { PortError } from '../../src/domain/errors.ts';
import { type Exposed, promotionConfirmation } from '../../src/domain/replication.ts';
import type { Replication } from '../../src/ports/replication.ts';
import { type RealFiler, startFilers, whyNoFilers } from './storage/filer.ts';
import { Initiator } from './storage/initiator.ts';
import { openPair, type PairOfFilers } from './storage/pair-rig.ts';
import { zfsKind } from './storage/zfs-kind.ts';

type Side = 'source' | 'target';

const run = promisify(execFile);
const programs = ['tgtd', 'tgtadm', 'tgt-admin', 'iscsi-ls', 'iscsi-inq', 'iscsi-readcapacity16'];
const host = 'iqn.2026-01.org.example:host1';
const stranger = 'iqn.2026-01.org.example:stranger';
const access = { addresses: ['10.1.1.1'], iqns: [host] };
const sizeBytes = 64 * 1024 * 1024;
const timeout = 120_000;
const confDirectory = '/run/tgt-conf';

function whyNoTargets(): string | false {
  const isThere = (name: string): boolean =>
    ['/usr/sbin', '/usr/bin'].some((place) => {
      try {
        accessSync(join(place, name), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
  const missing = programs.filter((name) => !isThere(name));
  if (missing.length === 0) return false;
  const reason = `not installed: ${missing.join(', ')}`;
  if (process.env['LIFEBOAT_REAL'] !== undefined) throw new Error(`LIFEBOAT_REAL is set and ${reason}`);
  return reason;
}

async function failureOf(work: Promise<unknown>): Promise<PortError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PortError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}

/** As filer.sh does it for the programs of its file system: mishap.sh stands in front of tgtadm. */
async function putInFront(filer: RealFiler): Promise<void> {
  const script =
    'path=$(readlink -f "$(command -v tgtadm)") && mkdir -p /run/real && : >/run/real/tgtadm && mount --bind "$path" /run/real/tgtadm && mount --bind "$1" "$path"';
  await filer.exec('sh', '-c', script, 'put-in-front', join(import.meta.dirname, 'storage/mishap.sh'));
}

/** tgtd of a filer, which dies with it; what it shows is forgotten with it. */
async function startTarget(filer: RealFiler): Promise<void> {
  await filer.exec('sh', '-c', 'mkdir -p /run/tgtd && exec tgtd >/run/tgtd.log 2>&1 </dev/null');
  await filer.exec(
    'sh',
    '-c',
    'until tgtadm --lld iscsi --op show --mode system >/dev/null 2>&1; do sleep 0.05; done',
  );
}

async function stopTarget(filer: RealFiler): Promise<void> {
  await filer.exec('sh', '-c', 'pkill -KILL -x tgtd; while pgrep -x tgtd >/dev/null; do sleep 0.05; done');
}

function login(exposed: Exposed, name = host): Promise<Initiator> {
  const [portal = ''] = exposed.portals ?? [];
  return Initiator.login(portal, exposed.iqn ?? '', exposed.lun ?? 0, name);
}

/** What a host reads of a block of the LUN. */
async function readBack(exposed: Exposed, block: number): Promise<string> {
  const session = await login(exposed);
  const text = await session.read(block);
  await session.logout();
  return text;
}

async function writeTo(exposed: Exposed, block: number, text: string): Promise<void> {
  const session = await login(exposed);
  await session.write(block, text);
  await session.logout();
}

const skip = whyNoFilers('zfs') || whyNoTargets();
if (skip !== false) t.plan(0, skip);
else {
  const filers = await startFilers('zfs', 47);
  t.teardown(() => filers.stop());
  const { pair } = openPair(filers, zfsKind);
  for (const filer of filers.filers) {
    await putInFront(filer);
    await startTarget(filer);
  }
  let count = 0;

  interface World {
    readonly pair: PairOfFilers;
    readonly volume: string;
    readonly source: Replication;
    readonly target: Replication;
    tgtadm(side: Side, ...words: readonly string[]): Promise<string>;
  }

  const options = {
    expose: 'iscsi',
    target_iqn: 'iqn.2026-01.org.example.filer',
    lun_file: 'disk.img',
    tgt_conf_directory: confDirectory,
  };
  const world = async (test: Test, more: Readonly<Record<string, string>> = {}): Promise<World> => {
    await filers.ready();
    pair.clear();
    count += 1;
    const volume = `tank/l${count}`;
    await pair.filer('source').exec('zfs', 'create', volume);
    const file = join(pair.filer('source').pool, `l${count}`, 'disk.img');
    await pair.filer('source').exec('truncate', '-s', String(sizeBytes), file);
    const [source, target] = (['source', 'target'] as const).map((side) => {
      const adapter = pair.adapter(side, [volume], { ...options, ...more });
      test.teardown(() => adapter.close());
      return adapter;
    });
    if (source === undefined || target === undefined) throw new Error('two sides');
    const tgtadm = (side: Side, ...words: readonly string[]): Promise<string> =>
      pair.filer(side).exec('tgtadm', '--lld', 'iscsi', ...words);
    return { pair, volume, source, target, tgtadm };
  };
  const shown = async ({ tgtadm }: World, side: Side): Promise<string> =>
    tgtadm(side, '--op', 'show', '--mode', 'target');
  const tidOf = async (w: World, side: Side, iqn: string): Promise<string> => {
    const [, tid = ''] = new RegExp(`Target (\\d+): ${iqn}$`, 'm').exec(await shown(w, side)) ?? [];
    return tid;
  };

  t.test(
    'hosts find the LUN by the identity that was foretold, and nobody else finds it',
    { timeout },
    async (t) => {
      const { volume, source } = await world(t);
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
      t.equal(capacity.stdout.trim(), String(sizeBytes));
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

  t.test('written over iSCSI, replicated, drilled, promoted, and read over iSCSI', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source, target } = w;
    const there = await source.expose(volume, access);
    await writeTo(there, 7, 'first');
    const first = await source.syncNow(volume, 'lb-1');
    await writeTo(there, 7, 'second');

    const copy = await target.drillStart(volume, { drill: 'tuesday', point: first.ref, access });
    t.not(copy.scsiId, there.scsiId, 'a copy is another LUN');
    t.equal(await readBack(copy, 7), 'first');
    await writeTo(copy, 7, 'only a drill');
    t.same(
      await target.drillStart(volume, { drill: 'tuesday', point: first.ref, access }),
      copy,
      'the same drill, the same copy',
    );
    await source.syncNow(volume, 'lb-2');
    const open = await login(copy);
    await target.drillStop(volume, 'tuesday');
    await t.rejects(open.read(7), 'the session of the drill is ended');
    t.notMatch(await shown(w, 'target'), /lifeboat-drill/, 'nothing of the drill is left');

    // A host that forgot to log out, as one that was cut off has.
    const forgotten = await login(there);
    const last = await source.prepare(volume, 'lb-3');
    await t.rejects(forgotten.write(7, 'too late'), 'nobody writes to what is prepared');
    await t.rejects(login(there), /refused/);
    const confirm = promotionConfirmation(volume, last.ref);
    await target.promote(volume, { mode: 'planned', point: last.ref, confirm });
    const here = await target.expose(volume, access);
    t.not(here.scsiId, there.scsiId);
    t.equal(await readBack(here, 7), 'second');
    await writeTo(here, 8, 'at the other side');

    await source.demote(volume, { discard: false, confirm: '' });
    await target.reverse(volume, 'lb-4', { discard: false, confirm: '' });
    const home = await target.prepare(volume, 'lb-5');
    const homeward = promotionConfirmation(volume, home.ref);
    await source.promote(volume, { mode: 'planned', point: home.ref, confirm: homeward });
    const back = await source.expose(volume, access);
    t.equal(back.scsiId, there.scsiId, 'home again it is the LUN that it was');
    t.equal(await readBack(back, 8), 'at the other side');
    t.notMatch(await shown(w, 'target'), here.iqn ?? '', 'and the other filer shows it no longer');
  });

  t.test('sessions of initiators whom nobody of us let in hold it', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source } = w;
    const exposed = await source.expose(volume, access);
    const tid = await tidOf(w, 'source', exposed.iqn ?? '');
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
    t.notMatch(await shown(w, 'source'), exposed.iqn ?? '');
    t.match(await source.observe(volume), { role: 'demoted', writable: false });
  });

  t.test('what the site shows by a target of its own is used as it is', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source } = w;
    const file = join(pair.filer('source').pool, `l${count}`, 'disk.img');
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
    t.match(await shown(w, 'source'), own, 'it is not ours to take away');
  });

  t.test('tgtd that was restarted shows it again, or is told anew', { timeout }, async (t) => {
    const w = await world(t);
    const { volume, source } = w;
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
    t.notMatch(kept, new RegExp(`l${count}-`), 'what is not shown is not kept');
  });

  t.test('what broke off or whose answer was lost is made good by the next call', { timeout }, async (t) => {
    const { volume, source } = await world(t);
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
      t.notMatch(await filer.exec('ls', confDirectory), new RegExp(`l${count}-`));
    }
  });

  t.test('CHAP is an account of the filer, which Lifeboat binds', { timeout }, async (t) => {
    const w = await world(t, { chap_user: 'sr-user' });
    const { volume, source } = w;
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
