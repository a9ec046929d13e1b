/**
 * Pools of five products, each once as a source and once as a target, and what the client does with each of them. The
 * disks of a source lie in a directory that every target can mount, as a replica would be.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import { addNetwork, addPool } from '../../src/lab/core/build.ts';
import { invoke } from '../../src/lab/core/dispatch.ts';
import type { LabPool } from '../../src/lab/core/pool.ts';
import { type ProductName, products } from '../../src/lab/core/product.ts';
import { struct } from '../../src/lab/core/values.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';

export const productNames: readonly ProductName[] = [...products.keys()];

export type Client = ReturnType<typeof openHypervisor>;

export interface Worlds {
  readonly lab: Lab;
  source(product: ProductName): LabPool;
  target(product: ProductName): LabPool;
  client(pool: LabPool, options?: { readonly oldTls?: false }): Client;
}

export async function fiveProducts(t: Test, firstOctet: number): Promise<Worlds> {
  const directory = mkdtempSync(join(tmpdir(), 'lifeboat-products-'));
  const lab = await startLab({
    world: async (made) => {
      for (const [index, product] of productNames.entries()) {
        const source = addPool(made, spec(`source-${index}`, product, `127.${firstOctet}.1.${index + 1}`));
        const target = addPool(made, spec(`target-${index}`, product, `127.${firstOctet}.2.${index + 1}`));
        addNetwork(source, 'Production LAN');
        // As many networks before it as to give it another bridge than at the source.
        addNetwork(target, 'Spare');
        addNetwork(target, 'Recovery LAN');
      }
      for (const pool of made.pools.values())
        for (const index of productNames.keys()) {
          const folder = join(directory, 'exports', String(index));
          mkdirSync(folder, { recursive: true });
          pool.exports.set(`/exports/${index}`, folder);
        }
      for (const index of productNames.keys()) await addGuest(made.pool(`source-${index}`), index);
    },
    storage: join(directory, 'lab'),
  });
  const clients: Client[] = [];
  t.teardown(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await lab.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const poolOf = (side: string, product: ProductName): LabPool =>
    lab.pool(`${side}-${productNames.indexOf(product)}`);
  return {
    lab,
    source: (product) => poolOf('source', product),
    target: (product) => poolOf('target', product),
    client(pool, { oldTls = pool.product.tls === 'TLSv1' ? undefined : false } = {}) {
      const client = openHypervisor({
        site: pool.name,
        pool: {
          hosts: pool.hosts.map((host) => ({
            url: lab.url(host),
            fingerprint: host.certificate.sha256.replaceAll(':', '').toLowerCase(),
          })),
          username: 'root',
          password: { from: 'env', name: 'UNUSED' },
          poolUuid: null,
          caFile: null,
          transport: 'auto',
          maxRequests: 2,
          ...(oldTls === undefined ? { oldTls: true as const } : {}),
        },
        password: async () => lab.credentials.password,
        clock: systemClock,
      });
      clients.push(client);
      return client;
    },
  };
}

function spec(name: string, product: ProductName, address: string) {
  return { name, site: name, label: name, product, hosts: [{ name: `${name}-host`, address }] };
}

/** A running guest with one disk and one interface. */
async function addGuest(pool: LabPool, index: number): Promise<void> {
  const host = pool.master;
  const device = struct({ server: 'filer', serverpath: `/exports/${index}` });
  const sr = await invoke(
    host,
    'SR.create',
    ...[host.row.ref, device, 0n, `store ${index}`, '', 'nfs', 'user', true, struct()],
  );
  const memory = 256n * 1024n * 1024n;
  const vm = await invoke(
    host,
    'VM.create',
    struct({
      ...{ name_label: `guest of ${pool.name}`, name_description: 'one of five', user_version: 1n },
      ...{ memory_static_max: memory, memory_dynamic_max: memory, memory_dynamic_min: memory },
      ...{ memory_static_min: memory / 2n, VCPUs_max: 1n, VCPUs_at_startup: 1n, order: 3n },
      ...{
        actions_after_crash: 'restart',
        actions_after_reboot: 'restart',
        actions_after_shutdown: 'destroy',
      },
      ...{ HVM_boot_policy: 'BIOS order', HVM_boot_params: struct({ order: 'cd' }), domain_type: 'hvm' },
      platform: struct({ viridian: 'true' }),
    }),
  );
  const vdi = await invoke(
    host,
    'VDI.create',
    struct({ name_label: 'disk', SR: String(sr), virtual_size: 1024n * 1024n, type: 'user' }),
  );
  const drive = {
    userdevice: '0',
    bootable: true,
    mode: 'RW',
    type: 'Disk',
    empty: false,
    unpluggable: true,
  };
  await invoke(host, 'VBD.create', struct({ ...drive, VM: String(vm), VDI: String(vdi) }));
  const network = pool.db.byName('network', 'Production LAN')[0]?.ref ?? '';
  await invoke(host, 'VIF.create', struct({ device: '0', network, VM: String(vm), MAC: '', MTU: 1500n }));
  await invoke(host, 'VM.start', String(vm), false, false);
}

export function guestOf(pool: LabPool) {
  const vm = pool.db.byName('VM', `guest of ${pool.name}`)[0];
  if (vm === undefined) throw new Error(`pool ${pool.name} has no guest`);
  return vm;
}
