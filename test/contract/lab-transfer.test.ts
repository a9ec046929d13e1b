/** What /export_metadata and /import_metadata of the lab do, beyond the recorded conversations (xapi.md 3 and 4). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { DrivenClock } from '../../src/lab/core/clock.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { setVtpmContents, vtpmContents } from '../../src/lab/transfer/vtpm.ts';
import { classes } from '../../src/metadata/datamodel/index.ts';
import {
  add,
  addDisk,
  addNic,
  addSr,
  addVm,
  CallFailed,
  edited,
  eventually,
  LabClient,
  mirrorSr,
  objectsOf,
  refsOf,
} from './lab-client.ts';

const nullRef = 'OpaqueRef:NULL';

interface World {
  readonly lab: Lab;
  readonly prod: LabClient;
  readonly dr: LabClient;
}

/** Two pools with one VM of two disks and one interface in the first, and the replica of its SR in the second. */
async function world(test: Test, clock?: DrivenClock): Promise<World> {
  const storage = mkdtempSync(join(tmpdir(), 'lifeboat-lab-'));
  const lab = await startLab({ world: 'recordings', storage, ...(clock === undefined ? {} : { clock }) });
  test.teardown(async () => {
    await lab.stop();
    rmSync(storage, { recursive: true, force: true });
  });
  return { lab, prod: await LabClient.open(lab, 'prod'), dr: await LabClient.open(lab, 'dr') };
}

function shop(prod: LabClient, name = 'web') {
  const { pool } = prod;
  const sr = pool.db.byName('SR', 'replicated')[0] ?? addSr(pool, 'replicated');
  const vm = addVm(pool, name);
  const disks = [addDisk(pool, sr, vm, '0'), addDisk(pool, sr, vm, '1')];
  const network =
    pool.db.byName('network', 'lan')[0] ?? add(pool, 'network', { name_label: 'lan', bridge: 'xapi9' });
  const nic = addNic(pool, vm, network, '0', '0a:00:00:00:00:01');
  return { sr, vm, disks, network, nic };
}

t.test(
  'an export has the fields of the data model, ids that run on, and ids that no object has',
  async (t) => {
    const { prod } = await world(t);
    const { vm } = shop(prod);
    const first = objectsOf(await prod.export({ uuid: vm.uuid }));
    for (const { class: cls, snapshot } of first)
      t.same(
        Object.keys(snapshot),
        [...(classes.get(cls)?.fields.keys() ?? [])],
        `${cls}: every field, in order`,
      );
    const counts = Object.groupBy(first, (o) => o.class);
    t.same(Object.fromEntries(Object.entries(counts).map(([cls, list]) => [cls, list?.length])), {
      VM: 1,
      VM_metrics: 1,
      VBD: 2,
      VIF: 1,
      network: 1,
      VDI: 2,
      SR: 1,
    });
    const record = counts['VM']?.[0]?.snapshot ?? {};
    const ids = new Set(first.map((o) => o.id));
    t.match(record['suspend_VDI'], /^Ref:\d+$/, 'null is written as an id');
    t.notOk(ids.has(String(record['suspend_VDI'])), 'which belongs to no object');
    t.equal(record['appliance'], nullRef, 'a field that the exporter does not rewrite keeps its reference');
    const second = objectsOf(await prod.export({ uuid: vm.uuid }));
    t.notOk(
      second.some((o) => ids.has(o.id)),
      'the next export has other ids',
    );
  },
);

t.test('with all=true, snapshots left out become ordinary VMs', async (t) => {
  const { prod } = await world(t);
  const { vm } = shop(prod);
  addVm(prod.pool, 'before the update', { is_a_snapshot: true, snapshot_of: vm.ref, is_a_template: true });
  addVm(prod.pool, 'default', { is_default_template: true, is_a_template: true });
  const named = (archive: Buffer) =>
    objectsOf(archive)
      .filter((o) => o.class === 'VM')
      .map((o) => [o.snapshot['name_label'], o.snapshot['is_a_snapshot']]);
  const trap = named(await prod.export({ all: 'true', export_snapshots: 'false', include_dom0: 'false' }));
  t.same(
    new Map(trap as [string, boolean][]),
    new Map([
      ['web', false],
      ['before the update', false],
    ]),
  );
  const whole = named(await prod.export({ all: 'true', include_dom0: 'false' }));
  t.same(
    new Map(whole as [string, boolean][]),
    new Map([
      ['web', false],
      ['before the update', true],
    ]),
  );
  const single = named(await prod.export({ uuid: vm.uuid, export_snapshots: 'false' }));
  t.same(single, [['web', false]], 'with one VM they stay out');
});

t.test('an export of nothing is an error', async (t) => {
  const { prod } = await world(t);
  await t.rejects(
    prod.export({ all: 'true', include_dom0: 'false' }),
    new CallFailed(['INTERNAL_ERROR', 'Failure("need to specify at least one VM")']),
  );
});

t.test('a busy VM makes the export wait for two minutes, and spoils the export of all', async (t) => {
  const clock = new DrivenClock();
  const { prod } = await world(t, clock);
  const { vm } = shop(prod);
  vm.put('current_operations', 'OpaqueRef:busy', 'snapshot');
  for (const query of [{ uuid: vm.uuid }, { all: 'true' }]) {
    const attempt = prod.export(query).then(
      () => ['no error'],
      (error: CallFailed) => error.description,
    );
    await eventually(() => clock.waiting > 0);
    await clock.advance(121);
    t.same(await attempt, ['OTHER_OPERATION_IN_PROGRESS', 'VM', vm.ref, 'snapshot', 'OpaqueRef:busy']);
  }
  t.same(
    prod.pool.db.all('VM').flatMap((row) => Object.values(row.map('current_operations'))),
    ['snapshot'],
    'no lock of the export is left on any VM',
  );
  vm.drop('current_operations', 'OpaqueRef:busy');
  vm.put('current_operations', 'OpaqueRef:move', 'migrate_send');
  t.ok((await prod.export({ uuid: vm.uuid })).length > 0, 'a migration is no obstacle');
});

t.test('without a task of the client nobody can ask how an import ended', async (t) => {
  const { prod, dr } = await world(t);
  const archive = await prod.export({ uuid: addVm(prod.pool, 'web').uuid });
  const before = dr.pool.db.count('task');
  const answer = await dr.send('PUT', '/import_metadata', { session_id: dr.session }, archive);
  t.equal(answer.status, 200);
  const task = String(answer.headers['task-id']);
  await eventually(() => dr.pool.db.count('task') === before);
  t.equal(dr.pool.db.byName('VM', 'web').length, 1);
  await t.rejects(dr.call('task.get_record', task), new CallFailed(['HANDLE_INVALID', 'task', task]));
});

t.test('every export makes an event of its VM', async (t) => {
  const { prod } = await world(t);
  const { vm } = shop(prod);
  const before = vm.modified;
  await prod.export({ uuid: vm.uuid });
  t.ok(vm.modified > before);
});

t.test(
  'the version counter: a copy is one ahead, is not replaced by the same file, and may go back home',
  async (t) => {
    const { prod, dr } = await world(t);
    const { vm, sr } = shop(prod);
    mirrorSr(sr, prod.pool, dr.pool);
    const archive = await prod.export({ uuid: vm.uuid });
    const first = await dr.import(archive, { restore: 'true' });
    t.equal(first.status, 'success');
    const copy = dr.pool.db.byUuid('VM', vm.uuid);
    t.equal(copy.int('version'), 1n);
    t.same(refsOf(first.result), [copy.ref]);
    t.same(await dr.refused(archive, { restore: 'true' }), [
      'VM_TO_IMPORT_IS_NOT_NEWER_VERSION',
      copy.ref,
      '1',
      '0',
    ]);
    t.equal(
      (await dr.import(archive, { restore: 'true', force: 'true' })).status,
      'success',
      'force replaces',
    );
    t.notOk(copy.alive, 'the old record is gone');
    const back = await dr.export({ uuid: vm.uuid });
    t.equal((await prod.import(back, { restore: 'true' })).status, 'success');
    t.equal(prod.pool.db.byUuid('VM', vm.uuid).int('version'), 2n);
  },
);

t.test('an import that fails takes back what it made; with force it stays', async (t) => {
  const { prod, dr } = await world(t);
  const one = shop(prod, 'one');
  const two = shop(prod, 'two');
  mirrorSr(one.sr, prod.pool, dr.pool);
  const archive = edited(await prod.export({ all: 'true', include_dom0: 'false' }), (objects) => {
    for (const o of objects)
      if (o.class === 'VBD' && o.snapshot['userdevice'] === '1') o.snapshot['userdevice'] = '0';
    return undefined;
  });
  const networks = dr.pool.db.count('network');
  const vms = dr.pool.db.count('VM');
  t.match(await dr.refused(archive, { restore: 'true' }), ['DEVICE_ALREADY_EXISTS']);
  t.equal(dr.pool.db.findByUuid('VM', one.vm.uuid), undefined);
  t.same([dr.pool.db.count('VM'), dr.pool.db.count('network'), dr.pool.db.count('VBD')], [vms, networks, 0]);
  t.match(await dr.refused(archive, { restore: 'true', force: 'true' }), ['DEVICE_ALREADY_EXISTS']);
  t.ok(dr.pool.db.findByUuid('VM', two.vm.uuid), 'half an import is left behind');
});

t.test(
  'a disk is found by the map, by SCSIid, by location, or by the key of storage migration',
  async (t) => {
    const { prod, dr } = await world(t);
    const { vm, disks, sr } = shop(prod);
    const target = addSr(dr.pool, 'other');
    const byId = add(dr.pool, 'VDI', {
      SR: target.ref,
      location: 'elsewhere',
      type: 'user',
      sm_config: { SCSIid: '3600a' },
    });
    const byMap = add(dr.pool, 'VDI', { SR: target.ref, location: 'mapped', type: 'user' });
    disks[0]?.set({ sm_config: { SCSIid: '3600a' } });
    disks[1]?.set({ other_config: { maps_to: byMap.ref } });
    const archive = await prod.export({ uuid: vm.uuid });
    const found = async (query: Record<string, string>): Promise<unknown> => {
      const end = await dr.import(archive, query);
      if (end.status !== 'success') return end.error;
      const row = dr.pool.db.row('VM', refsOf(end.result)[0] ?? '');
      return Object.fromEntries(
        row.rows('VBDs', 'VBD').map((vbd) => [vbd.text('userdevice'), vbd.text('VDI')]),
      );
    };
    t.same(await found({}), { 0: byId.ref, 1: byMap.ref });
    t.same(await found({ 'vdi:3600a': byMap.uuid }), { 0: byMap.ref, 1: byMap.ref }, 'the map goes first');
    disks[1]?.set({ other_config: {} });
    const plain = await prod.export({ uuid: vm.uuid });
    t.same(await dr.refused(plain), ['VDI_CONTENT_ID_MISSING'], 'the SR is not known here');
    const copy = mirrorSr(sr, prod.pool, dr.pool);
    dr.pool.db.byUuid('VDI', disks[1]?.uuid ?? '').destroy();
    t.same(await dr.refused(plain), ['VDI_LOCATION_MISSING', copy.ref, disks[1]?.uuid]);
    const orphan = edited(plain, (objects) => objects.filter((o) => o.class !== 'SR'));
    t.match(await dr.refused(orphan), ['IMPORT_ERROR_FAILED_TO_FIND_OBJECT', /^Ref:/]);
  },
);

t.test(
  'an attached disk that is missing is refused even with force, and attached flags come along',
  async (t) => {
    const { prod, dr } = await world(t);
    const { vm, sr } = shop(prod);
    for (const vbd of vm.rows('VBDs', 'VBD')) vbd.set({ currently_attached: true });
    vm.set({ power_state: 'Running' });
    const archive = await prod.export({ uuid: vm.uuid });
    t.same(await dr.refused(archive, { restore: 'true', force: 'true' }), [
      'IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND',
    ]);
    mirrorSr(sr, prod.pool, dr.pool);
    t.equal((await dr.import(archive, { restore: 'true', force: 'true' })).status, 'success');
    const copy = dr.pool.db.byUuid('VM', vm.uuid);
    t.equal(copy.text('power_state'), 'Halted');
    t.same(
      copy.rows('VBDs', 'VBD').map((vbd) => vbd.bool('currently_attached')),
      [true, true],
    );
    t.same(
      copy.rows('VIFs', 'VIF').map((vif) => vif.bool('currently_attached')),
      [false],
    );
  },
);

t.test('a suspended VM needs its memory image; with force it comes back Halted', async (t) => {
  const { prod, dr } = await world(t);
  const { vm, sr } = shop(prod);
  const image = add(prod.pool, 'VDI', { SR: sr.ref, type: 'suspend', location: 'image' });
  vm.set({ power_state: 'Suspended', suspend_VDI: image.ref, last_booted_record: 'then' });
  const archive = await prod.export({ uuid: vm.uuid });
  mirrorSr(sr, prod.pool, dr.pool);
  t.equal((await dr.import(archive, { restore: 'true' })).status, 'success');
  const copy = dr.pool.db.byUuid('VM', vm.uuid);
  t.equal(copy.text('power_state'), 'Suspended');
  t.equal(copy.row('suspend_VDI', 'VDI')?.text('location'), 'image');
  t.same(await dr.refused(archive, { restore: 'true' }), [
    'VM_BAD_POWER_STATE',
    copy.ref,
    'Halted',
    'Suspended',
  ]);
  const lost = edited(archive, (objects) => objects.filter((o) => o.snapshot['location'] !== 'image'));
  t.match(await dr.refused(lost), ['IMPORT_ERROR_FAILED_TO_FIND_OBJECT', /^Ref:/]);
  const forced = await dr.import(lost, { force: 'true' });
  t.equal(dr.pool.db.row('VM', refsOf(forced.result)[0] ?? '').text('power_state'), 'Halted');
});

t.test(
  'snapshots find their VM again; alone they are the result; without their VM they are refused',
  async (t) => {
    const { prod, dr } = await world(t);
    const vm = addVm(prod.pool, 'web');
    const snapshot = addVm(prod.pool, 'snap', {
      is_a_snapshot: true,
      is_a_template: true,
      snapshot_of: vm.ref,
      other_config: { mac_seed: 'seed of web' },
    });
    vm.set({ parent: snapshot.ref });
    const both = await prod.export({ uuid: vm.uuid });
    const end = await dr.import(both, { restore: 'true' });
    const copy = dr.pool.db.byUuid('VM', vm.uuid);
    t.same(refsOf(end.result), [copy.ref], 'snapshots are left out of the result');
    t.same(
      copy.rows('snapshots', 'VM').map((s) => s.uuid),
      [snapshot.uuid],
    );
    t.equal(copy.row('parent', 'VM')?.uuid, snapshot.uuid);
    const alone = await prod.export({ uuid: snapshot.uuid });
    const orphaned = edited(both, (objects) => objects.filter((o) => o.snapshot['name_label'] !== 'web'));
    t.match(
      await dr.refused(orphaned),
      ['IMPORT_ERROR_FAILED_TO_FIND_OBJECT', /^Ref:/],
      'the VM of the snapshot is not in the file',
    );
    const only = await dr.import(alone);
    t.equal(dr.pool.db.row('VM', refsOf(only.result)[0] ?? '').text('name_label'), 'snap');
  },
);

t.test('the seed check spares the VM itself and its snapshots, and nothing else', async (t) => {
  const { prod, dr } = await world(t);
  const vm = addVm(prod.pool, 'web');
  const archive = await prod.export({ uuid: vm.uuid });
  await dr.import(archive, { restore: 'true' });
  const copy = dr.pool.db.byUuid('VM', vm.uuid);
  const seed = 'seed of web';
  addVm(dr.pool, 'snap', { is_a_snapshot: true, snapshot_of: copy.ref, other_config: { mac_seed: seed } });
  t.equal((await dr.import(archive, { restore: 'true', force: 'true' })).status, 'success');
  dr.pool.db.byUuid('VM', vm.uuid).destroy();
  t.same(
    await dr.refused(archive, { restore: 'true', force: 'true', dry_run: 'true' }),
    ['DUPLICATE_MAC_SEED', seed],
    'the snapshot that was left behind has no VM any more',
  );
});

t.test('what is lost, and what becomes of old fields', async (t) => {
  const { prod, dr } = await world(t);
  const vm = addVm(prod.pool, 'old', {
    ha_restart_priority: '2',
    blocked_operations: { start: 'fenced' },
    other_config: { mac_seed: 'seed', grant_api_access: 'x', default_template: 'true' },
    memory_static_max: 4096n,
    memory_dynamic_max: 2048n,
    generation_id: '',
    tags: ['gold'],
  });
  const archive = edited(await prod.export({ uuid: vm.uuid }), (objects) => {
    for (const o of objects) {
      if (o.class !== 'VM') continue;
      delete o.snapshot['parent'];
      delete o.snapshot['has_vendor_device'];
      o.snapshot['invented_by_a_newer_xapi'] = 'x';
    }
    return undefined;
  });
  t.equal((await dr.import(archive, { restore: 'true' })).status, 'success');
  const copy = dr.pool.db.byUuid('VM', vm.uuid);
  t.equal(copy.text('ha_restart_priority'), 'restart');
  t.equal(copy.int('order'), 2n);
  t.same({ ...copy.map('blocked_operations') }, {});
  t.same(Object.keys(copy.map('other_config')).sort(), ['import_task', 'mac_seed']);
  t.equal(copy.int('memory_dynamic_max'), 4096n, 'a file from before ballooning has no dynamic range');
  t.equal(copy.text('generation_id'), '', 'an empty generation id stays empty');
  t.equal(copy.bool('has_vendor_device'), false);
  t.equal(copy.map('platform')['device-model'], 'qemu-upstream-compat');
  t.same(copy.texts('tags'), ['gold']);
});

t.test('gates: version, missing and wrong fields, default templates', async (t) => {
  const { prod, dr } = await world(t);
  const vm = addVm(prod.pool, 'web');
  const archive = await prod.export({ uuid: vm.uuid });
  const versioned = (major: string, minor: string) =>
    edited(archive, (_objects, version) => {
      Object.assign(version, { xapi_major: major, xapi_minor: minor });
      return undefined;
    });
  for (const [major, minor, accepted] of [
    ['26', '18', false],
    ['27', '0', false],
    ['26', '16', true],
    ['1', '249', true],
  ] as const) {
    const end = await dr.import(versioned(major, minor), { restore: 'true', dry_run: 'true', force: 'true' });
    t.same(end.error, accepted ? [] : ['IMPORT_INCOMPATIBLE_VERSION'], `a file of ${major}.${minor}`);
  }
  const without = (field: string, value?: string) =>
    edited(archive, (objects) => {
      for (const o of objects) {
        if (o.class !== 'VM') continue;
        if (value === undefined) delete o.snapshot[field];
        else o.snapshot[field] = value;
      }
      return undefined;
    });
  t.same(await dr.refused(without('uuid'), { restore: 'true' }), [
    'INTERNAL_ERROR',
    'Failure("Field uuid not present in rpc")',
  ]);
  t.same(await dr.refused(without('power_state', 'Asleep'), { restore: 'true' }), [
    'INTERNAL_ERROR',
    'Failure("Unknown tag/contents")',
  ]);
  const template = addVm(prod.pool, 'Debian', { is_default_template: true, is_a_template: true });
  const mine = addVm(dr.pool, 'Debian', { other_config: {} });
  const end = await dr.import(await prod.export({ uuid: template.uuid }), {
    restore: 'true',
    dry_run: 'true',
  });
  t.same(refsOf(end.result), [mine.ref], 'any VM of the name stands for a default template');
});

t.test('virtual TPMs: the secret travels, and a uuid is used once', async (t) => {
  const { prod, dr } = await world(t);
  const vm = addVm(prod.pool, 'sealed');
  const vtpm = add(prod.pool, 'VTPM', { VM: vm.ref, is_unique: true });
  setVtpmContents(vtpm, 'c2VjcmV0');
  const archive = await prod.export({ uuid: vm.uuid });
  t.equal(objectsOf(archive).find((o) => o.class === 'VTPM')?.snapshot["vTPM'_content"], 'c2VjcmV0');
  t.equal((await dr.import(archive, { restore: 'true' })).status, 'success');
  const copy = dr.pool.db.byUuid('VTPM', vtpm.uuid);
  t.equal(vtpmContents(copy), 'c2VjcmV0');
  dr.pool.db.byUuid('VM', vm.uuid).set({ uuid: '00000000-0000-4000-8000-000000000001', other_config: {} });
  t.same(await dr.refused(archive, { restore: 'true' }), [
    'IMPORT_ERROR',
    `A VTPM with UUID ${vtpm.uuid} already exists`,
  ]);
  t.equal(
    objectsOf(await prod.export({ uuid: vm.uuid, excluded_device_types: 'vtpm' })).some(
      (o) => o.class === 'VTPM',
    ),
    false,
  );
});

t.test('graphics and PVS: a group must be there, a type is made, a proxy is dropped', async (t) => {
  const { prod, dr } = await world(t);
  const { vm, nic } = shop(prod);
  const { db } = prod.pool;
  const group = add(prod.pool, 'GPU_group', { name_label: 'cards', GPU_types: ['10de/13f2'] });
  const type = add(prod.pool, 'VGPU_type', {
    vendor_name: 'NVIDIA',
    model_name: 'T4',
    identifier: 'i-1',
    implementation: 'nvidia',
  });
  add(prod.pool, 'VGPU', { VM: vm.ref, GPU_group: group.ref, type: type.ref, device: '0' });
  const site = add(prod.pool, 'PVS_site', { name_label: 'site', PVS_uuid: 'pvs-1' });
  add(prod.pool, 'PVS_proxy', { VIF: nic.ref, site: site.ref });
  const archive = await prod.export({ uuid: vm.uuid });
  mirrorSr(db.byName('SR', 'replicated')[0] ?? addSr(prod.pool, 'none'), prod.pool, dr.pool);
  t.match(await dr.refused(archive, { restore: 'true', force: 'true' }), [
    'IMPORT_ERROR',
    /Unable to find GPU group with matching GPU_types = '\[10de\/13f2\]'/,
  ]);
  const left = dr.pool.db.byUuid('VM', vm.uuid);
  left.destroy();
  const here = add(dr.pool, 'GPU_group', { GPU_types: ['10de/13f2'] });
  t.equal((await dr.import(archive, { restore: 'true' })).status, 'success');
  const copy = dr.pool.db.byUuid('VM', vm.uuid);
  t.equal(copy.rows('VGPUs', 'VGPU')[0]?.text('GPU_group'), here.ref);
  t.equal(dr.pool.db.all('VGPU_type').filter((row) => row.text('identifier') === 'i-1').length, 1);
  t.equal(dr.pool.db.count('PVS_proxy'), 0);
  const noNics = objectsOf(await prod.export({ uuid: vm.uuid, excluded_device_types: 'vif' }));
  t.equal(
    noNics.find((o) => o.class === 'PVS_proxy')?.snapshot['VIF'],
    nullRef,
    'proxies come along without NICs',
  );
});

t.test('high availability refuses disks and networks that not every host reaches', async (t) => {
  const { prod, dr } = await world(t);
  const { vm, sr } = shop(prod);
  vm.set({ ha_always_run: true, ha_restart_priority: 'restart' });
  const archive = await prod.export({ uuid: vm.uuid });
  const copy = mirrorSr(sr, prod.pool, dr.pool);
  dr.pool.row.set({ ha_enabled: true });
  t.same(await dr.refused(archive, { restore: 'true' }), ['HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED', copy.ref]);
  t.equal(
    (await dr.import(archive, { restore: 'true', dry_run: 'true' })).status,
    'success',
    'a dry run does not see it',
  );
  for (const host of dr.pool.hosts)
    add(dr.pool, 'PBD', { SR: copy.ref, host: host.row.ref, currently_attached: true });
  t.match(await dr.refused(archive, { restore: 'true' }), ['HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED']);
});

t.test('a body may be plain, gzip or zstd', async (t) => {
  const { prod, dr } = await world(t);
  const archive = await prod.export({ uuid: addVm(prod.pool, 'web').uuid });
  const query = { restore: 'true', dry_run: 'true' };
  for (const [name, body] of [
    ['plain', archive],
    ['gzip', gzipSync(archive)],
    ['zstd', zstdCompressSync(archive)],
    ['padded to a record of tar', Buffer.concat([archive, Buffer.alloc(10240 - (archive.length % 10240))])],
  ] as const)
    t.equal((await dr.import(body, query)).status, 'success', name);
  t.same(await dr.refused(gzipSync(archive).fill(0, 20, 40), query), ['INTERNAL_ERROR', 'End_of_file']);
});

t.test('a disk image is not carried by /export and /import', async (t) => {
  const { prod, dr } = await world(t);
  const { vm } = shop(prod);
  const bare = addVm(prod.pool, 'bare');
  const get = async (uuid: string) => {
    const task = await prod.task();
    const answer = await prod.send('GET', '/export', { session_id: prod.session, task_id: task, uuid });
    return { answer, end: await prod.ended(task) };
  };
  t.same((await get(vm.uuid)).end.error, ['NOT_IMPLEMENTED', 'http/get_export']);
  const { answer } = await get(bare.uuid);
  t.equal(answer.status, 200);
  bare.set({ power_state: 'Running' });
  t.match((await get(bare.uuid)).end.error, ['VM_BAD_POWER_STATE', bare.ref]);
  const sr = addSr(dr.pool, 'any');
  const task = await dr.task();
  const put = await dr.send(
    'PUT',
    '/import',
    { session_id: dr.session, task_id: task, sr_uuid: sr.uuid },
    answer.body,
  );
  t.equal(put.status, 200);
  t.equal((await dr.ended(task)).status, 'success');
  t.equal(dr.pool.db.byName('VM', 'bare').length, 1);
});
