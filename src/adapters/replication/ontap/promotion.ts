/** A destination becomes writable: quiesce, give a transfer up that does not end, break at the point, look. */
import { PortError } from '../../../domain/errors.ts';
import { writeMark } from './access.ts';
import type { Asking, OntapControl, Patience, Relationship, Snapshot } from './control.ts';
import { late } from './refusals.ts';
import { isActive, refOf, type Situation } from './state.ts';
import { awaitState, relationshipTo, volumeAt } from './transfer.ts';

/**
 * The point is written down before anything is done: with the relationship broken off it says at what, and until then a
 * second call may still choose another.
 */
export async function promoteTo(
  control: OntapControl,
  situation: Situation,
  point: Snapshot,
  patience: Patience,
  asking: Asking,
): Promise<void> {
  const { volume, mark } = situation;
  const { closed: _, ...rest } = mark;
  await writeMark(control, volume, { ...rest, promoted: { point: refOf(point), opened: false } }, asking);
  const quiet = await quiesced(control, volume.path, patience, asking);
  const newest = quiet.exportedSnapshot === point.name;
  await control.break(quiet, newest ? null : point.name, asking);
  await awaitState(control, volume.path, 'broken_off', patience, asking);
  const { type } = await volumeAt(control, volume.path, asking);
  if (type !== 'rw') throw late(control, `Writing to ${volume.path}`, [`it is of type ${type}`]);
}

/** Paused, with no transfer under way: one that will not end is given up, its source may be gone. */
async function quiesced(
  control: OntapControl,
  path: string,
  patience: Patience,
  asking: Asking,
): Promise<Relationship> {
  const before = await relationshipTo(control, path, asking);
  if (before.state === 'paused' && !isActive(before)) return before;
  if (isActive(before)) await quietly(control.abortTransfer(before, asking));
  await control.quiesce(before, asking);
  return awaitState(control, path, 'paused', patience, asking);
}

/** The transfer may have ended in the meantime. */
async function quietly(work: Promise<void>): Promise<void> {
  await work.catch((error: unknown) => {
    if (!(error instanceof PortError && error.kind === 'refused')) throw error;
  });
}
