/** What stands between a replica and its hosts, told before anything is changed (xapi.md 7.4 to 7.6, 7.11). */
import t from 'tap';
import type { Lun } from '../../src/lab/storage/index.ts';
import { removeStorageManager } from '../../src/lab/storage/index.ts';
import { struct } from '../contract/lab-rig.ts';
import { AttachHouse, iqn } from './attach-house.ts';

const offered = { kind: 'iscsi', portals: ['10.9.0.5:3260'], iqn, scsiId: '3600b' } as const;
const password = 'the-chap-password';

type Test = Parameters<typeof AttachHouse.open>[0];

/** An lvmoiscsi SR of production, and its copy as LUN 3600b of the recovery array. */
async function overIscsi(t: Test, number: number, copyIs: Partial<Lun> = {}, more: readonly Lun[] = []) {
  const house = await AttachHouse.open(t, number);
  const [original, copy] = [house.lun('3600a'), house.lun('3600b', copyIs)];
  const chap = { user: 'xen', password };
  const target = { address: '10.9.0.5', port: 3260, iqn, chap, luns: [...more, copy] };
  house.fabric.targets.push({ address: '10.1.0.5', port: 3260, iqn: 'iqn.a', chap, luns: [original] });
  house.fabric.targets.push(target);
  await house.protect('lvmoiscsi', {
    ...{ target: '10.1.0.5', targetIQN: 'iqn.a', SCSIid: '3600a' },
    ...{ chapuser: 'xen', chappassword: password },
  });
  house.replicate(original.directory, copy.directory, offered);
  return { house, original, copy, target };
}

/** An lvmohba SR of production, whose LUN its hosts alone see, and its copy for the hosts of the recovery site. */
async function overFibreChannel(t: Test, number: number) {
  const house = await AttachHouse.open(t, number);
  const [original, copy] = [house.lun('3600a'), house.lun('3600b')];
  const zones = { original: ['two-1'], copy: ['one-1', 'one-2'] };
  house.fabric.fibreChannel.push(
    { hosts: zones.original, luns: [original] },
    { hosts: zones.copy, luns: [copy] },
  );
  await house.protect('lvmohba', { SCSIid: '3600a' });
  house.replicate(original.directory, copy.directory, { kind: 'fc', scsiId: '3600b' });
  return { house, zones, original, copy };
}

t.test('a member that does not see the LUN is left out and named; the master has to see it', async (t) => {
  const [masters, members] = ['127.70.1.1', '127.70.1.2'];
  const seenBy = [masters];
  const admits = (address: string) => address.startsWith('127.70.2') || seenBy.includes(address);
  const { house } = await overIscsi(t, 70, { admits });
  t.match(await house.attach(), {
    partial: true,
    output: { hosts: ['one-1'] },
    warnings: [/^host one-2 has no access to SR gold, .*no LUN with this SCSIid/],
  });
  t.match(await house.isAttached(), { holds: false, because: 'SR gold is not plugged on one-2' });
  seenBy.push(members);
  t.match(await house.attach(), { partial: false, output: { hosts: ['one-1', 'one-2'] } });
  t.same(await house.isAttached(), { holds: true });

  const away = await overIscsi(t, 71, { admits: (address) => !address.startsWith('127.71.1') });
  const { code, text } = await away.house.refused();
  t.equal(code, 'DR-SR-NOT-SEEN');
  t.match(text, /host one-1: .*\nhost one-2: /);
  t.notOk(away.house.isKnown(), 'nothing was introduced');
});

t.test('wrong CHAP, and CHAP that nobody could save', async (t) => {
  const { house, target } = await overIscsi(t, 72);
  target.chap.password = 'another one';
  const { code, text } = await house.refused();
  t.equal(code, 'DR-SR-NOT-SEEN');
  t.match(text, /refused the login of this host[\s\S]*Give the target the CHAP user and password/);
  t.notMatch(text, password);
  t.notOk(house.isKnown());

  const lost = await overIscsi(t, 73);
  lost.house.loseSecrets();
  t.match((await lost.house.refused()).text, /the recovery point holds no chappassword of this SR/);
});

t.test('an SCSIid that the target does not have: the hosts say what they see instead', async (t) => {
  const { house, original, copy } = await overIscsi(t, 74);
  house.replicate(original.directory, copy.directory, { ...offered, scsiId: '3600z' });
  t.match(await house.refused(), { code: 'DR-SR-NOT-SEEN', text: /the host sees: LUN 3600b \(ACME/ });
  house.replicate(original.directory, copy.directory, { ...offered, iqn: 'iqn.other' });
  t.match(await house.refused(), {
    text: /the host sees: target iqn\.2020-01\.example:array at 10\.9\.0\.5/,
  });
  house.replicate(original.directory, copy.directory, { ...offered, portals: ['10.9.0.9'] });
  t.match(await house.refused(), { text: /No iSCSI service answers/ });
});

t.test('a PBD left from before keeps its record, with the new SCSIid and its own CHAP', async (t) => {
  const { house, target } = await overIscsi(t, 75);
  target.chap.user = 'here';
  target.chap.password = 'the-password-of-this-site';
  const { recovery } = house;
  const sr = await recovery.call(
    'SR.introduce',
    house.srUuid,
    'gold',
    '',
    'lvmoiscsi',
    'user',
    true,
    struct(),
  );
  for (const host of recovery.pool.hosts) {
    const config = {
      ...{
        target: '10.9.0.1',
        targetIQN: 'iqn.old',
        SCSIid: '3600old',
        multiSession: '10.9.0.1,3260,iqn.old|',
      },
      ...{ chapuser: 'here', chappassword: 'the-password-of-this-site', allocation: 'thin' },
    };
    await recovery.call('PBD.create', struct({ host: host.row.ref, SR: sr, device_config: struct(config) }));
  }
  t.match(await house.attach(), { output: { hosts: ['one-1', 'one-2'], recordWasThere: true } });
  const config = house.plugged()['one-2'];
  t.match(config, { target: '10.9.0.5', SCSIid: '3600b', chapuser: 'here', allocation: 'thin' });
  t.notOk(config !== undefined && 'multiSession' in config, 'sessions of the old target are not kept');
});

t.test('a copy beside its original is never plugged', async (t) => {
  const { house, zones } = await overFibreChannel(t, 76);
  zones.original.push('one-2');
  const { code, text } = await house.refused();
  t.equal(code, 'DR-SR-DUPLICATE-LUN');
  t.match(text, /host one-2: .*LUN 3600a and LUN 3600b hold SR/);
  t.notOk(house.isKnown(), 'nothing was introduced');
  zones.original.pop();
  t.match(await house.attach(), { output: { hosts: ['one-1', 'one-2'] } });

  const beside = await overIscsi(t, 77);
  beside.house.fabric.targets.push({ ...beside.target, luns: [beside.original] });
  t.match(await beside.house.refused(), { code: 'DR-SR-DUPLICATE-LUN', text: /LUN 3600a and LUN 3600b/ });
  t.notOk(beside.house.isKnown());
});

t.test('an original that comes back between probe and plug stops lvmoiscsi at the plug', async (t) => {
  const { house, original } = await overIscsi(t, 78);
  house.fabric.fibreChannel.push({ hosts: ['one-1'], luns: [original] });
  t.match(await house.refused(), { code: 'DR-SR-DUPLICATE-LUN', text: /on host one-1/ });
  t.same(house.plugged(), {});
});

t.test('production’s storage under the same uuid is no replica, however well it is plugged', async (t) => {
  const { house } = await overIscsi(t, 79);
  const { recovery } = house;
  const sr = await recovery.call(
    'SR.introduce',
    house.srUuid,
    'gold',
    '',
    'lvmoiscsi',
    'user',
    true,
    struct(),
  );
  for (const host of recovery.pool.hosts) {
    const config = {
      ...{ target: '10.1.0.5', targetIQN: 'iqn.a', SCSIid: '3600a' },
      ...{ chapuser: 'xen', chappassword: password },
    };
    const record = struct({ host: host.row.ref, SR: sr, device_config: struct(config) });
    await recovery.call('PBD.plug', await recovery.call('PBD.create', record));
  }
  t.match(await house.isAttached(), { holds: false, because: /3600a.*the replica is at .*3600b/ });
  t.match(await house.refused(), { code: 'DR-SR-OTHER', text: /3600a/ });
});

t.test('a LUN of another SR is not taken', async (t) => {
  const { house } = await overIscsi(t, 80);
  const { recovery } = house;
  const other = 'aaaaaaaa-bbbb-4ccc-8ddd-000000000003';
  const sr = await recovery.call('SR.introduce', other, 'silver', '', 'lvmoiscsi', 'user', true, struct());
  const config = struct({ target: '10.9.0.5', targetIQN: iqn, SCSIid: '3600b' });
  const host = recovery.pool.master.row.ref;
  await recovery.call('PBD.create', struct({ host, SR: sr, device_config: config }));
  t.match(await house.refused(), { code: 'DR-SR-LUN-TAKEN', text: /LUN 3600b.*\n.*silver/ });
});

t.test('a pool without the driver, and hosts without its client', async (t) => {
  const house = await AttachHouse.open(t, 81);
  for (const [server, name] of [
    ['m1', 'a'],
    ['n1', 'b'],
  ] as const)
    house.fabric.shares.push({
      ...{ server, path: `/${name}`, directory: house.directory(name) },
      access: () => 'rw',
    });
  await house.protect('cephfs', { server: 'm1', serverpath: '/a' });
  house.replicate(house.directory('a'), house.directory('b'), {
    ...{ kind: 'cephfs', server: 'n1', path: '/b' },
  });
  house.fabric.withoutClient.add('one-1:cephfs');
  const { code, text } = await house.refused();
  t.equal(code, 'DR-SR-NOT-SEEN');
  t.match(text, /host one-1: The host lacks a program[\s\S]*Install the client/);
  house.fabric.withoutClient.clear();
  house.fabric.withoutClient.add('one-2:cephfs');
  t.match(await house.attach(), {
    output: { hosts: ['one-1'] },
    warnings: [/^host one-2 .*lacks a program.*ceph is not installed/],
  });

  const bare = await overIscsi(t, 82);
  removeStorageManager(bare.house.recovery.pool, 'lvmoiscsi');
  t.match(await bare.house.refused(), { code: 'DR-SR-NO-DRIVER' });
});

t.test('a LUN that is still read-only, and a share that lets nobody in', async (t) => {
  let access: 'ro' | 'rw' = 'ro';
  const { house } = await overIscsi(t, 83, { access: () => access });
  t.match(await house.refused(), { code: 'DR-SR-LVM', text: /on host one-1[\s\S]*replica is promoted/ });
  access = 'rw';
  t.match(await house.attach(), { output: { hosts: ['one-1', 'one-2'] } }, 'and then it goes on from there');

  const shares = await AttachHouse.open(t, 84);
  const directory = shares.directory('a');
  shares.fabric.shares.push({ server: 'a', path: '\\a', directory, access: () => 'rw' });
  await shares.protect('smb', { server: '\\\\a\\a', username: 'u', password });
  const login = { username: 'u', password: 'another one' };
  const copy = shares.directory('b');
  shares.fabric.shares.push({ server: 'b', path: '\\b', directory: copy, access: () => 'rw', login });
  shares.replicate(directory, copy, { kind: 'smb', server: 'b', path: '/b' });
  t.match(await shares.refused(), { code: 'DR-SR-NOT-SEEN', text: /SMB share cannot be mounted.*code 13/ });
});

t.test('multipathing: hosts that are not alike, and hosts with fewer ways than production had', async (t) => {
  const { house } = await overIscsi(t, 85);
  house.recovery.pool.master.row.set({ multipathing: true });
  t.match(await house.attach(), { warnings: [/^multipathing is on at one-1 and off at one-2/] });

  const fibre = await AttachHouse.open(t, 86);
  fibre.production.pool.master.row.set({ multipathing: true });
  const [original, copy] = [fibre.lun('3600a'), fibre.lun('3600b')];
  fibre.fabric.fibreChannel.push({ hosts: ['two-1'], luns: [original] });
  fibre.fabric.fibreChannel.push({ hosts: ['one-1', 'one-2'], luns: [copy], paths: 2 });
  await fibre.protect('lvmohba', { SCSIid: '3600a' });
  fibre.replicate(original.directory, copy.directory, { kind: 'fc', scsiId: '3600b' });
  t.match(await fibre.attach(), { warnings: [/^production reached SR gold over several paths/] });
});
