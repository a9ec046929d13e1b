/** Planned and unplanned promotion of a target, and the source that is prepared for it (storage.md B.3, B.4). */
import { renameSync, rmSync } from 'node:fs';
import { promotionConfirmation } from '../../domain/replication.ts';
import type { LabArray } from './array.ts';
import type { Sending } from './transfer.ts';
import { copy } from './tree.ts';
import { type Point, refuse, type Volume } from './volume.ts';

export interface Promotion {
  readonly mode: 'planned' | 'unplanned';
  readonly point: string;
  readonly confirm: string;
}

export interface Changed {
  readonly changed: boolean;
}

export class Promotions {
  readonly #array: LabArray;

  constructor(array: LabArray) {
    this.#array = array;
  }

  /** At the source: no write from here on, and the last point under way. Again with the same tag: the same point. */
  prepare(name: string, tag: string): Sending {
    const volume = this.#array.volume(name);
    const { peer } = volume;
    if (peer === null || (volume.state !== 'source' && volume.state !== 'demoted'))
      refuse('wrong-state', `volume ${name} is ${volume.state}, not the source of a pair`);
    if (volume.state === 'source') {
      // Writes are not stopped for a point that cannot be sent.
      this.#array.transfers.assertReceives(peer);
      volume.state = 'demoted';
      this.#array.faults.halfway('prepare', name);
    }
    return this.#array.transfers.sync(name, tag);
  }

  unprepare(name: string): Changed {
    const volume = this.#array.volume(name);
    if (volume.state === 'source' || volume.state === 'standalone') return { changed: false };
    if (volume.state !== 'demoted')
      refuse('wrong-state', `volume ${name} is ${volume.state}, not a prepared source`);
    const { peer } = volume;
    if (peer !== null) {
      if (!this.#array.linkUp(peer.array))
        refuse('link-down', `array ${peer.array.name} does not say whether its side is promoted`);
      const other = peer.array.volume(peer.volume);
      if (other.state !== 'target' || other.promoting !== null)
        refuse('wrong-state', `volume ${peer.volume} of array ${peer.array.name} has been promoted`);
    }
    volume.state = peer === null ? 'standalone' : 'source';
    return { changed: true };
  }

  /** Read-only from now on. */
  fence(name: string): Changed {
    const volume = this.#array.volume(name);
    if (volume.state === 'demoted' || volume.state === 'target') return { changed: false };
    if (volume.state === 'promoted')
      refuse('wrong-state', `volume ${name} is promoted: it is not the side that is given up`);
    volume.state = 'demoted';
    return { changed: true };
  }

  /**
   * Makes a point the content of the target volume and lets it be written. Unplanned, it asks nobody else. Again with
   * the same point it changes nothing.
   */
  async promote(name: string, given: Promotion): Promise<Changed> {
    const volume = this.#array.volume(name);
    if (given.confirm !== promotionConfirmation(name, given.point))
      refuse('refused', 'the confirmation names another volume or point');
    while (volume.promoting !== null) await volume.promoting;
    if (volume.state === 'promoted') {
      if (volume.promotedFrom === given.point) return { changed: false };
      refuse('wrong-state', `volume ${name} is promoted already, from point ${volume.promotedFrom}`);
    }
    if (volume.state !== 'target') refuse('wrong-state', `volume ${name} is ${volume.state}, not a target`);
    const point = this.#array.transfers.points(name).find(({ ref }) => ref === given.point);
    if (point === undefined) refuse('refused', `volume ${name} holds no complete point ${given.point}`);
    const [drill] = volume.drills.keys();
    if (drill !== undefined)
      refuse('wrong-state', `drill ${drill} of volume ${name} is open; it must be stopped first`);
    if (given.mode === 'planned') this.#checkPlanned(volume, point);
    // What still arrives belongs to a source that is given up.
    const { peer } = volume;
    if (peer !== null) peer.array.abortTransfers(this.#array, `volume ${name} is being promoted`);
    const work = this.#materialise(volume, point);
    volume.promoting = work.catch(() => undefined);
    try {
      await work;
    } finally {
      volume.promoting = null;
    }
    return { changed: true };
  }

  #checkPlanned(volume: Volume, point: Point): void {
    const { peer } = volume;
    if (peer === null || !this.#array.linkUp(peer.array)) refuse('link-down', 'the source does not answer');
    const source = peer.array.volume(peer.volume);
    if (source.state !== 'demoted') refuse('refused', `the source volume ${peer.volume} still takes writes`);
    if (source.points.at(-1)?.ref !== point.ref)
      refuse('refused', `point ${point.ref} is not the last of the source`);
  }

  async #materialise(volume: Volume, point: Point): Promise<void> {
    const power = this.#array.powerCycles;
    const fresh = `${volume.directory}.promoting`;
    rmSync(fresh, { recursive: true, force: true });
    await copy(this.#array.pointDirectory(volume.name, point.ref), fresh);
    if (power !== this.#array.powerCycles) refuse('refused', 'the array lost its power');
    this.#array.faults.halfway('promote', volume.name);
    rmSync(volume.directory, { recursive: true, force: true });
    renameSync(fresh, volume.directory);
    volume.state = 'promoted';
    volume.promotedFrom = point.ref;
    volume.admitted = null;
    volume.concealed.clear();
  }
}
