/**
 * The executor, whole: take the group's lock and generation, write `RunStarted`, carry out every step when its turn has
 * come, write `RunEnded`. It decides nothing that the plan leaves open, and does nothing that is not in the plan.
 */
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import type { Plan } from '../domain/plan.ts';
import { beginRun, foldRun, type Run, type RunEvent } from '../domain/run.ts';
import { assertExecutable, assertGeneration, assertStillOurs, isLastOf, planDigest } from './guards.ts';
import { leftSomethingUndone, summaryOf } from './outcome.ts';
import { firstState, raisesGeneration } from './phases.ts';
import { type ExecutorPorts, type RunOptions, type RunResult, Session } from './session.ts';
import { assertUndoable, isBeingUndone } from './undo.ts';

export type { ExecutorPorts, RunOptions, RunResult } from './session.ts';
export { planDigest, summaryOf };

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
    if (run.outcome === 'undone') return session.settle(state);
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
    if (isBeingUndone(run)) return session.takeBack(state, null);
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
    return session.carryOut(state, { lookAgain: run.outcome !== 'done-with-warnings' });
  });
}

/** Ends a run for good, without doing anything more. The group is left `stuck` when the run had touched the world. */
export async function abandon(
  ports: ExecutorPorts,
  options: RunOptions & { readonly runId: string; readonly reason: string },
): Promise<RunResult> {
  return reopen(ports, options, async (session, run, state) => {
    if (
      run.outcome === 'done' ||
      run.outcome === 'done-with-warnings' ||
      run.outcome === 'abandoned' ||
      run.outcome === 'undone'
    )
      return session.settle(state);
    await session.decide({ by: options.by, decision: 'abandon-run', reason: options.reason });
    return session.end('abandoned', `abandoned by ${options.by}: ${options.reason}`);
  });
}

/**
 * Takes back what a run that failed, was stopped, crashed or is stuck has changed. Throws `OperatorError` (exit code 10)
 * after a point of no return, and for a run that has ended well. Repeating it goes on where it was interrupted.
 */
export async function undo(
  ports: ExecutorPorts,
  options: RunOptions & { readonly runId: string; readonly reason: string },
): Promise<RunResult> {
  return reopen(ports, options, async (session, run, state) => {
    assertUndoable(run);
    if (run.outcome === 'undone') return session.settle(state);
    assertStillOurs(run.plan, run.id, state);
    return session.takeBack(state, options.reason);
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
  return `${time}-${runLabel(plan.operation, plan.group)}-${ports.entropy.hex(2)}`;
}

/** What the id of a run says behind its time; two groups may share it. */
export function runLabel(operation: Plan['operation'], group: string): string {
  return `${operation}-${group.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
}
