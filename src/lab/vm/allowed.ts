/** allowed_operations of VMs, their devices and appliances, kept in step with every change (as recorded). */
import type { Row } from '../core/database.ts';
import type { LabPool } from '../core/pool.ts';
import { keepAllowed } from '../storage/allowed.ts';
import { hasAgent } from './state.ts';

const halted = [
  'changing_NVRAM',
  'changing_shadow_memory',
  'changing_static_range',
  'changing_dynamic_range',
];

function vmOperations(vm: Row): string[] {
  const state = vm.text('power_state');
  const busy = Object.keys(vm.map('current_operations')).length > 0;
  if (vm.bool('is_control_domain'))
    return ['metadata_export', 'changing_static_range', 'changing_dynamic_range'];
  if (busy) return state === 'Running' || state === 'Paused' ? ['hard_reboot', 'hard_shutdown'] : [];
  if (vm.bool('is_a_snapshot'))
    return ['revert', 'destroy', 'metadata_export', 'export', 'copy', 'clone', 'provision'];
  if (vm.bool('is_a_template'))
    return ['destroy', 'metadata_export', 'export', ...halted, 'provision', 'copy', 'clone'];
  switch (state) {
    case 'Halted':
      return [
        ...(vm.texts('VTPMs').length === 0 ? ['create_vtpm'] : []),
        'destroy',
        'metadata_export',
        'export',
        'make_into_template',
        ...halted,
        'migrate_send',
        'start_on',
        'start',
        'copy',
        'clone',
        'snapshot',
      ];
    case 'Running': {
      const basic = [
        'metadata_export',
        'changing_dynamic_range',
        'hard_reboot',
        'hard_shutdown',
        'pause',
        'snapshot',
      ];
      const willing = [
        'clean_shutdown',
        'clean_reboot',
        'suspend',
        'checkpoint',
        'pool_migrate',
        'migrate_send',
        'changing_VCPUs_live',
      ];
      return ['sysprep', ...(hasAgent(vm) ? willing : []), ...basic];
    }
    case 'Paused':
      return ['metadata_export', 'hard_reboot', 'hard_shutdown', 'unpause', 'snapshot'];
    default:
      return [
        'destroy',
        'metadata_export',
        'export',
        'hard_shutdown',
        'resume',
        'resume_on',
        'copy',
        'clone',
        'snapshot',
      ];
  }
}

function unblocked(vm: Row): string[] {
  const blocked = vm.map('blocked_operations');
  return vmOperations(vm).filter((name) => !(name in blocked));
}

function deviceOperations(pool: LabPool, row: Row): string[] {
  const vm = pool.db.find('VM', row.text('VM'));
  const agent = vm !== undefined && hasAgent(vm);
  const attached = row.bool('currently_attached') && vm?.text('power_state') === 'Running';
  if (row.cls === 'VIF') return attached && agent ? ['attach', 'unplug'] : ['attach'];
  const media = row.text('type') === 'CD' ? [row.bool('empty') ? 'insert' : 'eject'] : [];
  const hot = attached ? [...(agent ? ['unplug', 'unplug_force'] : []), 'unpause', 'pause'] : [];
  return ['attach', ...media, ...hot];
}

function applianceOperations(appliance: Row): string[] {
  const members = appliance.rows('VMs', 'VM');
  const anyHalted = members.some((vm) => vm.text('power_state') === 'Halted');
  const anyUp = members.some((vm) => vm.text('power_state') !== 'Halted');
  return [...(anyHalted ? ['start'] : []), ...(anyUp ? ['clean_shutdown', 'hard_shutdown', 'shutdown'] : [])];
}

const decisive = new Set([
  'power_state',
  'current_operations',
  'blocked_operations',
  'is_a_template',
  'is_a_snapshot',
  'VTPMs',
]);

export function watchVms(pool: LabPool): void {
  const ofVm = (vm: Row | undefined): void => {
    if (vm !== undefined) keepAllowed(vm, unblocked(vm));
  };
  const ofDevices = (vm: Row): void => {
    for (const vbd of vm.rows('VBDs', 'VBD')) keepAllowed(vbd, deviceOperations(pool, vbd));
    for (const vif of vm.rows('VIFs', 'VIF')) keepAllowed(vif, deviceOperations(pool, vif));
  };
  const ofAppliance = (ref: string): void => {
    const appliance = pool.db.find('VM_appliance', ref);
    if (appliance !== undefined) keepAllowed(appliance, applianceOperations(appliance));
  };
  pool.db.onChange((row, change, fields) => {
    switch (row.cls) {
      case 'VM':
        if (change === 'del') {
          ofAppliance(row.text('appliance'));
          break;
        }
        if (change === 'add' || fields.some((field) => decisive.has(field))) ofVm(row);
        if (change === 'mod' && fields.includes('power_state')) ofDevices(row);
        if (change === 'add' || fields.includes('power_state') || fields.includes('appliance'))
          ofAppliance(row.text('appliance'));
        break;
      case 'VBD':
      case 'VIF':
        if (
          change === 'add' ||
          (change === 'mod' && (fields.includes('currently_attached') || fields.includes('empty')))
        )
          keepAllowed(row, deviceOperations(pool, row));
        break;
      case 'VM_guest_metrics':
        if (change === 'mod' && fields.includes('PV_drivers_detected')) {
          const vm = pool.db.all('VM').find((candidate) => candidate.text('guest_metrics') === row.ref);
          ofVm(vm);
          if (vm !== undefined) ofDevices(vm);
        }
        break;
      case 'VM_appliance':
        if (change === 'add' || fields.includes('VMs')) ofAppliance(row.ref);
        break;
      default:
    }
  });
}
