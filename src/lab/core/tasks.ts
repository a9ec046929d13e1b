/** The messages of class task (xapi.md 2.1, 2.2). */
import { fail } from './failure.ts';
import type { Registry } from './registry.ts';

const final = new Set(['success', 'failure', 'cancelled']);

export function installTasks(registry: Registry): void {
  registry.on(
    'task.create',
    (call) => call.pool.newTask(call.text(0), call.text(1), call.session, call.host).ref,
  );
  registry.on('task.destroy', (call) => {
    const task = call.row('task');
    if (final.has(task.text('status'))) task.destroy();
    // A pending task is only marked: whoever finishes it takes it away.
    else task.put('current_operations', 'task', 'destroy');
    return '';
  });
  registry.on('task.cancel', (call) => {
    const task = call.row('task');
    if (final.has(task.text('status'))) fail('OPERATION_NOT_ALLOWED', 'Task has already finished');
    if (task.texts('allowed_operations').includes('cancel')) task.set({ status: 'cancelling' });
    task.put('current_operations', call.operationRef, 'cancel');
    return '';
  });
}
