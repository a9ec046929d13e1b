/**
 * The preflight by its calls, which no machine makes faster: as many for 1,000 VMs as for 50, and no dry run. And the
 * memory of a process that plans everything for 2,000 VMs in 200 groups.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { exportOnce } from './export.ts';
import type { Bench, Figure } from './figures.ts';
import { number } from './figures.ts';
import { type HouseOptions, openHouse } from './house.ts';
import { BenchLab } from './lab.ts';

const limitMegabytes = 500;

export interface PlanningOrder extends Pick<HouseOptions, 'stateDirectory' | 'catalogDirectory' | 'groups'> {
  readonly username: string;
  readonly password: string;
  readonly pools: BenchLab['pools'];
}

export interface PlanningReport {
  readonly peakBytes: number;
  readonly seconds: number;
  readonly plans: number;
  readonly error?: string;
}

export async function measurePreflight(bench: Bench): Promise<Figure[]> {
  const few = await callsOfPreflight(bench, 50);
  const many = await callsOfPreflight(bench, bench.vms);
  const dryRuns = many.filter(([name]) => name.includes('import_metadata')).length;
  const sum = (calls: typeof few): number => calls.reduce((total, [, count]) => total + count, 0);
  return [
    {
      name: `calls of the preflight of a group of ${bench.vms} VMs`,
      value: `${sum(many)}; with 50 VMs ${sum(few)}; dry runs ${dryRuns}`,
      aim: 'no more, no dry run',
      met: sum(many) <= sum(few) && dryRuns === 0,
      beside: 'check of every operation, and the plan of a failover, to both pools together',
    },
    await planningMemory(bench),
  ];
}

async function callsOfPreflight(bench: Bench, vms: number): Promise<(readonly [string, number])[]> {
  const lab = await BenchLab.start({
    world: { vms, firstTier: 10, recoveries: ['recovery'] },
    storage: join(bench.directory, `lab-preflight-${vms}`),
    costs: false,
    skipping: false,
  });
  const house = openHouse({
    lab,
    recovery: 'recovery',
    stateDirectory: join(bench.directory, `state-preflight-${vms}`),
    catalogDirectory: join(bench.directory, `catalog-preflight-${vms}`),
  });
  try {
    await exportOnce(house);
    await lab.forgetCalls();
    await house.app.check({ groups: [] });
    await house.app.plan({ operation: 'failover', group: house.group.name, pointId: null, decisions: [] });
    return Object.entries((await lab.stats('recovery')).calls);
  } finally {
    await house.close();
    await lab.stop();
  }
}

/** Every group has its own point, so that every plan of a failover is a whole one. */
async function planningMemory(bench: Bench): Promise<Figure> {
  const vms = 2 * bench.vms;
  const groups = bench.vms / 5;
  const lab = await BenchLab.start({
    world: { vms, firstTier: 10, recoveries: ['recovery'] },
    storage: join(bench.directory, 'lab-planning'),
    costs: false,
    skipping: false,
  });
  const place = {
    recovery: 'recovery',
    stateDirectory: join(bench.directory, 'state-planning'),
    catalogDirectory: join(bench.directory, 'catalog-planning'),
  };
  try {
    const uuids = await dividedPoint(lab, place, groups);
    const { username, password, pools } = lab;
    const report = await planElsewhere({ username, password, pools, ...place, groups: uuids });
    const megabytes = report.peakBytes / 1e6;
    return {
      name: `peak memory of planning for ${vms} VMs in ${groups} groups`,
      value: `${megabytes.toFixed(0)} MB`,
      aim: `under ${limitMegabytes} MB`,
      met: megabytes < limitMegabytes,
      beside: `resident memory of the whole process, Node included: one check of all groups, ${report.plans} operations planned, in ${number(report.seconds)} s`,
    };
  } finally {
    await lab.stop();
  }
}

/** A point of all VMs is taken once, and each group gets its part of it; returns the VMs of each group. */
export async function dividedPoint(
  lab: BenchLab,
  place: Pick<HouseOptions, 'recovery' | 'stateDirectory' | 'catalogDirectory'>,
  groups: number,
): Promise<readonly (readonly string[])[]> {
  const house = openHouse({ lab, ...place });
  const uuids: string[][] = Array.from({ length: groups }, () => []);
  try {
    await exportOnce(house);
    const [newest] = (await house.catalog.list(house.group.name)).points;
    if (newest === undefined) throw new Error('the export left no point');
    const point = await house.catalog.read(newest.id);
    for (const [index, vm] of point.vms.entries()) uuids[index % groups]?.push(vm.uuid);
    for (const [index, mine] of uuids.entries()) {
      const group = `group-${index}`;
      const its = point.vms.filter((vm) => mine.includes(vm.uuid));
      // An SR belongs to one group: its points list the disks of its own VMs.
      const disks = new Set(its.flatMap((vm) => vm.vdiUuids));
      const vdis = point.vdis.filter((vdi) => disks.has(vdi.uuid));
      const id = newest.id.replace(house.group.name, group);
      await house.catalog.seal({ ...point, id, group, vms: its, vdis });
    }
    return uuids;
  } finally {
    await house.close();
  }
}

async function planElsewhere(order: PlanningOrder): Promise<PlanningReport> {
  const child = fork(new URL('planning-process.ts', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  child.send(order);
  const [report] = (await Promise.race([
    once(child, 'message'),
    ended.then(() => [{ peakBytes: 0, seconds: 0, plans: 0, error: 'it ended without a word' }]),
  ])) as [PlanningReport];
  await ended;
  if (report.error !== undefined) throw new Error(`the planning process: ${report.error}`);
  return report;
}
