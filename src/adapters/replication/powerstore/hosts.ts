/** Which hosts of the array reach a volume, and how. The SCSIid is `3` and the volume's NAA. */
import { z } from 'zod';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { notUnderstood, refusedByArray } from '../rest/errors.ts';
import type { PowerStoreApi } from './api.ts';
import { mappingFields, mappingItem } from './state.ts';

const hostItem = z.looseObject({
  id: z.string(),
  host_group_id: z.string().nullish(),
  host_initiators: z.array(z.looseObject({ port_name: z.string() })).nullish(),
});
const addressItem = z.looseObject({
  address: z.string(),
  ip_port: z.looseObject({ target_iqn: z.string().nullish() }).nullish(),
});

/** A host, or a host group, which is attached and detached as a whole. */
export interface Reacher {
  readonly resource: 'host' | 'host_group';
  readonly id: string;
}

const same = (one: Reacher, other: Reacher): boolean =>
  one.resource === other.resource && one.id === other.id;

/** Short enough for a description, and long enough to be told apart. */
export function shortName({ resource, id }: Reacher): string {
  return `${resource === 'host' ? 'h' : 'g'}${id.slice(0, 8)}`;
}

export async function mappingsOf(api: PowerStoreApi, volume: string) {
  return api.list('host_volume_mapping', mappingItem, mappingFields, { volume_id: `eq.${volume}` });
}

export async function reachersOf(api: PowerStoreApi, volume: string): Promise<readonly Reacher[]> {
  return (await mappingsOf(api, volume)).flatMap(({ host_id: host, host_group_id: group }): Reacher[] => {
    if (typeof group === 'string') return [{ resource: 'host_group', id: group }];
    return typeof host === 'string' ? [{ resource: 'host', id: host }] : [];
  });
}

export async function attach(
  api: PowerStoreApi,
  volume: string,
  reachers: readonly Reacher[],
): Promise<void> {
  const there = await reachersOf(api, volume);
  for (const one of reachers)
    if (!there.some((other) => same(one, other)))
      await api.tell('POST', `/${one.resource}/${one.id}/attach`, { volume_id: volume });
}

export async function detach(
  api: PowerStoreApi,
  volume: string,
  reachers: readonly Reacher[],
): Promise<void> {
  for (const one of await reachersOf(api, volume))
    if (reachers.some((other) => same(one, other)))
      await api.tell('POST', `/${one.resource}/${one.id}/detach`, { volume_id: volume });
}

async function allReachers(api: PowerStoreApi) {
  const hosts = await api.list('host', hostItem, ['id', 'host_group_id', 'host_initiators']);
  return hosts.map(({ id, host_group_id: group, host_initiators: initiators }) => ({
    ports: (initiators ?? []).map(({ port_name: port }) => plain(port)),
    reacher: (typeof group === 'string'
      ? { resource: 'host_group', id: group }
      : { resource: 'host', id }) satisfies Reacher as Reacher,
  }));
}

function plain(port: string): string {
  return port.startsWith('iqn.') ? port : port.replaceAll(':', '').toLowerCase();
}

/** Those that `shortName` has written down. */
export async function reachersNamed(
  api: PowerStoreApi,
  names: readonly string[],
): Promise<readonly Reacher[]> {
  if (names.length === 0) return [];
  return distinct((await allReachers(api)).map(({ reacher }) => reacher)).filter((one) =>
    names.includes(shortName(one)),
  );
}

/** What the array knows by these initiators; a member of a host group stands for its group. */
export async function reachersFor(
  api: PowerStoreApi,
  { iqns, wwns = [] }: Access,
): Promise<readonly Reacher[]> {
  const wanted = new Set([...iqns, ...wwns].map(plain));
  const found = (await allReachers(api)).filter(({ ports }) => ports.some((port) => wanted.has(port)));
  return distinct(found.map(({ reacher }) => reacher));
}

function distinct(reachers: readonly Reacher[]): readonly Reacher[] {
  return [...new Map(reachers.map((one) => [`${one.resource} ${one.id}`, one])).values()];
}

export async function mustKnowReachers(
  api: PowerStoreApi,
  volume: string,
  access: Access,
): Promise<readonly Reacher[]> {
  const reachers = await reachersFor(api, access);
  if (reachers.length > 0) return reachers;
  throw refusedByArray(
    api.endpoint,
    `it knows no host with an initiator that is to reach ${volume}: ${[...access.iqns, ...(access.wwns ?? [])].join(', ')}`,
    'no-hosts',
  );
}

export async function addressOf(
  api: PowerStoreApi,
  { id, name, wwn }: { readonly id: string; readonly name: string; readonly wwn?: string | null | undefined },
  { iqns }: Access,
): Promise<Exposed> {
  const [[mapping], addresses] = await Promise.all([
    mappingsOf(api, id),
    api.list('ip_pool_address', addressItem, ['address', 'ip_port(target_iqn)'], {
      purposes: 'cs.{Storage_Iscsi_Target}',
    }),
  ]);
  const naa = /^naa\.([0-9a-f]{32})$/i.exec(wwn ?? '')?.[1];
  if (mapping === undefined || naa === undefined)
    throw notUnderstood(api.endpoint, `does not list the mapping of ${name} that was made, or its WWN`);
  const lun = mapping.logical_unit_number;
  const common = { scsiId: `3${naa.toLowerCase()}`, ...(typeof lun === 'number' ? { lun } : {}) };
  if (iqns.length === 0) return { kind: 'fc', ...common };
  const iqn = addresses.find(({ ip_port: port }) => typeof port?.target_iqn === 'string')?.ip_port
    ?.target_iqn;
  return {
    kind: 'iscsi',
    portals: addresses.map(({ address }) => address),
    ...(typeof iqn === 'string' ? { iqn } : {}),
    ...common,
  };
}
