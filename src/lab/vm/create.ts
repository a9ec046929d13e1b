/** VM.create, VM.destroy and the setters that check something (xapi.md 8.1, 8.5, 8.7). */
import { randomUUID } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { isStruct, nullRef, type Struct, struct } from '../core/values.ts';
import { needAgile } from './placement.ts';
import { dropParts, needState, needUnblocked } from './state.ts';

/** Bytes that a domain takes beside its memory; measured for 1 GiB and one CPU. */
export function memoryOverhead(staticMax: bigint, cpus: bigint): bigint {
  const mebibyte = 1024n * 1024n;
  const pages = (staticMax / mebibyte + 127n) / 128n;
  return (3n + pages + cpus) * mebibyte;
}

const serversOwn = new Set([
  'uuid',
  'resident_on',
  'domid',
  'metrics',
  'guest_metrics',
  'current_operations',
]);

function create(call: Call): string {
  const { pool } = call;
  const record = call.struct(0);
  const fields: Struct = {};
  for (const [name, value] of Object.entries(record)) if (!serversOwn.has(name)) fields[name] = value;
  const int = (name: string): bigint => (typeof record[name] === 'bigint' ? record[name] : 0n);
  const limits = ['memory_static_min', 'memory_dynamic_min', 'memory_dynamic_max', 'memory_static_max'].map(
    int,
  );
  if (limits.some((limit, i) => i > 0 && limit < (limits[i - 1] ?? 0n)))
    fail('MEMORY_CONSTRAINT_VIOLATION_ORDER');
  if (int('VCPUs_at_startup') < 1n || int('VCPUs_max') < int('VCPUs_at_startup'))
    fail('INVALID_VALUE', 'VCPUs_at_startup', String(int('VCPUs_at_startup')));
  const config = isStruct(record['other_config']) ? record['other_config'] : struct();
  const metrics = pool.db.create('VM_metrics', { current_domain_type: 'unspecified' });
  const vm = pool.db.create('VM', {
    memory_target: 0n,
    generation_id: '0:0',
    has_vendor_device: true,
    hardware_platform_version: 2n,
    ...fields,
    ...('suspend_VDI' in fields ? { suspend_VDI: nullRef } : {}),
    power_state: 'Halted',
    resident_on: nullRef,
    domid: -1n,
    metrics: metrics.ref,
    memory_overhead: memoryOverhead(int('memory_static_max'), int('VCPUs_max')),
    other_config: struct({ ...config, mac_seed: config['mac_seed'] ?? randomUUID() }),
  });
  return vm.ref;
}

function destroy(call: Call): string {
  const { pool } = call;
  const vm = call.row('VM');
  needUnblocked(vm, 'destroy');
  if (vm.bool('is_default_template')) fail('VM_CANNOT_DELETE_DEFAULT_TEMPLATE', vm.ref);
  needState(vm, 'halted', 'suspended');
  // Only the domain of a host itself: an imported "control domain" goes like any other VM.
  if (pool.db.all('host').some((host) => host.text('control_domain') === vm.ref))
    fail('OPERATION_NOT_ALLOWED', 'This operation is not allowed on dom0');
  destroyVm(pool, vm);
  return '';
}

/** Deletes the VM's records; disks stay (xapi.md 8.7). */
export function destroyVm(pool: LabPool, vm: Row): void {
  dropParts(vm, pool);
  vm.destroy();
}

export function installCreate(registry: Registry): void {
  registry.on('VM.create', create);
  registry.on('VM.destroy', destroy);
  for (const field of ['order', 'start_delay', 'shutdown_delay'] as const)
    registry.on(`VM.set_${field}`, (call) => {
      const vm = call.row('VM');
      const value = call.int(1);
      if (value < 0n) fail('INVALID_VALUE', `${field} must be non-negative`, String(value));
      vm.set({ [field]: value });
      return '';
    });
  registry.on('VM.set_ha_restart_priority', (call) => {
    const vm = call.row('VM');
    const priority = call.text(1);
    if (!['', 'best-effort', 'restart'].includes(priority))
      fail('INVALID_VALUE', 'ha_restart_priority', priority);
    if (priority === 'restart' && call.pool.row.bool('ha_enabled')) needAgile(call.pool, vm);
    const running = vm.text('power_state') === 'Running';
    vm.set({ ha_restart_priority: priority, ha_always_run: running && priority === 'restart' });
    return '';
  });
  // Deprecated: taken and without effect (recorded).
  registry.on('VM.set_ha_always_run', (call) => {
    call.row('VM');
    return '';
  });
  registry.on('VM.set_is_a_template', (call) => {
    const vm = call.row('VM');
    needUnblocked(vm, 'make_into_template');
    needState(vm, 'halted');
    if (vm.bool('is_a_snapshot')) fail('VM_IS_SNAPSHOT', vm.ref, 'make_into_template');
    vm.set({ is_a_template: call.bool(1) });
    return '';
  });
  registry.on('VM.set_VCPUs_max', (call) => setWhenHalted(call, { VCPUs_max: call.int(1) }));
  registry.on('VM.set_VCPUs_at_startup', (call) => setWhenHalted(call, { VCPUs_at_startup: call.int(1) }));
  registry.on('VM.set_memory', (call) => {
    const bytes = call.int(1);
    return setMemory(call, {
      memory_static_max: bytes,
      memory_dynamic_min: bytes,
      memory_dynamic_max: bytes,
    });
  });
  registry.on('VM.set_memory_limits', (call) =>
    setMemory(call, {
      memory_static_min: call.int(1),
      memory_static_max: call.int(2),
      memory_dynamic_min: call.int(3),
      memory_dynamic_max: call.int(4),
    }),
  );
  registry.on('VM.set_memory_static_range', (call) =>
    setMemory(call, { memory_static_min: call.int(1), memory_static_max: call.int(2) }),
  );
  registry.on('VM.set_memory_dynamic_range', (call) =>
    setMemory(call, { memory_dynamic_min: call.int(1), memory_dynamic_max: call.int(2) }),
  );
  for (const field of ['memory_static_min', 'memory_static_max', 'memory_dynamic_min', 'memory_dynamic_max'])
    registry.on(`VM.set_${field}`, (call) => setMemory(call, { [field]: call.int(1) }));
  registry.on('VM.copy_bios_strings', (call) => setWhenHalted(call, { bios_strings: struct(biosStrings) }));
  registry.on('VM.compute_memory_overhead', (call) => {
    const vm = call.row('VM');
    return memoryOverhead(vm.int('memory_static_max'), vm.int('VCPUs_max'));
  });
  registry.on('VM.update_allowed_operations', (call) => {
    call.row('VM');
    return '';
  });
}

function setWhenHalted(call: Call, fields: Struct): string {
  const vm = call.row('VM');
  needState(vm, 'halted');
  vm.set(fields);
  return '';
}

function setMemory(call: Call, fields: Readonly<Record<string, bigint>>): string {
  const vm = call.row('VM');
  if ('memory_static_min' in fields || 'memory_static_max' in fields) needState(vm, 'halted');
  const value = (name: string): bigint => fields[name] ?? vm.int(name);
  const limits = ['memory_static_min', 'memory_dynamic_min', 'memory_dynamic_max', 'memory_static_max'].map(
    value,
  );
  if (limits.some((limit, i) => i > 0 && limit < (limits[i - 1] ?? 0n)))
    fail('MEMORY_CONSTRAINT_VIOLATION_ORDER');
  vm.set({ ...fields, memory_overhead: memoryOverhead(value('memory_static_max'), vm.int('VCPUs_max')) });
  return '';
}

/** What a generic HVM guest finds; written at its first start. */
export const biosStrings: Readonly<Record<string, string>> = {
  'bios-vendor': 'Xen',
  'bios-version': '',
  'system-manufacturer': 'Xen',
  'system-product-name': 'HVM domU',
  'system-version': '',
  'system-serial-number': '',
  'baseboard-manufacturer': '',
  'baseboard-product-name': '',
  'baseboard-version': '',
  'baseboard-serial-number': '',
  'baseboard-asset-tag': '',
  'baseboard-location-in-chassis': '',
  'enclosure-asset-tag': '',
  'hp-rombios': '',
  'oem-1': 'Xen',
  'oem-2': 'MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d',
};
