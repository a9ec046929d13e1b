/** Disks, drives, networks and interfaces of an import (xapi.md 4.4, 4.6 to 4.9). */
import type { Row } from '../core/database.ts';
import { newRef } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import { nullRef, struct, type Value } from '../core/values.ts';
import { type FileObject, type FileRecord, findInFile } from './document.ts';
import { vmRecord } from './importvm.ts';
import type { ImportSession } from './session.ts';

/** By uuid; only used for affinity and resident_on, so a host that is not here is no error. */
export function importHost(session: ImportSession, object: FileObject): void {
  const host = session.pool.db.findByUuid('host', object.record.text('uuid'));
  session.enter('host', object.id, host?.ref ?? nullRef);
}

/** By uuid alone. One that is not here leaves its disks to the map, to SCSIid and to the ISO rule. */
export function importSr(session: ImportSession, object: FileObject): void {
  const sr = session.pool.db.findByUuid('SR', object.record.text('uuid'));
  if (sr !== undefined) session.enter('SR', object.id, sr.ref);
}

/** Keys of a disk's other_config that travel with the metadata. */
const travellingKey = 'config-drive';
/** Key by which storage migration names the disk, network or GPU group at the other end. */
const mapsTo = 'maps_to';

/** A disk is never made here: it is found, left out, or missed. */
export function importVdi(session: ImportSession, object: FileObject): void {
  const { record } = object;
  const sr = findInFile(session.document, record.text('SR'));
  if (sr.record.text('content_type') === 'iso') {
    const iso = findIso(session.pool, record.text('location'));
    if (iso !== undefined) session.enter('VDI', object.id, iso.ref);
    return;
  }
  const ref = findDisk(session, record);
  if (ref === undefined) {
    missing(session, record);
    return;
  }
  session.enter('VDI', object.id, ref);
  const row = session.pool.db.find('VDI', ref);
  if (row !== undefined && !session.options.dryRun) carryKey(row, record);
}

function carryKey(row: Row, record: FileRecord): void {
  const value = record.map('other_config')[travellingKey];
  if (value !== undefined) row.put('other_config', travellingKey, value);
  else row.drop('other_config', travellingKey);
}

/** Rule A: a file of this name in any ISO library; a physical drive never counts. */
function findIso(pool: LabPool, location: string): Row | undefined {
  const libraries = new Set(
    pool.db
      .all('SR')
      .filter((sr) => sr.text('content_type') === 'iso' && sr.text('type') !== 'udev')
      .map((sr) => sr.ref),
  );
  return pool.db.all('VDI').find((vdi) => vdi.text('location') === location && libraries.has(vdi.text('SR')));
}

/** Rule B: the map, else SCSIid; then the same location in the same SR; then the key of storage migration. */
function findDisk(session: ImportSession, record: FileRecord): string | undefined {
  const { pool, options } = session;
  // Before 7.0 the location was all that counted (xapi.md 4.4).
  const { diskMap } = pool.product.transfers;
  const scsiId = diskMap ? record.map('sm_config')['SCSIid'] : undefined;
  const target =
    (diskMap ? options.vdiMap.get(record.text('uuid')) : undefined) ??
    (scsiId === undefined ? undefined : options.vdiMap.get(scsiId));
  const mapped =
    target === undefined
      ? scsiId === undefined
        ? undefined
        : byScsiId(pool, scsiId)
      : (pool.db.findByUuid('VDI', target) ?? byScsiId(pool, target));
  if (mapped !== undefined) return mapped.ref;
  const sr = session.find(record.text('SR'));
  const found = sr === undefined ? undefined : byLocation(pool, sr, record.text('location'));
  return found?.ref ?? record.map('other_config')[mapsTo];
}

function byScsiId(pool: LabPool, id: string): Row | undefined {
  return pool.db.all('VDI').find((vdi) => vdi.map('sm_config')['SCSIid'] === id);
}

function byLocation(pool: LabPool, sr: string, location: string): Row | undefined {
  const likely = pool.db.findByUuid('VDI', location);
  if (likely?.text('SR') === sr && likely.text('location') === location) return likely;
  return pool.db
    .find('SR', sr)
    ?.rows('VDIs', 'VDI')
    .find((vdi) => vdi.text('location') === location);
}

function missing(session: ImportSession, record: FileRecord): void {
  if (session.options.force) return;
  const sr = session.find(record.text('SR'));
  if (sr === undefined) fail('VDI_CONTENT_ID_MISSING');
  fail('VDI_LOCATION_MISSING', sr, record.text('location'));
}

/** By name, else by bridge, else a new one without uplink. Its uuid plays no part. */
export function importNetwork(session: ImportSession, object: FileObject): void {
  const { pool, options, task } = session;
  const { record } = object;
  const bridge = record.text('bridge');
  const known =
    pool.db.byName('network', record.text('name_label'))[0] ??
    pool.db.all('network').find((network) => network.text('bridge') === bridge);
  if (known !== undefined || options.dryRun) {
    session.enter('network', object.id, known?.ref ?? newRef());
    return;
  }
  const network = pool.db.create('network', {
    name_label: record.get('name_label'),
    name_description: record.get('name_description'),
    MTU: record.int('MTU') <= 0n ? 1500n : record.int('MTU'),
    bridge: bridge === '' ? freeBridge(pool) : bridge,
    managed: record.get('managed'),
    tags: record.get('tags'),
    default_locking_mode: 'unlocked',
    other_config: struct({ ...record.map('other_config'), import_task: task.ref }),
  });
  session.enter('network', object.id, network.ref);
  session.undo(async () => {
    await session.call('network.destroy', network.ref);
  });
}

function freeBridge(pool: LabPool): string {
  const taken = new Set(pool.db.all('network').map((network) => network.text('bridge')));
  let number = 0;
  while (taken.has(`xapi${number}`)) number += 1;
  return `xapi${number}`;
}

export async function importVbd(session: ImportSession, object: FileObject): Promise<void> {
  const { pool, options } = session;
  const { record } = object;
  const existing = options.restore ? pool.db.findByUuid('VBD', record.text('uuid')) : undefined;
  if (existing !== undefined) {
    session.enter('VBD', object.id, existing.ref);
    return;
  }
  const vm = session.lookup(record.text('VM'));
  const original = vmRecord(findInFile(session.document, record.text('VM')));
  const hasDeviceModel = original.text('domain_type') === 'hvm';
  const vdi = session.find(record.text('VDI'));
  const type = record.text('type');
  // Even with force: only a CD drive of a guest with a device model may lose its medium while it is attached.
  if (record.bool('currently_attached') && vdi === undefined && !(type === 'CD' && hasDeviceModel))
    fail('IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND');
  if (vdi === undefined && type === 'Disk') return;
  if (options.dryRun) {
    session.enter('VBD', object.id, newRef());
    return;
  }
  const ejected = vdi === undefined && (hasDeviceModel || original.text('power_state') !== 'Suspended');
  const vbd = await session.create(
    'VBD',
    pick(record, vbdFields, { VM: vm, VDI: vdi ?? nullRef, empty: ejected || record.bool('empty') }),
  );
  if (options.restore) vbd.set({ uuid: record.text('uuid') });
  session.undo(async () => {
    await session.call('VBD.destroy', vbd.ref);
  });
  // Unconditionally, also for a VM that is now Halted; VIFs are treated with more care.
  if (record.bool('currently_attached')) vbd.set({ currently_attached: true });
  session.enter('VBD', object.id, vbd.ref);
}

const vbdFields = [
  'userdevice',
  'bootable',
  'mode',
  'type',
  'unpluggable',
  'other_config',
  'qos_algorithm_type',
  'qos_algorithm_params',
] as const;

const vifFields = [
  'device',
  'MTU',
  'qos_algorithm_type',
  'qos_algorithm_params',
  'locking_mode',
  'ipv4_allowed',
  'ipv6_allowed',
  'trunks',
] as const;

export async function importVif(session: ImportSession, object: FileObject): Promise<void> {
  const { pool, options } = session;
  const { record } = object;
  const existing = options.restore ? pool.db.findByUuid('VIF', record.text('uuid')) : undefined;
  if (existing !== undefined) {
    session.enter('VIF', object.id, existing.ref);
    return;
  }
  const vm = session.lookup(record.text('VM'));
  const { [mapsTo]: chosen, ...otherConfig } = record.map('other_config');
  const network = chosen ?? session.lookup(record.text('network'));
  if (options.dryRun) {
    session.enter('VIF', object.id, newRef());
    return;
  }
  const vif = await session.create(
    'VIF',
    pick(record, vifFields, {
      VM: vm,
      network,
      MAC: options.restore ? record.text('MAC') : '',
      other_config: struct(otherConfig),
      ...(lockingAllowed(pool) ? {} : unlocked(record)),
    }),
  );
  if (options.restore) vif.set({ uuid: record.text('uuid') });
  session.undo(async () => {
    await session.call('VIF.destroy', vif.ref);
  });
  const halted = pool.db.find('VM', vm)?.text('power_state') === 'Halted';
  if (!halted && record.bool('currently_attached')) vif.set({ currently_attached: true });
  session.enter('VIF', object.id, vif.ref);
}

function lockingAllowed(pool: LabPool): boolean {
  return pool.row.map('restrictions')['restrict_vif_locking'] !== 'true';
}

/** Without the licence a locked interface follows its network, and address lists are dropped. */
function unlocked(record: FileRecord): Record<string, Value> {
  const mode = record.text('locking_mode');
  return { locking_mode: mode === 'locked' ? 'network_default' : mode, ipv4_allowed: [], ipv6_allowed: [] };
}

function pick(record: FileRecord, names: readonly string[], more: Record<string, Value>) {
  const fields = struct();
  for (const name of names) fields[name] = record.get(name);
  return struct({ ...fields, ...more });
}
