/**
 * A pool of which only one address is known: which certificate is shown there, who its coordinator is, and which hosts and
 * certificates the pool itself names once we are logged in (`host.get_server_certificate`, datamodel since XenServer 5.5).
 */
import { X509Certificate } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { PortError } from '../../domain/errors.ts';
import type { HostAddress, PoolSettings } from '../../domain/settings.ts';
import type { Surveyed, SurveyedHost } from '../../ports/setup.ts';
import type { Clock } from '../../ports/system.ts';
import { openHypervisor, type XapiCalls } from './hypervisor.ts';
import { fingerprintOf, HostLink } from './link.ts';
import { greet } from './rpc.ts';

const timeoutSeconds = 15;

/** SHA-256 of what is shown at this address: to be compared by a person, never to be trusted as it comes. */
export function certificateAt(url: string): Promise<string> {
  const { hostname, port } = placeOf(url);
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: hostname,
      port,
      ...(net.isIP(hostname) === 0 ? { servername: hostname } : {}),
      // Nothing is sent: whoever answers only shows what a person then compares.
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      timeout: timeoutSeconds * 1000,
    });
    const fail = (why: string): void => {
      socket.destroy();
      reject(unreachable(url, why));
    };
    socket.once('secureConnect', () => {
      const seen = fingerprintOf(socket);
      socket.destroy();
      resolve(seen);
    });
    socket.once('timeout', () => fail(`no answer within ${timeoutSeconds} s`));
    socket.once('error', (error) => fail(error.message));
  });
}

/** The coordinator as a member names it; null where the host is the coordinator itself. */
export async function coordinatorOf(site: string, host: HostAddress): Promise<string | null> {
  const { hostname, port } = placeOf(host.url);
  const link = new HostLink(
    { url: host.url, hostname, port, fingerprint: host.fingerprint, ca: null },
    { site, oldTls: false, userAgent: 'lifeboat' },
  );
  try {
    const greeting = await greet(link, 'auto', {
      context: { site, operation: 'first contact', secrets: [] },
      timeoutSeconds,
      fresh: true,
    });
    return greeting.peerCode === 'HOST_IS_SLAVE' ? (greeting.peerParams[0] ?? null) : null;
  } finally {
    link.close();
  }
}

export async function surveyPool(
  options: {
    readonly site: string;
    readonly pool: PoolSettings;
    readonly password: () => Promise<string>;
    readonly clock: Clock;
  },
  signal?: AbortSignal,
): Promise<Surveyed> {
  const hypervisor = openHypervisor(options);
  try {
    const pool = await hypervisor.observe(signal);
    const hosts: SurveyedHost[] = [];
    for (const { uuid, nameLabel, address } of pool.hosts)
      hosts.push({ nameLabel, address, fingerprint: await vouchedFor(hypervisor.xapi, uuid) });
    return { pool, hosts };
  } finally {
    await hypervisor.close();
  }
}

/** The certificate of a host, as the pool tells over a connection that is trusted already. */
async function vouchedFor(xapi: XapiCalls, host: string): Promise<string | null> {
  try {
    const reference = await xapi.call('host.get_by_uuid', [host]);
    const pem = await xapi.call('host.get_server_certificate', [String(reference)]);
    return new X509Certificate(String(pem)).fingerprint256.replaceAll(':', '').toLowerCase();
  } catch (error) {
    // A host that is down cannot be asked, and old pools send no certificate that can be read.
    if (error instanceof PortError || (error instanceof Error && 'code' in error)) return null;
    throw error;
  }
}

function placeOf(url: string): { readonly hostname: string; readonly port: number } {
  const parsed = URL.parse(url);
  if (parsed === null) throw unreachable(url, 'this is no address');
  return {
    hostname: parsed.hostname.replace(/^\[|\]$/g, ''),
    port: parsed.port === '' ? 443 : Number(parsed.port),
  };
}

function unreachable(url: string, why: string): PortError {
  return new PortError('unreachable', {
    code: 'DR-POOL-UNREACHABLE',
    what: 'The host does not answer',
    where: { object: url },
    known: [why],
    next: 'Check the address, the network between, and whether the host runs',
  });
}
