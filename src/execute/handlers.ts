/**
 * How the executor reaches the world: one function per action (`do`) and one per condition (`is`), typed over the
 * unions of the plan, so that a new kind of step does not compile until somebody says how it is done and observed.
 */
import type { Json } from '../domain/canonical.ts';
import type { Action, Condition, Plan, Step } from '../domain/plan.ts';
import type { Run } from '../domain/run.ts';
import type { Instant } from '../domain/time.ts';

export type ActionOf<K extends Action['do']> = Extract<Action, { readonly do: K }>;
export type ConditionOf<K extends Condition['is']> = Extract<Condition, { readonly is: K }>;

export type ActionHandlers = {
  readonly [K in Action['do']]: (action: ActionOf<K>, context: StepContext) => Promise<ActResult>;
};
export type ConditionHandlers = {
  readonly [K in Condition['is']]: (condition: ConditionOf<K>, context: StepContext) => Promise<Verdict>;
};

/** What a handler may know of the run beside its own action. */
export interface StepContext {
  readonly run: string;
  readonly plan: Plan;
  readonly step: Step;
  /** 1 for the first try, counted over crashes and resumes. */
  readonly attempt: number;
  readonly startedAt: Instant;
  /** Aborted by the step's deadline and, when the step may be repeated, by the cancellation of the run. */
  readonly signal: AbortSignal;
  /** As they stand now: a person may answer a question of the step while it waits. */
  readonly decisions: Run['decisions'];
  /** Output of a step that succeeded, in this process or before a crash; null when it has not (yet). */
  output(stepId: string): Json;
}

export interface ActResult {
  /** Null: what the look after the act tells. */
  readonly output: Json;
  readonly warnings: readonly string[];
  /**
   * True when the act did what it could and named the rest in `warnings` (one VM of a batch was refused): the
   * condition cannot hold as a whole then, and the step counts as succeeded with warnings.
   */
  readonly partial?: boolean;
}

export type Verdict =
  | { readonly holds: true; readonly output?: Json; readonly warnings?: readonly string[] }
  | { readonly holds: false; readonly because: string };

export function perform(handlers: ActionHandlers, action: Action, context: StepContext): Promise<ActResult> {
  // The table gives each kind its own function; that they belong together is beyond what the checker can follow.
  const handler = handlers[action.do] as (action: Action, context: StepContext) => Promise<ActResult>;
  return handler(action, context);
}

export function observe(
  handlers: ConditionHandlers,
  condition: Condition,
  context: StepContext,
): Promise<Verdict> {
  const handler = handlers[condition.is] as (condition: Condition, context: StepContext) => Promise<Verdict>;
  return handler(condition, context);
}
