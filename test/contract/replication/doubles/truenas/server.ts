/** The WebSocket of a TrueNAS over TLS on loopback: JSON-RPC 2.0, logins by API key, answers that can be lost. */
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type WebSocket from 'ws';
import { WebSocketServer } from 'ws';
import { type Certificate, selfSigned } from '../../../../../src/lab/server/certificate.ts';
import { CallError, type Filer } from './filer.ts';
import { emptyShares, methodsOf, type Shares } from './methods.ts';

export interface Fault {
  readonly matches: (method: string, params: readonly unknown[]) => boolean;
  /** `lose`: done, and the connection breaks. `die`: the connection breaks before anything is done. */
  readonly effect: 'lose' | 'die';
}

export interface TrueNasServer {
  readonly url: string;
  readonly certificate: Certificate;
  readonly shares: Shares;
  readonly login: { readonly username: string; readonly key: string };
  /** Methods that were called, in order. */
  readonly calls: string[];
  /** Each happens once. */
  readonly faults: Fault[];
  /** Answers of methods that are not those of the filer. */
  readonly overrides: Map<string, () => unknown>;
  expireSessions(): void;
  powerOff(): Promise<void>;
  powerOn(): Promise<void>;
  stop(): Promise<void>;
}

export async function startTrueNas(filer: Filer): Promise<TrueNasServer> {
  const certificate = selfSigned('array', ['127.0.0.1'], `truenas ${filer.name}`);
  const login = { username: 'lifeboat', key: `1-key-of-${filer.name}-not-to-be-told` };
  const shares = emptyShares();
  const methods = methodsOf(filer, shares);
  const calls: string[] = [];
  const faults: Fault[] = [];
  const overrides = new Map<string, () => unknown>();
  const sockets = new Set<Duplex>();
  let sessions = new WeakSet<WebSocket>();
  const webs = new WebSocketServer({ noServer: true });
  const server = createServer({ key: certificate.key, cert: certificate.cert });

  const take = (web: WebSocket, text: string): void => {
    const { id, method, params } = JSON.parse(text) as {
      readonly id: number;
      readonly method: string;
      readonly params: readonly unknown[];
    };
    calls.push(method);
    const at = faults.findIndex((fault) => fault.matches(method, params));
    const [fault] = at === -1 ? [] : faults.splice(at, 1);
    if (fault?.effect === 'die') {
      web.terminate();
      return;
    }
    const answer = answered(web, method, params);
    if (fault?.effect === 'lose') web.terminate();
    else web.send(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
  };

  const answered = (web: WebSocket, method: string, params: readonly unknown[]): object => {
    if (method === 'auth.login_ex') {
      const [given] = params as readonly { readonly username: string; readonly api_key: string }[];
      const right = given?.username === login.username && given.api_key === login.key;
      if (right) sessions.add(web);
      return { result: { response_type: right ? 'SUCCESS' : 'AUTH_ERR' } };
    }
    if (!sessions.has(web)) return callError('ENOTAUTHENTICATED', 'Not authenticated');
    const override = overrides.get(method);
    const found = methods[method];
    if (found === undefined && override === undefined)
      return { error: { code: -32601, message: 'Method does not exist' } };
    try {
      return { result: (override ?? (() => found?.(params as readonly never[])))() ?? null };
    } catch (error) {
      if (error instanceof CallError) return callError(error.errname, error.message);
      return callError('EFAULT', `the double is wrong: ${String(error)}`);
    }
  };

  server.on('upgrade', (request, socket, head) => {
    if (request.url !== '/api/current') {
      socket.destroy();
      return;
    }
    webs.handleUpgrade(request, socket, head, (web) => {
      web.on('message', (data: Buffer) => take(web, data.toString('utf8')));
      web.on('error', () => undefined);
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const powerOff = async (): Promise<void> => {
    filer.up = false;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    url: `https://127.0.0.1:${port}`,
    certificate,
    shares,
    login,
    calls,
    faults,
    overrides,
    expireSessions: () => {
      sessions = new WeakSet();
    },
    powerOff,
    powerOn: async () => {
      filer.up = true;
      await listen(port);
    },
    stop: async () => {
      if (server.listening) await powerOff();
      webs.close();
    },
  };
}

function callError(errname: string, reason: string): object {
  return { error: { code: -32001, message: 'Method call error', data: { error: 14, errname, reason } } };
}
