/** The lab in a process of its own, so that its work is not taken for the client's. lab.ts speaks to it. */
import type { Row } from '../../src/lab/core/database.ts';
import type { Lab } from '../../src/lab/core/lab.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { SkippingClock } from '../../src/lab/cost/skipping.ts';
import { startLab } from '../../src/lab/lab.ts';
import type { Answers, LabSpec, Order, Reply } from './lab.ts';
import { benchWorld } from './world.ts';

/** Where only prices count, waiting longer for the client costs nothing but patience. */
const quietMillis = 5;

let started: Lab | null = null;
/** For each pool, the simulated second at which the first, second, third ... VM was seen running. */
const runningAt = new Map<string, number[]>();

function lab(): Lab {
  if (started === null) throw new Error('the lab has not been started');
  return started;
}

async function start(spec: LabSpec): Promise<Answers['start']> {
  const made = await startLab({
    world: benchWorld(spec.world),
    storage: spec.storage,
    costs: spec.costs,
    ...(spec.skipping === false
      ? {}
      : { clock: spec.skipping === true ? new SkippingClock() : new SkippingClock(quietMillis, true) }),
  });
  started = made;
  made.costs.hostStartSeconds = spec.hostStartSeconds ?? 0;
  for (const pool of made.pools.values()) watchStarts(made, pool);
  return {
    ...made.credentials,
    pools: Object.fromEntries(
      [...made.pools.values()].map((pool) => [
        pool.name,
        {
          url: made.url(pool.master),
          fingerprint: pool.master.certificate.sha256,
          uuid: pool.row.uuid,
          vms: pool.db
            .all('VM')
            .filter(isGuest)
            .map((vm) => vm.uuid),
        },
      ]),
    ),
  };
}

function isGuest(vm: Row): boolean {
  return !vm.bool('is_a_template') && !vm.bool('is_control_domain');
}

function watchStarts(made: Lab, pool: LabPool): void {
  const times: number[] = [];
  const seen = new Set<string>();
  runningAt.set(pool.name, times);
  pool.db.onChange((row, _, fields) => {
    if (row.cls !== 'VM' || !fields.includes('power_state') || row.text('power_state') !== 'Running') return;
    if (seen.has(row.ref)) return;
    seen.add(row.ref);
    times.push(made.costs.now());
  });
}

/** Every VM gets another description, so that every document changes. */
function touch(poolName: string, text: string): null {
  for (const vm of lab().pool(poolName).db.all('VM'))
    if (isGuest(vm)) vm.set({ name_description: `${text} ${vm.uuid}` });
  return null;
}

function stats(poolName: string): Answers['stats'] {
  const { costs, counts } = lab();
  return {
    nowSeconds: costs.now(),
    busySeconds: costs.busySeconds(poolName),
    lateSeconds: costs.lateSeconds(poolName),
    ownSeconds: costs.ownSeconds,
    calls: Object.fromEntries(counts),
    runningAt: runningAt.get(poolName) ?? [],
  };
}

async function obey(order: Order): Promise<Answers[keyof Answers]> {
  switch (order.verb) {
    case 'start':
      return start(order.spec);
    case 'stats':
      return stats(order.pool);
    case 'touch':
      return touch(order.pool, order.text);
    case 'forget-calls':
      lab().forgetCalls();
      return null;
    case 'kill-site':
      await lab().killSite(order.site);
      return null;
    case 'stop':
      await started?.stop();
      return null;
  }
}

process.on('message', (message) => {
  const { id, order } = message as { readonly id: number; readonly order: Order };
  obey(order).then(
    (value) => answer({ id, value }),
    (error: unknown) =>
      answer({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit());

function answer(reply: Reply): void {
  process.send?.(reply);
}
