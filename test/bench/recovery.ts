/**
 * Recovery of a pool's VMs: Lifeboat's failover against one document per VM, one after the other, by the same client and
 * into equal pools of one lab. The lab leaves out time in which everybody only waits; the work of Lifeboat counts as it is.
 */
import { join } from 'node:path';
import { packDocument, parseArchive } from '../../src/metadata/document.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import { exportOnce } from './export.ts';
import { type Bench, type Figure, number, timesFaster } from './figures.ts';
import { type House, openHouse } from './house.ts';
import { BenchLab } from './lab.ts';
import { networkNames, recoveryNetworkOf } from './world.ts';

const firstTier = 10;

export async function measureRecovery(bench: Bench): Promise<Figure[]> {
  const lab = await BenchLab.start({
    world: { vms: bench.vms, firstTier, recoveries: ['singles', 'batches', 'whole'] },
    storage: join(bench.directory, 'lab-recovery'),
    costs: true,
    skipping: true,
  });
  const openOne = (recovery: string): House =>
    openHouse({
      lab,
      recovery,
      stateDirectory: join(bench.directory, `state-${recovery}`),
      catalogDirectory: join(bench.directory, 'catalog-recovery'),
      starts: recovery === 'whole',
    });
  try {
    const exporting = openOne('batches');
    try {
      await exportOnce(exporting);
    } finally {
      await exporting.close();
    }
    await lab.killSite('production');
    const singles = await oneByOne(lab, openOne('singles'));
    const batches = await failOver(lab, 'batches', openOne('batches'));
    const whole = await failOver(lab, 'whole', openOne('whole'));
    return figures(bench, singles, batches, whole);
  } finally {
    await lab.stop();
  }
}

function figures(bench: Bench, singles: Singles, batches: Failover, whole: Failover): Figure[] {
  const share = whole.firstTierSeconds / whole.seconds;
  return [
    timesFaster(
      `import of ${bench.vms} VMs against one by one`,
      singles.seconds / batches.importSeconds,
      1.8,
      `Lifeboat ${number(batches.importSeconds)} s in ${batches.imports} batches (${number(batches.ownSeconds)} s of own work, ${number(batches.busySeconds)} s of the pool's); one by one ${number(singles.seconds)} s (${number(singles.ownSeconds)} s of own work). Simulated seconds`,
    ),
    {
      name: `first ${firstTier} VMs up, of ${bench.vms}`,
      value: `${(100 * share).toFixed(1)} % of the whole`,
      aim: 'at most 5 %',
      met: share <= 0.05,
      beside: `after ${number(whole.firstTierSeconds)} s; all imported and started after ${number(whole.seconds)} s, from the confirmation on (${number(whole.ownSeconds)} s of own work)`,
    },
    {
      name: "the lab's own share while recovering",
      value: `${((100 * whole.lateSeconds) / whole.busySeconds).toFixed(1)} %`,
      aim: null,
      met: null,
      beside: `answers came ${number(whole.lateSeconds)} s later than their price, of ${number(whole.busySeconds)} s of work`,
    },
  ];
}

interface Singles {
  readonly seconds: number;
  readonly ownSeconds: number;
}

/** The documents are fetched and rewritten beforehand: only imports are compared. */
async function oneByOne(lab: BenchLab, house: House): Promise<Singles> {
  try {
    const hypervisor = house.hypervisor('singles');
    const pool = await hypervisor.observe();
    const networks = networkNames.map((production) => {
      const found = pool.networks.find((network) => network.nameLabel === recoveryNetworkOf(production));
      if (found === undefined) throw new Error(`there is no network for ${production}`);
      const { uuid, nameLabel, bridge } = found;
      return { production, recovery: { uuid, nameLabel, bridge } };
    });
    const [newest] = (await house.catalog.list(house.group.name)).points;
    if (newest === undefined) throw new Error('the export left no point');
    const point = await house.catalog.read(newest.id);
    const archives: Uint8Array[] = [];
    for (const vm of point.vms) {
      const document = parseArchive(await house.catalog.get(vm.document));
      archives.push(
        packDocument(rewriteForRecovery(document, { networks, pool, haltSuspended: true }).document),
      );
    }
    const before = await lab.stats('singles');
    const cpu = process.cpuUsage();
    for (const archive of archives)
      await hypervisor.importMetadata(archive, { restore: true, dryRun: false });
    const after = await lab.stats('singles');
    return { seconds: after.nowSeconds - before.nowSeconds, ownSeconds: seconds(process.cpuUsage(cpu)) };
  } finally {
    await house.close();
  }
}

interface Failover {
  /** From the beginning of the first import to the end of the run. */
  readonly importSeconds: number;
  readonly imports: number;
  readonly firstTierSeconds: number;
  readonly seconds: number;
  readonly ownSeconds: number;
  readonly lateSeconds: number;
  readonly busySeconds: number;
}

async function failOver(lab: BenchLab, site: string, house: House): Promise<Failover> {
  try {
    const planned = await house.app.plan({
      operation: 'failover',
      group: house.group.name,
      pointId: null,
      decisions: [{ decision: 'declare-lost', by: 'bench', reason: 'the bench has switched it off' }],
    });
    const imports = planned.plan.steps.filter((step) => step.action.do === 'import-vms');
    const first = imports[0]?.id;
    await lab.forgetCalls();
    const before = await lab.stats(site);
    const cpu = process.cpuUsage();
    let atFirstImport = Promise.resolve(before);
    const run = await house.app.run(planned, {
      by: 'bench',
      onEvent: (event) => {
        if (event.event === 'StepStarted' && event.step === first) atFirstImport = lab.stats(site);
      },
    });
    const after = await lab.stats(site);
    if (run.exitCode !== 0) throw new Error(`the failover ended with ${run.outcome}: ${run.summary}`);
    return {
      importSeconds: after.nowSeconds - (await atFirstImport).nowSeconds,
      imports: imports.length,
      firstTierSeconds: (after.runningAt[firstTier - 1] ?? Number.NaN) - before.nowSeconds,
      seconds: after.nowSeconds - before.nowSeconds,
      ownSeconds: seconds(process.cpuUsage(cpu)),
      lateSeconds: after.lateSeconds - before.lateSeconds,
      busySeconds: after.busySeconds - before.busySeconds,
    };
  } finally {
    await house.close();
  }
}

function seconds(usage: NodeJS.CpuUsage): number {
  return (usage.user + usage.system) / 1e6;
}
