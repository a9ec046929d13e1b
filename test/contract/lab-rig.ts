/** A small lab for tests of storage and VM life: one pool, asked from inside, with the clock in the test's hand. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addNetwork, addPool } from '../../src/lab/core/build.ts';
import { DrivenClock } from '../../src/lab/core/clock.ts';
import type { Row } from '../../src/lab/core/database.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import { XenFailure } from '../../src/lab/core/failure.ts';
import type { LabHost, LabPool } from '../../src/lab/core/pool.ts';
import { nullRef, struct, type Value } from '../../src/lab/core/values.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';

const mebibyte = 1024n * 1024n;

export interface Site {
  readonly pool: LabPool;
  /** Calls as a client of the master would make them. */
  call(method: string, ...params: Value[]): Promise<string>;
  row(cls: string, ref: string): Row;
  /** A shared NFS SR on `/exports/<pool>`. */
  createSr(name: string): Promise<string>;
  createDisk(sr: string, name: string, more?: Readonly<Record<string, Value>>): Promise<string>;
  createVm(name: string, disks: readonly string[], more?: Readonly<Record<string, Value>>): Promise<string>;
}

export interface LabRig {
  readonly lab: Lab;
  readonly clock: DrivenClock;
  site(name: string): Site;
  directory(name: string): string;
}

/** Pools `one` and `two`, the first with as many hosts as asked; both can mount `/exports/one` and `/exports/two`. */
export async function labRig(
  test: { teardown(work: () => Promise<void>): void },
  number: number,
  hosts = 1,
): Promise<LabRig> {
  const storage = mkdtempSync(join(tmpdir(), 'lab-rig-'));
  const clock = new DrivenClock();
  const lab = await startLab({
    storage,
    clock,
    world: (made) => {
      const pools = ['one', 'two'].map((name, i) =>
        addPool(made, {
          name,
          site: name,
          label: name,
          hosts: Array.from({ length: i === 0 ? hosts : 1 }, (_, n) => ({
            name: `${name}-${n + 1}`,
            address: `127.${number}.${i + 1}.${n + 1}`,
            memoryBytes: 16n * 1024n * mebibyte,
          })),
        }),
      );
      for (const pool of pools)
        for (const name of ['one', 'two']) {
          mkdirSync(join(storage, name), { recursive: true });
          pool.exports.set(`/exports/${name}`, join(storage, name));
        }
    },
  });
  test.teardown(async () => {
    await lab.stop();
    rmSync(storage, { recursive: true, force: true });
  });
  return { lab, clock, site: (name) => siteOf(lab.pool(name)), directory: (name) => join(storage, name) };
}

function siteOf(pool: LabPool): Site {
  const call = async (method: string, ...params: Value[]): Promise<string> =>
    String(await invoke(pool.master, method, ...params));
  return {
    pool,
    call,
    row: (cls, ref) => pool.db.row(cls, ref),
    createSr: (name) => {
      const device = struct({ server: 'filer', serverpath: `/exports/${pool.name}` });
      return call('SR.create', pool.master.row.ref, device, 0n, name, '', 'nfs', 'user', true, struct());
    },
    createDisk: (sr, name, more = {}) =>
      call(
        'VDI.create',
        struct({
          name_label: name,
          SR: sr,
          virtual_size: 8n * mebibyte,
          type: 'user',
          sm_config: struct(),
          ...more,
        }),
      ),
    createVm: async (name, disks, more = {}) => {
      const memory = 1024n * mebibyte;
      const vm = await call(
        'VM.create',
        struct({
          name_label: name,
          memory_static_max: memory,
          memory_dynamic_max: memory,
          memory_dynamic_min: memory,
          memory_static_min: memory,
          VCPUs_max: 1n,
          VCPUs_at_startup: 1n,
          domain_type: 'hvm',
          ...more,
        }),
      );
      for (const [i, disk] of disks.entries())
        await call(
          'VBD.create',
          struct({
            VM: vm,
            VDI: disk,
            userdevice: String(i),
            bootable: i === 0,
            mode: 'RW',
            type: 'Disk',
            empty: false,
          }),
        );
      return vm;
    },
  };
}

/** Code and parameters of a refusal; `['done']` when there was none. */
export async function refusal(work: Promise<unknown>): Promise<readonly string[]> {
  try {
    await work;
    return ['done'];
  } catch (error) {
    if (error instanceof XenFailure) return error.description;
    throw error;
  }
}

/** A network of the pool; with hosts, one that has a card on each of them. */
export function network(pool: LabPool, name: string, hosts: readonly LabHost[] = []): Row {
  const row = addNetwork(pool, name);
  for (const host of hosts)
    pool.db.create('PIF', {
      network: row.ref,
      host: host.row.ref,
      device: 'eth9',
      VLAN: 7n,
      currently_attached: true,
    });
  return row;
}

export { nullRef, struct };
