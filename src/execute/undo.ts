/**
 * Taking back what a run has changed, as long as it has not passed a point of no return: each step that began and knows
 * its undo, the last one first. An undo is carried out like a step, with an intent, a look and an outcome of its own.
 */
import { describeProblem, exitCodes, OperatorError, PortError } from '../domain/errors.ts';
import type { Step } from '../domain/plan.ts';
import { type Run, type RunEvent, type StepState, waitingStep } from '../domain/run.ts';
import { undoRun } from './decisions.ts';
import { inOrderOfSteps } from './dependencies.ts';

/** A person decided to take the run back: from then on it only goes in that direction. */
export function isBeingUndone(run: Run): boolean {
  return run.decisions.some(({ decision }) => decision === undoRun);
}

/** Steps that may have changed the world, the last one first. */
export function begunSteps(run: Run): Step[] {
  return inOrderOfSteps(run.plan)
    .filter((step) => step.holdsWhen !== null && hasBegun(run.steps.get(step.id)))
    .reverse();
}

/** Points of no return that were begun: each has to be shown to have had no effect before anything is taken back. */
export function returnPointsBegun(run: Run): Step[] {
  return run.plan.steps.filter((step) => step.pointOfNoReturn && hasBegun(run.steps.get(step.id)));
}

function hasBegun(state: StepState | undefined): boolean {
  return (
    state !== undefined && (state.attempts > 0 || (state.status === 'succeeded' && state.changed === true))
  );
}

/** The step whose act is the undo. It says of itself when it is done, and may be repeated. */
export function undoStepOf({ undo, undoneWhen, retriesMax: _retries, ...step }: Step): Step | null {
  if (undo === undefined) return null;
  return {
    ...step,
    action: undo,
    holdsWhen: undoneWhen ?? null,
    pointOfNoReturn: false,
    repeatable: true,
    // What came before it may rely on it: it is not taken back from under its feet.
    onFailure: 'stop',
    why: `takes back ${step.id}`,
  };
}

export function undoStateOf(run: Run, stepId: string): StepState {
  return run.undos.get(stepId) ?? waitingStep;
}

/** The events of a step that is an undo, under their own names. */
export function asUndoEvent(event: RunEvent): RunEvent {
  switch (event.event) {
    case 'StepStarted':
      return { ...event, event: 'UndoStarted' };
    case 'StepSucceeded': {
      const { partial: _partial, ...rest } = event;
      return { ...rest, event: 'UndoSucceeded' };
    }
    case 'StepFailed':
      return { ...event, event: 'UndoFailed' };
    default:
      return event;
  }
}

/** `2 steps were taken back; left as they are: fence-tokyo`. */
export function undoSummary(run: Run): string {
  const begun = begunSteps(run);
  const left = begun
    .filter((step) => step.undo === undefined && run.steps.get(step.id)?.status !== 'failed')
    .map((step) => step.id);
  const done = begun.filter((step) => run.undos.get(step.id)?.status === 'succeeded');
  const failed = begun.filter((step) => run.undos.get(step.id)?.status === 'failed').map((step) => step.id);
  return [
    `${run.plan.operation} of ${run.plan.group}: ${done.length} ${done.length === 1 ? 'step was' : 'steps were'} taken back`,
    ...(failed.length === 0 ? [] : [`could not be taken back: ${failed.join(', ')}`]),
    ...(left.length === 0 ? [] : [`left as they are: ${left.join(', ')}`]),
  ].join('; ');
}

export function assertUndoable(run: Run): void {
  if (run.outcome !== 'done' && run.outcome !== 'done-with-warnings' && run.outcome !== 'abandoned') return;
  const ended = run.outcome === 'abandoned' ? 'was given up' : 'has reached its end';
  throw new OperatorError(
    {
      code: 'DR-UNDO-ENDED',
      what: `Run ${run.id} ${ended}: it is not taken back`,
      next: `See how the group stands: \`lifeboat status ${run.plan.group}\``,
    },
    { exitCode: exitCodes.blocked },
  );
}

export function noWayBack(
  run: Run,
  passed: readonly { readonly step: Step; readonly because: string }[],
): OperatorError {
  return new OperatorError(
    {
      code: 'DR-UNDO-TOO-LATE',
      what: `Run ${run.id} has passed a point of no return, and cannot be taken back`,
      known: passed.map(({ step, because }) => `step ${step.id}: ${because}`),
      next: `Go on with \`lifeboat run resume ${run.id}\`; the way back to the old site is a failback, when the group is well again`,
    },
    { exitCode: exitCodes.blocked },
  );
}

/** Where it cannot be seen whether a point of no return was passed, nothing is taken back. A defect stays what it is. */
export function wayBackUnknown(run: Run, step: Step, error: unknown): unknown {
  const problem = error instanceof PortError ? error.problem : null;
  if (problem === null) return error;
  return new OperatorError(
    {
      code: 'DR-UNDO-UNKNOWN',
      what: `Whether run ${run.id} has passed a point of no return cannot be seen, so nothing is taken back`,
      known: [`step ${step.id} was tried, and failed`, describeProblem(problem)],
      next: `Try again when it answers. If it is lost for good, give the run up with \`lifeboat run abandon ${run.id} --reason "…"\`, then \`lifeboat status ${run.plan.group}\``,
    },
    { exitCode: exitCodes.blocked, cause: error },
  );
}
