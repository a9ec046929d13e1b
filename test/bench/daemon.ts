/**
 * The look of a daemon over a quiet world: calls to the pools for many VMs and groups against a tenth of them, and what the
 * process holds while it rests.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type Bench, type Figure, number } from './figures.ts';
import type { HouseOptions } from './house.ts';
import { BenchLab } from './lab.ts';
import { dividedPoint } from './preflight.ts';

const limitMegabytes = 200;

export interface DaemonOrder extends Pick<HouseOptions, 'stateDirectory' | 'catalogDirectory' | 'groups'> {
  readonly username: string;
  readonly password: string;
  readonly pools: BenchLab['pools'];
}

export interface DaemonReport {
  readonly restBytes: number;
  readonly peakBytes: number;
  readonly lookSeconds: number;
  readonly error?: string;
}

interface Watched extends DaemonReport {
  /** To both pools together, for all looks of the process. */
  readonly calls: number;
}

export async function measureDaemon(bench: Bench): Promise<Figure[]> {
  const [vms, groups] = [2 * bench.vms, bench.vms / 5];
  const few = await watched(bench, vms / 10, groups / 10);
  const many = await watched(bench, vms, groups);
  const megabytes = many.restBytes / 1e6;
  return [
    {
      name: `calls of six looks at ${vms} VMs in ${groups} groups`,
      value: `${many.calls}; at ${vms / 10} VMs in ${groups / 10} groups ${few.calls}`,
      aim: 'no more',
      met: many.calls <= few.calls,
      beside: `to both pools together; the last look took ${number(many.lookSeconds)} s`,
    },
    {
      name: `memory of a daemon at rest, ${vms} VMs in ${groups} groups`,
      value: `${megabytes.toFixed(0)} MB`,
      aim: `under ${limitMegabytes} MB`,
      met: megabytes < limitMegabytes,
      beside: `resident memory of the whole process, Node included, started as bin/lifeboat does; ${(many.peakBytes / 1e6).toFixed(0)} MB during a look`,
    },
  ];
}

async function watched(bench: Bench, vms: number, groups: number): Promise<Watched> {
  const lab = await BenchLab.start({
    world: { vms, firstTier: 10, recoveries: ['recovery'] },
    storage: join(bench.directory, `lab-daemon-${vms}`),
    costs: false,
    skipping: false,
  });
  const place = {
    recovery: 'recovery',
    stateDirectory: join(bench.directory, `state-daemon-${vms}`),
    catalogDirectory: join(bench.directory, `catalog-daemon-${vms}`),
  };
  try {
    const uuids = await dividedPoint(lab, place, groups);
    const { username, password, pools } = lab;
    await lab.forgetCalls();
    const report = await watchElsewhere({ username, password, pools, ...place, groups: uuids });
    const { calls } = await lab.stats('recovery');
    return { ...report, calls: Object.values(calls).reduce((sum, count) => sum + count, 0) };
  } finally {
    await lab.stop();
  }
}

async function watchElsewhere(order: DaemonOrder): Promise<DaemonReport> {
  const child = fork(new URL('daemon-process.ts', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // As bin/lifeboat has it.
    execArgv: [...process.execArgv, '--max-semi-space-size=4'],
    env: {
      ...process.env,
      MALLOC_ARENA_MAX: '2',
      MALLOC_MMAP_THRESHOLD_: '65536',
      MALLOC_TRIM_THRESHOLD_: '65536',
    },
  });
  const ended = once(child, 'exit');
  child.send(order);
  const [report] = (await Promise.race([
    once(child, 'message'),
    ended.then(() => [{ restBytes: 0, peakBytes: 0, lookSeconds: 0, error: 'it ended without a word' }]),
  ])) as [DaemonReport];
  await ended;
  if (report.error !== undefined) throw new Error(`the daemon's process: ${report.error}`);
  return report;
}
