/**
 * e2fsprogs as programs of this machine: by their arguments, without a shell, without root, bounded in time and talk. What
 * they are given comes from a disk, so they see nothing of our environment.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { PortError } from '../../domain/errors.ts';
import type { Instant } from '../../domain/time.ts';
import { noPlace } from './scratch.ts';

export type Tool = 'mke2fs' | 'debugfs' | 'e2fsck' | 'dumpe2fs';

export interface ToolCall {
  /** Stamped on everything that is made; the clock of the machine when absent. */
  readonly at?: Instant;
  readonly timeoutSeconds?: number;
  readonly signal?: AbortSignal | undefined;
  /** Of stdout; more is an error. 64 MiB when absent. */
  readonly maxOutputBytes?: number;
}

export interface ToolEnd {
  readonly code: number | null;
  readonly stdout: string;
  /** The same, undecoded. */
  readonly output: Buffer;
  /** Its last 64 KiB. */
  readonly stderr: string;
}

/** Where Debian and others put them; the path of a service often lacks `sbin`. */
const alwaysLookedIn = ['/usr/sbin', '/sbin', '/usr/local/sbin'];
const usualTimeoutSeconds = 600;
const usualOutputBytes = 64 * 1024 * 1024;
const keptWordsBytes = 64 * 1024;
/** Of this machine: a file system within an image that is full is spoken of in other words. */
const localDiskFull = /No space left on device|Disk quota exceeded|resulted in short write/;

/** Runs a tool to its end. A code other than 0 is an answer. */
export async function runTool(tool: Tool, args: readonly string[], call: ToolCall = {}): Promise<ToolEnd> {
  const { signal, timeoutSeconds = usualTimeoutSeconds, maxOutputBytes = usualOutputBytes } = call;
  if (signal?.aborted === true) throw stopped(tool);
  const program = pathOf(tool);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      shell: false,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment(call.at),
    });
    let failure: PortError | null = null;
    const end = (why: PortError): void => {
      failure ??= why;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => end(tooSlow(tool, timeoutSeconds)), timeoutSeconds * 1000);
    const stop = (): void => end(stopped(tool));
    signal?.addEventListener('abort', stop, { once: true });
    const said: Buffer[] = [];
    let saidBytes = 0;
    child.stdout.on('data', (piece: Buffer) => {
      saidBytes += piece.length;
      if (saidBytes > maxOutputBytes) end(tooLoud(tool, maxOutputBytes));
      else said.push(piece);
    });
    let words = Buffer.alloc(0);
    child.stderr.on('data', (piece: Buffer) => {
      words = Buffer.concat([words, piece]).subarray(-keptWordsBytes);
    });
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    };
    child.on('error', (error) => {
      done();
      reject(missing(tool, error.message));
    });
    child.on('close', (code) => {
      done();
      if (failure !== null) {
        reject(failure);
        return;
      }
      const stderr = words.toString('utf8');
      if (localDiskFull.test(stderr)) {
        reject(noPlace([`${tool}: ${wordsOf(stderr)[0] ?? ''}`]));
        return;
      }
      const output = Buffer.concat(said);
      resolve({
        code,
        output,
        get stdout() {
          return output.toString('utf8');
        },
        stderr,
      });
    });
  });
}

/** Whether every tool is there; DR-BACKUP-TOOLS names the first that is not. */
export function assertTools(): void {
  for (const tool of ['mke2fs', 'debugfs', 'e2fsck', 'dumpe2fs'] as const) pathOf(tool);
}

/** A tool that did what it should not have: its own words, without the banner. */
export function toolFailed(tool: Tool, what: string, end: Pick<ToolEnd, 'code' | 'stderr'>): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-TOOL',
    what,
    known: [`${tool} ended with ${end.code ?? 'a signal'}`, ...wordsOf(end.stderr).slice(0, 5)],
    next: 'Look at the free space of the state directory, and whether e2fsprogs is 1.45 or younger; nothing was sent to the disk',
  });
}

/** What a tool complained of, line by line; its banner says nothing. */
export function wordsOf(stderr: string): string[] {
  return stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(mke2fs|debugfs|e2fsck|dumpe2fs) \d+\.\d/.test(line));
}

function environment(at: Instant | undefined): Record<string, string> {
  return {
    PATH: alwaysLookedIn.join(':'),
    LC_ALL: 'C',
    TZ: 'UTC',
    // debugfs would hand its output to a pager through a shell, and mke2fs obey the machine's own defaults.
    DEBUGFS_PAGER: '__none__',
    PAGER: '__none__',
    MKE2FS_CONFIG: '/dev/null',
    E2FSCK_CONFIG: '/dev/null',
    ...(at === undefined ? {} : { E2FSPROGS_FAKE_TIME: String(Math.floor(Date.parse(at) / 1000)) }),
  };
}

const found = new Map<Tool, string>();

function pathOf(tool: Tool): string {
  const known = found.get(tool);
  if (known !== undefined) return known;
  const folders = [...(process.env['PATH'] ?? '').split(':'), ...alwaysLookedIn];
  for (const folder of folders.filter((candidate) => path.isAbsolute(candidate))) {
    const candidate = path.join(folder, tool);
    try {
      accessSync(candidate, constants.X_OK);
    } catch {
      continue;
    }
    found.set(tool, candidate);
    return candidate;
  }
  throw missing(tool, `looked for in ${alwaysLookedIn.join(', ')} and the PATH`);
}

function missing(tool: Tool, known: string): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-TOOLS',
    what: `Program ${tool} is not on this machine, and a metadata backup cannot be read or written without it`,
    known: [known],
    next: 'Install e2fsprogs on the machine where Lifeboat runs: apt install e2fsprogs, or dnf install e2fsprogs',
  });
}

function stopped(tool: Tool): PortError {
  return new PortError('cancelled', {
    code: 'DR-BACKUP-STOPPED',
    what: `${tool} was stopped half-way`,
    known: ['it worked on a private copy'],
    next: 'Nothing is needed; start again when you want it',
  });
}

function tooSlow(tool: Tool, seconds: number): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-TOOL',
    what: `${tool} did not come to an end`,
    known: [`it was given ${seconds} s, and killed`],
    next: 'Look at the load of this machine and at the size of the disk, then repeat',
  });
}

function tooLoud(tool: Tool, bytes: number): PortError {
  return new PortError('refused', {
    code: 'DR-BACKUP-DAMAGED',
    what: `${tool} has more to say about the disk than any metadata backup would give it`,
    known: [`more than ${bytes} bytes`],
    next: 'Do not use this disk; look by hand who wrote it',
  });
}
