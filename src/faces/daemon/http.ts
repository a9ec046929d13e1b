/**
 * The HTTP server of the daemon: a few pages that are read and never written. It is closed unless `daemon.listen` names an
 * address; it knows no users, so that whoever reaches the address may read. Secrets are on no page.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exitCodes, OperatorError } from '../../domain/errors.ts';

export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** By path. What a page throws is told to `onError`, and to the reader as 500 without a word more. */
export type Pages = Readonly<Record<string, () => Promise<Page>>>;

export interface Listen {
  readonly host: string;
  readonly port: number;
}

export interface OpenHttp {
  /** The port that was taken, where 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

const readers = 64;
const requestTimeoutMilliseconds = 10_000;

/** Throws `OperatorError` when the address cannot be had. */
export async function openHttp(
  { host, port }: Listen,
  pages: Pages,
  onError: (error: unknown, path: string) => void,
): Promise<OpenHttp> {
  const server = createServer(
    {
      requestTimeout: requestTimeoutMilliseconds,
      headersTimeout: requestTimeoutMilliseconds,
      keepAliveTimeout: requestTimeoutMilliseconds,
      maxHeaderSize: 8192,
    },
    (request, response) => {
      void answer(request, response, pages, onError);
    },
  );
  server.maxConnections = readers;
  await listening(server, { host, port });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A scraper keeps its connection open, and would hold up the end of the daemon.
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server, { host, port }: Listen): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(host, port, error)));
    server.listen({ host, port }, () => resolve());
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  pages: Pages,
  onError: (error: unknown, path: string) => void,
): Promise<void> {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  request.resume();
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  try {
    if (page === undefined)
      send(request, response, plain(404, `There is ${Object.keys(pages).join(', ')}.\n`));
    else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      send(request, response, plain(405, 'This page is read only.\n'));
    } else send(request, response, await page());
  } catch (error) {
    onError(error, path);
    send(request, response, plain(500, 'The daemon could not make this page; its log says why.\n'));
  }
}

function send(request: IncomingMessage, response: ServerResponse, { status, contentType, body }: Page): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export function plain(status: number, body: string): Page {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'ports below 1024 need a right that the daemon does not have',
  ENOTFOUND: 'the name has no address',
};

function cannotListen(host: string, port: number, error: NodeJS.ErrnoException): OperatorError {
  return new OperatorError(
    {
      code: 'DR-DAEMON-LISTEN',
      what: `Cannot listen on ${host}, port ${port}`,
      known: [reasons[error.code ?? ''] ?? error.message],
      next: 'Correct `listen` under `daemon` in sites.yaml, or remove it: then the pages are closed',
    },
    { exitCode: exitCodes.usage, cause: error },
  );
}
