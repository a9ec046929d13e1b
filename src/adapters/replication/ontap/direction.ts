/** After a promotion: what one side alone holds, and which way replication goes. */
import { type Divergence, discardConfirmation } from '../../../domain/replication.ts';
import type { Discarding } from '../../../ports/replication.ts';
import { closeVolume, isUnreachable, reopenVolume, shutOut, writeMark } from './access.ts';
import type { Asking, OntapControl, Patience } from './control.ts';
import { endOf, membersOf } from './groups.ts';
import { diverged, wrongConfirmation, wrongRole } from './refusals.ts';
import { newestFirst, pointOf, readSituation, refOf, type Situation } from './state.ts';
import { awaitState } from './transfer.ts';

/** One volume at one cluster. */
export interface Side {
  readonly control: OntapControl;
  readonly path: string;
}

export async function divergenceOf(own: Side, other: Side, asking: Asking): Promise<Divergence> {
  const [mine, theirs] = await Promise.all([
    readSituation(own.control, own.path, asking),
    readSituation(other.control, other.path, asking),
  ]);
  return compared(own, mine, theirs, asking);
}

async function compared(own: Side, mine: Situation, theirs: Situation, asking: Asking): Promise<Divergence> {
  const held = new Set(theirs.snapshots.map(refOf));
  const ordered = newestFirst(mine.snapshots);
  const common = ordered.find((one) => held.has(refOf(one)));
  if (common === undefined)
    return {
      common: null,
      pointsLost: ordered.length,
      bytesLost: null,
      says: [
        `${own.path} and ${other(theirs)} have no snapshot in common: only a whole copy brings them together`,
      ],
    };
  const ref = refOf(common);
  const untouched = await isUntouched(own, mine, ref, asking);
  const bytesLost = untouched ? 0 : await own.control.changedSince(mine.volume, common.name, asking);
  const pointsLost = ordered.indexOf(common);
  return {
    common: pointOf(common),
    pointsLost,
    bytesLost,
    says: [
      `${own.path} and ${other(theirs)} have in common what was taken at ${common.createTime} (${common.name})`,
      bytesLost === 0
        ? 'no host could write here since'
        : `what was written here since is lost: ${bytesLost ?? 'an unknown number of'} bytes and ${pointsLost} snapshots`,
    ],
  };
}

function other({ volume }: Situation): string {
  return volume.path;
}

/** No host could write since the common point: kept out before it was cut, or never let in after the promotion. */
async function isUntouched(
  { control }: Side,
  { mark, volume }: Situation,
  common: string,
  asking: Asking,
): Promise<boolean> {
  if (mark.closed !== undefined) return mark.closed.last === common && isUnreachable(control, volume, asking);
  const { promoted } = mark;
  return promoted?.opened === false && promoted.point === common && isUnreachable(control, volume, asking);
}

/** Throws unless nothing is lost, or a person has named exactly what is. */
export function mayDiscard(
  control: OntapControl,
  verb: 'demote' | 'reverse' | 'restore',
  volume: string,
  { discard, confirm }: Discarding,
  { common, bytesLost, says }: Divergence,
): void {
  if (!discard && bytesLost === 0) return;
  if (!discard) throw diverged(control, verb, volume, says);
  if (confirm !== discardConfirmation(verb, volume, common?.ref ?? null))
    throw wrongConfirmation(control, `what ${verb} of volume ${volume} throws away`);
}

/** The relationship in the new direction, resynchronised, and the old one gone on both clusters. */
export async function turnRound(
  promoted: Side,
  old: Side,
  patience: Patience,
  asking: Asking,
): Promise<void> {
  const here = await readSituation(promoted.control, promoted.path, asking);
  const there = await readSituation(old.control, old.path, asking);
  await resyncedFrom(promoted, old, here, there, patience, asking);
  if (here.incoming?.state === 'broken_off') await promoted.control.deleteRelationship(here.incoming, asking);
  for (const one of there.outgoing)
    if (one.destination === endOf(promoted.control, promoted.path)) await old.control.release(one, asking);
  for (const side of [old, promoted])
    for (const { volume, mark } of (await readSituation(side.control, side.path, asking)).members)
      await writeMark(side.control, volume, { was: mark.was }, asking);
}

async function resyncedFrom(
  promoted: Side,
  old: Side,
  here: Situation,
  there: Situation,
  patience: Patience,
  asking: Asking,
): Promise<void> {
  const [from, to] = [endOf(promoted.control, promoted.path), endOf(old.control, old.path)];
  const existing = there.incoming?.source === from ? there.incoming : null;
  if (existing !== null && existing.state === 'snapmirrored') return;
  for (const { volume, mark } of there.members) mustBeGivenUp(old.control, volume.path, mark, there.incoming);
  if (existing === null)
    await old.control.createRelationship(
      from,
      to,
      here.incoming?.policy ?? null,
      asking,
      promoted.control.groups.has(promoted.path)
        ? {
            source: membersOf(promoted.control, promoted.path),
            destination: membersOf(old.control, old.path),
          }
        : undefined,
    );
  const made = existing ?? (await readSituation(old.control, old.path, asking)).incoming;
  if (made === null) throw wrongRole(old.control, 'reverse', old.path, 'not paired', ['paired']);
  await old.control.resync(made, asking);
  await awaitState(old.control, to, 'snapmirrored', patience, asking);
}

/** A resync throws away what the old source alone holds: that must have been asked for, or be nothing. */
function mustBeGivenUp(
  control: OntapControl,
  path: string,
  mark: Situation['mark'],
  incoming: Situation['incoming'],
): void {
  const { closed } = mark;
  if (incoming !== null && incoming.state !== 'broken_off' && mark.closed?.demoted !== true)
    throw wrongRole(control, 'reverse', path, 'a destination already', ['demoted']);
  if (closed === undefined) throw wrongRole(control, 'reverse', path, 'not demoted', ['demoted']);
  if (!closed.demoted && closed.last === null)
    throw wrongRole(control, 'reverse', path, 'kept from its hosts only', ['demoted']);
}

/** Keeps the hosts out for good; a person has said that what is here may go, or nothing is here. */
export async function giveUp({ control }: Side, situation: Situation, asking: Asking): Promise<void> {
  await closeVolume(control, situation, { demoted: true }, asking);
}

/** The promoted side follows its old source again; the source's hosts get back what they had. */
export async function goBack(
  promoted: Side,
  source: Side,
  situation: Situation,
  patience: Patience,
  asking: Asking,
): Promise<void> {
  const { incoming, members } = situation;
  if (incoming === null)
    throw wrongRole(promoted.control, 'restore', promoted.path, 'not paired', ['promoted']);
  if (incoming.state === 'broken_off') {
    for (const { volume } of members) await shutOut(promoted.control, volume, asking);
    await promoted.control.resync(incoming, asking);
  } else if (incoming.state === 'paused') await promoted.control.resume(incoming, asking);
  const end = endOf(promoted.control, promoted.path);
  await awaitState(promoted.control, end, 'snapmirrored', patience, asking);
  const there = await readSituation(source.control, source.path, asking);
  for (const member of there.members) await reopenVolume(source.control, member, asking);
  const here = await readSituation(promoted.control, promoted.path, asking);
  for (const { volume, mark } of here.members)
    await writeMark(promoted.control, volume, { was: mark.was }, asking);
}
