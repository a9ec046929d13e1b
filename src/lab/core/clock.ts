/** The lab's time. Everything in the lab that waits or stamps goes through it, so that a test can drive it. */
export interface LabClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after the given time, or rejects with the signal's reason. */
  sleep(seconds: number, signal?: AbortSignal): Promise<void>;
}

export function realClock(): LabClock {
  return {
    now: () => Date.now(),
    sleep: (seconds, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(signal.reason);
          return;
        }
        const abort = (): void => {
          clearTimeout(timer);
          reject(signal?.reason);
        };
        const timer = setTimeout(() => {
          signal?.removeEventListener('abort', abort);
          resolve();
        }, seconds * 1000);
        signal?.addEventListener('abort', abort, { once: true });
      }),
  };
}

/** A clock that runs `factor` times as fast as the real one, from the real time on. */
export function fastClock(factor: number): LabClock {
  const real = realClock();
  const start = real.now();
  return {
    now: () => start + (real.now() - start) * factor,
    sleep: (seconds, signal) => real.sleep(seconds / factor, signal),
  };
}

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** A clock that stands still until a test moves it. */
export class DrivenClock implements LabClock {
  #now: number;
  #sleepers: Sleeper[] = [];
  /** With `autoAdvance` a sleep is over at once and moves the clock by its length. */
  readonly autoAdvance: boolean;
  constructor(startMillis = Date.UTC(2026, 10, 21, 12), options: { autoAdvance?: boolean } = {}) {
    this.#now = startMillis;
    this.autoAdvance = options.autoAdvance ?? false;
  }
  now(): number {
    return this.#now;
  }
  /** How many sleeps are waiting. */
  get waiting(): number {
    return this.#sleepers.length;
  }
  sleep(seconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (this.autoAdvance) {
      this.#now += seconds * 1000;
      return new Promise((resolve) => setImmediate(resolve));
    }
    return new Promise((resolve, reject) => {
      const sleeper: Sleeper = { at: this.#now + seconds * 1000, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener(
        'abort',
        () => {
          this.#sleepers = this.#sleepers.filter((s) => s !== sleeper);
          reject(signal.reason);
        },
        { once: true },
      );
    });
  }
  /** Moves the clock and wakes, in order, whoever's time has come. */
  async advance(seconds: number): Promise<void> {
    const end = this.#now + seconds * 1000;
    for (;;) {
      const next = this.#sleepers.filter((s) => s.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((s) => s !== next);
      this.#now = Math.max(this.#now, next.at);
      next.wake();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#now = end;
  }
}
