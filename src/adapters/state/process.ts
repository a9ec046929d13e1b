/** Who holds a lock: a process on a machine, told apart from a later process that got the same number. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessMark {
  readonly host: string;
  readonly pid: number;
  /** Boot of the machine and start of the process within it; empty where /proc does not tell. */
  readonly start: string;
}

export function thisProcess(): ProcessMark {
  return { host: hostname(), pid: process.pid, start: startOf(process.pid) };
}

export type Liveness = 'alive' | 'dead' | 'elsewhere';

/** `elsewhere`: on another machine, where we cannot look. */
export function livenessOf(mark: ProcessMark): Liveness {
  if (mark.host !== hostname()) return 'elsewhere';
  if (!exists(mark.pid)) return 'dead';
  const start = startOf(mark.pid);
  return start !== '' && mark.start !== '' && start !== mark.start ? 'dead' : 'alive';
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there and belongs to somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function startOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name in brackets may hold blanks and brackets: count fields behind the last bracket (proc(5), field 22).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended: it only waits to be buried.
    if (fields[0] === 'Z' || fields[0] === 'X') return `${boot}:ended`;
    return `${boot}:${fields[19] ?? ''}`;
  } catch {
    return '';
  }
}
