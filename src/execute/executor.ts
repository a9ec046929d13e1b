/**
 * The executor, whole: take the group's lock and generation, write `RunStarted`, carry out every step when its turn has
 * come, write `RunEnded`. It decides nothing that the plan leaves open, and does nothing that is not in the plan.
 */
import { canonicalJson } from '../domain/canonical.ts';
import { type ExitCode, exitCodes, OperatorError } from '../domain/errors.ts';
import type { GroupState, Phase } from '../domain/group.ts';
import { limitOf } from '../domain/limits.ts';
import type { Plan, Step } from '../domain/plan.ts';
import { applyEvent, beginRun, foldRun, type Run, type RunEvent, type RunOutcome } from '../domain/run.ts';
import type { Clock, Entropy, GroupLock, GroupStates, Journal, Journals } from '../ports/system.ts';
import { Schedule } from './dependencies.ts';
import {
  assertExecutable,
  assertGeneration,
  assertStillOurs,
  isLastOf,
  planDigest,
  staleGeneration,
} from './guards.ts';
import type { ActionHandlers, ConditionHandlers } from './handlers.ts';
import { Occupancy } from './occupancy.ts';
import {
  answerTo,
  cameToNothing,
  exitCodeOf,
  isSettled,
  leftSomethingUndone,
  needsNoMore,
  summaryOf,
  wasJudged,
} from './outcome.ts';
import { firstState, raisesGeneration, stateAtEnd, stateAtStart } from './phases.ts';
import { type StepEnd, StepRunner } from './step-runner.ts';

export { planDigest, summaryOf };

export interface ExecutorPorts {
  readonly journals: Journals;
  readonly states: GroupStates;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly actions: ActionHandlers;
  readonly conditions: ConditionHandlers;
  /** How many steps may occupy a resource at once; `limitOf` of src/domain/limits.ts when absent. */
  readonly limitOf?: (resource: string) => number;
}

/** What a run has in common, new or resumed. */
export interface RunOptions {
  /** The person who answers for the run. */
  readonly by: string;
  /** Version of the program. */
  readonly version: string;
  /** Called after each event is safely in the journal. */
  readonly onEvent?: (event: RunEvent, run: Run) => void;
  /** Stops the run in an orderly way (SIGINT): it can be resumed. */
  readonly signal?: AbortSignal;
}

export interface ExecuteOptions extends RunOptions {
  readonly plan: Plan;
  /** Digest of the plan that the person confirmed: `planDigest(plan)`. */
  readonly planDigest: string;
  /** What a person decided before the run, such as `declareLost`, with the reason. */
  readonly decisions?: readonly { readonly by: string; readonly decision: string; readonly reason: string }[];
  /** Made from time, operation, group and chance when absent. */
  readonly runId?: string;
}

export interface ResumeOptions extends RunOptions {
  readonly runId: string;
  /** What a person decides now, such as `declareLost` with the reason. */
  readonly decisions?: readonly { readonly by: string; readonly decision: string; readonly reason: string }[];
  /** Answers to the questions of stuck steps: do the step again, or take it as settled by hand. */
  readonly answers?: readonly {
    readonly step: string;
    readonly answer: 'retry' | 'skip';
    readonly reason: string;
  }[];
}

export interface RunResult {
  readonly run: Run;
  readonly outcome: RunOutcome;
  readonly exitCode: ExitCode;
  readonly summary: string;
  /** Where the journal is. */
  readonly journal: string;
}

/**
 * Carries out a plan. Throws `OperatorError` when it may not begin (digest, generation, lock; exit codes 2, 10, 11) or
 * when it can no longer be recorded; every other end is a `RunResult`.
 */
export async function execute(ports: ExecutorPorts, options: ExecuteOptions): Promise<RunResult> {
  const { plan } = options;
  assertExecutable(plan, options.planDigest);
  const runId = options.runId ?? newRunId(ports, plan);
  const lock = await ports.states.lock(lockOf(plan), runId);
  try {
    const state = (await ports.states.get(plan.group)) ?? firstState(plan, ports.clock.now());
    assertGeneration(plan, state, plan.generation);
    const journal = await ports.journals.create(runId);
    try {
      const started: RunEvent = {
        event: 'RunStarted',
        at: ports.clock.now(),
        run: runId,
        plan,
        planDigest: options.planDigest,
        by: options.by,
        version: options.version,
        phaseBefore: state.phase,
        ...(options.decisions === undefined || options.decisions.length === 0
          ? {}
          : { decisions: options.decisions.map(({ by, decision, reason }) => ({ by, decision, reason })) }),
      };
      await journal.append(started);
      const first = beginRun(started);
      const session = new Session(ports, options, lock, journal, first, state.phase);
      session.tell(started);
      return await session.carryOut(state);
    } finally {
      await journal.close();
    }
  } finally {
    await lock.release();
  }
}

/**
 * Goes on with a run that was stopped, crashed, failed or got stuck. Steps that began without a known outcome are
 * looked at first. A run that ended with warnings tries again what it left undone, as long as nothing newer has moved
 * the group; one that has ended well is only brought to its end.
 */
export async function resume(ports: ExecutorPorts, options: ResumeOptions): Promise<RunResult> {
  return reopen(ports, options, async (session, run, state) => {
    if (run.outcome === 'abandoned') {
      throw new OperatorError({
        code: 'DR-RUN-ABANDONED',
        what: `Run ${run.id} was abandoned`,
        next: `Make a new plan: \`lifeboat plan ${run.plan.operation} ${run.plan.group}\``,
      });
    }
    if (run.outcome === 'done' || run.outcome === 'done-with-warnings') {
      if (!leftSomethingUndone(run) || !isLastOf(run.plan, run.id, state)) return session.settle(state);
    } else assertStillOurs(run.plan, run.id, state);
    await session.resumed();
    for (const decision of options.decisions ?? []) await session.decide(decision);
    for (const { step, answer, reason } of options.answers ?? []) {
      if (!run.steps.has(step)) {
        throw new OperatorError(
          {
            code: 'DR-RUN-STEP',
            what: `Run ${run.id} has no step ${step}`,
            next: `Look at its steps with \`lifeboat run show ${run.id}\``,
          },
          { exitCode: exitCodes.usage },
        );
      }
      await session.decide({ by: options.by, decision: `${answer}-step ${step}`, reason });
    }
    return session.carryOut(state);
  });
}

/** Ends a run for good, without doing anything more. The group is left `stuck` when the run had touched the world. */
export async function abandon(
  ports: ExecutorPorts,
  options: RunOptions & { readonly runId: string; readonly reason: string },
): Promise<RunResult> {
  return reopen(ports, options, async (session, run, state) => {
    if (run.outcome === 'done' || run.outcome === 'done-with-warnings' || run.outcome === 'abandoned')
      return session.settle(state);
    await session.decide({ by: options.by, decision: 'abandon-run', reason: options.reason });
    return session.end('abandoned', `abandoned by ${options.by}: ${options.reason}`);
  });
}

async function reopen(
  ports: ExecutorPorts,
  options: RunOptions & { readonly runId: string },
  work: (session: Session, run: Run, state: GroupState) => Promise<RunResult>,
): Promise<RunResult> {
  const { runId } = options;
  const [first] = await ports.journals.read(runId);
  if (first?.event !== 'RunStarted') {
    throw new OperatorError({
      code: 'DR-RUN-EMPTY',
      what: `Run ${runId} never began: its journal is empty, and nothing was done`,
      where: { file: ports.journals.pathOf(runId) },
      next: 'Make a new plan and run that',
    });
  }
  const { plan } = first;
  const lock = await ports.states.lock(lockOf(plan), runId);
  try {
    const { journal, events } = await ports.journals.open(runId);
    try {
      const run = foldRun(events);
      assertExecutable(plan, run.planDigest);
      const state = (await ports.states.get(plan.group)) ?? firstState(plan, ports.clock.now());
      const session = new Session(ports, options, lock, journal, run, first.phaseBefore ?? null);
      return await work(session, run, state);
    } finally {
      await journal.close();
    }
  } finally {
    await lock.release();
  }
}

/** One sitting at a run, under the lock of its group. */
class Session {
  readonly #ports: ExecutorPorts;
  readonly #options: RunOptions;
  readonly #lock: GroupLock;
  readonly #journal: Journal;
  readonly #phaseBefore: Phase | null;
  readonly #generation: number;
  readonly #cancel = new AbortController();
  #run: Run;
  #watcher: RunOptions['onEvent'];
  #writing: Promise<void> = Promise.resolve();
  /** An error after which nothing may be done any more: the journal cannot be written, the lock is lost, a defect. */
  #fatal: { readonly error: unknown } | null = null;
  #stopped = false;
  #failed = false;
  #stuck = false;
  /** A step was stopped in the middle by a person. */
  #tornOff = false;

  constructor(
    ports: ExecutorPorts,
    options: RunOptions,
    lock: GroupLock,
    journal: Journal,
    run: Run,
    phaseBefore: Phase | null,
  ) {
    this.#ports = ports;
    this.#options = options;
    this.#watcher = options.onEvent;
    this.#lock = lock;
    this.#journal = journal;
    this.#run = run;
    this.#phaseBefore = phaseBefore;
    this.#generation = run.plan.generation + (raisesGeneration(run.plan.operation) ? 1 : 0);
  }

  async decide(decision: {
    readonly by: string;
    readonly decision: string;
    readonly reason: string;
  }): Promise<void> {
    await this.#log({ event: 'Decision', at: this.#ports.clock.now(), ...decision });
  }

  async resumed(): Promise<void> {
    const { by, version } = this.#options;
    await this.#log({ event: 'RunResumed', at: this.#ports.clock.now(), by, version });
  }

  async carryOut(state: GroupState): Promise<RunResult> {
    await this.#claim(state);
    const stop = (): void => {
      this.#stopped = true;
      this.#cancel.abort(this.#options.signal?.reason);
    };
    if (this.#options.signal?.aborted) stop();
    else this.#options.signal?.addEventListener('abort', stop, { once: true });
    try {
      await this.#answers();
      await this.#steps();
    } finally {
      this.#options.signal?.removeEventListener('abort', stop);
    }
    if (this.#fatal !== null) throw this.#fatal.error;
    const outcome = this.#outcome();
    return this.end(outcome, summaryOf(this.#run, outcome));
  }

  async end(outcome: RunOutcome, summary: string): Promise<RunResult> {
    await this.#log({
      event: 'RunEnded',
      at: this.#ports.clock.now(),
      outcome,
      exitCode: exitCodeOf[outcome],
      summary,
    });
    const state = await this.#ports.states.get(this.#run.plan.group);
    return state === null ? this.#result() : this.settle(state);
  }

  /** Brings the group's phase to what the journal says; harmless to repeat after a crash between the two. */
  async settle(state: GroupState): Promise<RunResult> {
    const run = this.#run;
    const ours =
      state.generation === this.#generation &&
      (state.currentRun === run.id || !raisesGeneration(run.plan.operation));
    if (ours && run.outcome !== null) {
      const next = stateAtEnd(state, run, run.outcome, this.#phaseBefore, this.#ports.clock.now());
      if (canonicalJson(next) !== canonicalJson(state)) await this.#change(state, next);
    }
    return this.#result();
  }

  #result(): RunResult {
    const { outcome, exitCode, summary, id } = this.#run;
    if (outcome === null || exitCode === null) throw new Error('the run has not ended');
    return {
      run: this.#run,
      outcome,
      exitCode,
      summary: summary ?? '',
      journal: this.#ports.journals.pathOf(id),
    };
  }

  /** Phase and generation are ours before the first step; a crash in between is made good by resuming. */
  async #claim(state: GroupState): Promise<void> {
    const next = stateAtStart(state, this.#run.plan, this.#run.id, this.#ports.clock.now());
    await this.#change(state, next);
  }

  async #change(state: GroupState, next: GroupState): Promise<void> {
    if (await this.#ports.states.change(state.group, state.generation, next)) return;
    throw staleGeneration(this.#run.plan, await this.#ports.states.get(state.group));
  }

  /** A view that breaks must not stop a failover: it is told nothing more, and the journal has everything. */
  tell(event: RunEvent): void {
    try {
      this.#watcher?.(event, this.#run);
    } catch {
      this.#watcher = undefined;
    }
  }

  async #log(event: RunEvent): Promise<void> {
    const written = this.#writing.then(async () => {
      if (this.#fatal !== null) throw this.#fatal.error;
      await this.#journal.append(event);
      this.#run = applyEvent(this.#run, event);
      this.tell(event);
    });
    this.#writing = written.catch((error: unknown) => this.#halt(error));
    return written;
  }

  #halt(error: unknown): void {
    this.#fatal ??= { error };
    this.#cancel.abort(error);
  }

  /** A person took these steps as settled: they are written down as skipped, once. */
  async #answers(): Promise<void> {
    for (const step of this.#run.plan.steps) {
      const status = this.#run.steps.get(step.id)?.status;
      const answer = answerTo(this.#run, step.id);
      if (answer?.answer !== 'skip' || status === 'skipped' || status === 'succeeded') continue;
      await this.#log({
        event: 'StepSkipped',
        at: this.#ports.clock.now(),
        step: step.id,
        reason: `${answer.by} settled it by hand: ${answer.reason}`,
      });
    }
  }

  async #steps(): Promise<void> {
    const schedule = new Schedule(this.#run.plan, (id) => needsNoMore(this.#run, id));
    const occupancy = new Occupancy(this.#ports.limitOf ?? limitOf);
    const under = new Set<Promise<void>>();
    let wake = Promise.withResolvers<void>();
    for (;;) {
      let moved = false;
      for (const step of this.#maySpend() ? schedule.free() : []) {
        const pointless = schedule.pointless(step, this.#run.steps, (id) => isSettled(this.#run, id));
        if (pointless !== null) {
          schedule.begin(step.id);
          await this.#skip(step, pointless);
          schedule.end(step.id);
          moved = true;
          continue;
        }
        if (!this.#maySpend() || !occupancy.fits(step.uses)) continue;
        occupancy.take(step.uses);
        schedule.begin(step.id);
        const going = this.#carryOutStep(step).then((end) => {
          occupancy.giveBack(step.uses);
          under.delete(going);
          if (end === 'over') schedule.end(step.id);
          wake.resolve();
        });
        under.add(going);
      }
      if (moved) continue;
      if (under.size === 0) return;
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
  }

  #maySpend(): boolean {
    return !this.#stopped && !this.#failed && !this.#stuck && this.#fatal === null;
  }

  async #skip(step: Step, reason: string): Promise<void> {
    try {
      await this.#log({ event: 'StepSkipped', at: this.#ports.clock.now(), step: step.id, reason });
    } catch (error) {
      this.#halt(error);
    }
  }

  /** `over`: what comes after the step may begin, if it is worth it. */
  async #carryOutStep(step: Step): Promise<'over' | 'halt'> {
    try {
      const end = await this.#runner(step).run();
      return this.#judge(step, end);
    } catch (error) {
      this.#halt(error);
      return 'halt';
    }
  }

  #judge(step: Step, end: StepEnd): 'over' | 'halt' {
    switch (end.end) {
      case 'over':
        return 'over';
      case 'failed':
        if (step.onFailure === 'continue') return 'over';
        this.#failed = true;
        return 'halt';
      case 'stuck':
        this.#stuck = true;
        return 'halt';
      case 'stopped':
        this.#tornOff = true;
        return 'halt';
    }
  }

  #runner(step: Step): StepRunner {
    const before = this.#run.steps.get(step.id);
    if (before === undefined) throw new Error(`the run does not know step ${step.id}`);
    return new StepRunner(
      {
        clock: this.#ports.clock,
        actions: this.#ports.actions,
        conditions: this.#ports.conditions,
        run: () => this.#run,
        log: (event) => this.#log(event),
        assertOurs: () => this.#assertOurs(),
        cancel: this.#cancel.signal,
      },
      step,
      before,
      answerTo(this.#run, step.id)?.answer === 'retry',
    );
  }

  async #assertOurs(): Promise<void> {
    await this.#lock.assertHeld();
    const state = await this.#ports.states.get(this.#run.plan.group);
    const ours =
      state !== null &&
      state.generation === this.#generation &&
      (!raisesGeneration(this.#run.plan.operation) || state.currentRun === this.#run.id);
    if (!ours && !(state === null && this.#generation === 0)) throw staleGeneration(this.#run.plan, state);
  }

  #outcome(): RunOutcome {
    if (this.#stuck) return 'stuck';
    if (this.#failed) return 'failed';
    if (this.#tornOff || !this.#run.plan.steps.every((step) => wasJudged(this.#run, step.id)))
      return 'stopped';
    if (cameToNothing(this.#run)) return 'failed';
    const states = [...this.#run.steps.values()];
    const clean =
      states.every((state) => state.status === 'succeeded' && state.warnings.length === 0) &&
      !this.#run.plan.expects.leftOut.some((vm) => vm.lost === true);
    return clean ? 'done' : 'done-with-warnings';
  }
}

/**
 * Whoever changes the world excludes everybody else who does. An export has a lock of its own: one that hangs on a dying
 * site must not keep the failover waiting, and the generation that the failover raises stops it at its next step.
 */
function lockOf(plan: Plan): string {
  return raisesGeneration(plan.operation) ? plan.group : `${plan.group} (${plan.operation})`;
}

/** `20260131T023005Z-failover-payroll-1f3a`: sorts by time. */
function newRunId(ports: ExecutorPorts, plan: Plan): string {
  const time = `${ports.clock.now().replace(/[-:]/g, '').slice(0, 15)}Z`;
  const group = plan.group.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return `${time}-${plan.operation}-${group}-${ports.entropy.hex(2)}`;
}
