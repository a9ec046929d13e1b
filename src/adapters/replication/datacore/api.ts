/** Requests to one REST server of SANsymphony. */
import type { z } from 'zod';
import type { PortError } from '../../../domain/errors.ts';
import type { ArraySettings } from '../../../domain/settings.ts';
import type { Instant } from '../../../domain/time.ts';
import type { Secrets } from '../../../ports/system.ts';
import { type Method, type RestAnswer, RestClient } from '../rest/client.ts';
import { busy, failureOfStatus, notUnderstood } from '../rest/errors.ts';
import { restEndpointOf, restSecretOf } from '../rest/options.ts';
import { noVolume } from '../rest/refusals.ts';
import { answers, type VirtualDisk } from './answers.ts';
import { type DatacoreOptions, datacoreOptions } from './options.ts';
import { basePath, SessionLogin, wordsOf } from './session.ts';

const passing = /busy|in progress|try again/i;

export class DatacoreApi {
  readonly array: string;
  readonly options: DatacoreOptions;
  readonly #client: RestClient;

  constructor(settings: ArraySettings, secrets: Secrets) {
    this.array = settings.name;
    this.options = datacoreOptions(settings);
    const endpoint = restEndpointOf(settings, this.options);
    const { username, server_host: serverHost } = this.options;
    const login = new SessionLogin(endpoint, username, serverHost, restSecretOf(settings, secrets));
    this.#client = new RestClient(endpoint, login);
  }

  get endpoint() {
    return this.#client.endpoint;
  }

  async get<T>(schema: z.ZodType<T>, what: string, signal: AbortSignal | undefined): Promise<T> {
    const answer = await this.#send('GET', what, undefined, signal);
    const result = schema.safeParse(answer.body);
    if (result.success) return result.data;
    const known = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).slice(0, 3);
    throw notUnderstood(this.endpoint, `answers GET ${what} with something else than expected`, known);
  }

  async act(method: Method, what: string, body: unknown, signal: AbortSignal | undefined): Promise<void> {
    await this.#send(method, what, body, signal);
  }

  /** All of them: the server has no filter, and its answer is the same for half a minute. */
  disks(signal: AbortSignal | undefined): Promise<VirtualDisk[]> {
    return this.get(answers.disks, 'virtualdisks', signal);
  }

  async disk(volume: string, signal: AbortSignal | undefined): Promise<VirtualDisk> {
    const found = (await this.disks(signal)).find(({ Alias: alias }) => alias === volume);
    if (found === undefined) throw noVolume(this.array, volume);
    return found;
  }

  /** Identity of the server group, and the time of the REST server. */
  async group(signal: AbortSignal | undefined): Promise<{ readonly id: string; readonly clock: Instant }> {
    const answer = await this.#send('GET', 'serverGroups', undefined, signal);
    const groups = answers.groups.safeParse(answer.body);
    const at = Date.parse(answer.headers.date ?? '');
    if (!groups.success || Number.isNaN(at))
      throw notUnderstood(this.endpoint, 'does not say which server group it is, or what time it has');
    return { id: groups.data[0]?.Id ?? '', clock: new Date(at).toISOString() };
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #send(
    method: Method,
    what: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<RestAnswer> {
    const answer = await this.#client.send({ method, path: `${basePath}/${what}`, body, signal });
    if (answer.status >= 400) throw this.#failure(`${method} ${what.split('/')[0] ?? ''}`, answer);
    return answer;
  }

  #failure(request: string, answer: RestAnswer): PortError {
    const words = this.#client.redact(wordsOf(answer));
    if (passing.test(words)) return busy(this.endpoint, words, String(answer.status));
    return failureOfStatus(this.endpoint, request, answer.status, words, `user ${this.options.username}`);
  }
}
