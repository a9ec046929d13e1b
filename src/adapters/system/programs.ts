/** Local programs that a recovery plan calls: by their arguments, in a process group of their own, bounded in time and talk. */
import { spawn } from 'node:child_process';
import { PortError } from '../../domain/errors.ts';
import type { ProgramCall, ProgramEnd, RunProgram } from '../../ports/guests.ts';

export interface ProgramSurroundings {
  /** Where relative programs are looked for, and where they run. */
  readonly directory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Takes known secrets out of what a program wrote. */
  readonly redact: (text: string) => string;
}

/** Of our environment a program sees these alone: the rest may hold passwords. */
const inherited = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'] as const;
/** Kept while it talks; a secret that this cuts in two is far from what is shown in the end. */
const heardBytes = 64 * 1024;
const shownCharacters = 4096;
const lastWordsSeconds = 1;

export function programRunner(surroundings: ProgramSurroundings): RunProgram {
  return (call, signal) => run(surroundings, call, signal);
}

function run(
  { directory, environment, redact }: ProgramSurroundings,
  { argv, env, timeoutSeconds }: ProgramCall,
  signal: AbortSignal | undefined,
): Promise<ProgramEnd> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(stopped(program, 'it was not started'));
      return;
    }
    const child = spawn(program, args, {
      shell: false,
      cwd: directory,
      env: {
        ...Object.fromEntries(inherited.flatMap((name) => [[name, environment[name]] as const])),
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its own process group, so that what it starts is killed with it.
      detached: true,
    });
    let timedOut = false;
    let killed = false;
    const kill = (): void => {
      killed = true;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
      // A child that left the group may hold the pipes open for ever.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, timeoutSeconds * 1000);
    signal?.addEventListener('abort', kill, { once: true });
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', kill);
    };
    const tail = (stream: NodeJS.ReadableStream): (() => string) => {
      let heard = Buffer.alloc(0);
      stream.on('data', (piece: Buffer) => {
        heard = Buffer.concat([heard, piece]).subarray(-heardBytes);
      });
      return () => redact(heard.toString('utf8')).slice(-shownCharacters);
    };
    const [stdout, stderr] = [tail(child.stdout), tail(child.stderr)];
    // A program may leave something behind that keeps its output open: it has ended all the same.
    child.on('exit', () => {
      done();
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, lastWordsSeconds * 1000).unref();
    });
    child.on('error', (error) => {
      done();
      reject(cannotStart(program, error));
    });
    child.on('close', (code, endedBy) => {
      if (killed && !timedOut) reject(stopped(program, 'it was killed half-way'));
      else resolve({ code, signal: endedBy, timedOut, stdout: stdout(), stderr: stderr() });
    });
  });
}

function cannotStart(program: string, error: Error & { readonly code?: string }): PortError {
  const known =
    error.code === 'ENOENT'
      ? 'there is no such program'
      : error.code === 'EACCES'
        ? 'it is not executable for the user of Lifeboat'
        : (error.code ?? error.message);
  return new PortError('refused', {
    code: 'DR-CALLOUT-PROGRAM',
    what: `Program ${program} cannot be started`,
    known: [known],
    next: 'Correct the path in the recovery plan, or the permissions of the file',
  });
}

function stopped(program: string, known: string): PortError {
  return new PortError('cancelled', {
    code: 'DR-CALLOUT-STOPPED',
    what: `Program ${program} was stopped`,
    known: [known],
    next: 'Look what it has done before it is called again',
  });
}
