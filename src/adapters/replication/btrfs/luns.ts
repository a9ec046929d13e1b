/** A file in each subvolume as a LUN; who is let in is kept in a record of ours, as for NFS. */
import type { Capabilities, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import type { Luns, LunVolume } from '../send-receive/luns/luns.ts';
import { accessPath, allowed } from './exports.ts';
import type { FilerLook } from './subvolumes.ts';

/** What a store says of its file system. */
export interface LunPlace {
  readonly directory: string;
  readonly lunImage: string;
  /** The UUID of the file system. */
  readonly filer: () => Promise<string>;
  /** Writes a record; an empty text removes it. */
  readonly record: (path: string, text: string) => Promise<void>;
}

export class BtrfsLuns {
  readonly #luns: Luns;
  readonly #place: LunPlace;

  constructor(luns: Luns, place: LunPlace) {
    this.#luns = luns;
    this.#place = place;
  }

  async capable(volumes: readonly string[], signal?: AbortSignal): Promise<Partial<Capabilities>> {
    const filer = await this.#place.filer();
    const named = volumes.map((name) => ({ name, filer, path: this.#path(name) }));
    return this.#luns.capable(named, signal);
  }

  mustShow(name: string): Promise<void> {
    return this.#luns.mustShow(name);
  }

  async add(name: string, access: Access, look: FilerLook): Promise<Exposed> {
    return this.#luns.add(await this.#volumeOf(name, look), access);
  }

  async remove(name: string, access: Access, look: FilerLook): Promise<void> {
    await this.#luns.remove(await this.#volumeOf(name, look), access);
  }

  async hide(name: string, look: FilerLook): Promise<void> {
    await this.#luns.hide(await this.#volumeOf(name, look));
  }

  async showAgain(name: string, look: FilerLook): Promise<void> {
    await this.#luns.showAgain(await this.#volumeOf(name, look));
  }

  async describe(
    name: string,
    look: FilerLook,
    signal?: AbortSignal,
  ): Promise<Readonly<Record<string, string>>> {
    return this.#luns.describe(await this.#volumeOf(name, look), signal);
  }

  async #volumeOf(name: string, look: FilerLook): Promise<LunVolume> {
    return {
      name,
      filer: await this.#place.filer(),
      backing: { kind: 'file', path: this.#path(name) },
      initiators: allowed(name, look),
      remember: (initiators) => this.#place.record(accessPath(name), initiators.join(',')),
    };
  }

  #path(name: string): string {
    return `${this.#place.directory}/${name}/${this.#place.lunImage}`;
  }
}
