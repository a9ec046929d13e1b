/**
 * What the file tree of a metadata backup means (xapi.md 5.5): of which moment a date is, which dump of the database
 * belongs to it, and what the names file adds to the facts of its documents.
 */
import { type BackupProvenance, instantOfBackupDate } from '../domain/backup-vdi.ts';
import type { PoolFacts, Uuid } from '../domain/pool.ts';
import type { Instant } from '../domain/time.ts';
import type { Named, NamedSr } from './srmeta.ts';

/** Hosts name a date by their local time, which is at most this far from UTC. */
const furthestZoneSeconds = 14 * 3600;

/**
 * The moment of a date: what Lifeboat wrote says it; else the time of the file that the script writes first; else the name
 * as if it were UTC. A time that no time zone explains is not believed.
 */
export function momentOf(entry: {
  readonly name: string;
  readonly writtenAt: Instant | null;
  readonly provenance: Pick<BackupProvenance, 'takenAt'> | null;
}): { readonly at: Instant; readonly by: 'lifeboat' | 'file' | 'name' } | null {
  const named = instantOfBackupDate(entry.name);
  if (named === null) return null;
  const isNear = (at: Instant): boolean =>
    Math.abs(Date.parse(at) - Date.parse(named)) <= (furthestZoneSeconds + 3600) * 1000;
  if (entry.provenance !== null && isNear(entry.provenance.takenAt))
    return { at: new Date(entry.provenance.takenAt).toISOString(), by: 'lifeboat' };
  if (entry.writtenAt !== null && isNear(entry.writtenAt)) return { at: entry.writtenAt, by: 'file' };
  return { at: named, by: 'name' };
}

/**
 * The dump that was made with a date: both are made once per backup, so their places in the row are equal. Null where two
 * pools have written to the disk, and nobody can tell whose date it is (xapi.md 5.8); except for a date that says it.
 *
 * @param newer - how many dates come after this one
 */
export function databaseOf(
  databases: readonly { readonly pool: Uuid; readonly generation: number }[],
  newer: number,
  provenance: Pick<BackupProvenance, 'pool'> | null,
): { readonly pool: Uuid; readonly generation: number } | null {
  const pools = [...new Set(databases.map(({ pool }) => pool))];
  const [only] = pools;
  if (only === undefined) return null;
  const pool = provenance?.pool.uuid ?? (pools.length === 1 ? only : null);
  return databases.find((each) => each.pool === pool && each.generation === newer) ?? null;
}

/** Names of the file, where it has some: it tells of every disk, a document only of those of its VM. */
export function withNames(
  pool: Pick<PoolFacts, 'srs' | 'vdis'>,
  names: readonly NamedSr[],
): Pick<PoolFacts, 'srs' | 'vdis'> {
  const known = new Map<Uuid, Named>(
    names.flatMap((sr) => [sr, ...sr.vdis]).map((each) => [each.uuid, each]),
  );
  const named = <T extends Named>(item: T): T => {
    const found = known.get(item.uuid);
    if (found === undefined || found.nameLabel === '') return item;
    return { ...item, nameLabel: found.nameLabel, nameDescription: found.nameDescription };
  };
  return { srs: pool.srs.map(named), vdis: pool.vdis.map(named) };
}

/** VMs with a disk on this SR, as the links of the date say. */
export function vmsOfSr(
  links: readonly { readonly sr: Uuid; readonly vm: Uuid }[],
  sr: Uuid,
): ReadonlySet<Uuid> {
  return new Set(links.filter((link) => link.sr === sr).map((link) => link.vm));
}
