/** The answer to one HTTP request: head, bytes, end, and the moment at which they go out. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { TlsTap } from './tap.ts';

/** A client is through with its request when nothing came for so long. */
const quietMillis = 150;

export class Answer {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #tap: TlsTap | null;
  readonly #gone = new AbortController();
  #head: { status: number; headers: Readonly<Record<string, string>> } | null = null;
  #sent = false;
  #held: Buffer[] = [];
  #ended = false;
  #closed = false;

  /**
   * With a tap the answer to a PUT is kept back until the client has closed its side or sends nothing any more: only
   * then is it known whether it reads TLS or clear text.
   */
  constructor(request: IncomingMessage, response: ServerResponse, tap: TlsTap | null) {
    this.#request = request;
    this.#response = response;
    this.#tap = request.method === 'PUT' ? tap : null;
    response.on('close', () => this.#gone.abort());
    if (this.#tap === null) return;
    this.#tap.onClosing = (properly) => this.#closing(properly);
    response.on('finish', () => this.#tap?.letGo());
    response.on('close', () => this.#tap?.letGo());
  }

  /** The client has closed its side. Is an answer still to come? */
  #closing(properly: boolean): boolean {
    if (this.#tap === null || (properly ? this.#response.writableEnded : this.#sent)) return false;
    // The rest of a body never comes: TLS has to know.
    if (properly && !this.#request.complete) return false;
    this.#closed = true;
    this.#tap.bare = !properly;
    this.#send();
    this.#gone.abort();
    return true;
  }

  /** Aborted when nobody is there to read the answer, or when the client has closed its side. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }
  get started(): boolean {
    return this.#head !== null;
  }
  get ended(): boolean {
    return this.#ended;
  }

  start(status: number, headers: Readonly<Record<string, string>> = {}): void {
    this.#head = { status, headers };
    if (this.#tap === null || this.#closed) this.#send();
    else this.#sendWhenQuiet(this.#tap);
  }

  /** A short answer in one go. */
  whole(status: number, headers: Readonly<Record<string, string>>, body: string): void {
    this.#held = [Buffer.from(body)];
    this.#ended = true;
    this.start(status, headers);
  }

  #sendWhenQuiet(tap: TlsTap): void {
    const left = tap.lastReadAt + quietMillis - Date.now();
    if (this.#sent) return;
    if (left <= 0) this.#send();
    else setTimeout(() => this.#sendWhenQuiet(tap), left).unref();
  }

  #send(): void {
    const head = this.#head;
    if (this.#sent || head === null) return;
    this.#sent = true;
    const bare = this.#tap?.bare === true ? this.#tap.raw : null;
    if (bare === null) {
      // xapi never sends chunks: without a length the end of the connection is the end of the answer.
      this.#response.useChunkedEncodingByDefault = false;
      this.#response.writeHead(head.status, { ...head.headers });
      if (this.#held.length === 0 && !this.#ended) this.#response.flushHeaders();
      for (const piece of this.#held) this.#response.write(piece);
      if (this.#ended) this.#response.end();
      return;
    }
    const lines = Object.entries(head.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    bare.write(`HTTP/1.1 ${head.status} ${STATUS_CODES[head.status] ?? ''}\r\n${lines.join('')}\r\n`);
    for (const piece of this.#held) bare.write(piece);
    if (this.#ended) bare.end();
  }

  write(chunk: Buffer | string): Promise<void> {
    if (!this.#sent) {
      this.#held.push(Buffer.from(chunk));
      return Promise.resolve();
    }
    const to = this.#tap?.bare === true ? this.#tap.raw : this.#response;
    return new Promise((resolve, reject) => {
      to.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (!this.#sent) return;
    if (this.#tap?.bare === true) this.#tap.raw.end();
    else this.#response.end();
  }

  /** Ends the connection without ending the answer; a head that is kept back still goes out. */
  cut(): void {
    if (this.started && !this.#sent) {
      this.#ended = true;
      return;
    }
    if (this.#tap?.bare === true) this.#tap.raw.destroy();
    else this.#response.destroy();
    this.#request.socket.destroy();
  }
}
