/** Verbs that change which side takes writes. Each leaves its mark before it acts, so that the same call finishes it. */
import type { PortError } from '../../../domain/errors.ts';
import { inUse, notPrepared, otherPoint } from '../rest/refusals.ts';
import type { Snapshot } from './answers.ts';
import { definitionPath, type LinstorApi } from './api.ts';
import { receivedAs, restore, unblock } from './drills.ts';
import { writeMark } from './marks.ts';
import { lookAcross, type OtherSide } from './peers.ts';
import {
  blockedProp,
  isBlocked,
  keptProp,
  lookAt,
  mustBe,
  openAt,
  roleOf,
  type VolumeState,
} from './state.ts';
import { snapshotName } from './transfer.ts';

/**
 * From here on nobody can open the device for writing. Refused, and taken back, while somebody has it open: DRBD stops
 * no writer that is already there.
 */
export async function block(
  api: LinstorApi,
  state: VolumeState,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { volume } = state;
  if (!isBlocked(state)) {
    const body = { override_props: { [blockedProp]: 'no' }, delete_props: [], delete_namespaces: [] };
    await api.act('PUT', definitionPath(volume), body, signal);
  }
  const open = openAt(await lookAt(api, volume, signal));
  if (open.length === 0) return;
  if (!isBlocked(state)) await unblock(api, volume, signal);
  throw inUse(api.array, volume, open);
}

export async function promoteTo(
  api: LinstorApi,
  state: VolumeState,
  point: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { volume, mark } = state;
  if (roleOf(state) === 'promoted') {
    if (mark?.point !== point) throw otherPoint(api.array, volume, mark?.point ?? 'an unknown point');
    if (mark.role === 'promoting' || isBlocked(state)) await finish(api, volume, point, signal);
    return;
  }
  mustBe(api, state, 'promotion', 'target');
  const snapshot = receivedAs(api, state, point);
  if (state.resources.length === 0) {
    await writeMark(api, volume, { role: 'promoting', point }, signal);
    await restore(api, volume, snapshot, volume, signal);
  } else await rollBack(api, state, snapshot, point, signal);
  await finish(api, volume, point, signal);
}

/** Resources of an earlier life are there and blocked, so that doing it twice loses nothing. */
async function rollBack(
  api: LinstorApi,
  state: VolumeState,
  snapshot: Snapshot,
  point: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await writeMark(api, state.volume, { role: 'rolling', point }, signal);
  await block(api, state, signal);
  const of = encodeURIComponent(snapshot.name);
  await api.act('POST', definitionPath(state.volume, `/snapshot-rollback/${of}`), {}, signal);
}

async function finish(
  api: LinstorApi,
  volume: string,
  point: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  // The mark first: once somebody may write, no repeated call takes this for a promotion that it has to begin anew.
  await writeMark(api, volume, { role: 'promoted', point }, signal);
  await unblock(api, volume, signal);
}

/** Throws unless the source takes no writes and this is the last point that it has cut. */
export async function mustBePrepared(
  api: LinstorApi,
  volume: string,
  other: OtherSide,
  point: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = await lookAcross(other, signal);
  const prepared = source?.mark?.role === 'prepared' && isBlocked(source);
  if (prepared && source.mark?.point === point) return;
  throw unprepared(api, volume, source, prepared);
}

function unprepared(
  api: LinstorApi,
  volume: string,
  source: VolumeState | null,
  prepared: boolean,
): PortError {
  const role = source === null ? 'not there' : roleOf(source);
  return notPrepared(api.array, volume, [
    prepared ? `its last point is ${source?.mark?.point ?? 'unknown'}` : `the source is ${role}`,
  ]);
}

/** Puts the present content aside as a snapshot that is never shipped nor trimmed. */
export async function keepAside(
  api: LinstorApi,
  volume: string,
  common: string | null,
  signal: AbortSignal | undefined,
): Promise<void> {
  const name = `${snapshotName(`kept since ${common ?? 'nothing'}`)}_kept`;
  const body = { name, snapshot_definition_props: { [keptProp]: common ?? 'nothing in common' } };
  await api.make(definitionPath(volume, '/snapshots'), body, signal);
}
