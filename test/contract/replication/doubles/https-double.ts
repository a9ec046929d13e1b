/** What the doubles of REST arrays share: JSON over TLS on loopback, counted, whose power can go and whose answers can be lost. */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { type Certificate, selfSigned } from '../../../../src/lab/server/certificate.ts';

export interface DoubleRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The JSON that was sent; null when nothing was. */
  readonly body: unknown;
}

export interface DoubleAnswer {
  readonly status: number;
  /** Sent as JSON; nothing when undefined. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is instead of `body`. */
  readonly text?: string;
}

/** Returned by `answer`: the effect is there, and the connection breaks without a word of it. */
export const lost = Symbol('the answer is lost');

export interface HttpsDouble {
  readonly url: string;
  readonly certificate: Certificate;
  /** `METHOD /path`, in order of arrival. */
  readonly requests: string[];
  powerOff(): Promise<void>;
  powerOn(): Promise<void>;
  stop(): Promise<void>;
}

export async function startHttpsDouble(
  answer: (request: DoubleRequest) => DoubleAnswer | typeof lost | Promise<DoubleAnswer | typeof lost>,
  names: readonly string[] = ['127.0.0.1', 'localhost'],
): Promise<HttpsDouble> {
  const certificate = selfSigned('array', names, `double ${names.join(' ')}`);
  const requests: string[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer({ key: certificate.key, cert: certificate.cert }, (request, response) => {
    void (async () => {
      const url = new URL(request.url ?? '/', 'https://array');
      requests.push(`${request.method} ${url.pathname}`);
      const sent = await textOf(request);
      const answered = await answer({
        method: request.method ?? '',
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: sent === '' ? null : JSON.parse(sent),
      });
      if (answered === lost) {
        request.socket.destroy();
        return;
      }
      const { status, body, headers = {}, text } = answered;
      const content = text ?? (body === undefined ? '' : JSON.stringify(body));
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(content);
    })().catch((error: unknown) => {
      // A defect of the double must fail the test in words, not hang it.
      response.writeHead(500).end(JSON.stringify({ error: { code: 'double', message: String(error) } }));
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  const powerOff = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    url: `https://127.0.0.1:${port}`,
    certificate,
    requests,
    powerOff,
    powerOn: () => listen(server, port),
    stop: async () => {
      if (server.listening) await powerOff();
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  // A server that listens already refuses, and would keep what waits for its next error.
  if (server.listening) return Promise.resolve();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}
