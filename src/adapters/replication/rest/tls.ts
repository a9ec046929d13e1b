/** A TLS connection to an array whose certificate is the expected one; nothing is sent before that is known. */
import { isIP } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { PortError } from '../../../domain/errors.ts';
import { stopped, unreachable } from './errors.ts';

/** A pinned SHA-256 (64 digits in lower case), or the PEM of the authority that signs. */
export type Trust = { readonly fingerprint: string } | { readonly ca: string };

export interface RestEndpoint {
  /** Name in sites.yaml, for messages. */
  readonly array: string;
  /** `https://NAME[:PORT]` */
  readonly url: string;
  trust(): Promise<Trust>;
}

const connectSeconds = 10;

/**
 * `PortError` `unreachable` when nobody answers, `trust` when the certificate is another one, `cancelled` when the
 * caller's signal says so. The socket is the caller's, who destroys it.
 */
export async function trustedSocket(endpoint: RestEndpoint, signal?: AbortSignal): Promise<TLSSocket> {
  const trust = await endpoint.trust();
  const { hostname, port } = new URL(endpoint.url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const over = within(connectSeconds, signal);
  if (over.aborted) throw stopped(endpoint, over.reason);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port: Number(port || '443'),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      secureContext: contextOf(trust),
      rejectUnauthorized: 'ca' in trust,
    });
    const settle = (error: PortError | null): void => {
      over.removeEventListener('abort', stop);
      socket.removeListener('error', fail);
      if (error === null) resolve(socket);
      else {
        // A late error of a socket that nobody holds must not end the process.
        socket.on('error', () => undefined);
        socket.destroy();
        reject(error);
      }
    };
    const stop = (): void =>
      settle(
        signal?.aborted === true ? stopped(endpoint, signal.reason) : unreachable(endpoint, over.reason),
      );
    const fail = (error: Error): void =>
      settle(isDistrust(error) ? distrusted(endpoint, [error.message]) : unreachable(endpoint, error));
    over.addEventListener('abort', stop, { once: true });
    socket.once('error', fail);
    socket.once('secureConnect', () => settle(mismatch(endpoint, trust, socket)));
  });
}

const contexts = new Map<string, SecureContext>();

/** Made once for each authority: it costs more than all the rest of a connection. A pin is compared by ourselves. */
function contextOf(trust: Trust): SecureContext {
  const authority = 'ca' in trust ? trust.ca : '';
  const context = contexts.get(authority) ?? createSecureContext(authority === '' ? {} : { ca: authority });
  contexts.set(authority, context);
  return context;
}

/** A signal that ends with the caller's or after so many seconds. */
export function within(seconds: number, signal: AbortSignal | undefined): AbortSignal {
  const deadline = AbortSignal.timeout(seconds * 1000);
  return signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
}

function mismatch(endpoint: RestEndpoint, trust: Trust, socket: TLSSocket): PortError | null {
  if ('ca' in trust)
    return socket.authorized ? null : distrusted(endpoint, [String(socket.authorizationError)]);
  const seen = socket.getPeerCertificate().fingerprint256?.replaceAll(':', '').toLowerCase() ?? 'none';
  return seen === trust.fingerprint
    ? null
    : distrusted(endpoint, [`pinned ${trust.fingerprint}`, `shown ${seen}`]);
}

function isDistrust(error: Error): boolean {
  const code = 'code' in error ? String(error.code) : '';
  return /CERT|SIGNATURE|ISSUER|CRL/.test(code);
}

function distrusted(endpoint: RestEndpoint, known: readonly string[]): PortError {
  return new PortError('trust', {
    code: 'DR-ARRAY-CERTIFICATE',
    what: `Array ${endpoint.array} shows a certificate that is not the expected one`,
    where: { object: endpoint.url },
    known,
    next: 'Find out why it changed; if it was renewed on purpose, write the new fingerprint or authority into the settings',
  });
}
