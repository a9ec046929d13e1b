/** Requests to the ONTAP REST API: pages, jobs, and what its codes mean (storage.md B.5, C.1). */
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';
import type { Method, RestAnswer, RestClient } from '../rest/client.ts';
import { busy, failureOfStatus, notUnderstood, outcomeUnknown, refusedByArray } from '../rest/errors.ts';
import { pollUntil } from '../rest/poll.ts';
import type { Asking, OntapControl, Patience } from './control.ts';

/** Transfers, jobs and locks that pass: later is another matter (storage.md B.5). */
const busyCodes = new Set(['13303808', '13303812', '6619715', '6619720', '524486']);
const busyWords = /in progress|temporarily locked|is busy|try again/i;
/** Volume, policy, igroup, mapping, relationship and rule that are there already. */
const alreadyCodes = new Set(['6619637', '1704055', '5374733', '5374922', '1254207', '1704070', '5374737']);
/** What is to be removed and is not there: a LUN map, an igroup, a rule, a transfer, anything. */
const absentCodes = new Set(['4', '5374875', '5374852', '1704059', '1703954']);
const mostRecords = 10_000;

const failure = z.object({
  error: z.object({ code: z.union([z.string(), z.number()]).transform(String), message: z.string() }),
});
const page = z.object({
  records: z.array(z.unknown()).default([]),
  _links: z.object({ next: z.object({ href: z.string() }).optional() }).optional(),
});
const accepted = z.object({ job: z.object({ uuid: z.string() }) });
const job = z.object({
  state: z.string(),
  code: z.union([z.string(), z.number()]).transform(String).optional(),
  message: z.string().optional(),
  error: z
    .object({ code: z.union([z.string(), z.number()]).transform(String), message: z.string() })
    .optional(),
});

export type Query = Readonly<Record<string, string>>;

export class OntapRequests {
  readonly endpoint: OntapControl['endpoint'];
  readonly #client: RestClient;
  readonly #user: string;
  readonly #patience: Patience;

  constructor(client: RestClient, user: string, patience: Patience) {
    this.endpoint = client.endpoint;
    this.#client = client;
    this.#user = user;
    this.#patience = patience;
  }

  async list<T>(path: string, query: Query, record: z.ZodType<T>, asking: Asking): Promise<readonly T[]> {
    const found: T[] = [];
    const asked = { ...query, max_records: String(mostRecords), return_timeout: '15' };
    let next: string | undefined = `${path}?${new URLSearchParams(asked)}`;
    while (next !== undefined) {
      const answer: RestAnswer = await this.#client.send({
        method: 'GET',
        path: next,
        signal: asking.signal,
      });
      if (answer.status !== 200) throw this.#refused(`GET ${path}`, answer);
      const { records, _links } = this.read(page, answer.body, path);
      for (const one of records) found.push(this.read(record, one, path));
      next = _links?.next?.href;
    }
    return found;
  }

  async ask(path: string, query: Query, asking: Asking): Promise<RestAnswer> {
    const answer = await this.#client.send({
      method: 'GET',
      path: `${path}?${new URLSearchParams(query)}`,
      signal: asking.signal,
    });
    if (answer.status !== 200) throw this.#refused(`GET ${path}`, answer);
    return answer;
  }

  /** Sends a change and follows its job. Being there already, or gone already, is what was wanted. */
  async change(method: Method, path: string, body: unknown, asking: Asking): Promise<void> {
    const request = `${method} ${path.split('?')[0]}`;
    const answer = await this.#client.send({ method, path, body, signal: asking.signal });
    if (answer.status >= 400) {
      const error = this.#refused(request, answer);
      if (isQuiet(method, path, error)) return;
      throw error;
    }
    const started = accepted.safeParse(answer.body);
    if (started.success) await this.#follow(started.data.job.uuid, method, path, asking);
  }

  async #follow(uuid: string, method: Method, path: string, asking: Asking): Promise<void> {
    const request = `${method} ${path.split('?')[0]}`;
    const ended = await pollUntil(
      { ...this.#patience, endpoint: this.endpoint, signal: asking.signal },
      {
        look: async () => {
          const at = `/api/cluster/jobs/${uuid}`;
          return this.read(
            job,
            (await this.ask(at, { fields: 'state,code,message,error' }, asking)).body,
            at,
          );
        },
        done: ({ state }) => state === 'success' || state === 'failure',
        late: (seen) => outcomeUnknown(this.endpoint, request, new Error(`its job is ${seen.state}`)),
      },
    ).catch((error: unknown) => {
      // It was taken on: what the caller gives up goes on.
      if (error instanceof PortError && (error.kind === 'unreachable' || error.kind === 'cancelled'))
        throw outcomeUnknown(this.endpoint, request, error);
      throw error;
    });
    if (ended.state === 'success') return;
    const code = ended.error?.code ?? ended.code ?? 'unknown';
    const error = this.#inWords(request, ended.error?.message ?? ended.message ?? '', code, 400);
    if (!isQuiet(method, path, error)) throw error;
  }

  #refused(request: string, { status, body }: RestAnswer): PortError {
    const said = failure.safeParse(body);
    return said.success
      ? this.#inWords(request, said.data.error.message, said.data.error.code, status)
      : failureOfStatus(this.endpoint, request, status, '', `user ${this.#user}`);
  }

  #inWords(request: string, message: string, code: string, status: number): PortError {
    const words = this.#client.redact(message);
    if (status === 401 || status === 403)
      return failureOfStatus(this.endpoint, request, status, words, `user ${this.#user}`);
    // A break that fails has one code for "later" and for "never": the words tell them apart.
    const passing =
      code === '13303808' ? busyWords.test(words) : busyCodes.has(code) || busyWords.test(words);
    if (passing || status === 429 || status === 503) return busy(this.endpoint, words, code);
    return refusedByArray(this.endpoint, words, code);
  }

  read<T>(record: z.ZodType<T>, value: unknown, path: string): T {
    const read = record.safeParse(value);
    if (read.success) return read.data;
    throw notUnderstood(
      this.endpoint,
      `answers ${path} in another shape than the REST API of ONTAP`,
      read.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`),
    );
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

function isQuiet(method: Method, path: string, { peerCode = '' }: PortError): boolean {
  if (method === 'POST') return alreadyCodes.has(peerCode) && !path.endsWith('/transfers');
  return (method === 'DELETE' || path.includes('/transfers/')) && absentCodes.has(peerCode);
}
