/** A destination becomes writable: quiesce, give a transfer up that does not end, break at the point, look. */
import { PortError } from '../../../domain/errors.ts';
import { writeMark } from './access.ts';
import type { Asking, OntapControl, Patience, Relationship, Snapshot } from './control.ts';
import { endOf } from './groups.ts';
import { late } from './refusals.ts';
import { isActive, refOf, type Situation } from './state.ts';
import { awaitState, relationshipTo, volumeAt } from './transfer.ts';

/**
 * The point is written down before anything is done: with the relationship broken off it says at what, and until then a
 * second call may still choose another. A consistency group is broken off at what arrived last, all of it at once, and
 * goes back to an older point as a whole.
 */
export async function promoteTo(
  control: OntapControl,
  situation: Situation,
  point: Snapshot,
  patience: Patience,
  asking: Asking,
): Promise<void> {
  const { volume, members, incoming } = situation;
  const end = endOf(control, volume.path);
  const group = control.groups.get(volume.path);
  const note = async (restoring: boolean): Promise<void> => {
    const promoted = { point: refOf(point), opened: false, ...(restoring ? { restoring } : {}) };
    for (const { volume: one, mark } of members) {
      const { closed: _, ...rest } = mark;
      const [now = one] = await control.volumes(one.path, asking);
      await writeMark(control, now, { ...rest, promoted }, asking);
    }
  };
  // A group in a second attempt may be broken off already: what was exported then says nothing of the point.
  const isOff = incoming?.state === 'broken_off';
  await note(group !== undefined);
  if (!isOff) {
    const quiet = await quiesced(control, end, patience, asking);
    const newest = quiet.exportedSnapshot === point.name;
    await control.break(quiet, newest || group !== undefined ? null : point.name, asking);
    await awaitState(control, end, 'broken_off', patience, asking);
  }
  for (const { volume: one } of members) {
    const { type } = await volumeAt(control, one.path, asking);
    if (type !== 'rw') throw late(control, `Writing to ${one.path}`, [`it is of type ${type}`]);
  }
  if (group === undefined) return;
  await control.restoreGroup(group, point.name, asking);
  await note(false);
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
