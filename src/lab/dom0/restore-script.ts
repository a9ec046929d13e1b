/** xe-restore-metadata of a lab host: options, exit codes and last line of xapi.md 5.6. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SaxesParser } from 'saxes';
import type { Row } from '../core/database.ts';
import { failureOf } from '../core/failure.ts';
import type { LabHost, LabPool } from '../core/pool.ts';
import { openArchive } from '../transfer/archive.ts';
import { readDocument } from '../transfer/document.ts';
import { importDocument } from '../transfer/import.ts';
import { backupDisk, datesIn, srNamed, withDisk } from './backup-script.ts';
import type { Talk } from './commands.ts';
import type { MountedDisk } from './mounted-disk.ts';
import { type Options, optionsOf } from './words.ts';

const usage =
  'Usage: xe-restore-metadata [-h] [-u SR] [-x VDI] [-o] [-p] [-l] [-d DATE] [-m all|sr] [-n] [-f] [-y] [-v]\n';

export async function restoreMetadata(host: LabHost, words: readonly string[], talk: Talk): Promise<number> {
  const given = optionsOf(words, 'hvyu:x:opld:m:nf');
  const { flags, values, wrong } = given;
  const mode = values.get('m') ?? 'all';
  const { pool } = host;
  const sr = srNamed(pool, values.get('u'));
  const refused =
    wrong !== null || flags.has('h')
      ? usage
      : host !== pool.master
        ? 'This program runs on the master of the pool only\n'
        : mode !== 'all' && mode !== 'sr'
          ? usage
          : sr === null
            ? 'There is no such SR, and no default one\n'
            : null;
  if (refused !== null || sr === null) {
    talk.err(refused ?? usage);
    return 1;
  }
  const candidates = candidatesFor(pool, sr, given);
  if (candidates === null) {
    talk.err('This disk is not the backup disk of the SR: say -o to use it all the same\n');
    return 1;
  }
  const found: Row[] = [];
  for (const vdi of candidates)
    await withDisk(host, vdi, talk, (disk) => {
      if (disk.hasMarker()) found.push(vdi);
      return 0;
    });
  if (flags.has('p')) {
    for (const vdi of found) talk.out(`${vdi.uuid}\n`);
    return 0;
  }
  const [only] = found;
  if (only === undefined) {
    talk.err('There is no backup disk on this SR\n');
    return candidates.length === 0 ? 0 : 1;
  }
  if (found.length > 1) {
    talk.err(`Several disks hold backups: ${found.map((vdi) => vdi.uuid).join(' ')}\n`);
    return 1;
  }
  return withDisk(host, only, talk, (disk) => restoreFrom(host, disk, sr, { ...given, mode }, talk));
}

/** Disks that are looked at; null for one that is refused (CVE-2024-31144: a guest may write its own disk). */
function candidatesFor(pool: LabPool, sr: Row, { flags, values }: Options): Row[] | null {
  const ours = backupDisk(pool, sr);
  const wanted = values.get('x');
  if (wanted !== undefined) {
    const vdi = pool.db.findByUuid('VDI', wanted);
    if (vdi === undefined) return [];
    return vdi === ours || flags.has('o') ? [vdi] : null;
  }
  if (flags.has('o')) return sr.rows('VDIs', 'VDI');
  return ours === null ? [] : [ours];
}

async function restoreFrom(
  host: LabHost,
  disk: MountedDisk,
  sr: Row,
  { flags, values, mode }: Options & { readonly mode: string },
  talk: Talk,
): Promise<number> {
  if (!disk.mount()) {
    talk.err('The disk cannot be mounted\n');
    return 1;
  }
  const dates = datesIn(disk.tree).reverse();
  if (flags.has('l')) {
    for (const date of dates) talk.out(`${date}\n`);
    return 0;
  }
  const date = values.get('d') ?? dates[0] ?? '';
  const backup = join(disk.tree, 'metadata', date);
  const folder = mode === 'sr' ? join(backup, 'by-sr', sr.uuid) : join(backup, 'all');
  if (!dates.includes(date) || !existsSync(folder)) {
    talk.err('There is no backup of this date\n');
    return 1;
  }
  if (!flags.has('y') && (await talk.input()).trim() !== 'yes') {
    talk.err('Aborted\n');
    return 1;
  }
  let [good, bad] = [0, 0];
  for (const file of readdirSync(folder).sort()) {
    const options = { restore: true, force: flags.has('f'), dryRun: flags.has('n') };
    talk.out(`xe vm-import filename=${file} sr-uuid=${sr.uuid} --metadata --preserve\n`);
    try {
      for (const uuid of await importFile(host, join(folder, file), options)) talk.out(`${uuid}\n`);
      good += 1;
    } catch (error) {
      const { code, params } = failureOf(error);
      talk.err(`Error code: ${code}\nError parameters: ${params.join(', ')}\n`);
      bad += 1;
    }
  }
  if (!flags.has('n')) restoreNames(host.pool, join(backup, 'SRMETA.xml'), mode === 'sr' ? sr.uuid : null);
  talk.out(`Restored ${good} VM(s), and ${bad} error(s)\n`);
  return bad % 256;
}

async function importFile(
  host: LabHost,
  file: string,
  options: { readonly restore: boolean; readonly force: boolean; readonly dryRun: boolean },
): Promise<string[]> {
  const { pool } = host;
  const pieces = [readFileSync(file)].values();
  const { xml } = await openArchive({ next: async () => pieces.next().value ?? null }, null);
  const task = pool.newTask('VM.metadata_import', '', null, host);
  try {
    const refs = await importDocument({ pool, host, task }, readDocument(xml), {
      ...options,
      vdiMap: new Map(),
    });
    pool.finishTask(task, { result: '' });
    return refs.flatMap((ref) => pool.db.find('VM', ref)?.uuid ?? []);
  } catch (error) {
    pool.finishTask(task, { error: failureOf(error).description });
    throw error;
  }
}

/** Names by uuid; with mode `all` it ends at the first SR that is not known here, as the real one does. */
function restoreNames(pool: LabPool, file: string, only: string | null): void {
  if (!existsSync(file)) return;
  let wanted = false;
  let ended = false;
  const parser = new SaxesParser();
  parser.on('opentag', ({ name, attributes }) => {
    const { uuid = '', name_label = '', name_description = '' } = attributes as Record<string, string>;
    const row = pool.db.findByUuid(name === 'sr' ? 'SR' : 'VDI', uuid);
    if (name === 'sr') {
      wanted = only === null || uuid === only;
      ended ||= only === null && row === undefined;
    }
    if (wanted && !ended && (name === 'sr' || name === 'vdi')) row?.set({ name_label, name_description });
  });
  parser.write(readFileSync(file, 'utf8')).close();
}
