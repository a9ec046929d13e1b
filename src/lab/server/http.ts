/**
 * The HTTP side of a host: TLS socket, header limit, RPC posts, and the frame around handlers, i.e. credentials, task
 * hand-over, status codes (xapi.md 1.1, 1.6, 3.1).
 */
import { createServer as createPlain, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { Row } from '../core/database.ts';
import { dispatch } from '../core/dispatch.ts';
import { failureOf, XenFailure } from '../core/failure.ts';
import type { CallEntry, LabHost } from '../core/pool.ts';
import type { HttpExchange, HttpRoute } from '../core/registry.ts';
import { authenticate, openSession, useSession } from '../core/sessions.ts';
import { AnswerLost } from '../core/wrap.ts';
import { Answer } from './answer.ts';
import { failureJson, parseJsonCall, successJson } from './jsonrpc.ts';
import { offersProtocols, TlsTap } from './tap.ts';
import { failureXml, parseCall, successXml, Unparsable } from './xmlrpc.ts';

const maxRpcBytes = 300 * 1024;

/** Looked at before a request is served; may answer it, delay it or cut it (src/lab/faults). */
export type Interceptor = (given: {
  readonly host: LabHost;
  readonly method: string;
  /** XenAPI method for posts, else `GET /path`. */
  readonly call: string;
  readonly socket: Socket;
}) => Promise<'go on' | 'cut' | 'cut after' | readonly string[]>;

/** Told of every request; the function that it returns is told how the request ended. */
export type Observer = (given: {
  readonly host: LabHost;
  readonly call: string;
}) => (outcome: string) => void;

export interface ServerHooks {
  log(entry: CallEntry): void;
  /** `ok`, an error code, `lost` (done, not answered) or `dropped` (not done). */
  observe: Observer;
  /** False: the connection is broken off before the TLS handshake. */
  accepts(host: LabHost, connection: string): boolean;
  /** Waited for before the first request of a connection. */
  first(connection: string): Promise<void>;
  intercept: Interceptor | null;
}

export interface HostServer {
  readonly server: Server;
  readonly sockets: Set<Socket>;
  dropConnections(): void;
  close(): Promise<void>;
}

/**
 * Makes the server of one host; the caller lets it listen. One port takes TLS and plain HTTP (port 80 of a host that is
 * not https only): the first byte of a TLS connection is 22.
 */
export function hostServer(host: LabHost, hooks: ServerHooks): HostServer {
  const options = {
    maxHeaderSize: 64 * 1024,
    keepAliveTimeout: 0,
    requestTimeout: 0,
    headersTimeout: 60_000,
  };
  const { tls: version } = host.pool.product;
  // xapi's stunnel is set to this one version.
  const tls = {
    key: host.certificate.key,
    cert: host.certificate.cert,
    minVersion: version,
    maxVersion: version,
    // OpenSSL calls what TLS 1.0 signs with too weak at any other level.
    ...(version === 'TLSv1' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
  };
  const secure = createSecure({ ...options, ...tls });
  const secureContext = createSecureContext(tls);
  const plain = createPlain(options);
  for (const http of [secure, plain]) {
    http.timeout = 0;
    http.on('tlsClientError', (_error, socket: Socket) => socket.destroy());
    http.on('clientError', (_error, socket) => {
      if (!socket.writable) return;
      socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    });
    http.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void serve(host, hooks, request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else page(new Answer(request, response, null), 500, failureOf(error).description.join(' '));
      });
    });
  }
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (!hooks.accepts(host, nameOf(host, socket))) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.once('readable', () => {
      const first: unknown = socket.read();
      if (!(first instanceof Buffer)) {
        socket.destroy();
        return;
      }
      socket.unshift(first);
      if (first[0] !== 22) plain.emit('connection', socket);
      else if (offersProtocols(first)) secure.emit('connection', socket);
      else {
        const tap = new TlsTap(socket);
        const above = new TLSSocket(tap, { isServer: true, secureContext });
        taps.set(above, tap);
        plain.emit('connection', above);
      }
    });
  });
  return {
    server,
    sockets,
    dropConnections: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** What lies under the TLS sockets of clients that may end TLS without saying so. */
const taps = new WeakMap<Socket, TlsTap>();

/** A connection, below and above TLS. */
function nameOf(host: LabHost, socket: Socket): string {
  return `${host.name} ${(taps.get(socket)?.raw ?? socket).remotePort}`;
}

/** Bytes of the header block as the client sent it. */
function headerBytes(request: IncomingMessage): number {
  let bytes = (request.method ?? '').length + (request.url ?? '').length + ` HTTP/1.1\r\n`.length + 3;
  const { rawHeaders } = request;
  for (let i = 0; i < rawHeaders.length; i += 2)
    bytes += Buffer.byteLength(rawHeaders[i] ?? '') + Buffer.byteLength(rawHeaders[i + 1] ?? '') + 4;
  return bytes;
}

async function serve(
  host: LabHost,
  hooks: ServerHooks,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const method = request.method ?? 'GET';
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  const answer = new Answer(request, response, taps.get(request.socket) ?? null);
  const limit = host.pool.product.headerLimitBytes;
  if (limit !== null && headerBytes(request) > limit)
    return page(answer, 431, 'Request Header Fields Too Large');
  const route = host.pool.registry.find(method, path);
  if (route !== undefined) return handle(host, hooks, route, query, request, answer);
  if (method === 'OPTIONS') {
    response.writeHead(200, {
      'Access-Control-Allow-Origin': '*',
      'Access-Control-Allow-Headers': 'X-Requested-With',
      'Content-Length': '0',
    });
    response.end();
    return;
  }
  if (method === 'POST')
    return path.startsWith('/jsonrpc') && host.pool.product.jsonRpc !== 'none'
      ? jsonPost(host, hooks, request, response, answer)
      : xmlPost(host, hooks, request, response, answer);
  if (method === 'GET' || method === 'PUT') return page(answer, 403, 'Forbidden');
  return page(answer, 501, 'Method not implemented');
}

const titles: Record<number, string> = {
  401: 'HTTP 401 unauthorised',
  403: 'HTTP 403 forbidden',
  431: 'HTTP 431 request header fields too large',
  500: 'HTTP 500 internal server error',
  501: 'HTTP 501 method not implemented',
};

const apology =
  'An unexpected error occurred; please wait a while and try again. If the problem persists, please contact your support representative.';

function escapeHtml(text: string): string {
  return text.replace(
    /[&<>"']/g,
    (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' })[c] ?? c,
  );
}

/** An error page, after which xapi closes the connection. */
function page(
  answer: Answer,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = `<html><body><h1>${titles[status] ?? `HTTP ${status}`}</h1>${
    status === 500 ? `${apology}<h1> Additional information </h1>${escapeHtml(text)}` : escapeHtml(text)
  }</body></html>`;
  const whole = {
    ...headers,
    'Content-Type': 'text/html',
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-cache, no-store',
    Connection: 'close',
  };
  answer.whole(status, whole, body);
}

async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > maxRpcBytes) return null;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function send(
  response: ServerResponse,
  type: string,
  pieces: readonly Buffer[],
  headers: Readonly<Record<string, string>>,
): void {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  response.writeHead(200, {
    'Content-Type': type,
    'Content-Length': String(length),
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Headers': 'X-Requested-With',
    ...headers,
  });
  response.cork();
  for (const piece of pieces) response.write(piece);
  response.uncork();
  response.end();
}

async function rpcBody(request: IncomingMessage, answer: Answer): Promise<Buffer | null> {
  if (request.headers['content-length'] === undefined) {
    page(answer, 500, 'Http.Http_parse_failure');
    return null;
  }
  const body = await readBody(request);
  if (body === null) {
    page(answer, 500, 'Http.Http_parse_failure');
    request.resume();
  }
  return body;
}

/** A member that refuses tells the master's certificate to who asks for it, so that it can be pinned (xapi.md 1.5). */
function masterThumbprint(
  host: LabHost,
  request: IncomingMessage,
  result: Answered | XenFailure,
): Record<string, string> {
  const wish = request.headers['x-xenapi-request-host-certificate-thumbprint'];
  if (wish === undefined || !(result instanceof XenFailure) || result.code !== 'HOST_IS_SLAVE') return {};
  const { sha256, sha1 } = host.pool.master.certificate;
  const shown = wish === 'sha-256:master' ? sha256 : wish === 'sha-1:master' ? sha1 : null;
  return shown === null ? {} : { 'x-xenapi-response-host-certificate-thumbprint': shown };
}

async function xmlPost(
  host: LabHost,
  hooks: ServerHooks,
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
): Promise<void> {
  const body = await rpcBody(request, answer);
  if (body === null) return;
  try {
    const call = parseCall(body.toString());
    const bare = call.method === 'system.listMethods';
    const result = await perform(host, hooks, response, answer.signal, body.length, call);
    if (result === null) return;
    send(
      response,
      'text/xml',
      result instanceof XenFailure ? failureXml(result) : successXml(result.answer, bare),
      masterThumbprint(host, request, result),
    );
  } catch (error) {
    if (!(error instanceof Unparsable)) throw error;
    page(answer, 500, error.message);
  }
}

async function jsonPost(
  host: LabHost,
  hooks: ServerHooks,
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
): Promise<void> {
  const body = await rpcBody(request, answer);
  if (body === null) return;
  try {
    const asked = parseJsonCall(body.toString());
    // Version 1.0 knows no member that names a version (xapi.md 1.4).
    const call = host.pool.product.jsonRpc === '1.0' ? { ...asked, version: '1.0' as const } : asked;
    const result = await perform(host, hooks, response, answer.signal, body.length, call);
    if (result === null) return;
    send(
      response,
      'application/json',
      result instanceof XenFailure ? failureJson(result, call) : successJson(result.answer, call),
      masterThumbprint(host, request, result),
    );
  } catch (error) {
    if (!(error instanceof Unparsable)) throw error;
    page(answer, 500, error.message);
  }
}

type Answered = { readonly answer: Awaited<ReturnType<typeof dispatch>> };

/** Runs one call with the faults that are switched on; null when there is nothing left to answer. */
async function perform(
  host: LabHost,
  hooks: ServerHooks,
  response: ServerResponse,
  signal: AbortSignal,
  bytesIn: number,
  call: { readonly method: string; readonly params: Parameters<typeof dispatch>[1]['params'] },
): Promise<Answered | XenFailure | null> {
  hooks.log({ at: host.pool.clock.now(), host: host.name, method: call.method, bytesIn });
  const ended = hooks.observe({ host, call: call.method });
  if (response.socket !== null) await hooks.first(nameOf(host, response.socket));
  const { socket } = response;
  const verdict =
    hooks.intercept === null || socket === null
      ? 'go on'
      : await hooks.intercept({ host, method: 'POST', call: call.method, socket });
  if (verdict === 'cut') {
    socket?.destroy();
    return null;
  }
  if (typeof verdict !== 'string') {
    const [code = 'INTERNAL_ERROR', ...params] = verdict;
    return new XenFailure(code, params);
  }
  let result: Answered | XenFailure;
  try {
    result = { answer: await dispatch(host, { ...call, signal }) };
  } catch (error) {
    if (error instanceof AnswerLost) {
      ended(error.done ? 'lost' : 'dropped');
      socket?.destroy();
      return null;
    }
    result = failureOf(error);
  }
  ended(result instanceof XenFailure ? result.code : 'ok');
  if (verdict === 'cut after') {
    socket?.destroy();
    return null;
  }
  return result;
}

function cookiesOf(request: IncomingMessage): Record<string, string> {
  const cookies: Record<string, string> = {};
  for (const part of (request.headers.cookie ?? '').split(/[;,&]/)) {
    const at = part.indexOf('=');
    if (at > 0) cookies[part.slice(0, at).trim()] = decodeURIComponent(part.slice(at + 1).trim());
  }
  return cookies;
}

/** The session of a request: cookie before query, then HTTP Basic (xapi.md 3.1). Null: 401. */
async function credentials(
  host: LabHost,
  request: IncomingMessage,
  ref: string | undefined,
): Promise<{ session: Row; temporary: boolean } | null> {
  const { pool } = host;
  try {
    if (ref !== undefined && ref !== '') return { session: useSession(pool, ref), temporary: false };
    const basic = /^Basic (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (basic === undefined) return null;
    const text = Buffer.from(basic, 'base64').toString();
    const colon = text.indexOf(':');
    await authenticate(pool, text.slice(0, colon), text.slice(colon + 1));
    return {
      session: openSession(pool, host, text.slice(0, colon), request.socket.remoteAddress ?? ''),
      temporary: true,
    };
  } catch (error) {
    if (error instanceof XenFailure) return null;
    throw error;
  }
}

async function handle(
  host: LabHost,
  hooks: ServerHooks,
  route: HttpRoute,
  query: URLSearchParams,
  request: IncomingMessage,
  answer: Answer,
): Promise<void> {
  const { pool } = host;
  const name = `${route.method} ${route.path}`;
  hooks.log({ at: pool.clock.now(), host: host.name, method: name, bytesIn: 0 });
  const ended = hooks.observe({ host, call: name });
  await hooks.first(nameOf(host, request.socket));
  const verdict =
    hooks.intercept === null
      ? 'go on'
      : await hooks.intercept({ host, method: route.method, call: name, socket: request.socket });
  if (verdict === 'cut') {
    request.socket.destroy();
    return;
  }
  const cookies = cookiesOf(request);
  const known = await credentials(
    host,
    request,
    cookies['session_id'] ?? query.get('session_id') ?? undefined,
  );
  if (known === null) {
    ended('401');
    return page(answer, 401, 'Unauthorised', { 'WWW-Authenticate': `Basic realm="${route.realm}"` });
  }
  const { session, temporary } = known;
  try {
    const taskRef = query.get('task_id') ?? cookies['task_id'];
    const given = taskRef === undefined ? undefined : pool.db.find('task', taskRef);
    if (taskRef !== undefined && given === undefined) {
      ended('HANDLE_INVALID');
      return page(answer, 500, `HANDLE_INVALID: [ task; ${taskRef} ]`);
    }
    const permit = (): void => {
      if (typeof verdict !== 'string') throw new XenFailure(verdict[0] ?? 'INTERNAL_ERROR', verdict.slice(1));
      route.permit?.(query, pool);
    };
    const task = given ?? pool.newTask(route.label ?? name, '', session, host);
    const parent = query.get('subtask_of');
    if (given === undefined && parent !== null && pool.db.find('task', parent) !== undefined)
      task.set({ subtask_of: parent });
    ended(await run(host, route, { query, cookies, session, task, permit }, request, answer));
    // performance.md 5.1: a task that the handler made for itself is gone with it.
    if (given === undefined) task.destroy();
    if (verdict === 'cut after') request.socket.destroy();
  } finally {
    if (temporary) session.destroy();
  }
}

async function run(
  host: LabHost,
  route: HttpRoute,
  given: {
    query: URLSearchParams;
    cookies: Record<string, string>;
    session: Row;
    task: Row;
    permit: () => void;
  },
  request: IncomingMessage,
  answer: Answer,
): Promise<string> {
  const { pool } = host;
  const { task } = given;
  const exchange: HttpExchange = {
    pool,
    host,
    method: route.method,
    path: route.path,
    query: given.query,
    headers: request.headers as Record<string, string>,
    cookies: given.cookies,
    session: given.session,
    task,
    body: request,
    signal: answer.signal,
    get started() {
      return answer.started;
    },
    start(status, headers = {}) {
      answer.start(status, {
        ...headers,
        'Task-id': task.ref,
        'Cache-Control': 'no-cache, no-store',
        Connection: 'close',
      });
    },
    write: (chunk) => answer.write(chunk),
    end: () => answer.end(),
    cut: () => answer.cut(),
  };
  try {
    given.permit();
    await pool.beforeCall?.(`${route.method} ${route.path}`, host);
    const result = await pool.registry.performHttp(exchange, route.handler);
    pool.finishTask(task, { result });
    if (!answer.started) exchange.start(200, { 'Content-Length': '0' });
    answer.end();
    return 'ok';
  } catch (error) {
    if (error instanceof AnswerLost) {
      if (error.done) pool.finishTask(task, { result: error.result ?? '' });
      request.socket.destroy();
      return error.done ? 'lost' : 'dropped';
    }
    const failure = failureOf(error);
    if (failure.code === 'TASK_CANCELLED') pool.finishTask(task, 'cancelled');
    else pool.finishTask(task, { error: failure.description });
    if (!answer.started)
      page(answer, 500, `${failure.code}: [ ${failure.params.join('; ')} ]`, { 'Task-id': task.ref });
    else if (!answer.ended) answer.cut();
    return failure.code;
  }
}
