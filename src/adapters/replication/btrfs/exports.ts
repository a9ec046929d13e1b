/** Who may mount a subvolume: kept in a record of ours, and handed to the filer's NFS server by exportfs(8). */
import type { Capabilities, Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import type { Filer } from '../send-receive/filer.ts';
import type { BtrfsOptions } from './options.ts';
import { recordScript } from './scripts.ts';
import { drillPath, type FilerLook, recordPath } from './subvolumes.ts';

export class BtrfsExports {
  readonly #filer: Filer;
  readonly #options: BtrfsOptions;

  constructor(filer: Filer, options: BtrfsOptions) {
    this.#filer = filer;
    this.#options = options;
  }

  /** Whatever there is can be shown, and a path says it all. */
  mustShow(): Promise<void> {
    return Promise.resolve();
  }

  async capable(): Promise<Partial<Capabilities>> {
    return {};
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return {};
  }

  async add(name: string, access: Access, look: FilerLook): Promise<Exposed> {
    const hosts = [...new Set([...allowed(name, look), ...access.addresses])].sort();
    await this.#record(name, hosts);
    await this.#exportTo(name, hosts);
    return { kind: 'nfs', server: this.#options.nfs_server ?? this.#options.host, path: this.#path(name) };
  }

  async remove(name: string, access: Access, look: FilerLook): Promise<void> {
    const gone = allowed(name, look).filter((address) => access.addresses.includes(address));
    await this.#hideFrom(name, gone);
    if (gone.length > 0)
      await this.#record(
        name,
        allowed(name, look).filter((address) => !gone.includes(address)),
      );
  }

  /** Hides it from everybody and remembers to whom it was shown. */
  async hide(name: string, look: FilerLook): Promise<void> {
    await this.#hideFrom(name, allowed(name, look));
  }

  /** Shows it again to those of before; after a restart of the filer as well. */
  async showAgain(name: string, look: FilerLook): Promise<void> {
    await this.#exportTo(name, allowed(name, look));
  }

  async #exportTo(name: string, hosts: readonly string[]): Promise<void> {
    if (this.#options.exports !== 'exportfs') return;
    for (const address of hosts) {
      const where = `${address}:${this.#path(name)}`;
      await this.#filer.must(['exportfs', '-o', 'rw,no_root_squash,no_subtree_check', where]);
    }
  }

  async #hideFrom(name: string, hosts: readonly string[]): Promise<void> {
    if (this.#options.exports !== 'exportfs') return;
    for (const address of hosts) {
      const result = await this.#filer.tell(['exportfs', '-u', `${address}:${this.#path(name)}`]);
      if (result.code !== 0 && !/could not find|not exported/i.test(result.stderr))
        throw this.#filer.error(['exportfs', '-u'], result);
    }
  }

  async #record(name: string, hosts: readonly string[]): Promise<void> {
    const path = this.#path(accessPath(name));
    await this.#filer.must(['sh', '-c', recordScript, 'lifeboat-record', path, hosts.join(',')]);
  }

  #path(inside: string): string {
    return `${this.#options.directory}/${inside}`;
  }
}

/** Where it is recorded who may reach a volume or copy. */
export function accessPath(name: string): string {
  const [, volume, drill] = /^(.+)\.lifeboat-drill-(.+)$/.exec(name) ?? [];
  return volume === undefined || drill === undefined
    ? recordPath(name, 'access')
    : `${drillPath(volume, drill)}.access`;
}

export function allowed(name: string, { records, drills }: FilerLook): readonly string[] {
  const text = records.get(accessPath(name)) ?? drills.get(accessPath(name)) ?? '';
  return text.split(',').filter((address) => address !== '');
}
