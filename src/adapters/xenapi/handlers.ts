/** What all HTTP handlers of the pool have in common: opening, errors by status and by task, blocks of a stream. */
import { PortError } from '../../domain/errors.ts';
import type { PoolConnection } from './connection.ts';
import { portError, protocolError } from './failures.ts';
import type { Exchange, HostLink } from './link.ts';
import type { Tasks } from './tasks.ts';
import type { XapiValue } from './values.ts';

/** An export waits inside the server for up to two minutes when the VM is busy (xapi.md 3.2). */
export const headerTimeoutSeconds = 600;
/** No byte for so long ends a transfer. */
export const silenceTimeoutSeconds = 300;
/** After a broken connection without an answer: how long the task may still show that the server had the request. */
export const graceSeconds = 60;

export type Query = Readonly<Record<string, string>>;

export class Handlers {
  readonly #pool: PoolConnection;
  readonly #tasks: Tasks;

  constructor(pool: PoolConnection, tasks: Tasks) {
    this.#pool = pool;
    this.#tasks = tasks;
  }

  async open(
    link: HostLink,
    method: 'GET' | 'PUT',
    path: string,
    query: Query,
    signal: AbortSignal | undefined,
    body?: { readonly stream: true; readonly bytes: number },
  ): Promise<Exchange> {
    const exchange = await link.exchange({
      method,
      path: target(path, query),
      keepAlive: false,
      timeoutSeconds: headerTimeoutSeconds,
      signal,
      ...(body === undefined ? {} : { body }),
    });
    // A transfer may take its time; an error page may not.
    if (exchange.status === 200) exchange.stopDeadline();
    return exchange;
  }

  statusError(exchange: Exchange, path: string, page: string): PortError {
    const known = [`${path} answered HTTP ${exchange.status}`, ...(page === '' ? [] : [page])];
    const where = { object: path };
    switch (exchange.status) {
      case 401:
        return portError('auth', this.#site, {
          ...where,
          code: 'DR-POOL-SESSION',
          what: 'The pool does not take the session',
          known,
          next: 'Try again; if it comes back, look who uses up the sessions of the pool',
        });
      case 403:
        return portError('auth', this.#site, {
          ...where,
          code: 'DR-POOL-ROLE',
          what: 'The pool forbids the transfer',
          known,
          next: 'Use a user with vm-admin rights; the database dump needs pool-admin',
        });
      case 404:
        return portError('refused', this.#site, {
          ...where,
          code: 'DR-POOL-VERSION',
          what: 'The pool does not know this transfer',
          known,
          next: 'Update the pool, or do without what this transfer offers',
        });
      case 431:
        return protocolError(this.#site, path, 'The header of a request was too long for the pool', known, {
          code: 'DR-POOL-HEADER',
          next: 'Report this as a defect of Lifeboat',
        });
      case 500:
        return portError('refused', this.#site, {
          ...where,
          code: 'DR-POOL-INTERNAL',
          what: 'The pool could not do the transfer',
          known,
          next: 'Keep the text for support; look at /var/log/xensource.log of the coordinator',
        });
      default:
        return protocolError(this.#site, path, 'The answer to a transfer is not one of XenAPI', known);
    }
  }

  /** The error that the task tells, or the one that we saw when the task knows nothing. */
  async reasonOf(
    task: string,
    path: string,
    seen: unknown,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    if (seen instanceof PortError && seen.kind === 'cancelled') {
      await this.#tasks.discard(task);
      return seen;
    }
    try {
      const record = (await this.#pool.call('task.get_record', [task], { unlimited: true, signal })) as {
        status?: XapiValue;
        error_info?: XapiValue;
      };
      const info = Array.isArray(record.error_info) ? record.error_info.map(String) : [];
      if (record.status === 'failure' || record.status === 'cancelled')
        return this.#tasks.failure({ status: record.status, result: '', errorInfo: info }, path);
    } catch (error) {
      this.#pool.options.log?.debug({ site: this.#site, path, error: String(error) }, 'task not readable');
    } finally {
      await this.#tasks.discard(task);
    }
    return seen;
  }

  assertLength(exchange: Exchange, bytes: number, path: string): void {
    const announced = exchange.headers['content-length'];
    if (announced !== undefined && Number(announced) !== bytes)
      throw protocolError(this.#site, path, 'An answer of the pool did not arrive whole', [
        `${bytes} bytes came, ${announced} were announced`,
      ]);
  }

  async *blocks(exchange: Exchange, atEnd: (bytes: number) => void): AsyncGenerator<Uint8Array> {
    let bytes = 0;
    let timedOut = false;
    exchange.request.setTimeout(silenceTimeoutSeconds * 1000, () => {
      timedOut = true;
      exchange.destroy();
    });
    try {
      for await (const block of exchange.message as AsyncIterable<Buffer>) {
        bytes += block.length;
        yield block;
      }
    } catch (error) {
      if (timedOut)
        throw portError('unreachable', this.#site, {
          object: exchange.message.url ?? 'transfer',
          code: 'DR-POOL-TIMEOUT',
          what: 'A transfer has stopped',
          known: [`no byte for ${silenceTimeoutSeconds} s, after ${bytes} bytes`],
          next: 'Look at the load of the coordinator and at the network between, then try again',
        });
      throw exchange.explain(error);
    } finally {
      exchange.destroy();
    }
    atEnd(bytes);
  }

  get #site(): string {
    return this.#pool.options.site;
  }
}

/** Path and query, with as few bytes as possible: the header block is small (xapi.md 1.6). */
export function target(path: string, query: Query): string {
  const text = Object.entries(query)
    // Colons are legal in a query, and references are full of them.
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value).replaceAll('%3A', ':')}`)
    .join('&');
  return text === '' ? path : `${path}?${text}`;
}
