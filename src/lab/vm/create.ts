/** VM.create, VM.destroy and the setters that check something (xapi.md 8.1, 8.5, 8.7). */
import { randomUUID } from 'node:crypto';
import { newRef, type Row } from '../core/database.ts';
import { fail } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { epoch, isStruct, nullRef, type Struct, struct } from '../core/values.ts';
import { isDomainZero, withOperation } from './operations.ts';
import { dropParts, needState } from './state.ts';

/** Bytes that a domain takes beside its memory; measured for 1 GiB and one CPU. */
export function memoryOverhead(staticMax: bigint, cpus: bigint): bigint {
  const mebibyte = 1024n * 1024n;
  const pages = (staticMax / mebibyte + 127n) / 128n;
  return (3n + pages + cpus) * mebibyte;
}

/** What a new VM has, whatever its record says. */
const own: Readonly<Struct> = {
  uuid: '',
  domid: -1n,
  resident_on: nullRef,
  current_operations: struct(),
  blocked_operations: struct(),
  guest_metrics: nullRef,
  is_control_domain: false,
  is_default_template: false,
  is_a_snapshot: false,
  snapshot_of: nullRef,
  snapshot_time: epoch,
  snapshot_info: struct(),
  snapshot_metadata: '',
  transportable_snapshot_id: '',
  parent: nullRef,
  protection_policy: nullRef,
  snapshot_schedule: nullRef,
  bios_strings: struct(),
  groups: [],
};

/** Takes any numbers: whether a VM makes sense is looked at when it starts. */
function create(call: Call): string {
  const { pool } = call;
  const record = call.struct(0);
  const text = (name: string): string => (typeof record[name] === 'string' ? record[name] : '');
  const int = (name: string): bigint => (typeof record[name] === 'bigint' ? record[name] : 0n);
  const config = isStruct(record['other_config']) ? record['other_config'] : struct();
  const suspended = text('power_state') === 'Suspended';
  const ref = newRef();
  if (suspended) {
    const flags = record['last_boot_CPU_flags'];
    const image = text('suspend_VDI');
    const whole = isStruct(flags) && Object.keys(flags).length > 0 && text('last_booted_record') !== '';
    if (!whole || image === '' || image === nullRef) fail('VM_BAD_POWER_STATE', ref, 'halted', 'suspended');
  }
  const kind = text('domain_type');
  const domainType =
    kind === '' || kind === 'unspecified' ? (text('HVM_boot_policy') === '' ? 'pv' : 'hvm') : kind;
  const metrics = pool.db.create('VM_metrics', {
    current_domain_type: suspended ? domainType : 'unspecified',
    VCPUs_utilisation: struct({ '0': 0 }),
  });
  const vendor = record['has_vendor_device'] !== false;
  const hardware = int('hardware_platform_version');
  pool.db.create(
    'VM',
    {
      memory_target: 0n,
      generation_id: '0:0',
      ...record,
      ...own,
      ...(suspended ? {} : { last_boot_CPU_flags: struct(), last_booted_record: '', suspend_VDI: nullRef }),
      has_vendor_device: vendor,
      hardware_platform_version: vendor && hardware < vendorHardware ? vendorHardware : hardware,
      domain_type: domainType,
      power_state: suspended ? 'Suspended' : 'Halted',
      metrics: metrics.ref,
      memory_overhead: memoryOverhead(int('memory_static_max'), int('VCPUs_max')),
      other_config: struct({ ...config, mac_seed: config['mac_seed'] ?? randomUUID() }),
    },
    ref,
  );
  return ref;
}

/** The version of the virtual hardware that a guest with the vendor's device needs. */
const vendorHardware = 2n;

async function destroy(call: Call): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  await withOperation(pool, vm, 'destroy', call.operationRef, () => {
    if (vm.map('other_config')['default_template'] === 'true') fail('VM_CANNOT_DELETE_DEFAULT_TEMPLATE');
    destroyVm(pool, vm);
  });
  return '';
}

/** Deletes the VM's records; disks stay (xapi.md 8.7). */
export function destroyVm(pool: LabPool, vm: Row): void {
  for (const child of vm.rows('children', 'VM')) child.set({ parent: vm.text('parent') });
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
    setPriority(call.row('VM'), call.text(1));
    return '';
  });
  // The flag itself is not for clients; it stands for the priority.
  registry.on('VM.set_ha_always_run', (call) => {
    setPriority(call.row('VM'), call.bool(1) ? 'restart' : '');
    return '';
  });
  registry.on('VM.set_is_a_template', setIsTemplate);
  registry.on('VM.provision', async (call) => {
    const vm = call.row('VM');
    await withOperation(call.pool, vm, 'provision', call.operationRef, () => becomeMachine(call.pool, vm));
    return '';
  });
  registry.on('VM.set_VCPUs_max', async (call) => {
    const vm = call.row('VM');
    const value = call.int(1);
    await withOperation(call.pool, vm, 'changing_VCPUs', call.operationRef, () => {
      if (value < 1n || value < vm.int('VCPUs_at_startup')) fail('INVALID_VALUE', cpuRule, String(value));
      vm.set({
        VCPUs_max: value,
        memory_overhead: memoryOverhead(vm.int('memory_static_max'), value),
      });
    });
    return '';
  });
  registry.on('VM.set_VCPUs_at_startup', (call) => {
    const vm = call.row('VM');
    const value = call.int(1);
    if (isDomainZero(call.pool, vm))
      fail('OPERATION_NOT_ALLOWED', 'set_VCPUs_at_startup is not allowed on dom0');
    if (value < 1n || value > vm.int('VCPUs_max')) fail('INVALID_VALUE', cpuRule, String(value));
    vm.set({ VCPUs_at_startup: value });
    return '';
  });
  registry.on('VM.set_memory', (call) => {
    const [staticMin, bytes] = [call.row('VM').int('memory_static_min'), call.int(1)];
    return setMemory(call, 'changing_memory_limits', {
      ...statics(staticMin, bytes),
      ...dynamics(bytes, bytes),
    });
  });
  registry.on('VM.set_memory_limits', (call) =>
    setMemory(call, 'changing_memory_limits', {
      ...statics(call.int(1), call.int(2)),
      ...dynamics(call.int(3), call.int(4)),
    }),
  );
  registry.on('VM.set_memory_static_range', (call) =>
    setMemory(call, 'changing_static_range', statics(call.int(1), call.int(2))),
  );
  registry.on('VM.set_memory_dynamic_range', (call) =>
    setMemory(call, 'changing_dynamic_range', dynamics(call.int(1), call.int(2))),
  );
  const now = (call: Call, field: string): bigint => call.row('VM').int(`memory_${field}`);
  registry.on('VM.set_memory_static_min', (call) =>
    setMemory(call, 'changing_static_range', statics(call.int(1), now(call, 'static_max'))),
  );
  registry.on('VM.set_memory_static_max', (call) =>
    setMemory(call, 'changing_static_range', statics(now(call, 'static_min'), call.int(1))),
  );
  registry.on('VM.set_memory_dynamic_min', (call) =>
    setMemory(call, 'changing_dynamic_range', dynamics(call.int(1), now(call, 'dynamic_max'))),
  );
  registry.on('VM.set_memory_dynamic_max', (call) =>
    setMemory(call, 'changing_dynamic_range', dynamics(now(call, 'dynamic_min'), call.int(1))),
  );
  registry.on('VM.set_HVM_shadow_multiplier', async (call) => {
    const vm = call.row('VM');
    const value = call.float(1);
    await withOperation(call.pool, vm, 'changing_shadow_memory', call.operationRef, () => {
      if (value < 1) fail('INVALID_VALUE', 'multiplier', ocamlFloat(value));
      vm.set({ HVM_shadow_multiplier: value });
    });
    return '';
  });
  registry.on('VM.set_has_vendor_device', (call) => {
    const vm = call.row('VM');
    needState(vm, 'halted');
    const value = call.bool(1);
    const hardware = vm.int('hardware_platform_version');
    vm.set({
      has_vendor_device: value,
      hardware_platform_version: value && hardware < vendorHardware ? vendorHardware : hardware,
    });
    return '';
  });
  registry.on('VM.set_domain_type', (call) => {
    const vm = call.row('VM');
    const kind = call.text(1);
    if (kind === 'unspecified') fail('INVALID_VALUE', 'domain_type', kind);
    vm.set({ domain_type: kind, HVM_boot_policy: kind === 'hvm' ? 'BIOS order' : '' });
    return '';
  });
  registry.on('VM.set_HVM_boot_policy', (call) => {
    const policy = call.text(1);
    call.row('VM').set({ HVM_boot_policy: policy, domain_type: policy === '' ? 'pv' : 'hvm' });
    return '';
  });
  registry.on('VM.copy_bios_strings', (call) => {
    const vm = call.row('VM');
    const host = call.row('host', 1);
    if (Object.keys(vm.map('bios_strings')).length > 0) fail('VM_BIOS_STRINGS_ALREADY_SET');
    vm.set({ bios_strings: struct(host.map('bios_strings')), affinity: host.ref });
    return '';
  });
  registry.on('VM.compute_memory_overhead', (call) => {
    const vm = call.row('VM');
    return memoryOverhead(vm.int('memory_static_max'), vm.int('VCPUs_max'));
  });
  registry.on('VM.update_allowed_operations', (call) => {
    call.row('VM');
    return '';
  });
}

const cpuRule = 'VCPU values must satisfy: 0 < VCPUs_at_startup \u2264 VCPUs_max';

/** OCaml's `string_of_float`. */
const ocamlFloat = (value: number): string => (Number.isInteger(value) ? `${value}.` : String(value));

const statics = (min: bigint, max: bigint) => ({ memory_static_min: min, memory_static_max: max });
const dynamics = (min: bigint, max: bigint) => ({
  memory_dynamic_min: min,
  memory_dynamic_max: max,
  memory_target: min,
});

async function setMemory(
  call: Call,
  operation: string,
  fields: Readonly<Record<string, bigint>>,
): Promise<string> {
  const vm = call.row('VM');
  await withOperation(call.pool, vm, operation, call.operationRef, () => {
    const value = (name: string): bigint => fields[name] ?? vm.int(name);
    const limits = ['memory_static_min', 'memory_dynamic_min', 'memory_dynamic_max', 'memory_static_max'];
    const bytes = limits.map(value);
    const disordered = bytes.some((limit, i) => i > 0 && limit < (bytes[i - 1] ?? 0n));
    const pinned = new Set(bytes.slice(1)).size === 1;
    // A host's own domain cannot balloon.
    if (vm.bool('is_control_domain') && (disordered || !pinned))
      fail('MEMORY_CONSTRAINT_VIOLATION_MAXPIN', 'control domain');
    if (disordered) fail('MEMORY_CONSTRAINT_VIOLATION_ORDER');
    vm.set({ ...fields, memory_overhead: memoryOverhead(value('memory_static_max'), vm.int('VCPUs_max')) });
  });
  return '';
}

/** A running VM is protected, or not, from now on. */
function setPriority(vm: Row, priority: string): void {
  if (!['', 'best-effort', 'restart'].includes(priority))
    fail('INVALID_VALUE', 'ha_restart_priority', priority);
  if (vm.text('ha_restart_priority') === priority) return;
  const running = vm.text('power_state') === 'Running';
  vm.set({
    ha_restart_priority: priority,
    ...(running ? { ha_always_run: priority === 'restart' } : {}),
  });
}

async function setIsTemplate(call: Call): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  if (!call.bool(1)) {
    becomeMachine(pool, vm);
    return '';
  }
  await withOperation(pool, vm, 'make_into_template', call.operationRef, () => {
    const restarts = vm.bool('ha_always_run') && vm.text('ha_restart_priority') === 'restart';
    if (pool.row.bool('ha_enabled') && restarts) fail('VM_IS_PROTECTED', vm.ref);
    for (const vusb of vm.rows('VUSBs', 'VUSB')) vusb.destroy();
    pool.db.find('VM_metrics', vm.text('metrics'))?.destroy();
    vm.set({ is_a_template: true, ha_always_run: false, groups: [], metrics: nullRef });
  });
  return '';
}

/** "Install time": a template becomes a VM, whatever it was. */
function becomeMachine(pool: LabPool, vm: Row): void {
  pool.db.find('VM_metrics', vm.text('metrics'))?.set({ install_time: pool.now() });
  vm.set({ is_a_template: false });
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
