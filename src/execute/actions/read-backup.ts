/**
 * The metadata backup of an attached SR: found by the uuid that xapi gives it, read as raw content into a private file
 * here, and its dates kept as recovery points. No other disk is ever looked into unasked (CVE-2024-31144, xapi.md 5.2).
 */
import type { BackupDateFound, BackupFound, BackupKept, BackupWish } from '../../domain/actions/recover.ts';
import { backupVdiBytes, backupVdiFlag, backupVdiName } from '../../domain/backup-vdi.ts';
import type { Json } from '../../domain/canonical.ts';
import { OperatorError } from '../../domain/errors.ts';
import type { PoolFacts, Uuid, VdiFacts } from '../../domain/pool.ts';
import { databaseOf, momentOf, vmsOfSr } from '../../metadata/backup-tree.ts';
import { backupVdiUuid } from '../../metadata/backup-uuid.ts';
import type { BackupContents, BackupImage, BackupTree } from '../../ports/backup-vdi.ts';
import type { ForeignBackup } from '../../ports/foreign.ts';
import type { ActionOf, ActResult, StepContext } from '../handlers.ts';
import { type BackupDesk, concernsOneObject, sentenceOf, type World } from './world.ts';

/** Older hosts made the disk of 500 MiB (xapi.md 5.2); drivers round up. */
const olderBytes = 500 * 1024 ** 2;
const roundedUpBytes = 16 * 1024 ** 2;
/** When one date after the other is not whole, this many are enough to choose from. */
const mostTried = 5;

interface Place {
  readonly sr: string;
  readonly srUuid: Uuid;
  readonly vdi: VdiFacts;
}

export async function readBackup(
  world: World,
  action: ActionOf<'read-backup'>,
  context: StepContext,
): Promise<ActResult> {
  const { sr, wish } = action;
  const { signal } = context;
  const { srUuid } = attachedBy(action.attachedBy, context);
  const hypervisor = await world.hypervisor(action.site);
  const pool = await hypervisor.observe(signal);
  const vdi = backupDisk(pool, srUuid, wish.legacy);
  if (vdi === null) {
    const candidates = lookalikes(pool, srUuid).map(({ uuid, nameLabel, virtualSize }) => ({
      uuid,
      nameLabel,
      bytes: virtualSize,
    }));
    return found({ sr, srUuid, vdi: null, candidates, dates: [], kept: [] }, []);
  }
  const desk = deskOf(world);
  const content = await hypervisor.exportRawVdi(vdi.uuid, signal);
  const image = await desk.images.receive(content, vdi.virtualSize, signal);
  try {
    const contents = await desk.images.contents(image, signal);
    const dates = datesOf(contents);
    const warnings =
      wish.legacy === null
        ? []
        : [`disk ${vdi.uuid} was read because a person named it: a guest may have written what it holds`];
    const kept =
      wish.dates === 'list'
        ? []
        : await keepDates(desk, { place: { sr, srUuid, vdi }, image, contents, action, warnings }, context);
    return found({ sr, srUuid, vdi: vdi.uuid, candidates: [], dates, kept }, warnings);
  } finally {
    await desk.images.release(image);
  }
}

function found(output: BackupFound, warnings: readonly string[]): ActResult {
  return { output: JSON.parse(JSON.stringify(output)) as Json, warnings };
}

function deskOf({ backups }: World): BackupDesk {
  if (backups === undefined) throw new Error('this program reads no metadata backups');
  return backups;
}

/** Written by the step that attached the clone. */
function attachedBy(step: string, context: StepContext): { readonly srUuid: Uuid } {
  const output = context.output(step) as { readonly srUuid: Uuid } | null;
  if (output !== null) return output;
  throw new OperatorError({
    code: 'DR-BACKUP-STEP',
    what: `Step ${step} has not said which SR it attached`,
    next: 'Resume the run, so that the step is done again',
  });
}

/** The disk with the deterministic uuid; or the one that a person names, if it is on this SR. */
function backupDisk(pool: PoolFacts, srUuid: Uuid, legacy: Uuid | null): VdiFacts | null {
  const wanted = legacy ?? backupVdiUuid(srUuid);
  return pool.vdis.find((vdi) => vdi.srUuid === srUuid && vdi.uuid === wanted && !vdi.missing) ?? null;
}

/** What might be a backup by its name, its flag or its size: told, and never opened. */
function lookalikes(pool: PoolFacts, srUuid: Uuid): VdiFacts[] {
  const isAbout = (bytes: number, size: number): boolean => bytes >= size && bytes <= size + roundedUpBytes;
  return pool.vdis.filter(
    (vdi) =>
      vdi.srUuid === srUuid &&
      !vdi.missing &&
      (vdi.nameLabel === backupVdiName ||
        vdi.otherConfig[backupVdiFlag.key] === backupVdiFlag.value ||
        [backupVdiBytes, olderBytes].some((size) => isAbout(vdi.virtualSize, size))),
  );
}

/** Newest first: names sort by time. */
function datesOf(contents: BackupContents): BackupDateFound[] {
  return contents.dates.toReversed().flatMap((entry) => {
    const moment = momentOf(entry);
    return moment === null
      ? []
      : [
          {
            date: entry.name,
            takenAt: moment.at,
            documents: entry.documents,
            byLifeboat: entry.provenance !== null,
          },
        ];
  });
}

interface Reading {
  readonly place: Place;
  readonly image: BackupImage;
  readonly contents: BackupContents;
  readonly action: ActionOf<'read-backup'>;
  readonly warnings: string[];
}

async function keepDates(desk: BackupDesk, reading: Reading, context: StepContext): Promise<BackupKept[]> {
  const { contents, action } = reading;
  const kept: BackupKept[] = [];
  if (action.wish.dates !== 'newest') {
    for (const date of action.wish.dates) kept.push(await keepDate(desk, reading, { date }, context));
    return kept;
  }
  const newestFirst = contents.dates.toReversed().slice(0, mostTried);
  for (const [index, { name: date, documents }] of newestFirst.entries()) {
    // A replica may be cut while the script writes: then the date before it is the last whole one.
    const before = newestFirst[index + 1];
    const shrunk = before !== undefined && documents < before.documents ? before.name : null;
    try {
      const made = await keepDate(desk, reading, { date, before: shrunk }, context);
      kept.push(made);
      if (made.failures === 0) break;
      reading.warnings.push(
        `date ${date} of the backup on SR ${action.sr} is not whole: the one before it is looked at as well`,
      );
    } catch (error) {
      if (context.signal.aborted || !concernsOneObject(error)) throw error;
      reading.warnings.push(`date ${date} of the backup on SR ${action.sr}: ${sentenceOf(error)}`);
    }
  }
  return kept;
}

async function keepDate(
  desk: BackupDesk,
  reading: Reading,
  { date, before = null }: { readonly date: string; readonly before?: string | null },
  context: StepContext,
): Promise<BackupKept> {
  const { place, action, warnings } = reading;
  const { backup, tree } = await factsOfDate(desk, reading, date, context);
  const { warnings: said, ...kept } = await desk.keep(
    {
      group: action.group,
      backup,
      storage: { sr: place.sr, vdi: place.vdi.uuid, date },
      only: onlyOf(action.wish.vms, tree.links, place.srUuid, backup.documents),
      pointId: tree.provenance?.pointId ?? null,
      before: before === null ? null : (await factsOfDate(desk, reading, before, context)).backup,
    },
    context.signal,
  );
  warnings.push(...said);
  return kept;
}

/** Documents and names of a date, with the dump of the database that was made with it. */
async function factsOfDate(
  desk: BackupDesk,
  { image, contents }: Reading,
  date: string,
  { signal }: StepContext,
): Promise<{ readonly backup: ForeignBackup; readonly tree: BackupTree }> {
  const tree = await desk.images.read(image, date, signal);
  const entry = contents.dates.find(({ name }) => name === date);
  const moment = entry === undefined ? null : momentOf(entry);
  if (moment === null) throw new Error(`date ${date} was read and is not listed`);
  const newer = contents.dates.filter(({ name }) => name > date).length;
  const dump = databaseOf(contents.databases, newer, tree.provenance);
  const database =
    dump === null
      ? null
      : await desk.images.readDatabase(image, dump.pool, { generation: dump.generation, signal });
  const bytes = database === null ? null : await wholeOf(database);
  return { backup: desk.factsOf(tree, bytes, moment), tree };
}

function onlyOf(
  vms: BackupWish['vms'],
  links: Parameters<typeof vmsOfSr>[0],
  sr: Uuid,
  documents: ReadonlyMap<Uuid, unknown>,
): ReadonlySet<Uuid> | null {
  if (vms === 'group') return null;
  return vms === 'sr' ? vmsOfSr(links, sr) : new Set(documents.keys());
}

async function wholeOf(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}
