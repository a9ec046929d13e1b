/**
 * A clock that stands still until it is driven. `advance` moves it by hand; with `auto` it jumps to the next sleeper
 * whenever the program has nothing else to do, so that hours pass in milliseconds and in a fixed order.
 *
 * `auto` fits worlds that answer from memory. A world with real input and output is never "at rest" for the event
 * loop: drive the clock by hand there.
 */
import type { Instant } from '../../domain/time.ts';
import type { Clock } from '../../ports/system.ts';

interface Sleeper {
  readonly dueSeconds: number;
  readonly order: number;
  readonly wake: () => void;
}

export class VirtualClock implements Clock {
  #elapsedSeconds = 0;
  #order = 0;
  #sleepers: Sleeper[] = [];
  #scheduled = false;
  readonly #startMilliseconds: number;
  readonly #auto: boolean;

  constructor(options: { readonly start?: Instant; readonly auto?: boolean } = {}) {
    this.#startMilliseconds = Date.parse(options.start ?? '2026-01-01T00:00:00.000Z');
    this.#auto = options.auto ?? false;
  }

  now(): Instant {
    return new Date(this.#startMilliseconds + Math.round(this.#elapsedSeconds * 1000)).toISOString();
  }

  monotonicSeconds(): number {
    return this.#elapsedSeconds;
  }

  sleep(seconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const stop = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason);
      };
      const sleeper: Sleeper = {
        dueSeconds: this.#elapsedSeconds + Math.max(0, seconds),
        order: this.#order++,
        wake: () => {
          signal?.removeEventListener('abort', stop);
          resolve();
        },
      };
      signal?.addEventListener('abort', stop, { once: true });
      this.#sleepers.push(sleeper);
      this.#schedule();
    });
  }

  /** How many sleep now: a test waits for it before it moves the clock. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Moves the clock and wakes, in order of time, everyone who is due; each gets to run before the next is woken. */
  async advance(seconds: number): Promise<void> {
    const until = this.#elapsedSeconds + seconds;
    for (let next = this.#next(); next !== undefined && next.dueSeconds <= until; next = this.#next()) {
      this.#wake(next);
      await rest();
    }
    this.#elapsedSeconds = until;
  }

  #next(): Sleeper | undefined {
    return this.#sleepers.reduce<Sleeper | undefined>(
      (first, other) =>
        first === undefined ||
        other.dueSeconds < first.dueSeconds ||
        (other.dueSeconds === first.dueSeconds && other.order < first.order)
          ? other
          : first,
      undefined,
    );
  }

  #wake(sleeper: Sleeper): void {
    this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
    this.#elapsedSeconds = Math.max(this.#elapsedSeconds, sleeper.dueSeconds);
    sleeper.wake();
  }

  #schedule(): void {
    if (!this.#auto || this.#scheduled) return;
    this.#scheduled = true;
    void rest().then(() => {
      this.#scheduled = false;
      const next = this.#next();
      if (next !== undefined) this.#wake(next);
      if (this.#sleepers.length > 0) this.#schedule();
    });
  }
}

/** Two turns of the event loop: whoever was woken has run until it waits for something else. */
async function rest(): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}
