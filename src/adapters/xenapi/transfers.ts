/**
 * The HTTP handlers beside the calls (xapi.md 3): each on a connection of its own, the session in the query, judged
 * by its task where the status code says nothing.
 */
import { PortError } from '../../domain/errors.ts';
import { type Live, type PoolConnection, sameHost } from './connection.ts';
import { outcomeUnknown, portError, protocolError } from './failures.ts';
import { type Exchange, type HostLink, LinkError, readErrorPage, readWhole, sendBody } from './link.ts';
import type { TaskEnd, Tasks } from './tasks.ts';
import type { XapiValue } from './values.ts';

/** An export waits inside the server for up to two minutes when the VM is busy (xapi.md 3.2). */
const headerTimeoutSeconds = 600;
/** No byte for so long ends a transfer. */
const silenceTimeoutSeconds = 300;
const importTimeoutSeconds = 4 * 3600;
/** After a broken connection without an answer: how long the task may still show that the server had the request. */
const graceSeconds = 60;
const maxDocumentBytes = 256 * 1024 * 1024;

export type Query = Readonly<Record<string, string>>;

export class Transfers {
  readonly #pool: PoolConnection;
  readonly #tasks: Tasks;

  constructor(pool: PoolConnection, tasks: Tasks) {
    this.#pool = pool;
    this.#tasks = tasks;
  }

  /** A whole small document. Without a task: the status code is meaningful here (performance.md 2). */
  async download(path: string, query: Query, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#pool.limited(async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          const exchange = await this.#get(path, query, signal);
          const whole = await readWhole(this.#site, exchange, maxDocumentBytes);
          this.#assertLength(exchange, whole.length, path);
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
    return this.#blocks(exchange, (bytes) => this.#assertLength(exchange, bytes, path));
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

  /** A disk in blocks; byte count and task are both checked, at the end. */
  async streamDisk(
    vdi: string,
    expectedBytes: number | bigint,
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const path = '/export_raw_vdi';
    const task = await this.#tasks.create(`Lifeboat reads disk ${vdi}`, signal);
    let exchange: Exchange;
    try {
      exchange = await this.#followed(
        (live, link) =>
          this.#open(
            link,
            'GET',
            path,
            { session_id: live.session, task_id: task, vdi, format: 'raw' },
            signal,
          ),
        path,
        signal,
      );
    } catch (error) {
      throw await this.#reasonOf(task, path, error, signal);
    }
    const outer = this;
    return (async function* () {
      let finished = false;
      try {
        yield* outer.#blocks(exchange, (bytes) => {
          if (BigInt(bytes) !== BigInt(expectedBytes))
            throw protocolError(
              outer.#site,
              `disk ${vdi}`,
              'The disk did not arrive whole',
              [`${bytes} bytes came, ${expectedBytes} were expected`],
              {
                code: 'DR-VDI-CUT',
                next: 'Read the disk again; look at the log of the host if it is cut again',
              },
            );
        });
        finished = true;
      } catch (error) {
        finished = true;
        throw await outer.#reasonOf(task, path, error, signal);
      } finally {
        if (!finished) {
          exchange.destroy();
          await outer.#tasks.discard(task);
        }
      }
      outer.#tasks.conclude(
        await outer.#tasks.wait(task, path, { signal, timeoutSeconds: graceSeconds }),
        path,
      );
    })();
  }

  /** Writes a disk of known length. Host redirects are followed to configured hosts only (xapi.md 3.1). */
  async writeDisk(
    vdi: string,
    content: AsyncIterable<Uint8Array>,
    bytes: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const path = '/import_raw_vdi';
    let task = await this.#tasks.create(`Lifeboat writes disk ${vdi}`, signal);
    let exchange: Exchange;
    try {
      exchange = await this.#followed(
        async (live, link, hop) => {
          // The first host may have used the task up by redirecting.
          if (hop > 0) {
            await this.#tasks.discard(task);
            task = await this.#tasks.create(`Lifeboat writes disk ${vdi}`, signal);
          }
          const query = { session_id: live.session, task_id: task, vdi, format: 'raw' };
          // The answer comes before the body is read, so the redirect costs nothing.
          return this.#open(link, 'PUT', path, query, signal, { stream: true, bytes });
        },
        path,
        signal,
      );
    } catch (error) {
      throw await this.#reasonOf(task, path, error, signal);
    }
    let sentBytes = 0;
    const counted = (async function* () {
      for await (const block of content) {
        sentBytes += block.length;
        if (sentBytes > bytes)
          throw new RangeError(`the content is longer than the ${bytes} bytes announced`);
        yield block;
      }
      if (sentBytes < bytes) throw new RangeError(`the content ended after ${sentBytes} of ${bytes} bytes`);
    })();
    exchange.request.setTimeout(silenceTimeoutSeconds * 1000, () => exchange.destroy());
    try {
      await sendBody(exchange, counted);
    } catch (error) {
      exchange.destroy();
      if (error instanceof RangeError) {
        await this.#tasks.discard(task);
        throw portError('refused', this.#site, {
          object: `disk ${vdi}`,
          code: 'DR-VDI-CUT',
          what: 'The disk was not written whole',
          known: [error.message],
          next: 'Check the source of the content, then write the disk again',
        });
      }
      const seen = exchange.explain(error);
      const unknown = seen.kind === 'unreachable';
      throw await this.#reasonOf(
        task,
        path,
        unknown ? outcomeUnknown(this.#pool.context(path), seen.problem.known ?? [], seen) : seen,
        signal,
      );
    }
    try {
      this.#tasks.conclude(await this.#tasks.wait(task, path, { signal }), path);
    } finally {
      exchange.destroy();
    }
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
      throw await this.#reasonOf(task, path, this.#statusError(exchange, path, page), signal);
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

  get #site(): string {
    return this.#pool.options.site;
  }

  /** GET at the coordinator with status 200; a lost session is renewed once, and a 500 asks a task for the reason. */
  async #get(path: string, query: Query, signal: AbortSignal | undefined): Promise<Exchange> {
    for (let renewed = false; ; renewed = true) {
      const live = await this.#pool.live(signal);
      let exchange: Exchange;
      try {
        exchange = await this.#open(live.link, 'GET', path, { session_id: live.session, ...query }, signal);
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
      const failure = this.#statusError(exchange, path, page);
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
      exchange = await this.#open(
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
    throw await this.#reasonOf(task, path, failure, signal);
  }

  async #open(
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

  /** Opens at the coordinator, and at the host that it redirects to, if that one is configured and pinned. */
  async #followed(
    open: (live: Live, link: HostLink, hop: number) => Promise<Exchange>,
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<Exchange> {
    let live = await this.#pool.live(signal);
    let link = live.link;
    let renewed = false;
    for (let hop = 0; hop < 4; hop += 1) {
      let exchange: Exchange;
      try {
        exchange = await open(live, link, hop);
      } catch (error) {
        if (error instanceof LinkError && error.kind === 'unreachable') this.#pool.drop(live, true);
        throw error;
      }
      if (exchange.status === 200) return exchange;
      if (exchange.status === 302) {
        exchange.destroy();
        link = this.#redirectTarget(exchange.headers.location ?? '', link);
        continue;
      }
      const page = await readErrorPage(exchange);
      if (exchange.status !== 401 || renewed) throw this.#statusError(exchange, path, page);
      renewed = true;
      this.#pool.drop(live, false);
      live = await this.#pool.live(signal);
      link = live.link;
    }
    throw protocolError(this.#site, path, 'The hosts of the pool redirect a transfer in a circle', []);
  }

  #redirectTarget(location: string, from: HostLink): HostLink {
    const url = URL.parse(location, from.endpoint.url);
    const candidates = this.#pool.links.filter(
      (link) => url !== null && sameHost(link.endpoint.hostname, url.hostname),
    );
    const port = Number(url?.port || 443);
    const found =
      candidates.find((link) => link.endpoint.port === port) ?? candidates.find((link) => link !== from);
    if (found !== undefined) return found;
    throw portError('trust', this.#site, {
      object: from.endpoint.url,
      code: 'DR-POOL-REDIRECT',
      what: 'The pool sends the transfer to a host that sites.yaml does not name: nothing was sent there',
      known: [`the host would be ${url === null ? 'unreadable' : url.host}`],
      next: 'Add this host with its fingerprint to the hosts of the site in sites.yaml',
    });
  }

  #statusError(exchange: Exchange, path: string, page: string): PortError {
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
  async #reasonOf(
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

  #assertLength(exchange: Exchange, bytes: number, path: string): void {
    const announced = exchange.headers['content-length'];
    if (announced !== undefined && Number(announced) !== bytes)
      throw protocolError(this.#site, path, 'An answer of the pool did not arrive whole', [
        `${bytes} bytes came, ${announced} were announced`,
      ]);
  }

  async *#blocks(exchange: Exchange, atEnd: (bytes: number) => void): AsyncGenerator<Uint8Array> {
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
}

/** Path and query, with as few bytes as possible: the header block is small (xapi.md 1.6). */
function target(path: string, query: Query): string {
  const text = Object.entries(query)
    // Colons are legal in a query, and references are full of them.
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value).replaceAll('%3A', ':')}`)
    .join('&');
  return text === '' ? path : `${path}?${text}`;
}
