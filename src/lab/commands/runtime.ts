/**
 * Where running labs are known: one directory per lab below `$LIFEBOAT_LAB_DIR` or `<tmp>/lifeboat-lab-<uid>`, with
 * `state.json`, the control socket, a log and, unless told otherwise, the storage.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

const poolSchema = z.object({
  url: z.string(),
  username: z.string(),
  password: z.string(),
  fingerprint: z.string(),
});

/** What `lab up --json` prints of a lab. */
export const announcementSchema = z.object({
  pools: z.record(z.string(), poolSchema),
  /** A second host of the recovery pool. */
  member: z.object({ url: z.string() }).optional(),
  storage: z.string(),
  hosts: z.array(
    z.object({
      name: z.string(),
      pool: z.string(),
      site: z.string(),
      url: z.string(),
      fingerprint: z.string(),
    }),
  ),
});
export type Announcement = z.infer<typeof announcementSchema>;

const stateSchema = z.object({
  name: z.string(),
  world: z.string(),
  pid: z.number(),
  startedAt: z.string(),
  announcement: announcementSchema,
});
export type LabState = z.infer<typeof stateSchema>;

/** A complaint for people, with what to do next. */
export class LabError extends Error {
  readonly next: string;
  /** 1 failed, 2 wrong usage. */
  readonly exitCode: 1 | 2;
  constructor(message: string, next: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = 'LabError';
    this.next = next;
    this.exitCode = exitCode;
  }
}

export function runtimeRoot(): string {
  const root = process.env['LIFEBOAT_LAB_DIR'] ?? join(tmpdir(), `lifeboat-lab-${userInfo().uid}`);
  mkdirSync(root, { recursive: true, mode: 0o700 });
  if (statSync(root).uid !== userInfo().uid)
    throw new LabError(`${root} belongs to somebody else`, 'set LIFEBOAT_LAB_DIR to a directory of your own');
  return root;
}

const goodName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$/;

/** The directory of a lab, whether it runs or not. */
export function directoryOf(name: string): string {
  if (!goodName.test(name))
    throw new LabError(
      `${JSON.stringify(name)} is no name for a lab`,
      'use letters, digits, dots and dashes',
    );
  return join(runtimeRoot(), name);
}

export const socketOf = (name: string): string => join(directoryOf(name), 'control.sock');
export const logOf = (name: string): string => join(directoryOf(name), 'log.txt');

export function writeState(state: LabState): void {
  const path = join(directoryOf(state.name), 'state.json');
  writeFileSync(`${path}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Is there a process of this number that we may signal? */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}

/** The state of a running lab; null when none of this name runs. */
export function readState(name: string): LabState | null {
  const path = join(directoryOf(name), 'state.json');
  if (!existsSync(path)) return null;
  const state = stateSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
  return state.success && alive(state.data.pid) ? state.data : null;
}

export function needState(name: string): LabState {
  const state = readState(name);
  if (state !== null) return state;
  const others = runningLabs().map((lab) => lab.name);
  throw new LabError(
    `no lab called ${name} is running`,
    others.length === 0
      ? 'start one with `lifeboat lab up`'
      : `running: ${others.join(', ')}; name one with --name`,
  );
}

export function runningLabs(): LabState[] {
  return readdirSync(runtimeRoot())
    .filter((name) => goodName.test(name))
    .map((name) => readState(name))
    .filter((state) => state !== null);
}

/** Clears what a lab of this name left behind. */
export function forget(name: string): void {
  rmSync(directoryOf(name), { recursive: true, force: true });
}
