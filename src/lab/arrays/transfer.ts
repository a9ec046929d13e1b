/** Points: cut at the source, sent as what has changed since the newest common one, kept and pruned. */
import { existsSync, renameSync, rmSync } from 'node:fs';
import type { LabArray } from './array.ts';
import { apply, bytesIn, bytesOf, copy, copyNow, differences } from './tree.ts';
import { type Peer, type Point, refuse, type Volume } from './volume.ts';

/** Complete points that each side keeps. */
const keptPoints = 12;

export interface Sending {
  readonly point: Point;
  readonly done: Promise<void>;
}

export class Transfers {
  readonly #array: LabArray;
  #sequence = 0;
  /** Bytes that transfers from here have carried. */
  bytesSent = 0;

  constructor(array: LabArray) {
    this.#array = array;
  }

  /** Cuts a point now and sends it. The same tag twice is one point; what runs under it is answered with. */
  sync(name: string, tag: string | null): Sending {
    const volume = this.#array.volume(name);
    const { peer } = volume;
    if (peer === null || (volume.state !== 'source' && volume.state !== 'demoted'))
      refuse('wrong-state', `volume ${name} is ${volume.state}, not the source of a pair`);
    const known = tag === null ? undefined : volume.points.find((point) => point.tag === tag);
    if (known?.complete === true) return { point: known, done: Promise.resolve() };
    if (volume.transfer !== null) {
      if (known !== undefined && volume.transfer.point === known)
        return { point: known, done: volume.transfer.done };
      refuse('busy', `a transfer of volume ${name} is under way`);
    }
    this.assertReceives(peer);
    return this.#start(volume, peer, known ?? this.#cut(volume, tag));
  }

  /** Refuses unless the other side is a target in reach. */
  assertReceives(peer: Peer): void {
    const { array } = peer;
    if (!this.#array.linkUp(array)) refuse('link-down', `array ${array.name} does not answer`);
    const target = array.volume(peer.volume);
    if (target.state !== 'target' || target.promoting !== null)
      refuse(
        'wrong-state',
        `volume ${peer.volume} of array ${array.name} is ${target.promoting === null ? target.state : 'being promoted'}, not a target`,
      );
  }

  #start(volume: Volume, peer: Peer, point: Point): Sending {
    const over = new AbortController();
    const done = this.#send(volume, peer, point, over.signal).finally(() => {
      volume.transfer = null;
    });
    volume.transfer = { point, over, done };
    // Whoever asked looks at the point; a schedule has nobody who looks.
    done.catch((error: unknown) => {
      volume.lastFailure = error instanceof Error ? error.message : String(error);
    });
    return { point, done };
  }

  #cut(volume: Volume, tag: string | null): Point {
    this.#sequence += 1;
    const takenAt = this.#array.now();
    const ref = `${this.#array.serial}-${volume.name}-${String(this.#sequence).padStart(6, '0')}`;
    copyNow(volume.directory, this.#array.pointDirectory(volume.name, ref));
    const point: Point = { ref, tag, takenAt, complete: false };
    volume.points.push(point);
    return point;
  }

  async #send(volume: Volume, peer: Peer, point: Point, signal: AbortSignal): Promise<void> {
    const array = this.#array;
    const target = peer.array.volume(peer.volume);
    const arrived = peer.array.pointDirectory(target.name, point.ref);
    const partial = `${arrived}.partial`;
    rmSync(partial, { recursive: true, force: true });
    let bytes: number;
    try {
      if (array.faults.holdsTransfers) await array.faults.untilReleased(signal);
      if (array.transferSeconds > 0) await array.clock.sleep(array.transferSeconds, signal);
      bytes = await this.#carry(volume, peer, point, partial, signal);
      signal.throwIfAborted();
    } catch (error) {
      rmSync(partial, { recursive: true, force: true });
      // Nobody can ask again for a point without a tag.
      if (point.tag === null) this.#forget(volume, point);
      throw signal.aborted ? signal.reason : error;
    }
    renameSync(partial, arrived);
    this.bytesSent += bytes;
    point.complete = true;
    target.points.push({ ...point });
    target.awaitsFirst = false;
    volume.lastFailure = null;
    this.#prune(volume);
    peer.array.transfers.#prune(target);
  }

  /** Makes the point at the other side; returns the bytes that went over the link. */
  async #carry(
    volume: Volume,
    peer: Peer,
    point: Point,
    partial: string,
    signal: AbortSignal,
  ): Promise<number> {
    const array = this.#array;
    const here = array.pointDirectory(volume.name, point.ref);
    const base = this.newestCommon(volume);
    if (base === null) {
      await copy(here, partial, signal);
      return bytesIn(here);
    }
    await copy(peer.array.pointDirectory(peer.volume, base.ref), partial, signal);
    const changes = differences(array.pointDirectory(volume.name, base.ref), here);
    apply(changes, partial);
    return bytesOf(changes);
  }

  /**
   * Newest point that both sides hold and from which both of their contents descend: after a promotion none that is
   * newer than the promoted one.
   */
  newestCommon(volume: Volume): Point | null {
    const { peer } = volume;
    if (peer === null) return null;
    const other = peer.array.volume(peer.volume);
    const theirs = new Set(peer.array.transfers.descent(other).map(({ ref }) => ref));
    return this.descent(volume).findLast(({ ref }) => theirs.has(ref)) ?? null;
  }

  /** Complete points whose copies are here and which the content of the volume descends from, oldest first. */
  descent(volume: Volume): Point[] {
    const { promotedFrom, points } = volume;
    const last =
      promotedFrom === null ? points.length : points.findIndex(({ ref }) => ref === promotedFrom) + 1;
    return points.slice(0, last).filter((point) => point.complete && this.#isHere(volume, point));
  }

  /** Forgets points that came after this one, or all of them. */
  forgetAfter(volume: Volume, last: Point | null): void {
    const from = last === null ? 0 : volume.points.findIndex(({ ref }) => ref === last.ref) + 1;
    for (const { ref } of volume.points.splice(from))
      rmSync(this.#array.pointDirectory(volume.name, ref), { recursive: true, force: true });
  }

  #forget(volume: Volume, point: Point): void {
    volume.points = volume.points.filter((held) => held !== point);
    rmSync(this.#array.pointDirectory(volume.name, point.ref), { recursive: true, force: true });
  }

  #isHere(volume: Volume, point: Point): boolean {
    return existsSync(this.#array.pointDirectory(volume.name, point.ref));
  }

  #prune(volume: Volume): void {
    const inUse = new Set([volume.promotedFrom, ...[...volume.drills.values()].map(({ point }) => point)]);
    const complete = volume.points.filter((point) => point.complete && this.#isHere(volume, point));
    for (const point of complete.slice(0, Math.max(0, complete.length - keptPoints)))
      if (!inUse.has(point.ref))
        rmSync(this.#array.pointDirectory(volume.name, point.ref), { recursive: true, force: true });
    // Tags outlive the copy at the source, so that a second request with one is still the same point.
    if (volume.state === 'target')
      volume.points = volume.points.filter((point) => this.#isHere(volume, point));
  }

  /** What could be promoted or cloned here, newest first. */
  points(name: string): Point[] {
    const volume = this.#array.volume(name);
    return volume.points.filter((point) => point.complete && this.#isHere(volume, point)).toReversed();
  }
}
