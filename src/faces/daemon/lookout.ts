/** The look at the world, every few minutes: taken once, handed to the watch and to the parts, and never twice at a time. */
import type { App } from '../../app/app.ts';
import type { Tick, WatchResult } from '../../app/watch.ts';
import type { Config } from './config.ts';
import { fieldsOf } from './errors.ts';
import type { Machine } from './machine.ts';

export interface Looked {
  readonly tick: Tick;
  /** Null where nobody watches, or where the watch failed. */
  readonly watch: WatchResult | null;
}

export interface LookoutOptions {
  readonly machine: Machine;
  readonly config: Pick<Config, 'use' | 'app' | 'problems'>;
}

const watchEverySeconds = 300;
/** A site that hangs must not hang the watch: what was not seen until then is a gap. */
const lookWithinSeconds = 600;
/** Beyond this a look cannot be stopped any more, and the process is of no use. */
const hangsAfterSeconds = 900;

export class Lookout {
  readonly #options: LookoutOptions;
  readonly #stop = new AbortController();
  #lastLook: number | null = null;
  #lookingSince: number | null = null;
  #looking: Promise<Looked | null> | null = null;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** Looks if it is time; null otherwise, and when the look failed. Never throws. */
  async look(): Promise<Looked | null> {
    if (this.#looking !== null || !this.#isTime()) return null;
    this.#looking = this.#take();
    try {
      return await this.#looking;
    } finally {
      this.#looking = null;
      this.#lookingSince = null;
    }
  }

  /** The next beat looks, whenever the last look was: settings have changed. */
  soon(): void {
    this.#lastLook = null;
  }

  hangs(): string | null {
    if (this.#lookingSince === null) return null;
    const since = this.#options.machine.monotonicSeconds() - this.#lookingSince;
    return since > hangsAfterSeconds
      ? `the look at the sites has been under way for ${Math.round(since)} s`
      : null;
  }

  async stop(): Promise<void> {
    this.#stop.abort(new DOMException('the daemon was told to end', 'AbortError'));
    await this.#looking;
  }

  #isTime(): boolean {
    const { config, machine } = this.#options;
    if (this.#stop.signal.aborted) return false;
    const every = config.app.settings.daemon?.watchEverySeconds ?? watchEverySeconds;
    // A beat comes a second early now and then: it is not to be taken for the one before.
    return this.#lastLook === null || machine.monotonicSeconds() - this.#lastLook >= every - 5;
  }

  async #take(): Promise<Looked | null> {
    const { machine, config } = this.#options;
    const began = machine.monotonicSeconds();
    this.#lastLook = began;
    this.#lookingSince = began;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, over.signal]);
    const ended = new AbortController();
    void machine.sleep(lookWithinSeconds, ended.signal).then(
      () => over.abort(new DOMException(`the look took longer than ${lookWithinSeconds} s`, 'TimeoutError')),
      () => undefined,
    );
    try {
      return await config.use(async (app) => {
        const tick = await app.look({ configProblems: config.problems }, { signal });
        return { tick, watch: await this.#watch(app, tick, signal) };
      });
    } catch (error) {
      if (!this.#stop.signal.aborted) machine.log.error(fieldsOf(error), 'the world cannot be looked at');
      return null;
    } finally {
      ended.abort();
    }
  }

  async #watch(app: App, tick: Tick, signal: AbortSignal): Promise<WatchResult | null> {
    const { machine } = this.#options;
    try {
      return (await app.watch?.(tick, { signal })) ?? null;
    } catch (error) {
      if (!this.#stop.signal.aborted) machine.log.error(fieldsOf(error), 'the watch failed');
      return null;
    }
  }
}
