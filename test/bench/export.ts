/** Export of a whole pool in which everything changed: Lifeboat against clients with nothing around them. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { BareClient } from './bare.ts';
import {
  atMost,
  type Bench,
  type Figure,
  median,
  number,
  ratioOf,
  spread,
  timed,
  timesFaster,
} from './figures.ts';
import { type House, openHouse } from './house.ts';
import { BenchLab } from './lab.ts';

const singlesAtOnce = 4;
/** One by one takes so long that one round of it says enough. */
const singlesRounds = 1;

export async function measureExport(bench: Bench): Promise<Figure[]> {
  const lab = await BenchLab.start({
    world: { vms: bench.vms, firstTier: 10, recoveries: ['recovery'] },
    storage: join(bench.directory, 'lab-export'),
    costs: true,
    skipping: false,
  });
  try {
    return await rounds(bench, lab);
  } finally {
    await lab.stop();
  }
}

async function rounds(bench: Bench, lab: BenchLab): Promise<Figure[]> {
  const bare: number[] = [];
  const lifeboat: number[] = [];
  const whole: number[] = [];
  const singles: number[] = [];
  const phases = new Map<string, number[]>();
  const plain = join(bench.directory, 'plain');
  const { vms } = lab.pool('production');
  let calls: ObservedCalls | null = null;
  const saveBare = (way: (client: BareClient) => Promise<void>) =>
    timed(async () => {
      const client = new BareClient(lab.pool('production'));
      await client.login(lab.username, lab.password);
      await way(client);
      await client.logout();
    });
  const openOne = (): House =>
    openHouse({
      lab,
      recovery: 'recovery',
      stateDirectory: join(bench.directory, 'state-export'),
      catalogDirectory: join(bench.directory, 'catalog-export'),
    });
  await warmUp(lab, openOne);
  for (let round = 0; round < bench.repetitions; round += 1) {
    await lab.touch('production', `round ${round}`);
    bare.push((await saveBare((client) => client.saveAll(join(plain, 'all')))).seconds);
    const house = openOne();
    try {
      const { seconds, result } = await timed(() => exportOnce(house));
      const untilReadBack = result.get(readBack);
      if (untilReadBack === undefined) throw new Error('the export was not read back');
      lifeboat.push(untilReadBack);
      whole.push(seconds);
      for (const [step, took] of result) phases.set(step, [...(phases.get(step) ?? []), took]);
      calls ??= await countCalls(lab, house);
    } finally {
      await house.close();
    }
    if (round < singlesRounds)
      singles.push(
        (await saveBare((client) => client.saveSingly(join(plain, 'one'), vms, singlesAtOnce))).seconds,
      );
    rmSync(plain, { recursive: true, force: true });
  }
  const stats = await lab.stats('production');
  const steps = [...phases].map(([step, took]) => `${step} ${number(median(took))}`).join(', ');
  return [
    atMost(
      `export of ${bench.vms} VMs against a bare client`,
      ratioOf(lifeboat, bare),
      1.1,
      `Lifeboat ${spread(lifeboat)} until the point is read back, ${spread(whole)} with the rehearsal of the import; bare ${spread(bare)}: login, bulk reads, all=true and the database to plain files. Seconds: ${steps}`,
    ),
    timesFaster(
      `export of ${bench.vms} VMs against one by one, ${singlesAtOnce} at once`,
      median(singles) / median(lifeboat),
      5,
      `Lifeboat ${spread(lifeboat)}; a bare client with one request per VM ${spread(singles)}`,
    ),
    {
      name: 'calls for one look at the pool',
      value: String(calls?.whole ?? 0),
      aim: 'the same for any size',
      met: calls !== null && calls.whole <= 25,
      beside: `${bench.vms} VMs, one host: ${calls?.text ?? ''}`,
    },
    {
      name: "the lab's own share while exporting",
      value: `${((100 * stats.lateSeconds) / stats.busySeconds).toFixed(1)} %`,
      aim: null,
      met: null,
      beside: `answers came ${number(stats.lateSeconds)} s later than their price, of ${number(stats.busySeconds)} s of work`,
    },
  ];
}

/** The first export writes the catalog's headers, and everything is compiled; only what comes then is measured. */
async function warmUp(lab: BenchLab, open: () => House): Promise<void> {
  const client = new BareClient(lab.pool('production'));
  await client.login(lab.username, lab.password);
  await client.call('host.get_all_records');
  await client.logout();
  const house = open();
  try {
    await exportOnce(house);
  } finally {
    await house.close();
  }
}

/** Everything from the first contact on, until the point has been sealed and read back. */
const readBack = 'until read back';

/** From the first contact to the point that was read back and rehearsed; seconds of each part. */
export async function exportOnce(house: House): Promise<ReadonlyMap<string, number>> {
  const parts = new Map<string, number>();
  const start = performance.now();
  const planned = await timed(() => house.app.plan({ operation: 'export', group: house.group.name }));
  parts.set('plan', planned.seconds);
  const began = new Map<string, number>();
  const run = await house.app.run(planned.result, {
    by: 'bench',
    onEvent: (event) => {
      if (event.event === 'StepStarted') began.set(event.step, performance.now());
      if (event.event !== 'StepSucceeded') return;
      if (event.step === 'read-back') parts.set(readBack, (performance.now() - start) / 1000);
      parts.set(event.step, (performance.now() - (began.get(event.step) ?? performance.now())) / 1000);
    },
  });
  const sealed = run.steps.get('seal')?.output as {
    readonly vmCount: number;
    readonly failureCount: number;
  } | null;
  if (run.exitCode !== 0 || sealed === null || sealed.failureCount > 0)
    throw new Error(`the export ended with ${run.outcome}: ${run.summary}`);
  return parts;
}

interface ObservedCalls {
  readonly whole: number;
  readonly text: string;
}

async function countCalls(lab: BenchLab, house: House): Promise<ObservedCalls> {
  await lab.forgetCalls();
  await house.hypervisor('production').observe();
  const { calls } = await lab.stats('production');
  const whole = Object.values(calls).reduce((sum, count) => sum + count, 0);
  const kinds = Object.keys(calls).filter((name) => name.endsWith('get_all_records')).length;
  return { whole, text: `${kinds} bulk reads, the rest for clock, coordinator and free memory` };
}
