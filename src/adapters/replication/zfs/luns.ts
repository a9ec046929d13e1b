/** Zvols, and files in datasets, as LUNs; who is let in is written on the dataset, as for NFS. */
import type { Capabilities, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { wrongState } from '../send-receive/errors.ts';
import type { Filer } from '../send-receive/filer.ts';
import type { Luns, LunVolume } from '../send-receive/luns/luns.ts';
import type { Backing } from '../send-receive/luns/target.ts';
import { type Dataset, ours } from './datasets.ts';
import { allowed } from './exports.ts';

export class ZfsLuns {
  readonly #filer: Filer;
  readonly #lunImage: string | undefined;
  readonly #luns: Luns;
  readonly #poolGuid: () => Promise<string>;

  constructor(
    filer: Filer,
    { lun_image }: { readonly lun_image?: string | undefined },
    luns: Luns,
    poolGuid: () => Promise<string>,
  ) {
    this.#filer = filer;
    this.#lunImage = lun_image;
    this.#luns = luns;
    this.#poolGuid = poolGuid;
  }

  async capable(datasets: readonly Dataset[], signal?: AbortSignal): Promise<Partial<Capabilities>> {
    const filer = await this.#poolGuid();
    const volumes = datasets.map((one) => ({ name: one.name, filer, path: this.#backingOf(one).path }));
    return this.#luns.capable(volumes, signal);
  }

  async mustShow(dataset: Dataset): Promise<void> {
    this.#backingOf(dataset);
    await this.#luns.mustShow(dataset.name);
  }

  async add(dataset: Dataset, access: Access): Promise<Exposed> {
    return this.#luns.add(await this.#volumeOf(dataset), access);
  }

  async remove(dataset: Dataset, access: Access): Promise<void> {
    await this.#luns.remove(await this.#volumeOf(dataset), access);
  }

  async hide(dataset: Dataset): Promise<void> {
    await this.#luns.hide(await this.#volumeOf(dataset));
  }

  async showAgain(dataset: Dataset): Promise<void> {
    await this.#luns.showAgain(await this.#volumeOf(dataset));
  }

  async describe(dataset: Dataset, signal?: AbortSignal): Promise<Readonly<Record<string, string>>> {
    return this.#luns.describe(await this.#volumeOf(dataset), signal);
  }

  async #volumeOf(dataset: Dataset): Promise<LunVolume> {
    const { name } = dataset;
    return {
      name,
      filer: await this.#poolGuid(),
      backing: this.#backingOf(dataset),
      initiators: allowed(dataset),
      remember: async (initiators) => {
        await this.#filer.must(
          initiators.length === 0
            ? ['zfs', 'inherit', ours.access, name]
            : ['zfs', 'set', `${ours.access}=${initiators.join(',')}`, name],
        );
      },
    };
  }

  #backingOf({ name, values }: Dataset): Backing {
    // Spaces of a zvol's name are `+` in its device.
    if (values['type'] === 'volume') return { kind: 'block', path: `/dev/zvol/${name.replaceAll(' ', '+')}` };
    const place = values['mountpoint'] ?? '-';
    if (this.#lunImage !== undefined && place.startsWith('/'))
      return { kind: 'file', path: `${place}/${this.#lunImage}` };
    throw wrongState(
      this.#filer.array,
      `Volume ${name} cannot be shown as a LUN`,
      [
        this.#lunImage === undefined
          ? 'it is a file system, and `lun_image` does not say which file in it is the LUN'
          : `it is a file system that is mounted nowhere: its mount point is ${place}`,
      ],
      'Set `lun_image` of the array or the mount point of the dataset; zvols need neither',
    );
  }
}
