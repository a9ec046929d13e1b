/** What the guest of a running VM does with its disk, for `lab write` and `lab read`. */
import type { Lab } from '../core/lab.ts';
import { guestRead, guestWrite } from '../vm/index.ts';

export interface DiskPlace {
  /** Name of the site or pool. */
  readonly site: string;
  /** Name or uuid. */
  readonly vm: string;
  /** userdevice of the disk. */
  readonly disk: string;
  readonly offset: number;
}

function find(lab: Lab, place: DiskPlace): { readonly pool: string; readonly vm: string } {
  const pool = [...lab.pools.values()].find((p) => p.site === place.site || p.name === place.site);
  if (pool === undefined)
    throw new Error(
      `the lab has no site ${place.site}; it has ${[...lab.pools.values()].map((p) => p.site).join(', ')}`,
    );
  const vms = pool.db
    .all('VM')
    .filter((vm) => (vm.get('name_label') === place.vm || vm.uuid === place.vm) && !vm.bool('is_a_snapshot'));
  const [vm] = vms;
  if (vm === undefined) throw new Error(`no VM is called ${place.vm} at ${place.site}`);
  if (vms.length > 1)
    throw new Error(`${vms.length} VMs are called ${place.vm} at ${place.site}: give the uuid`);
  return { pool: pool.name, vm: vm.uuid };
}

export function readDisk(lab: Lab, place: DiskPlace & { readonly length: number }): Buffer {
  const { pool, vm } = find(lab, place);
  return guestRead(lab, pool, vm, place.disk, place.offset, place.length);
}

/** Returns how many bytes were written. */
export function writeDisk(lab: Lab, place: DiskPlace & { readonly data: Buffer }): number {
  const { pool, vm } = find(lab, place);
  guestWrite(lab, pool, vm, place.disk, place.offset, place.data);
  return place.data.length;
}
