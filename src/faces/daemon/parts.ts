/**
 * What runs inside the daemon beside its clock: each part is started once, told of every tick, every run that ended and
 * every reload, and stopped before the daemon ends. A part that fails in between is logged and goes on.
 */
import type { App } from '../../app/app.ts';
import type { Tick, WatchResult } from '../../app/watch.ts';
import type { Problem } from '../../domain/errors.ts';
import type { JobStanding, JobTurn } from '../../domain/jobs.ts';
import type { Run } from '../../domain/run.ts';
import type { Instant } from '../../domain/time.ts';
import { startMetrics } from './metrics-part.ts';
import { startNotices } from './notices-part.ts';

/** Starts listening or watching; throws `OperatorError` when it cannot, and the daemon does not start then. */
export type StartPart = (daemon: DaemonView) => Promise<DaemonPart>;

/** How the daemon stands, at any moment. */
export interface DaemonView {
  readonly version: string;
  now(): Instant;
  /** The application with the settings that are in force: another one after each reload. For its settings; work is `use`. */
  app(): App;
  /** Work with the application; it stays open until the work has ended, whatever is reloaded meanwhile. */
  use<T>(work: (app: App) => Promise<T>): Promise<T>;
  /** Null before the first tick has ended. */
  lastTick(): TickTime | null;
  /** Null as long as the tick under way is younger than the watchdog allows; else what hangs. */
  hangs(): string | null;
  /** Why the newest configuration was refused; empty while the one on the disk is in force. */
  configProblems(): readonly Problem[];
  readonly log: PartLog;
}

export interface PartLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

export interface DaemonPart {
  /** For the log. */
  readonly name: string;
  ticked?(report: TickReport): Promise<void> | void;
  /** A job has ended; `run` is null where it has no journal. */
  jobEnded?(ended: JobEnded): Promise<void> | void;
  /** New settings are in force. */
  reloaded?(app: App): Promise<void> | void;
  stop(): Promise<void>;
}

export interface TickTime {
  readonly at: Instant;
  readonly durationSeconds: number;
}

/** Told and let go: what was seen of two large sites is too much to hold until the next look. */
export interface TickReport extends TickTime {
  /** Null when this tick looked at the clock alone: the world is looked at every `daemon.watch_every`. */
  readonly tick: Tick | null;
  readonly watch: WatchResult | null;
  readonly jobs: readonly JobStanding[];
}

export interface JobEnded {
  readonly job: JobStanding['job'];
  readonly group: string | null;
  readonly turn: JobTurn;
  readonly run: Run | null;
}

/** In the order in which they are started; stopped in the opposite one. */
export const parts: readonly StartPart[] = [startMetrics, startNotices];
