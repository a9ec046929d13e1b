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
import { needAttachable } from './device-operations.ts';
import { isCooperative, isLive, needOperation, withOperation } from './operations.ts';
import { chooseHost, needAccess, needAgile, needBootable, possibleHosts } from './placement.ts';
import { vmState } from './state.ts';

export function installPower(registry: Registry): void {
  registry.on('VM.start', async (call) => {
    const vm = call.row('VM');
    await startVm(call.pool, vm, null, call.operationRef, 'start');
    if (call.bool(1)) startedPaused(vm);
    return '';
  });
  registry.on('VM.start_on', async (call) => {
    const vm = call.row('VM');
    const host = call.row('host', 1);
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
  registry.on('VM.pause', (call) => switchState(call, 'pause'));
  registry.on('VM.unpause', (call) => switchState(call, 'unpause'));
  registry.on('VM.suspend', suspend);
  registry.on('VM.resume', (call) => resume(call, null));
  registry.on('VM.resume_on', (call) => resume(call, call.row('host', 1)));
  registry.on('VM.power_state_reset', (call) => {
    resetPowerState(call.pool, call.row('VM'));
    return '';
  });
  registry.on('VM.assert_operation_valid', (call) => {
    needOperation(call.pool, call.row('VM'), call.text(1));
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
export function startedPaused(vm: Row): never {
  internal(`VM not in expected power state after completing operation: ${vm.ref}, paused, running`);
}

/** Starts a VM, on a given host or where it fits; `start_delay` passes inside. */
export async function startVm(
  pool: LabPool,
  vm: Row,
  where: LabHost | null,
  operationRef: string,
  operation: 'start' | 'start_on' = 'start',
): Promise<void> {
  const host = await withOperation(pool, vm, operation, operationRef, async () => {
    needAttachable(vm);
    const chosen = where ?? chooseHost(pool, vm);
    needBootable(pool, vm, chosen);
    needDisks(pool, vm, chosen);
    boot(pool, vm, chosen);
    const delay = Number(vm.int('start_delay'));
    if (delay > 0) await pool.clock.sleep(delay);
    return chosen.row;
  });
  tell(pool, vm, 'VM_STARTED', `started on host: ${nameOf(host)}`);
}

/** Every disk must be there. */
function needDisks(pool: LabPool, vm: Row, host: LabHost): void {
  for (const vbd of vm.rows('VBDs', 'VBD')) {
    const vdi = vbd.bool('empty') ? undefined : vbd.row('VDI', 'VDI');
    const sr = vdi?.row('SR', 'SR');
    if (vdi === undefined || sr === undefined || isBare(pool, sr)) continue;
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
export function deviceName(userdevice: string): string {
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
  await withOperation(pool, vm, operation, operationRef, async () => {
    if (vm.text('power_state') === 'Suspended') {
      needAccess(pool, vm);
      halt(pool, vm);
      return;
    }
    if (operation !== 'hard_shutdown' && isCooperative(vm))
      await pool.clock.sleep(vmState(pool).shutdownSeconds);
    if (vm.text('power_state') !== 'Halted') halt(pool, vm);
    const delay = Number(vm.int('shutdown_delay'));
    if (delay > 0) await pool.clock.sleep(delay);
  });
  tell(pool, vm, 'VM_SHUTDOWN', operation === 'hard_shutdown' ? 'shutdown forcibly' : 'shutdown');
}

async function reboot(call: Call, operation: 'clean_reboot' | 'hard_reboot'): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  await withOperation(pool, vm, operation, call.operationRef, async () => {
    needAttachable(vm);
    if (operation === 'clean_reboot') await pool.clock.sleep(vmState(pool).shutdownSeconds);
    const host = pool.hostOf(vm.text('resident_on')) ?? fail('HOST_OFFLINE', vm.text('resident_on'));
    boot(pool, vm, host);
  });
  tell(pool, vm, 'VM_REBOOTED', operation === 'hard_reboot' ? 'rebooted forcibly' : 'rebooted cleanly');
  return '';
}

async function switchState(call: Call, operation: 'pause' | 'unpause'): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  await withOperation(pool, vm, operation, call.operationRef, () =>
    vm.set({ power_state: operation === 'pause' ? 'Paused' : 'Running' }),
  );
  const told = operation === 'pause' ? 'paused' : 'unpaused';
  tell(pool, vm, `VM_${told.toUpperCase()}`, told);
  return '';
}

async function suspend(call: Call): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  await withOperation(pool, vm, 'suspend', call.operationRef, () => {
    const image = suspendImage(pool, vm);
    vm.set({
      suspend_VDI: image.ref,
      power_state: 'Suspended',
      resident_on: nullRef,
      domid: -1n,
      ha_always_run: false,
    });
  });
  tell(pool, vm, 'VM_SUSPENDED', 'suspended');
  return '';
}

/** A disk for the memory of a running VM, where the VM, the pool or the host says. */
export function suspendImage(pool: LabPool, vm: Row): Row {
  const host = vm.row('resident_on', 'host');
  const sr = [vm.text('suspend_SR'), pool.row.text('suspend_image_SR'), host?.text('suspend_image_sr') ?? '']
    .map((ref) => pool.db.find('SR', ref))
    .find((row) => row !== undefined);
  if (sr === undefined) fail('VM_NO_SUSPEND_SR', vm.ref);
  const given = struct({ name_label: 'Suspend image', type: 'suspend' });
  return createVdi(pool, sr, vm.int('memory_static_max'), {}, given);
}

async function resume(call: Call, where: Row | null): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  const operation = where === null ? 'resume' : 'resume_on';
  const on = await withOperation(pool, vm, operation, call.operationRef, () => {
    needAttachable(vm);
    const host = where === null ? chooseHost(pool, vm) : pool.hostOf(where.ref);
    if (host === undefined) fail('HOST_OFFLINE', where?.ref ?? nullRef);
    needBootable(pool, vm, host);
    const image = pool.db.find('VDI', vm.text('suspend_VDI'));
    boot(pool, vm, host);
    vm.set({ suspend_VDI: nullRef });
    if (image !== undefined) destroyVdi(pool, image);
    return host.row;
  });
  tell(pool, vm, 'VM_RESUMED', `resumed on host: ${nameOf(on)}`);
  if (call.bool(where === null ? 1 : 2)) startedPaused(vm);
  return '';
}

/** Forgets a domain that certainly is gone (xapi.md 8.3). What a suspended VM saved is not looked at. */
function resetPowerState(pool: LabPool, vm: Row): void {
  if (vm.bool('is_control_domain')) fail('CANNOT_RESET_CONTROL_DOMAIN', vm.ref);
  if (isLive(vm)) {
    const host = vm.row('resident_on', 'host');
    const alive = host?.row('metrics', 'host_metrics')?.bool('live') === true;
    if (host === pool.master.row) {
      if (alive && vm.text('power_state') === 'Running') fail('DOMAIN_EXISTS', vm.ref);
    } else if (alive && host !== undefined) fail('HOST_IS_LIVE', host.ref);
  }
  detachDevices(vm);
  vm.set({
    power_state: 'Halted',
    resident_on: nullRef,
    domid: -1n,
    requires_reboot: false,
    current_operations: struct(),
  });
}

async function migrate(call: Call): Promise<string> {
  const { pool } = call;
  const vm = call.row('VM');
  const to = call.row('host', 1);
  await withOperation(pool, vm, 'pool_migrate', call.operationRef, () => {
    const host = pool.hostOf(to.ref) ?? fail('HOST_OFFLINE', to.ref);
    if (vm.text('resident_on') === to.ref) return;
    needBootable(pool, vm, host);
    vm.set({ resident_on: to.ref });
  });
  return '';
}

const nameOf = (host: Row): string => `${host.text('name_label')} (uuid: ${host.uuid})`;

/** The message that xapi leaves about a VM when something was done to it (xapi.md 8.8). */
export function tell(pool: LabPool, vm: Row, name: string, what: string): void {
  if (!vm.alive) return;
  pool.message(name, 5n, 'VM', vm.uuid, `VM '${vm.text('name_label')}' (uuid: ${vm.uuid}) ${what}`);
}

/** Is this failure XenAPI's, and not a defect of the lab? */
export function isXenFailure(error: unknown): error is XenFailure {
  return error instanceof XenFailure;
}
