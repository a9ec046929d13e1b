/** Who may mount a dataset: NFS shares of the filer, one for each dataset that is shown. */
import { z } from 'zod';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { refusedByArray } from '../rest/errors.ts';
import { understood } from './entries.ts';
import type { TrueNasApi } from './rpc.ts';

const comment = 'made by lifeboat';

const shares = z.array(
  z.looseObject({
    id: z.int(),
    path: z.string(),
    comment: z.string().default(''),
    hosts: z.array(z.string()).default([]),
    networks: z.array(z.string()).default([]),
    enabled: z.boolean().default(true),
  }),
);
type Share = z.infer<typeof shares>[number];

export class NfsShares {
  readonly #api: TrueNasApi;
  readonly #address: string;

  constructor(api: TrueNasApi, address: string) {
    this.#api = api;
    this.#address = address;
  }

  async add(name: string, { addresses }: Access): Promise<Exposed> {
    // A share without hosts is open to everybody.
    if (addresses.length === 0)
      throw refusedByArray(this.#api.endpoint, `no address of a host is named for ${name}`, 'no-hosts');
    const path = pathOf(name);
    const [share] = await this.#of(name);
    if (share === undefined)
      await this.#api.call('sharing.nfs.create', [
        { path, hosts: addresses, comment, enabled: true, maproot_user: 'root', maproot_group: 'root' },
      ]);
    else if (!admits(share, addresses)) {
      const hosts = [...new Set([...share.hosts, ...addresses])];
      await this.#api.call('sharing.nfs.update', [share.id, { hosts, enabled: true }]);
    }
    return { kind: 'nfs', server: this.#address, path };
  }

  /** A share of the site's own is switched off when it admits nobody else; ours is removed. */
  async take(name: string, { addresses }: Access): Promise<void> {
    for (const share of await this.#of(name)) {
      const hosts = share.hosts.filter((host) => !addresses.includes(host));
      if (hosts.length > 0) await this.#api.call('sharing.nfs.update', [share.id, { hosts }]);
      else if (share.comment === comment) await this.#api.call('sharing.nfs.delete', [share.id]);
      else if (share.enabled) await this.#api.call('sharing.nfs.update', [share.id, { enabled: false }]);
    }
  }

  /** All shares of a copy of ours. */
  async remove(name: string): Promise<void> {
    for (const { id } of await this.#of(name)) await this.#api.call('sharing.nfs.delete', [id]);
  }

  async #of(name: string): Promise<readonly Share[]> {
    const answer = await this.#api.read('sharing.nfs.query', [[['path', '=', pathOf(name)]]]);
    return understood(this.#api.endpoint, 'sharing.nfs.query', shares, answer);
  }
}

function pathOf(name: string): string {
  return `/mnt/${name}`;
}

function admits({ enabled, hosts, networks }: Share, addresses: readonly string[]): boolean {
  const open = hosts.length === 0 && networks.length === 0;
  return enabled && (open || addresses.every((address) => hosts.includes(address)));
}
