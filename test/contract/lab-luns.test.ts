/** LUNs of the lab as storage drivers meet them: ladders of probes, masks, CHAP, paths, and copies beside originals. */
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { addStorageManager, fabricOf, type Lun, removeStorageManager } from '../../src/lab/storage/index.ts';
import { type LabRig, labRig, refusal, type Site, struct } from './lab-rig.ts';

type Config = Readonly<Record<string, string>>;

function lunsOf(rig: LabRig) {
  return (scsiId: string, more: Partial<Lun> = {}): Lun => {
    const directory = join(rig.lab.storage, scsiId);
    mkdirSync(directory, { recursive: true });
    const sizeBytes = 2 ** 30;
    return {
      ...{ scsiId, serial: scsiId, vendor: 'ACME', lunId: 0, sizeBytes, directory },
      access: () => 'rw',
      ...more,
    };
  };
}

function on({ pool, call }: Site, type: string) {
  const host = pool.master.row.ref;
  return {
    /** The answer, or code and XML of the refusal. */
    probe: async (config: Config, smConfig: Config = {}): Promise<readonly [string, string]> => {
      const asked = call('SR.probe', host, struct(config), type, struct(smConfig));
      const refused = await refusal(asked);
      return refused[0] === 'done' ? ['done', await asked] : [refused[0] ?? '', refused.at(-1) ?? ''];
    },
    create: (config: Config, shared = true) =>
      call('SR.create', host, struct(config), 0n, 'sr', '', type, 'user', shared, struct()),
    attach: async (uuid: string, config: Config) => {
      const known = pool.db.findByUuid('SR', uuid)?.ref;
      const sr = known ?? (await call('SR.introduce', uuid, 'sr', '', type, 'user', true, struct()));
      const pbd = await call('PBD.create', struct({ host, SR: sr, device_config: struct(config) }));
      return { sr, pbd, plug: await refusal(call('PBD.plug', pbd)) };
    },
  };
}

t.test('Fibre Channel: the list hides what a PBD has; a LUN that is not there holds nothing', async (t) => {
  const rig = await labRig(t, 90);
  const lun = lunsOf(rig);
  const one = rig.site('one');
  const [first, second] = [lun('3600a'), lun('3600b')];
  const elsewhere = lun('3600c', { admits: (address) => address !== '127.90.1.1' });
  fabricOf(one.pool).fibreChannel.push({ hosts: null, luns: [first, second, elsewhere], paths: 2 });
  const { probe, create } = on(one, 'lvmohba');
  const [code, xml] = await probe({});
  t.equal(code, 'SR_BACKEND_FAILURE_107');
  t.match(xml, /<numpaths>2<\/numpaths>\s*<SCSIid>3600a<\/SCSIid>/);
  t.match(xml, /<Adapter>/);
  t.notMatch(xml, /3600c/, 'masked from this host');
  t.match(await probe({ SCSIid: '3600a' }), ['done', /<SRlist\/>/]);
  t.match(await probe({ SCSIid: '3600z' }), ['done', /<SRlist\/>/]);
  const sr = await create({ SCSIid: '3600a' });
  t.match(await probe({ SCSIid: '3600a' }), ['done', one.row('SR', sr).uuid]);
  const after = (await probe({}))[1];
  t.notMatch(after, /3600a/);
  t.match(after, /3600b/);
  t.same(await refusal(create({ SCSIid: '3600a' })), ['SR_DEVICE_IN_USE']);
  t.match(
    (await on(one, 'lvmohba').attach('aaaaaaaa-bbbb-4ccc-8ddd-000000000009', { SCSIid: '3600z' })).plug,
    ['SR_BACKEND_FAILURE_47'],
  );
  t.match(await probe({ SCSIid: '3600a' }, { metadata: 'true' }), [
    'done',
    /<name_label>sr<\/name_label>[\s\S]*pool_metadata_detected>false/,
  ]);
});

t.test('LVM takes either of two LUNs with one volume group where the driver does not look', async (t) => {
  const rig = await labRig(t, 91);
  const lun = lunsOf(rig);
  const [one, two] = [rig.site('one'), rig.site('two')];
  const [original, copy] = [lun('3600a'), lun('3600b')];
  const zones = ['one-1'];
  const fabric = fabricOf(one.pool);
  fabric.fibreChannel.push({ hosts: zones, luns: [original] }, { hosts: null, luns: [copy] });
  const sr = await on(one, 'lvmohba').create({ SCSIid: '3600a' });
  cpSync(original.directory, copy.directory, { recursive: true });
  const { uuid } = one.row('SR', sr);
  zones.push('two-1');
  const { plug, sr: replica } = await on(two, 'lvmohba').attach(uuid, { SCSIid: '3600b' });
  t.same(plug, ['done'], 'nobody objects');
  const disk = await two.createDisk(replica, 'meant for the copy');
  await one.call('SR.scan', sr);
  const written = one.pool.db.findByUuid('VDI', two.row('VDI', disk).uuid);
  t.ok(written, 'and what was meant for the copy is on the original');

  const chap = { user: 'u', password: 'p' };
  const target = { address: '10.9.0.5', port: 3260, iqn: 'iqn.x', chap, luns: [copy] };
  fabric.targets.push(target);
  await two.call('PBD.unplug', two.row('SR', replica).texts('PBDs')[0] ?? '');
  await two.call('SR.forget', replica);
  const config = {
    target: '10.9.0.5',
    targetIQN: 'iqn.x',
    SCSIid: '3600b',
    chapuser: 'u',
    chappassword: 'p',
  };
  const guarded = await on(two, 'lvmoiscsi').attach(uuid, config);
  t.equal(guarded.plug[0], 'SR_BACKEND_FAILURE_119', 'lvmoiscsi looks at LUNs of every adapter');
});

t.test('iSCSI: masks, CHAP in both directions, and paths', async (t) => {
  const rig = await labRig(t, 92);
  const lun = lunsOf(rig);
  const one = rig.site('one');
  const [disk, masked] = [lun('3600a'), lun('3600b', { admits: () => false })];
  let isUp = true;
  const chap = { user: 'u', password: 'p' };
  const common = { port: 3260, iqn: 'iqn.x', chap, incomingChap: { user: 'v', password: 'q' } };
  fabricOf(one.pool).targets.push(
    { ...common, address: '10.9.0.5', luns: [disk, masked], up: () => isUp },
    { ...common, address: '10.9.1.5', luns: [disk, masked] },
  );
  const place = { target: '10.9.0.5,10.9.1.5', targetIQN: 'iqn.x' };
  const { probe, create } = on(one, 'lvmoiscsi');
  t.match(await probe(place), ['SR_BACKEND_FAILURE_68', '']);
  const known = { ...place, chapuser: 'u', chappassword: 'p' };
  const [code, xml] = await probe(known);
  t.equal(code, 'SR_BACKEND_FAILURE_107');
  t.match(xml, /3600a/);
  t.notMatch(xml, /3600b/);
  t.match(await probe({ ...known, incoming_chapuser: 'v', incoming_chappassword: 'x' }), [
    'SR_BACKEND_FAILURE_68',
  ]);
  t.match(await probe({ ...known, incoming_chapuser: 'v', incoming_chappassword: 'q' }), [
    'SR_BACKEND_FAILURE_107',
  ]);
  one.pool.master.row.set({ multipathing: true });
  isUp = false;
  const sr = await create({ ...known, SCSIid: '3600a' });
  const pbd = one.row('PBD', one.row('SR', sr).texts('PBDs')[0] ?? '');
  t.match(pbd.map('other_config'), { multipathed: 'true', 'mpath-3600a': '[1, 2]', iscsi_sessions: '1' });
  await one.call('PBD.unplug', pbd.ref);
  t.same(pbd.map('other_config'), {}, 'the counts go with the sessions');
});

t.test('types of XCP-ng are known once the hosts have them', async (t) => {
  const rig = await labRig(t, 93);
  const one = rig.site('one');
  const directory = rig.directory('one');
  fabricOf(one.pool).shares.push({ server: 'm1', path: '/fs', directory, access: () => 'rw' });
  const { probe, create, attach } = on(one, 'cephfs');
  t.match(await probe({ server: 'm1', serverpath: '/fs' }), ['SR_UNKNOWN_DRIVER', 'cephfs']);
  addStorageManager(one.pool, 'cephfs');
  t.match(await probe({}), ['SR_BACKEND_FAILURE_102', '']);
  t.match(
    await refusal(
      one.call(
        'SR.probe',
        one.pool.master.row.ref,
        struct({ server: 'm9', serverpath: '/fs' }),
        'cephfs',
        struct(),
      ),
    ),
    [...['SR_BACKEND_FAILURE_1200', '', 'mount failed with return code 32']],
  );
  t.match((await attach('aaaaaaaa-bbbb-4ccc-8ddd-000000000008', { server: 'm9', serverpath: '/fs' })).plug, [
    ...['SR_BACKEND_FAILURE_12', '', 'mount failed with return code 32'],
  ]);
  const sr = await create({ server: 'm9,m1', serverpath: '/fs' });
  t.match(await probe({ server: 'm1', serverpath: '/fs' }), ['done', one.row('SR', sr).uuid]);
  t.same(
    await refusal(one.call('SR.probe_ext', one.pool.master.row.ref, struct(), 'cephfs', struct())),
    ['SR_OPERATION_NOT_SUPPORTED'],
    'it is a driver of the first kind',
  );
  removeStorageManager(one.pool, 'cephfs');
  t.match(await probe({ server: 'm1', serverpath: '/fs' }), ['SR_UNKNOWN_DRIVER', 'cephfs']);
});
