/**
 * Calls to the API of a TrueNAS: JSON-RPC 2.0 over one WebSocket that is opened when it is needed, logged in, and opened
 * again when it has gone. The WebSocket of Node cannot check a pinned certificate before it sends; ws takes a socket
 * whose certificate has been checked (storage.md C.9).
 */
import WebSocket from 'ws';
import type { PortError } from '../../../domain/errors.ts';
import { notUnderstood, outcomeUnknown, stopped, unreachable, wrongPassword } from '../rest/errors.ts';
import { type RestEndpoint, trustedSocket, within } from '../rest/tls.ts';
import { failureOf, type RpcError, saysNotLoggedIn } from './words.ts';

const readSeconds = 15;
const verbSeconds = 60;
const handshakeSeconds = 10;
const staleSeconds = 10;
const largestAnswerBytes = 64 * 1024 * 1024;

export interface ApiKey {
  readonly username: string;
  secret(): Promise<string>;
}

export interface CallOptions {
  /** `read`: without answer nothing has happened. */
  readonly effect?: 'read' | 'write';
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly resolve: (answer: Answer) => void;
  /** The connection has gone, or the deadline. */
  readonly lose: (cause: unknown) => void;
}

interface Answer {
  readonly result?: unknown;
  readonly error?: RpcError;
}

export class TrueNasApi {
  readonly endpoint: RestEndpoint;
  readonly #key: ApiKey;
  #line: Promise<Line> | null = null;

  constructor(endpoint: RestEndpoint, key: ApiKey) {
    this.endpoint = endpoint;
    this.#key = key;
  }

  /** The result. `PortError` by what the array says, or `unreachable`, `outcome-unknown`, `trust`, `auth`, `cancelled`. */
  async call(method: string, params: readonly unknown[], options: CallOptions = {}): Promise<unknown> {
    const line = await this.#lineFor(options);
    const { logins } = line;
    const first = await this.#send(line, method, params, options);
    if (first.error === undefined || !saysNotLoggedIn(first.error)) return this.#result(method, first);
    await line.renew(logins, () => this.#logIn(line));
    return this.#result(method, await this.#send(line, method, params, options));
  }

  /** A call that only asks. */
  read(method: string, params: readonly unknown[], signal?: AbortSignal): Promise<unknown> {
    return this.call(method, params, { effect: 'read', signal });
  }

  async close(): Promise<void> {
    await this.#hangUp();
  }

  #result(method: string, { result, error }: Answer): unknown {
    if (error !== undefined) throw failureOf(this.endpoint, method, error, this.#key.username);
    return result;
  }

  async #hangUp(): Promise<void> {
    const line = this.#line;
    this.#line = null;
    await line?.then(
      (open) => open.close(),
      () => undefined,
    );
  }

  async #lineFor({ signal, effect = 'write' }: CallOptions): Promise<Line> {
    this.#mustGoOn(signal);
    const line = await this.#open(effect);
    this.#mustGoOn(signal);
    return line;
  }

  #send(
    line: Line,
    method: string,
    params: readonly unknown[],
    { signal, effect = 'write' }: CallOptions,
  ): Promise<Answer> {
    const over = within(effect === 'read' ? readSeconds : verbSeconds, signal);
    return line.ask(method, params, over, (cause) => {
      if (effect === 'write') return outcomeUnknown(this.endpoint, method, cause);
      return signal?.aborted === true
        ? stopped(this.endpoint, signal.reason)
        : unreachable(this.endpoint, cause);
    });
  }

  #mustGoOn(signal: AbortSignal | undefined): void {
    if (signal?.aborted === true) throw stopped(this.endpoint, signal.reason);
  }

  /** The caller's signal does not reach here: the connection is everybody's. */
  async #open(effect: 'read' | 'write'): Promise<Line> {
    const open = await this.#line?.catch(() => null);
    // A verb never goes into a connection that may have died unseen: it would end as unknown.
    if (effect === 'write' && open?.isStale() === true) await this.#hangUp();
    const opening = this.#line ?? this.#dial();
    this.#line = opening;
    opening.then(
      (line) =>
        line.gone.then(() => {
          if (this.#line === opening) this.#line = null;
        }),
      () => {
        if (this.#line === opening) this.#line = null;
      },
    );
    return opening;
  }

  async #dial(): Promise<Line> {
    // A key that cannot be read is told before anybody is called.
    await this.#key.secret();
    const socket = await trustedSocket(this.endpoint);
    const web = new WebSocket(`${this.endpoint.url.replace(/^https/, 'wss')}/api/current`, {
      createConnection: () => socket,
      handshakeTimeout: handshakeSeconds * 1000,
      maxPayload: largestAnswerBytes,
      perMessageDeflate: false,
    });
    const line = new Line(this.endpoint, web);
    try {
      await opened(this.endpoint, web);
      await this.#logIn(line);
      return line;
    } catch (error) {
      line.close();
      throw error;
    }
  }

  async #logIn(line: Line): Promise<void> {
    const { username } = this.#key;
    const secret = await this.#key.secret();
    const { result, error } = await line.ask(
      'auth.login_ex',
      [{ mechanism: 'API_KEY_PLAIN', username, api_key: secret }],
      within(readSeconds, undefined),
      (cause) => unreachable(this.endpoint, cause),
    );
    if (error !== undefined) throw failureOf(this.endpoint, 'auth.login_ex', error, username);
    const kind = (result as { readonly response_type?: unknown } | null)?.response_type;
    if (kind === 'SUCCESS') return;
    if (kind === 'AUTH_ERR' || kind === 'EXPIRED' || kind === 'DENIED')
      throw wrongPassword(this.endpoint, username, `the API key is answered with ${kind}`);
    throw notUnderstood(this.endpoint, 'asks for more than an API key at the login', [String(kind)]);
  }
}

/** One connection with the calls that are under way on it. */
class Line {
  readonly gone: Promise<void>;
  readonly #endpoint: RestEndpoint;
  readonly #web: WebSocket;
  readonly #pending = new Map<number, Pending>();
  #last = 0;
  #heardAt = performance.now();
  #renewing: Promise<void> | null = null;
  /** How often the login of this connection was renewed. */
  logins = 0;

  constructor(endpoint: RestEndpoint, web: WebSocket) {
    this.#endpoint = endpoint;
    this.#web = web;
    this.gone = new Promise((resolve) => {
      web.once('close', () => {
        this.#loseAll(new Error('the connection was closed'));
        resolve();
      });
    });
    web.on('error', (error: Error) => this.#loseAll(error));
    web.on('message', (data: Buffer) => this.#take(data.toString('utf8')));
  }

  ask(
    method: string,
    params: readonly unknown[],
    over: AbortSignal,
    lost: (cause: unknown) => PortError,
  ): Promise<Answer> {
    if (this.#web.readyState !== WebSocket.OPEN)
      return Promise.reject(unreachable(this.#endpoint, new Error('the connection was closed')));
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#pending.delete(id);
        over.removeEventListener('abort', late);
      };
      const lose = (cause: unknown): void => {
        end();
        reject(lost(cause));
      };
      const late = (): void => lose(over.reason);
      const answered = (answer: Answer): void => {
        end();
        resolve(answer);
      };
      this.#pending.set(id, { resolve: answered, lose });
      over.addEventListener('abort', late, { once: true });
      this.#web.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  }

  /** Logs in again, once for all the calls that found out at the same time. */
  async renew(since: number, logIn: () => Promise<void>): Promise<void> {
    if (this.logins !== since) return;
    this.#renewing ??= logIn().finally(() => {
      this.logins += 1;
      this.#renewing = null;
    });
    await this.#renewing;
  }

  isStale(): boolean {
    return this.#pending.size === 0 && performance.now() - this.#heardAt > staleSeconds * 1000;
  }

  close(): void {
    this.#web.terminate();
  }

  #loseAll(cause: unknown): void {
    for (const { lose } of [...this.#pending.values()]) lose(cause);
  }

  #take(text: string): void {
    this.#heardAt = performance.now();
    const answer = parsed(text);
    // Notifications have no id, and nobody has asked for them.
    if (typeof answer?.id !== 'number') return;
    this.#pending.get(answer.id)?.resolve(answer);
  }
}

function parsed(text: string): (Answer & { readonly id?: unknown }) | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : null;
  } catch {
    return null;
  }
}

function opened(endpoint: RestEndpoint, web: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    web.once('open', resolve);
    web.once('error', (error: Error) => reject(unreachable(endpoint, error)));
    web.once('close', () => reject(unreachable(endpoint, new Error('the connection was closed'))));
  });
}
