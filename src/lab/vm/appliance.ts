/** VM_appliance: members start by ascending order and stop by descending, whatever fails (xapi.md 8.1). */
import { randomUUID } from 'node:crypto';
import type { Row } from '../core/database.ts';
import { fail, XenFailure } from '../core/failure.ts';
import type { Call, Registry } from '../core/registry.ts';
import { shutdownVm, startVm } from './power.ts';

type Operation = 'start' | 'clean_shutdown' | 'hard_shutdown' | 'shutdown';

export function installAppliances(registry: Registry): void {
  for (const operation of ['start', 'clean_shutdown', 'hard_shutdown', 'shutdown'] as const)
    registry.on(`VM_appliance.${operation}`, (call) => run(call, operation));
}

async function run(call: Call, operation: Operation): Promise<string> {
  const { pool } = call;
  const appliance = call.row('VM_appliance');
  const members = appliance.rows('VMs', 'VM');
  if (members.length === 0) fail('OPERATION_NOT_ALLOWED', 'Appliance has no VMs.');
  const starting = operation === 'start';
  const inWantedState = (vm: Row): boolean => (vm.text('power_state') === 'Halted') !== starting;
  if (members.every(inWantedState))
    fail(
      'OPERATION_NOT_ALLOWED',
      starting ? 'There are no halted VMs in this appliance.' : 'All VMs in this appliance are halted.',
    );
  const done = starting ? 'Running' : 'Halted';
  await pool.lock(
    appliance,
    operation,
    call.operationRef,
    async () => {
      for (const tier of tiers(members, starting))
        await Promise.all(tier.map((vm) => (inWantedState(vm) ? null : move(call, vm, operation))));
    },
    { waitSeconds: 7200 },
  );
  const failed = members.filter((vm) => vm.alive && vm.text('power_state') !== done);
  if (failed.length > 0)
    fail('OPERATION_PARTIALLY_FAILED', `VM_appliance.${operation}`, ...failed.map((vm) => vm.ref));
  return '';
}

function tiers(members: readonly Row[], ascending: boolean): Row[][] {
  const byOrder = new Map<bigint, Row[]>();
  for (const vm of members) byOrder.set(vm.int('order'), [...(byOrder.get(vm.int('order')) ?? []), vm]);
  const sorted = [...byOrder].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, tier]) => tier);
  return ascending ? sorted : sorted.reverse();
}

/** One member in a task of its own; its failure shows in the task alone. */
async function move(call: Call, vm: Row, operation: Operation): Promise<void> {
  const { pool } = call;
  const task = pool.newTask(`VM_appliance.${operation}`, '', call.session, call.host);
  try {
    const ref = `${task.ref}|${randomUUID()}`;
    if (operation === 'start') await startVm(pool, vm, null, ref);
    else await shutdownVm(pool, vm, operation, ref);
    pool.finishTask(task, { result: '' });
  } catch (error) {
    if (!(error instanceof XenFailure)) throw error;
    pool.finishTask(task, { error: error.description });
  } finally {
    // Nobody knows these tasks by name; xapi destroys them when it has read them.
    if (task.alive) task.destroy();
  }
}
