/**
 * One host: HTTP over TLS with our own rules. The certificate is checked before a byte of a request is sent, the
 * header block stays below 1024 bytes (xapi.md 1.6), and every exchange has a deadline and can be cancelled.
 */
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { pipeline, Readable } from 'node:stream';
import tls from 'node:tls';
import { PortError, type Problem } from '../../domain/errors.ts';
import { protocolError } from './failures.ts';

export interface Endpoint {
  readonly url: string;
  readonly hostname: string;
  readonly port: number;
  /** SHA-256 of the certificate, lower-case hexadecimal; null when the CA decides. */
  readonly fingerprint: string | null;
  readonly ca: string | null;
}

/** Header block allowed by the server, exclusive (xapi.md 1.6). */
export const headerLimitBytes = 1024;
const connectTimeoutSeconds = 10;
/** The server closes an idle connection after ten seconds; leaving earlier avoids sending into a closing one. */
const idleConnectionSeconds = 4;

/** A failure on the way. */
export class LinkError extends PortError {
  /** The server may have seen the request. */
  readonly sent: boolean;
  readonly timedOut: boolean;
  /** Something took the connection, whatever came of it then. */
  readonly contacted: boolean;
  constructor(
    kind: PortError['kind'],
    problem: Problem,
    options: {
      readonly sent: boolean;
      readonly timedOut?: boolean;
      readonly contacted?: boolean;
      readonly cause?: unknown;
    },
  ) {
    super(kind, problem, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'LinkError';
    this.sent = options.sent;
    this.timedOut = options.timedOut ?? false;
    this.contacted = options.contacted ?? options.sent;
  }
}

export interface ExchangeRequest {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Path and query. */
  readonly path: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** `stream` leaves the body to the caller, who writes it to `Exchange.request`. */
  readonly body?: Uint8Array | { readonly stream: true; readonly bytes: number };
  readonly keepAlive: boolean;
  /** For the whole exchange; the answer's body too unless `stopDeadline` is called. */
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Exchange {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly message: http.IncomingMessage;
  readonly request: http.ClientRequest;
  /** Ends the deadline, for streams that take their time; cancellation goes on working. */
  stopDeadline(): void;
  /** Ends the exchange and its connection; safe to call twice. */
  destroy(): void;
  /** What an error of the streams means. */
  explain(error: unknown): LinkError;
}

export interface LinkOptions {
  readonly site: string;
  /** Hosts up to XenServer 6.5 speak TLS 1.0 with old ciphers only (xapi.md 1.7). */
  readonly oldTls: boolean;
  readonly userAgent: string;
}

/** One signal may cancel a hundred waiting requests, which Node would report as a leak. */
export function manyListeners(signal: AbortSignal | undefined): void {
  if (signal !== undefined) setMaxListeners(0, signal);
}

export class HostLink {
  readonly endpoint: Endpoint;
  readonly #options: LinkOptions;
  readonly #agent: https.Agent;
  /** The handlers close their connection: each transfer has one of its own (xapi.md 3.1). */
  readonly #singleUse: https.Agent;

  constructor(endpoint: Endpoint, options: LinkOptions) {
    this.endpoint = endpoint;
    this.#options = options;
    this.#agent = this.#agentOf({ keepAlive: true, timeout: idleConnectionSeconds * 1000 });
    this.#singleUse = this.#agentOf({ keepAlive: false });
  }

  /** Resolves with the header of the answer. Throws `LinkError` or a `protocol` error. */
  exchange(options: ExchangeRequest): Promise<Exchange> {
    const { endpoint } = this;
    const bytes = options.body === undefined ? null : (options.body as { bytes?: number }).bytes;
    const length = bytes ?? (options.body instanceof Uint8Array ? options.body.length : null);
    const host = endpoint.hostname.includes(':') ? `[${endpoint.hostname}]` : endpoint.hostname;
    const headers: [string, string][] = [
      ['Host', endpoint.port === 443 ? host : `${host}:${endpoint.port}`],
      ['User-Agent', this.#options.userAgent],
      ['Connection', options.keepAlive ? 'keep-alive' : 'close'],
      ...(options.headers ?? []).map(([name, value]): [string, string] => [name, value]),
    ];
    if (length !== null) headers.push(['Content-Length', String(length)]);
    const block = `${options.method} ${options.path} HTTP/1.1\r\n${headers.map(([n, v]) => `${n}: ${v}\r\n`).join('')}\r\n`;
    const blockBytes = Buffer.byteLength(block);
    if (blockBytes >= headerLimitBytes)
      return Promise.reject(
        protocolError(
          this.#options.site,
          endpoint.url,
          'A request was not sent: its header would be too long',
          [`${blockBytes} bytes, the server takes fewer than ${headerLimitBytes}`],
          { code: 'DR-POOL-HEADER', next: 'Report this as a defect of Lifeboat' },
        ),
      );
    return this.#run(options, Object.fromEntries(headers));
  }

  close(): void {
    this.#agent.destroy();
    this.#singleUse.destroy();
  }

  #run(options: ExchangeRequest, headers: Record<string, string>): Promise<Exchange> {
    const { endpoint } = this;
    return new Promise((resolve, reject) => {
      let sent = false;
      let reason: LinkError | null = null;
      if (options.signal?.aborted) {
        reject(this.#cancelled(false));
        return;
      }
      const request = https.request({
        method: options.method,
        path: options.path,
        headers,
        setDefaultHeaders: false,
        agent: options.keepAlive ? this.#agent : this.#singleUse,
        host: endpoint.hostname,
        port: endpoint.port,
      });
      const stop = (error: LinkError): void => {
        reason ??= error;
        request.destroy(error);
      };
      const timer = setTimeout(() => stop(this.#timeout(options, sent)), options.timeoutSeconds * 1000);
      const abort = (): void => stop(this.#cancelled(sent));
      manyListeners(options.signal);
      options.signal?.addEventListener('abort', abort, { once: true });
      const explain = (error: unknown): LinkError => reason ?? this.#explain(error, sent);
      request.on('socket', () => {
        sent = true;
      });
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(explain(error));
      });
      request.on('close', () => {
        clearTimeout(timer);
        options.signal?.removeEventListener('abort', abort);
        // A connection that closes before any answer brings no error event of its own in every case.
        reject(explain(new Error('the connection was closed')));
      });
      request.on('response', (message) => {
        resolve({
          status: message.statusCode ?? 0,
          headers: message.headers,
          message,
          request,
          stopDeadline: () => clearTimeout(timer),
          destroy: () => {
            clearTimeout(timer);
            request.destroy();
          },
          explain,
        });
      });
      if (options.body instanceof Uint8Array) request.end(options.body);
      else if (options.body === undefined) request.end();
      else request.flushHeaders();
    });
  }

  /** An agent whose connections come from `#connect`; without session cache, since a resumed session shows no certificate. */
  #agentOf(options: https.AgentOptions): https.Agent {
    const open = (): Promise<tls.TLSSocket> => this.#connect();
    return new (class extends https.Agent {
      override createConnection(
        _options: https.RequestOptions,
        callback?: (error: Error | null, stream: tls.TLSSocket) => void,
      ): undefined {
        open().then(
          (socket) => callback?.(null, socket),
          (error: Error) => (callback as ((error: Error) => void) | undefined)?.(error),
        );
        return undefined;
      }
    })({ ...options, maxCachedSessions: 0 });
  }

  #connect(): Promise<tls.TLSSocket> {
    const { endpoint } = this;
    return new Promise((resolve, reject) => {
      const socket = tls.connect({
        host: endpoint.hostname,
        port: endpoint.port,
        ...(net.isIP(endpoint.hostname) === 0 ? { servername: endpoint.hostname } : {}),
        // With a pin, the fingerprint alone decides, below: self-signed certificates are the rule (xapi.md 1.7).
        rejectUnauthorized: endpoint.fingerprint === null && endpoint.ca !== null,
        ...(endpoint.fingerprint === null && endpoint.ca !== null ? { ca: endpoint.ca } : {}),
        ...(this.#options.oldTls
          ? { minVersion: 'TLSv1' as const, ciphers: 'DEFAULT@SECLEVEL=0' }
          : // As every HTTPS client says of itself.
            { ALPNProtocols: ['http/1.1'] }),
      });
      let contacted = false;
      socket.once('connect', () => {
        contacted = true;
      });
      const timer = setTimeout(() => {
        const known = contacted ? 'no TLS handshake' : 'no connection';
        fail(this.#unreachable(`${known} within ${connectTimeoutSeconds} s`, contacted));
      }, connectTimeoutSeconds * 1000);
      const fail = (error: LinkError): void => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const broken = (error: NodeJS.ErrnoException): void => fail(this.#connectError(error, contacted));
      const closed = (): void =>
        fail(this.#unreachable('the connection was closed during the TLS handshake', contacted));
      socket.on('error', broken);
      socket.on('close', closed);
      socket.once('secureConnect', () => {
        const seen = fingerprintOf(socket);
        if (endpoint.fingerprint !== null ? seen !== endpoint.fingerprint : endpoint.ca === null) {
          fail(this.#untrusted(seen));
          return;
        }
        clearTimeout(timer);
        socket.off('close', closed);
        socket.off('error', broken);
        // Until the request listens, an error must not end the program; the request sees the close.
        socket.on('error', () => undefined);
        socket.setNoDelay(true);
        resolve(socket);
      });
    });
  }

  #untrusted(seen: string): LinkError {
    const { endpoint } = this;
    const problem =
      endpoint.fingerprint === null
        ? {
            code: 'DR-POOL-CERTIFICATE' as const,
            what: 'The host has no fingerprint in sites.yaml, and its pool no ca_file: nothing was sent',
            known: [`the host shows ${asPrinted(seen)}`],
            next: 'Compare it with `openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256` on the host, then write it into sites.yaml as its fingerprint',
          }
        : {
            code: 'DR-POOL-CERTIFICATE' as const,
            what: 'The host shows another certificate than sites.yaml pins: nothing was sent',
            known: [
              `sites.yaml pins ${asPrinted(endpoint.fingerprint)}`,
              `the host shows ${asPrinted(seen)}`,
            ],
            next: 'Find out why: after a reinstallation or a new certificate, compare the fingerprint on the host itself and write it into sites.yaml; otherwise somebody stands in between',
          };
    return new LinkError(
      'trust',
      { ...problem, where: { site: this.#options.site, object: endpoint.url } },
      { sent: false },
    );
  }

  #connectError(error: NodeJS.ErrnoException, contacted: boolean): LinkError {
    if (
      this.endpoint.fingerprint === null &&
      this.endpoint.ca !== null &&
      /CERT|SIGN|ISSUER|ALTNAME/.test(error.code ?? '')
    )
      return new LinkError(
        'trust',
        {
          code: 'DR-POOL-CERTIFICATE',
          what: 'The certificate of the host does not stand up to the CA file: nothing was sent',
          where: { site: this.#options.site, object: this.endpoint.url },
          // Node adds advice on its own command line, which is nobody's here.
          known: [error.message.replace(/; if the root CA is installed locally.*$/s, '')],
          next: 'Check the CA file and the name in the certificate, or pin the fingerprint of the host instead',
        },
        { sent: false, cause: error },
      );
    const known = describe(error);
    const oldTls = /unsupported protocol|protocol version/i.test(known);
    return this.#unreachable(
      oldTls ? `${known}; hosts up to XenServer 6.5 need old_tls: true at the pool in sites.yaml` : known,
      contacted,
      error,
    );
  }

  #unreachable(known: string, contacted: boolean, cause?: unknown): LinkError {
    return new LinkError(
      'unreachable',
      {
        code: 'DR-POOL-UNREACHABLE',
        what: 'The host does not answer',
        where: { site: this.#options.site, object: this.endpoint.url },
        known: [known],
        next: 'Check address and port in sites.yaml, the network between, and whether the host runs',
      },
      { sent: false, contacted, cause },
    );
  }

  #timeout(options: ExchangeRequest, sent: boolean): LinkError {
    return new LinkError(
      'unreachable',
      {
        code: 'DR-POOL-TIMEOUT',
        what: 'The host did not answer in time',
        where: { site: this.#options.site, object: this.endpoint.url },
        known: [`${options.method} ${options.path.split('?')[0]} ended after ${options.timeoutSeconds} s`],
        next: 'Look at the load of the coordinator and at the network between, then try again',
      },
      { sent, timedOut: true },
    );
  }

  #cancelled(sent: boolean): LinkError {
    return new LinkError(
      'cancelled',
      {
        code: 'DR-CANCELLED',
        what: 'The request was cancelled',
        where: { site: this.#options.site, object: this.endpoint.url },
        known: sent ? ['it had been sent already'] : ['nothing was sent'],
        next: 'Look at the pool before it is repeated',
      },
      { sent },
    );
  }

  #explain(error: unknown, sent: boolean): LinkError {
    if (error instanceof LinkError) return error;
    return new LinkError(
      'unreachable',
      {
        code: 'DR-POOL-CONNECTION',
        what: 'The connection to the host broke',
        where: { site: this.#options.site, object: this.endpoint.url },
        known: [describe(error)],
        next: 'Look whether the host still runs, then try again',
      },
      { sent, cause: error },
    );
  }
}

export function fingerprintOf(socket: tls.TLSSocket): string {
  const { raw } = socket.getPeerCertificate();
  return raw === undefined ? 'no certificate' : createHash('sha256').update(raw).digest('hex');
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  const words: Record<string, string> = {
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'connection reset',
    ENOTFOUND: 'the name cannot be resolved',
    EAI_AGAIN: 'the name cannot be resolved now',
    EHOSTUNREACH: 'no route to the host',
    ENETUNREACH: 'no route to the network',
    ETIMEDOUT: 'no answer',
    EPIPE: 'connection closed by the host',
  };
  const text = code === undefined ? undefined : words[code];
  // OpenSSL: `0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../deps/...`
  const tlsReason = /SSL routines:[^:]*:([^:]+):/.exec(error.message)?.[1];
  if (tlsReason !== undefined) return tlsReason;
  return text ?? (error.message || code || error.name);
}

/** Reads an answer to its end, at most `maxBytes`; hands each piece to `take`. */
export async function readBody(
  site: string,
  exchange: Exchange,
  maxBytes: number,
  take: (chunk: Uint8Array) => void,
): Promise<number> {
  let total = 0;
  const chunks = (exchange.message as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await chunks.next().catch((error: unknown) => {
        throw exchange.explain(error);
      });
      if (next.done === true) break;
      total += next.value.length;
      if (total > maxBytes)
        throw protocolError(site, 'answer', 'An answer of the pool is larger than Lifeboat takes', [
          `more than ${maxBytes} bytes`,
        ]);
      take(next.value);
    }
  } catch (error) {
    exchange.destroy();
    throw error;
  }
  return total;
}

/** A whole body as one buffer; of the announced length at once, so that large answers are not held twice. */
export async function readWhole(site: string, exchange: Exchange, maxBytes: number): Promise<Buffer> {
  const announced = Number(exchange.headers['content-length'] ?? Number.NaN);
  if (!Number.isSafeInteger(announced) || announced > maxBytes) {
    const chunks: Uint8Array[] = [];
    await readBody(site, exchange, maxBytes, (chunk) => chunks.push(chunk));
    return Buffer.concat(chunks);
  }
  const whole = Buffer.allocUnsafe(announced);
  let at = 0;
  await readBody(site, exchange, announced, (chunk) => {
    whole.set(chunk, at);
    at += chunk.length;
  });
  return whole.subarray(0, at);
}

/** An error page as one line of text, without markup. */
export async function readErrorPage(exchange: Exchange): Promise<string> {
  let text = '';
  try {
    for await (const chunk of exchange.message as AsyncIterable<Buffer>) {
      text += chunk.toString('utf8');
      if (text.length > 8192) break;
    }
  } catch (error) {
    text += ` (${describe(error)})`;
  } finally {
    exchange.destroy();
  }
  return text
    .replace(/<[^>]*>/g, ' ')
    .replace(/&quot;/g, '"')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 400);
}

/** Writes a body of known length; resolves when the last byte is with the kernel. */
export function sendBody(exchange: Exchange, content: AsyncIterable<Uint8Array>): Promise<void> {
  return new Promise((resolve, reject) => {
    pipeline(Readable.from(content, { objectMode: false }), exchange.request, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** A fingerprint as openssl prints it, so that it can be compared and copied. */
function asPrinted(fingerprint: string): string {
  return (fingerprint.toUpperCase().match(/../g) ?? []).join(':');
}
