/**
 * A look below TLS, for clients that end TLS without saying so. Python's `SSLSocket.shutdown` forgets its TLS state,
 * closes the sending side of the bare TCP connection and reads on without TLS: such a client can only read an answer in
 * clear text. Programs that speak HTTP for themselves (browsers, Node, curl) offer a protocol by ALPN and never do this,
 * so that only connections without ALPN are looked at.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

const handshakeRecord = 22;
const alertRecord = 21;
const alpnExtension = 16;

/** Does a ClientHello (RFC 5246 7.4.1.2) name application protocols? True when it cannot be read in one piece. */
export function offersProtocols(first: Buffer): boolean {
  try {
    if (first[0] !== handshakeRecord) return true;
    // Record header 5, handshake header 4, version 2, random 32.
    let at = 43;
    at += 1 + first.readUInt8(at);
    at += 2 + first.readUInt16BE(at);
    at += 1 + first.readUInt8(at);
    const end = at + 2 + first.readUInt16BE(at);
    at += 2;
    while (at < end) {
      if (first.readUInt16BE(at) === alpnExtension) return true;
      at += 4 + first.readUInt16BE(at + 2);
    }
    return false;
  } catch (error) {
    if (error instanceof RangeError) return true;
    throw error;
  }
}

/** The TCP connection under a TLS socket. Records of TLS 1.2 tell their type in clear. */
export class TlsTap extends Duplex {
  readonly raw: Socket;
  /** The client ended TCP without ending TLS, and an answer was waiting: it goes to `raw` in clear text. */
  bare = false;
  /** Milliseconds since 1970 of the last bytes. */
  lastReadAt = Date.now();
  /** Told, before TLS is, that the client sends no more: properly (`true`) or not. True: an answer is still to come. */
  onClosing: ((properly: boolean) => boolean) | null = null;
  #header = Buffer.alloc(0);
  #skip = 0;
  /** From the closing alert on: kept from TLS while an answer is to come. */
  #tail: Buffer | null = null;

  constructor(raw: Socket) {
    super();
    this.raw = raw;
    raw.on('data', (chunk: Buffer) => {
      this.lastReadAt = Date.now();
      if (this.#tail !== null) return;
      const end = this.#alertAt(chunk);
      if (end < 0) this.#pass(chunk);
      else {
        if (end > 0) this.#pass(chunk.subarray(0, end));
        this.#tail = chunk.subarray(end);
        setImmediate(() => this.#ended(true));
      }
    });
    // Once what was read has been decrypted: the request that it belongs to may be in it.
    raw.on('end', () => setImmediate(() => this.#tail ?? this.#ended(false)));
    raw.on('close', () => this.destroy());
  }

  #pass(chunk: Buffer): void {
    if (!this.push(chunk)) this.raw.pause();
  }

  #ended(properly: boolean): void {
    const minds = this.onClosing?.(properly) === true;
    if (!properly) {
      this.bare = minds;
      this.push(null);
    } else if (!minds) this.letGo();
  }

  /** The answer is out: TLS may know that the client has closed its side. */
  letGo(): void {
    if (this.#tail === null || this.#tail.length === 0) return;
    this.push(this.#tail);
    this.#tail = Buffer.alloc(0);
    if (this.raw.readableEnded) this.push(null);
    else this.raw.once('end', () => this.push(null));
  }

  /** Walks from record to record; an alert behind the handshake is the end of TLS. Where in the chunk it starts, or -1. */
  #alertAt(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, chunk.length - at);
        this.#skip -= step;
        at += step;
        continue;
      }
      const start = at;
      const missing = 5 - this.#header.length;
      const header = Buffer.concat([this.#header, chunk.subarray(at, at + missing)]);
      if (header[0] === alertRecord) return start;
      at += missing;
      this.#header = header.length < 5 ? header : Buffer.alloc(0);
      if (header.length === 5) this.#skip = header.readUInt16BE(3);
    }
    return -1;
  }

  override _read(): void {
    this.raw.resume();
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.bare || this.raw.destroyed) done();
    else this.raw.write(chunk, done);
  }
  override _final(done: () => void): void {
    if (!this.bare) this.raw.end();
    done();
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.bare) this.raw.destroy();
    done(error);
  }
}
