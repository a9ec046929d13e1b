/**
 * A run is the fold of its events. The journal holds the events, one per line; whoever wants to know how a run stands
 * folds them again. Nothing else is remembered.
 */
import type { Json } from './canonical.ts';
import type { ExitCode, Problem } from './errors.ts';
import type { Phase } from './group.ts';
import type { Plan } from './plan.ts';
import type { Instant } from './time.ts';

export type RunEvent =
  | {
      readonly event: 'RunStarted';
      readonly at: Instant;
      readonly run: string;
      readonly plan: Plan;
      readonly planDigest: string;
      readonly by: string;
      readonly version: string;
      /** Phase of the group before the run: where it returns to when the run ends without having touched anything. */
      readonly phaseBefore?: Phase;
      /** What a person decided before the run: in the same line as the plan, so that no crash can part them. */
      readonly decisions?: readonly {
        readonly by: string;
        readonly decision: string;
        readonly reason: string;
      }[];
    }
  | {
      readonly event: 'Decision';
      readonly at: Instant;
      readonly by: string;
      readonly decision: string;
      readonly reason: string;
    }
  | { readonly event: 'RunResumed'; readonly at: Instant; readonly by: string; readonly version: string }
  | { readonly event: 'StepStarted'; readonly at: Instant; readonly step: string; readonly attempt: number }
  | {
      readonly event: 'StepSucceeded';
      readonly at: Instant;
      readonly step: string;
      readonly changed: boolean;
      readonly output: Json;
      readonly warnings: readonly string[];
      /** Part of the act was not possible and is named in `warnings`; resuming the run tries it again. */
      readonly partial?: true;
    }
  | {
      readonly event: 'StepFailed';
      readonly at: Instant;
      readonly step: string;
      readonly problem: Problem;
      readonly outcome: 'failed' | 'unknown';
    }
  | { readonly event: 'StepSkipped'; readonly at: Instant; readonly step: string; readonly reason: string }
  /** The effect of the step is being taken back by its `undo`. */
  | { readonly event: 'UndoStarted'; readonly at: Instant; readonly step: string; readonly attempt: number }
  | {
      readonly event: 'UndoSucceeded';
      readonly at: Instant;
      readonly step: string;
      readonly changed: boolean;
      readonly output: Json;
      readonly warnings: readonly string[];
    }
  | {
      readonly event: 'UndoFailed';
      readonly at: Instant;
      readonly step: string;
      readonly problem: Problem;
      readonly outcome: 'failed' | 'unknown';
    }
  | {
      readonly event: 'RunEnded';
      readonly at: Instant;
      readonly outcome: RunOutcome;
      readonly exitCode: ExitCode;
      readonly summary: string;
    };

export type RunOutcome =
  | 'done'
  | 'done-with-warnings'
  | 'failed'
  | 'stuck'
  | 'stopped'
  | 'abandoned'
  /** What its steps had changed was taken back. */
  | 'undone';

export type StepStatus = 'waiting' | 'running' | 'succeeded' | 'failed' | 'unknown' | 'skipped';

export interface StepState {
  readonly status: StepStatus;
  readonly attempts: number;
  readonly startedAt: Instant | null;
  readonly endedAt: Instant | null;
  readonly changed: boolean | null;
  readonly output: Json;
  readonly warnings: readonly string[];
  /** The step succeeded, but for what its warnings name. */
  readonly partial: boolean;
  readonly problem: Problem | null;
  readonly reason: string | null;
}

export interface Run {
  readonly id: string;
  readonly plan: Plan;
  readonly planDigest: string;
  readonly by: string;
  readonly startedAt: Instant;
  readonly endedAt: Instant | null;
  readonly outcome: RunOutcome | null;
  readonly exitCode: ExitCode | null;
  readonly summary: string | null;
  readonly steps: ReadonlyMap<string, StepState>;
  /** How the taking back of a step stands; only of steps that have been begun to be undone. */
  readonly undos: ReadonlyMap<string, StepState>;
  readonly decisions: readonly {
    readonly at: Instant;
    readonly by: string;
    readonly decision: string;
    readonly reason: string;
  }[];
}

export const waitingStep: StepState = {
  status: 'waiting',
  attempts: 0,
  startedAt: null,
  endedAt: null,
  changed: null,
  output: null,
  warnings: [],
  partial: false,
  problem: null,
  reason: null,
};

/** The run that these events describe. Throws on an order of events that the executor never writes. */
export function foldRun(events: readonly RunEvent[]): Run {
  const [first, ...rest] = events;
  if (first === undefined) throw new Error('a journal begins with RunStarted');
  let run = beginRun(first);
  for (const event of rest) run = applyEvent(run, event);
  return run;
}

/** The run as its first event leaves it. */
export function beginRun(first: RunEvent): Run {
  if (first.event !== 'RunStarted') throw new Error('a journal begins with RunStarted');
  return {
    id: first.run,
    plan: first.plan,
    planDigest: first.planDigest,
    by: first.by,
    startedAt: first.at,
    endedAt: null,
    outcome: null,
    exitCode: null,
    summary: null,
    steps: new Map<string, StepState>(first.plan.steps.map((step) => [step.id, waitingStep])),
    undos: new Map<string, StepState>(),
    decisions: (first.decisions ?? []).map((decision) => ({ at: first.at, ...decision })),
  };
}

/** The run after one more event. `run` is used up: the maps of its steps go over to the result and are changed. */
export function applyEvent(run: Run, event: RunEvent): Run {
  const steps = run.steps as Map<string, StepState>;
  const undos = run.undos as Map<string, StepState>;
  const change = (states: Map<string, StepState>, step: string, values: Partial<StepState>): Run => {
    if (!steps.has(step)) throw new Error(`the journal names step ${step}, which the plan does not have`);
    states.set(step, { ...(states.get(step) ?? waitingStep), ...values });
    return run;
  };
  switch (event.event) {
    case 'RunStarted':
      throw new Error('a journal holds one RunStarted');
    case 'RunResumed':
      // What was skipped for want of another step gets a new chance; what a person settled stays so.
      for (const [step, state] of steps)
        if (
          state.status === 'skipped' &&
          !run.decisions.some(({ decision }) => decision === `skip-step ${step}`)
        )
          steps.set(step, { ...state, status: 'waiting', endedAt: null, reason: null });
      return { ...run, endedAt: null, outcome: null, exitCode: null, summary: null };
    case 'Decision':
      return {
        ...run,
        decisions: [
          ...run.decisions,
          { at: event.at, by: event.by, decision: event.decision, reason: event.reason },
        ],
      };
    case 'StepStarted':
      return change(steps, event.step, started(event));
    case 'StepSucceeded':
      return change(steps, event.step, { ...succeeded(event), partial: event.partial === true });
    case 'StepFailed':
      return change(steps, event.step, failed(event));
    case 'UndoStarted':
      return change(undos, event.step, started(event));
    case 'UndoSucceeded':
      return change(undos, event.step, succeeded(event));
    case 'UndoFailed':
      return change(undos, event.step, failed(event));
    case 'StepSkipped':
      return change(steps, event.step, { status: 'skipped', endedAt: event.at, reason: event.reason });
    case 'RunEnded':
      return {
        ...run,
        endedAt: event.at,
        outcome: event.outcome,
        exitCode: event.exitCode,
        summary: event.summary,
      };
  }
}

type StepEvent<E extends RunEvent['event']> = Extract<RunEvent, { readonly event: E }>;

function started(event: StepEvent<'StepStarted' | 'UndoStarted'>): Partial<StepState> {
  return {
    status: 'running',
    attempts: event.attempt,
    startedAt: event.at,
    endedAt: null,
    problem: null,
    reason: null,
  };
}

function succeeded(event: StepEvent<'StepSucceeded' | 'UndoSucceeded'>): Partial<StepState> {
  return {
    status: 'succeeded',
    endedAt: event.at,
    changed: event.changed,
    output: event.output,
    warnings: event.warnings,
    problem: null,
    reason: null,
  };
}

function failed(event: StepEvent<'StepFailed' | 'UndoFailed'>): Partial<StepState> {
  return {
    status: event.outcome === 'unknown' ? 'unknown' : 'failed',
    endedAt: event.at,
    problem: event.problem,
  };
}
