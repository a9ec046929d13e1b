/** Which hosts of the array reach a volume, and how. The SCSIid is `3624a9370` and the serial of the volume. */
import { z } from 'zod';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { notUnderstood, refusedByArray } from '../rest/errors.ts';
import type { PureApi } from './api.ts';
import { connectionItem } from './state.ts';

const hostItem = z.looseObject({
  name: z.string(),
  iqns: z.array(z.string()).default([]),
  wwns: z.array(z.string()).default([]),
});
const portItem = z.looseObject({ iqn: z.string().nullish(), portal: z.string().nullish() });
const serialItem = z.looseObject({ serial: z.string() });

export async function connectionsOf(api: PureApi, volume: string) {
  return api.list('/connections', connectionItem, { volume_names: volume });
}

export async function connect(api: PureApi, volume: string, hosts: readonly string[]): Promise<void> {
  const there = new Set((await connectionsOf(api, volume)).map(({ host }) => host.name));
  for (const host of hosts)
    if (!there.has(host))
      await api.tell('POST', '/connections', { host_names: host, volume_names: volume }, {});
}

export async function disconnect(api: PureApi, volume: string, hosts: readonly string[]): Promise<void> {
  for (const { host } of await connectionsOf(api, volume))
    if (hosts.includes(host.name))
      await api.tell('DELETE', '/connections', { host_names: host.name, volume_names: volume });
}

/** Names of the hosts that the array knows by these initiators. */
export async function hostsOf(api: PureApi, { iqns, wwns = [] }: Access): Promise<readonly string[]> {
  const plain = (wwn: string): string => wwn.replaceAll(':', '').toLowerCase();
  const wanted = new Set([...iqns, ...wwns.map(plain)]);
  const hosts = await api.list('/hosts', hostItem);
  return hosts
    .filter((host) => [...host.iqns, ...host.wwns.map(plain)].some((one) => wanted.has(one)))
    .map(({ name }) => name);
}

export async function mustKnowHosts(
  api: PureApi,
  volume: string,
  access: Access,
): Promise<readonly string[]> {
  const hosts = await hostsOf(api, access);
  if (hosts.length > 0) return hosts;
  throw refusedByArray(
    api.endpoint,
    `it knows no host with an initiator that is to reach ${volume}: ${[...access.iqns, ...(access.wwns ?? [])].join(', ')}`,
    'no-hosts',
  );
}

export async function addressOf(api: PureApi, volume: string, { iqns }: Access): Promise<Exposed> {
  const [connections, ports, volumes] = await Promise.all([
    connectionsOf(api, volume),
    api.list('/ports', portItem),
    api.list('/volumes', serialItem, { names: volume }),
  ]);
  const [connection] = connections;
  const [found] = volumes;
  if (connection === undefined || found === undefined)
    throw notUnderstood(api.endpoint, `does not list the connection of ${volume} that was made`);
  const scsiId = `3624a9370${found.serial.toLowerCase()}`;
  if (iqns.length === 0) return { kind: 'fc', lun: connection.lun, scsiId };
  const iscsi = ports.filter(({ iqn, portal }) => typeof iqn === 'string' && typeof portal === 'string');
  const iqn = iscsi[0]?.iqn;
  return {
    kind: 'iscsi',
    portals: iscsi.map(({ portal }) => String(portal)),
    ...(typeof iqn === 'string' ? { iqn } : {}),
    lun: connection.lun,
    scsiId,
  };
}
