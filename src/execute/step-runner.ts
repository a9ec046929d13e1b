/**
 * One step from beginning to end: observe, note the intent, act within the deadline, observe, note the outcome. The
 * world has the last word: an act that was answered with an error and whose condition holds has succeeded, and one that
 * was answered with success and whose condition does not hold has not.
 */
import type { Json } from '../domain/canonical.ts';
import type { Problem } from '../domain/errors.ts';
import type { Step } from '../domain/plan.ts';
import type { Run, RunEvent, StepState } from '../domain/run.ts';
import { formatDuration } from '../domain/time.ts';
import type { Clock } from '../ports/system.ts';
import { cancelDecision } from './decisions.ts';
import { type Failure, failureOf } from './failure.ts';
import {
  type ActionHandlers,
  type ActResult,
  type ConditionHandlers,
  observe,
  perform,
  type StepContext,
  type Verdict,
} from './handlers.ts';

export type StepEnd =
  | { readonly end: 'over' }
  | { readonly end: 'failed' }
  /** Nobody knows whether the act took effect, and it may not be repeated. */
  | { readonly end: 'stuck' }
  /** A person stopped the run while this step was under way. */
  | { readonly end: 'stopped' };

export interface StepRunnerParts {
  readonly clock: Clock;
  readonly actions: ActionHandlers;
  readonly conditions: ConditionHandlers;
  readonly run: () => Run;
  /** Appends to the journal; when it throws nothing more may be done. */
  readonly log: (event: RunEvent) => Promise<void>;
  /** Throws when the lock or the generation of the group is no longer ours. */
  readonly assertOurs: () => Promise<void>;
  /** Aborted when a person stops the run, or when the run can no longer be recorded. */
  readonly cancel: AbortSignal;
  /** Aborted when a person makes this step give up; it then ends by its rule for failures. */
  readonly cancelStep: AbortSignal;
}

/** Tries of an act whose outcome was unknown and which the plan allows to be repeated. */
const repeatsMax = 3;
/** Longest that an act may go on after it was told to stop. */
const graceSeconds = 10;
/** How long a condition gets to show after the act was answered with success. */
const settleSeconds = 20;
const pauseSeconds = [1, 2, 4, 8, 15, 30];

export class StepRunner {
  readonly #parts: StepRunnerParts;
  readonly #step: Step;
  readonly #before: StepState;
  readonly #mayRepeatOnce: boolean;
  readonly #endsAtSeconds: number;
  readonly #deadline = new AbortController();
  #attempt: number;

  /** `mayRepeatOnce`: a person answered the question of a stuck step with "try again". */
  constructor(parts: StepRunnerParts, step: Step, before: StepState, mayRepeatOnce: boolean) {
    this.#parts = parts;
    this.#step = step;
    this.#before = before;
    this.#attempt = before.attempts;
    this.#mayRepeatOnce = mayRepeatOnce;
    this.#endsAtSeconds = parts.clock.monotonicSeconds() + step.timeoutSeconds;
  }

  async run(): Promise<StepEnd> {
    const timer = new AbortController();
    const timedOut = this.#parts.clock.sleep(this.#step.timeoutSeconds, timer.signal).then(
      () => this.#deadline.abort(new Error('the deadline of the step has passed')),
      () => null,
    );
    try {
      return await this.#run();
    } finally {
      timer.abort();
      await timedOut;
    }
  }

  async #run(): Promise<StepEnd> {
    await this.#parts.assertOurs();
    const first = await this.#observeUntilKnown();
    if (first.known === 'holds') return this.#holdsAlready(first.verdict);
    const uncertain = this.#before.status === 'running' || this.#before.status === 'unknown';
    if (first.known === 'cannot') {
      if (!uncertain) return this.#fail(first.failure);
      // Not a question for a person yet: looking again later may answer it.
      await this.#noteFailure({ meaning: 'unknown', problem: first.failure.problem });
      return { end: this.#parts.cancel.aborted ? 'stopped' : 'failed' };
    }
    if (uncertain && !this.#step.repeatable && !this.#mayRepeatOnce) {
      const problem = this.#question(
        this.#before.problem,
        'the run was interrupted before the outcome was written down',
        first.because,
      );
      return this.#fail({ meaning: 'unknown', problem });
    }
    for (let tries = 1; ; tries += 1) {
      const tried = await this.#try();
      if (tried === null) return { end: 'over' };
      const pause = pauseSeconds[Math.min(tries, pauseSeconds.length) - 1] ?? 30;
      const again =
        this.#mayTryAgain(tried, tries) &&
        !this.#givesUp &&
        this.#parts.clock.monotonicSeconds() + pause < this.#endsAtSeconds;
      if (!again) return this.#fail(tried);
      await this.#noteFailure(tried);
      if (!(await this.#pause(pause))) return this.#givenUp();
      await this.#parts.assertOurs();
      const now = await this.#observeUntilKnown();
      if (now.known === 'holds') {
        await this.#succeed(true, now.verdict.output ?? null, [
          ...(now.verdict.warnings ?? []),
          `the effect showed after the answer "${tried.problem.what}"`,
        ]);
        return { end: 'over' };
      }
      if (now.known === 'cannot') return this.#fail(tried);
    }
  }

  /** Nothing was done, or it may be done twice; and the plan allows one more try. */
  #mayTryAgain({ meaning }: Failure, tries: number): boolean {
    const { repeatable, retriesMax } = this.#step;
    if (meaning === 'transient') return retriesMax === undefined || tries <= retriesMax;
    return (
      meaning === 'unknown' && repeatable && tries < (retriesMax === undefined ? repeatsMax : retriesMax + 1)
    );
  }

  get #givesUp(): boolean {
    return this.#parts.cancel.aborted || this.#parts.cancelStep.aborted;
  }

  /** Between two tries, with the last one's failure written down. */
  async #givenUp(): Promise<StepEnd> {
    if (this.#parts.cancel.aborted) return { end: 'stopped' };
    return this.#fail({ meaning: 'refused', problem: this.#cancelled() });
  }

  async #holdsAlready(verdict: Verdict & { readonly holds: true }): Promise<StepEnd> {
    const begun = this.#before.attempts > 0;
    await this.#succeed(begun, verdict.output ?? this.#before.output, [...(verdict.warnings ?? [])]);
    return { end: 'over' };
  }

  /** One try. Null: the step has succeeded, and it is written down. */
  async #try(): Promise<Failure | null> {
    this.#attempt += 1;
    await this.#parts.log({
      event: 'StepStarted',
      at: this.#parts.clock.now(),
      step: this.#step.id,
      attempt: this.#attempt,
    });
    const context = this.#context(this.#actSignal());
    let result: ActResult;
    try {
      result = await this.#within(context.signal, perform(this.#parts.actions, this.#step.action, context));
    } catch (error) {
      const failure = failureOf(error, this.#interruption());
      return this.#despite(failure);
    }
    if (this.#step.holdsWhen === null || result.partial === true) {
      await this.#succeed(true, result.output, result.warnings, result.partial === true);
      return null;
    }
    const seen = await this.#observeSettled();
    if (seen.known === 'holds') {
      const output = result.output ?? seen.verdict.output ?? null;
      await this.#succeed(true, output, [...result.warnings, ...(seen.verdict.warnings ?? [])]);
      return null;
    }
    return {
      meaning: 'unknown',
      seenUndone: seen.known === 'not',
      problem: {
        code: 'DR-STEP-NO-EFFECT',
        what: `Step ${this.#step.id} was answered with success, but its effect does not show`,
        known: [seen.known === 'not' ? seen.because : seen.failure.problem.what],
        next: `Look at the world, then resume the run with \`lifeboat run resume ${this.#parts.run().id}\``,
      },
    };
  }

  /** After an error: does the world show the effect all the same? */
  async #despite(failure: Failure): Promise<Failure | null> {
    if (this.#step.holdsWhen === null) return failure;
    const seen = await this.#observeOnce();
    if (seen.known !== 'holds') {
      if (failure.meaning !== 'unknown' || seen.known !== 'not') return failure;
      const { problem } = failure;
      return {
        ...failure,
        problem: { ...problem, known: [...(problem.known ?? []), seen.because] },
        seenUndone: true,
      };
    }
    await this.#succeed(true, seen.verdict.output ?? null, [
      ...(seen.verdict.warnings ?? []),
      `the act was answered with "${failure.problem.what}", and the world shows its effect`,
    ]);
    return null;
  }

  async #succeed(
    changed: boolean,
    output: Json,
    warnings: readonly string[],
    partial: boolean = false,
  ): Promise<void> {
    await this.#parts.log({
      event: 'StepSucceeded',
      at: this.#parts.clock.now(),
      step: this.#step.id,
      changed,
      output,
      warnings,
      ...(partial ? { partial } : {}),
    });
  }

  async #noteFailure(failure: Failure): Promise<void> {
    await this.#parts.log({
      event: 'StepFailed',
      at: this.#parts.clock.now(),
      step: this.#step.id,
      problem: failure.problem,
      outcome: this.#isUnknown(failure) ? 'unknown' : 'failed',
    });
  }

  /** A repeatable step whose effect was looked for in vain has failed; a torn-off one may still be on its way. */
  #isUnknown(failure: Failure): boolean {
    if (failure.meaning !== 'unknown') return false;
    return failure.seenUndone !== true || !this.#step.repeatable || this.#parts.cancel.aborted;
  }

  async #fail(failure: Failure): Promise<StepEnd> {
    const stuck = failure.meaning === 'unknown' && !this.#step.repeatable;
    if (!stuck) {
      await this.#noteFailure(failure);
      return { end: this.#parts.cancel.aborted ? 'stopped' : 'failed' };
    }
    const isQuestion = failure.problem.code === 'DR-RUN-STUCK';
    await this.#noteFailure({
      meaning: 'unknown',
      problem: isQuestion ? failure.problem : this.#question(failure.problem, null, null),
    });
    return { end: 'stuck' };
  }

  /** The question that an operator must answer, with what is known. */
  #question(cause: Problem | null, circumstance: string | null, because: string | null): Problem {
    const { id } = this.#step;
    const run = this.#parts.run().id;
    return {
      code: 'DR-RUN-STUCK',
      what: `Nobody knows whether step ${id} took effect, and it must not be done twice blindly`,
      ...(cause?.where === undefined ? {} : { where: cause.where }),
      known: [
        ...(circumstance === null ? [] : [circumstance]),
        ...(cause === null ? [] : [cause.what, ...(cause.known ?? [])]),
        ...(because === null ? [] : [because]),
      ],
      next: `Look whether it is done (${this.#step.why}); then answer with \`lifeboat run resume ${run} --retry ${id} --reason "…"\`, with --skip ${id} instead, or give it up with \`lifeboat run abandon ${run} --reason "…"\``,
    };
  }

  /** What a look at the world by itself is given. */
  lookContext(signal: AbortSignal): StepContext {
    return this.#context(signal);
  }

  #context(signal: AbortSignal): StepContext {
    const parts = this.#parts;
    const run = parts.run();
    return {
      run: run.id,
      plan: run.plan,
      step: this.#step,
      attempt: this.#attempt,
      startedAt: this.#parts.clock.now(),
      signal,
      get decisions() {
        return parts.run().decisions;
      },
      output: (stepId) => {
        const state = this.#parts.run().steps.get(stepId);
        return state?.status === 'succeeded' ? state.output : null;
      },
    };
  }

  /** A step that may not be repeated is never torn off by a person's stop: it is let finish, so that we know. */
  #actSignal(): AbortSignal {
    return this.#step.repeatable
      ? AbortSignal.any([this.#deadline.signal, this.#parts.cancel, this.#parts.cancelStep])
      : this.#deadline.signal;
  }

  #interruption(): Problem | null {
    if (this.#deadline.signal.aborted) {
      return {
        code: 'DR-STEP-TIMEOUT',
        what: `Step ${this.#step.id} took longer than ${formatDuration(this.#step.timeoutSeconds)}`,
        next: `Find out what it waits for, then resume the run with \`lifeboat run resume ${this.#parts.run().id}\``,
      };
    }
    if (this.#step.repeatable && this.#parts.cancel.aborted) {
      return {
        code: 'DR-RUN-STOPPED',
        what: `Step ${this.#step.id} was stopped by a person`,
        next: `Resume the run with \`lifeboat run resume ${this.#parts.run().id}\``,
      };
    }
    return this.#step.repeatable && this.#parts.cancelStep.aborted ? this.#cancelled() : null;
  }

  #cancelled(): Problem {
    const run = this.#parts.run();
    const told = run.decisions.findLast(({ decision }) => decision === cancelDecision(this.#step.id));
    return {
      code: 'DR-STEP-CANCELLED',
      what: `Step ${this.#step.id} was cancelled by a person`,
      known: told === undefined ? [] : [`${told.by}: ${told.reason}`],
      next: `Do it later with \`lifeboat run resume ${run.id}\`, or settle it by hand with \`lifeboat run skip ${run.id} ${this.#step.id} --reason "…"\``,
    };
  }

  /** Waits for the act; when it was told to stop and does not, gives it up after a grace. */
  async #within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
    const done = new AbortController();
    const overdue = new Promise<never>((_, reject) => {
      const giveUp = (): void => {
        this.#parts.clock.sleep(graceSeconds, done.signal).then(
          () => reject(new Error('the act did not stop when it was told to')),
          () => null,
        );
      };
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp, { once: true, signal: done.signal });
    });
    try {
      return await Promise.race([work, overdue]);
    } finally {
      done.abort();
    }
  }

  /** False when a person stopped the run or the step meanwhile. */
  async #pause(seconds: number): Promise<boolean> {
    try {
      await this.#parts.clock.sleep(seconds, AbortSignal.any([this.#parts.cancel, this.#parts.cancelStep]));
      return true;
    } catch (error) {
      if (this.#givesUp) return false;
      throw error;
    }
  }

  async #observeUntilKnown(): Promise<Seen> {
    for (let tries = 1; ; tries += 1) {
      const seen = await this.#observeOnce();
      const pause = pauseSeconds[Math.min(tries, pauseSeconds.length) - 1] ?? 30;
      if (
        seen.known !== 'cannot' ||
        seen.failure.meaning === 'refused' ||
        this.#givesUp ||
        this.#parts.clock.monotonicSeconds() + pause >= this.#endsAtSeconds
      )
        return seen;
      if (!(await this.#pause(pause))) return seen;
    }
  }

  async #observeSettled(): Promise<Seen> {
    const until = this.#parts.clock.monotonicSeconds() + settleSeconds;
    for (let tries = 1; ; tries += 1) {
      const seen = await this.#observeOnce();
      const pause = pauseSeconds[Math.min(tries, pauseSeconds.length) - 1] ?? 30;
      if (
        seen.known === 'holds' ||
        this.#parts.clock.monotonicSeconds() + pause >= until ||
        !(await this.#pause(pause))
      )
        return seen;
    }
  }

  /** Looking is harmless: it gets a time of its own, so that the last look is possible after the deadline. */
  async #observeOnce(): Promise<Seen> {
    if (this.#step.holdsWhen === null)
      return { known: 'not', because: 'nothing in the world shows whether it was done' };
    const look = new AbortController();
    const timer = new AbortController();
    const limit = this.#parts.clock.sleep(60, timer.signal).then(
      () => look.abort(new Error('looking took too long')),
      () => null,
    );
    try {
      const verdict = await this.#within(
        look.signal,
        observe(this.#parts.conditions, this.#step.holdsWhen, this.#context(look.signal)),
      );
      return verdict.holds ? { known: 'holds', verdict } : { known: 'not', because: verdict.because };
    } catch (error) {
      const failure = failureOf(error, null);
      // An observation changes nothing: when its answer is lost, nothing was done.
      const meaning = failure.meaning === 'refused' ? 'refused' : 'transient';
      return { known: 'cannot', failure: { ...failure, meaning } };
    } finally {
      timer.abort();
      await limit;
    }
  }
}

type Seen =
  | { readonly known: 'holds'; readonly verdict: Verdict & { readonly holds: true } }
  | { readonly known: 'not'; readonly because: string }
  | { readonly known: 'cannot'; readonly failure: Failure };
