/** Starting and stopping VMs (xapi.md 8.2, 8.3). */
import { randomBytes } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail, internal, XenFailure } from '../core/failure.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import type { Call, Registry } from '../core/registry.ts';
import { nullRef, struct } from '../core/values.ts';
import { backendOn, isBare } from '../storage/state.ts';
import { createVdi, destroyVdi } from '../storage/vdi.ts';
import { renewGuestMetrics, startAgent } from './agent.ts';
import { biosStrings } from './create.ts';
import { chooseHost, needAgile, needBootable, possibleHosts } from './placement.ts';
import { hasAgent, needState, needUnblocked, vmState } from './state.ts';

/** Others wait as long as xapi lets them (xapi.md 2.3). */
const lockSeconds = 7200;
const stops = [
  'start',
  'start_on',
  'resume',
  'resume_on',
  'clean_shutdown',
  'clean_reboot',
  'shutdown',
  'snapshot',
  'metadata_export',
];

export function installPower(registry: Registry): void {
  registry.on('VM.start', async (call) => {
    await startVm(call.pool, call.row('VM'), null, call.operationRef, 'start');
    if (call.bool(1)) startedPaused(call.row('VM'));
    return '';
  });
  registry.on('VM.start_on', async (call) => {
    const vm = call.row('VM');
    const host = call.row('host', 1);
    needStartable(vm, 'start_on');
    const named = call.pool.hostOf(host.ref) ?? fail('HOST_OFFLINE', host.ref);
    await startVm(call.pool, vm, named, call.operationRef, 'start_on');
    if (call.bool(2)) startedPaused(vm);
    return '';
  });
  registry.on('VM.clean_shutdown', (call) => shutdownCall(call, 'clean_shutdown'));
  registry.on('VM.hard_shutdown', (call) => shutdownCall(call, 'hard_shutdown'));
  registry.on('VM.shutdown', async (call) => {
    await shutdownVm(call.pool, call.row('VM'), 'shutdown', call.operationRef);
    return '';
  });
  registry.on('VM.clean_reboot', (call) => reboot(call, 'clean_reboot'));
  registry.on('VM.hard_reboot', (call) => reboot(call, 'hard_reboot'));
  registry.on('VM.pause', (call) => switchState(call, 'pause', 'running', 'Paused'));
  registry.on('VM.unpause', (call) => switchState(call, 'unpause', 'paused', 'Running'));
  registry.on('VM.suspend', suspend);
  registry.on('VM.resume', (call) => resume(call, null));
  registry.on('VM.resume_on', (call) => resume(call, call.row('host', 1)));
  registry.on('VM.power_state_reset', (call) => {
    resetPowerState(call.row('VM'));
    return '';
  });
  registry.on('VM.pool_migrate', migrate);
  registry.on('VM.assert_can_boot_here', (call) => {
    const vm = call.row('VM');
    const host = call.row('host', 1);
    needBootable(call.pool, vm, call.pool.hostOf(host.ref) ?? fail('HOST_OFFLINE', host.ref));
    return '';
  });
  registry.on('VM.get_possible_hosts', (call) =>
    possibleHosts(call.pool, call.row('VM')).map((host) => host.row.ref),
  );
  registry.on('VM.assert_agile', (call) => {
    needAgile(call.pool, call.row('VM'));
    return '';
  });
}

/** A start in paused state does not stay paused on the recorded machine. */
function startedPaused(vm: Row): never {
  internal(`VM not in expected power state after completing operation: ${vm.ref}, paused, running`);
}

function needStartable(vm: Row, operation: string): void {
  needUnblocked(vm, operation);
  if (vm.bool('is_a_snapshot')) fail('VM_IS_SNAPSHOT', vm.ref, operation);
  if (vm.bool('is_a_template')) fail('VM_IS_TEMPLATE', vm.ref, operation);
  needState(vm, 'halted');
}

/** Starts a VM, on a given host or where it fits; `start_delay` passes inside. */
export async function startVm(
  pool: LabPool,
  vm: Row,
  where: LabHost | null,
  operationRef: string,
  operation: 'start' | 'start_on' = 'start',
): Promise<void> {
  needStartable(vm, operation);
  await pool.lock(
    vm,
    operation,
    operationRef,
    async () => {
      needStartable(vm, operation);
      const host = where ?? chooseHost(pool, vm);
      needBootable(pool, vm, host);
      needDisks(pool, vm, host);
      boot(pool, vm, host);
      const delay = Number(vm.int('start_delay'));
      if (delay > 0) await pool.clock.sleep(delay);
    },
    { waitSeconds: lockSeconds },
  );
}

/** Every disk must be there, and nobody else may write to it. */
function needDisks(pool: LabPool, vm: Row, host: LabHost): void {
  for (const vbd of vm.rows('VBDs', 'VBD')) {
    const vdi = vbd.bool('empty') ? undefined : vbd.row('VDI', 'VDI');
    const sr = vdi?.row('SR', 'SR');
    if (vdi === undefined || sr === undefined || isBare(pool, sr)) continue;
    if (vbd.text('mode') === 'RW' && !vdi.bool('sharable')) needNoWriter(vm, vbd, vdi);
    const backend = backendOn(pool, sr, host.row.ref);
    if (backend === null) fail('VM_REQUIRES_SR', vm.ref, sr.ref);
    const access = backend.access();
    if (access === 'none') unavailable(`${vdi.uuid}: Stale file handle`);
    if (access === 'ro' && vbd.text('mode') === 'RW') unavailable(`${vdi.uuid}: Read-only file system`);
    try {
      backend.open(vdi.text('location'), 'r').close();
    } catch (error) {
      unavailable(`${vdi.uuid}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function unavailable(detail: string): never {
  fail('SR_BACKEND_FAILURE_46', '', `The VDI is not available [opterr=${detail}]`, '');
}

function needNoWriter(vm: Row, own: Row, vdi: Row): void {
  for (const vbd of vdi.rows('VBDs', 'VBD')) {
    if (vbd === own || !vbd.bool('currently_attached') || vbd.text('mode') !== 'RW') continue;
    const other = vbd.row('VM', 'VM');
    if (other !== undefined && other !== vm && other.text('power_state') !== 'Halted')
      fail('VDI_IN_USE', vdi.ref, 'attach');
  }
}

function boot(pool: LabPool, vm: Row, host: LabHost): void {
  const state = vmState(pool);
  const domid = state.nextDomid;
  state.nextDomid += 1n;
  attachDevices(vm);
  pool.db.find('VM_metrics', vm.text('metrics'))?.set({
    start_time: pool.now(),
    VCPUs_number: vm.int('VCPUs_at_startup'),
    current_domain_type: vm.text('domain_type'),
    hvm: vm.text('domain_type') === 'hvm',
  });
  const firstStart = vm.text('generation_id') === '0:0';
  vm.set({
    power_state: 'Running',
    resident_on: host.row.ref,
    domid,
    memory_target: vm.int('memory_dynamic_max'),
    last_boot_CPU_flags: struct({ vendor: host.row.map('cpu_info')['vendor'] ?? '', features: '' }),
    platform: struct({ 'device-model': 'qemu-upstream-compat', ...vm.map('platform') }),
    ha_always_run: vm.text('ha_restart_priority') === 'restart',
    ...(firstStart ? { generation_id: newGeneration() } : {}),
    ...(Object.keys(vm.map('bios_strings')).length === 0 ? { bios_strings: struct(biosStrings) } : {}),
  });
  startAgent(pool, vm, renewGuestMetrics(pool, vm));
}

/** Two random 63-bit numbers, as guests see them when their state was rolled back. */
export function newGeneration(): string {
  const number = (): bigint => randomBytes(8).readBigUInt64BE() >> 1n;
  return `${number()}:${number()}`;
}

/** Names of drives by position: 0 is xvda. */
function deviceName(userdevice: string): string {
  const number = Number(userdevice);
  if (!Number.isInteger(number) || number < 0) return userdevice;
  const letter = String.fromCharCode(97 + (number % 26));
  return number < 26 ? `xvd${letter}` : `xvd${String.fromCharCode(96 + Math.floor(number / 26))}${letter}`;
}

function attachDevices(vm: Row): void {
  for (const vbd of vm.rows('VBDs', 'VBD'))
    vbd.set({ currently_attached: true, device: deviceName(vbd.text('userdevice')) });
  for (const vif of vm.rows('VIFs', 'VIF')) vif.set({ currently_attached: true });
}

function detachDevices(vm: Row): void {
  for (const [field, cls] of [
    ['VBDs', 'VBD'],
    ['VIFs', 'VIF'],
    ['VGPUs', 'VGPU'],
    ['VUSBs', 'VUSB'],
  ] as const)
    for (const row of vm.rows(field, cls))
      if (row.bool('currently_attached')) row.set({ currently_attached: false });
}

/** The domain is gone. */
export function halt(pool: LabPool, vm: Row): void {
  detachDevices(vm);
  pool.db.find('VM_metrics', vm.text('metrics'))?.set({
    VCPUs_number: 0n,
    current_domain_type: 'unspecified',
    hvm: false,
  });
  const suspended = pool.db.find('VDI', vm.text('suspend_VDI'));
  vm.set({
    power_state: 'Halted',
    resident_on: nullRef,
    domid: -1n,
    memory_target: 0n,
    ha_always_run: false,
    suspend_VDI: nullRef,
    requires_reboot: false,
  });
  if (suspended !== undefined) destroyVdi(pool, suspended);
}

type Stop = 'clean_shutdown' | 'hard_shutdown' | 'shutdown';

async function shutdownCall(call: Call, operation: Stop): Promise<string> {
  await shutdownVm(call.pool, call.row('VM'), operation, call.operationRef);
  return '';
}

/** Stops a VM; `shutdown_delay` passes inside, after it went down. */
export async function shutdownVm(
  pool: LabPool,
  vm: Row,
  operation: Stop,
  operationRef: string,
): Promise<void> {
  const check = (): void => {
    needUnblocked(vm, operation);
    if (operation === 'clean_shutdown') needState(vm, 'running');
    else needState(vm, 'paused', 'suspended', 'running');
    if (vm.bool('is_control_domain')) fail('OPERATION_NOT_ALLOWED', 'This operation is not allowed on dom0');
    if (operation === 'clean_shutdown' && !hasAgent(vm)) fail('VM_LACKS_FEATURE', vm.ref);
  };
  check();
  await pool.lock(
    vm,
    operation,
    operationRef,
    async () => {
      check();
      if (operation !== 'hard_shutdown' && hasAgent(vm))
        await pool.clock.sleep(vmState(pool).shutdownSeconds);
      if (vm.text('power_state') !== 'Halted') halt(pool, vm);
      const delay = Number(vm.int('shutdown_delay'));
      if (delay > 0) await pool.clock.sleep(delay);
    },
    { waitSeconds: lockSeconds, beside: operation === 'hard_shutdown' ? stops : [] },
  );
}

async function reboot(call: Call, operation: 'clean_reboot' | 'hard_reboot'): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  const check = (): void => {
    needUnblocked(vm, operation);
    if (operation === 'clean_reboot') needState(vm, 'running');
    else needState(vm, 'paused', 'running');
    if (operation === 'clean_reboot' && !hasAgent(vm)) fail('VM_LACKS_FEATURE', vm.ref);
  };
  check();
  await pool.lock(
    vm,
    operation,
    call.operationRef,
    async () => {
      check();
      if (operation === 'clean_reboot') await pool.clock.sleep(vmState(pool).shutdownSeconds);
      const host = pool.hostOf(vm.text('resident_on')) ?? fail('HOST_OFFLINE', vm.text('resident_on'));
      boot(pool, vm, host);
    },
    { waitSeconds: lockSeconds, beside: operation === 'hard_reboot' ? stops : [] },
  );
  return '';
}

function switchState(call: Call, operation: string, expected: string, next: 'Paused' | 'Running'): string {
  const vm = call.row('VM');
  needUnblocked(vm, operation);
  needState(vm, expected);
  vm.set({ power_state: next });
  return '';
}

async function suspend(call: Call): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  needUnblocked(vm, 'suspend');
  needState(vm, 'running');
  if (!hasAgent(vm)) fail('VM_LACKS_FEATURE', vm.ref);
  const host = vm.row('resident_on', 'host');
  const sr = [vm.text('suspend_SR'), pool.row.text('suspend_image_SR'), host?.text('suspend_image_sr') ?? '']
    .map((ref) => pool.db.find('SR', ref))
    .find((row) => row !== undefined);
  if (sr === undefined) fail('VM_NO_SUSPEND_SR', vm.ref);
  await pool.lock(vm, 'suspend', call.operationRef, () => {
    const image = createVdi(
      pool,
      sr,
      vm.int('memory_static_max'),
      {},
      struct({
        name_label: 'Suspend image',
        type: 'suspend',
      }),
    );
    vm.set({ suspend_VDI: image.ref, power_state: 'Suspended', resident_on: nullRef, domid: -1n });
  });
  return '';
}

async function resume(call: Call, where: Row | null): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  const operation = where === null ? 'resume' : 'resume_on';
  needUnblocked(vm, operation);
  needState(vm, 'suspended');
  await pool.lock(vm, operation, call.operationRef, () => {
    const host = where === null ? chooseHost(pool, vm) : pool.hostOf(where.ref);
    if (host === undefined) fail('HOST_OFFLINE', where?.ref ?? nullRef);
    needBootable(pool, vm, host);
    const image = pool.db.find('VDI', vm.text('suspend_VDI'));
    boot(pool, vm, host);
    vm.set({ suspend_VDI: nullRef });
    if (image !== undefined) destroyVdi(pool, image);
  });
  return '';
}

/** Forgets a domain that certainly is gone (xapi.md 8.3). */
export function resetPowerState(vm: Row): void {
  if (vm.bool('is_control_domain')) fail('CANNOT_RESET_CONTROL_DOMAIN', vm.ref);
  const host = vm.row('resident_on', 'host');
  const alive = host?.row('metrics', 'host_metrics')?.bool('live') === true;
  if (alive && ['Running', 'Paused'].includes(vm.text('power_state'))) fail('DOMAIN_EXISTS', vm.ref);
  detachDevices(vm);
  vm.set({
    power_state: 'Halted',
    resident_on: nullRef,
    domid: -1n,
    suspend_VDI: nullRef,
    current_operations: struct(),
  });
}

async function migrate(call: Call): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  const to = call.row('host', 1);
  needUnblocked(vm, 'pool_migrate');
  needState(vm, 'running');
  if (!hasAgent(vm)) fail('VM_LACKS_FEATURE', vm.ref);
  const host = pool.hostOf(to.ref) ?? fail('HOST_OFFLINE', to.ref);
  await pool.lock(vm, 'pool_migrate', call.operationRef, () => {
    if (vm.text('resident_on') === to.ref) return;
    needBootable(pool, vm, host);
    vm.set({ resident_on: to.ref });
  });
  return '';
}

/** Is this failure XenAPI's, and not a defect of the lab? */
export function isXenFailure(error: unknown): error is XenFailure {
  return error instanceof XenFailure;
}
