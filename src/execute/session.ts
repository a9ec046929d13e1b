/**
 * One sitting at a run, under the lock of its group: carries out what is open, writes each event down before it counts,
 * listens to what people say from other terminals, and brings the run to its end.
 */
import { canonicalJson } from '../domain/canonical.ts';
import { type ExitCode, OperatorError, PortError } from '../domain/errors.ts';
import type { GroupState, Phase } from '../domain/group.ts';
import { limitsOf } from '../domain/limits.ts';
import type { Condition, Step } from '../domain/plan.ts';
import { applyEvent, type Run, type RunEvent, type RunOutcome, type StepState } from '../domain/run.ts';
import type { Instant } from '../domain/time.ts';
import type {
  Clock,
  Entropy,
  GroupLock,
  GroupStates,
  Journal,
  Journals,
  RunInbox,
  RunMessage,
} from '../ports/system.ts';
import { answerDecision, cancelDecision, undoRun } from './decisions.ts';
import { Schedule } from './dependencies.ts';
import { staleGeneration } from './guards.ts';
import { type ActionHandlers, type ConditionHandlers, observe } from './handlers.ts';
import { Listener } from './listener.ts';
import { Occupancy } from './occupancy.ts';
import {
  answerTo,
  brokeOff,
  cameToNothing,
  exitCodeOf,
  isSettled,
  needsNoMore,
  summaryOf,
  wasJudged,
} from './outcome.ts';
import { raisesGeneration, stateAtEnd, stateAtStart } from './phases.ts';
import { type StepEnd, StepRunner } from './step-runner.ts';
import {
  asUndoEvent,
  begunSteps,
  noWayBack,
  returnPointsBegun,
  undoStateOf,
  undoStepOf,
  undoSummary,
  wayBackUnknown,
} from './undo.ts';

export interface ExecutorPorts {
  readonly journals: Journals;
  readonly states: GroupStates;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly actions: ActionHandlers;
  readonly conditions: ConditionHandlers;
  /** What people say from other terminals; nobody is listened to when absent. */
  readonly inbox?: RunInbox;
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

export interface RunResult {
  readonly run: Run;
  readonly outcome: RunOutcome;
  readonly exitCode: ExitCode;
  readonly summary: string;
  /** Where the journal is. */
  readonly journal: string;
}

/** One sitting at a run, under the lock of its group. */
export class Session {
  readonly #ports: ExecutorPorts;
  readonly #options: RunOptions;
  readonly #lock: GroupLock;
  readonly #journal: Journal;
  readonly #phaseBefore: Phase | null;
  readonly #generation: number;
  readonly #cancel = new AbortController();
  /** Of each step under way: how a person makes it give up. */
  readonly #cancels = new Map<string, AbortController>();
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

  /** `lookAgain`: the run was broken off, and what it had started may have stopped since. */
  async carryOut(state: GroupState, { lookAgain = false } = {}): Promise<RunResult> {
    await this.#claim(state);
    await this.#attended(async () => {
      await this.#answers();
      if (lookAgain) await this.#reopenFallen();
      await this.#steps();
    });
    const outcome = this.#outcome();
    return this.end(outcome, summaryOf(this.#run, outcome));
  }

  /**
   * VMs that ran before the run was broken off and do not any more: their steps are open again, and start them after the
   * same look at their twins. Else the report would say of them what was true hours ago.
   */
  async #reopenFallen(): Promise<void> {
    if (this.#run.plan.operation === 'drill') return;
    const fallen = new Set<string>();
    for (const step of this.#run.plan.steps) {
      const { action, holdsWhen } = step;
      if (this.#run.steps.get(step.id)?.status !== 'succeeded') continue;
      if (action.do === 'start-vm' && holdsWhen !== null && (await this.#seenUndone(step, holdsWhen)))
        fallen.add(action.vm.uuid);
      const open = (action.do === 'start-vm' || action.do === 'await-ready') && fallen.has(action.vm.uuid);
      if (open) await this.#log(fallenSince(step, action.vm.nameLabel, this.#ports.clock.now()));
    }
  }

  /** Who cannot be looked at now is taken as it was: the step has succeeded, and nothing says otherwise. */
  async #seenUndone(step: Step, condition: Condition): Promise<boolean> {
    try {
      const context = this.#runner(step).lookContext(this.#cancel.signal);
      return !(await observe(this.#ports.conditions, condition, context)).holds;
    } catch (error) {
      if (error instanceof PortError || error instanceof OperatorError) return false;
      throw error;
    }
  }

  /**
   * Takes back what the run has changed, the last step first; each undo that fails is told, and stops those before it,
   * which may rely on it. Throws `OperatorError` when a point of no return has been passed: then nothing is done.
   */
  async takeBack(state: GroupState, reason: string | null): Promise<RunResult> {
    await this.#assertWayBack();
    await this.resumed();
    if (reason !== null) await this.decide({ by: this.#options.by, decision: undoRun, reason });
    await this.#claim(state);
    await this.#attended(async () => {
      for (const step of begunSteps(this.#run)) {
        if (!this.#maySpend()) return;
        const undo = undoStepOf(step);
        if (undo === null || undoStateOf(this.#run, step.id).status === 'succeeded') continue;
        await this.#carryOutStep(
          undo,
          (event) => this.#log(asUndoEvent(event)),
          undoStateOf(this.#run, step.id),
        );
      }
    });
    const outcome =
      this.#failed || this.#stuck ? 'failed' : this.#stopped || this.#tornOff ? 'stopped' : 'undone';
    return this.end(outcome, undoSummary(this.#run));
  }

  /** A point of no return that was begun has been passed, unless the world shows that nothing came of it. */
  async #assertWayBack(): Promise<void> {
    const passed: { step: Step; because: string }[] = [];
    for (const step of returnPointsBegun(this.#run)) {
      if (this.#run.steps.get(step.id)?.status !== 'failed' || step.holdsWhen === null) {
        passed.push({ step, because: 'it was begun, and may have taken effect' });
        continue;
      }
      const context = this.#runner(step).lookContext(this.#cancel.signal);
      const verdict = await observe(this.#ports.conditions, step.holdsWhen, context).catch(
        (error: unknown) => {
          throw wayBackUnknown(this.#run, step, error);
        },
      );
      if (verdict.holds) passed.push({ step, because: 'its effect shows' });
    }
    if (passed.length > 0) throw noWayBack(this.#run, passed);
  }

  /** Work during which a person may stop the run, here or from another terminal. */
  async #attended(work: () => Promise<void>): Promise<void> {
    const { signal } = this.#options;
    const stop = (): void => this.#stop(signal?.reason);
    const listener = this.#listener();
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
    try {
      await listener?.start();
      await work();
    } finally {
      signal?.removeEventListener('abort', stop);
      await listener?.stop();
    }
    if (this.#fatal !== null) throw this.#fatal.error;
  }

  #stop(reason: unknown): void {
    this.#stopped = true;
    this.#cancel.abort(reason);
  }

  #listener(): Listener | null {
    const { inbox, clock } = this.#ports;
    if (inbox === undefined) return null;
    return new Listener({ inbox, clock, runId: this.#run.id, heed: (message) => this.#heed(message) });
  }

  async #heed(message: RunMessage): Promise<void> {
    const { by, reason } = message;
    switch (message.says) {
      case 'stop':
        await this.decide({ by, decision: 'stop-run', reason });
        this.#stop(new Error(`${by} stopped the run: ${reason}`));
        return;
      case 'cancel-step': {
        const cancel = this.#cancels.get(message.step);
        // It has ended in the meantime: there is nothing left to cancel, and nothing to write down.
        if (cancel === undefined) return;
        await this.decide({ by, decision: cancelDecision(message.step), reason });
        cancel.abort(new Error(`${by} cancelled the step: ${reason}`));
        return;
      }
      case 'answer':
        await this.decide({ by, decision: answerDecision(message.step, message.answer), reason });
        return;
    }
  }

  async end(outcome: RunOutcome, summary: string): Promise<RunResult> {
    await this.#closeInterrupted();
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

  /** Nothing runs after the end: what a crash broke off, and nobody looked at since, is called unknown. */
  async #closeInterrupted(): Promise<void> {
    for (const step of this.#run.plan.steps) {
      if (this.#run.steps.get(step.id)?.status !== 'running') continue;
      await this.#log({
        event: 'StepFailed',
        at: this.#ports.clock.now(),
        step: step.id,
        outcome: 'unknown',
        problem: {
          code: 'DR-STEP-INTERRUPTED',
          what: `Nobody knows how far step ${step.id} got: the program ended while it was under way`,
          next: `Look whether it is done (${step.why})`,
        },
      });
    }
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
    const occupancy = new Occupancy(this.#ports.limitOf ?? limitsOf(this.#run.plan));
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
  async #carryOutStep(
    step: Step,
    log: (event: RunEvent) => Promise<void> = (event) => this.#log(event),
    before: StepState | undefined = this.#run.steps.get(step.id),
  ): Promise<'over' | 'halt'> {
    const cancel = new AbortController();
    this.#cancels.set(step.id, cancel);
    try {
      const end = await this.#runner(step, log, before, cancel.signal).run();
      return this.#judge(step, end);
    } catch (error) {
      this.#halt(error);
      return 'halt';
    } finally {
      this.#cancels.delete(step.id);
    }
  }

  #judge(step: Step, end: StepEnd): 'over' | 'halt' {
    switch (end.end) {
      case 'over':
        return 'over';
      case 'failed':
        // `finish` goes on as well: what needs the step is skipped, and the run ends as failed.
        if (step.onFailure !== 'stop') return 'over';
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

  #runner(
    step: Step,
    log: (event: RunEvent) => Promise<void> = (event) => this.#log(event),
    before: StepState | undefined = this.#run.steps.get(step.id),
    cancelStep: AbortSignal = new AbortController().signal,
  ): StepRunner {
    if (before === undefined) throw new Error(`the run does not know step ${step.id}`);
    return new StepRunner(
      {
        clock: this.#ports.clock,
        actions: this.#ports.actions,
        conditions: this.#ports.conditions,
        run: () => this.#run,
        log,
        assertOurs: () => this.#assertOurs(),
        cancel: this.#cancel.signal,
        cancelStep,
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
    if (cameToNothing(this.#run) || brokeOff(this.#run)) return 'failed';
    const states = [...this.#run.steps.values()];
    const clean =
      states.every((state) => state.status === 'succeeded' && state.warnings.length === 0) &&
      !this.#run.plan.expects.leftOut.some((vm) => vm.lost === true);
    return clean ? 'done' : 'done-with-warnings';
  }
}

function fallenSince(step: Step, nameLabel: string, at: Instant): RunEvent {
  return {
    event: 'StepFailed',
    at,
    step: step.id,
    outcome: 'failed',
    problem: {
      code: 'DR-VM-STOPPED-SINCE',
      what: `VM ${nameLabel} ran when the run was broken off, and does not any more`,
      next: 'Nothing: this sitting starts it again',
    },
  };
}
