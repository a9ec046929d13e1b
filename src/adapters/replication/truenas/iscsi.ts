/**
 * Which initiators reach a zvol: an extent, a target, and the group of initiators that may log in. The SCSIid is `3` and
 * the NAA of the extent without `0x` (storage.md C.9, C.0).
 */
import { z } from 'zod';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { notUnderstood, refusedByArray } from '../rest/errors.ts';
import { shortNameOf } from '../send-receive/luns/names.ts';
import { understood } from './entries.ts';
import type { TrueNasApi } from './rpc.ts';

const comment = 'made by lifeboat';
const lun = 0;

const extents = z.array(
  z.looseObject({
    id: z.int(),
    naa: z.string(),
    disk: z.string().nullish(),
    comment: z.string().default(''),
  }),
);
const links = z.array(
  z.looseObject({ target: z.int(), extent: z.int(), lunid: z.int().nullish(), id: z.int() }),
);
const targets = z.array(
  z.looseObject({
    id: z.int(),
    name: z.string(),
    groups: z.array(z.looseObject({ portal: z.int(), initiator: z.int().nullish() })).default([]),
  }),
);
const initiators = z.array(
  z.looseObject({
    id: z.int(),
    initiators: z.array(z.string()).default([]),
    comment: z.string().default(''),
  }),
);
const portals = z.array(z.looseObject({ id: z.int(), listen: z.array(z.looseObject({ ip: z.string() })) }));
const global = z.looseObject({ basename: z.string(), listen_port: z.int().default(3260) });

type Extent = z.infer<typeof extents>[number];
type Target = z.infer<typeof targets>[number];
type Initiators = z.infer<typeof initiators>[number];

export class IscsiTargets {
  readonly #api: TrueNasApi;
  readonly #address: string;
  readonly #portal: number;

  constructor(api: TrueNasApi, address: string, portal: number) {
    this.#api = api;
    this.#address = address;
    this.#portal = portal;
  }

  async add(name: string, { iqns }: Access): Promise<Exposed> {
    // A group without initiators admits everybody.
    if (iqns.length === 0)
      throw refusedByArray(this.#api.endpoint, `no initiator of a host is named for ${name}`, 'no-hosts');
    const group = await this.#admit(name, iqns);
    const extent = await this.#extent(name);
    const { target, lunid } = await this.#target(name, extent, group);
    const { basename, listen_port: port } = await this.#ask('iscsi.global.config', [], global);
    const [portal] = await this.#find('iscsi.portal.query', ['id', '=', this.#portal], portals);
    const ips = (portal?.listen ?? []).map(({ ip }) =>
      ip === '0.0.0.0' || ip === '::' ? this.#address : ip,
    );
    return {
      kind: 'iscsi',
      portals: ips.map((ip) => `${ip}:${port}`),
      iqn: `${basename}:${target.name}`,
      lun: lunid,
      scsiId: `3${extent.naa.replace(/^0x/, '')}`,
    };
  }

  async take(name: string, { iqns }: Access): Promise<void> {
    const group = await this.#groupOf(name);
    if (group === undefined) return;
    const left = group.initiators.filter((iqn) => !iqns.includes(iqn));
    if (left.length > 0) await this.#api.call('iscsi.initiator.update', [group.id, { initiators: left }]);
    else await this.remove(name);
  }

  /** Everything of ours through which the zvol is reached; what the site has made stays. */
  async remove(name: string): Promise<void> {
    const short = shortNameOf(name);
    const [target] = await this.#find('iscsi.target.query', ['name', '=', short], targets);
    if (target !== undefined) await this.#api.call('iscsi.target.delete', [target.id, true, false]);
    const [extent] = await this.#find('iscsi.extent.query', ['name', '=', short], extents);
    if (extent?.comment === comment) await this.#api.call('iscsi.extent.delete', [extent.id, false, true]);
    const group = await this.#groupOf(name);
    if (group !== undefined) await this.#api.call('iscsi.initiator.delete', [group.id]);
  }

  async #groupOf(name: string): Promise<Initiators | undefined> {
    const filter = ['comment', '=', `${comment}: ${name}`];
    const [group] = await this.#find('iscsi.initiator.query', filter, initiators);
    return group;
  }

  async #admit(name: string, iqns: readonly string[]): Promise<number> {
    const group = await this.#groupOf(name);
    if (group === undefined) {
      const made = { initiators: iqns, comment: `${comment}: ${name}` };
      return this.#created('iscsi.initiator.create', made);
    }
    const all = [...new Set([...group.initiators, ...iqns])];
    if (all.length > group.initiators.length)
      await this.#api.call('iscsi.initiator.update', [group.id, { initiators: all }]);
    return group.id;
  }

  async #extent(name: string): Promise<Extent> {
    const find = () => this.#find('iscsi.extent.query', ['disk', '=', diskOf(name)], extents);
    let [extent] = await find();
    if (extent === undefined) {
      await this.#created('iscsi.extent.create', {
        name: shortNameOf(name),
        type: 'DISK',
        disk: diskOf(name),
        xen: true,
        comment,
      });
      [extent] = await find();
    }
    if (extent === undefined) throw notUnderstood(this.#api.endpoint, `does not list the extent of ${name}`);
    return extent;
  }

  async #target(
    name: string,
    extent: Extent,
    group: number,
  ): Promise<{ readonly target: Target; readonly lunid: number }> {
    const short = shortNameOf(name);
    const find = () => this.#find('iscsi.target.query', ['name', '=', short], targets);
    let [target] = await find();
    if (target === undefined) {
      const groups = [{ portal: this.#portal, initiator: group, authmethod: 'NONE' }];
      await this.#created('iscsi.target.create', { name: short, groups });
      [target] = await find();
    }
    if (target === undefined) throw notUnderstood(this.#api.endpoint, `does not list target ${short}`);
    const joined = await this.#find('iscsi.targetextent.query', ['target', '=', target.id], links);
    const link = joined.find((one) => one.extent === extent.id);
    if (link === undefined)
      await this.#created('iscsi.targetextent.create', { target: target.id, extent: extent.id, lunid: lun });
    return { target, lunid: link?.lunid ?? lun };
  }

  async #created(method: string, data: unknown): Promise<number> {
    const { id } = await this.#call(method, [data], z.looseObject({ id: z.int() }));
    return id;
  }

  #find<T>(method: string, filter: readonly unknown[], schema: z.ZodType<T>): Promise<T> {
    return this.#ask(method, [[filter]], schema);
  }

  async #ask<T>(method: string, params: readonly unknown[], schema: z.ZodType<T>): Promise<T> {
    return understood(this.#api.endpoint, method, schema, await this.#api.read(method, params));
  }

  async #call<T>(method: string, params: readonly unknown[], schema: z.ZodType<T>): Promise<T> {
    return understood(this.#api.endpoint, method, schema, await this.#api.call(method, params));
  }
}

/** Spaces of a zvol's name are `+` in its device. */
function diskOf(name: string): string {
  return `zvol/${name.replaceAll(' ', '+')}`;
}
