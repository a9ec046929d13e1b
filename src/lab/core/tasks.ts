/** The messages of class task (xapi.md 2.1, 2.2). */
import type { LabPool } from './pool.ts';
import type { Registry } from './registry.ts';
import { struct } from './values.ts';

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
    // Only a wish: whoever works for the task looks for it now and then (xapi.md 2.1).
    call.row('task').set({ current_operations: struct({ [call.operationRef]: 'cancel' }) });
    return '';
  });
}

const completedSeconds = 65 * 60;
const stalledSeconds = 24 * 3600;
const manyTasks = 200;

/** What xapi's collector takes away: old completed tasks, stalled ones, and completed ones when there are many. */
function collectTasks(pool: LabPool): void {
  const now = pool.clock.now();
  const age = (since: { millis: number }): number => (now - since.millis) / 1000;
  const tasks = pool.db.all('task');
  const done = tasks.filter((task) => final.has(task.text('status')));
  for (const task of done)
    if (age(task.date('finished')) > completedSeconds && task.date('finished').millis > 0) task.destroy();
  for (const task of tasks)
    if (task.alive && !final.has(task.text('status')) && age(task.date('created')) > stalledSeconds)
      task.destroy();
  const surplus = pool.db.count('task') - manyTasks;
  if (surplus <= 0) return;
  const oldest = done
    .filter((task) => task.alive)
    .sort((a, b) => a.date('finished').millis - b.date('finished').millis);
  for (const task of oldest.slice(0, surplus)) task.destroy();
}

const collectorMillis = 60_000;
const collected = new WeakMap<LabPool, number>();

/** Runs the collector when its time has come, and whenever there are too many tasks. */
export function collectInTime(pool: LabPool): void {
  const now = pool.clock.now();
  const due = now - (collected.get(pool) ?? Number.NEGATIVE_INFINITY) >= collectorMillis;
  if (!due && pool.db.count('task') <= manyTasks) return;
  collected.set(pool, now);
  collectTasks(pool);
}
