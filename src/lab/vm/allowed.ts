/** allowed_operations of VMs, their devices and appliances, kept in step with every change (as recorded). */
import type { Row } from '../core/database.ts';
import type { LabPool } from '../core/pool.ts';
import { keepAllowed } from '../storage/allowed.ts';
import { applianceRefusal } from './appliance.ts';
import { allowedDeviceOperations } from './device-operations.ts';
import { allowedVmOperations } from './operations.ts';

const applianceOperations = (appliance: Row): string[] =>
  (['start', 'clean_shutdown', 'hard_shutdown', 'shutdown'] as const).filter(
    (operation) => applianceRefusal(appliance, operation) === null,
  );

const decisive = new Set([
  'power_state',
  'current_operations',
  'blocked_operations',
  'is_a_template',
  'is_a_snapshot',
  'is_default_template',
  'appliance',
  'guest_metrics',
  'VTPMs',
  'VGPUs',
  'VUSBs',
]);

export function watchVms(pool: LabPool): void {
  const ofVm = (vm: Row | undefined): void => {
    if (vm !== undefined) keepAllowed(vm, allowedVmOperations(pool, vm));
  };
  const ofDevices = (vm: Row): void => {
    for (const vbd of vm.rows('VBDs', 'VBD')) keepAllowed(vbd, allowedDeviceOperations(vbd));
    for (const vif of vm.rows('VIFs', 'VIF')) keepAllowed(vif, allowedDeviceOperations(vif));
  };
  const ofTpms = (vm: Row): void => {
    const operations = vm.text('power_state') === 'Halted' ? ['destroy'] : [];
    for (const vtpm of vm.rows('VTPMs', 'VTPM')) keepAllowed(vtpm, operations);
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
        if (change === 'mod' && fields.includes('power_state')) {
          ofDevices(row);
          ofTpms(row);
        }
        if (change === 'mod' && fields.includes('VTPMs')) ofTpms(row);
        if (change === 'add' || fields.includes('power_state') || fields.includes('appliance'))
          ofAppliance(row.text('appliance'));
        break;
      case 'VBD':
      case 'VIF':
        if (
          change === 'add' ||
          (change === 'mod' && (fields.includes('currently_attached') || fields.includes('empty')))
        )
          keepAllowed(row, allowedDeviceOperations(row));
        break;
      case 'VM_guest_metrics':
        if (change === 'mod' && fields.includes('PV_drivers_detected')) {
          const vm = pool.db.all('VM').find((candidate) => candidate.text('guest_metrics') === row.ref);
          ofVm(vm);
          if (vm !== undefined) ofDevices(vm);
        }
        break;
      case 'VM_appliance':
        if (change === 'add' || fields.includes('VMs') || fields.includes('current_operations'))
          ofAppliance(row.ref);
        break;
      default:
    }
  });
}
