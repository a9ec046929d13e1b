/**
 * After a promotion: what each side alone holds, the old source as replica-to-be, replication the other way round, and
 * the promotion undone (storage.md B.4.9, B.4.10). Nothing is thrown away unasked, and what is thrown away is kept aside.
 */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { discardConfirmation } from '../../domain/replication.ts';
import type { LabArray } from './array.ts';
import type { Changed } from './promotion.ts';
import type { Sending } from './transfer.ts';
import { bytesOf, copyNow, differences } from './tree.ts';
import { type Peer, type Point, refuse, type Volume } from './volume.ts';

export interface Discarding {
  readonly confirm: string;
  readonly discard: boolean;
}

export interface Divergence {
  readonly common: Point | null;
  readonly pointsLost: number;
  readonly bytesLost: number;
  readonly says: readonly string[];
}

export class Directions {
  readonly #array: LabArray;

  constructor(array: LabArray) {
    this.#array = array;
  }

  /** Newest common point of the pair, and what this side alone holds. */
  divergence(name: string): Divergence {
    const volume = this.#array.volume(name);
    this.#peerInReach(volume);
    const common = this.#array.transfers.newestCommon(volume);
    const pointsLost = this.#pointsAlone(volume, common);
    const bytesLost = this.#bytesAlone(volume, common);
    return { common, pointsLost, bytesLost, says: words(volume, common, pointsLost, bytesLost) };
  }

  #peerInReach(volume: Volume): Peer {
    const { peer } = volume;
    if (peer === null) refuse('wrong-state', `volume ${volume.name} is part of no pair`);
    if (!this.#array.linkUp(peer.array)) refuse('link-down', `array ${peer.array.name} does not answer`);
    return peer;
  }

  #pointsAlone(volume: Volume, common: Point | null): number {
    if (volume.state === 'target' || volume.state === 'promoted') return 0;
    const from = common === null ? 0 : volume.points.findIndex(({ ref }) => ref === common.ref) + 1;
    return volume.points.length - from;
  }

  #bytesAlone(volume: Volume, common: Point | null): number {
    if (volume.state === 'target') return 0;
    const base = common === null ? '' : this.#array.pointDirectory(volume.name, common.ref);
    const changes = differences(base, volume.directory);
    // A file that is gone carries no byte, and is a change all the same.
    return changes.length === 0 ? 0 : Math.max(1, bytesOf(changes));
  }

  /** At the old source: no write from here on. */
  demote(name: string, given: Discarding): Changed {
    const volume = this.#array.volume(name);
    if (volume.state === 'target') return { changed: false };
    if (volume.state !== 'source' && volume.state !== 'demoted')
      refuse('wrong-state', `volume ${name} is ${volume.state}, not an old source`);
    const peer = this.#peerInReach(volume);
    const other = peer.array.volume(peer.volume);
    if (volume.state === 'source' && other.state !== 'promoted')
      refuse('wrong-state', `volume ${peer.volume} of array ${peer.array.name} is not promoted`);
    // A prepared source waits for a promotion, or for being taken back: it has nothing to give up.
    if (other.state !== 'promoted') return { changed: false };
    const before = volume.state;
    const held = this.#mayDiscard('demote', volume, volume, given);
    volume.transfer?.over.abort(new Error(`volume ${name} is being demoted`));
    volume.state = 'demoted';
    if (held !== null) this.#fallBack(volume, held.common, 'demote');
    return { changed: before !== 'demoted' || held !== null };
  }

  /**
   * At the promoted side: turns the pair round and sends a point with this tag. Again with the same tag: the same point.
   */
  reverse(name: string, tag: string, given: Discarding): Sending {
    const volume = this.#array.volume(name);
    const peer = this.#peerInReach(volume);
    const old = peer.array.volume(peer.volume);
    const turned =
      volume.state === 'source' && (old.awaitsFirst || volume.points.some((point) => point.tag === tag));
    if (!turned) {
      if (volume.state !== 'promoted')
        refuse('wrong-state', `volume ${name} is ${volume.state}, not promoted`);
      if (old.state !== 'demoted')
        refuse(
          'wrong-state',
          `volume ${old.name} of array ${peer.array.name} is ${old.state}; it must be demoted first`,
        );
      this.#turn(volume, peer, given);
      this.#array.faults.halfway('reverse', name);
    }
    return this.#array.transfers.sync(name, tag);
  }

  #turn(volume: Volume, peer: Peer, given: Discarding): void {
    const { array } = peer;
    const old = array.volume(peer.volume);
    const held = array.directions.#mayDiscard('reverse', volume, old, given);
    if (held !== null) array.directions.#fallBack(old, held.common, 'reverse');
    // Points beyond the promoted one belong to a history that this side has left.
    const { transfers } = this.#array;
    transfers.forgetAfter(volume, transfers.descent(volume).at(-1) ?? null);
    volume.state = 'source';
    volume.promotedFrom = null;
    old.state = 'target';
    old.awaitsFirst = true;
    old.lastFailure = null;
    void this.#array.followSchedule(volume);
  }

  /** At the promoted side: target again, and the other one source again. */
  restore(name: string, given: Discarding): Changed {
    const volume = this.#array.volume(name);
    if (volume.state === 'target') return { changed: false };
    if (volume.state !== 'promoted') refuse('wrong-state', `volume ${name} is ${volume.state}, not promoted`);
    const peer = this.#peerInReach(volume);
    const source = peer.array.volume(peer.volume);
    if (source.state !== 'source' && source.state !== 'demoted')
      refuse('wrong-state', `volume ${source.name} of array ${peer.array.name} is ${source.state}`);
    const held = this.#mayDiscard('restore', volume, volume, given);
    if (held === null) rmSync(volume.directory, { recursive: true, force: true });
    else this.#keep(volume, 'restore');
    mkdirSync(volume.directory, { mode: 0o700 });
    volume.state = 'target';
    volume.promotedFrom = null;
    volume.admitted = null;
    // What the source has given up since is no history of its content any more.
    const known = new Set(source.points.map(({ ref }) => ref));
    this.#array.transfers.forgetAfter(volume, volume.points.findLast(({ ref }) => known.has(ref)) ?? null);
    source.state = 'source';
    void peer.array.followSchedule(source);
    return { changed: true };
  }

  /**
   * What `holder` alone has, when the call may throw it away; null when there is nothing.
   *
   * @param asked - the volume that the verb was called with, which the confirmation names
   * @throws ArrayRefusal when it is not to be discarded, or something else was confirmed
   */
  #mayDiscard(
    verb: 'demote' | 'reverse' | 'restore',
    asked: Volume,
    holder: Volume,
    given: Discarding,
  ): Divergence | null {
    const held = this.divergence(holder.name);
    if (held.bytesLost === 0 && held.pointsLost === 0) return null;
    const wanted = discardConfirmation(verb, asked.name, held.common?.ref ?? null);
    if (!given.discard) refuse('refused', `${held.says.join('; ')}; to throw it away, confirm "${wanted}"`);
    if (given.confirm !== wanted)
      refuse('refused', `the confirmation is for something else; ${held.says.join('; ')}`);
    return held;
  }

  #fallBack(volume: Volume, common: Point | null, why: string): void {
    this.#keep(volume, why);
    if (common === null) mkdirSync(volume.directory, { mode: 0o700 });
    else copyNow(this.#array.pointDirectory(volume.name, common.ref), volume.directory);
    this.#array.transfers.forgetAfter(volume, common);
  }

  /** Moves the content aside; the volume has none afterwards. */
  #keep(volume: Volume, why: string): void {
    const ref = `kept-${String(volume.kept.length + 1).padStart(3, '0')}`;
    const directory = this.#array.keptDirectory(volume.name, ref);
    renameSync(volume.directory, directory);
    volume.kept.push({ ref, directory, takenAt: this.#array.now(), why });
  }
}

function words(volume: Volume, common: Point | null, pointsLost: number, bytesLost: number): string[] {
  const says = [
    common === null
      ? `volume ${volume.name} has no point in common with the other side`
      : `the newest common point of volume ${volume.name} is ${common.ref} of ${new Date(common.takenAt).toISOString()}`,
  ];
  if (bytesLost > 0) says.push(`${bytesLost} bytes have been written here since and are nowhere else`);
  if (pointsLost > 0) says.push(`${pointsLost} points are on this side alone`);
  return says;
}
