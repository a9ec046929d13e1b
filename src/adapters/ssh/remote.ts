/**
 * Programs on another machine over SSH. What ssh2 leaves unsaid is decided here (libraries.md 4, storage.md A.9):
 * closing a channel or giving up does not stop the program at the other end, so a command that was sent and has not
 * answered is `outcome-unknown` when it writes and `unreachable` when it only reads; a channel that closes without an
 * exit code is a lost connection; a channel that could not be opened never carried the command.
 */
import type { Readable, Writable } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { type FailureKind, PortError, type Problem } from '../../domain/errors.ts';
import { describeSsh, type SshAddress, type SshConnection } from './connection.ts';
import { shellCommand } from './quote.ts';

export interface RemoteOptions {
  /** What the program is called in messages; its first word when absent. */
  readonly name?: string;
  /** Whether the program changes anything: decides what a missing answer means. */
  readonly effect: 'read' | 'write';
  readonly stdin?: string | Uint8Array;
  /** Seconds for the command once it is sent. */
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
  /** Sent as it is to a server that has no POSIX shell; the program and its arguments only name it then. */
  readonly line?: string;
  /** For stdout and stderr each; more is an error of kind `protocol`. 16 MiB when absent. */
  readonly maxOutputBytes?: number;
}

export interface RemoteResult {
  /** Exit code; null when a signal ended the program. */
  readonly code: number | null;
  /** `KILL`, `TERM`, … without `SIG`; null when the program ended by itself. */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What matters for a program whose streams are the caller's. */
export type ProgramOptions = Pick<RemoteOptions, 'effect' | 'signal' | 'name' | 'line'>;

/** A running program whose input and output are streams. */
export interface RemoteProgram {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** How it ended; rejects with `PortError` when the connection broke first. Its output must be read for it to settle. */
  readonly done: Promise<Pick<RemoteResult, 'code' | 'signal'>>;
  /** Gives the channel up. The program may run on until it next reads or writes. */
  close(): void;
}

const usualOutputBytes = 16 * 1024 * 1024;

/** Runs a program to its end. A code other than 0 is an answer, not an error: only a missing answer is one. */
export async function runRemote(
  connection: SshConnection,
  argv: readonly string[],
  options: RemoteOptions,
): Promise<RemoteResult> {
  return (await startRemote(connection, argv, options)).result;
}

/** `runRemote` in two parts: once this has resolved, the command is on the server. */
export async function startRemote(
  connection: SshConnection,
  argv: readonly string[],
  options: RemoteOptions,
): Promise<{ readonly result: Promise<RemoteResult> }> {
  const program = await openRemote(connection, argv, options);
  return { result: finish(program, connection, argv, options) };
}

async function finish(
  program: RemoteProgram,
  connection: SshConnection,
  argv: readonly string[],
  options: RemoteOptions,
): Promise<RemoteResult> {
  const most = options.maxOutputBytes ?? usualOutputBytes;
  const tooMuch = new AbortController();
  const limits = [tooMuch.signal, AbortSignal.timeout(options.timeoutSeconds * 1000)];
  const over = AbortSignal.any(options.signal === undefined ? limits : [...limits, options.signal]);
  const stdout = collect(program.stdout, most, tooMuch);
  const stderr = collect(program.stderr, most, tooMuch);
  // A program that ends without reading all of its input says so by its exit code.
  program.stdin.on('error', () => undefined);
  program.stdin.end(options.stdin ?? '');
  try {
    const ended = await orAbort(program.done, over);
    return { ...ended, stdout: stdout(), stderr: stderr() };
  } catch (error) {
    program.close();
    if (error instanceof PortError) throw error;
    throw givenUp(connection, argv, options, tooMuch.signal.aborted);
  }
}

/** Starts a program and hands over its streams. `effect` says what a broken connection means for `done`. */
export async function openRemote(
  connection: SshConnection,
  argv: readonly string[],
  options: ProgramOptions,
): Promise<RemoteProgram> {
  const command = options.line ?? shellCommand(argv);
  if (options.signal?.aborted === true) throw notStarted(connection.address, argv, options);
  const channel = await channelFor(connection, command, argv, options);
  return {
    stdin: channel.stdin,
    stdout: channel.stdout,
    stderr: channel.stderr,
    done: endOf(connection, channel, argv, options),
    close: () => channel.close(),
  };
}

async function channelFor(
  connection: SshConnection,
  command: string,
  argv: readonly string[],
  options: ProgramOptions,
): Promise<ClientChannel> {
  if (connection.lost !== null) throw connection.lost;
  try {
    return await connection.exec(command);
  } catch (error) {
    if (connection.lost !== null) throw brokenOff(connection, argv, options);
    if (wasNeverSent(error)) throw error;
    throw problem(connection, 'refused', {
      code: 'DR-SSH-CHANNEL',
      what: `The SSH server does not run ${programOf(argv, options)}`,
      known: error instanceof Error ? [error.message] : [],
      next: 'Look whether this user may run commands: ForceCommand, its shell, the log of the SSH server',
    });
  }
}

/** True for an error after which it is certain that the command never reached the server. */
export function wasNeverSent(error: unknown): boolean {
  return error instanceof Error && /Channel open failure|Not connected/i.test(error.message);
}

function endOf(
  connection: SshConnection,
  channel: ClientChannel,
  argv: readonly string[],
  options: ProgramOptions,
): RemoteProgram['done'] {
  const done = new Promise<Pick<RemoteResult, 'code' | 'signal'>>((resolve, reject) => {
    channel.once('close', (code: number | null | undefined, signal: string | undefined) => {
      if (typeof code === 'number') resolve({ code, signal: null });
      else if (typeof signal === 'string') resolve({ code: null, signal: signal.replace(/^SIG/, '') });
      else reject(brokenOff(connection, argv, options));
    });
    channel.on('error', () => reject(brokenOff(connection, argv, options)));
  });
  // Nobody may be waiting for it yet when the connection breaks.
  done.catch(() => undefined);
  return done;
}

function collect(stream: Readable, most: number, tooMuch: AbortController): () => string {
  const pieces: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (bytes > most) tooMuch.abort();
    else pieces.push(piece);
  });
  return () => Buffer.concat(pieces).toString('utf8');
}

function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** The program's name is all that a message shows: arguments may be long, and a person cannot act on them. */
function programOf(argv: readonly string[], { name }: Pick<RemoteOptions, 'name'>): string {
  return name ?? argv[0] ?? '';
}

const mayRunOn = 'the command was sent, and may still be running there';

function brokenOff(connection: SshConnection, argv: readonly string[], options: ProgramOptions): PortError {
  const { effect } = options;
  return problem(connection, effect === 'write' ? 'outcome-unknown' : 'unreachable', {
    code: 'DR-SSH-LOST',
    what: `The SSH connection was lost while ${programOf(argv, options)} ran`,
    known: effect === 'write' ? [mayRunOn] : [],
    next:
      effect === 'write'
        ? 'Look at the volume before anything is repeated; a run does so when it is resumed'
        : 'Look whether the server and the network are up, then repeat',
  });
}

function givenUp(
  connection: SshConnection,
  argv: readonly string[],
  options: RemoteOptions,
  overlong: boolean,
): PortError {
  if (overlong)
    return problem(connection, 'protocol', {
      code: 'DR-SSH-OUTPUT',
      what: `${programOf(argv, options)} prints more than ${options.maxOutputBytes ?? usualOutputBytes} bytes`,
      next: 'Log in to the server and run it by hand; most often a login script prints something',
    });
  if (options.signal?.aborted === true) return stopped(connection.address, argv, options, mayRunOn);
  const known = [`no answer within ${options.timeoutSeconds} s`];
  return problem(connection, options.effect === 'write' ? 'outcome-unknown' : 'unreachable', {
    code: 'DR-SSH-TIMEOUT',
    what: `${programOf(argv, options)} on the server does not answer`,
    known: options.effect === 'write' ? [...known, mayRunOn] : known,
    next: 'Log in to the server and look at its load, its pools and its process list',
  });
}

/** A command that a person or a deadline stopped before it was sent. */
export function notStarted(
  address: SshAddress,
  argv: readonly string[],
  options: Pick<RemoteOptions, 'name'>,
): PortError {
  return stopped(address, argv, options, 'nothing was sent');
}

function stopped(
  address: SshAddress,
  argv: readonly string[],
  options: Pick<RemoteOptions, 'name'>,
  known: string,
): PortError {
  return problem({ address }, 'cancelled', {
    code: 'DR-SSH-STOPPED',
    what: `Waiting for ${programOf(argv, options)} was stopped`,
    known: [known],
    next: 'Nothing is needed; start again when you want it',
  });
}

function problem(
  { address }: { readonly address: SshAddress },
  kind: FailureKind,
  said: Omit<Problem, 'where'>,
): PortError {
  return new PortError(kind, { ...said, where: { object: describeSsh(address) } });
}
