/** The body of a request as xapi reads it: straight off the socket (xapi.md 3.1, 3.4). */
import type { HttpExchange } from '../core/registry.ts';
import type { Pieces } from './archive.ts';

/**
 * What the client sends, then nothing until it closes its side: whoever reads beyond Content-Length waits. Chunked
 * framing is no archive, so its content never comes.
 */
export function bodyOf(exchange: HttpExchange): Pieces {
  const chunked = exchange.headers['transfer-encoding'] !== undefined;
  const incoming = (exchange.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const closed = new Promise<void>((done) => {
    if (exchange.signal.aborted) done();
    else exchange.signal.addEventListener('abort', () => done(), { once: true });
  });
  const piece = async (): Promise<Uint8Array | null> => {
    try {
      const { value, done } = await incoming.next();
      return done === true ? null : value;
    } catch (error) {
      if (error instanceof Error) return null;
      throw error;
    }
  };
  return {
    async next() {
      let got = await piece();
      while (chunked && got !== null) got = await piece();
      if (got === null) await closed;
      return got;
    },
  };
}
