/** VM.clone, copy, snapshot, revert and provision (xapi.md 9.1, 8.4). */

import { randomUUID } from 'node:crypto';
import { classes } from '../../metadata/datamodel/index.ts';
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { oneEnd } from '../core/relations.ts';
import { DateTime, epoch, isStruct, nullRef, type Struct, struct, type Value } from '../core/values.ts';
import { cloneVdi, copyVdi, destroyVdi, snapshotVdi } from '../storage/vdi.ts';
import { setVtpmContents, vtpmContents } from '../transfer/vtpm.ts';
import { needOperation, withOperation } from './operations.ts';
import { needAccess } from './placement.ts';
import { halt, newGeneration, suspendImage, tell } from './power.ts';
import { macOf } from './state.ts';

type Kind = 'clone' | 'copy' | 'snapshot' | 'checkpoint';

const isMoment = (kind: Kind): boolean => kind === 'snapshot' || kind === 'checkpoint';

export function installClones(registry: Registry): void {
  registry.on('VM.clone', (call) => duplicate(call, 'clone', null));
  registry.on('VM.copy', (call) => {
    // A reference that names nothing means: each disk where it is.
    const sr = call.pool.db.find('SR', call.text(2)) ?? null;
    return duplicate(call, 'copy', sr);
  });
  registry.on('VM.snapshot', (call) => duplicate(call, 'snapshot', null));
  registry.on('VM.checkpoint', (call) => duplicate(call, 'checkpoint', null));
  registry.on('VM.snapshot_with_quiesce', (call) => {
    call.row('VM');
    fail('MESSAGE_REMOVED');
  });
  registry.on('VM.revert', revert);
}

async function duplicate(call: Call, kind: Kind, sr: Row | null): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  const name = call.text(1);
  const ignored = new Set(kind === 'snapshot' ? call.texts(2) : []);
  const made = await withOperation(pool, vm, kind, call.operationRef, () => {
    if (sr?.text('content_type') === 'iso')
      fail('OPERATION_NOT_ALLOWED', "Cannot copy a VM's disks to an ISO SR");
    if (kind !== 'copy') needAccess(pool, vm);
    const copy = duplicateVm(pool, vm, name, kind, sr, ignored);
    // A clone of a moment with memory is an ordinary VM, which has none.
    if (!isMoment(kind) && vm.bool('is_a_snapshot') && copy.text('power_state') !== 'Halted')
      halt(pool, copy);
    return copy;
  });
  if (isMoment(kind)) {
    const done = kind === 'snapshot' ? 'snapshotted' : 'checkpointed';
    tell(pool, vm, `VM_${done.toUpperCase()}`, `${done}, snapshot name: ${name}`);
  }
  return made.ref;
}

/** Fields that a new VM does not take over. */
const own = new Set([
  'uuid',
  'allowed_operations',
  'current_operations',
  'metrics',
  'guest_metrics',
  'name_label',
  'blocked_operations',
  'appliance',
  'groups',
  'parent',
  'snapshot_of',
  'snapshot_schedule',
  'is_default_template',
  'suspend_VDI',
  'resident_on',
  'scheduled_to_be_resident_on',
  'power_state',
  'domid',
  'suspend_SR',
  'version',
  'order',
  'start_delay',
  'shutdown_delay',
  'blobs',
  'protection_policy',
  'requires_reboot',
  'is_vmss_snapshot',
  'attached_PCIs',
  'pending_guidances',
  'pending_guidances_recommended',
  'pending_guidances_full',
]);

function duplicateVm(
  pool: LabPool,
  vm: Row,
  name: string,
  kind: Kind,
  sr: Row | null,
  ignored: ReadonlySet<string>,
): Row {
  const disks = duplicateDisks(pool, vm, kind, sr, ignored);
  const fields: Struct = {};
  for (const field of classes.get('VM')?.fields.keys() ?? [])
    if (!own.has(field) && oneEnd('VM', field) === undefined) fields[field] = vm.get(field);
  const moment = isMoment(kind);
  const state = vm.text('power_state');
  const image = suspendDisk(pool, vm, kind);
  const config = duplicateConfig(vm, moment);
  const row = pool.db.create('VM', {
    ...fields,
    name_label: name,
    power_state: image === null && !(kind !== 'snapshot' && state === 'Suspended') ? 'Halted' : 'Suspended',
    suspend_VDI: image ?? nullRef,
    domid: -1n,
    metrics: copyOf(pool, 'VM_metrics', vm.text('metrics')) ?? emptyMetrics(pool),
    guest_metrics: copyOf(pool, 'VM_guest_metrics', vm.text('guest_metrics')) ?? nullRef,
    other_config: config,
    generation_id: vm.text('generation_id') === '' ? '' : newGeneration(),
    ha_always_run: false,
    ...(moment ? snapshotFields(pool, vm, kind) : notASnapshot),
  });
  if (moment) {
    fieldsAt.set(row, { ...vm.fields });
    vm.set({ parent: row.ref });
  }
  for (const { vbd, vdi } of disks) copyVbd(pool, row, vbd, vdi);
  for (const vif of vm.rows('VIFs', 'VIF')) copyVif(pool, row, vif, moment);
  for (const vgpu of vm.rows('VGPUs', 'VGPU'))
    pool.db.create('VGPU', {
      VM: row.ref,
      GPU_group: vgpu.text('GPU_group'),
      type: vgpu.text('type'),
      device: vgpu.text('device'),
      other_config: struct(vgpu.map('other_config')),
    });
  copyTpms(pool, vm, row);
  return row;
}

/** Each copy gets a record of its own. */
function copyOf(pool: LabPool, cls: 'VM_metrics' | 'VM_guest_metrics', ref: string): string | null {
  const old = pool.db.find(cls, ref);
  return old === undefined ? null : pool.db.create(cls, { ...old.fields, uuid: '' }).ref;
}

function emptyMetrics(pool: LabPool): string {
  return pool.db.create('VM_metrics', {
    current_domain_type: 'unspecified',
    VCPUs_utilisation: struct({ '0': 0 }),
  }).ref;
}

/** The memory of a suspended VM goes along with everything but a plain snapshot. */
function suspendDisk(pool: LabPool, vm: Row, kind: Kind): string | null {
  if (kind === 'checkpoint' && vm.text('power_state') === 'Running') return suspendImage(pool, vm).ref;
  const image = pool.db.find('VDI', vm.text('suspend_VDI'));
  if (image === undefined || kind === 'snapshot') return null;
  const sr = image.row('SR', 'SR');
  if (kind === 'copy' && sr !== undefined) return copyVdi(pool, image, sr).ref;
  return (kind === 'checkpoint' ? snapshotVdi(pool, image) : cloneVdi(pool, image)).ref;
}

/** A clone is another machine: a seed of its own, no mark of a default template, and where it came from. */
function duplicateConfig(vm: Row, moment: boolean): Struct {
  const { default_template: _mark, xensource_internal: _internal, ...config } = vm.map('other_config');
  return struct({
    ...(vm.bool('is_a_template') ? { base_template_name: vm.text('name_label') } : {}),
    ...config,
    ...(moment ? {} : { mac_seed: randomUUID() }),
  });
}

/** Whoever is destroyed with his disks: the copy owns them, whether the original did or not. */
function copyVbd(pool: LabPool, vm: Row, vbd: Row, vdi: string): void {
  const isDisk = vbd.text('type') === 'Disk';
  pool.db.create('VBD', {
    VM: vm.ref,
    VDI: vdi,
    device: vbd.text('device'),
    userdevice: vbd.text('userdevice'),
    bootable: vbd.bool('bootable'),
    mode: vbd.text('mode'),
    type: vbd.text('type'),
    unpluggable: vbd.bool('unpluggable'),
    empty: vbd.bool('empty') || vdi === nullRef,
    currently_attached: vm.text('power_state') === 'Suspended' && vbd.bool('currently_attached'),
    other_config: struct({ ...(isDisk ? { owner: '' } : {}), ...vbd.map('other_config') }),
    qos_algorithm_type: vbd.text('qos_algorithm_type'),
    qos_algorithm_params: struct(vbd.map('qos_algorithm_params')),
  });
}

function copyVif(pool: LabPool, vm: Row, vif: Row, keepsMac: boolean): void {
  const device = vif.text('device');
  pool.db.create('VIF', {
    VM: vm.ref,
    network: vif.text('network'),
    device,
    MAC: keepsMac ? vif.text('MAC') : macOf(vm.map('other_config')['mac_seed'] ?? '', device),
    MAC_autogenerated: !keepsMac,
    MTU: vif.int('MTU'),
    currently_attached: vm.text('power_state') === 'Suspended' && vif.bool('currently_attached'),
    other_config: struct(vif.map('other_config')),
    locking_mode: vif.text('locking_mode'),
    ipv4_allowed: [...vif.texts('ipv4_allowed')],
    ipv6_allowed: [...vif.texts('ipv6_allowed')],
    ipv4_configuration_mode: vif.text('ipv4_configuration_mode'),
    ipv4_addresses: [...vif.texts('ipv4_addresses')],
    ipv4_gateway: vif.text('ipv4_gateway'),
    qos_algorithm_type: vif.text('qos_algorithm_type'),
    qos_algorithm_params: struct(vif.map('qos_algorithm_params')),
  });
}

/** A TPM that is unique does not hand on what it remembers. */
function copyTpms(pool: LabPool, from: Row, to: Row): void {
  for (const vtpm of from.rows('VTPMs', 'VTPM')) {
    const copy = pool.db.create('VTPM', {
      VM: to.ref,
      is_unique: vtpm.bool('is_unique'),
      is_protected: false,
      persistence_backend: vtpm.text('persistence_backend'),
    });
    if (!vtpm.bool('is_unique')) setVtpmContents(copy, vtpmContents(vtpm));
  }
}

/** The VM's fields at the moment of a snapshot, to which a revert goes back; an imported snapshot has none. */
const fieldsAt = new WeakMap<Row, Readonly<Struct>>();

const notASnapshot: Struct = {
  is_a_snapshot: false,
  snapshot_info: struct(),
  snapshot_metadata: '',
  snapshot_time: epoch,
  transportable_snapshot_id: '',
};

function snapshotFields(pool: LabPool, vm: Row, kind: Kind): Struct {
  return {
    is_a_snapshot: true,
    is_a_template: true,
    snapshot_of: vm.ref,
    snapshot_time: pool.now(),
    // Nothing is noted about a moment of a VM that was suspended already.
    snapshot_info:
      kind === 'checkpoint' && vm.text('power_state') !== 'Running'
        ? struct()
        : struct({
            'power-state-at-snapshot': vm.text('power_state'),
            'disk-snapshot-type': 'crash_consistent',
          }),
    snapshot_metadata: expression(vm),
    parent: vm.text('parent'),
  };
}

/** The VM's fields as xapi keeps them in a snapshot: pairs of quoted names and values. */
function expression(vm: Row): string {
  const quote = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const plain = (value: Value): string => {
    if (Array.isArray(value)) return `(${value.map((item) => quote(plain(item))).join(' ')})`;
    if (value instanceof DateTime) return value.text;
    if (isStruct(value))
      return `(${Object.entries(value)
        .map(([key, item]) => `(${quote(key)} ${quote(plain(item))})`)
        .join(' ')})`;
    return String(value);
  };
  const stored = (field: string): string => field.replace(/^(name|memory|actions|VCPUs|PV|HVM)_/, '$1__');
  const pairs = Object.keys(vm.fields)
    .sort()
    .reverse()
    .map((field) => `(${quote(stored(field))} ${quote(plain(vm.get(field)))})`);
  return `(${pairs.join(' ')})`;
}

interface DuplicateDisk {
  readonly vbd: Row;
  readonly vdi: string;
}

function duplicateDisks(
  pool: LabPool,
  vm: Row,
  kind: Kind,
  sr: Row | null,
  ignored: ReadonlySet<string>,
): DuplicateDisk[] {
  const made: Row[] = [];
  const disks: DuplicateDisk[] = [];
  try {
    for (const vbd of vm.rows('VBDs', 'VBD')) {
      const vdi = vbd.row('VDI', 'VDI');
      if (vdi === undefined || vbd.text('type') !== 'Disk') {
        disks.push({ vbd, vdi: vbd.text('VDI') });
        continue;
      }
      if (ignored.has(vdi.ref)) continue;
      const target = sr ?? vdi.row('SR', 'SR');
      if (target === undefined) fail('HANDLE_INVALID', 'SR', vdi.text('SR'));
      const copy =
        kind === 'copy'
          ? copyVdi(pool, vdi, target)
          : isMoment(kind)
            ? snapshotVdi(pool, vdi)
            : cloneVdi(pool, vdi);
      made.push(copy);
      disks.push({ vbd, vdi: copy.ref });
    }
  } catch (error) {
    for (const vdi of made) destroyVdi(pool, vdi);
    throw error;
  }
  return disks;
}

/** Fields that a revert leaves as they are. */
const kept = new Set([
  'uuid',
  'suspend_VDI',
  'power_state',
  'parent',
  'current_operations',
  'allowed_operations',
  'metrics',
  'guest_metrics',
  'resident_on',
  'domid',
  'protection_policy',
  'snapshot_schedule',
  'scheduled_to_be_resident_on',
  'snapshots',
  'tags',
  'affinity',
  'groups',
  'attached_PCIs',
]);
/** Where nothing is known but the snapshot itself, its own marks stay with it. */
const marks = [
  'name_label',
  'is_a_snapshot',
  'is_a_template',
  'is_default_template',
  'snapshot_of',
  'snapshot_time',
  'transportable_snapshot_id',
];

function fieldsToRevert(snapshot: Row): Struct {
  const known = fieldsAt.get(snapshot);
  const left = new Set([...kept, ...(known === undefined ? marks : [])]);
  const fields: Struct = {};
  for (const [field, value] of Object.entries(known ?? snapshot.fields))
    if (!left.has(field) && oneEnd('VM', field) === undefined) fields[field] = value;
  return { ...fields, ha_always_run: false };
}

/** Puts the disks of a snapshot in the place of the VM's, and its fields; what was written since is lost. */
async function revert(call: Call): Promise<string> {
  const { pool } = call;
  const snapshot = call.row('VM');
  const vm = snapshot.row('snapshot_of', 'VM') ?? revive(pool, snapshot);
  await withOperation(pool, snapshot, 'revert', call.operationRef, () =>
    withOperation(pool, vm, 'reverting', call.operationRef, () => {
      if (vm.text('power_state') !== 'Halted') {
        needOperation(pool, vm, 'hard_shutdown');
        halt(pool, vm);
      }
      const operations = vm.get('current_operations');
      vm.set({ ...fieldsToRevert(snapshot), current_operations: operations });
      needAccess(pool, vm);
      vm.set({ generation_id: vm.text('generation_id') === '' ? '' : newGeneration() });
      revertDevices(pool, vm, snapshot);
    }),
  );
  tell(
    pool,
    vm,
    'VM_SNAPSHOT_REVERTED',
    `reverted to snapshot: ${snapshot.text('name_label')} (uuid ${snapshot.uuid})`,
  );
  return '';
}

/** A VM that is gone comes back from its snapshot, with the uuid that it had. */
function revive(pool: LabPool, snapshot: Row): Row {
  const old = snapshot.text('snapshot_of');
  const known = fieldsAt.get(snapshot);
  if (known === undefined) fail('VM_REVERT_FAILED', snapshot.ref, old);
  const relatives = pool.db.all('VM').filter((row) => row.text('snapshot_of') === old);
  const vm = pool.db.create('VM', {
    ...fieldsToRevert(snapshot),
    uuid: known['uuid'] ?? '',
    power_state: 'Halted',
    domid: -1n,
    metrics: emptyMetrics(pool),
    current_operations: struct(),
  });
  for (const relative of relatives) relative.set({ snapshot_of: vm.ref });
  return vm;
}

function revertDevices(pool: LabPool, vm: Row, snapshot: Row): void {
  const diskOf = (vbd: Row): Row | undefined =>
    vbd.text('type') === 'Disk' ? vbd.row('VDI', 'VDI') : undefined;
  const moments = snapshot.rows('VBDs', 'VBD').map(diskOf);
  const origins = new Set(moments.map((vdi) => vdi?.text('snapshot_of')));
  for (const vbd of vm.rows('VBDs', 'VBD')) {
    const vdi = diskOf(vbd);
    vbd.destroy();
    // A disk that the snapshot does not know is left over, attached to nothing.
    if (vdi !== undefined && origins.has(vdi.ref)) destroyVdi(pool, vdi);
  }
  const disks = duplicateDisks(pool, snapshot, 'clone', null, new Set());
  for (const { vbd, vdi } of disks) {
    const origin = diskOf(vbd)?.text('snapshot_of');
    copyVbd(pool, vm, vbd, vdi);
    if (origin === undefined) continue;
    for (const other of pool.db.all('VDI'))
      if (other.text('snapshot_of') === origin) other.set({ snapshot_of: vdi });
  }
  for (const vif of vm.rows('VIFs', 'VIF')) vif.destroy();
  for (const vif of snapshot.rows('VIFs', 'VIF')) copyVif(pool, vm, vif, true);
  for (const vusb of vm.rows('VUSBs', 'VUSB')) vusb.destroy();
  for (const vtpm of vm.rows('VTPMs', 'VTPM')) vtpm.destroy();
  copyTpms(pool, snapshot, vm);
  pool.db.find('VM_guest_metrics', vm.text('guest_metrics'))?.destroy();
  pool.db.find('VM_metrics', vm.text('metrics'))?.destroy();
  const image = pool.db.find('VDI', snapshot.text('suspend_VDI'));
  vm.set({
    metrics: copyOf(pool, 'VM_metrics', snapshot.text('metrics')) ?? nullRef,
    guest_metrics: copyOf(pool, 'VM_guest_metrics', snapshot.text('guest_metrics')) ?? nullRef,
    parent: snapshot.ref,
    suspend_VDI: image === undefined ? nullRef : cloneVdi(pool, image).ref,
    power_state: snapshot.text('power_state'),
  });
}
