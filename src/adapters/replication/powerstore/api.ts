/**
 * Requests to a PowerStore: one login session with its cookie and DELL-EMC-TOKEN, lists page by page, refusals in the
 * array's own words (storage.md C.5; codes as the vendor's Go client names them).
 */
import { z } from 'zod';
import type { PortError } from '../../../domain/errors.ts';
import {
  type Headers,
  type Login,
  type Method,
  type RestAnswer,
  RestClient,
  type RestRequest,
} from '../rest/client.ts';
import {
  busy,
  failureOfStatus,
  notUnderstood,
  refusedByArray,
  unreachable,
  wrongPassword,
} from '../rest/errors.ts';
import type { RestEndpoint } from '../rest/tls.ts';

const root = '/api/rest';
const pageSize = 1000;

const refusal = z.looseObject({
  messages: z.array(z.looseObject({ code: z.string().nullish(), message_l10n: z.string().nullish() })),
});

/** Codes that say that it is so already, or that it is gone. */
const meanings: Readonly<Record<string, 'exists' | 'not-found'>> = {
  '0xE0A080010014': 'exists',
  '0xE0A060010012': 'exists',
  '0xE0A08001000E': 'not-found',
  '0xE04040020009': 'not-found',
  '0xE04040020002': 'not-found',
  '0xE0A01001001E': 'not-found',
  '0xE0A010010020': 'not-found',
  '0xE0A08001000F': 'not-found',
};

export class PowerStoreApi {
  readonly endpoint: RestEndpoint;
  readonly #client: RestClient;
  readonly #user: string;

  constructor(endpoint: RestEndpoint, username: string, password: () => Promise<string>) {
    this.endpoint = endpoint;
    this.#user = `user ${username}`;
    this.#client = new RestClient(endpoint, sessionLogin(endpoint, username, password));
  }

  /** Everything that is listed, in pages of a thousand. */
  async list<T>(
    resource: string,
    item: z.ZodType<T>,
    fields: readonly string[],
    filter: Readonly<Record<string, string>> = {},
    signal?: AbortSignal,
  ): Promise<readonly T[]> {
    const found: unknown[] = [];
    for (;;) {
      const query = new URLSearchParams({
        ...filter,
        select: fields.join(','),
        order: 'id',
        limit: String(pageSize),
        offset: String(found.length),
      });
      const { body, headers } = await this.#ask('GET', `/${resource}?${query}`, undefined, signal);
      const page = understood(this.endpoint, resource, z.array(z.unknown()), body);
      found.push(...page);
      const total = Number(/\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] ?? found.length);
      if (page.length === 0 || found.length >= total) break;
    }
    return understood(this.endpoint, resource, z.array(item), found);
  }

  async tell(
    method: Exclude<Method, 'GET'>,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    return (await this.#ask(method, path, body, signal)).body;
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #ask(method: Method, path: string, body: unknown, signal?: AbortSignal): Promise<RestAnswer> {
    const request: RestRequest = {
      method,
      path: `${root}${path}`,
      ...(body === undefined ? {} : { body }),
      signal,
    };
    const answer = await this.#client.send(request);
    if (answer.status >= 400) throw this.#failure(`${method} ${path.split('?')[0]}`, answer);
    return answer;
  }

  #failure(request: string, { status, body }: RestAnswer): PortError {
    const read = refusal.safeParse(body);
    const messages = read.success ? read.data.messages : [];
    const words = this.#client.redact(
      messages.map(({ code, message_l10n }) => [code, message_l10n].filter(Boolean).join(': ')).join('; '),
    );
    const meaning = messages.map(({ code }) => meanings[code ?? '']).find((one) => one !== undefined);
    if (meaning !== undefined) return refusedByArray(this.endpoint, words, meaning);
    if (status === 422 && /busy|in progress|try again/i.test(words))
      return busy(this.endpoint, words, messages[0]?.code ?? '422');
    return failureOfStatus(this.endpoint, request, status, words, this.#user);
  }
}

export function understood<T>(
  endpoint: RestEndpoint,
  resource: string,
  schema: z.ZodType<T>,
  body: unknown,
): T {
  const read = schema.safeParse(body);
  if (read.success) return read.data;
  const known = read.error.issues.slice(0, 3).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw notUnderstood(endpoint, `answers ${resource} in an unknown form`, known);
}

function sessionLogin(endpoint: RestEndpoint, username: string, password: () => Promise<string>): Login {
  let session: Promise<Headers> | null = null;
  let secrets: readonly string[] = [];
  const logIn = async (send: (request: RestRequest) => Promise<RestAnswer>): Promise<Headers> => {
    const secret = await password();
    const basic = Buffer.from(`${username}:${secret}`).toString('base64');
    secrets = [secret, basic];
    const answer = await send({
      method: 'GET',
      path: `${root}/login_session`,
      headers: { authorization: `Basic ${basic}` },
    });
    if (answer.status === 401 || answer.status === 403) throw wrongPassword(endpoint, `user ${username}`, '');
    if (answer.status >= 500) throw unreachable(endpoint, new Error(`the login answers ${answer.status}`));
    const token = answer.headers['dell-emc-token'];
    const cookie = (answer.headers['set-cookie'] ?? []).map((one) => one.split(';')[0]).join('; ');
    if (typeof token !== 'string' || cookie === '')
      throw notUnderstood(endpoint, 'gives no session at the login');
    secrets = [secret, basic, token, cookie];
    return { cookie, 'dell-emc-token': token };
  };
  return {
    headers: async (send) => {
      session ??= logIn(send);
      try {
        return await session;
      } catch (error) {
        session = null;
        throw error;
      }
    },
    // A session that is over answers 401, and 403 where only its token is: a missing right answers 403 twice.
    hasExpired: ({ status }) => {
      if (status !== 401 && status !== 403) return false;
      session = null;
      return true;
    },
    logout: async (send) => {
      if (session !== null)
        await send({ method: 'POST', path: `${root}/logout`, headers: await session, body: {}, seconds: 5 });
    },
    secrets: () => secrets,
  };
}
