/** Peak memory of the process that exports a large pool: the lab is another process, and so is the export. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Bench, Figure } from './figures.ts';
import { number } from './figures.ts';
import { BenchLab } from './lab.ts';

const limitMegabytes = 300;

export interface MemoryOrder {
  readonly username: string;
  readonly password: string;
  readonly pools: BenchLab['pools'];
  readonly directory: string;
}

export interface MemoryReport {
  readonly peakBytes: number;
  readonly seconds: number;
  readonly error?: string;
}

export async function measureMemory(bench: Bench): Promise<Figure[]> {
  const vms = 5 * bench.vms;
  const lab = await BenchLab.start({
    world: { vms, firstTier: 10, recoveries: ['recovery'] },
    storage: join(bench.directory, 'lab-memory'),
    costs: false,
    skipping: false,
  });
  try {
    const { peakBytes, seconds } = await exportElsewhere(bench, lab);
    const megabytes = peakBytes / 1e6;
    return [
      {
        name: `peak memory of an export of ${vms} VMs`,
        value: `${megabytes.toFixed(0)} MB`,
        aim: `under ${limitMegabytes} MB`,
        met: megabytes < limitMegabytes,
        beside: `resident memory of the whole process, Node included; ${number(seconds)} s without the cost model`,
      },
    ];
  } finally {
    await lab.stop();
  }
}

async function exportElsewhere(bench: Bench, lab: BenchLab): Promise<MemoryReport> {
  const child = fork(new URL('memory-process.ts', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  const order: MemoryOrder = {
    username: lab.username,
    password: lab.password,
    pools: lab.pools,
    directory: join(bench.directory, 'memory'),
  };
  child.send(order);
  const [report] = (await Promise.race([
    once(child, 'message'),
    ended.then(() => [{ peakBytes: 0, seconds: 0, error: 'it ended without a word' }]),
  ])) as [MemoryReport];
  await ended;
  if (report.error !== undefined) throw new Error(`the exporting process: ${report.error}`);
  return report;
}
