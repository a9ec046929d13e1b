/** What the command line needs of the machine: streams, questions, files, clock, interrupts. Tests bring their own. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { Instant } from '../../domain/time.ts';
import type { Machine } from '../daemon/machine.ts';

export interface Output {
  write(text: string): void;
  readonly isTerminal: boolean;
  readonly columns: number;
  readonly rows: number;
}

export interface Terminal {
  readonly out: Output;
  readonly err: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Who types: the name of the login. */
  readonly user: string;
  /** Whether a person can be asked. */
  readonly interactive: boolean;
  now(): Instant;
  /** Calls again and again until the returned function is called. */
  every(seconds: number, action: () => void): () => void;
  /** One line, without its end; null when the input ended or was interrupted, or when the signal took the question back. */
  ask(question: string, signal?: AbortSignal): Promise<string | null>;
  /** The same without showing what is typed. */
  askSecret(question: string): Promise<string | null>;
  /** Everything on the standard input, for scripts. */
  readInput(): Promise<string>;
  readFile(path: string): Promise<string>;
  /** Creates a file that only its owner reads; throws when it exists, unless `replace`. */
  writeFile(
    path: string,
    content: string | Uint8Array,
    options?: { readonly replace?: boolean },
  ): Promise<void>;
  /** Makes a directory that only its owner enters, and those above it; quiet when it is there. */
  makeDirectory(path: string): Promise<void>;
  /** Calls the listener for each interrupt (Ctrl-C, SIGTERM) until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
  /** Ends the process at once. */
  exitNow(code: number): never;
  /** For the daemon; absent where none can run. */
  readonly machine?: () => Promise<Machine>;
}

/** Clock and timer come from main.ts, where the ambient ones are allowed. */
export interface TerminalClock {
  now(): Instant;
  every(seconds: number, action: () => void): () => void;
}

export function nodeTerminal(clock: TerminalClock, machine?: Terminal['machine']): Terminal {
  const { stdin, stdout, stderr } = process;
  for (const stream of [stdout, stderr]) {
    // The reader of a pipe may go away (`| head`): then there is nobody left to tell.
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
  const output = (stream: NodeJS.WriteStream): Output => ({
    write: (text) => {
      stream.write(text);
    },
    isTerminal: stream.isTTY === true,
    get columns() {
      // A pseudo-terminal that nobody gave a size says 0.
      return stream.columns || 100;
    },
    get rows() {
      return stream.rows || 40;
    },
  });
  const question = (text: string, shown: boolean, signal?: AbortSignal): Promise<string | null> =>
    new Promise((resolve) => {
      // Questions go to the standard error, so that a redirected output holds the answer alone.
      stderr.write(text);
      const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
      const reader = createInterface({
        input: stdin,
        output: shown ? stderr : silent,
        terminal: stdin.isTTY === true,
      });
      let answered = false;
      const takeBack = (): void => reader.close();
      signal?.addEventListener('abort', takeBack, { once: true });
      reader.on('SIGINT', () => reader.close());
      reader.on('line', (line) => {
        answered = true;
        reader.close();
        if (!shown) stderr.write('\n');
        resolve(line);
      });
      reader.on('close', () => {
        signal?.removeEventListener('abort', takeBack);
        if (answered) return;
        stderr.write('\n');
        resolve(null);
      });
    });
  return {
    out: output(stdout),
    err: output(stderr),
    env: process.env,
    user: userName(),
    interactive: stdin.isTTY === true,
    now: clock.now,
    every: clock.every,
    ask: (text, signal) => question(text, true, signal),
    askSecret: (text) => question(text, false),
    readInput: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks).toString('utf8');
    },
    readFile: (path) => readFile(path, 'utf8'),
    writeFile: (path, content, options) =>
      writeFile(path, content, { mode: 0o600, flag: options?.replace === true ? 'w' : 'wx' }),
    makeDirectory: async (path) => {
      await mkdir(path, { recursive: true, mode: 0o700 });
    },
    onInterrupt: (listener) => {
      process.on('SIGINT', listener);
      process.on('SIGTERM', listener);
      return () => {
        process.off('SIGINT', listener);
        process.off('SIGTERM', listener);
      };
    },
    exitNow: (code) => process.exit(code),
    ...(machine === undefined ? {} : { machine }),
  };
}

/** A login without a name in the user database (a container) still answers for what it does. */
function userName(): string {
  try {
    return userInfo().username;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return `uid ${process.getuid?.() ?? 'unknown'}`;
    throw error;
  }
}
