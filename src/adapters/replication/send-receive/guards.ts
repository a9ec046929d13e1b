/** What must be so before a verb does anything; each refusal says what is not. */
import type { PortError } from '../../../domain/errors.ts';
import { discardConfirmation } from '../../../domain/replication.ts';
import type { Discarding } from '../../../ports/replication.ts';
import { groupHalfWay } from '../consistency-group.ts';
import { diverged, noVolume, wrongConfirmation, wrongState } from './errors.ts';
import type { StoredPoint, VolumeState, VolumeStore } from './store.ts';
import { after, instantOf, newestOf, roleOf } from './views.ts';

export function notA(array: string, wanted: 'source' | 'target' | 'promoted', state: VolumeState): PortError {
  return wrongState(array, `Volume ${state.volume} is ${roleOf(state)}, not ${wanted}`, [
    state.mark === null ? 'it bears no mark' : `it is marked ${state.mark.role}`,
  ]);
}

export function stateIn(
  states: ReadonlyMap<string, VolumeState>,
  array: string,
  volume: string,
): VolumeState {
  const state = states.get(volume);
  if (state === undefined) throw noVolume(array, volume);
  return state;
}

/** The point to which another volume of the group was promoted: this one, still a replica, can go to no other; null where it may choose. */
export function choiceFor(states: ReadonlyMap<string, VolumeState>, volume: string): string | null {
  const chosen = [...states.values()].find(hasBegun) ?? null;
  const own = states.get(volume);
  return own === undefined || hasBegun(own) ? null : (chosen?.mark?.point ?? null);
}

function hasBegun({ mark }: VolumeState): boolean {
  return mark?.role === 'promoted' || mark?.role === 'promoting';
}

/** Volumes of one consistency group are promoted to one point, or not at all. */
export function mustBeOnePoint(array: string, states: ReadonlyMap<string, VolumeState>, ref: string): void {
  for (const state of states.values())
    if (hasBegun(state) && state.mark?.point !== ref)
      throw groupHalfWay(
        array,
        `Volume ${state.volume} of the same consistency group was promoted to another point`,
        [`it is at ${state.mark?.point}, and ${ref} is asked for`],
      );
}

/** A planned promotion: the source is closed, and this is the last point that it will ever have. */
export function mustBeLast(array: string, source: VolumeState, point: StoredPoint): void {
  if (source.mark?.role !== 'prepared' || source.writable)
    throw wrongState(
      array,
      `Volume ${source.volume} is not promoted as planned: its source is not prepared`,
      [`the source is ${roleOf(source)}`],
      'Prepare the source, or run an unplanned failover when it is lost',
    );
  if (source.mark.point !== point.ref || newestOf(source)?.ref !== point.ref)
    throw wrongState(
      array,
      `Volume ${source.volume} is not promoted as planned: this is not the last point of its source`,
      [`the last one is ${source.mark.point ?? 'not there yet'}`],
      'Make a new plan, which names the last point',
    );
}

/** A volume that was closed at its last point, which the other side has. */
export function surelyUnchanged(state: VolumeState, common: StoredPoint | null): boolean {
  const { mark, writable } = state;
  if (common === null || writable || mark?.role !== 'prepared') return false;
  return mark.point === common.ref && after(state, common).length === 0;
}

/** What this side holds and the other one does not, in sentences; empty when there is nothing. */
export async function heldAlone(
  store: VolumeStore,
  state: VolumeState,
  common: StoredPoint | null,
): Promise<readonly string[]> {
  if (common === null) return [`the two sides of ${state.volume} have no point in common`];
  const newer = after(state, common);
  if (newer.length > 0) return [`cut here after ${common.name}: ${newer.map(({ name }) => name).join(', ')}`];
  if (surelyUnchanged(state, common)) return [];
  if (!(await store.changedSince(state.volume, common))) return [];
  return [`it was written to after ${instantOf(common.takenAtSeconds)}`];
}

/** Only by its exact name is anything thrown away. */
export function mustDiscard(
  array: string,
  verb: 'demote' | 'reverse' | 'restore',
  volume: string,
  common: StoredPoint | null,
  alone: readonly string[],
  { discard, confirm }: Discarding,
): void {
  if (!discard) throw diverged(array, volume, alone);
  if (confirm !== discardConfirmation(verb, volume, common?.ref ?? null))
    throw wrongConfirmation(
      array,
      `The confirmation does not name what ${verb} of volume ${volume} would lose`,
    );
}
