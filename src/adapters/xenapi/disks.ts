/** Disks as raw content (xapi.md 3.6): byte count and task are both checked, redirects go to configured hosts only. */
import { backupPieceBytes } from '../../domain/backup-vdi.ts';
import type { DiskPiece, Extent } from '../../ports/backup-vdi.ts';
import { type Live, type PoolConnection, sameHost } from './connection.ts';
import { outcomeUnknown, portError, protocolError } from './failures.ts';
import { graceSeconds, Handlers, type Query, silenceTimeoutSeconds } from './handlers.ts';
import { type Exchange, type HostLink, LinkError, readErrorPage, sendBody } from './link.ts';
import type { Tasks } from './tasks.ts';

const pieceHeaderBytes = 12;

async function* framed(pieces: AsyncIterable<DiskPiece>): AsyncGenerator<Uint8Array> {
  const header = (offset: number, length: number): Uint8Array => {
    const made = Buffer.alloc(pieceHeaderBytes);
    made.writeBigUInt64LE(BigInt(offset), 0);
    made.writeUInt32LE(length, 8);
    return made;
  };
  for await (const { offset, content } of pieces) {
    yield header(offset, content.length);
    yield content;
  }
  yield header(0, 0);
}

export class Disks {
  readonly #pool: PoolConnection;
  readonly #tasks: Tasks;
  readonly #handlers: Handlers;

  constructor(pool: PoolConnection, tasks: Tasks) {
    this.#pool = pool;
    this.#tasks = tasks;
    this.#handlers = new Handlers(pool, tasks);
  }

  /** A disk in blocks; byte count and task are both checked, at the end. */
  async read(
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
          this.#handlers.open(
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
      throw await this.#handlers.reasonOf(task, path, error, signal);
    }
    const outer = this;
    return (async function* () {
      let finished = false;
      try {
        yield* outer.#handlers.blocks(exchange, (bytes) => {
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
        throw await outer.#handlers.reasonOf(task, path, error, signal);
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

  /** Writes stretches of a disk: each piece behind its offset and length, little endian; length 0 ends it (xapi.md 3.6). */
  writePieces(
    vdi: string,
    extents: readonly Extent[],
    pieces: AsyncIterable<DiskPiece>,
    signal?: AbortSignal,
  ): Promise<void> {
    const headers = extents.reduce((sum, { bytes }) => sum + Math.ceil(bytes / backupPieceBytes), 1);
    const bytes = extents.reduce((sum, extent) => sum + extent.bytes, headers * pieceHeaderBytes);
    return this.write(vdi, framed(pieces), bytes, signal, { chunked: 'true' });
  }

  /** Writes a disk of known length. Host redirects are followed to configured hosts only (xapi.md 3.1). */
  async write(
    vdi: string,
    content: AsyncIterable<Uint8Array>,
    bytes: number,
    signal?: AbortSignal,
    more: Query = {},
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
          const query = { session_id: live.session, task_id: task, vdi, format: 'raw', ...more };
          // The answer comes before the body is read, so the redirect costs nothing.
          return this.#handlers.open(link, 'PUT', path, query, signal, { stream: true, bytes });
        },
        path,
        signal,
      );
    } catch (error) {
      throw await this.#handlers.reasonOf(task, path, error, signal);
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
      throw await this.#handlers.reasonOf(
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
      if (exchange.status !== 401 || renewed) throw this.#handlers.statusError(exchange, path, page);
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

  get #site(): string {
    return this.#pool.options.site;
  }
}
