/** Each SR type attached from a copy of production's storage, through the real client, on a pool of the lab. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { AttachHouse, iqn } from './attach-house.ts';

t.test('lvmoiscsi: another portal, IQN and SCSIid; CHAP goes along as a secret of each PBD', async (t) => {
  const house = await AttachHouse.open(t, 60);
  const [original, copy] = [house.lun('3600a'), house.lun('3600b')];
  const chap = { user: 'xen', password: 'the-chap-password' };
  house.fabric.targets.push(
    { address: '10.1.0.5', port: 3260, iqn: 'iqn.a', chap, luns: [original] },
    { address: '10.9.0.5', port: 3260, iqn, chap, luns: [house.lun('3600c'), copy] },
  );
  const place = { target: '10.1.0.5', targetIQN: 'iqn.a', SCSIid: '3600a' };
  await house.protect('lvmoiscsi', { ...place, chapuser: 'xen', chappassword: chap.password });
  house.replicate(original.directory, copy.directory, {
    ...{ kind: 'iscsi', portals: ['10.9.0.5:3260'], iqn, scsiId: '3600b' },
  });
  const done = await house.attach();
  t.match(done, { warnings: [], partial: false, output: { hosts: ['one-1', 'one-2'], scanned: true } });
  t.notMatch(JSON.stringify(done), /the-chap-password/);
  const configs = Object.values(house.plugged());
  t.match(configs, [
    { target: '10.9.0.5', targetIQN: iqn, SCSIid: '3600b', chapuser: 'xen' },
    { SCSIid: '3600b' },
  ]);
  t.notMatch(JSON.stringify(configs), /the-chap-password/, 'no PBD shows the password');
  const secrets = configs.map((config) => config['chappassword_secret']);
  t.equal(new Set(secrets).size, 2, 'destroying one PBD must not take the secret of another');
  t.match(await house.compare(), { output: { compared: 1, missing: [] } });
  t.same(await house.isAttached(), { holds: true });
  t.match((await house.attach()).output, { hosts: ['one-1', 'one-2'], scanned: false }, 'again: nothing');
});

t.test('lvmohba: the LUN by its new SCSIid, out of those that are zoned to the hosts', async (t) => {
  const house = await AttachHouse.open(t, 61);
  const [original, copy, other] = [house.lun('3600a'), house.lun('3600b'), house.lun('3600c')];
  house.fabric.fibreChannel.push(
    { hosts: ['two-1'], luns: [original] },
    { hosts: ['one-1', 'one-2'], luns: [other, copy], paths: 4 },
  );
  await house.protect('lvmohba', { SCSIid: '3600a' });
  for (const { row } of house.recovery.pool.hosts) row.set({ multipathing: true });
  house.replicate(original.directory, copy.directory, { kind: 'fc', scsiId: '3600b' });
  t.match(await house.attach(), { warnings: [], output: { hosts: ['one-1', 'one-2'] } });
  t.match(house.plugged(), { 'one-1': { SCSIid: '3600b' }, 'one-2': { SCSIid: '3600b' } });
  t.match(await house.compare(), { output: { missing: [] } });
  const sr = house.recovery.pool.db.byUuid('SR', house.srUuid);
  const [pbd] = sr.rows('PBDs', 'PBD');
  t.match(pbd?.map('other_config'), { multipathed: 'true', 'mpath-3600b': '[4, 4]' });
});

interface FileType {
  readonly type: string;
  readonly before: Readonly<Record<string, string>>;
  readonly shares: readonly (readonly [server: string, path: string])[];
  readonly exposed: Parameters<AttachHouse['replicate']>[2];
  readonly after: Readonly<Record<string, string>>;
}

const fileTypes: readonly FileType[] = [
  {
    type: 'nfs',
    before: { server: 'filer-a', serverpath: '/a', nfsversion: '4' },
    shares: [
      ['filer-a', '/a'],
      ['filer-b', '/b'],
    ],
    exposed: { kind: 'nfs', server: 'filer-b', path: '/b' },
    after: { server: 'filer-b', serverpath: '/b', nfsversion: '4' },
  },
  {
    type: 'smb',
    before: { server: '\\\\filer-a\\a', username: 'u', password: 'the-smb-password' },
    shares: [
      ['filer-a', '\\a'],
      ['filer-b', '\\b'],
    ],
    exposed: { kind: 'smb', server: 'filer-b', path: '/b' },
    after: { server: '\\\\filer-b\\b', username: 'u' },
  },
  {
    type: 'cephfs',
    before: { server: 'm1,m2', serverpath: '/a', options: 'name=xcp' },
    shares: [
      ['m2', '/a'],
      ['n1', '/b'],
    ],
    exposed: { kind: 'cephfs', server: 'n1,n2', path: '/b' },
    after: { server: 'n1,n2', serverpath: '/b', options: 'name=xcp' },
  },
  {
    type: 'glusterfs',
    before: { server: 'g1:/gv0', backupservers: 'g2' },
    shares: [
      ['g2', '/gv0'],
      ['h2', '/gv1'],
    ],
    exposed: { kind: 'gluster', server: 'h1', path: '/gv1', portals: ['h1', 'h2'] },
    after: { server: 'h1:/gv1', backupservers: 'h2' },
  },
  {
    type: 'moosefs',
    before: { masterhost: 'ma', masterport: '9421', rootpath: '/a' },
    shares: [
      ['ma', '/a'],
      ['mb', '/b'],
    ],
    exposed: { kind: 'file', server: 'mb', path: '/b' },
    after: { masterhost: 'mb', masterport: '9421', rootpath: '/b' },
  },
];

t.test('file systems: the directory of the SR under another server and path', async (t) => {
  for (const [index, { type, before, shares, exposed, after }] of fileTypes.entries())
    await t.test(type, async (t) => {
      const house = await AttachHouse.open(t, 62 + index);
      const directories = [house.directory('a'), house.directory('b')];
      const login = { username: 'u', password: 'the-smb-password' };
      for (const [i, [server, path]] of shares.entries())
        house.fabric.shares.push({
          ...{ server, path, directory: directories[i] ?? '' },
          access: () => 'rw',
          ...(type === 'smb' ? { login } : {}),
        });
      await house.protect(type, before);
      house.replicate(house.directory('a'), house.directory('b'), exposed);
      const done = await house.attach();
      t.match(done, { warnings: [], output: { hosts: ['one-1', 'one-2'] } });
      for (const { password_secret: _, ...config } of Object.values(house.plugged())) t.same(config, after);
      t.match(await house.compare(), { output: { missing: [] } });
      t.notMatch(JSON.stringify(done), /the-smb-password/);
    });
});

t.test('ext on a LUN: one host has it, the master where that one sees it', async (t) => {
  const house = await AttachHouse.open(t, 67);
  const [original, copy] = [house.lun('3600a'), house.lun('3600b')];
  const zoned = ['one-1', 'one-2'];
  house.fabric.fibreChannel.push({ hosts: ['two-1'], luns: [original] }, { hosts: zoned, luns: [copy] });
  await house.protect('ext', { device: '/dev/disk/by-id/scsi-3600a' }, false);
  house.replicate(original.directory, copy.directory, { kind: 'fc', scsiId: '3600b' });
  zoned.shift();
  const done = await house.attach();
  t.match(done, { warnings: [], partial: false, output: { hosts: ['one-2'] } });
  t.same(house.plugged(), { 'one-2': { device: '/dev/disk/by-id/scsi-3600b' } });
  t.same(await house.isAttached(), { holds: true }, 'no second PBD is waited for');
  zoned.push('one-1');
  await house.attach();
  t.same(Object.keys(house.plugged()), ['one-2'], 'it stays where it is');
});

t.test('an ISO library: found by its files, at another server', async (t) => {
  const house = await AttachHouse.open(t, 68);
  for (const [server, name] of [
    ['filer-a', 'a'],
    ['filer-b', 'b'],
  ] as const)
    house.fabric.shares.push({
      ...{ server, path: '/iso', directory: house.directory(name) },
      access: () => 'rw',
    });
  writeFileSync(join(house.directory('a'), 'debian.iso'), Buffer.alloc(4096));
  await house.protect('iso', { location: 'filer-a:/iso', type: 'nfs_iso' });
  house.replicate(house.directory('a'), house.directory('b'), {
    ...{ kind: 'nfs', server: 'filer-b', path: '/iso' },
  });
  t.match(await house.attach(), { warnings: [], output: { hosts: ['one-1', 'one-2'] } });
  t.match(house.plugged()['one-1'], { location: 'filer-b:/iso', type: 'nfs_iso' });
  const sr = house.recovery.pool.db.byUuid('SR', house.srUuid);
  t.same(
    sr.rows('VDIs', 'VDI').map((vdi) => vdi.text('location')),
    readdirSync(house.directory('b')),
  );
});
