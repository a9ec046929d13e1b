/**
 * A change on its way to the metadata backup's disk: only what differs is sent, the whole disk is read again, and what
 * breaks off is taken back, or told.
 */
import { OperatorError, problemOf } from '../../domain/errors.ts';
import type { Uuid } from '../../domain/pool.ts';
import type { BackupImage, BackupImages, DiskPiece, Extent } from '../../ports/backup-vdi.ts';
import type { Hypervisor } from '../../ports/hypervisor.ts';
import { sentenceOf } from './world.ts';

export interface Tools {
  readonly images: BackupImages;
  readonly hypervisor: Hypervisor;
  readonly vdi: Uuid;
  readonly signal: AbortSignal;
}

export interface Change {
  /** What lies on the disk now. */
  readonly there: BackupImage;
  /** What it goes back to: `there`, or what was there before an earlier write broke off. */
  readonly base: BackupImage;
  readonly to: BackupImage;
}

/** Sends what changed and reads the whole disk back. Returns the bytes that were sent. */
export async function send(tools: Tools, change: Change): Promise<number> {
  const { images, hypervisor, vdi, signal } = tools;
  const { there, to } = change;
  const extents = await images.changes(there, to, signal);
  await keepUndo(tools, change, extents);
  const pieces = new Pieces(images.content(to, extents));
  try {
    await hypervisor.importRawPieces(vdi, extents, pieces, signal);
    const seen = await images.digestOf(await hypervisor.exportRawVdi(vdi, signal), to.bytes, signal);
    if (seen !== to.sha256) throw otherThanWritten(tools, to, seen);
  } catch (error) {
    // A host's script that holds the disk refuses us: then it is not ours to put back.
    if (!pieces.wereAskedFor) throw await untouched(tools, change, error);
    await takeBack(tools, change, error);
  }
  await images.forgetUndo(vdi);
  return sum(extents);
}

/** Everywhere the disk may differ from `base` until the write has come to its end. */
async function keepUndo(
  { images, vdi, signal }: Tools,
  { there, base, to }: Change,
  extents: readonly Extent[],
): Promise<void> {
  const replaced =
    base === there
      ? extents
      : [...(await images.changes(base, to, signal)), ...(await images.changes(base, there, signal))];
  await images.keepUndo(vdi, base, replaced, signal);
}

/** Content on its way to the pool, which asks for it only when it has agreed to take it. */
class Pieces implements AsyncIterable<DiskPiece> {
  wereAskedFor = false;
  readonly #content: AsyncIterable<DiskPiece>;

  constructor(content: AsyncIterable<DiskPiece>) {
    this.#content = content;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<DiskPiece> {
    this.wereAskedFor = true;
    yield* this.#content;
  }
}

/** Not a byte was sent. */
async function untouched({ images, vdi }: Tools, { there, base }: Change, error: unknown): Promise<unknown> {
  if (base !== there)
    return alsoKnown(
      error,
      'the disk is still as an earlier write left it that broke off: the next one mends it',
    );
  await images.forgetUndo(vdi);
  return alsoKnown(error, 'nothing was sent to the disk');
}

function alsoKnown(error: unknown, known: string): unknown {
  const problem = problemOf(error);
  return problem === null
    ? error
    : new OperatorError({ ...problem, known: [...(problem.known ?? []), known] }, { cause: error });
}

const sum = (extents: readonly Extent[]): number => extents.reduce((total, { bytes }) => total + bytes, 0);

/** Returns when the disk holds the new content after all; else puts the old one back and throws what happened. */
async function takeBack(tools: Tools, { base, to }: Change, error: unknown): Promise<void> {
  const { images, hypervisor, vdi } = tools;
  // The step's own time may be what ended the write: going back has time of its own.
  const signal = AbortSignal.timeout(takeBackSeconds * 1000);
  try {
    const seen = await images.receive(await hypervisor.exportRawVdi(vdi, signal), base.bytes, signal);
    try {
      if (seen.sha256 === to.sha256) return;
      if (seen.sha256 !== base.sha256) {
        const extents = await images.changes(seen, base, signal);
        await hypervisor.importRawPieces(vdi, extents, images.content(base, extents), signal);
        const disk = await hypervisor.exportRawVdi(vdi, signal);
        const after = await images.digestOf(disk, base.bytes, signal);
        if (after !== base.sha256) throw otherThanWritten(tools, base, after);
      }
    } finally {
      await images.release(seen);
    }
  } catch (second) {
    throw new OperatorError(
      {
        code: 'DR-BACKUP-HALF-WRITTEN',
        what: 'Writing the metadata backup broke off, and the disk could not be put back as it was',
        where: { site: hypervisor.site, object: `disk ${vdi}` },
        known: [
          sentenceOf(error),
          `then: ${sentenceOf(second)}`,
          'what was overwritten is kept in the state directory; free blocks were written first, so older dates are most likely whole',
        ],
        next: 'Run the export again as soon as the pool answers: it puts the disk right by itself. Until then do not restore from this disk without e2fsck',
      },
      { cause: second },
    );
  }
  await images.forgetUndo(vdi);
  throw alsoKnown(error, 'the disk of the metadata backup is as it was before');
}

const takeBackSeconds = 900;

function otherThanWritten({ hypervisor, vdi }: Tools, to: BackupImage, seen: string): OperatorError {
  return new OperatorError({
    code: 'DR-BACKUP-READ-BACK',
    what: 'The disk of the metadata backup does not hold what was written to it',
    where: { site: hypervisor.site, object: `disk ${vdi}` },
    known: [`SHA-256 ${to.sha256} was written, ${seen} was read`],
    next: 'Look whether a host runs xe-backup-metadata at the same time; have the storage looked at if not, then export again',
  });
}
