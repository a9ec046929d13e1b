/** SR.scan: records follow what lies on the storage (xapi.md 7.2, 7.8, 7.9). */
import type { Row } from '../core/database.ts';
import { internal } from '../core/failure.ts';
import type { LabPool } from '../core/pool.ts';
import { DateTime, epoch, nullRef, sameValue, struct } from '../core/values.ts';
import type { Backend, ScannedDisk } from './driver.ts';
import { backendOf } from './state.ts';

/** Brings VDI records and the sizes of the SR in line with its storage. */
export function scan(pool: LabPool, sr: Row, backend: Backend = backendOf(pool, sr)): void {
  const found = backend.scan();
  const byLocation = new Map(found.map((disk) => [disk.location, disk]));
  const known = new Map(sr.rows('VDIs', 'VDI').map((vdi) => [vdi.text('location'), vdi]));
  for (const [location, vdi] of known) if (!byLocation.has(location)) vdi.destroy();
  for (const disk of found) {
    const vdi = known.get(disk.location);
    if (vdi === undefined) addRecord(pool, sr, disk);
    else updateRecord(vdi, disk);
  }
  restoreLinks(pool, sr, found);
  if ('dirty' in sr.map('other_config')) sr.drop('other_config', 'dirty');
  updateSizes(sr, backend);
}

function addRecord(pool: LabPool, sr: Row, disk: ScannedDisk): void {
  const { metadata } = disk;
  if (disk.uuid !== null && pool.db.uuidTaken(disk.uuid))
    internal(`Db_exn.Uniqueness_constraint_violation("VDI", "uuid", "${disk.uuid}")`);
  pool.db.create('VDI', {
    ...(disk.uuid === null ? {} : { uuid: disk.uuid }),
    location: disk.location,
    SR: sr.ref,
    name_label: disk.nameLabel,
    name_description: metadata?.nameDescription ?? '',
    type: metadata?.type ?? 'user',
    is_a_snapshot: metadata?.isASnapshot ?? false,
    snapshot_time: metadata === null ? epoch : new DateTime(metadata.snapshotTime),
    virtual_size: BigInt(disk.virtualSize),
    physical_utilisation: BigInt(disk.physicalSize),
    managed: !disk.hidden,
    read_only: disk.readOnly,
    sm_config: struct(disk.smConfig),
  });
}

function updateRecord(vdi: Row, disk: ScannedDisk): void {
  const changes = {
    virtual_size: BigInt(disk.virtualSize),
    physical_utilisation: BigInt(disk.physicalSize),
    managed: !disk.hidden,
    sm_config: struct({ ...otherSmConfig(vdi), ...disk.smConfig }),
  };
  const changed = Object.entries(changes).filter(([field, value]) => !sameValue(vdi.get(field), value));
  if (changed.length > 0) vdi.set(Object.fromEntries(changed));
}

/** Keys of sm_config that do not come from the disk itself. */
function otherSmConfig(vdi: Row): Record<string, string> {
  const { 'vhd-parent': _parent, ...rest } = vdi.map('sm_config');
  return rest;
}

/** Snapshot links that the metadata volume keeps by uuid (xapi.md 7.7). */
function restoreLinks(pool: LabPool, sr: Row, found: readonly ScannedDisk[]): void {
  for (const disk of found) {
    const origin = disk.metadata?.snapshotOf;
    if (origin === undefined || origin === '' || disk.uuid === null) continue;
    const vdi = pool.db.findByUuid('VDI', disk.uuid);
    const source = pool.db.findByUuid('VDI', origin);
    if (vdi?.text('snapshot_of') === nullRef && source?.text('SR') === sr.ref)
      vdi.set({ snapshot_of: source.ref });
  }
}

export function updateSizes(sr: Row, backend: Backend): void {
  const { total, used } = backend.space();
  const virtual = sr.rows('VDIs', 'VDI').reduce((sum, vdi) => sum + vdi.int('virtual_size'), 0n);
  const changes = {
    physical_size: BigInt(total),
    physical_utilisation: BigInt(used),
    virtual_allocation: virtual,
  };
  const changed = Object.entries(changes).filter(([field, value]) => sr.get(field) !== value);
  if (changed.length > 0) sr.set(Object.fromEntries(changed));
}

/** Disks changed behind the driver: the background scanner looks at the SR soon. */
export function markDirty(sr: Row): void {
  if (!('dirty' in sr.map('other_config'))) sr.put('other_config', 'dirty', '');
}
