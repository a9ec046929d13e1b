/** A tiny host on a TLS socket that says exactly what a test tells it to: answers, pauses, cuts, redirects. */
import { createHash, randomUUID, X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type HypervisorOptions, openHypervisor } from '../../src/adapters/xenapi/hypervisor.ts';
import { selfSigned } from '../../src/lab/server/certificate.ts';
import { formatXmlValue, type XmlValue, XmlValueReader } from '../../src/metadata/xmlvalue.ts';
import type { Clock } from '../../src/ports/system.ts';

export const poolUuid = 'aaaaaaaa-0000-4000-8000-000000000001';

/** What a call does: answers a value, fails with `Refused`, or handles the connection itself with `'handled'`. */
export type Behaviour = (
  params: readonly unknown[],
  exchange: { request: IncomingMessage; response: ServerResponse; socket: TLSSocket },
) => unknown;

export class Refused extends Error {
  readonly failure: readonly string[];
  constructor(...failure: readonly string[]) {
    super(failure.join(' '));
    this.failure = failure;
  }
}

export const handled = Symbol('handled');

export class ScriptedHost {
  readonly certificate = selfSigned('scripted', ['127.0.0.1', 'scripted.example'], randomUUID());
  readonly fingerprint = createHash('sha256')
    .update(new X509Certificate(this.certificate.cert).raw)
    .digest('hex');
  /** `Class.method` or `GET /path`. */
  readonly behaviours = new Map<string, Behaviour>();
  /** Methods and paths in the order in which they came. */
  readonly asked: string[] = [];
  /** Bytes of request line and headers of every request. */
  readonly headerBytes: number[] = [];
  readonly sessions = new Set<string>();
  /** How it answers `/jsonrpc`: as JSON, or as hosts of before JSON-RPC do. */
  speaks: 'json' | 'xml only' = 'json';
  logins = 0;
  tasks = 0;
  readonly #server: https.Server;
  readonly #sockets = new Set<TLSSocket>();

  constructor() {
    this.#server = https.createServer({ key: this.certificate.key, cert: this.certificate.cert });
    this.#server.on('secureConnection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
    this.#server.on('request', (request, response) => {
      // A client that hangs up in the middle is what some tests are about.
      this.#serve(request, response).catch(() => request.socket.destroy());
    });
    const defaults: Record<string, Behaviour> = {
      'session.login_with_password': ([user, password]) => {
        if (password !== 'correct') throw new Refused('SESSION_AUTHENTICATION_FAILED', String(user), 'no');
        this.logins += 1;
        const session = `OpaqueRef:session-${this.port}-${this.logins}`;
        this.sessions.add(session);
        return session;
      },
      'session.logout': ([session]) => {
        this.sessions.delete(String(session));
        return '';
      },
      'pool.get_all': ([session]) => {
        if (session === undefined)
          throw new Refused('MESSAGE_PARAMETER_COUNT_MISMATCH', 'pool.get_all', '0', '-1');
        return ['OpaqueRef:pool'];
      },
      'pool.get_uuid': () => poolUuid,
      'pool.get_master': () => 'OpaqueRef:host',
      'host.get_servertime': () => '20260102T03:04:05Z',
      'VM.get_by_uuid': () => 'OpaqueRef:vm',
      'VDI.get_by_uuid': () => 'OpaqueRef:vdi',
      'task.create': () => {
        this.tasks += 1;
        return `OpaqueRef:task-${this.tasks}`;
      },
      'task.set_status': () => '',
      'task.destroy': () => '',
      'task.cancel': () => '',
    };
    for (const [name, behaviour] of Object.entries(defaults)) this.behaviours.set(name, behaviour);
  }

  on(name: string, behaviour: Behaviour): this {
    this.behaviours.set(name, behaviour);
    return this;
  }

  /** A task that is final when it is asked for, and shows up in the next batch of events. */
  taskEnds(reference: string, end: { status: string; result?: string; error_info?: string[] }): this {
    const record = {
      uuid: '',
      status: end.status,
      result: end.result ?? '',
      error_info: end.error_info ?? [],
      progress: 1,
    };
    const event = {
      id: 1,
      timestamp: '0.0',
      class: 'task',
      operation: 'mod',
      ref: reference,
      snapshot: record,
    };
    this.on('event.from', () => ({ events: [event], valid_ref_counts: { task: 1 }, token: 'next' }));
    return this.on('task.get_record', () => record);
  }

  async listen(address = '127.0.0.1'): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, address, resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(address = '127.0.0.1'): string {
    return `https://${address}:${this.port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pairs: string[] = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      pairs.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\r\n`);
    this.headerBytes.push(
      `${request.method} ${request.url} HTTP/${request.httpVersion}\r\n${pairs.join('')}\r\n`.length,
    );
    const exchange = { request, response, socket: request.socket as TLSSocket };
    const path = (request.url ?? '').split('?')[0] ?? '';
    if (request.method !== 'POST') {
      const name = `${request.method} ${path}`;
      this.asked.push(name);
      const behaviour = this.behaviours.get(name);
      if (behaviour === undefined) response.writeHead(404).end();
      else await behaviour([new URLSearchParams((request.url ?? '').split('?')[1])], exchange);
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('utf8');
    const json = path === '/jsonrpc';
    if (json && this.speaks === 'xml only') {
      response.writeHead(500, { 'Content-Type': 'text/html' }).end('<html><body>no such thing</body></html>');
      return;
    }
    const call = json
      ? (JSON.parse(text) as { method: string; params: unknown[]; id: number })
      : readXmlCall(text);
    this.asked.push(call.method);
    const behaviour = this.behaviours.get(call.method);
    let answer: unknown;
    let failure: readonly string[] | null = null;
    try {
      const [session] = call.params;
      if (
        call.method !== 'session.login_with_password' &&
        session !== undefined &&
        !this.sessions.has(String(session))
      )
        throw new Refused('SESSION_INVALID', String(session));
      if (behaviour === undefined) throw new Refused('MESSAGE_METHOD_UNKNOWN', call.method);
      answer = await behaviour(call.params, exchange);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      failure = error.failure;
    }
    if (answer === handled || response.destroyed) return;
    if (json) {
      const [message, ...data] = failure ?? [];
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(
        JSON.stringify(
          failure === null
            ? { jsonrpc: '2.0', result: answer, id: call.id }
            : { jsonrpc: '2.0', error: { code: 1, message, data }, id: call.id },
        ),
      );
      return;
    }
    const envelope =
      failure === null
        ? { Status: 'Success', Value: (typeof answer === 'number' ? String(answer) : answer) as XmlValue }
        : { Status: 'Failure', ErrorDescription: [...failure] };
    response.writeHead(200, { 'Content-Type': 'text/xml' });
    response.end(
      `<?xml version="1.0"?><methodResponse><params><param>${formatXmlValue(envelope)}</param></params></methodResponse>`,
    );
  }
}

function readXmlCall(text: string): { method: string; params: unknown[]; id: number } {
  const reader = new XmlValueReader();
  reader.write(text);
  const params = reader.end();
  return { method: reader.methodName ?? '', params, id: 0 };
}

/** A clock on which a second lasts a millisecond, so that patience costs nothing. */
export const hastyClock: Clock = {
  now: () => new Date().toISOString(),
  monotonicSeconds: () => performance.now() / 1000,
  sleep: (seconds, signal) =>
    new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', stop);
        resolve();
      }, seconds);
      if (signal?.aborted) stop();
      else signal?.addEventListener('abort', stop, { once: true });
    }),
};

/** Pauses are hasty, limits are not: a lab does real work, and a busy machine must not turn that into a late task. */
export const patientClock: Clock = {
  ...hastyClock,
  sleep: (seconds, signal) => hastyClock.sleep(seconds < 10 ? seconds : seconds * 1000, signal),
};

/** The client against scripted hosts, pinned to their certificates unless told otherwise. */
export function clientOf(
  hosts: readonly { readonly url: string; readonly fingerprint: string | null }[],
  more: { pool?: Partial<HypervisorOptions['pool']>; password?: string; log?: HypervisorOptions['log'] } = {},
): ReturnType<typeof openHypervisor> {
  return openHypervisor({
    site: 'tokyo',
    clock: hastyClock,
    ...(more.log === undefined ? {} : { log: more.log }),
    password: async () => more.password ?? 'correct',
    pool: {
      hosts,
      username: 'root',
      password: { from: 'env', name: 'UNUSED' },
      poolUuid: null,
      caFile: null,
      transport: 'auto',
      maxRequests: 4,
      ...more.pool,
    },
  });
}

export function pinned(host: ScriptedHost): { url: string; fingerprint: string } {
  return { url: host.url(), fingerprint: host.fingerprint };
}
