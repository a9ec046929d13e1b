/** VM records of an import: skip, replace or create; fields kept and lost (xapi.md 4.2, 4.5, 4.10 to 4.12). */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { newRef } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import { nullRef, struct, type Value } from '../core/values.ts';
import type { FileDocument, FileObject, FileRecord } from './document.ts';
import type { ImportSession } from './session.ts';

type Decision =
  | { readonly kind: 'default-template'; readonly template: Row }
  | { readonly kind: 'skip' }
  | { readonly kind: 'replace'; readonly existing: Row; readonly record: FileRecord }
  | { readonly kind: 'clean'; readonly record: FileRecord };

/** A VM record; a domain type of "unspecified" is derived from the boot policy. */
export function vmRecord(object: FileObject): FileRecord {
  const { record } = object;
  if (record.text('domain_type') !== 'unspecified') return record;
  return record.with({ domain_type: record.text('HVM_boot_policy') === '' ? 'pv' : 'hvm' });
}

/** The check that restore=true makes before anything else: no other VM may carry the same MAC seed. */
export function assertSeedsFree(pool: LabPool, document: FileDocument): void {
  const bySeed = new Map<string, Row[]>();
  for (const row of pool.db.table('VM').values()) {
    const seed = row.map('other_config')['mac_seed'];
    if (seed !== undefined) bySeed.set(seed, [...(bySeed.get(seed) ?? []), row]);
  }
  for (const object of document.objects) {
    if (object.cls !== 'VM') continue;
    const record = vmRecord(object);
    const seed = record.map('other_config')['mac_seed'];
    if (seed === undefined) continue;
    for (const existing of bySeed.get(seed) ?? []) {
      if (!sameMachine(pool, document, record, existing)) fail('DUPLICATE_MAC_SEED', seed);
    }
  }
}

interface Snapshotable {
  bool(field: string): boolean;
  text(field: string): string;
}

function sameMachine(
  pool: LabPool,
  document: FileDocument,
  inFile: Snapshotable,
  existing: Snapshotable,
): boolean {
  const theirs = inFile.bool('is_a_snapshot') ? originOf(pool, document, inFile) : inFile.text('uuid');
  const ours = existing.bool('is_a_snapshot') ? originOf(pool, document, existing) : existing.text('uuid');
  return theirs !== null && theirs === ours;
}

/** UUID of the VM that a snapshot was taken of. */
function originOf(pool: LabPool, document: FileDocument, snapshot: Snapshotable): string | null {
  const of = snapshot.text('snapshot_of');
  if (of.startsWith('Ref:')) {
    const object = document.objects.find((o) => o.cls === 'VM' && o.id === of);
    return object === undefined ? null : object.record.text('uuid');
  }
  const row = pool.db.find('VM', of);
  if (row !== undefined) return row.uuid;
  return /\('uuid' '([^']*)'\)/.exec(snapshot.text('snapshot_metadata'))?.[1] ?? null;
}

function decide(session: ImportSession, object: FileObject): Decision {
  const { pool, options } = session;
  const record = vmRecord(object);
  const isDefault =
    record.bool('is_default_template') ||
    (record.bool('is_a_template') && record.map('other_config')['default_template'] === 'true');
  const namesake = isDefault ? pool.db.byName('VM', record.text('name_label'))[0] : undefined;
  if (namesake !== undefined) return { kind: 'default-template', template: namesake };
  const existing = options.restore ? pool.db.findByUuid('VM', record.text('uuid')) : undefined;
  if (existing === undefined)
    return { kind: 'clean', record: options.force ? record : withoutTemplateMark(record) };
  const state = existing.text('power_state');
  if (state !== 'Halted') {
    if (options.force) return { kind: 'skip' };
    fail('VM_BAD_POWER_STATE', existing.ref, 'Halted', state);
  }
  const [ours, theirs] = [existing.int('version'), record.int('version')];
  if (ours >= theirs && !options.force)
    fail('VM_TO_IMPORT_IS_NOT_NEWER_VERSION', existing.ref, String(ours), String(theirs));
  return { kind: 'replace', existing, record };
}

function withoutTemplateMark(record: FileRecord): FileRecord {
  const { default_template: _mark, ...rest } = record.map('other_config');
  return record.with({ is_default_template: false, other_config: struct(rest) });
}

export async function importVm(session: ImportSession, object: FileObject): Promise<void> {
  const decision = decide(session, object);
  switch (decision.kind) {
    case 'skip':
      return;
    case 'default-template':
      session.enter('VM', object.id, decision.template.ref);
      session.vms.push(decision.template.ref);
      return;
    case 'replace':
      if (!session.options.dryRun) await removeExisting(session, decision.existing);
      break;
    case 'clean':
      break;
  }
  if (session.options.dryRun) session.enter('VM', object.id, newRef());
  else create(session, object, decision.record);
}

/** Piece by piece through the API, and nothing of it comes back when a later step fails. */
async function removeExisting(session: ImportSession, vm: Row): Promise<void> {
  for (const vif of vm.texts('VIFs').slice()) await session.call('VIF.destroy', vif);
  for (const vbd of vm.texts('VBDs').slice()) await session.call('VBD.destroy', vbd);
  await session.call('VM.destroy', vm.ref);
}

/** Fields taken over as they are in the file. */
const kept = [
  'name_label',
  'name_description',
  'user_version',
  'is_a_template',
  'memory_overhead',
  'memory_static_max',
  'memory_dynamic_max',
  'memory_dynamic_min',
  'memory_static_min',
  'memory_target',
  'VCPUs_params',
  'VCPUs_max',
  'VCPUs_at_startup',
  'actions_after_softreboot',
  'actions_after_shutdown',
  'actions_after_reboot',
  'actions_after_crash',
  'PV_bootloader',
  'PV_kernel',
  'PV_ramdisk',
  'PV_args',
  'PV_bootloader_args',
  'PV_legacy_args',
  'HVM_boot_policy',
  'HVM_boot_params',
  'HVM_shadow_multiplier',
  'PCI_bus',
  'last_boot_CPU_flags',
  'last_booted_record',
  'is_control_domain',
  'recommendations',
  'xenstore_data',
  'ha_always_run',
  'ha_restart_priority',
  'tags',
  'start_delay',
  'shutdown_delay',
  'order',
  'hardware_platform_version',
  'has_vendor_device',
  'reference_label',
  'domain_type',
  'NVRAM',
  'bios_strings',
  'is_a_snapshot',
  'snapshot_info',
  'snapshot_of',
  'snapshot_time',
  'transportable_snapshot_id',
  'parent',
] as const;

function create(session: ImportSession, object: FileObject, record: FileRecord): void {
  const { pool, options, task } = session;
  const fields: Record<string, Value> = {};
  for (const name of kept) fields[name] = record.get(name);
  const suspended = record.text('power_state') === 'Suspended';
  const suspendVdi = suspended ? suspendDisk(session, record) : null;
  if (!object.has('parent')) Object.assign(fields, staticMemory(record));
  if (!object.has('has_vendor_device')) fields['has_vendor_device'] = false;
  // The vendor's device needs virtual hardware of version 2.
  if (fields['has_vendor_device'] === true && record.int('hardware_platform_version') < 2n)
    fields['hardware_platform_version'] = 2n;
  Object.assign(fields, priorityOf(record));
  Object.assign(fields, {
    uuid: options.restore ? record.text('uuid') : randomUUID(),
    version: options.restore ? record.int('version') + 1n : 0n,
    power_state: suspendVdi === null ? 'Halted' : 'Suspended',
    suspend_VDI: suspendVdi ?? nullRef,
    suspend_SR:
      pool.db.find('SR', record.text('suspend_SR')) === undefined ? nullRef : record.text('suspend_SR'),
    appliance: nullRef,
    protection_policy: nullRef,
    snapshot_schedule: nullRef,
    other_config: otherConfig(session, record, task.ref),
    platform: platformOf(record),
    generation_id: record.bool('is_a_template') ? record.get('generation_id') : freshGeneration(record),
    resident_on: session.find(record.text('resident_on')) ?? nullRef,
    affinity: session.find(record.text('affinity')) ?? nullRef,
    metrics: session.find(record.text('metrics')) ?? metricsRow(pool, suspended, record),
    guest_metrics: session.find(record.text('guest_metrics')) ?? nullRef,
    domid: -1n,
    secureboot_certificates_state: 'ok',
    current_operations: options.force ? struct() : struct({ [task.ref]: 'import' }),
  });
  const vm = pool.db.create('VM', fields);
  session.enter('VM', object.id, vm.ref);
  session.vms.push(vm.ref);
  session.undo(async () => {
    if (!vm.alive) return;
    vm.drop('current_operations', task.ref);
    vm.set({ power_state: 'Halted' });
    await session.call('VM.destroy', vm.ref);
  });
}

/** The disk of a suspended VM; with force it may be missing, and the VM is Halted then. */
function suspendDisk(session: ImportSession, record: FileRecord): string | null {
  const id = record.text('suspend_VDI');
  const vdi = session.find(id);
  if (vdi !== undefined) return vdi;
  return session.options.force ? null : fail('IMPORT_ERROR_FAILED_TO_FIND_OBJECT', id);
}

/** A file of the time before ballooning has no dynamic range. */
function staticMemory(record: FileRecord): Record<string, Value> {
  const max = record.get('memory_static_max');
  return { memory_dynamic_min: max, memory_dynamic_max: max, memory_target: max };
}

/** Priorities "0" to "3" are older than release 6.0: a restart in that order. */
function priorityOf(record: FileRecord): Record<string, Value> {
  const priority = record.text('ha_restart_priority');
  return /^[0-3]$/.test(priority) ? { ha_restart_priority: 'restart', order: BigInt(priority) } : {};
}

function otherConfig(session: ImportSession, record: FileRecord, task: string): Value {
  const { grant_api_access: _access, import_task: _old, ...rest } = record.map('other_config');
  const seed = session.options.restore ? (rest['mac_seed'] ?? randomUUID()) : randomUUID();
  return struct({ ...rest, mac_seed: seed, import_task: task });
}

/** A guest that needs a device model gets today's; the one of long ago is brought up to date. */
function platformOf(record: FileRecord): Value {
  const platform = record.map('platform');
  if (record.bool('is_a_template')) return struct(platform);
  const model = platform['device-model'];
  const current = 'qemu-upstream-compat';
  if (model === 'qemu-trad') return struct({ ...platform, 'device-model': current });
  if (model !== undefined || record.text('domain_type') !== 'hvm') return struct(platform);
  return struct({ 'device-model': current, ...platform });
}

function freshGeneration(record: FileRecord): string {
  if (record.text('generation_id') === '') return '';
  const number = (): bigint => randomBytes(8).readBigUInt64BE() >> 1n;
  return `${number()}:${number()}`;
}

/** What VM.create makes when the file brings no metrics. */
function metricsRow(pool: LabPool, suspended: boolean, record: FileRecord): string {
  return pool.db.create('VM_metrics', {
    VCPUs_utilisation: struct({ '0': 0 }),
    current_domain_type: suspended ? record.text('domain_type') : 'unspecified',
  }).ref;
}

/** Metrics and guest metrics are copied to new rows, whatever becomes of their VM. */
export function importMetrics(session: ImportSession, object: FileObject): void {
  const { record } = object;
  if (session.options.dryRun) {
    session.enter(object.cls, object.id, newRef());
    return;
  }
  const row = session.pool.db.create(object.cls, { ...record.fields, uuid: randomUUID() });
  session.enter(object.cls, object.id, row.ref);
}

/** Snapshots find the VM that they were taken of, parents where they can; the rest keeps the id of the file. */
export function linkSnapshots(session: ImportSession): void {
  const { db } = session.pool;
  for (const { cls, ref } of session.entries) {
    const vm = cls === 'VM' ? db.find('VM', ref) : undefined;
    if (vm === undefined) continue;
    const of = vm.text('snapshot_of');
    if (vm.bool('is_a_snapshot') && of !== nullRef) vm.set({ snapshot_of: session.lookup(of) });
    const parent = session.find(vm.text('parent'));
    if (parent !== undefined) vm.set({ parent });
  }
}
