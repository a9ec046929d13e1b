/** Snapshots of ours at the source, their way to the destination, and the states of a relationship that are waited for. */
import { PortError } from '../../../domain/errors.ts';
import { pollUntil } from '../rest/poll.ts';
import type { Asking, OntapControl, Patience, Relationship, Snapshot } from './control.ts';
import { endOf } from './groups.ts';
import {
  heldBack,
  late,
  noRelationship,
  noTag,
  noVolume,
  otherSidePromoted,
  tagTaken,
  transferFailed,
} from './refusals.ts';
import { isActive, newestFirst, refOf, type Situation, snapshotLabel, snapshotsAt } from './state.ts';

const soundTag = /^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/;

/** The snapshot of this tag: the one that is there, or a new one. */
export async function cut(
  control: OntapControl,
  { volume, snapshots }: Situation,
  tag: string,
  asking: Asking,
): Promise<Snapshot> {
  if (!soundTag.test(tag)) throw noTag(control, tag);
  const there = snapshots.find(({ name }) => name === tag);
  if (there !== undefined && there.label !== snapshotLabel) throw tagTaken(control, volume.path, tag);
  if (there !== undefined) return there;
  const group = control.groups.get(volume.path);
  if (group === undefined) await control.takeSnapshot(volume, tag, snapshotLabel, asking);
  else await control.takeGroupSnapshot(group, tag, snapshotLabel, asking);
  const made = (await snapshotsAt(control, volume.path, asking)).find(({ name }) => name === tag);
  if (made === undefined) throw late(control, `Snapshot ${tag} of ${volume.path}`, []);
  return made;
}

/** Removes snapshots of ours beyond the newest so many; SnapMirror then removes them at the destination, too. */
export async function thinOut(
  control: OntapControl,
  { volume }: Situation,
  keep: number,
  asking: Asking,
): Promise<void> {
  const group = control.groups.get(volume.path);
  const ours = newestFirst(await snapshotsAt(control, volume.path, asking)).filter(
    ({ label }) => label === snapshotLabel,
  );
  const drop = (old: Snapshot): Promise<void> =>
    group === undefined
      ? control.dropSnapshot(volume, old, asking)
      : control.dropGroupSnapshot(group, old.name, asking);
  for (const old of ours.slice(keep))
    await drop(old).catch((error: unknown) => {
      // A transfer or a clone holds it: it goes next time.
      if (!(error instanceof PortError && (error.kind === 'busy' || error.kind === 'refused'))) throw error;
    });
}

export async function relationshipTo(
  control: OntapControl,
  destination: string,
  asking: Asking,
): Promise<Relationship> {
  const [found] = await control.relationships(destination, asking);
  if (found === undefined) throw noRelationship(control, destination);
  return found;
}

/**
 * Carries a snapshot of `source` to the volume `to`; returns once it is there. A transfer that is under way is waited for
 * first.
 * @param source - as the relationship names it
 */
export async function carry(
  there: OntapControl,
  source: string,
  to: string,
  snapshot: Snapshot,
  patience: Patience,
  asking: Asking,
): Promise<void> {
  const ref = refOf(snapshot);
  const destination = endOf(there, to);
  let begun = false;
  await pollUntil(
    { ...patience, endpoint: there.endpoint, signal: asking.signal },
    {
      look: async () => {
        const relationship = await relationshipTo(there, destination, asking);
        const arrived = (await snapshotsAt(there, to, asking)).some((one) => refOf(one) === ref);
        if (arrived && !isActive(relationship)) return { relationship, arrived };
        mayCarry(there, source, relationship);
        if (isActive(relationship)) return { relationship, arrived: false };
        if (begun && relationship.transfer.state !== 'success')
          throw transferFailed(there, destination, wordsOf(relationship));
        begun = await begins(there, relationship, snapshot.name, asking);
        return { relationship, arrived: false };
      },
      done: ({ arrived }) => arrived,
      late: ({ relationship }) =>
        late(there, `Point ${snapshot.name} at ${destination}`, wordsOf(relationship)),
    },
  );
}

function mayCarry(
  there: OntapControl,
  source: string,
  { source: from, destination, state }: Relationship,
): void {
  if (from !== source) throw noRelationship(there, `${destination} from ${source}`);
  if (state === 'broken_off') throw otherSidePromoted(there, source);
  if (state === 'paused') throw heldBack(there, destination);
}

/** False when another transfer was faster: it is waited for like any other. */
async function begins(
  there: OntapControl,
  relationship: Relationship,
  snapshot: string,
  asking: Asking,
): Promise<boolean> {
  try {
    await there.startTransfer(relationship, snapshot, asking);
    return true;
  } catch (error) {
    if (error instanceof PortError && error.kind === 'busy') return false;
    throw error;
  }
}

function wordsOf({ unhealthyReasons, transfer, state }: Relationship): string[] {
  return unhealthyReasons.length > 0
    ? [...unhealthyReasons]
    : [`the relationship is ${state}, its last transfer ${transfer.state ?? 'unknown'}`];
}

/** Waits until the relationship is in this state and nothing moves; ONTAP only takes a request on and says so at once. */
export async function awaitState(
  control: OntapControl,
  destination: string,
  state: string,
  patience: Patience,
  asking: Asking,
): Promise<Relationship> {
  const inState = (seen: Relationship): boolean => seen.state === state;
  return pollUntil(
    { ...patience, endpoint: control.endpoint, signal: asking.signal },
    {
      look: async () => {
        const seen = await relationshipTo(control, destination, asking);
        if (
          !inState(seen) &&
          seen.transfer.state === 'failed' &&
          seen.transfer.uuid === null &&
          !seen.healthy
        )
          throw transferFailed(control, destination, wordsOf(seen));
        return seen;
      },
      done: (seen) => inState(seen) && (state === 'paused' || !isActive(seen)),
      late: (seen) => late(control, `State ${state} of ${destination}`, wordsOf(seen)),
    },
  );
}

/** A volume that this cluster must have. */
export async function volumeAt(control: OntapControl, path: string, asking: Asking) {
  const [volume] = await control.volumes(path, asking);
  if (volume === undefined) throw noVolume(control, path);
  return volume;
}
