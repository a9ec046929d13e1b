/** VM_appliance: members start by ascending order and stop by descending, whatever fails (xapi.md 8.1). */
import type { Row } from '../core/database.ts';
import { fail, XenFailure } from '../core/failure.ts';
import type { Call, Registry } from '../core/registry.ts';
import { nullRef } from '../core/values.ts';
import { patienceSeconds } from './operations.ts';
import { shutdownVm, startedPaused, startVm } from './power.ts';

type Operation = 'start' | 'clean_shutdown' | 'hard_shutdown' | 'shutdown';

export function installAppliances(registry: Registry): void {
  for (const operation of ['start', 'clean_shutdown', 'hard_shutdown', 'shutdown'] as const)
    registry.on(`VM_appliance.${operation}`, (call) => run(call, operation));
  registry.on('VM.set_appliance', (call) => {
    const vm = call.row('VM');
    if (vm.bool('is_control_domain') || vm.bool('is_a_template') || vm.bool('is_a_snapshot'))
      fail(
        'OPERATION_NOT_ALLOWED',
        'Control domains, templates and snapshots cannot be assigned to appliances.',
      );
    vm.set({ appliance: call.text(1, nullRef) });
    return '';
  });
}

type Refusal = readonly [code: string, ...params: string[]];

const wanted: Readonly<
  Record<Operation, readonly [sensible: (state: string) => boolean, otherwise: string]>
> = {
  start: [(state) => state === 'Halted', 'There are no halted VMs in this appliance.'],
  clean_shutdown: [(state) => state === 'Running', 'There are no running VMs in this appliance.'],
  hard_shutdown: [(state) => state !== 'Halted', 'All VMs in this appliance are halted.'],
  shutdown: [(state) => state !== 'Halted', 'All VMs in this appliance are halted.'],
};

/** Why an appliance refuses an operation: one at a time, and only where it makes sense for a member. */
export function applianceRefusal(appliance: Row, operation: Operation): Refusal | null {
  const [going] = Object.entries(appliance.map('current_operations'));
  if (going !== undefined)
    return ['OTHER_OPERATION_IN_PROGRESS', 'VM_appliance', appliance.ref, going[1], going[0]];
  const members = appliance.rows('VMs', 'VM');
  if (members.length === 0) return ['OPERATION_NOT_ALLOWED', 'Appliance has no VMs.'];
  const [sensible, otherwise] = wanted[operation];
  return members.some((vm) => sensible(vm.text('power_state'))) ? null : ['OPERATION_NOT_ALLOWED', otherwise];
}

async function run(call: Call, operation: Operation): Promise<string> {
  const { pool } = call;
  const appliance = call.row('VM_appliance');
  const isBusy = (): boolean =>
    appliance.alive && applianceRefusal(appliance, operation)?.[0] === 'OTHER_OPERATION_IN_PROGRESS';
  if (isBusy()) await pool.until(() => !isBusy(), patienceSeconds);
  pool.db.row('VM_appliance', appliance.ref);
  const refused = applianceRefusal(appliance, operation);
  if (refused !== null) fail(...(refused as [string, ...string[]]));
  appliance.put('current_operations', call.operationRef, operation);
  try {
    await perform(call, appliance, operation);
  } finally {
    if (appliance.alive) appliance.drop('current_operations', call.operationRef);
  }
  return '';
}

/** All members that are not yet in the state that the operation leads to. */
async function perform(call: Call, appliance: Row, operation: Operation): Promise<void> {
  const paused = operation === 'start' && call.bool(1);
  const goal = operation !== 'start' ? 'Halted' : paused ? 'Paused' : 'Running';
  const targets = appliance.rows('VMs', 'VM').filter((vm) => vm.text('power_state') !== goal);
  for (const tier of tiers(targets, operation === 'start'))
    await Promise.all(tier.map((vm) => move(call, vm, operation, paused)));
  const failed = targets.filter((vm) => vm.alive && vm.text('power_state') !== goal);
  if (failed.length > 0)
    fail('OPERATION_PARTIALLY_FAILED', `VM_appliance.${operation}`, ...failed.map((vm) => vm.ref));
}

function tiers(members: readonly Row[], ascending: boolean): Row[][] {
  const byOrder = new Map<bigint, Row[]>();
  for (const vm of members) byOrder.set(vm.int('order'), [...(byOrder.get(vm.int('order')) ?? []), vm]);
  const sorted = [...byOrder].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, tier]) => tier);
  return ascending ? sorted : sorted.reverse();
}

/** One member in a task of its own, which stays: only there stands why it failed. */
async function move(call: Call, vm: Row, operation: Operation, paused: boolean): Promise<void> {
  const { pool } = call;
  const task = pool.newTask(`Async.VM.${operation}`, '', call.session, call.host);
  try {
    const ref = task.ref;
    if (operation === 'start') {
      await startVm(pool, vm, null, ref);
      if (paused) startedPaused(vm);
    } else await shutdownVm(pool, vm, operation, ref);
    pool.finishTask(task, { result: '<value></value>' });
  } catch (error) {
    if (!(error instanceof XenFailure)) throw error;
    pool.finishTask(task, { error: error.description });
  }
}
