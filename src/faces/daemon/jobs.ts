/** The jobs that are under way: begun as their time comes, carried out side by side, and brought to an end in order. */
import type { App } from '../../app/app.ts';
import type { Begun } from '../../app/schedules.ts';
import type { BegunTurn, EndedTurn } from '../../app/turns.ts';
import { type JobName, jobKey } from '../../domain/jobs.ts';
import { formatDuration, secondsBetween } from '../../domain/time.ts';
import type { Config } from './config.ts';
import { fieldsOf } from './errors.ts';
import type { Machine } from './machine.ts';

interface UnderWay {
  readonly turn: BegunTurn;
  readonly cancel: AbortController;
  readonly ended: Promise<void>;
}

export interface JobsOptions {
  readonly machine: Machine;
  readonly config: Pick<Config, 'use'>;
  readonly onEnd: (ended: EndedTurn) => Promise<void>;
}

/** These only look and read: a daemon that is to end gives them time to finish. */
const worthWaitingFor = new Set<JobName['job']>(['export', 'verify']);

export class Jobs {
  readonly #options: JobsOptions;
  readonly #underWay = new Map<string, UnderWay>();
  /** One look at what is due at a time: two would see the same places free. */
  #turning: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#underWay.size;
  }

  /** Begins what is due and finds a place; resolves when that is done, and not when the jobs are. Never throws. */
  begin(): Promise<void> {
    this.#turning = this.#turning.then(async () => {
      if (this.#stopping) return;
      const { machine, config } = this.#options;
      try {
        await config.use(async (app) => {
          const begun = await app.schedules.begin([...this.#underWay.values()].map(({ turn }) => turn));
          this.#tell(begun);
          for (const turn of begun.turns) this.carryOut(turn);
        });
      } catch (error) {
        machine.log.error(fieldsOf(error), 'what is due cannot be told');
      }
    });
    return this.#turning;
  }

  carryOut(turn: BegunTurn): void {
    const cancel = new AbortController();
    const key = jobKey(turn);
    const run = this.#options.config.use((app) => this.#run(app, turn, cancel.signal));
    const ended = run.finally(() => {
      this.#underWay.delete(key);
      // The place that is free now may be waited for.
      void this.begin();
    });
    this.#underWay.set(key, { turn, cancel, ended });
  }

  /** Jobs that only look get some seconds to finish; all others stop at once, where they can be gone on with. */
  async stop(finishWithinSeconds: number): Promise<void> {
    this.#stopping = true;
    await this.#turning;
    const { machine } = this.#options;
    const all = [...this.#underWay.values()];
    const patient = all.filter(({ turn }) => worthWaitingFor.has(turn.job));
    for (const { turn, cancel } of all) if (!worthWaitingFor.has(turn.job)) cancel.abort(stopped());
    const over = new AbortController();
    const finished = Promise.all(patient.map(({ ended }) => ended)).then(() => over.abort());
    await Promise.race([finished, machine.sleep(finishWithinSeconds, over.signal).catch(() => undefined)]);
    for (const { cancel } of patient) cancel.abort(stopped());
    await Promise.all(all.map(({ ended }) => ended));
  }

  async #run(app: App, turn: BegunTurn, signal: AbortSignal): Promise<void> {
    const { machine, onEnd } = this.#options;
    const fields: { job: string; group: string | null; run: string | null } = {
      job: turn.job,
      group: turn.group,
      run: turn.goesOnWith,
    };
    await machine.within(fields, async () => {
      const { slot, missed, madeUp } = turn;
      machine.log.info({ slot, missed, madeUp }, `${jobKey(turn)}: begins`);
      const onRun = (run: string): void => {
        fields.run = run;
        machine.log.info({}, `${jobKey(turn)}: run ${run} is under way`);
      };
      try {
        const ended = await app.schedules.carryOut(turn, { signal, onRun });
        this.#tellEnd(turn, ended);
        await onEnd(ended);
      } catch (error) {
        machine.log.error(fieldsOf(error), `${jobKey(turn)}: its end cannot be written down`);
      }
    });
  }

  #tell({ turns, passed, anchors, waiting }: Begun): void {
    const { log } = this.#options.machine;
    for (const { because, answered, ...name } of anchors)
      if (because === 'clock')
        log.warn(
          { job: name.job, group: name.group },
          `${jobKey(name)}: the clock was set back, and is counted from now on`,
        );
    for (const turn of passed)
      log.warn(
        { job: turn.job, group: turn.group, slot: turn.slot, missed: turn.missed },
        `${jobKey(turn)}: not begun: ${turn.summary}`,
      );
    for (const turn of turns)
      if (turn.madeUp)
        log.warn(
          { job: turn.job, group: turn.group, slot: turn.slot, missed: turn.missed },
          turn.missed > 0
            ? `${jobKey(turn)}: ${turn.missed} were missed before this one, which makes up for them`
            : `${jobKey(turn)}: comes late, and is made up for`,
        );
    if (waiting > 0) log.info({ waiting }, `${waiting} jobs are due and wait for their group or their pool`);
  }

  #tellEnd(turn: BegunTurn, { turn: end, leftOpen }: EndedTurn): void {
    const { log, now } = this.#options.machine;
    const took = secondsBetween(turn.startedAt, end.endedAt ?? now());
    const fields = { outcome: end.outcome, slot: end.slot, tookSeconds: took };
    if (leftOpen) {
      log.warn(fields, `${jobKey(turn)}: stopped in the middle; the next daemon goes on with it`);
      return;
    }
    const good = end.outcome === 'done' || end.outcome === 'warnings';
    const text = `${jobKey(turn)}: ${end.outcome} after ${formatDuration(took)}: ${end.summary}`;
    if (good) log.info(fields, text);
    else log.error(fields, text);
  }
}

function stopped(): DOMException {
  return new DOMException('the daemon was told to end', 'AbortError');
}
