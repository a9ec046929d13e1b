/**
 * Metadata over the HTTP handlers beside the calls (xapi.md 3): each on a connection of its own, the session in the
 * query, judged by its task where the status code says nothing.
 */
import { PortError } from '../../domain/errors.ts';
import type { Live, PoolConnection } from './connection.ts';
import { outcomeUnknown, protocolError } from './failures.ts';
import { graceSeconds, Handlers, headerTimeoutSeconds, type Query, target } from './handlers.ts';
import { type Exchange, LinkError, readErrorPage, readWhole } from './link.ts';
import type { TaskEnd, Tasks } from './tasks.ts';
import type { XapiValue } from './values.ts';

const importTimeoutSeconds = 4 * 3600;
const maxDocumentBytes = 256 * 1024 * 1024;

export class Transfers {
  readonly #pool: PoolConnection;
  readonly #tasks: Tasks;
  readonly #handlers: Handlers;

  constructor(pool: PoolConnection, tasks: Tasks) {
    this.#pool = pool;
    this.#tasks = tasks;
    this.#handlers = new Handlers(pool, tasks);
  }

  /** A whole small document. Without a task: the status code is meaningful here (performance.md 2). */
  async download(path: string, query: Query, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#pool.limited(async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          const exchange = await this.#get(path, query, signal);
          const whole = await readWhole(this.#site, exchange, maxDocumentBytes);
          this.#handlers.assertLength(exchange, whole.length, path);
          return whole;
        } catch (error) {
          if (!(error instanceof LinkError) || error.kind !== 'unreachable' || error.timedOut || attempt >= 3)
            throw error;
          await this.#pool.options.clock.sleep(attempt * 0.5, signal);
        }
      }
    }, signal);
  }

  /** A large document as it comes. The place among the requests is free again once the server has begun to answer. */
  async stream(path: string, query: Query, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const exchange = await this.#pool.limited(() => this.#get(path, query, signal), signal);
    return this.#handlers.blocks(exchange, (bytes) => this.#handlers.assertLength(exchange, bytes, path));
  }

  /** The database dump has no announced length, so its end tells whether it came whole. */
  async streamXml(path: string, lastTag: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const stream = await this.stream(path, {}, signal);
    const site = this.#site;
    return (async function* () {
      let tail = '';
      let bytes = 0;
      for await (const block of stream) {
        bytes += block.length;
        tail = (tail + Buffer.from(block.subarray(-64)).toString('latin1')).slice(-64);
        yield block;
      }
      if (!tail.trimEnd().endsWith(lastTag))
        throw protocolError(
          site,
          path,
          'The database dump did not arrive whole',
          [`${bytes} bytes came, and they do not end with ${lastTag}`],
          { code: 'DR-POOL-CUT', next: 'Try again; look at the load of the coordinator if it is cut again' },
        );
    })();
  }

  /** `PUT /import_metadata`: the answer is the task's, never the socket's (xapi.md 3.4). */
  importDocument(archive: Uint8Array, query: Query, signal?: AbortSignal): Promise<XapiValue> {
    return this.#pool.limited(() => this.#import(archive, query, signal, true), signal);
  }

  async #import(
    archive: Uint8Array,
    query: Query,
    signal: AbortSignal | undefined,
    mayRenew: boolean,
  ): Promise<XapiValue> {
    const path = '/import_metadata';
    const live = await this.#pool.live(signal);
    const task = await this.#tasks.create('Lifeboat imports VM metadata', signal);
    let exchange: Exchange;
    try {
      exchange = await live.link.exchange({
        method: 'PUT',
        path: target(path, { session_id: live.session, task_id: task, ...query }),
        body: archive,
        keepAlive: false,
        timeoutSeconds: headerTimeoutSeconds,
        signal,
      });
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      if (error.kind === 'cancelled') {
        await this.#tasks.discard(task);
        throw error;
      }
      this.#pool.drop(live, true);
      if (!error.sent) {
        await this.#tasks.discard(task);
        throw error;
      }
      return this.#afterBreak(task, path, error, signal);
    }
    exchange.stopDeadline();
    if (exchange.status !== 200) {
      const page = await readErrorPage(exchange);
      if (exchange.status === 401 && mayRenew) {
        await this.#tasks.discard(task);
        this.#pool.drop(live, false);
        return this.#import(archive, query, signal, false);
      }
      throw await this.#handlers.reasonOf(
        task,
        path,
        this.#handlers.statusError(exchange, path, page),
        signal,
      );
    }
    try {
      return this.#tasks.conclude(
        await this.#tasks.wait(task, path, { signal, timeoutSeconds: importTimeoutSeconds }),
        path,
        'VM.import',
      );
    } finally {
      exchange.destroy();
    }
  }

  /** The connection broke before an answer: the task may know; if it stays pending, nobody does. */
  async #afterBreak(
    task: string,
    path: string,
    error: LinkError,
    signal: AbortSignal | undefined,
  ): Promise<XapiValue> {
    let end: TaskEnd;
    try {
      end = await this.#tasks.wait(task, path, { signal, timeoutSeconds: graceSeconds });
    } catch (waited) {
      throw waited instanceof PortError && waited.kind === 'outcome-unknown'
        ? outcomeUnknown(
            this.#pool.context(path),
            [...(error.problem.known ?? []), ...(waited.problem.known ?? [])],
            error,
          )
        : waited;
    }
    return this.#tasks.conclude(end, path, 'VM.import');
  }

  /** GET at the coordinator with status 200; a lost session is renewed once, and a 500 asks a task for the reason. */
  async #get(path: string, query: Query, signal: AbortSignal | undefined): Promise<Exchange> {
    for (let renewed = false; ; renewed = true) {
      const live = await this.#pool.live(signal);
      let exchange: Exchange;
      try {
        exchange = await this.#handlers.open(
          live.link,
          'GET',
          path,
          { session_id: live.session, ...query },
          signal,
        );
      } catch (error) {
        if (error instanceof LinkError && error.kind === 'unreachable') this.#pool.drop(live, true);
        throw error;
      }
      if (exchange.status === 200) return exchange;
      const page = await readErrorPage(exchange);
      if (exchange.status === 401 && !renewed) {
        this.#pool.drop(live, false);
        continue;
      }
      const failure = this.#handlers.statusError(exchange, path, page);
      if (exchange.status !== 500 && exchange.status !== 403) throw failure;
      return this.#again(live, path, query, failure, signal);
    }
  }

  /** The reason of a refused export is only in a task, so it is asked for once more with a task of ours. */
  async #again(
    live: Live,
    path: string,
    query: Query,
    failure: PortError,
    signal: AbortSignal | undefined,
  ): Promise<Exchange> {
    const task = await this.#tasks.create(`Lifeboat asks for ${path}`, signal);
    let exchange: Exchange;
    try {
      exchange = await this.#handlers.open(
        live.link,
        'GET',
        path,
        { session_id: live.session, task_id: task, ...query },
        signal,
      );
    } catch (error) {
      await this.#tasks.discard(task);
      throw error;
    }
    if (exchange.status === 200) {
      await this.#tasks.discard(task);
      return exchange;
    }
    exchange.destroy();
    throw await this.#handlers.reasonOf(task, path, failure, signal);
  }

  get #site(): string {
    return this.#pool.options.site;
  }
}
