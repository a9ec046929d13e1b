/**
 * The Pool Metadata Backup VDI: a small ext3 disk on an SR that holds dumps of the pool database and one document per
 * VM, so that metadata travels with the replicated data. What it is called, how its files are laid out, and which dates
 * stay (xapi.md 5). The same words serve those who write it and those who read it.
 */
import type { Uuid } from './pool.ts';
import type { Instant } from './time.ts';

/** The exact name that makes xapi give the disk its deterministic uuid (xapi.md 5.2). */
export const backupVdiName = 'Pool Metadata Backup';
/** What both scripts of the host set in `other_config`. It proves nothing: anybody may set it. */
export const backupVdiFlag = { key: 'ctxs-pool-backup', value: 'true' } as const;
/** As the script of a current host makes it; older ones made 500 MiB (xapi.md 5.2). */
export const backupVdiBytes = 1024 ** 3;
/** In `other_config` of the disk: the date that Lifeboat last wrote, and read back, as `DATE WRITTEN-AT` (`backupMark`). */
export const backupVdiMark = 'lifeboat:metadata-backup';

/** Format version 1 (xapi.md 5.5). Paths within the file system, with `/` and without one in front. */
export const backupLayout = {
  /** Marker: a regular file that holds the format's number. */
  marker: '.ctxs-metadata-backup',
  formatVersion: '1',
  /** Directory of the stanza for logrotate, `conf/<vdi uuid>`. */
  conf: 'conf',
  /** Directory of the dated directories. */
  dates: 'metadata',
  /** In a dated directory: names of SRs and disks. */
  srMeta: 'SRMETA.xml',
  /** In a dated directory: all documents, `<vm uuid>.vmmeta`. */
  all: 'all',
  /** In a dated directory: `by-sr/<sr uuid>/<vm uuid>.vmmeta`, links to the documents. */
  bySr: 'by-sr',
  documentSuffix: '.vmmeta',
  /** In a dated directory that Lifeboat wrote: who did, and what it holds (`BackupProvenance`). Scripts pass it over. */
  provenance: 'LIFEBOAT.json',
} as const;

/** A disk is written in pieces of at most this. */
export const backupPieceBytes = 1024 ** 2;

/** The script refuses to go on above this, and so do we (xapi.md 5.3). */
export const backupFullShare = 0.9;

export const confPath = (vdi: Uuid): string => `${backupLayout.conf}/${vdi}`;
export const databasePath = (pool: Uuid, generation: number): string =>
  generation === 0 ? `${pool}.db` : `${pool}.db.${generation}`;
export const datePath = (date: string): string => `${backupLayout.dates}/${date}`;
export const documentName = (vm: Uuid): string => `${vm}${backupLayout.documentSuffix}`;
export const documentPath = (date: string, vm: Uuid): string =>
  `${datePath(date)}/${backupLayout.all}/${documentName(vm)}`;
export const linkPath = (date: string, sr: Uuid, vm: Uuid): string =>
  `${datePath(date)}/${backupLayout.bySr}/${sr}/${documentName(vm)}`;
/** Text of the link at `linkPath`. */
export const linkTarget = (vm: Uuid): string => `../../${backupLayout.all}/${documentName(vm)}`;

/** What `LIFEBOAT.json` of a dated directory says. Readers take it for a hint and check what it claims. */
export interface BackupProvenance {
  readonly format: 1;
  readonly by: 'lifeboat';
  readonly pool: { readonly uuid: Uuid; readonly nameLabel: string };
  readonly group: string;
  /** Recovery point whose documents these are. */
  readonly pointId: string;
  /** When it was captured, by our clock; the name of the directory may be later, so that it sorts last. */
  readonly takenAt: Instant;
  /** SHA-256 of each document, by VM. */
  readonly documents: Readonly<Record<Uuid, string>>;
}

const dateShape = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])-([01]\d|2[0-3])-[0-5]\d-([0-5]\d|60)$/;

/** `2026-01-31-02-30-05`. Hosts write their local time, Lifeboat UTC. */
export function isBackupDate(name: string): boolean {
  return dateShape.test(name);
}

/** The name of a dated directory for an instant, in UTC. */
export function backupDate(at: Instant): string {
  return new Date(at).toISOString().slice(0, 19).replaceAll(/[T:]/g, '-');
}

/** The instant that a name means if it was written in UTC; null for what is no date. */
export function instantOfBackupDate(name: string): Instant | null {
  if (!isBackupDate(name)) return null;
  const [year, month, day, hour, minute, second] = name.split('-');
  const at = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second === '60' ? '59' : second}Z`);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}

/** Local times of hosts run ahead of UTC by at most this. */
const furthestZoneSeconds = 14 * 3600;

/**
 * The name of the next dated directory: later than every other, because readers and scripts take the last one for the
 * newest, and hosts name theirs by local time. A date further ahead than any time zone comes of a wrong clock: it is not
 * followed, and `aheadOf` names it.
 */
export function nextBackupDate(
  existing: readonly string[],
  at: Instant,
): { readonly date: string; readonly aheadOf: string | null } {
  const now = backupDate(at);
  const newest = existing.filter(isBackupDate).sort().at(-1) ?? '';
  if (newest < now) return { date: now, aheadOf: null };
  const then = instantOfBackupDate(newest);
  const later = then === null ? null : backupDate(new Date(Date.parse(then) + 1000).toISOString());
  const limit = backupDate(new Date(Date.parse(at) + furthestZoneSeconds * 1000).toISOString());
  if (later !== null && later <= limit) return { date: later, aheadOf: null };
  const taken = new Set(existing);
  let free = Date.parse(at);
  while (taken.has(backupDate(new Date(free).toISOString()))) free += 1000;
  return { date: backupDate(new Date(free).toISOString()), aheadOf: newest };
}

/** Which of our own dates go when `keep` are to stay; `own` holds the new one as well. Dates of others are not asked. */
export function datesToLetGo(own: readonly string[], keep: number): readonly string[] {
  const sorted = [...own].sort();
  return sorted.slice(0, Math.max(0, sorted.length - Math.max(1, keep)));
}

/** The stanza as the host's script writes it at the first backup (xapi.md 5.5). */
export function rotationStanza(vdi: Uuid, pool: Uuid, keep: number): string {
  return `/var/run/pool-backup-${vdi}/${databasePath(pool, 0)} {\n    rotate ${keep}\n    missingok\n}\n`;
}

/** Text of `backupVdiMark`, and back. */
export function backupMark(date: string, writtenAt: Instant): string {
  return `${date} ${writtenAt}`;
}
export function readBackupMark(
  text: string | undefined,
): { readonly date: string; readonly writtenAt: Instant } | null {
  const [date = '', writtenAt = ''] = (text ?? '').split(' ');
  return isBackupDate(date) && !Number.isNaN(Date.parse(writtenAt)) ? { date, writtenAt } : null;
}
