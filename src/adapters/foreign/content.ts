/**
 * What a file holds, told by its first bytes: an archive of metadata or a database, plain or compressed. Of an archive
 * only the first member is read, so that an XVA with terabytes of disks behind `ova.xml` costs no more than its metadata.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { readOvaHeader, TarError, tarHeaderBytes } from '../../metadata/tar.ts';

export type Content =
  | { readonly is: 'archive'; readonly bytes: Uint8Array }
  | { readonly is: 'database'; readonly bytes: Uint8Array }
  | { readonly is: 'unknown'; readonly reason: string };

/** A dump of 10,000 VMs has some 200 MB, and a text of Node ends at 512 MB: what unpacks to more is an attack on our memory. */
const maxBytes = 500 * 1024 * 1024;

const gzipMark = Buffer.from([0x1f, 0x8b]);
const zstdMark = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** Throws the system's error when the file cannot be opened. */
export async function contentOf(file: string, signal?: AbortSignal): Promise<Content> {
  const head = await headOf(file);
  const unpack = head.subarray(0, 2).equals(gzipMark)
    ? createGunzip()
    : head.equals(zstdMark)
      ? createZstdDecompress()
      : null;
  const taker = new Taker();
  const source: Readable = createReadStream(file);
  const options = signal === undefined ? {} : { signal };
  try {
    if (unpack === null) await pipeline(source, taker, options);
    else await pipeline(source, unpack, taker, options);
  } catch (error) {
    if (signal?.aborted === true) throw error;
    if (!taker.isEnough) return { is: 'unknown', reason: reasonOf(error) };
  }
  return taker.content();
}

async function headOf(file: string): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const head = Buffer.alloc(zstdMark.length);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

class Enough extends Error {}

/** Takes bytes until it knows what they are and has all that it needs of them. */
class Taker extends Transform {
  readonly #pieces: Buffer[] = [];
  #size = 0;
  #wanted: number | null = null;
  #why = '';
  isEnough = false;

  override _transform(piece: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#pieces.push(piece);
    this.#size += piece.length;
    if (this.#wanted === null && this.#size >= tarHeaderBytes) this.#wanted = this.#look();
    if (this.#size > maxBytes && (this.#wanted ?? maxBytes) >= maxBytes) {
      done(new Error(`it holds more than ${maxBytes / 1024 ** 2} MiB`));
      return;
    }
    this.isEnough = this.#wanted !== null && this.#size >= this.#wanted;
    done(this.isEnough ? new Enough() : undefined);
  }

  /** How many bytes are needed; 0 when more would not help. */
  #look(): number {
    const head = Buffer.concat(this.#pieces).subarray(0, tarHeaderBytes);
    if (isXml(head)) return Number.POSITIVE_INFINITY;
    try {
      return tarHeaderBytes + readOvaHeader(head);
    } catch (error) {
      if (!(error instanceof TarError)) throw error;
      this.#why = error.message;
      return 0;
    }
  }

  content(): Content {
    const bytes = Buffer.concat(this.#pieces);
    if (isXml(bytes.subarray(0, tarHeaderBytes))) return { is: 'database', bytes };
    if (bytes.length < tarHeaderBytes)
      return { is: 'unknown', reason: `it has ${bytes.length} bytes, too few for a backup` };
    if (this.#why !== '') return { is: 'unknown', reason: this.#why };
    const wanted = this.#wanted ?? 0;
    if (bytes.length < wanted)
      return {
        is: 'unknown',
        reason: `it is cut off: ${wanted} bytes belong to ova.xml, ${bytes.length} are there`,
      };
    return { is: 'archive', bytes: bytes.subarray(0, wanted) };
  }
}

function isXml(head: Buffer): boolean {
  return /^\ufeff?\s*<(?:\?xml|database)/.test(head.toString('utf8'));
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
