/** VDI: create, destroy, snapshot, clone, copy, introduce, forget, resize (xapi.md 5.2, 7.8, 7.10, 9.1). */
import { createHash, randomUUID } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { epoch, isStruct, nullRef, type Struct, struct } from '../core/values.ts';
import type { DiskDirectory } from './directory.ts';
import type { Backend } from './driver.ts';
import { backendFailure } from './errors.ts';
import { markDirty, updateSizes } from './scan.ts';
import { backendOf, driverOf, storageState } from './state.ts';
import { roundedSize } from './vhd.ts';

export function installVdis(registry: Registry): void {
  registry.on('VDI.create', (call) => createFromRecord(call).ref);
  registry.on('VDI.destroy', (call) => {
    destroyVdi(call.pool, call.row('VDI'));
    return '';
  });
  registry.on('VDI.snapshot', (call) => snapshotVdi(call.pool, call.row('VDI')).ref);
  registry.on('VDI.clone', (call) => cloneVdi(call.pool, call.row('VDI')).ref);
  registry.on('VDI.copy', copyCall);
  registry.on('VDI.introduce', introduce);
  registry.on('VDI.forget', (call) => {
    const vdi = call.row('VDI');
    checkNotAttached(vdi, 'forget');
    vdi.destroy();
    return '';
  });
  registry.on('VDI.resize', (call) => resize(call, false));
  registry.on('VDI.resize_online', (call) => resize(call, true));
  registry.on('VDI.update', (call) => {
    backendOf(call.pool, srOf(call.row('VDI')));
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
  const backend = backendOf(pool, sr);
  const disks = disksOf(sr, backend, 'VDI_CREATE');
  const type = fields['type'] ?? 'user';
  const name = fields['name_label'] ?? '';
  const uuid =
    type === 'user' && name === 'Pool Metadata Backup' ? metadataBackupUuid(sr.uuid) : randomUUID();
  if (size <= 0n) backendFailure(79, `${size}`);
  if (disks.find(uuid) !== null) backendFailure(43, `VDI ${uuid} already exists`);
  checkRoom(pool, sr, backend, Number(size));
  const disk = disks.create(uuid, Number(size), smConfig['type'] === 'raw' ? 'raw' : 'vhd', pool.clock.now());
  const row = pool.db.create('VDI', {
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

/** The disk directory of an SR that can do something; `SR_OPERATION_NOT_SUPPORTED [sr]` otherwise. */
function disksOf(sr: Row, backend: Backend, capability: string): DiskDirectory {
  if (backend.disks === null || !driverOf(sr.text('type')).capabilities.includes(capability))
    fail('SR_OPERATION_NOT_SUPPORTED', sr.ref);
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

export function destroyVdi(pool: LabPool, vdi: Row): void {
  const sr = srOf(vdi);
  checkNotAttached(vdi, 'destroy');
  const backend = backendOf(pool, sr);
  disksOf(sr, backend, 'VDI_DELETE').delete(vdi.text('location'));
  const vbds = vdi.rows('VBDs', 'VBD');
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
  const backend = backendOf(pool, sr);
  const disks = disksOf(sr, backend, capability);
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
    sm_config: struct({ 'vhd-parent': parentOf(child) }),
    managed: true,
    ...more,
  });
  settle(sr, backend);
  return made;
}

/** A full copy into an SR, as VM.copy and VDI.copy make it. */
export function copyVdi(pool: LabPool, vdi: Row, target: Row): Row {
  checkNotAttached(vdi, 'copy');
  const source = backendOf(pool, srOf(vdi));
  const backend = backendOf(pool, target);
  const disks = disksOf(target, backend, 'VDI_CREATE');
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
    managed: true,
  });
  settle(target, backend);
  return row;
}

function copyCall(call: Call): string {
  const vdi = call.row('VDI');
  const into = call.text(3, nullRef);
  if (into === nullRef) return copyVdi(call.pool, vdi, call.row('SR', 1)).ref;
  const target = call.pool.db.row('VDI', into);
  const from = backendOf(call.pool, srOf(vdi)).open(vdi.text('location'), 'r');
  const backend = backendOf(call.pool, srOf(target));
  const to = backend.open(target.text('location'), 'r+');
  try {
    disksOf(srOf(target), backend, 'VDI_CREATE').fill(from, to);
  } finally {
    from.close();
    to.close();
  }
  return target.ref;
}

function introduce(call: Call): string {
  const { pool } = call;
  const sr = call.row('SR', 3);
  const backend = backendOf(pool, sr);
  if (!driverOf(sr.text('type')).capabilities.includes('VDI_INTRODUCE'))
    fail('SR_OPERATION_NOT_SUPPORTED', sr.ref);
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
  if (!online) checkNotAttached(vdi, 'resize');
  const backend = backendOf(pool, sr);
  const disks = disksOf(sr, backend, 'VDI_RESIZE');
  const size = call.int(1);
  if (size < vdi.int('virtual_size')) backendFailure(79, 'shrinking not allowed');
  checkRoom(pool, sr, backend, Number(size - vdi.int('virtual_size')));
  const disk = disks.grow(vdi.text('location'), Number(size), pool.clock.now());
  vdi.set({ virtual_size: BigInt(disk.virtualSize), physical_utilisation: BigInt(disk.physicalSize) });
  settle(sr, backend);
  return '';
}
