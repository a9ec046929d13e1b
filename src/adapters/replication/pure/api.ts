/**
 * Requests to a FlashArray, REST 2.x: a session token for the API token, lists page by page, refusals in Purity's own
 * words (storage.md C.4).
 */
import { z } from 'zod';
import type { PortError } from '../../../domain/errors.ts';
import { type Login, type Method, type RestAnswer, RestClient, type RestRequest } from '../rest/client.ts';
import {
  busy,
  failureOfStatus,
  notUnderstood,
  refusedByArray,
  unreachable,
  wrongPassword,
} from '../rest/errors.ts';
import type { RestEndpoint } from '../rest/tls.ts';

const pageSize = 1000;
const user = 'the API token';

const refusal = z.looseObject({
  errors: z.array(z.looseObject({ context: z.string().nullish(), message: z.string() })),
});
const page = z.looseObject({
  items: z.array(z.unknown()).default([]),
  more_items_remaining: z.boolean().nullish(),
  continuation_token: z.string().nullish(),
});

export type Query = Readonly<Record<string, string | number | boolean>>;

export class PureApi {
  readonly endpoint: RestEndpoint;
  readonly #client: RestClient;
  readonly #root: string;

  constructor(endpoint: RestEndpoint, version: string, token: () => Promise<string>) {
    this.endpoint = endpoint;
    this.#root = `/api/${version}`;
    this.#client = new RestClient(endpoint, tokenLogin(endpoint, this.#root, token));
  }

  /** Everything that is listed, in pages of a thousand. */
  async list<T>(
    path: string,
    item: z.ZodType<T>,
    query: Query = {},
    signal?: AbortSignal,
  ): Promise<readonly T[]> {
    const found: unknown[] = [];
    for (let token: string | null = null; ; ) {
      const next: Query = token === null ? {} : { continuation_token: token };
      const body = await this.#ask('GET', path, { ...query, limit: pageSize, ...next }, undefined, signal);
      const read = understood(this.endpoint, path, page, body);
      found.push(...read.items);
      token = read.continuation_token ?? null;
      if (read.more_items_remaining !== true || token === null) break;
    }
    return understood(this.endpoint, path, z.array(item), found);
  }

  async tell(method: Exclude<Method, 'GET'>, path: string, query: Query, body?: unknown): Promise<unknown> {
    return this.#ask(method, path, query, body);
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #ask(
    method: Method,
    path: string,
    query: Query,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const words = Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]);
    const request: RestRequest = {
      method,
      path: `${this.#root}${path}?${new URLSearchParams(words)}`,
      ...(body === undefined ? {} : { body }),
      signal,
    };
    const answer = await this.#client.send(request);
    if (answer.status >= 400) throw failureOf(this.endpoint, `${method} ${path}`, answer);
    return answer.body ?? {};
  }
}

function failureOf(endpoint: RestEndpoint, request: string, { status, body }: RestAnswer): PortError {
  const read = refusal.safeParse(body);
  const words = read.success
    ? read.data.errors.map(({ context, message }) => [context, message].filter(Boolean).join(': ')).join('; ')
    : '';
  if (status === 400 && /does not exist/i.test(words)) return refusedByArray(endpoint, words, 'not-found');
  if (status === 400 && /already exists/i.test(words)) return refusedByArray(endpoint, words, 'exists');
  if (status === 400 && /busy|in progress|try again/i.test(words)) return busy(endpoint, words, '400');
  return failureOfStatus(endpoint, request, status, words, user);
}

function tokenLogin(endpoint: RestEndpoint, root: string, secret: () => Promise<string>): Login {
  let session: Promise<string> | null = null;
  let secrets: readonly string[] = [];
  const logIn = async (send: (request: RestRequest) => Promise<RestAnswer>): Promise<string> => {
    const token = await secret();
    secrets = [token];
    const answer = await send({
      method: 'POST',
      path: `${root}/login`,
      headers: { 'api-token': token },
      readOnly: true,
    });
    const given = answer.headers['x-auth-token'];
    if (answer.status === 400 || answer.status === 401) throw wrongPassword(endpoint, user, '');
    if (answer.status >= 500) throw unreachable(endpoint, new Error(`the login answers ${answer.status}`));
    if (typeof given !== 'string') throw notUnderstood(endpoint, 'gives no session at the login');
    secrets = [token, given];
    return given;
  };
  return {
    headers: async (send) => {
      session ??= logIn(send);
      try {
        return { 'x-auth-token': await session };
      } catch (error) {
        session = null;
        throw error;
      }
    },
    hasExpired: ({ status }) => {
      if (status !== 401) return false;
      session = null;
      return true;
    },
    secrets: () => secrets,
  };
}

export function understood<T>(endpoint: RestEndpoint, path: string, schema: z.ZodType<T>, body: unknown): T {
  const read = schema.safeParse(body);
  if (read.success) return read.data;
  const known = read.error.issues.slice(0, 3).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw notUnderstood(endpoint, `answers ${path} in an unknown form`, known);
}
