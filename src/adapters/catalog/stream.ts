/** Long streams: compressed while they pass, in chunks, so that no more than a chunk of them is ever in memory. */
import { createZstdCompress } from 'node:zlib';
import type { ObjectRef } from '../../domain/recovery-point.ts';
import type { Batch } from './batch.ts';
import { Sha256 } from './hash.ts';
import { chunkBytes, compressionParams } from './pack.ts';

/** `first` has been read from `pieces` already, and is let go as soon as it is written. */
export async function putLongStream(
  batch: Batch,
  first: Uint8Array[],
  pieces: AsyncIterator<Uint8Array>,
  signal?: AbortSignal,
): Promise<ObjectRef> {
  const hash = new Sha256();
  let total = 0;
  const clear = async function* (): AsyncGenerator<Uint8Array> {
    yield* first.splice(0);
    for (;;) {
      const piece = await pieces.next();
      if (piece.done === true) return;
      yield piece.value;
    }
  };
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of clear()) {
      signal?.throwIfAborted();
      hash.update(piece);
      total += piece.length;
      yield piece;
    }
  };
  return batch.putChunks(inChunks(compressed(counted())), () => ({ sha256: hash.digest(), bytes: total }));
}

async function* compressed(clear: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const zstd = createZstdCompress({ params: compressionParams });
  const feed = (async () => {
    try {
      for await (const piece of clear) {
        if (!zstd.write(piece)) await new Promise((resolve) => zstd.once('drain', resolve));
      }
      zstd.end();
    } catch (error) {
      zstd.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  })();
  try {
    for await (const piece of zstd) yield piece as Uint8Array;
    await feed;
  } finally {
    zstd.destroy();
  }
}

async function* inChunks(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly bytes: Uint8Array; readonly last: boolean }> {
  let gathered: Uint8Array[] = [];
  let length = 0;
  for await (const piece of pieces) {
    gathered.push(piece);
    length += piece.length;
    if (length <= chunkBytes) continue;
    const all = Buffer.concat(gathered);
    let from = 0;
    // The end is held back: only when the pieces have ended is the last chunk known.
    while (all.length - from > chunkBytes) {
      yield { bytes: all.subarray(from, from + chunkBytes), last: false };
      from += chunkBytes;
    }
    gathered = [all.subarray(from)];
    length = all.length - from;
  }
  yield { bytes: Buffer.concat(gathered), last: true };
}
