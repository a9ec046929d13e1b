/**
 * xe-backup-metadata of a lab host, in the order of xapi.md 5.4: options and exit codes of 5.3, layout of 5.5. As with
 * the real one, an export that fails inside changes neither the words nor the exit code.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Row } from '../core/database.ts';
import { invoke } from '../core/dispatch.ts';
import { failureOf } from '../core/failure.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import { struct } from '../core/values.ts';
import { databaseDump } from '../server/xmldbdump.ts';
import { metadataBackupUuid } from '../storage/vdi.ts';
import { isDefaultTemplate, metadataArchive } from '../transfer/export.ts';
import type { Talk } from './commands.ts';
import { MountedDisk } from './mounted-disk.ts';
import { optionsOf } from './words.ts';

/** What goes wrong inside, without a word to the caller. */
export interface Mishaps {
  /** Uuids of VMs whose export fails. */
  readonly exports: Set<string>;
  /** The dump of the database fails. */
  database: boolean;
  /** Bytes of a disk that the script makes: 1 GiB since v25.18 (xapi.md 5.2). */
  diskBytes: bigint;
  /** Minutes by which the local time of the control domain is ahead of UTC. */
  minutesAheadOfUtc: number;
}

const mishaps = new WeakMap<LabPool, Mishaps>();

export function mishapsOf(pool: LabPool): Mishaps {
  const known = mishaps.get(pool) ?? {
    exports: new Set<string>(),
    database: false,
    diskBytes: 1024n ** 3n,
    minutesAheadOfUtc: 0,
  };
  mishaps.set(pool, known);
  return known;
}

const formatVersion = '1';
const fullPercent = 90;
const usage = 'Usage: xe-backup-metadata [-h] [-c] [-i] [-u SR] [-d] [-k COUNT] [-n] [-f] [-v]\n';

export async function backupMetadata(host: LabHost, words: readonly string[], talk: Talk): Promise<number> {
  const { flags, values, wrong } = optionsOf(words, 'hvink:u:dcfy');
  const history = Number(values.get('k') ?? '12');
  if (wrong !== null || flags.has('h') || flags.has('y') || !Number.isInteger(history) || history < 1) {
    talk.err(wrong === null && !flags.has('y') ? usage : `Invalid option: ${wrong ?? 'y'}\n`);
    return 1;
  }
  if (flags.has('d')) {
    talk.err('There is no terminal here\n');
    return 1;
  }
  const { pool } = host;
  if (host !== pool.master) {
    talk.err('This program runs on the master of the pool only\n');
    return 1;
  }
  const sr = srNamed(pool, values.get('u'));
  if (sr === null) {
    talk.err('There is no such SR, and no default one\n');
    return 1;
  }
  talk.out(`Using SR: ${sr.text('name_label')}\n`);
  let vdi = backupDisk(pool, sr);
  const isNew = vdi === null;
  if (vdi === null) {
    if (!flags.has('c')) {
      talk.err('There is no backup disk on this SR\n');
      return 3;
    }
    vdi = await makeDisk(host, sr);
    talk.out(`Creating new backup VDI: ${vdi.uuid}\n`);
  }
  if (flags.has('n')) {
    talk.out(`${vdi.uuid}\n`);
    return 0;
  }
  return withDisk(host, vdi, talk, (disk) => {
    if ((isNew || flags.has('i')) && !disk.format()) return failing(talk, 'the file system cannot be made');
    if (!disk.isClean()) return failing(talk, 'the file system is not clean');
    if (!disk.mount()) return failing(talk, 'the disk cannot be mounted');
    const used = disk.usedPercent();
    talk.out(`Checking backup VDI space usage: ${used}%\n`);
    if (used > fullPercent && !flags.has('f')) return failing(talk, 'the disk is full');
    writeBackup(pool, vdi, disk.tree, history, talk);
    return disk.unmount() ? 0 : failing(talk, 'the disk is full');
  });
}

function failing(talk: Talk, what: string): number {
  talk.err(`Failed: ${what}\n`);
  return 1;
}

/** The SR of this uuid, or the default one; null when there is none. */
export function srNamed(pool: LabPool, uuid: string | undefined): Row | null {
  return (
    (uuid === undefined ? pool.db.find('SR', pool.row.text('default_SR')) : pool.db.findByUuid('SR', uuid)) ??
    null
  );
}

export function backupDisk(pool: LabPool, sr: Row): Row | null {
  const found = pool.db.findByUuid('VDI', metadataBackupUuid(sr.uuid));
  return found?.text('SR') === sr.ref ? found : null;
}

async function makeDisk(host: LabHost, sr: Row): Promise<Row> {
  const { pool } = host;
  const ref = await invoke(
    host,
    'VDI.create',
    struct({
      name_label: 'Pool Metadata Backup',
      SR: sr.ref,
      virtual_size: mishapsOf(pool).diskBytes,
      type: 'user',
      sharable: false,
      read_only: false,
      other_config: struct({ 'ctxs-pool-backup': 'true' }),
    }),
  );
  return pool.db.row('VDI', String(ref));
}

/** Attaches the disk to the control domain for the work, and takes it away again whatever comes of it. */
export async function withDisk(
  host: LabHost,
  vdi: Row,
  talk: Talk,
  work: (disk: MountedDisk) => number | Promise<number>,
): Promise<number> {
  let disk: MountedDisk;
  try {
    disk = await MountedDisk.attach(host, vdi);
  } catch (error) {
    return failing(talk, `the disk cannot be attached: ${failureOf(error).description.join(' ')}`);
  }
  try {
    return await work(disk);
  } finally {
    await disk.detach();
  }
}

function writeBackup(pool: LabPool, vdi: Row, tree: string, history: number, talk: Talk): void {
  const at = pool.clock.now();
  const put = (path: string, content: string | Buffer): void => {
    const file = join(tree, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    utimesSync(file, at / 1000, at / 1000);
  };
  const conf = `conf/${vdi.uuid}`;
  if (!existsSync(join(tree, conf))) {
    put('.ctxs-metadata-backup', formatVersion);
    put(conf, stanza(pool, vdi, history));
  }
  rotate(tree, pool.row.uuid, rotationsIn(readFileSync(join(tree, conf), 'utf8')));
  if (!mishapsOf(pool).database) put(`${pool.row.uuid}.db`, databaseDump(pool));
  talk.out('Backing up pool database: done\n');
  const found = datesIn(tree);
  talk.out(`Rotating old backups: found ${found.length}\n`);
  const date = localName(at, mishapsOf(pool).minutesAheadOfUtc);
  for (const old of found.filter((name) => name !== date).slice(0, Math.max(0, found.length + 1 - history)))
    rmSync(join(tree, 'metadata', old), { recursive: true });
  put(`metadata/${date}/SRMETA.xml`, storageNames(pool));
  const saved = exportedVms(pool).filter((vm) => !mishapsOf(pool).exports.has(vm.uuid));
  for (const vm of saved) {
    const wanted = { snapshots: false, vhdParents: false, excluded: new Set<never>(), vms: [vm.ref] };
    put(`metadata/${date}/all/${vm.uuid}.vmmeta`, metadataArchive(pool, wanted));
    for (const sr of srsOf(vm)) {
      const folder = join(tree, 'metadata', date, 'by-sr', sr);
      mkdirSync(folder, { recursive: true });
      symlinkSync(`../../all/${vm.uuid}.vmmeta`, join(folder, `${vm.uuid}.vmmeta`));
    }
  }
  talk.out('Backing up VM metadata: done\n');
}

function stanza(pool: LabPool, vdi: Row, history: number): string {
  return `/var/run/pool-backup-${vdi.uuid}/${pool.row.uuid}.db {\n    rotate ${history}\n    missingok\n}\n`;
}

/** Written once, with the first backup: a later -k changes nothing here (xapi.md 5.5). */
function rotationsIn(conf: string): number {
  return Number(/rotate (\d+)/.exec(conf)?.[1] ?? '12');
}

function rotate(tree: string, poolUuid: string, keep: number): void {
  const name = (number: number): string =>
    join(tree, number === 0 ? `${poolUuid}.db` : `${poolUuid}.db.${number}`);
  rmSync(name(keep), { force: true });
  for (let number = keep - 1; number >= 0; number -= 1)
    if (existsSync(name(number))) renameSync(name(number), name(number + 1));
}

/** Dated directories, oldest first. */
export function datesIn(tree: string): string[] {
  const folder = join(tree, 'metadata');
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

function localName(at: number, minutesAhead: number): string {
  return new Date(at + minutesAhead * 60_000)
    .toISOString()
    .slice(0, 19)
    .replace('T', '-')
    .replaceAll(':', '-');
}

/** VMs, then custom templates; no snapshots (xapi.md 5.4). */
function exportedVms(pool: LabPool): Row[] {
  const all = pool.db
    .all('VM')
    .filter((vm) => !vm.bool('is_control_domain') && !vm.bool('is_a_snapshot') && !isDefaultTemplate(vm));
  return [...all.filter((vm) => !vm.bool('is_a_template')), ...all.filter((vm) => vm.bool('is_a_template'))];
}

function srsOf(vm: Row): Set<string> {
  return new Set(vm.rows('VBDs', 'VBD').flatMap((vbd) => vbd.row('VDI', 'VDI')?.row('SR', 'SR')?.uuid ?? []));
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function named(row: Row): string {
  const quote = (text: string): string => text.replace(/[&<>"]/g, (sign) => escapes[sign] ?? sign);
  return `uuid="${row.uuid}" name_label="${quote(row.text('name_label'))}" name_description="${quote(row.text('name_description'))}"`;
}

function storageNames(pool: LabPool): string {
  const srs = pool.db.all('SR').map((sr) => {
    const vdis = sr.rows('VDIs', 'VDI').map((vdi) => `<vdi ${named(vdi)}/>`);
    return `<sr ${named(sr)}>${vdis.join('')}</sr>`;
  });
  return `<meta>${srs.join('')}</meta>`;
}
