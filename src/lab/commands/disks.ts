/** What a guest would do with its disk: bytes are written to and read from the storage that the VM is attached to. */
import type { Row } from '../core/database.ts';
import type { Lab } from '../core/lab.ts';
import type { LabPool } from '../core/pool.ts';
import { backendOf } from '../storage/state.ts';

export interface DiskPlace {
  /** Name of the site or pool. */
  readonly site: string;
  /** Name or uuid. */
  readonly vm: string;
  /** userdevice of the disk. */
  readonly disk: string;
  readonly offset: number;
}

function find(lab: Lab, place: DiskPlace): { pool: LabPool; vdi: Row } {
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
  const vbd = vm
    .rows('VBDs', 'VBD')
    .find((row) => row.get('userdevice') === place.disk && row.get('type') === 'Disk');
  const vdi = vbd?.row('VDI', 'VDI');
  if (vdi === undefined) throw new Error(`${place.vm} at ${place.site} has no disk ${place.disk}`);
  return { pool, vdi };
}

export function readDisk(lab: Lab, place: DiskPlace & { readonly length: number }): Buffer {
  const { pool, vdi } = find(lab, place);
  const sr = pool.db.row('SR', vdi.text('SR'));
  const disk = backendOf(pool, sr).open(vdi.text('location'), 'r');
  try {
    return disk.read(place.offset, place.length);
  } finally {
    disk.close();
  }
}

/** Returns how many bytes were written. */
export function writeDisk(lab: Lab, place: DiskPlace & { readonly data: Buffer }): number {
  const { pool, vdi } = find(lab, place);
  const sr = pool.db.row('SR', vdi.text('SR'));
  const disk = backendOf(pool, sr).open(vdi.text('location'), 'r+');
  try {
    disk.write(place.offset, place.data);
    return place.data.length;
  } finally {
    disk.close();
  }
}
