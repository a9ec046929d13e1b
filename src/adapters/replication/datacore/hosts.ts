/** Which hosts a virtual disk is served to; hosts are known by their initiator ports. */
import { PortError } from '../../../domain/errors.ts';
import type { Exposed } from '../../../domain/replication.ts';
import type { Access } from '../../../ports/replication.ts';
import { notUnderstood } from '../rest/errors.ts';
import { answers, type VirtualDisk } from './answers.ts';
import type { DatacoreApi } from './api.ts';

const clientUnit = 1;

export async function serve(
  api: DatacoreApi,
  disk: VirtualDisk,
  access: Access,
  signal: AbortSignal | undefined,
): Promise<Exposed> {
  const wanted = await hostsOf(api, access, signal);
  const { hosts } = await servedTo(api, disk, signal);
  for (const host of wanted.filter((one) => !hosts.includes(one)))
    await operate(api, disk, 'Serve', host, signal);
  return exposedAs(api, disk, await servedTo(api, disk, signal));
}

export async function unserve(
  api: DatacoreApi,
  disk: VirtualDisk,
  access: Access,
  signal: AbortSignal | undefined,
): Promise<void> {
  const wanted = await hostsOf(api, access, signal);
  const { hosts } = await servedTo(api, disk, signal);
  for (const host of hosts.filter((one) => wanted.includes(one)))
    await operate(api, disk, 'Unserve', host, signal);
}

export async function unserveAll(
  api: DatacoreApi,
  disk: VirtualDisk,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { hosts } = await servedTo(api, disk, signal);
  for (const host of hosts) await operate(api, disk, 'Unserve', host, signal);
}

export async function serveAgain(
  api: DatacoreApi,
  disk: VirtualDisk,
  hosts: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const served = await servedTo(api, disk, signal);
  for (const host of hosts.filter((one) => !served.hosts.includes(one)))
    await operate(api, disk, 'Serve', host, signal);
}

export async function servedTo(
  api: DatacoreApi,
  { Id: id }: VirtualDisk,
  signal: AbortSignal | undefined,
): Promise<{ readonly hosts: readonly string[]; readonly luns: readonly number[] }> {
  const units = (await api.get(answers.units, 'virtuallogicalunits', signal)).filter(
    ({ Type: type, VirtualDiskId: disk }) => type === clientUnit && disk === id,
  );
  const hosts = units.flatMap(({ HostId: host }) => (host === null || host === undefined ? [] : [host]));
  return { hosts: [...new Set(hosts)], luns: [...new Set(units.map(({ Lun: { Quad: lun } }) => lun))] };
}

async function operate(
  api: DatacoreApi,
  { Id: id }: VirtualDisk,
  operation: 'Serve' | 'Unserve',
  host: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await api.act(
    'POST',
    `virtualdisks/${encodeURIComponent(id)}`,
    { Operation: operation, Host: host },
    signal,
  );
}

function exposedAs(
  api: DatacoreApi,
  { Alias: volume, ScsiDeviceIdString: naa }: VirtualDisk,
  { luns }: { readonly luns: readonly number[] },
): Exposed {
  if (naa === null || naa === undefined || naa === '')
    throw notUnderstood(api.endpoint, `does not tell the SCSI id of ${volume}`);
  const { protocol, portals = '', target_iqn: iqn = '' } = api.options;
  const [lun] = luns;
  const common = { scsiId: `3${naa.toLowerCase()}`, ...(lun === undefined ? {} : { lun }) };
  if (protocol === 'fc') return { kind: 'fc', ...common };
  return { kind: 'iscsi', portals: portals.split(',').map((text) => text.trim()), iqn, ...common };
}

async function hostsOf(api: DatacoreApi, access: Access, signal: AbortSignal | undefined): Promise<string[]> {
  const ports = await api.get(answers.ports, 'ports', signal);
  const wanted = [...access.iqns, ...(access.wwns ?? [])];
  const found = wanted.map((name) => ({
    name,
    host: ports.find(({ PortName: port }) => plain(port ?? '') === plain(name))?.HostId ?? null,
  }));
  const strangers = found.filter(({ host }) => host === null).map(({ name }) => name);
  if (strangers.length > 0 || found.length === 0)
    throw new PortError(
      'refused',
      {
        code: 'DR-ARRAY-NOT-A-NODE',
        what: `Array ${api.array} does not know all hosts that are to reach the volume`,
        where: { object: `array ${api.array}` },
        known:
          found.length === 0
            ? ['no initiator was given']
            : strangers.map((name) => `no host of the server group has initiator ${name}`),
        next: 'Register the hosts with their initiator ports in SANsymphony, then try again',
      },
      { peerCode: 'no-host', peerParams: strangers },
    );
  return [...new Set(found.flatMap(({ host }) => (host === null ? [] : [host])))];
}

/** WWNs are written with and without separators. */
function plain(port: string): string {
  return port.startsWith('iqn.') ? port.toLowerCase() : port.replaceAll(/[-:]/g, '').toLowerCase();
}
