/**
 * A clock that leaves out the time in which everybody only waits: a pool of a thousand VMs takes seconds of real time
 * and yet shows what a real one would take. The time in between, the client at work or the lab at work, passes as it
 * really does; nothing is left out while anybody has something to do. Client and lab may live in one process or two.
 */
import type { LabClock } from '../core/clock.ts';

interface Sleeper {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly wake: () => void;
  /** `price`: somebody waits for an answer. `work`: something takes its time. `time-out`: never makes the clock jump. */
  readonly kind: 'price' | 'work' | 'time-out';
}

/** Before a long wait is left out, it must be quieter for longer: a client may be writing to its disk meanwhile. */
const quietShare = 0.02;
const longestQuietMillis = 25;

/** Longest time-out that a timer of the process can hold. */
const longestMillis = 2 ** 31 - 1;

export class SkippingClock implements LabClock {
  readonly #quietMillis: number;
  readonly #pricesOnly: boolean;
  readonly #origin: number;
  readonly #start = performance.now();
  #skippedMillis = 0;
  #lastActivity = 0;
  #lastTurn = 0;
  #sleepers: Sleeper[] = [];
  #turning = false;

  /**
   * @param quietMillis how long nobody must have done anything before time is left out
   * @param pricesOnly time that really passes does not count: a busy machine then changes nothing, and the work of the
   *   client costs nothing either
   */
  constructor(quietMillis = 0.4, pricesOnly = false, originMillis = Date.UTC(2026, 10, 21, 12)) {
    this.#quietMillis = quietMillis;
    this.#pricesOnly = pricesOnly;
    this.#origin = originMillis;
  }

  now(): number {
    const passed = this.#pricesOnly ? 0 : performance.now() - this.#start;
    return this.#origin + passed + this.#skippedMillis;
  }

  /** Seconds that were left out. */
  get skippedSeconds(): number {
    return this.#skippedMillis / 1000;
  }

  /** Somebody had something to do: a request came in, an answer went out. */
  noteActivity(): void {
    this.#lastActivity = performance.now();
  }

  /** A sleep with a signal is a time-out; one without is work that takes its time. */
  sleep(seconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    return this.#wait(seconds, signal === undefined ? 'work' : 'time-out', signal);
  }

  /** Waits for what a request costs. */
  price(seconds: number): Promise<void> {
    return this.#wait(seconds, 'price');
  }

  #wait(seconds: number, kind: Sleeper['kind'], signal?: AbortSignal): Promise<void> {
    if (kind !== 'time-out') this.noteActivity();
    return new Promise((resolve, reject) => {
      const at = this.now() + seconds * 1000;
      const timer =
        kind === 'time-out'
          ? setTimeout(
              () => (this.#pricesOnly ? wake() : this.#fire()),
              Math.min(seconds * 1000, longestMillis),
            )
          : null;
      const finish = (): void => {
        if (timer !== null) clearTimeout(timer);
        this.#sleepers = this.#sleepers.filter((s) => s !== sleeper);
        signal?.removeEventListener('abort', abort);
      };
      const abort = (): void => {
        finish();
        reject(signal?.reason);
      };
      const wake = (): void => {
        finish();
        resolve();
      };
      const sleeper: Sleeper = { at, wake, kind };
      signal?.addEventListener('abort', abort, { once: true });
      this.#sleepers.push(sleeper);
      this.#turn();
    });
  }

  #fire(): void {
    const now = this.now();
    for (const sleeper of this.#sleepers.filter((s) => s.at <= now)) sleeper.wake();
  }

  #turn(): void {
    if (this.#turning || !this.#sleepers.some((s) => s.kind !== 'time-out')) return;
    this.#turning = true;
    this.#lastTurn = performance.now();
    setImmediate(() => this.#look());
  }

  #look(): void {
    this.#turning = false;
    const turn = performance.now();
    // A long turn of the event loop means that somebody in this process was at work.
    if (turn - this.#lastTurn > this.#quietMillis / 2) this.noteActivity();
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.kind !== 'time-out' && (next === undefined || sleeper.at < next.at)) next = sleeper;
    }
    if (next !== undefined) {
      const rest = next.at - this.now();
      const wanted =
        next.kind === 'price' || this.#pricesOnly ? 0 : Math.min(longestQuietMillis, rest * quietShare);
      const quiet = turn - this.#lastActivity >= Math.max(this.#quietMillis, wanted);
      if (rest > 0 && quiet) this.#skippedMillis += rest;
      if (next.at <= this.now()) {
        this.noteActivity();
        this.#fire();
      }
    }
    this.#turn();
  }
}
