/** What the daemon needs of the machine: clocks, signals, files, the service manager, a log. Tests drive their own. */
import type { Instant } from '../../domain/time.ts';

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export interface Machine {
  now(): Instant;
  /** Seconds of a clock that never jumps. */
  monotonicSeconds(): number;
  /** Resolves after so many seconds, or rejects when the signal aborts. */
  sleep(seconds: number, signal?: AbortSignal): Promise<void>;
  /** Beats about once a minute, whatever becomes of the wall clock, until the returned function is called. */
  heartbeat(beat: () => void, onSilence: (seconds: number) => void): () => void;
  /** `READY=1` and the like, for a service manager that wants to hear it (sd_notify(3)). */
  tell(variables: readonly string[]): Promise<void>;
  /** Calls the listener at each SIGHUP until the returned function is called. */
  onReload(listener: () => void): () => void;
  /** Calls the listener when one of these files has changed, until the returned function is called. */
  watchFiles(paths: readonly string[], changed: () => void): () => void;
  /** The look is over: memory that is not needed any more is given back. */
  rest(): void;
  readonly log: Log;
  /** Every line that is logged meanwhile, by whomever, carries these fields as they are at that moment. */
  within<T>(fields: LogFields, work: () => Promise<T>): Promise<T>;
}
