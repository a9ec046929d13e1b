/**
 * A failover of 500 VMs over 10 hosts: Lifeboat against the shortest time that the plan allows at the lab's prices, and
 * against what the host's own restore script does (xapi.md 5.6: one import after the other), then one start after the
 * other. The script's client is flattered: it pays no login and no start of a program, and finds the VM that it starts
 * by one bulk read, at half the price that was measured for `xe` (performance.md 4).
 *
 * Only prices count here, for both: the work of the clients costs nothing, so that the load of the machine cannot decide.
 * What is measured is the order in which Lifeboat asks and what it asks beside the necessary.
 */
import { join } from 'node:path';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { limitsOf } from '../../src/domain/limits.ts';
import type { Plan, Step } from '../../src/domain/plan.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import { callCost, importCost, type PoolSize } from '../../src/lab/cost/figures.ts';
import { packDocument, parseArchive } from '../../src/metadata/document.ts';
import { rewriteForRecovery } from '../../src/metadata/recovery.ts';
import type { Clock } from '../../src/ports/system.ts';
import { BareClient } from './bare.ts';
import { criticalPathSeconds, type Price } from './critical-path.ts';
import { exportOnce } from './export.ts';
import { atMost, type Bench, type Figure, number, timesFaster } from './figures.ts';
import { type House, openHouse } from './house.ts';
import { BenchLab } from './lab.ts';
import { networkNames, recoveryNetworkOf } from './world.ts';

const hosts = 10;
/** Nobody measured it; said beside the figures. */
const hostStartSeconds = 2;
const workersPerHost = 4;

/**
 * Where only prices count, the lab takes many times longer than it says. Lifeboat's stopwatch goes as slowly, else what it
 * has seen a moment ago would be too old to be relied upon, and be looked at once more.
 */
const unhurried: Clock = { ...systemClock, monotonicSeconds: () => systemClock.monotonicSeconds() / 10 };

export async function measureFailover(bench: Bench): Promise<Figure[]> {
  const vms = bench.vms / 2;
  const lab = await BenchLab.start({
    world: { vms, firstTier: 10, recoveries: ['script', 'lifeboat'], hosts },
    storage: join(bench.directory, 'lab-failover'),
    costs: true,
    skipping: 'prices only',
    hostStartSeconds,
  });
  const openOne = (recovery: string): House =>
    openHouse({
      lab,
      recovery,
      stateDirectory: join(bench.directory, `state-failover-${recovery}`),
      catalogDirectory: join(bench.directory, 'catalog-failover'),
      clock: unhurried,
    });
  try {
    const exporting = openOne('lifeboat');
    try {
      await exportOnce(exporting);
    } finally {
      await exporting.close();
    }
    await lab.killSite('production');
    const script = await restoreScript(lab, openOne('script'));
    const ours = await failOver(lab, openOne('lifeboat'));
    const said = `${vms} VMs, ${hosts} hosts, ${hostStartSeconds} s of a host for each start, four at a time. Simulated seconds`;
    return [
      atMost(
        `failover of ${vms} VMs over ${hosts} hosts, against its critical path`,
        ours.seconds / ours.criticalSeconds,
        1.1,
        `Lifeboat ${number(ours.seconds)} s (${number(ours.ownSeconds)} s of own work, which is not counted), critical path ${number(ours.criticalSeconds)} s. ${said}`,
      ),
      timesFaster(
        "the same against the restore script's serial loop and single starts",
        script.seconds / ours.seconds,
        1.8,
        `script ${number(script.seconds)} s: imports ${number(script.importSeconds)} s, starts ${number(script.seconds - script.importSeconds)} s, of which hosts ${number(vms * hostStartSeconds)} s; without the hosts' part ${number((script.seconds - vms * hostStartSeconds) / ours.seconds)} times Lifeboat's whole time`,
      ),
    ];
  } finally {
    await lab.stop();
  }
}

interface Ours {
  readonly seconds: number;
  readonly ownSeconds: number;
  readonly criticalSeconds: number;
}

async function failOver(lab: BenchLab, house: House): Promise<Ours> {
  try {
    const planned = await house.app.plan({
      operation: 'failover',
      group: house.group.name,
      pointId: null,
      decisions: [{ decision: 'declare-lost', by: 'bench', reason: 'the bench has switched it off' }],
    });
    const point = await house.catalog.read(planned.plan.expects.pointId ?? '');
    const pool = await house.hypervisor('lifeboat').observe();
    await lab.forgetCalls();
    const before = await lab.stats('lifeboat');
    const cpu = process.cpuUsage();
    const run = await house.app.run(planned, { by: 'bench', onEvent: () => undefined });
    const used = process.cpuUsage(cpu);
    const after = await lab.stats('lifeboat');
    if (run.exitCode !== 0) throw new Error(`the failover ended with ${run.outcome}: ${run.summary}`);
    return {
      seconds: after.nowSeconds - before.nowSeconds,
      ownSeconds: (used.user + used.system) / 1e6,
      criticalSeconds: criticalSecondsOf(planned.plan, point, {
        vms: pool.vms.length + hosts,
        vdis: pool.vdis.length,
      }),
    };
  } finally {
    await house.close();
  }
}

/** `before`: what the pool holds before the failover, control domains among the VMs. */
function criticalSecondsOf(plan: Plan, point: RecoveryPoint, before: PoolSize): number {
  const disks = new Map(point.vms.map((vm) => [vm.uuid, vm.vdiUuids.length]));
  const sizeAfter = (done: readonly Step[]): PoolSize => ({
    vms:
      before.vms +
      done.reduce((sum, { action }) => sum + (action.do === 'import-vms' ? action.vms.length : 0), 0),
    vdis: before.vdis,
  });
  const priceOf = ({ action }: Step, done: readonly Step[]): Price => {
    switch (action.do) {
      case 'import-vms': {
        const vdis = action.vms.reduce((sum, vm) => sum + (disks.get(vm.uuid) ?? 0), 0);
        const document = { vms: action.vms.length, vdis };
        const { cpuSeconds } = importCost(sizeAfter(done), document, { restore: true, dryRun: false });
        return { coreSeconds: cpuSeconds, hostSeconds: 0 };
      }
      case 'start-vm':
        return {
          coreSeconds: callCost('VM.start', sizeAfter(done), 0).cpuSeconds,
          hostSeconds: hostStartSeconds,
        };
      default:
        return { coreSeconds: 0, hostSeconds: 0 };
    }
  };
  return criticalPathSeconds(plan.steps, {
    limitOf: limitsOf(plan),
    priceOf,
    workers: hosts * workersPerHost,
  });
}

interface Script {
  readonly seconds: number;
  readonly importSeconds: number;
}

/** The documents lie ready, rewritten for this pool: the script could not even do that. */
async function restoreScript(lab: BenchLab, house: House): Promise<Script> {
  const bare = new BareClient(lab.pool('script'));
  try {
    const hypervisor = house.hypervisor('script');
    const pool = await hypervisor.observe();
    const networks = networkNames.map((production) => {
      const found = pool.networks.find((network) => network.nameLabel === recoveryNetworkOf(production));
      if (found === undefined) throw new Error(`there is no network for ${production}`);
      const { uuid, nameLabel, bridge } = found;
      return { production, recovery: { uuid, nameLabel, bridge } };
    });
    const [newest] = (await house.catalog.list(house.group.name)).points;
    if (newest === undefined) throw new Error('the export left no point');
    const archives: Uint8Array[] = [];
    for (const vm of (await house.catalog.read(newest.id)).vms) {
      const document = parseArchive(await house.catalog.get(vm.document));
      archives.push(
        packDocument(rewriteForRecovery(document, { networks, pool, haltSuspended: true }).document),
      );
    }
    await bare.login(lab.username, lab.password);
    const before = await lab.stats('script');
    const imported: string[] = [];
    for (const archive of archives)
      imported.push(...(await hypervisor.importMetadata(archive, { restore: true, dryRun: false })));
    const between = await lab.stats('script');
    for (const uuid of imported) {
      const all = (await bare.call('VM.get_all_records')) as Readonly<Record<string, { uuid: string }>>;
      const ref = Object.keys(all).find((key) => all[key]?.uuid === uuid);
      await bare.call('VM.start', ref, false, false);
    }
    const after = await lab.stats('script');
    await bare.logout();
    return {
      seconds: after.nowSeconds - before.nowSeconds,
      importSeconds: between.nowSeconds - before.nowSeconds,
    };
  } finally {
    await house.close();
  }
}
