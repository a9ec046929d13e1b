/** The control API of an array: JSON over HTTPS with a certificate, a user and a password of its own. */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { z } from 'zod';
import { type Certificate, selfSigned } from '../server/certificate.ts';
import type { LabArray } from './array.ts';
import type { ArrayEffect } from './faults.ts';
import { callOf } from './verbs.ts';
import { ArrayDied, ArrayRefusal, refuse } from './volume.ts';

export interface ArrayLogin {
  readonly username: string;
  readonly password: string;
}

const statusOf: Readonly<Record<ArrayRefusal['code'], number>> = {
  'not-found': 404,
  busy: 409,
  'wrong-state': 409,
  refused: 422,
  'link-down': 503,
};

const largestBody = 64 * 1024;

/** In the place of an answer: the connection closes without one. */
const lost = Symbol('lost');

export class ArrayServer {
  readonly array: LabArray;
  readonly login: ArrayLogin;
  readonly certificate: Certificate;
  #server: Server | null = null;
  #port: number;
  /** Requests as they came: method and path. */
  readonly log: string[] = [];

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
      if (answer === lost) request.socket.destroy();
      else send(response, 200, answer);
    } catch (error) {
      if (error instanceof ArrayDied) request.socket.destroy();
      else if (error instanceof ArrayRefusal)
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
    const call = callOf(request.method, path);
    const body = request.method === 'GET' ? {} : await readBody(request);
    const effects = array.faults.meet(call.verb, call.volume);
    if (effects.some(({ kind }) => kind === 'drop')) return lost;
    await this.#before(effects);
    const answer = await call.run(array, body);
    await this.#delay(effects, 'after');
    return effects.some(({ kind }) => kind === 'lose-answer') ? lost : answer;
  }

  async #before(effects: readonly ArrayEffect[]): Promise<void> {
    await this.#delay(effects, 'before');
    for (const effect of effects) if (effect.kind === 'error') refuse(effect.code, effect.message);
  }

  async #delay(effects: readonly ArrayEffect[], when: 'before' | 'after'): Promise<void> {
    for (const effect of effects)
      if (effect.kind === 'delay' && effect.when === when) await this.array.clock.sleep(effect.seconds);
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request) {
    bytes += (piece as Buffer).length;
    if (bytes > largestBody) refuse('refused', 'the request is too long');
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
