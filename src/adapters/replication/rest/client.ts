/**
 * JSON over TLS to the control API of an array: certificate checked before a byte is sent, deadlines, one login per
 * session and one more when it has expired, answers of any status given to the caller, no secret in any error. What a
 * status or a vendor's code means is the adapter's business (`failureOfStatus` of errors.ts for the common part).
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { PortError } from '../../../domain/errors.ts';
import { notUnderstood, outcomeUnknown, stopped, unreachable } from './errors.ts';
import { type RestEndpoint, trustedSocket, within } from './tls.ts';

export type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
export type Headers = Readonly<Record<string, string>>;

export interface RestRequest {
  readonly method: Method;
  /** Path and query, beginning with `/`. */
  readonly path: string;
  /** Sent as JSON; nothing is sent when undefined. */
  readonly body?: unknown;
  readonly headers?: Headers;
  /** 15 for reads and 60 for the rest when absent. */
  readonly seconds?: number;
  /** A POST that only asks: without answer it ends `unreachable` instead of `outcome-unknown`. GET is always one. */
  readonly readOnly?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface RestAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The JSON; null for an empty body. */
  readonly body: unknown;
}

/** How requests are made ours. One instance per client; several requests may ask it at a time. */
export interface Login {
  /** Headers for the next request. Logs in through `send` (which adds nothing of its own) where there is no session. */
  headers(send: (request: RestRequest) => Promise<RestAnswer>, signal?: AbortSignal): Promise<Headers>;
  /** True when this answer only says that the session is over; it is then forgotten, and the request sent once more. */
  hasExpired?(answer: RestAnswer): boolean;
  /** Ends the session at the array, best effort. */
  logout?(send: (request: RestRequest) => Promise<RestAnswer>): Promise<void>;
  /** Values that must never be read in an error: password, tokens. */
  secrets(): readonly string[];
}

/** HTTP Basic with a password that is resolved at the first request. */
export function basicLogin(username: string, password: () => Promise<string>): Login {
  let known: Promise<string> | null = null;
  let secrets: readonly string[] = [];
  return {
    headers: async () => {
      known ??= password();
      const resolved = await known.catch((error: unknown) => {
        known = null;
        throw error;
      });
      const encoded = Buffer.from(`${username}:${resolved}`).toString('base64');
      secrets = [resolved, encoded];
      return { authorization: `Basic ${encoded}` };
    },
    secrets: () => secrets,
  };
}

const readSeconds = 15;
const verbSeconds = 60;
const largestAnswerBytes = 64 * 1024 * 1024;
/** Shorter than any server's own limit: a request is not sent into a connection that is just being closed. */
const idleConnectionSeconds = 3;

export class RestClient {
  readonly endpoint: RestEndpoint;
  readonly #login: Login;
  readonly #agent: TrustedAgent;
  /** Verbs go through a connection of their own: into one that died unseen they would end as unknown. */
  readonly #freshAgent: TrustedAgent;

  constructor(endpoint: RestEndpoint, login: Login) {
    this.endpoint = endpoint;
    this.#login = login;
    this.#agent = new TrustedAgent(endpoint, true);
    this.#freshAgent = new TrustedAgent(endpoint, false);
  }

  /**
   * The answer, whatever its status. `PortError` `unreachable` (nothing was done), `outcome-unknown` (sent, no
   * answer), `trust`, `cancelled`, `protocol` (not JSON), or what the login throws.
   */
  async send(request: RestRequest): Promise<RestAnswer> {
    const first = await this.#once(request);
    return this.#login.hasExpired?.(first) === true ? this.#once(request) : first;
  }

  /** Text without the secrets of the session. */
  redact(text: string): string {
    return this.#login
      .secrets()
      .reduce((left, secret) => (secret === '' ? left : left.replaceAll(secret, '***')), text);
  }

  async close(): Promise<void> {
    await this.#login.logout?.((request) => this.#exchange(request, {})).catch(() => undefined);
    this.#agent.destroy();
    this.#freshAgent.destroy();
  }

  async #once(request: RestRequest): Promise<RestAnswer> {
    const login = await this.#login.headers((bare) => this.#exchange(bare, {}), request.signal);
    return this.#exchange(request, login);
  }

  async #exchange(request: RestRequest, login: Headers): Promise<RestAnswer> {
    const reads = request.method === 'GET' || request.readOnly === true;
    if (request.signal?.aborted === true) throw stopped(this.endpoint, request.signal.reason);
    try {
      return await this.#wire(request, login, reads);
    } catch (error) {
      // The server may close an idle connection in the very moment in which we use it; a read does no harm twice.
      if (reads && error instanceof BrokenWire && error.reused) return this.#explained(request, login, reads);
      throw this.#inWords(request, reads, error);
    }
  }

  async #explained(request: RestRequest, login: Headers, reads: boolean): Promise<RestAnswer> {
    try {
      return await this.#wire(request, login, reads);
    } catch (error) {
      throw this.#inWords(request, reads, error);
    }
  }

  #inWords(request: RestRequest, reads: boolean, error: unknown): unknown {
    if (!(error instanceof BrokenWire)) return error;
    if (error.cause instanceof PortError) return error.cause;
    if (!error.sent) {
      const { signal } = request;
      return signal?.aborted === true
        ? stopped(this.endpoint, signal.reason)
        : unreachable(this.endpoint, error.cause);
    }
    if (reads)
      return request.signal?.aborted === true
        ? stopped(this.endpoint, request.signal.reason)
        : unreachable(this.endpoint, error.cause);
    return outcomeUnknown(this.endpoint, `${request.method} ${pathOf(request)}`, error.cause);
  }

  async #wire(request: RestRequest, login: Headers, reads: boolean): Promise<RestAnswer> {
    const over = within(request.seconds ?? (reads ? readSeconds : verbSeconds), request.signal);
    const agent = reads ? this.#agent : this.#freshAgent;
    const { status, headers, text } = await exchange(agent, this.endpoint.url, request, login, over);
    return { status, headers, body: this.#json(request, status, text) };
  }

  #json(request: RestRequest, status: number, text: string): unknown {
    if (text.trim() === '') return null;
    try {
      return JSON.parse(text);
    } catch {
      // Proxies and login pages answer errors in HTML: the status says enough there.
      if (status >= 400) return null;
      const beginning = this.redact(text.slice(0, 80).replaceAll(/\s+/g, ' '));
      throw notUnderstood(
        this.endpoint,
        `answers ${request.method} ${pathOf(request)} with something that is not JSON`,
        [`status ${status}, beginning with "${beginning}"`],
      );
    }
  }
}

/** An exchange that ended without an answer. */
class BrokenWire extends Error {
  readonly sent: boolean;
  /** On a connection that had served another request before. */
  readonly reused: boolean;
  constructor(sent: boolean, reused: boolean, cause: unknown) {
    super('no answer', { cause });
    this.sent = sent;
    this.reused = reused;
  }
}

function exchange(
  agent: Agent,
  url: string,
  { method, path, body, headers = {} }: RestRequest,
  login: Headers,
  over: AbortSignal,
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  const content = body === undefined ? null : Buffer.from(JSON.stringify(body));
  const described: Headers =
    content === null ? {} : { 'content-type': 'application/json', 'content-length': String(content.length) };
  return new Promise((resolve, reject) => {
    let sent = false;
    const broken = (error: unknown): void => reject(new BrokenWire(sent, sending.reusedSocket, error));
    const sending = httpsRequest(
      `${url}${path}`,
      {
        agent,
        method,
        headers: { accept: 'application/json', ...described, ...headers, ...login },
        signal: over,
      },
      (response) => {
        readText(response).then(
          (text) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
          broken,
        );
      },
    );
    // Node hands the request a socket only when its certificate has been checked; from then on it may have been seen.
    sending.once('socket', () => {
      sent = true;
    });
    sending.once('error', broken);
    sending.end(content ?? undefined);
  });
}

async function readText(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > largestAnswerBytes) throw new Error('the answer is too long');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Path without the query, which may carry names of no interest and no end. */
function pathOf({ path }: RestRequest): string {
  return path.split('?')[0] ?? path;
}

/** Connections whose certificate has been checked, kept for the next request for a moment. */
class TrustedAgent extends Agent {
  readonly #endpoint: RestEndpoint;

  constructor(endpoint: RestEndpoint, keepAlive: boolean) {
    super({ keepAlive, maxSockets: 4, timeout: idleConnectionSeconds * 1000 });
    this.#endpoint = endpoint;
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    trustedSocket(this.#endpoint).then(
      (socket) => callback?.(null, socket),
      (error: unknown) => callback?.(error as Error, undefined as unknown as Duplex),
    );
    return undefined;
  }
}
