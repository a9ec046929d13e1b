/**
 * Simulated time of the cost model. `real`: every price is slept. `skipping`: time that would only be slept is
 * skipped, so that a pool of a thousand VMs takes seconds of real time and yet reports what a real one would take.
 * The time in between (the client at work, the lab at work) passes as it really does; nothing is skipped while
 * anybody has something to do. `driven`: a test moves a clock of its own.
 */
export interface SimulatedTime {
  /** Simulated seconds since the start. */
  now(): number;
  /** Resolves at this simulated second, at once when it has passed. */
  until(seconds: number): Promise<void>;
}

/** Time as it is. */
export class RealTime implements SimulatedTime {
  readonly #start = performance.now();

  now(): number {
    return (performance.now() - this.#start) / 1000;
  }

  until(seconds: number): Promise<void> {
    const rest = seconds - this.now();
    return rest <= 0 ? Promise.resolve() : new Promise((done) => setTimeout(done, rest * 1000));
  }
}

/** A clock that the caller drives: the part of the lab's clock that the model needs. */
export interface DrivenClock {
  monotonicSeconds(): number;
  sleep(seconds: number): Promise<void>;
}

export class DrivenTime implements SimulatedTime {
  readonly #clock: DrivenClock;
  readonly #start: number;

  constructor(clock: DrivenClock) {
    this.#clock = clock;
    this.#start = clock.monotonicSeconds();
  }

  now(): number {
    return this.#clock.monotonicSeconds() - this.#start;
  }

  async until(seconds: number): Promise<void> {
    const rest = seconds - this.now();
    if (rest > 0) await this.#clock.sleep(rest);
  }
}

interface Waiter {
  readonly at: number;
  readonly wake: () => void;
}

/**
 * Skips to the next price that is due as soon as nobody has had anything to do for `quietMillis`: no request has
 * come in and none has gone on. Client and lab may live in one process or in two.
 */
export class SkippingTime implements SimulatedTime {
  readonly #quietMillis: number;
  readonly #start = performance.now();
  #skipped = 0;
  #lastActivity = 0;
  #waiters: Waiter[] = [];
  #pumping = false;

  constructor(quietMillis = 0.4) {
    this.#quietMillis = quietMillis;
  }

  now(): number {
    return (performance.now() - this.#start) / 1000 + this.#skipped;
  }

  /** Seconds that were skipped rather than slept. */
  get skippedSeconds(): number {
    return this.#skipped;
  }

  /** Somebody had something to do: a request came in, a piece of a body, an answer went out. */
  noteActivity(): void {
    this.#lastActivity = performance.now();
  }

  until(seconds: number): Promise<void> {
    if (seconds <= this.now()) return Promise.resolve();
    this.noteActivity();
    return new Promise((wake) => {
      const at = this.#waiters.findIndex((w) => w.at > seconds);
      this.#waiters.splice(at < 0 ? this.#waiters.length : at, 0, { at: seconds, wake });
      if (!this.#pumping) {
        this.#pumping = true;
        setImmediate(() => this.#pump());
      }
    });
  }

  #pump(): void {
    const [next] = this.#waiters;
    if (next === undefined) {
      this.#pumping = false;
      return;
    }
    // A tenth of a millisecond is below what a socket on loopback can tell apart.
    const rest = next.at - this.now();
    const quiet = performance.now() - this.#lastActivity >= this.#quietMillis;
    if (rest <= 0 || quiet) {
      if (rest > 0) this.#skipped += rest;
      this.#waiters.shift();
      this.noteActivity();
      next.wake();
    }
    setImmediate(() => this.#pump());
  }
}
