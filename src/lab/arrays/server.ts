/** The control API of an array: JSON over HTTPS with a certificate, a user and a password of its own. */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { z } from 'zod';
import { type Certificate, selfSigned } from '../server/certificate.ts';
import { ArrayRefusal, type LabArray } from './array.ts';
import { pointView, volumeView } from './view.ts';

export interface ArrayLogin {
  readonly username: string;
  readonly password: string;
}

const bodies = {
  syncNow: z.strictObject({ tag: z.string().min(1) }),
  promote: z.strictObject({
    mode: z.enum(['planned', 'unplanned']),
    point: z.string().min(1),
    confirm: z.string(),
  }),
  expose: z.strictObject({ addresses: z.array(z.string()) }),
  fence: z.strictObject({}),
};

const statusOf: Readonly<Record<ArrayRefusal['code'], number>> = {
  'not-found': 404,
  busy: 409,
  'wrong-state': 409,
  refused: 422,
  'link-down': 503,
};

const largestBody = 64 * 1024;

export class ArrayServer {
  readonly array: LabArray;
  readonly login: ArrayLogin;
  readonly certificate: Certificate;
  #server: Server | null = null;
  #port: number;
  /** Requests as they came: method and path. */
  readonly log: string[] = [];
  /** Does the work of the next write and loses the answer. */
  loseNextAnswer = false;

  constructor(array: LabArray, login: ArrayLogin, port: number) {
    this.array = array;
    this.login = login;
    this.certificate = selfSigned(
      array.name,
      [array.address, 'localhost'],
      `array/${array.name}/${array.address}`,
    );
    this.#port = port;
  }

  get url(): string {
    return `https://${this.array.address}:${this.#port}`;
  }

  async listen(): Promise<void> {
    if (this.#server !== null) return;
    const { key, cert } = this.certificate;
    const server = createServer({ key, cert }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        send(response, 500, { code: 'internal', message });
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, this.array.address, () => {
        server.off('error', reject);
        resolve();
      });
    });
    const bound = server.address();
    if (bound !== null && typeof bound === 'object') this.#port = bound.port;
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? '/', 'https://array').pathname;
    this.log.push(`${request.method} ${path}`);
    if (!this.#mayEnter(request)) {
      send(response, 401, { code: 'auth', message: 'wrong user or password' });
      return;
    }
    try {
      const answer = await this.#answer(request, path);
      if (this.loseNextAnswer && request.method === 'POST') {
        this.loseNextAnswer = false;
        request.socket.destroy();
        return;
      }
      send(response, 200, answer);
    } catch (error) {
      if (error instanceof ArrayRefusal)
        send(response, statusOf[error.code], { code: error.code, message: error.message });
      else if (error instanceof z.ZodError)
        send(response, 400, { code: 'bad-request', message: error.message });
      else throw error;
    }
  }

  #mayEnter(request: IncomingMessage): boolean {
    const given = Buffer.from(request.headers.authorization ?? '');
    const { username, password } = this.login;
    const wanted = Buffer.from(`Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`);
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  async #answer(request: IncomingMessage, path: string): Promise<unknown> {
    const { array } = this;
    if (request.method === 'GET' && path === '/identity')
      return {
        vendor: 'Lifeboat',
        model: 'lab array',
        serial: array.serial,
        name: array.name,
        clock: new Date(array.clock.now()).toISOString(),
      };
    if (request.method === 'GET' && path === '/volumes')
      return { volumes: [...array.volumes.values()].map((volume) => volumeView(array, volume)) };
    const match = /^\/volumes\/([^/]+)(?:\/([a-zA-Z]+))?$/.exec(path);
    if (match === null) throw new ArrayRefusal('not-found', `no such path: ${path}`);
    const name = decodeURIComponent(match[1] ?? '');
    const verb = match[2];
    if (request.method === 'GET') {
      if (verb === undefined) return volumeView(array, array.volume(name));
      if (verb === 'points') return { points: array.points(name).map(pointView) };
      throw new ArrayRefusal('not-found', `no such path: ${path}`);
    }
    return this.#act(name, verb ?? '', await readBody(request));
  }

  async #act(name: string, verb: string, body: unknown): Promise<unknown> {
    const { array } = this;
    switch (verb) {
      case 'syncNow': {
        const { point } = array.sync(name, bodies.syncNow.parse(body).tag);
        return { point: pointView(point) };
      }
      case 'promote':
        return array.promote(name, bodies.promote.parse(body));
      case 'expose':
        return { kind: 'nfs', ...array.expose(name, bodies.expose.parse(body).addresses) };
      case 'fence':
        bodies.fence.parse(body);
        return array.fence(name);
      default:
        throw new ArrayRefusal('not-found', `no such verb: ${verb}`);
    }
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request) {
    bytes += (piece as Buffer).length;
    if (bytes > largestBody) throw new ArrayRefusal('refused', 'the request is too long');
    pieces.push(piece as Buffer);
  }
  return bytes === 0 ? {} : (JSON.parse(Buffer.concat(pieces).toString('utf8')) as unknown);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
}
