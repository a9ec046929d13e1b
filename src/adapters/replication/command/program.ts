/** One call of a site's program: a request on stdin, an answer on stdout, an exit code; no shell, and never for ever. */
import { spawn } from 'node:child_process';

export interface Call {
  readonly argv: readonly [program: string, ...args: string[]];
  /** Written to stdin and closed: secrets are only ever here. */
  readonly request: string;
  readonly timeoutSeconds: number;
}

/** How the program ended. `code` is null when a signal ended it. */
export type CallEnd =
  | {
      readonly ended: 'by-itself';
      readonly code: number | null;
      readonly stdout: string;
      readonly stderr: string;
    }
  | { readonly ended: 'not-started'; readonly because: string }
  | { readonly ended: 'timed-out' | 'stopped' | 'talked-too-much'; readonly stderr: string };

/** Of our environment the program sees these alone: the rest may hold passwords. */
const inherited = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'] as const;
/** An answer for thousands of volumes fits; a program that talks without end does not fill our memory. */
const answerBytes = 16 * 1024 * 1024;
const wordsBytes = 64 * 1024;
/** What the program left behind may hold its pipes open: it has ended all the same. */
const lastWordsMilliseconds = 1000;

/** Never rejects. The program leads a process group of its own, which is killed as a whole. */
export function callProgram(
  { argv, request, timeoutSeconds }: Call,
  environment: Readonly<Record<string, string | undefined>>,
  signal?: AbortSignal,
): Promise<CallEnd> {
  const [program, ...args] = argv;
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      shell: false,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: Object.fromEntries(inherited.map((name) => [name, environment[name]])),
    });
    const answer: Buffer[] = [];
    let heardBytes = 0;
    let words = Buffer.alloc(0);
    let killedAs: 'timed-out' | 'stopped' | 'talked-too-much' | null = null;
    const kill = (as: NonNullable<typeof killedAs>): void => {
      killedAs ??= as;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const stop = (): void => kill('stopped');
    const timer = setTimeout(() => kill('timed-out'), timeoutSeconds * 1000);
    signal?.addEventListener('abort', stop, { once: true });
    const done = (end: CallEnd): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      resolve(end);
    };
    child.stdout.on('data', (piece: Buffer) => {
      heardBytes += piece.length;
      if (heardBytes > answerBytes) kill('talked-too-much');
      else answer.push(piece);
    });
    child.stderr.on('data', (piece: Buffer) => {
      words = Buffer.concat([words, piece]).subarray(-wordsBytes);
    });
    // A program that ends without reading its request is judged by how it ended.
    child.stdin.on('error', () => undefined);
    child.on('error', (error: Error & { readonly code?: string }) =>
      done({ ended: 'not-started', because: reasonOf(error) }),
    );
    child.on('exit', () => {
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, lastWordsMilliseconds).unref();
    });
    child.on('close', (code) => {
      const stderr = words.toString('utf8');
      if (killedAs !== null) done({ ended: killedAs, stderr });
      else done({ ended: 'by-itself', code, stdout: Buffer.concat(answer).toString('utf8'), stderr });
    });
    child.stdin.end(request);
    if (signal?.aborted === true) stop();
  });
}

function reasonOf(error: Error & { readonly code?: string }): string {
  if (error.code === 'ENOENT') return 'there is no such program';
  if (error.code === 'EACCES') return 'it is not executable for the user of Lifeboat';
  return error.code ?? error.message;
}
