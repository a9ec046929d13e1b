/** Messages of VMs that mostly refuse: setters with a state, deprecated ones, and those that xapi does not implement. */
import { fail } from '../core/failure.ts';
import type { Call, Registry } from '../core/registry.ts';
import { struct } from '../core/values.ts';
import { biosStrings } from './create.ts';
import { withOperation } from './operations.ts';
import { needState } from './state.ts';

type Work = (call: Call) => string;

const nothing: Work = () => '';
const notImplemented =
  (what: string): Work =>
  () =>
    fail('NOT_IMPLEMENTED', what);

/** Message, the operation that has to be allowed, and what happens then. */
const guarded: readonly (readonly [name: string, operation: string, work: Work])[] = [
  ['set_NVRAM', 'changing_NVRAM', (call) => set(call, { NVRAM: struct(call.map(1)) })],
  ['add_to_NVRAM', 'changing_NVRAM', addToNvram],
  ['remove_from_NVRAM', 'changing_NVRAM', removeFromNvram],
  ['set_memory_target_live', 'changing_memory_live', nothing],
  ['wait_memory_target_live', 'awaiting_memory_live', nothing],
  ['set_VCPUs_number_live', 'changing_VCPUs_live', nothing],
  ['add_to_VCPUs_params_live', 'changing_VCPUs_live', notImplemented('add_to_VCPUs_params_live')],
  ['send_sysrq', 'send_sysrq', notImplemented('send_sysrq')],
  ['send_trigger', 'send_trigger', notImplemented('send_trigger')],
];

function set(call: Call, fields: Parameters<ReturnType<Call['row']>['set']>[0]): string {
  call.row('VM').set(fields);
  return '';
}

function addToNvram(call: Call): string {
  const vm = call.row('VM');
  const key = call.text(1);
  if (Object.hasOwn(vm.map('NVRAM'), key)) fail('MAP_DUPLICATE_KEY', 'VM', 'NVRAM', vm.ref, key);
  vm.put('NVRAM', key, call.text(2));
  return '';
}

function removeFromNvram(call: Call): string {
  call.row('VM').drop('NVRAM', call.text(1));
  return '';
}

export function installSettings(registry: Registry): void {
  for (const [name, operation, work] of guarded)
    registry.on(`VM.${name}`, (call) =>
      withOperation(call.pool, call.row('VM'), operation, call.operationRef, () => work(call)),
    );
  registry.on('VM.get_cooperative', (call) => {
    call.row('VM');
    return true;
  });
  registry.on('VM.set_protection_policy', (call) => {
    call.row('VM');
    return fail('NOT_IMPLEMENTED', 'VM.set_protection_policy');
  });
  registry.on('VM.set_suspend_VDI', (call) => {
    const vm = call.row('VM');
    needState(vm, 'suspended');
    return set(call, { suspend_VDI: call.row('VDI', 1).ref });
  });
  registry.on('VM.set_groups', (call) => {
    const vm = call.row('VM');
    if (vm.bool('is_control_domain') || vm.bool('is_a_template') || vm.bool('is_a_snapshot'))
      fail(
        'OPERATION_NOT_ALLOWED',
        'Control domains, templates, and snapshots cannot be added to VM groups.',
      );
    if (call.texts(1).length > 1) fail('TOO_MANY_GROUPS');
    return set(call, { groups: [...call.texts(1)] });
  });
  registry.on('VM.set_bios_strings', setBiosStrings);
}

/** Which strings a client may set. */
const settable = new Set([
  'bios-vendor',
  'bios-version',
  'system-manufacturer',
  'system-product-name',
  'system-version',
  'system-serial-number',
  'baseboard-manufacturer',
  'baseboard-product-name',
  'baseboard-version',
  'baseboard-serial-number',
  'baseboard-asset-tag',
  'baseboard-location-in-chassis',
  'enclosure-asset-tag',
]);
const longest = 512;

function setBiosStrings(call: Call): string {
  const vm = call.row('VM');
  if (Object.keys(vm.map('bios_strings')).length > 0) fail('VM_BIOS_STRINGS_ALREADY_SET');
  for (const [key, value] of Object.entries(call.map(1))) {
    if (!settable.has(key)) fail('INVALID_VALUE', key, 'Unknown key');
    if (value === '') fail('INVALID_VALUE', key, 'Value provided is empty');
    if (value.length > longest)
      fail('INVALID_VALUE', key, `${value} has length more than ${longest} characters`);
    if (!/^[ -~]*$/.test(value)) fail('INVALID_VALUE', key, `${value} has non-printable ASCII characters`);
  }
  return set(call, { bios_strings: struct({ ...biosStrings, ...call.map(1) }) });
}
