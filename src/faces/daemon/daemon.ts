/**
 * The daemon: a clock that asks what is due and calls the same verbs as the command line, and a look at the world every
 * few minutes. It decides nothing by itself; what it knows lies in the ledger, so that it can be killed at any moment.
 */
import type { App, Programme } from '../../app/app.ts';
import type { EndedTurn } from '../../app/turns.ts';
import { type ExitCode, exitCodes } from '../../domain/errors.ts';
import { jobKey } from '../../domain/jobs.ts';
import { Config } from './config.ts';
import { fieldsOf } from './errors.ts';
import { Jobs } from './jobs.ts';
import { Lookout } from './lookout.ts';
import type { Machine } from './machine.ts';
import type { DaemonPart, DaemonView, StartPart, TickReport, TickTime } from './parts.ts';

export interface DaemonOptions {
  readonly programme: Pick<Programme, 'open' | 'version'>;
  readonly machine: Machine;
  readonly configFile: string;
  /** Aborted when the daemon is to end. */
  readonly signal: AbortSignal;
  /** A person takes the work over from a machine that is gone. */
  readonly takeOver?: { readonly by: string; readonly reason: string };
  readonly parts: readonly StartPart[];
}

/** A wall clock that goes apart by more from the one that never jumps was set. */
const jumpSeconds = 30;
const tidyEverySeconds = 3600;
const finishWithinSeconds = 60;

/** Resolves when the daemon has ended in an orderly way. Throws `OperatorError` when it may not start. */
export async function runDaemon(options: DaemonOptions): Promise<ExitCode> {
  const { programme, machine, configFile, takeOver } = options;
  // An application of its own, so that the right to be the daemon outlives every reload.
  const holder = await programme.open(configFile);
  try {
    const claim = await holder.schedules.claim(takeOver);
    try {
      const config = await Config.open({ machine, programme, file: configFile });
      await new Daemon(options, config).run();
      return exitCodes.done;
    } finally {
      await claim.release();
    }
  } finally {
    await holder.close();
  }
}

class Daemon {
  readonly #options: DaemonOptions;
  readonly #machine: Machine;
  readonly #config: Config;
  readonly #jobs: Jobs;
  readonly #lookout: Lookout;
  readonly #parts: DaemonPart[] = [];
  #lastTick: TickTime | null = null;
  #beating: Promise<void> | null = null;
  #clocks: { readonly wall: number; readonly steady: number } | null = null;
  #tidiedAt: number | null = null;

  constructor(options: DaemonOptions, config: Config) {
    const { machine } = options;
    this.#options = options;
    this.#machine = machine;
    this.#config = config;
    this.#jobs = new Jobs({ machine, config, onEnd: (ended) => this.#ended(ended) });
    this.#lookout = new Lookout({ machine, config });
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const { log } = this.#machine;
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    const letGo: (() => void)[] = [];
    try {
      await this.#startParts();
      await this.#takeUp();
      this.#config.watch((app) => this.#reloaded(app));
      letGo.push(this.#machine.onReload(() => void this.#config.reload()));
      const beat = (): void => void this.#beat();
      letGo.push(
        this.#machine.heartbeat(beat, (seconds) =>
          log.warn({ seconds }, 'the heartbeat had fallen silent, and was started anew'),
        ),
      );
      log.info({ version: this.#options.programme.version }, 'the daemon is ready');
      await this.#machine.tell(['READY=1', this.#status()]);
      beat();
      await stopped;
      log.info({ underWay: this.#jobs.count }, 'the daemon was told to end');
      await this.#machine.tell(['STOPPING=1', 'STATUS=Bringing to an end what is under way']);
    } finally {
      for (const release of letGo) release();
      await this.#end();
    }
    log.info({}, 'the daemon has ended');
  }

  async #startParts(): Promise<void> {
    const view: DaemonView = {
      version: this.#options.programme.version,
      now: () => this.#machine.now(),
      app: () => this.#config.app,
      use: (work) => this.#config.use(work),
      lastTick: () => this.#lastTick,
      hangs: () => this.#lookout.hangs(),
      configProblems: () => this.#config.problems,
      log: this.#machine.log,
    };
    for (const start of this.#options.parts) this.#parts.push(await start(view));
  }

  /** Before the first turn begins: nobody else can be at work on what is open now. */
  async #takeUp(): Promise<void> {
    const { log } = this.#machine;
    const { turns, settled } = await this.#config.app.schedules.takeUp();
    for (const turn of settled)
      log.warn(
        { job: turn.job, group: turn.group, run: turn.run, slot: turn.slot, outcome: turn.outcome },
        `${jobKey(turn)}: was under way when the last daemon ended: ${turn.summary}`,
      );
    for (const turn of turns) {
      const { job, group, goesOnWith: run, slot } = turn;
      const what = job === 'drill' ? 'its remains are taken away' : 'it goes on';
      log.warn({ job, group, run, slot }, `${jobKey(turn)}: run ${run} was broken off; ${what}`);
      this.#jobs.carryOut(turn);
    }
  }

  async #beat(): Promise<void> {
    if (this.#beating !== null) return;
    this.#beating = this.#tick();
    try {
      await this.#beating;
    } catch (error) {
      this.#machine.log.error(fieldsOf(error), 'the tick failed');
    } finally {
      this.#beating = null;
    }
  }

  async #tick(): Promise<void> {
    const began = this.#machine.monotonicSeconds();
    this.#compareClocks();
    await this.#jobs.begin();
    await this.#tidy();
    await this.#report({ began, tick: null, watch: null });
    // Not awaited: what is due next does not wait for a site that does not answer.
    void this.#look();
    const alive = this.#lookout.hangs() === null ? ['WATCHDOG=1'] : [];
    await this.#machine.tell([...alive, this.#status()]);
  }

  async #look(): Promise<void> {
    // Afterwards, when nothing here holds any more what was seen.
    if (await this.#lookAndTell()) this.#machine.rest();
  }

  /** Whether it was time, and the look was taken. */
  async #lookAndTell(): Promise<boolean> {
    const began = this.#machine.monotonicSeconds();
    const looked = await this.#lookout.look();
    if (looked === null) return false;
    const { tick, watch } = looked;
    for (const run of tick.interrupted)
      this.#machine.log.warn(
        { group: run.group, run: run.id, operation: run.operation },
        `the ${run.operation} of group ${run.group} was broken off and waits for a person: lifeboat run show ${run.id}`,
      );
    if (watch !== null && watch.raised + watch.closed > 0)
      this.#machine.log.info(
        { raised: watch.raised, closed: watch.closed, open: watch.alarms.length },
        `${watch.raised} alarms were raised and ${watch.closed} closed; ${watch.alarms.length} are open`,
      );
    await this.#report({ began, tick, watch });
    return true;
  }

  async #report({
    began,
    tick,
    watch,
  }: Pick<TickReport, 'tick' | 'watch'> & { readonly began: number }): Promise<void> {
    const jobs = tick?.jobs ?? (await this.#config.use((app) => app.schedules.standings({ groups: [] })));
    const durationSeconds = this.#machine.monotonicSeconds() - began;
    this.#lastTick = { at: this.#machine.now(), durationSeconds };
    await this.#tellParts('ticked', { ...this.#lastTick, tick, watch, jobs });
  }

  async #ended({ job, group, turn, run, leftOpen }: EndedTurn): Promise<void> {
    if (!leftOpen) await this.#tellParts('jobEnded', { job, group, turn, run });
  }

  async #reloaded(app: App): Promise<void> {
    this.#lookout.soon();
    await this.#tellParts('reloaded', app);
    void this.#beat();
  }

  /** A part that fails is told of in the log, and in nothing else. */
  async #tellParts<E extends 'ticked' | 'jobEnded' | 'reloaded'>(
    event: E,
    value: Parameters<NonNullable<DaemonPart[E]>>[0],
  ): Promise<void> {
    for (const part of this.#parts) {
      try {
        const listener = part[event] as ((value: unknown) => Promise<void> | void) | undefined;
        await listener?.call(part, value);
      } catch (error) {
        this.#machine.log.error({ part: part.name, ...fieldsOf(error) }, `part ${part.name} failed`);
      }
    }
  }

  #compareClocks(): void {
    const now = {
      wall: Date.parse(this.#machine.now()) / 1000,
      steady: this.#machine.monotonicSeconds(),
    };
    const before = this.#clocks;
    this.#clocks = now;
    if (before === null) return;
    const seconds = Math.round(now.wall - before.wall - (now.steady - before.steady));
    if (Math.abs(seconds) < jumpSeconds) return;
    this.#machine.log.warn(
      { seconds },
      `the clock went ${seconds > 0 ? 'forward' : 'back'} by ${Math.abs(seconds)} s: it was set, or the machine slept`,
    );
  }

  async #tidy(): Promise<void> {
    const now = this.#machine.monotonicSeconds();
    if (this.#tidiedAt !== null && now - this.#tidiedAt < tidyEverySeconds) return;
    this.#tidiedAt = now;
    try {
      const { journals } = await this.#config.use((app) => app.schedules.tidy());
      if (journals > 0)
        this.#machine.log.info(
          { journals },
          `${journals} journals of long ago were let go of: daemon.keep_journals`,
        );
    } catch (error) {
      // A disk that takes nothing is told elsewhere as well; the world is looked at all the same.
      this.#machine.log.error(fieldsOf(error), 'what is old cannot be let go of');
    }
  }

  #status(): string {
    const refused = this.#config.problems.length > 0 ? '; the newest configuration is refused' : '';
    return `STATUS=${this.#jobs.count} jobs are under way${refused}`;
  }

  async #end(): Promise<void> {
    const { daemon } = this.#config.app.settings;
    await this.#jobs.stop(daemon?.finishWithinSeconds ?? finishWithinSeconds);
    await this.#lookout.stop();
    await this.#beating?.catch(() => undefined);
    for (const part of this.#parts.reverse()) {
      try {
        await part.stop();
      } catch (error) {
        this.#machine.log.error(
          { part: part.name, ...fieldsOf(error) },
          `part ${part.name} cannot be stopped`,
        );
      }
    }
    await this.#config.close();
  }
}
