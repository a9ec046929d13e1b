/** VDI: create, destroy, snapshot, clone, copy, introduce, forget, resize (xapi.md 5.2, 7.8, 7.10, 9.1). */
import { createHash, randomUUID } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail, internal } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { epoch, isStruct, nullRef, type Struct, struct } from '../core/values.ts';
import type { DiskDirectory } from './directory.ts';
import type { Backend } from './driver.ts';
import { backendFailure } from './errors.ts';
import { markDirty, updateSizes } from './scan.ts';
import { backendOf, driverOf, isBare, pluggedPbds, storageState } from './state.ts';
import { roundedSize } from './vhd.ts';

export function installVdis(registry: Registry): void {
  registry.on('VDI.create', (call) => createFromRecord(call).ref);
  registry.on('VDI.destroy', (call) => {
    destroyVdi(call.pool, call.row('VDI'));
    return '';
  });
  registry.on('VDI.snapshot', (call) => {
    const vdi = call.row('VDI');
    if (vdi.bool('sharable')) fail('VDI_IS_SHARABLE', vdi.ref);
    return snapshotVdi(call.pool, vdi).ref;
  });
  registry.on('VDI.clone', (call) => cloneVdi(call.pool, call.row('VDI')).ref);
  registry.on('VDI.copy', copyCall);
  registry.on('VDI.introduce', introduce);
  registry.on('VDI.forget', (call) => {
    const vdi = call.row('VDI');
    checkNotAttached(vdi, 'forget');
    vdi.destroy();
    return '';
  });
  // No disk of the lab holds the database of another pool.
  registry.on('VDI.read_database_pool_uuid', (call) => {
    call.row('VDI');
    return '';
  });
  registry.on('VDI.open_database', (call) => {
    const vdi = call.row('VDI');
    if (vdi.text('type') !== 'metadata') fail('VDI_INCOMPATIBLE_TYPE', vdi.ref, vdi.text('type'));
    fail('NOT_IMPLEMENTED', 'VDI.open_database');
  });
  registry.on('VDI.resize', (call) => resize(call, false));
  registry.on('VDI.resize_online', (call) => resize(call, true));
  registry.on('VDI.update', (call) => {
    const vdi = call.row('VDI');
    checkNotAttached(vdi, 'update');
    backendOf(call.pool, srOf(vdi));
    return '';
  });
  // The driver keeps names, so it is asked; what a driver alone may set is refused.
  for (const field of ['name_label', 'name_description'] as const)
    registry.on(`VDI.set_${field}`, (call) => {
      const vdi = call.row('VDI');
      const sr = srOf(vdi);
      if (!isBare(call.pool, sr)) backendOf(call.pool, sr);
      vdi.set({ [field]: call.text(1) });
      return '';
    });
  for (const field of ['sharable', 'read_only'] as const)
    registry.on(`VDI.set_${field}`, (call) => {
      call.row('VDI');
      fail('PERMISSION_DENIED', '');
    });
  for (const field of ['on_boot', 'allow_caching'] as const)
    registry.on(`VDI.set_${field}`, (call) => {
      const vdi = call.row('VDI');
      for (const vbd of vdi.rows('VBDs', 'VBD')) {
        const vm = vbd.row('VM', 'VM');
        const state = vm?.text('power_state').toLowerCase() ?? 'halted';
        if (vm !== undefined && state !== 'halted') fail('VM_BAD_POWER_STATE', vm.ref, 'halted', state);
      }
      if (field === 'on_boot') {
        const sr = srOf(vdi);
        needCapability(call.pool, sr, 'VDI_RESET_ON_BOOT');
        checkNotAttached(vdi, 'set_on_boot');
        backendOf(call.pool, sr);
      }
      vdi.set({ [field]: call.params[1] ?? '' });
      return '';
    });
}

export function srOf(vdi: Row): Row {
  return vdi.row('SR', 'SR') ?? fail('HANDLE_INVALID', 'SR', vdi.text('SR'));
}

/** Version 5 uuid of the metadata backup's disk: one for each SR (xapi.md 5.2). */
export function metadataBackupUuid(sr: string): string {
  const namespace = Buffer.from('e93e06392bdb4a598b46352b3f408c19', 'hex');
  const hash = createHash('sha1').update(namespace).update(sr.toLowerCase()).digest().subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** What the storage manager lets a VHD have. */
const maxVhdBytes = 2040n * 1024n ** 3n;

function createFromRecord(call: Call): Row {
  const { pool } = call;
  const record = call.struct(0);
  const sr = pool.db.row('SR', typeof record['SR'] === 'string' ? record['SR'] : nullRef);
  const size = typeof record['virtual_size'] === 'bigint' ? record['virtual_size'] : 0n;
  const smConfig = isStruct(record['sm_config']) ? (record['sm_config'] as Record<string, string>) : {};
  return createVdi(pool, sr, size, smConfig, record);
}

/** Makes a disk and its record; `fields` are those of the record that are the creator's. */
export function createVdi(
  pool: LabPool,
  sr: Row,
  size: bigint,
  smConfig: Readonly<Record<string, string>>,
  fields: Struct,
): Row {
  needCapability(pool, sr, 'VDI_CREATE');
  const type = fields['type'] ?? 'user';
  const backend = backendOf(pool, sr);
  if (type === 'cbt_metadata') fail('VDI_INCOMPATIBLE_TYPE', '', 'cbt_metadata');
  const disks = disksOf(pool, sr, backend, 'VDI_CREATE');
  const name = fields['name_label'] ?? '';
  const uuid =
    type === 'user' && name === 'Pool Metadata Backup' ? metadataBackupUuid(sr.uuid) : randomUUID();
  if (size < 0n || size > maxVhdBytes) backendFailure(79, 'VDI size must be between 1 MB and 2088960 MB');
  if (disks.find(uuid) !== null) backendFailure(43, `VDI ${uuid} already exists`);
  checkRoom(pool, sr, backend, Number(size));
  const disk = disks.create(
    uuid,
    Math.max(Number(size), 1),
    smConfig['type'] === 'raw' ? 'raw' : 'vhd',
    pool.clock.now(),
  );
  const row = pool.db.create('VDI', {
    metadata_of_pool: '',
    ...creatorsFields(fields),
    uuid,
    location: uuid,
    SR: sr.ref,
    virtual_size: BigInt(disk.virtualSize),
    physical_utilisation: BigInt(disk.physicalSize),
    sm_config: struct(smConfig),
    managed: true,
  });
  settle(sr, backend);
  return row;
}

const creators = [
  'name_label',
  'name_description',
  'type',
  'sharable',
  'read_only',
  'other_config',
  'xenstore_data',
  'tags',
];

function creatorsFields(record: Struct): Struct {
  const fields: Struct = {};
  for (const name of creators) {
    const value = record[name];
    if (value !== undefined) fields[name] = value;
  }
  return fields;
}

/** What a driver cannot do is refused before anybody looks whether the SR is plugged. */
function needCapability(pool: LabPool, sr: Row, capability: string): void {
  if (!driverOf(pool, sr.text('type')).capabilities.includes(capability))
    fail('SR_OPERATION_NOT_SUPPORTED', sr.ref);
}

/** The disk directory of an SR that can do something; `SR_OPERATION_NOT_SUPPORTED [sr]` otherwise. */
function disksOf(pool: LabPool, sr: Row, backend: Backend, capability: string): DiskDirectory {
  needCapability(pool, sr, capability);
  if (backend.disks === null) fail('SR_OPERATION_NOT_SUPPORTED', sr.ref);
  const access = backend.access();
  if (access === 'none') backendFailure(46, 'Stale file handle');
  if (access === 'ro') backendFailure(461);
  return backend.disks;
}

function checkRoom(pool: LabPool, sr: Row, backend: Backend, bytes: number): void {
  if (storageState(pool).full.has(sr.ref)) backendFailure(44, 'no room');
  if (backend.lun === null) return;
  const { total, used } = backend.space();
  if (used + roundedSize(bytes) > total)
    backendFailure(44, `VDI required: ${roundedSize(bytes)} bytes, SR free: ${total - used} bytes`);
}

/** Sizes after a change, and the mark for the background scanner. */
function settle(sr: Row, backend: Backend): void {
  updateSizes(sr, backend);
  markDirty(sr);
}

/** Disks that a VM holds cannot go. */
function checkNotAttached(vdi: Row, operation: string): void {
  if (vdi.rows('VBDs', 'VBD').some((vbd) => vbd.bool('currently_attached')))
    fail('VDI_IN_USE', vdi.ref, operation);
}

/** What lies under clones is the driver's own. */
function needManaged(vdi: Row): void {
  if (!vdi.bool('managed')) fail('VDI_NOT_MANAGED', vdi.ref);
}

export function destroyVdi(pool: LabPool, vdi: Row): void {
  const sr = srOf(vdi);
  checkNotAttached(vdi, 'destroy');
  needCapability(pool, sr, 'VDI_DELETE');
  const backend = backendOf(pool, sr);
  needManaged(vdi);
  disksOf(pool, sr, backend, 'VDI_DELETE').delete(vdi.text('location'));
  const vbds = vdi.rows('VBDs', 'VBD');
  const suspended = pool.db.all('VM').filter((vm) => vm.text('suspend_VDI') === vdi.ref);
  for (const vm of suspended) vm.set({ suspend_VDI: nullRef });
  vdi.destroy();
  // xapi does this one at once; only disks that vanish otherwise wait for the collector.
  for (const vbd of vbds) releaseVbd(vbd);
  settle(sr, backend);
}

/** What becomes of a VBD whose disk is gone: a drive is empty, anything else goes too (xapi.md 7.9). */
export function releaseVbd(vbd: Row): void {
  if (vbd.text('type') === 'CD') vbd.set({ VDI: nullRef, empty: true });
  else vbd.destroy();
}

export function snapshotVdi(pool: LabPool, vdi: Row): Row {
  return split(pool, vdi, 'VDI_SNAPSHOT', {
    is_a_snapshot: true,
    snapshot_of: vdi.ref,
    snapshot_time: pool.now(),
    metadata_of_pool: nullRef,
  });
}

export function cloneVdi(pool: LabPool, vdi: Row): Row {
  return split(pool, vdi, 'VDI_CLONE', {});
}

/** A disk that is marked as attached to a VM which does not run: what an import of a running VM leaves (xapi.md 4.6). */
function checkNoStaleMark(vdi: Row, operation: string): void {
  const stale = vdi
    .rows('VBDs', 'VBD')
    .some((vbd) => vbd.bool('currently_attached') && vbd.row('VM', 'VM')?.text('power_state') === 'Halted');
  if (stale) fail('VDI_IN_USE', vdi.ref, operation);
}

function split(pool: LabPool, vdi: Row, capability: string, more: Struct): Row {
  checkNoStaleMark(vdi, capability === 'VDI_CLONE' ? 'clone' : 'snapshot');
  const sr = srOf(vdi);
  needCapability(pool, sr, capability);
  const backend = backendOf(pool, sr);
  const disks = disksOf(pool, sr, backend, capability);
  needManaged(vdi);
  const location = vdi.text('location');
  const disk = disks.find(location) ?? backendFailure(46, `VDI ${location} not found`);
  if (disk.format === 'raw') fail('SR_OPERATION_NOT_SUPPORTED', sr.ref);
  checkRoom(pool, sr, backend, disk.virtualSize);
  const child = randomUUID();
  const base = randomUUID();
  const { baseMade } = disks.split(location, child, base, pool.clock.now());
  const parentOf = (uuid: string): string => disks.find(uuid)?.parent ?? '';
  if (baseMade) {
    const made = disks.find(base);
    pool.db.create('VDI', {
      uuid: base,
      location: base,
      SR: sr.ref,
      name_label: 'base copy',
      virtual_size: vdi.int('virtual_size'),
      physical_utilisation: BigInt(made?.physicalSize ?? 0),
      managed: false,
      type: vdi.text('type'),
      sm_config:
        made?.parent === undefined || made.parent === null ? struct() : struct({ 'vhd-parent': made.parent }),
    });
  }
  vdi.put('sm_config', 'vhd-parent', parentOf(location));
  const made = pool.db.create('VDI', {
    uuid: child,
    location: child,
    SR: sr.ref,
    name_label: vdi.text('name_label'),
    name_description: vdi.text('name_description'),
    type: vdi.text('type'),
    sharable: vdi.bool('sharable'),
    virtual_size: vdi.int('virtual_size'),
    physical_utilisation: BigInt(disks.find(child)?.physicalSize ?? 0),
    other_config: struct(vdi.map('other_config')),
    xenstore_data: struct(vdi.map('xenstore_data')),
    tags: [...vdi.texts('tags')],
    on_boot: vdi.text('on_boot'),
    allow_caching: vdi.bool('allow_caching'),
    sm_config: struct({ 'vhd-parent': parentOf(child) }),
    managed: true,
    ...more,
  });
  settle(sr, backend);
  return made;
}

/** A full copy into an SR, as VM.copy and VDI.copy make it. */
export function copyVdi(pool: LabPool, vdi: Row, target: Row): Row {
  const written = vdi
    .rows('VBDs', 'VBD')
    .some((vbd) => vbd.bool('currently_attached') && vbd.text('mode') === 'RW');
  if (written) fail('VDI_IN_USE', vdi.ref, 'copy');
  if (vdi.text('on_boot') === 'reset') fail('VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION');
  // xapi looks for a host that sees the source, and has no words for finding none.
  if (pluggedPbds(pool, srOf(vdi)).length === 0) internal('Not_found');
  const source = backendOf(pool, srOf(vdi));
  needManaged(vdi);
  const backend = backendOf(pool, target);
  const disks = disksOf(pool, target, backend, 'VDI_CREATE');
  checkRoom(pool, target, backend, Number(vdi.int('virtual_size')));
  const uuid = randomUUID();
  const from = source.open(vdi.text('location'), 'r');
  try {
    disks.create(uuid, from.virtualSize, 'vhd', pool.clock.now());
    const to = disks.open(uuid, 'r+');
    try {
      disks.fill(from, to);
    } finally {
      to.close();
    }
  } finally {
    from.close();
  }
  const row = pool.db.create('VDI', {
    uuid,
    location: uuid,
    SR: target.ref,
    name_label: vdi.text('name_label'),
    name_description: vdi.text('name_description'),
    type: vdi.text('type'),
    sharable: vdi.bool('sharable'),
    virtual_size: BigInt(disks.find(uuid)?.virtualSize ?? 0),
    physical_utilisation: BigInt(disks.find(uuid)?.physicalSize ?? 0),
    other_config: struct(vdi.map('other_config')),
    xenstore_data: struct(vdi.map('xenstore_data')),
    tags: [...vdi.texts('tags')],
    allow_caching: vdi.bool('allow_caching'),
    managed: true,
  });
  settle(target, backend);
  return row;
}

function copyCall(call: Call): string {
  const vdi = call.row('VDI');
  const into = call.text(3, nullRef);
  const target = call.pool.db.find('VDI', into);
  if (target === undefined) return copyVdi(call.pool, vdi, call.row('SR', 1)).ref;
  if (target.bool('read_only')) fail('VDI_READONLY', target.ref);
  if (target.int('virtual_size') < vdi.int('virtual_size'))
    fail('VDI_TOO_SMALL', target.ref, String(vdi.int('virtual_size')));
  const from = backendOf(call.pool, srOf(vdi)).open(vdi.text('location'), 'r');
  const backend = backendOf(call.pool, srOf(target));
  const to = backend.open(target.text('location'), 'r+');
  try {
    disksOf(call.pool, srOf(target), backend, 'VDI_CREATE').fill(from, to);
  } finally {
    from.close();
    to.close();
  }
  return target.ref;
}

function introduce(call: Call): string {
  const { pool } = call;
  const sr = call.row('SR', 3);
  needCapability(pool, sr, 'VDI_INTRODUCE');
  const backend = backendOf(pool, sr);
  const known = sr.rows('VDIs', 'VDI').find((vdi) => vdi.text('location') === call.text(8));
  if (known !== undefined && known.uuid !== call.text(0)) fail('LOCATION_NOT_UNIQUE', sr.ref, call.text(8));
  const disk = backend.scan().find((d) => d.location === call.text(8));
  if (disk === undefined) backendFailure(46, call.text(8));
  return pool.db.create('VDI', {
    uuid: call.text(0),
    name_label: call.text(1),
    name_description: call.text(2),
    SR: sr.ref,
    type: call.text(4),
    sharable: call.bool(5),
    read_only: call.bool(6),
    location: call.text(8),
    virtual_size: BigInt(disk.virtualSize),
    managed: true,
    snapshot_time: epoch,
  }).ref;
}

function resize(call: Call, online: boolean): string {
  const { pool } = call;
  const vdi = call.row('VDI');
  const sr = srOf(vdi);
  const backend = backendOf(pool, sr);
  if (!online) checkNotAttached(vdi, 'resize');
  if (online) needCapability(call.pool, sr, 'VDI_RESIZE_ONLINE');
  const disks = disksOf(pool, sr, backend, 'VDI_RESIZE');
  needManaged(vdi);
  const size = call.int(1);
  if (size < 0n || size > maxVhdBytes) backendFailure(79, 'VDI size must be between 1 MB and 2088960 MB');
  if (size < vdi.int('virtual_size')) backendFailure(79, 'shrinking not allowed');
  checkRoom(pool, sr, backend, Number(size - vdi.int('virtual_size')));
  const disk = disks.grow(vdi.text('location'), Number(size), pool.clock.now());
  vdi.set({ virtual_size: BigInt(disk.virtualSize), physical_utilisation: BigInt(disk.physicalSize) });
  settle(sr, backend);
  return '';
}
