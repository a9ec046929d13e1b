/** Requests to one LINSTOR controller: log in, ask, act, and what its answers mean when they are no success. */
import type { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Instant } from '../../../domain/time.ts';
import type { Secrets } from '../../../ports/system.ts';
import { basicLogin, type Login, type Method, type RestAnswer, RestClient } from '../rest/client.ts';
import { busy, failureOfStatus, notUnderstood } from '../rest/errors.ts';
import { restEndpointOf, restSecretOf } from '../rest/options.ts';
import { answers, type Results } from './answers.ts';
import { type LinstorOptions, linstorOptions } from './options.ts';

/**
 * A return code is a signed 64-bit mask: errors have the two highest bits set, so that they lie in [-2^62, 0), and
 * warnings below. JSON numbers keep these bits and lose the low ones, which name the code.
 */
const lowestError = -(2 ** 62);

/** What the controller says while something else is under way with the same resource. */
const passing =
  /currently being (restored|shipped)|is being (shipped|restored)|already being shipped|try again/i;
const alreadyThere = /already exists/i;

export class LinstorApi {
  readonly array: string;
  readonly options: LinstorOptions;
  readonly #client: RestClient;

  constructor(settings: ArraySettings, secrets: Secrets) {
    this.array = settings.name;
    this.options = linstorOptions(settings);
    const secret = restSecretOf(settings, secrets);
    const { username } = this.options;
    const login = username === undefined ? tokenLogin(secret) : basicLogin(username, secret);
    this.#client = new RestClient(restEndpointOf(settings, this.options), login);
  }

  get endpoint() {
    return this.#client.endpoint;
  }

  async get<T>(schema: z.ZodType<T>, path: string, signal: AbortSignal | undefined): Promise<T> {
    const found = await this.find(schema, path, signal);
    if (found === null) throw this.#failure('GET', path, 404, `${path}: not found`);
    return found;
  }

  /** Null when the controller says that it is not there. */
  async find<T>(schema: z.ZodType<T>, path: string, signal: AbortSignal | undefined): Promise<T | null> {
    const answer = await this.#client.send({ method: 'GET', path, signal });
    if (answer.status === 404) return null;
    if (answer.status >= 400) throw this.#failure('GET', path, answer.status, this.#words(answer));
    return this.#read(schema, answer.body, path);
  }

  /** Something that changes the cluster; the controller answers when it is done or, for a shipment, has begun. */
  async act(method: Method, path: string, body: unknown, signal: AbortSignal | undefined): Promise<void> {
    const answer = await this.#client.send({ method, path, body, signal });
    const failed = this.#results(answer).find(({ ret_code }) => ret_code < 0 && ret_code >= lowestError);
    if (answer.status < 400 && failed === undefined) return;
    throw this.#failure(method, path, answer.status < 400 ? 500 : answer.status, this.#words(answer));
  }

  /** The same, and quiet where it was made before. */
  async make(path: string, body: unknown, signal: AbortSignal | undefined): Promise<void> {
    await this.act('POST', path, body, signal).catch((error: unknown) => {
      if (!(error instanceof PortError && alreadyThere.test(error.peerParams[0] ?? ''))) throw error;
    });
  }

  /** Deletes, and is quiet where there is nothing. */
  async remove(path: string, signal: AbortSignal | undefined): Promise<void> {
    await this.act('DELETE', path, undefined, signal).catch((error: unknown) => {
      if (!(error instanceof PortError && error.peerCode === 'not-found')) throw error;
    });
  }

  /** Release and clock of the controller; its clock is read from the head of the answer, in whole seconds. */
  async version(
    signal: AbortSignal | undefined,
  ): Promise<{ readonly version: string; readonly clock: Instant }> {
    const path = '/v1/controller/version';
    const answer = await this.#client.send({ method: 'GET', path, signal });
    if (answer.status >= 400) throw this.#failure('GET', path, answer.status, this.#words(answer));
    const at = Date.parse(answer.headers.date ?? '');
    if (Number.isNaN(at)) throw notUnderstood(this.endpoint, 'does not say what time it has');
    const { version } = this.#read(answers.version, answer.body, path);
    return { version, clock: new Date(at).toISOString() };
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  #read<T>(schema: z.ZodType<T>, body: unknown, path: string): T {
    const result = schema.safeParse(body);
    if (result.success) return result.data;
    const known = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).slice(0, 3);
    throw notUnderstood(
      this.endpoint,
      `answers GET ${pathOf(path)} with something else than expected`,
      known,
    );
  }

  #results({ body }: RestAnswer): Results {
    const result = answers.results.safeParse(body);
    return result.success ? result.data : [];
  }

  #words(answer: RestAnswer): string {
    const said = this.#results(answer).flatMap(({ message, cause, correction }) => [
      message,
      cause,
      correction,
    ]);
    return this.#client.redact(said.filter((text) => text !== undefined && text !== '').join(' '));
  }

  #failure(method: Method, path: string, status: number, words: string): PortError {
    if (status >= 500 && passing.test(words)) return busy(this.endpoint, words, String(status));
    const user = this.options.username === undefined ? 'our token' : `user ${this.options.username}`;
    return failureOfStatus(this.endpoint, `${method} ${pathOf(path)}`, status, words, user);
  }
}

/** An API token of the controller, sent as it is. */
function tokenLogin(token: () => Promise<string>): Login {
  let known: string | null = null;
  return {
    headers: async () => {
      known ??= await token();
      return { authorization: `Bearer ${known}` };
    },
    secrets: () => (known === null ? [] : [known]),
  };
}

function pathOf(path: string): string {
  return path.split('?')[0] ?? path;
}

/** `/v1/resource-definitions/NAME` with what follows. */
export function definitionPath(volume: string, rest = ''): string {
  return `/v1/resource-definitions/${encodeURIComponent(volume)}${rest}`;
}
