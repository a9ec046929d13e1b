/**
 * One core: work is served in the order in which it came (performance.md 0: the threads of xapi share one runtime
 * lock). Work is booked from the moment at which the request *arrived*, so that the time which the lab itself needs
 * for it counts as part of the price and not on top of it.
 */

import { type Cost, figures } from './figures.ts';
import type { SimulatedTime } from './time.ts';

export class Core {
  readonly #time: SimulatedTime;
  #freeAt = 0;
  #busy = 0;
  #waiting = 0;

  constructor(time: SimulatedTime) {
    this.#time = time;
  }

  /** Seconds of work booked so far. */
  get busySeconds(): number {
    return this.#busy;
  }

  /** Requests that are being paid for at this moment. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Pays for a request and resolves when it would have been done.
   *
   * @param arrivedAt simulated second at which the request arrived
   */
  async pay(cost: Cost, arrivedAt: number): Promise<void> {
    const contention = Math.min(figures.contentionLimit, figures.contentionPerRequest * this.#waiting);
    const cpu = cost.cpuSeconds * (1 + contention);
    this.#waiting += 1;
    try {
      this.#freeAt = Math.max(this.#freeAt, arrivedAt) + cpu;
      this.#busy += cpu;
      await this.#time.until(this.#freeAt + cost.elsewhereSeconds);
    } finally {
      this.#waiting -= 1;
    }
  }
}
