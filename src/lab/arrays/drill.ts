/** Copies of points for drills: NFS exports of their own beside the replica, which is never touched (storage.md B.4.8). */
import { renameSync, rmSync } from 'node:fs';
import type { Exposed } from '../../domain/replication.ts';
import type { Share } from '../storage/fabric.ts';
import type { LabArray } from './array.ts';
import type { Changed } from './promotion.ts';
import { copy } from './tree.ts';
import { refuse, type Volume } from './volume.ts';

export interface Drill {
  readonly drill: string;
  readonly volume: string;
  /** Reference of the point. */
  readonly point: string;
  readonly directory: string;
  readonly exportPath: string;
  /** Milliseconds since 1970 on the array's clock. */
  readonly madeAt: number;
  copying: Promise<void> | null;
  /** The copy is whole. */
  complete: boolean;
  admitted: readonly string[];
  /** Takes the export away; null while there is none. */
  withdraw: (() => void) | null;
}

export class Drills {
  readonly #array: LabArray;

  constructor(array: LabArray) {
    this.#array = array;
  }

  /** Copy first, export second; the mark is there before either. Again with the same drill: the same copy. */
  async start(
    name: string,
    given: { readonly drill: string; readonly point: string; readonly addresses: readonly string[] },
  ): Promise<Exposed> {
    const volume = this.#array.volume(name);
    const open = volume.drills.get(given.drill) ?? this.#mark(volume, given.drill, given.point);
    if (open.point !== given.point)
      refuse('wrong-state', `drill ${given.drill} of volume ${name} is open with point ${open.point}`);
    if (!open.complete) {
      open.copying ??= this.#copy(volume, open).finally(() => {
        open.copying = null;
      });
      await open.copying;
    }
    if (volume.drills.get(given.drill) !== open)
      refuse('wrong-state', `drill ${given.drill} of volume ${name} was stopped meanwhile`);
    this.#array.faults.halfway('drillStart', name);
    open.admitted = [...new Set([...open.admitted, ...given.addresses])];
    open.withdraw ??= volume.present(this.#share(volume, open));
    return volume.offer(open.exportPath);
  }

  #mark(volume: Volume, drill: string, point: string): Drill {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(drill)) refuse('refused', `"${drill}" is no name for a drill`);
    if (volume.promoting !== null) refuse('busy', `volume ${volume.name} is being promoted`);
    if (volume.state !== 'target' && volume.state !== 'promoted')
      refuse('wrong-state', `volume ${volume.name} is ${volume.state}, not a replica`);
    if (!this.#array.transfers.points(volume.name).some(({ ref }) => ref === point))
      refuse('refused', `volume ${volume.name} holds no complete point ${point}`);
    const marked: Drill = {
      drill,
      volume: volume.name,
      point,
      directory: this.#array.drillDirectory(drill, volume.name),
      exportPath: `/drills/${drill}/${volume.name}`,
      madeAt: this.#array.now(),
      copying: null,
      complete: false,
      admitted: [],
      withdraw: null,
    };
    volume.drills.set(drill, marked);
    return marked;
  }

  async #copy(volume: Volume, drill: Drill): Promise<void> {
    const power = this.#array.powerCycles;
    const partial = `${drill.directory}.partial`;
    rmSync(partial, { recursive: true, force: true });
    await copy(this.#array.pointDirectory(volume.name, drill.point), partial);
    if (power !== this.#array.powerCycles) refuse('refused', 'the array lost its power');
    renameSync(partial, drill.directory);
    drill.complete = true;
  }

  #share(volume: Volume, drill: Drill): Share {
    return {
      server: this.#array.address,
      path: drill.exportPath,
      directory: drill.directory,
      access: () => (this.#array.up && volume.drills.get(drill.drill) === drill ? 'rw' : 'none'),
      admits: (address) => drill.admitted.includes(address),
      isolated: true,
    };
  }

  /** Removes the copy of this drill, however far it came. */
  async stop(name: string, drill: string): Promise<Changed> {
    const volume = this.#array.volume(name);
    const found = volume.drills.get(drill);
    if (found === undefined) return { changed: false };
    await found.copying?.catch(() => undefined);
    found.withdraw?.();
    volume.drills.delete(drill);
    for (const directory of [found.directory, `${found.directory}.partial`])
      rmSync(directory, { recursive: true, force: true });
    return { changed: true };
  }

  /** By their marks. */
  list(): Drill[] {
    return [...this.#array.volumes.values()].flatMap((volume) => [...volume.drills.values()]);
  }
}
