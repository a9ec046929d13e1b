/** Simulated seconds for the cost model, on whatever clock the lab runs (figures: ./figures.ts). */
import type { LabClock } from '../core/clock.ts';
import { SkippingClock } from './skipping.ts';

export interface SimulatedTime {
  /** Simulated seconds since the start. */
  now(): number;
  /** Resolves at this simulated second, at once when it has passed. */
  until(seconds: number): Promise<void>;
  /** The same for a wait beside the pool's core, during which a client has other things to do. */
  beside(seconds: number): Promise<void>;
}

/** Of a clock that somebody drives, skips or speeds up; null stands for time as it is. */
export function timeOf(clock: LabClock | null): SimulatedTime {
  return clock === null ? new RealTime() : new ClockTime(clock);
}

class ClockTime implements SimulatedTime {
  readonly #clock: LabClock;
  readonly #start: number;

  constructor(clock: LabClock) {
    this.#clock = clock;
    this.#start = clock.now();
  }

  now(): number {
    return (this.#clock.now() - this.#start) / 1000;
  }

  async until(seconds: number): Promise<void> {
    const rest = seconds - this.now();
    if (rest <= 0) return;
    await (this.#clock instanceof SkippingClock ? this.#clock.price(rest) : this.#clock.sleep(rest));
  }

  async beside(seconds: number): Promise<void> {
    const rest = seconds - this.now();
    if (rest > 0) await this.#clock.sleep(rest);
  }
}

/** Timers of a process are good to a millisecond; below that only turning round helps. */
const timerSeconds = 0.0015;

/** Time as it is: every price is slept. */
class RealTime implements SimulatedTime {
  readonly #start = performance.now();

  now(): number {
    return (performance.now() - this.#start) / 1000;
  }

  async until(seconds: number): Promise<void> {
    const rest = seconds - this.now();
    if (rest > timerSeconds) await new Promise((done) => setTimeout(done, (rest - timerSeconds) * 1000));
    while (this.now() < seconds) await new Promise((done) => setImmediate(done));
  }

  beside(seconds: number): Promise<void> {
    return this.until(seconds);
  }
}
