/** The lab's storage: what lies on disk decides, as in xapi.md 7 and 9.1. */
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import t from 'tap';
import { fabricOf, type Lun, pretendFull, scanDirty } from '../../src/lab/storage/index.ts';
import { metadataBackupUuid } from '../../src/lab/storage/vdi.ts';
import { createVhd, inspectVhd, openVhd } from '../../src/lab/storage/vhd.ts';
import { labRig, refusal, struct } from './lab-rig.ts';

t.test('a VHD keeps what is written, through a chain of parents', async (test) => {
  const directory = test.testdir();
  const nowMillis = Date.UTC(2026, 0, 1);
  const base = join(directory, 'base.vhd');
  createVhd(base, { virtualSize: 8 * 1024 * 1024, nowMillis });
  const first = openVhd(base, 'r+');
  first.write(2 * 1024 * 1024 - 3, Buffer.from('crosses a block'));
  first.close();
  const leaf = join(directory, 'leaf.vhd');
  createVhd(leaf, { virtualSize: 8 * 1024 * 1024, nowMillis, parent: base });
  const disk = openVhd(leaf, 'r+');
  disk.write(2 * 1024 * 1024 - 3, Buffer.from('CROSSES'));
  test.equal(
    disk.read(2 * 1024 * 1024 - 3, 15).toString(),
    'CROSSES a block',
    'unwritten sectors come from the parent',
  );
  test.equal(disk.read(5 * 1024 * 1024, 4).toString('hex'), '00000000');
  test.throws(() => disk.read(8 * 1024 * 1024 - 1, 2), RangeError);
  disk.close();
  test.match(inspectVhd(leaf), { kind: 'differencing', parentFile: 'base.vhd', hidden: false });
  const old = openVhd(base, 'r');
  test.equal(old.read(2 * 1024 * 1024 - 3, 7).toString(), 'crosses', 'the parent is untouched');
  old.close();
  writeFileSync(leaf, 'no disk at all');
  test.throws(() => inspectVhd(leaf), /too short for a VHD/);
});

t.test('a plain copy of the directory is a replica: uuids, chain and content, but no names', async (test) => {
  const rig = await labRig(test, 41);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const disk = await one.createDisk(sr, 'data');
  const snapshot = await one.call('VDI.snapshot', disk, struct());
  cpSync(rig.directory('one'), rig.directory('two'), { recursive: true });

  const two = rig.site('two');
  const uuid = one.row('SR', sr).uuid;
  const introduced = await two.call('SR.introduce', uuid, 'replica', '', 'nfs', 'user', true, struct());
  const device = struct({ server: 'any', serverpath: '/exports/two' });
  const pbd = await two.call(
    'PBD.create',
    struct({ host: two.pool.master.row.ref, SR: introduced, device_config: device }),
  );
  await two.call('PBD.plug', pbd);
  const found = two.pool.db.byUuid('VDI', one.row('VDI', disk).uuid);
  test.equal(found.text('name_label'), '');
  const parent = found.map('sm_config')['vhd-parent'];
  test.equal(parent, one.row('VDI', disk).map('sm_config')['vhd-parent'], 'the chain travels in the files');
  test.equal(
    two.pool.db.byUuid('VDI', parent ?? '').bool('managed'),
    false,
    'hidden parents are known as such',
  );
  test.equal(two.pool.db.byUuid('VDI', one.row('VDI', snapshot).uuid).bool('is_a_snapshot'), false);
});

t.test('a half-copied disk spoils the scan and is named', async (test) => {
  const rig = await labRig(test, 42);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const uuid = 'aaaaaaaa-bbbb-4ccc-8ddd-000000000001';
  writeFileSync(join(rig.directory('one'), one.row('SR', sr).uuid, `${uuid}.vhd`), Buffer.alloc(700));
  const [code, , text] = await refusal(one.call('SR.scan', sr));
  test.equal(code, 'SR_BACKEND_FAILURE_40');
  test.match(text, uuid);
});

t.test('a disk that vanished costs its VBD, half a minute later', async (test) => {
  const rig = await labRig(test, 43);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const disk = await one.createDisk(sr, 'lost');
  const vm = await one.createVm('loser', [disk]);
  rmSync(join(rig.directory('one'), one.row('SR', sr).uuid, `${one.row('VDI', disk).uuid}.vhd`));
  await one.call('SR.scan', sr);
  test.equal(one.pool.db.find('VDI', disk), undefined);
  await rig.clock.advance(29);
  test.equal(one.row('VM', vm).texts('VBDs').length, 1);
  await rig.clock.advance(2);
  test.same(one.row('VM', vm).texts('VBDs'), []);
});

t.test('the metadata backup has one uuid per SR, and only once', async (test) => {
  test.equal(
    metadataBackupUuid('00000000-0000-0000-0000-000000000000'),
    '581017e4-81dd-5c81-adf6-59e789731929',
  );
  test.equal(
    metadataBackupUuid('a5e2c1d0-7b31-4f0e-9c55-0123456789ab'),
    '8241196a-7cd3-5558-89f6-7a2a7f9d3d7a',
  );
  const rig = await labRig(test, 44);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const disk = await one.createDisk(sr, 'Pool Metadata Backup');
  test.equal(one.row('VDI', disk).uuid, metadataBackupUuid(one.row('SR', sr).uuid));
  test.equal((await refusal(one.createDisk(sr, 'Pool Metadata Backup')))[0], 'SR_BACKEND_FAILURE_43');
  pretendFull(one.pool, one.row('SR', sr), true);
  test.equal((await refusal(one.createDisk(sr, 'more')))[0], 'SR_BACKEND_FAILURE_44');
});

t.test('an unneeded hidden parent goes with the background scan', async (test) => {
  const rig = await labRig(test, 45);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const disk = await one.createDisk(sr, 'data');
  const snapshot = await one.call('VDI.snapshot', disk, struct());
  test.equal(one.row('SR', sr).texts('VDIs').length, 3);
  await one.call('VDI.destroy', snapshot);
  await one.call('VDI.destroy', disk);
  scanDirty(one.pool);
  test.same(one.row('SR', sr).texts('VDIs'), []);
});

t.test('a disk marked as attached to a halted VM can do nothing until the mark is gone', async (test) => {
  const rig = await labRig(test, 48);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const disk = await one.createDisk(sr, 'data');
  const vm = await one.createVm('imported', [disk]);
  const [vbd = ''] = one.row('VM', vm).texts('VBDs');
  one.row('VBD', vbd).set({ currently_attached: true });
  test.same(await refusal(one.call('VDI.snapshot', disk, struct())), ['VDI_IN_USE', disk, 'snapshot']);
  test.same(await refusal(one.call('VDI.copy', disk, sr)), ['VDI_IN_USE', disk, 'copy']);
  test.same(await refusal(one.call('VDI.destroy', disk)), ['VDI_IN_USE', disk, 'destroy']);
  await one.call('VM.power_state_reset', vm);
  test.same(await refusal(one.call('VDI.destroy', disk)), ['done']);
});

t.test('raw content goes out and in over HTTP', async (test) => {
  const rig = await labRig(test, 47, 2);
  const one = rig.site('one');
  const sr = await one.createSr('gold');
  const [disk, other] = [await one.createDisk(sr, 'data'), await one.createDisk(sr, 'copy')];
  const session = await one.call('session.login_with_password', 'root', 'lifeboat-lab', '1.1', 'test');
  const ask = (method: string, path: string, host = one.pool.master, body?: Buffer): Promise<RawAnswer> =>
    rawRequest(`${rig.lab.url(host)}${path}&session_id=${session}`, method, body);
  const content = Buffer.alloc(8 * 1024 * 1024);
  content.write('boot sector', 0);
  content.write('far away', 7_000_000);
  test.equal(
    (await ask('PUT', `/import_raw_vdi?format=raw&vdi=${disk}`, one.pool.master, content)).status,
    200,
  );
  const out = await ask('GET', `/export_raw_vdi?format=raw&vdi=${one.row('VDI', disk).uuid}`);
  test.equal(out.status, 200);
  test.ok(out.body.equals(content), 'exactly virtual_size bytes, and the same');
  const [, member] = one.pool.hosts;
  const pbd = one
    .row('SR', sr)
    .rows('PBDs', 'PBD')
    .find((row) => row.text('host') === member?.row.ref);
  await one.call('PBD.unplug', pbd?.ref ?? '');
  const redirect = await ask('GET', `/export_raw_vdi?format=raw&vdi=${disk}`, member);
  test.equal(redirect.status, 302, 'a host without the SR points at one that has it');
  const vm = await one.createVm('holder', [other]);
  await one.call('VM.start', vm, false, false);
  test.equal((await ask('GET', `/export_raw_vdi?format=raw&vdi=${other}`)).status, 500, 'the disk is in use');
});

interface RawAnswer {
  readonly status: number;
  readonly body: Buffer;
}

function rawRequest(url: string, method: string, body?: Buffer): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'Content-Length': body.length };
    const sending = request(url, { method, headers, rejectUnauthorized: false, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(pieces) }));
      response.on('error', reject);
    });
    sending.on('error', reject);
    sending.end(body);
  });
}

t.test('LVM on a LUN: the ladder of probes, names that come back, and no twins', async (test) => {
  const rig = await labRig(test, 46);
  const [one, two] = [rig.site('one'), rig.site('two')];
  const lun = (scsiId: string, lunId: number): Lun => {
    const directory = join(rig.lab.storage, scsiId);
    mkdirSync(directory, { recursive: true });
    return {
      scsiId,
      serial: scsiId,
      vendor: 'ACME',
      lunId,
      sizeBytes: 2 ** 30,
      directory,
      access: () => 'rw',
    };
  };
  const [original, copy] = [lun('3600a', 0), lun('3600b', 1)];
  const { targets } = fabricOf(one.pool);
  targets.push({ address: '10.9.0.5', port: 3260, iqn: 'iqn.2020-01.example:osaka', luns: [original] });
  targets.push({ address: '10.9.0.6', port: 3260, iqn: 'iqn.2020-01.example:tokyo', luns: [copy] });
  const host = one.pool.master.row.ref;
  const probe = (device: Readonly<Record<string, string>>) =>
    refusal(one.call('SR.probe', host, struct(device), 'lvmoiscsi', struct()));
  test.match((await probe({ target: '10.9.0.5' }))[3], /<TargetIQN>iqn\.2020-01\.example:osaka<\/TargetIQN>/);
  const place = { target: '10.9.0.5', targetIQN: 'iqn.2020-01.example:osaka' };
  test.match(await probe(place), ['SR_BACKEND_FAILURE_107', '', String, /<SCSIid>3600a<\/SCSIid>/]);
  test.same(await probe({ target: '10.9.9.9' }), [
    'SR_BACKEND_FAILURE_141',
    '',
    'Unable to detect an iSCSI service on this target.',
    '',
  ]);

  const device = struct({ ...place, SCSIid: '3600a' });
  const sr = await one.call(
    'SR.create',
    host,
    device,
    0n,
    'lun sr',
    'text',
    'lvmoiscsi',
    'user',
    true,
    struct(),
  );
  const disk = await one.createDisk(sr, 'named');
  await one.call('VDI.set_name_label', disk, 'renamed');
  const snapshot = await one.call('VDI.snapshot', disk, struct());
  cpSync(original.directory, copy.directory, { recursive: true });

  const uuid = one.row('SR', sr).uuid;
  const replica = await two.call('SR.introduce', uuid, 'lun sr', '', 'lvmoiscsi', 'user', true, struct());
  const there = struct({ target: '10.9.0.6', targetIQN: '*', SCSIid: '3600b' });
  const pbd = await two.call(
    'PBD.create',
    struct({ host: two.pool.master.row.ref, SR: replica, device_config: there }),
  );
  await two.call('PBD.plug', pbd);
  const found = two.pool.db.byUuid('VDI', one.row('VDI', disk).uuid);
  test.equal(found.text('name_label'), 'renamed');
  const back = two.pool.db.byUuid('VDI', one.row('VDI', snapshot).uuid);
  test.match({ is: back.bool('is_a_snapshot'), of: back.text('snapshot_of') }, { is: true, of: found.ref });

  const both = await two.call(
    'SR.introduce',
    'aaaaaaaa-bbbb-4ccc-8ddd-000000000002',
    'x',
    '',
    'lvmoiscsi',
    'user',
    true,
    struct(),
  );
  const wrong = await two.call(
    'PBD.create',
    struct({ host: two.pool.master.row.ref, SR: both, device_config: there }),
  );
  test.equal(
    (await refusal(two.call('PBD.plug', wrong)))[0],
    'SR_BACKEND_FAILURE_47',
    'another volume group lies there',
  );
  await two.call('PBD.unplug', pbd);
  await two.call('PBD.destroy', pbd);
  const twins = struct({ target: '10.9.0.5,10.9.0.6', targetIQN: '*', SCSIid: '3600b' });
  const again = await two.call(
    'PBD.create',
    struct({ host: two.pool.master.row.ref, SR: replica, device_config: twins }),
  );
  test.equal(
    (await refusal(two.call('PBD.plug', again)))[0],
    'SR_BACKEND_FAILURE_119',
    'original and copy side by side',
  );
});
