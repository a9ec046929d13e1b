/** A lab in another process: started, asked for its figures, stopped. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { WorldSpec } from './world.ts';

export interface LabSpec {
  readonly world: WorldSpec;
  readonly storage: string;
  /** The cost model of src/lab/cost. */
  readonly costs: boolean;
  /** Time in which everybody only waits is left out; the figures are simulated seconds. */
  readonly skipping: boolean | 'prices only';
  /** `costs.hostStartSeconds`; 0 when absent. */
  readonly hostStartSeconds?: number;
}

export interface PoolAddress {
  readonly url: string;
  readonly fingerprint: string;
  readonly uuid: string;
  readonly vms: readonly string[];
}

export type Order =
  | { readonly verb: 'start'; readonly spec: LabSpec }
  | { readonly verb: 'stats'; readonly pool: string }
  | { readonly verb: 'touch'; readonly pool: string; readonly text: string }
  | { readonly verb: 'forget-calls' }
  | { readonly verb: 'kill-site'; readonly site: string }
  | { readonly verb: 'stop' };

export interface Answers {
  start: {
    readonly username: string;
    readonly password: string;
    readonly pools: Readonly<Record<string, PoolAddress>>;
  };
  stats: {
    /** Since the cost model was switched on. */
    readonly nowSeconds: number;
    readonly busySeconds: number;
    readonly lateSeconds: number;
    readonly ownSeconds: number;
    readonly calls: Readonly<Record<string, number>>;
    readonly runningAt: readonly number[];
  };
  touch: null;
  'forget-calls': null;
  'kill-site': null;
  stop: null;
}

export type Reply = { readonly id: number; readonly value?: unknown; readonly error?: string };

export class BenchLab {
  readonly username: string;
  readonly password: string;
  readonly pools: Readonly<Record<string, PoolAddress>>;
  readonly #line: Line;

  private constructor(line: Line, started: Answers['start']) {
    this.#line = line;
    this.username = started.username;
    this.password = started.password;
    this.pools = started.pools;
  }

  static async start(spec: LabSpec): Promise<BenchLab> {
    const line = new Line();
    try {
      return new BenchLab(line, await line.ask('start', { verb: 'start', spec }));
    } catch (error) {
      await line.end();
      throw error;
    }
  }

  pool(name: string): PoolAddress {
    const pool = this.pools[name];
    if (pool === undefined) throw new Error(`the lab has no pool ${name}`);
    return pool;
  }

  stats(pool: string): Promise<Answers['stats']> {
    return this.#line.ask('stats', { verb: 'stats', pool });
  }

  async touch(pool: string, text: string): Promise<void> {
    await this.#line.ask('touch', { verb: 'touch', pool, text });
  }

  async forgetCalls(): Promise<void> {
    await this.#line.ask('forget-calls', { verb: 'forget-calls' });
  }

  async killSite(site: string): Promise<void> {
    await this.#line.ask('kill-site', { verb: 'kill-site', site });
  }

  async stop(): Promise<void> {
    try {
      await this.#line.ask('stop', { verb: 'stop' });
    } finally {
      await this.#line.end();
    }
  }
}

/** Orders and answers over the pipe to the child. */
class Line {
  readonly #child = fork(new URL('lab-process.ts', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #count = 0;

  constructor() {
    this.#child.on('message', (message) => {
      const { id, value, error } = message as Reply;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(`the lab: ${error}`));
    });
    this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`the lab's process ended (${signal ?? code})`));
      this.#waiting.clear();
    });
  }

  ask<V extends Order['verb']>(verb: V, order: Extract<Order, { verb: V }>): Promise<Answers[V]> {
    this.#count += 1;
    const id = this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#child.send({ id, order: { ...order, verb } }, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}
