/** What a drive or an interface may be asked, and why not otherwise (xapi.md 4.6, 8.2); the first broken rule counts. */
import type { Row } from '../core/database.ts';
import { XenFailure } from '../core/failure.ts';
import { hasAgent } from './state.ts';

type Refusal = readonly [code: string, ...params: string[]];

const hotplug = new Set(['plug', 'unplug', 'unplug_force']);
const stopping = new Set(['clean_shutdown', 'hard_shutdown', 'suspend', 'pause']);

/** Plugging needs a running VM, and the other state of the device. */
function ofPower(row: Row, vm: Row, operation: string): Refusal | null {
  const state = vm.text('power_state');
  const needsRunning = hotplug.has(operation);
  const needsDomain = operation === 'pause' || operation === 'unpause';
  if (state === 'Running') {
    const plugged = row.bool('currently_attached');
    if (plugged && operation === 'plug') return ['DEVICE_ALREADY_ATTACHED', row.ref];
    if (!plugged && needsRunning && operation !== 'plug') return ['DEVICE_ALREADY_DETACHED', row.ref];
    return null;
  }
  if (needsRunning || (needsDomain && state !== 'Paused'))
    return ['VM_BAD_POWER_STATE', vm.ref, 'running', state.toLowerCase()];
  return null;
}

/** Nothing is plugged while the VM goes down. */
function ofVmOperations(vm: Row, operation: string): Refusal | null {
  if (operation !== 'plug' && operation !== 'unplug') return null;
  const going = Object.values(vm.map('current_operations')).find((name) => stopping.has(name));
  return going === undefined
    ? null
    : ['OPERATION_NOT_ALLOWED', `Current operation on VM:${vm.ref} is ${going}`];
}

/** A guest with a device model plugs with the help of its drivers only. */
function ofDrivers(vm: Row, field: 'can_use_hotplug_vbd' | 'can_use_hotplug_vif'): Refusal | null {
  const claim = vm.row('guest_metrics', 'VM_guest_metrics')?.text(field) ?? '';
  const kind = field === 'can_use_hotplug_vbd' ? 'VBD' : 'VIF';
  if (claim === 'yes' || hasAgent(vm)) return null;
  if (claim === 'no') return ['OPERATION_NOT_ALLOWED', `VM states it does not support ${kind} hotplug.`];
  return ['VM_MISSING_PV_DRIVERS', vm.ref];
}

const runsHvm = (vm: Row): boolean =>
  vm.text('power_state') === 'Running' && vm.text('domain_type') === 'hvm';

/** Disks that others use: nobody else may write, and whoever writes is alone. */
function ofSharing(vbd: Row, vdi: Row): Refusal | null {
  const needsWrite = vbd.text('mode') === 'RW';
  const others = vdi.rows('VBDs', 'VBD').filter((other) => {
    if (other === vbd || !other.bool('currently_attached')) return false;
    return other.row('VM', 'VM')?.text('power_state') !== 'Suspended';
  });
  const written = others.some((other) => other.text('mode') === 'RW');
  if (!vdi.bool('sharable') && (written || (needsWrite && others.length > 0))) return ['VDI_IN_USE', vdi.ref];
  return needsWrite && vdi.bool('read_only') ? ['VDI_READONLY', vdi.ref] : null;
}

function vbdRefusal(vbd: Row, vm: Row, operation: string, withSharing: boolean): Refusal | null {
  const unplugs = operation === 'unplug' || operation === 'unplug_force';
  const media = operation === 'insert' || operation === 'eject';
  const isCd = vbd.text('type') === 'CD';
  if (unplugs && !vbd.bool('unpluggable')) return ['VBD_NOT_UNPLUGGABLE', vbd.ref];
  if (media && !isCd) return ['VBD_NOT_REMOVABLE_MEDIA', vbd.ref];
  if (operation === 'eject' && vbd.bool('empty')) return ['VBD_IS_EMPTY', vbd.ref];
  if (operation === 'insert' && !vbd.bool('empty')) return ['VBD_NOT_EMPTY', vbd.ref];
  const power = ofPower(vbd, vm, operation) ?? ofVmOperations(vm, operation);
  if (power !== null) return power;
  if (hotplug.has(operation) && runsHvm(vm)) {
    const drivers = ofDrivers(vm, 'can_use_hotplug_vbd');
    if (drivers !== null) return drivers;
    if (isCd)
      return ['OPERATION_NOT_ALLOWED', 'HVM CDROMs cannot be hotplugged/unplugged, only inserted or ejected'];
  }
  if (media && vm.text('power_state') === 'Suspended')
    return ['VM_BAD_POWER_STATE', vm.ref, 'halted, running', 'suspended'];
  const vdi = vbd.bool('empty') ? undefined : vbd.row('VDI', 'VDI');
  if (vdi === undefined) return null;
  if (!vdi.bool('managed')) return ['VDI_NOT_MANAGED', vbd.ref];
  const takesDisk = operation === 'attach' || operation === 'plug' || operation === 'insert';
  return withSharing && takesDisk && !vbd.bool('currently_attached') ? ofSharing(vbd, vdi) : null;
}

function vifRefusal(vif: Row, vm: Row, operation: string): Refusal | null {
  if (operation === 'attach') return null;
  const power = ofPower(vif, vm, operation) ?? ofVmOperations(vm, operation);
  if (power !== null) return power;
  return runsHvm(vm) ? ofDrivers(vm, 'can_use_hotplug_vif') : null;
}

/** Raises the reason why a device does not do what it is asked. */
export function needDevice(row: Row, operation: string): void {
  const vm = row.row('VM', 'VM');
  if (vm === undefined) throw new XenFailure('HANDLE_INVALID', ['VM', row.text('VM')]);
  const reason = row.cls === 'VBD' ? vbdRefusal(row, vm, operation, true) : vifRefusal(row, vm, operation);
  if (reason !== null) throw new XenFailure(reason[0], reason.slice(1));
}

const vbdOperations = ['attach', 'insert', 'eject', 'plug', 'unplug', 'unplug_force', 'unpause', 'pause'];
const vifOperations = ['attach', 'plug', 'unplug'];

/** allowed_operations: who else uses the disk is not looked at here. */
export function allowedDeviceOperations(row: Row): string[] {
  const vm = row.row('VM', 'VM');
  if (vm === undefined) return ['attach'];
  return row.cls === 'VBD'
    ? vbdOperations.filter((operation) => vbdRefusal(row, vm, operation, false) === null)
    : vifOperations.filter((operation) => vifRefusal(row, vm, operation) === null);
}

/** Raises what `VM.start` finds when it marks the drives of a VM for attaching. */
export function needAttachable(vm: Row): void {
  for (const vbd of vm.rows('VBDs', 'VBD')) needDevice(vbd, 'attach');
}
