/** Who may mount a dataset: kept on the dataset itself, and handed to the filer's NFS server where ZFS does that. */
import type { Capabilities, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { wrongState } from '../send-receive/errors.ts';
import type { Filer } from '../send-receive/filer.ts';
import { type Dataset, ours } from './datasets.ts';
import type { ZfsOptions } from './options.ts';

/** A copy that no host can reach is no drill. */
export const byHand: Partial<Capabilities> = { expose: 'none', drill: 'none' };

export class NfsExports {
  readonly #filer: Filer;
  readonly #options: ZfsOptions;

  constructor(filer: Filer, options: ZfsOptions) {
    this.#filer = filer;
    this.#options = options;
  }

  /** Over NFS a zvol is shown to nobody, so an array with one shows and clones nothing to hosts by itself. */
  async capable(datasets: readonly Dataset[]): Promise<Partial<Capabilities>> {
    return datasets.some(({ values }) => values['type'] === 'volume') ? byHand : {};
  }

  /** A path says it all. */
  async describe(): Promise<Readonly<Record<string, string>>> {
    return {};
  }

  /** Adds these hosts to those that may mount the dataset. */
  async add(dataset: Dataset, access: Access): Promise<Exposed> {
    const { name, values } = dataset;
    await this.mustShow(dataset);
    await this.#set(name, [...new Set([...allowed(dataset), ...access.addresses])].sort());
    return {
      kind: 'nfs',
      server: this.#options.nfs_server ?? this.#options.host,
      path: values['mountpoint'] ?? '',
    };
  }

  /** Refuses what is not shown from here. */
  async mustShow({ name, values }: Dataset): Promise<void> {
    if (values['type'] === 'filesystem' && this.#options.expose === 'nfs') return;
    throw wrongState(
      this.#filer.array,
      `Volume ${name} is not shown to hosts by Lifeboat`,
      [
        values['type'] === 'filesystem'
          ? 'the array has `expose: none`'
          : 'it is a zvol, and the array has `expose: nfs`',
      ],
      'Give the hosts of the site access by hand, then go on',
    );
  }

  /** Takes the dataset away from these hosts. */
  async remove(dataset: Dataset, access: Access): Promise<void> {
    if (dataset.values['type'] !== 'filesystem') return;
    const left = allowed(dataset).filter((address) => !access.addresses.includes(address));
    if (left.length < allowed(dataset).length || left.length === 0) await this.#set(dataset.name, left);
  }

  /** Hides it from everybody and remembers to whom it was shown. */
  async hide({ name, values }: Dataset): Promise<void> {
    if (this.#options.exports === 'sharenfs' && values['type'] === 'filesystem')
      await this.#filer.must(['zfs', 'set', 'sharenfs=off', name]);
  }

  /** Shows it again to those of before. */
  async showAgain(dataset: Dataset): Promise<void> {
    const hosts = allowed(dataset);
    if (this.#options.exports === 'sharenfs' && hosts.length > 0)
      await this.#filer.must(['zfs', 'set', `sharenfs=${shareOf(hosts)}`, dataset.name]);
  }

  async #set(name: string, hosts: readonly string[]): Promise<void> {
    const record =
      hosts.length === 0 ? ['inherit', ours.access] : ['set', `${ours.access}=${hosts.join(',')}`];
    // Who is let in is written down before the door opens, and struck out after it has closed.
    if (hosts.length > 0) await this.#filer.must(['zfs', ...record, name]);
    if (this.#options.exports === 'sharenfs') {
      const share = hosts.length === 0 ? 'off' : shareOf(hosts);
      await this.#filer.must(['zfs', 'set', `sharenfs=${share}`, name]);
    }
    if (hosts.length === 0) await this.#filer.must(['zfs', ...record, name]);
  }
}

/** To whom a dataset is shown, or was before it was closed. */
export function allowed({ local }: Dataset): readonly string[] {
  return (local[ours.access] ?? '').split(',').filter((address) => address !== '');
}

/** The form of Linux; hosts of a pool write as root. */
function shareOf(hosts: readonly string[]): string {
  return `rw=${hosts.map((address) => `@${address}`).join(':')},no_root_squash`;
}
