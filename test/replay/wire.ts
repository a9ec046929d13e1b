/** A bare HTTP/1.1 client over TLS that sends exactly what it is told, for replaying recorded conversations. */
import { connect } from 'node:tls';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface HttpRequest {
  readonly url: URL;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
  readonly timeoutSeconds: number;
  readonly halfClose: boolean;
}

export function exchange(request: HttpRequest): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: request.url.hostname,
      port: Number(request.url.port),
      rejectUnauthorized: false,
      // As HTTPS clients do; without it the lab has to wait for what the client does below TLS.
      ALPNProtocols: ['http/1.1'],
    });
    socket.setNoDelay(true);
    const pieces: Buffer[] = [];
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
      const answer = parse(Buffer.concat(pieces));
      if (answer === null) reject(new Error('the connection closed without an answer'));
      else resolve(answer);
    };
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer within ${request.timeoutSeconds} s`));
    }, request.timeoutSeconds * 1000);
    let wanted = Number.POSITIVE_INFINITY;
    let received = 0;
    socket.on('data', (piece: Buffer) => {
      pieces.push(piece);
      received += piece.length;
      if (wanted === Number.POSITIVE_INFINITY) wanted = totalLength(Buffer.concat(pieces));
      if (received >= wanted) finish();
    });
    socket.on('end', finish);
    socket.on('error', (error) => {
      if (pieces.length > 0) finish();
      else {
        clearTimeout(timer);
        reject(error);
      }
    });
    socket.write(head(request));
    if (request.body !== null) socket.write(framed(request, request.body));
    if (request.halfClose) socket.end();
  });
}

const isChunked = (request: HttpRequest): boolean => request.headers['Transfer-Encoding'] === 'chunked';

function head(request: HttpRequest): string {
  const lines = [
    `${request.method} ${request.target} HTTP/1.1`,
    `Host: ${request.url.host}`,
    'Accept-Encoding: identity',
  ];
  if (request.body !== null && !isChunked(request)) lines.push(`Content-Length: ${request.body.length}`);
  for (const [name, value] of Object.entries(request.headers)) lines.push(`${name}: ${value}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function framed(request: HttpRequest, body: Buffer): Buffer {
  if (!isChunked(request)) return body;
  return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]);
}

/** Head and body together, as far as the head says; infinite until the head is there, or when it does not say. */
function totalLength(bytes: Buffer): number {
  const split = bytes.indexOf('\r\n\r\n');
  if (split < 0) return Number.POSITIVE_INFINITY;
  const length = /\r\ncontent-length: *(\d+)/i.exec(bytes.subarray(0, split).toString('latin1'))?.[1];
  return length === undefined ? Number.POSITIVE_INFINITY : split + 4 + Number(length);
}

/** What came until the end of the connection, or of the announced body. */
function parse(bytes: Buffer): HttpAnswer | null {
  const split = bytes.indexOf('\r\n\r\n');
  if (split < 0) return null;
  const [first = '', ...lines] = bytes.subarray(0, split).toString('latin1').split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const body = bytes.subarray(split + 4);
  const length = headers['content-length'];
  return {
    status: Number(first.split(' ')[1]),
    headers,
    body: length === undefined ? body : body.subarray(0, Number(length)),
  };
}
