/** The part of ws 8 that is used here and in the double of a TrueNAS. */
declare module 'ws' {
  import type { EventEmitter } from 'node:events';
  import type { IncomingMessage } from 'node:http';
  import type { Duplex } from 'node:stream';

  export default class WebSocket extends EventEmitter {
    static readonly OPEN: 1;
    readonly readyState: number;
    constructor(
      url: string,
      options?: {
        readonly createConnection?: () => Duplex;
        readonly handshakeTimeout?: number;
        readonly maxPayload?: number;
        readonly perMessageDeflate?: boolean;
      },
    );
    send(text: string): void;
    ping(): void;
    close(): void;
    terminate(): void;
  }

  export class WebSocketServer extends EventEmitter {
    constructor(options: { readonly noServer: true });
    handleUpgrade(
      request: IncomingMessage,
      socket: Duplex,
      head: Buffer,
      done: (socket: WebSocket) => void,
    ): void;
    close(): void;
  }
}
