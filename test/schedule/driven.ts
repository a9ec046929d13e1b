/** A daemon whose clock is driven: the real one over a ledger in memory, with jobs that take time and do nothing. */
import type { App } from '../../src/app/app.ts';
import { takeUp } from '../../src/app/broken-off.ts';
import type { AppPorts } from '../../src/app/ports.ts';
import { beginDue, standings } from '../../src/app/schedules.ts';
import type { JobName, LedgerTurn } from '../../src/domain/jobs.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { runDaemon } from '../../src/faces/daemon/daemon.ts';
import type { Machine } from '../../src/faces/daemon/machine.ts';
import { settings as usual } from '../scripts/fake.ts';
import { MemoryLedger } from './memory-ledger.ts';

interface Sleeper {
  readonly dueAt: number;
  readonly wake: () => void;
}

export class DrivenDaemons {
  readonly ledger = new MemoryLedger();
  /** What every daemon has logged, as `level: message`. */
  readonly logged: string[] = [];
  readonly #settings: Settings;
  readonly #secondsOf: (name: JobName) => number;
  readonly #isOutage: (moment: number) => boolean;
  #wall: number;
  #steady = 0;
  #sleepers: Sleeper[] = [];
  #beat: (() => void) | null = null;
  #stop = new AbortController();
  #ended: Promise<unknown> = Promise.resolve();
  /** Of a daemon that was killed nothing may happen any more. */
  #life = 0;

  constructor(options: {
    readonly settings: Settings;
    readonly start: number;
    readonly secondsOf: (name: JobName) => number;
    /** Whether a job that ends at this moment finds no site that answers. */
    readonly isOutage: (moment: number) => boolean;
  }) {
    this.#settings = options.settings;
    this.#wall = options.start;
    this.#secondsOf = options.secondsOf;
    this.#isOutage = options.isOutage;
  }

  static settings(daemon: NonNullable<Settings['daemon']>, groups: Settings['groups']): Settings {
    return { ...usual, groups, daemon };
  }

  async start(): Promise<void> {
    this.#stop = new AbortController();
    this.#ended = runDaemon({
      programme: { version: 'test', open: async () => this.#app(this.#life) },
      machine: this.#machine(),
      configFile: 'sites.yaml',
      signal: this.#stop.signal,
      parts: [],
    });
    await rest();
  }

  /** Moves both clocks, ends what has come to its end, one after the other, and beats. */
  async step(seconds: number): Promise<void> {
    this.#wall += seconds * 1000;
    this.#steady += seconds;
    for (;;) {
      const next = this.#sleepers
        .filter(({ dueAt }) => dueAt <= this.#steady)
        .sort((a, b) => a.dueAt - b.dueAt)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      next.wake();
      await rest();
    }
    this.#beat?.();
    await rest();
  }

  get now(): number {
    return this.#wall;
  }

  /** The wall clock alone is set. */
  setClock(seconds: number): void {
    this.#wall += seconds * 1000;
  }

  /** As kill -9 does: nothing that was under way goes on. */
  async kill(): Promise<void> {
    this.#life += 1;
    this.#sleepers = [];
    this.#beat = null;
    await rest();
  }

  /** As SIGTERM does; what is under way does not get to its end, for the clock stands still. */
  async terminate(): Promise<void> {
    this.#stop.abort();
    await rest();
    // The time to finish is over.
    const waiting = this.#sleepers;
    this.#sleepers = [];
    for (const { wake } of waiting.filter(({ dueAt }) => dueAt <= this.#steady + 60)) wake();
    await this.#ended;
  }

  async turns(): Promise<LedgerTurn[]> {
    return [...(await this.ledger.turns({ group: null, limit: 1_000_000 }))].reverse();
  }

  #machine(): Machine {
    const log =
      (level: string) =>
      (_fields: unknown, message: string): void => {
        this.logged.push(`${level}: ${message}`);
      };
    return {
      now: () => new Date(this.#wall).toISOString(),
      monotonicSeconds: () => this.#steady,
      sleep: (seconds, signal) => this.#sleep(seconds, signal),
      heartbeat: (beat) => {
        this.#beat = beat;
        return () => {
          this.#beat = null;
        };
      },
      tell: async () => undefined,
      onReload: () => () => undefined,
      watchFiles: () => () => undefined,
      rest: () => undefined,
      log: { info: log('info'), warn: log('warn'), error: log('error') },
      within: (_fields, work) => work(),
    };
  }

  #sleep(seconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { dueAt: this.#steady + seconds, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener(
        'abort',
        () => {
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
          reject(signal.reason);
        },
        { once: true },
      );
    });
  }

  #app(life: number): App {
    const ports = {
      settings: this.#settings,
      clock: { now: () => new Date(this.#wall).toISOString() },
      clockwork: { ledger: async () => this.ledger },
      states: async () => ({ all: async () => [], get: async () => null, isCarriedOut: async () => false }),
      journals: { list: async () => [] },
    } as unknown as AppPorts;
    const schedules: App['schedules'] = {
      standings: (request) => standings(ports, request),
      turns: (request) => this.ledger.turns(request),
      claim: async () => ({ release: async () => undefined }),
      begin: (underWay) => beginDue(ports, underWay),
      takeUp: () => takeUp(ports),
      carryOut: async (turn, { signal }) => {
        const { job, group, slot, startedAt, missed, madeUp } = turn;
        const leftOpen = await this.#sleep(this.#secondsOf(turn), signal).then(
          () => false,
          () => true,
        );
        if (life !== this.#life) return new Promise(() => undefined);
        const at = new Date(this.#wall).toISOString();
        const outcome = this.#isOutage(this.#wall) ? ('failed' as const) : ('done' as const);
        if (!leftOpen) await this.ledger.end(turn.id, { at, outcome, summary: outcome });
        const end = { endedAt: leftOpen ? null : at, outcome: leftOpen ? null : outcome };
        return {
          job,
          group,
          turn: { slot, startedAt, missed, madeUp, run: null, summary: outcome, ...end },
          run: null,
          leftOpen,
        };
      },
      tidy: async () => ({ journals: 0 }),
    };
    const look: App['look'] = async () => {
      throw new Error('nobody looks at the world in this story');
    };
    return { settings: this.#settings, schedules, look, close: async () => undefined } as unknown as App;
  }
}

/** Whoever was woken has run until it waits for something else; nothing here waits for more than other promises. */
async function rest(): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}
