/**
 * What a VM may be asked in its state, and why not otherwise: one list of rules for allowed_operations, for refusals and
 * for waiting (xapi.md 2.3, 8.2). The first rule that is broken names the error.
 */
import { enums } from '../../metadata/datamodel/index.ts';
import type { Row } from '../core/database.ts';
import { XenFailure } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import { nullRef } from '../core/values.ts';
import { hasAgent } from './state.ts';

/** xapi tries so long to get an operation in between others; an export waits two minutes only. */
export const patienceSeconds = 7200;

const everyState = ['Halted', 'Paused', 'Suspended', 'Running'] as const;
type State = (typeof everyState)[number];

const statesOf: Readonly<Record<string, readonly State[]>> = {
  import: [],
  changing_VCPUs: ['Halted'],
  changing_static_range: ['Halted'],
  changing_memory_limits: ['Halted'],
  changing_shadow_memory: ['Halted'],
  changing_NVRAM: ['Halted'],
  make_into_template: ['Halted'],
  provision: ['Halted'],
  start: ['Halted'],
  start_on: ['Halted'],
  create_vtpm: ['Halted'],
  clone: ['Halted'],
  copy: ['Halted'],
  unpause: ['Paused'],
  csvm: ['Suspended'],
  resume: ['Suspended'],
  resume_on: ['Suspended'],
  changing_dynamic_range: ['Halted', 'Running'],
  create_template: ['Halted', 'Suspended'],
  destroy: ['Halted', 'Suspended'],
  export: ['Halted', 'Suspended'],
  hard_reboot: ['Paused', 'Running'],
  checkpoint: ['Paused', 'Suspended', 'Running'],
  get_boot_record: ['Paused', 'Suspended', 'Running'],
  shutdown: ['Paused', 'Suspended', 'Running'],
  hard_shutdown: ['Paused', 'Suspended', 'Running'],
  migrate_send: ['Halted', 'Suspended', 'Running'],
  assert_operation_valid: everyState,
  metadata_export: everyState,
  power_state_reset: everyState,
  revert: everyState,
  reverting: everyState,
  snapshot: everyState,
  update_allowed_operations: everyState,
  query_services: everyState,
};

function allowedStates(pool: LabPool, vm: Row, operation: string): readonly State[] {
  const states = statesOf[operation] ?? ['Running'];
  if (vm.bool('is_control_domain') && /^changing_(VCPUs|static_range|memory_limits)$/.test(operation))
    return [...states, 'Running'];
  if ((operation === 'clone' || operation === 'copy') && clonesSuspended(pool, vm))
    return [...states, 'Suspended'];
  return states;
}

function clonesSuspended(pool: LabPool, vm: Row): boolean {
  if (vm.bool('is_a_snapshot')) return true;
  return pool.db.all('pool')[0]?.map('other_config')['allow_clone_suspended_vm'] === 'true';
}

const longCopies = new Set(['clone', 'copy', 'export']);
const snapshots = new Set(['snapshot', 'checkpoint']);
const besideMigration = new Set(['metadata_export', 'clean_shutdown', 'clean_reboot']);

/** May the operation run beside those that are going on? */
function fitsBeside(operation: string, current: readonly string[]): boolean {
  for (const kind of [longCopies, snapshots])
    if (kind.has(operation) && current.every((other) => kind.has(other))) return true;
  if (operation === 'hard_shutdown') return !current.includes(operation);
  if (operation === 'hard_reboot')
    return !current.includes('hard_shutdown') && !current.includes('hard_reboot');
  return current.length === 1 && current[0] === 'migrate_send' && besideMigration.has(operation);
}

const ofTemplates = new Set([
  'changing_dynamic_range',
  'changing_static_range',
  'changing_memory_limits',
  'changing_shadow_memory',
  'changing_VCPUs',
  'changing_NVRAM',
  'clone',
  'copy',
  'export',
  'metadata_export',
  'provision',
]);
const ofSnapshots = new Set([
  'revert',
  'clone',
  'copy',
  'export',
  'destroy',
  'hard_shutdown',
  'metadata_export',
]);
const ofControlDomains = new Set([
  'data_source_op',
  'changing_memory_live',
  'awaiting_memory_live',
  'metadata_export',
  'changing_dynamic_range',
  'changing_memory_limits',
  'changing_static_range',
  'start',
  'start_on',
  'changing_VCPUs',
  'destroy',
]);
const moving = new Set(['suspend', 'checkpoint', 'pool_migrate', 'migrate_send']);

/** A template that came with the product; nobody may destroy it. */
function isDefaultTemplate(vm: Row): boolean {
  const mark = vm.map('other_config')['default_template'];
  return vm.bool('is_default_template') || mark === '1' || mark?.toLowerCase() === 'true';
}

/** The domain of a host itself; an imported "control domain" is none. */
export function isDomainZero(pool: LabPool, vm: Row): boolean {
  if (!vm.bool('is_control_domain')) return false;
  return pool.db.find('host', vm.text('resident_on'))?.text('control_domain') === vm.ref;
}

export function isLive(vm: Row): boolean {
  return vm.text('power_state') === 'Running' || vm.text('power_state') === 'Paused';
}

/** Does the guest do what it is asked: because it has an agent, or because its kernel is paravirtual? */
export function isCooperative(vm: Row): boolean {
  const kind = vm.row('metrics', 'VM_metrics')?.text('current_domain_type') ?? '';
  return hasAgent(vm) || kind === 'pv' || kind === 'pv_in_pvh' || kind === 'pvh';
}

/** What a guest's agent would have to promise for an operation. */
function lacksFeature(vm: Row, operation: string): boolean {
  if (!isLive(vm) || isCooperative(vm)) return false;
  const promised = vm.row('guest_metrics', 'VM_guest_metrics')?.map('other') ?? {};
  const none = (...features: string[]): boolean => features.every((feature) => promised[feature] !== '1');
  if (moving.has(operation)) return none('feature-suspend');
  if (operation === 'clean_shutdown') return none('feature-shutdown', 'feature-poweroff');
  if (operation === 'clean_reboot') return none('feature-shutdown', 'feature-reboot');
  return operation === 'changing_VCPUs_live' && none('feature-vcpu-hotplug');
}

function isFixed(vm: Row): boolean {
  const metrics = vm.row('metrics', 'VM_metrics');
  if (metrics !== undefined) return metrics.bool('nomigrate') || metrics.bool('nested_virt');
  const platform = vm.map('platform');
  return ['nomigrate', 'nested-virt'].some((key) => platform[key] === 'true' || platform[key] === '1');
}

type Refusal = readonly [code: string, ...params: string[]];

/** Why an operation is refused; null when it is welcome. */
function refusal(pool: LabPool, vm: Row, operation: string): Refusal | null {
  const blocked = vm.map('blocked_operations')[operation];
  if (blocked !== undefined) return ['OPERATION_BLOCKED', vm.ref, blocked];
  const state = vm.text('power_state');
  const states = allowedStates(pool, vm, operation);
  if (!states.some((allowed) => allowed === state))
    return ['VM_BAD_POWER_STATE', vm.ref, states.join(', ').toLowerCase(), state.toLowerCase()];
  return besideOthers(vm, operation) ?? ofKind(pool, vm, operation) ?? ofDevices(pool, vm, operation);
}

function besideOthers(vm: Row, operation: string): Refusal | null {
  const current = Object.entries(vm.map('current_operations'));
  const names = current.map(([, name]) => name);
  if (current.length === 0 || fitsBeside(operation, names)) return null;
  const list = (texts: readonly string[]): string =>
    texts.length === 1 ? (texts[0] ?? '') : `{${texts.join(',')}}`;
  return ['OTHER_OPERATION_IN_PROGRESS', 'VM', vm.ref, list(names), list(current.map(([ref]) => ref))];
}

/** Templates, snapshots and control domains are not for everything. */
function ofKind(pool: LabPool, vm: Row, operation: string): Refusal | null {
  const isSnapshot = vm.bool('is_a_snapshot');
  const isTemplate = vm.bool('is_a_template');
  if (isTemplate && !isSnapshot && !ofTemplates.has(operation)) {
    const own = operation === 'destroy' || operation === 'migrate_send';
    if (!own || isDefaultTemplate(vm)) return ['VM_IS_TEMPLATE', vm.ref, operation];
  }
  if (isSnapshot && !ofSnapshots.has(operation)) return ['VM_IS_SNAPSHOT', vm.ref, operation];
  if (operation === 'provision' && !isTemplate) return ['ONLY_PROVISION_TEMPLATE'];
  if (operation === 'revert' && !isSnapshot) return ['ONLY_REVERT_SNAPSHOT'];
  if (moving.has(operation) && isFixed(vm)) return ['VM_IS_IMMOBILE', vm.ref];
  if ((operation === 'changing_VCPUs' || operation === 'destroy') && isDomainZero(pool, vm))
    return ['OPERATION_NOT_ALLOWED', 'This operation is not allowed on dom0'];
  if (vm.bool('is_control_domain') && !ofControlDomains.has(operation))
    return ['OPERATION_NOT_ALLOWED', 'This operation is not allowed on a control domain'];
  if (lacksFeature(vm, operation)) return ['VM_LACKS_FEATURE', vm.ref];
  return operation === 'snapshot_with_quiesce' ? ['VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED', vm.ref] : null;
}

function ofDevices(pool: LabPool, vm: Row, operation: string): Refusal | null {
  if (operation === 'snapshot' || operation === 'checkpoint' || operation === 'suspend') {
    const resets = vm
      .rows('VBDs', 'VBD')
      .some((vbd) => vbd.row('VDI', 'VDI')?.map('sm_config')['on_boot'] === 'reset');
    if (resets) return ['VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION'];
  }
  const halted = vm.text('power_state') === 'Halted';
  if (moving.has(operation)) {
    if (vm.texts('attached_PCIs').length > 0) return ['VM_HAS_PCI_ATTACHED', vm.ref];
    if (vm.texts('VGPUs').length > 0 && !halted) return ['VM_HAS_VGPU', vm.ref];
  }
  if ((moving.has(operation) || operation === 'snapshot') && vm.texts('VUSBs').length > 0)
    return ['VM_HAS_VUSBS', vm.ref];
  if (operation === 'make_into_template') {
    const [appliance, schedule] = [vm.text('appliance'), vm.text('snapshot_schedule')];
    if (pool.db.find('VM_appliance', appliance) !== undefined)
      return ['VM_IS_PART_OF_AN_APPLIANCE', vm.ref, appliance];
    if (schedule !== nullRef && pool.db.find('VMSS', schedule) !== undefined)
      return ['VM_ASSIGNED_TO_SNAPSHOT_SCHEDULE', vm.ref, schedule];
  }
  const tpms = vm.texts('VTPMs').length;
  return operation === 'create_vtpm' && tpms > 0 ? ['VTPM_MAX_AMOUNT_REACHED', String(tpms)] : null;
}

/** Raises the reason why an operation is refused. */
export function needOperation(pool: LabPool, vm: Row, operation: string): void {
  const reason = refusal(pool, vm, operation);
  if (reason !== null) throw new XenFailure(reason[0], reason.slice(1));
}

const isBusy = (pool: LabPool, vm: Row, operation: string): boolean =>
  vm.alive && refusal(pool, vm, operation)?.[0] === 'OTHER_OPERATION_IN_PROGRESS';

/**
 * Puts the operation into the VM's current_operations; others are waited for. Whoever takes it takes it away again.
 */
export async function takeOperation(
  pool: LabPool,
  vm: Row,
  operation: string,
  operationRef: string,
  seconds = patienceSeconds,
): Promise<void> {
  if (isBusy(pool, vm, operation)) await pool.until(() => !isBusy(pool, vm, operation), seconds);
  pool.db.row('VM', vm.ref);
  needOperation(pool, vm, operation);
  vm.put('current_operations', operationRef, operation);
}

/** Runs work while the operation stands in the VM's current_operations. */
export async function withOperation<T>(
  pool: LabPool,
  vm: Row,
  operation: string,
  operationRef: string,
  work: () => T | Promise<T>,
): Promise<T> {
  // Without waiting when nothing is in the way: a driven clock knows only of sleeps that have begun.
  if (isBusy(pool, vm, operation)) await takeOperation(pool, vm, operation, operationRef);
  else {
    needOperation(pool, vm, operation);
    vm.put('current_operations', operationRef, operation);
  }
  try {
    return await work();
  } finally {
    if (vm.alive) vm.drop('current_operations', operationRef);
  }
}

/** Operations that no client is told about. */
const untold = new Set([
  'create_template',
  'power_state_reset',
  'csvm',
  'get_boot_record',
  'send_sysrq',
  'send_trigger',
  'query_services',
  'shutdown',
  'call_plugin',
  'changing_memory_live',
  'awaiting_memory_live',
  'changing_memory_limits',
  'changing_shadow_memory_live',
  'changing_VCPUs',
  'assert_operation_valid',
  'data_source_op',
  'update_allowed_operations',
  'import',
  'reverting',
]);
const told = (enums.get('vm_operations') ?? []).filter((name) => !untold.has(name)).toReversed();

/** allowed_operations, in the order of the recordings. */
export function allowedVmOperations(pool: LabPool, vm: Row): string[] {
  return told.filter((operation) => refusal(pool, vm, operation) === null);
}
