/**
 * One core: work is served in the order in which it came (performance.md 0: the threads of xapi share one runtime
 * lock). Work is booked from the moment at which the request *arrived*, so that the time which the lab itself needs
 * for it counts as part of the price and not on top of it.
 */
import { type Cost, figures } from './figures.ts';
import type { SimulatedTime } from './time.ts';

/** What xenopsd of one host does beside xapi: four things at a time, each as soon as a worker is free (performance.md 6). */
export class HostWorkers {
  readonly #freeAt = [0, 0, 0, 0];

  /** When work that arrives now will be done. */
  endOf(arrivedAt: number, seconds: number): number {
    const worker = this.#freeAt.indexOf(Math.min(...this.#freeAt));
    const end = Math.max(arrivedAt, this.#freeAt[worker] ?? 0) + seconds;
    this.#freeAt[worker] = end;
    return end;
  }
}

export class Core {
  readonly #time: SimulatedTime;
  #freeAt = 0;
  #busy = 0;
  #late = 0;
  #waiting = 0;

  constructor(time: SimulatedTime) {
    this.#time = time;
  }

  /** Seconds of work done for requests so far. */
  get busySeconds(): number {
    return this.#busy;
  }

  /** Seconds by which answers came later than their price: what the lab takes by itself. */
  get lateSeconds(): number {
    return this.#late;
  }

  /**
   * Pays for a request and resolves when it would have been done.
   *
   * @param arrivedAt simulated second at which the request, or this part of it, began
   */
  async pay(cost: Cost, arrivedAt: number): Promise<void> {
    if (cost.cpuSeconds === 0 && cost.elsewhereSeconds === 0) return;
    const contention = Math.min(figures.contentionLimit, figures.contentionPerRequest * this.#waiting);
    const cpu = cost.cpuSeconds * (1 + contention);
    const due = Math.max(this.#freeAt, arrivedAt) + cpu;
    this.#freeAt = due;
    this.#busy += cpu;
    this.#waiting += 1;
    try {
      await this.#time.until(due + cost.elsewhereSeconds);
      this.#late += Math.max(0, this.#time.now() - due - cost.elsewhereSeconds);
    } finally {
      this.#waiting -= 1;
    }
  }
}
