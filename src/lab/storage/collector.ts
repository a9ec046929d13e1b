/**
 * What runs behind the calls: the collector that releases VBDs of vanished disks (xapi.md 7.9), the background scan of
 * dirty SRs (7.2), removal of hidden parents that no disk needs, and the metadata volume of LVM SRs (7.7).
 */
import type { Row } from '../core/database.ts';
import type { LabPool } from '../core/pool.ts';
import { nullRef } from '../core/values.ts';
import { readVolumeGroup, type VolumeMetadata, writeVolumeGroup } from './fabric.ts';
import { scan } from './scan.ts';
import { backendOf, pluggedPbds, storageState } from './state.ts';
import { releaseVbd } from './vdi.ts';

/** One run of the database's collector, as it happens every 30 seconds. */
export function collect(pool: LabPool): void {
  for (const vbd of pool.db.all('VBD')) {
    if (pool.db.find('VM', vbd.text('VM')) === undefined) vbd.destroy();
    else if (vbd.text('VDI') !== nullRef && pool.db.find('VDI', vbd.text('VDI')) === undefined)
      releaseVbd(vbd);
  }
  for (const [cls, field, target] of [
    ['VIF', 'VM', 'VM'],
    ['VTPM', 'VM', 'VM'],
    ['console', 'VM', 'VM'],
    ['PBD', 'SR', 'SR'],
  ] as const)
    for (const row of pool.db.all(cls))
      if (row.text(field) !== nullRef && pool.db.find(target, row.text(field)) === undefined) row.destroy();
}

/** One run of the background scanner: SRs that are dirty, or that ask for it with `auto-scan`. */
export function scanDirty(pool: LabPool): void {
  for (const sr of pool.db.all('SR')) {
    const config = sr.map('other_config');
    if (!('dirty' in config) && config['auto-scan'] !== 'true') continue;
    if (pluggedPbds(pool, sr).length === 0) continue;
    try {
      removeOrphans(pool, sr);
      scan(pool, sr);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      pool.message('BACKGROUND_SCAN_FAILED', 4n, 'SR', sr.uuid, reason);
      sr.drop('other_config', 'dirty');
    }
  }
}

function removeOrphans(pool: LabPool, sr: Row): void {
  const { disks, access } = backendOf(pool, sr);
  if (disks === null || access() !== 'rw') return;
  for (let found = disks.orphans(); found.length > 0; found = disks.orphans())
    for (const uuid of found) {
      disks.delete(uuid);
      pool.db.findByUuid('VDI', uuid)?.destroy();
    }
}

/** Lets the collector and the scanner run when something calls for them; `stop` ends it. */
export function startCollector(pool: LabPool): () => void {
  const over = new AbortController();
  let waiting = false;
  const wake = (): void => {
    if (waiting || over.signal.aborted) return;
    waiting = true;
    pool.clock.sleep(storageState(pool).collectorSeconds, over.signal).then(
      () => {
        waiting = false;
        collect(pool);
        scanDirty(pool);
      },
      () => {
        waiting = false;
      },
    );
  };
  pool.db.onChange((row, change, fields) => {
    if (change === 'del' && (row.cls === 'VDI' || row.cls === 'VM' || row.cls === 'SR')) wake();
    if (row.cls === 'SR' && fields.includes('other_config') && 'dirty' in row.map('other_config')) wake();
    if (row.cls === 'VDI' && change === 'mod' && fields.some((field) => kept.has(field)))
      keepMetadata(pool, row);
    if (row.cls === 'VDI' && change === 'add') keepMetadata(pool, row);
  });
  return () => over.abort();
}

const kept = new Set([
  'name_label',
  'name_description',
  'is_a_snapshot',
  'snapshot_of',
  'snapshot_time',
  'type',
  'read_only',
  'managed',
]);

/** Writes a disk's names and links to the metadata volume of its LUN. */
function keepMetadata(pool: LabPool, vdi: Row): void {
  const sr = vdi.row('SR', 'SR');
  if (sr === undefined || !/^lvmo/.test(sr.text('type'))) return;
  if (pluggedPbds(pool, sr).length === 0) return;
  const { lun } = backendOf(pool, sr);
  const group = lun === null ? null : readVolumeGroup(lun);
  if (lun === null || group === null || lun.access() !== 'rw') return;
  const entry: VolumeMetadata = {
    nameLabel: vdi.text('name_label'),
    nameDescription: vdi.text('name_description'),
    isASnapshot: vdi.bool('is_a_snapshot'),
    snapshotOf: pool.db.find('VDI', vdi.text('snapshot_of'))?.uuid ?? '',
    snapshotTime: vdi.date('snapshot_time').text,
    type: vdi.text('type'),
    readOnly: vdi.bool('read_only'),
    managed: vdi.bool('managed'),
  };
  const volumes = Object.fromEntries(
    Object.entries({ ...group.volumes, [vdi.uuid]: entry }).filter(
      ([uuid]) => pool.db.findByUuid('VDI', uuid) !== undefined || uuid === vdi.uuid,
    ),
  );
  writeVolumeGroup(lun, { ...group, volumes });
}
