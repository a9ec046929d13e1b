/** Hosts that reach a volume: nodes of the LINSTOR cluster on which its DRBD device is made available without a disk. */
import { PortError } from '../../../domain/errors.ts';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { unsupported } from '../rest/errors.ts';
import { answers, type Resource } from './answers.ts';
import { definitionPath, type LinstorApi } from './api.ts';

const diskless = new Set(['DISKLESS', 'DRBD_DISKLESS', 'TIE_BREAKER']);

/** Returns the device, which has the same path on each host. */
export async function makeAvailable(
  api: LinstorApi,
  definition: string,
  access: Access,
  signal: AbortSignal | undefined,
): Promise<Exposed> {
  const nodes = await nodesOf(api, access, signal);
  for (const node of nodes) {
    const path = definitionPath(definition, `/resources/${encodeURIComponent(node)}/make-available`);
    await api.act('POST', path, { diskful: false }, signal);
  }
  const found = (await resourcesOf(api, definition, signal)).filter(({ node_name: node }) =>
    nodes.includes(node),
  );
  const devices = found.map(({ volumes }) => volumes.map(({ device_path: path }) => path ?? ''));
  const paths = new Set(devices.flat());
  const [path] = paths;
  if (path === undefined || path === '' || paths.size > 1 || devices.some(({ length }) => length !== 1))
    throw unsupported(
      api.endpoint,
      `Resource ${definition} is not one device of one path on all hosts`,
      'Use resources with DRBD and a single volume; others are attached by hand',
    );
  return { kind: 'file', path };
}

/** Takes the device away where it has no disk; data is never touched. */
export async function takeAway(
  api: LinstorApi,
  definition: string,
  access: Access,
  signal: AbortSignal | undefined,
): Promise<void> {
  const nodes = await nodesOf(api, access, signal);
  for (const { node_name: node, flags } of await resourcesOf(api, definition, signal))
    if (nodes.includes(node) && flags.some((flag) => diskless.has(flag)))
      await api.remove(definitionPath(definition, `/resources/${encodeURIComponent(node)}`), signal);
}

function resourcesOf(
  api: LinstorApi,
  definition: string,
  signal: AbortSignal | undefined,
): Promise<Resource[]> {
  const query = new URLSearchParams({ resources: definition }).toString();
  return api.get(answers.resources, `/v1/view/resources?${query}`, signal);
}

async function nodesOf(api: LinstorApi, access: Access, signal: AbortSignal | undefined): Promise<string[]> {
  const nodes = await api.get(answers.nodes, '/v1/nodes', signal);
  const found = access.addresses.map((address) => ({
    address,
    node: nodes.find(({ net_interfaces: interfaces }) => interfaces.some((one) => one.address === address))
      ?.name,
  }));
  const strangers = found.filter(({ node }) => node === undefined).map(({ address }) => address);
  if (strangers.length > 0 || found.length === 0)
    throw new PortError(
      'refused',
      {
        code: 'DR-ARRAY-NOT-A-NODE',
        what: `Array ${api.array} does not know all hosts that are to reach the volume`,
        where: { object: `array ${api.array}` },
        known:
          found.length === 0
            ? ['no address was given']
            : strangers.map((address) => `no node of the cluster has address ${address}`),
        next: 'Make the hosts nodes (satellites) of the LINSTOR cluster of their site, or attach the storage by hand',
      },
      { peerCode: 'no-node', peerParams: strangers },
    );
  return found.flatMap(({ node }) => (node === undefined ? [] : [node]));
}
