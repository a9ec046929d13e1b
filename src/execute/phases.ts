/** What an operation does to the phase of its group: during the run, and when it is over. */
import type { GroupState, Phase } from '../domain/group.ts';
import type { Operation, Plan } from '../domain/plan.ts';
import type { Run, RunOutcome } from '../domain/run.ts';
import type { Instant } from '../domain/time.ts';
import { drillOfPlan, isCleanedUp, stateAfterDrill } from './drill-state.ts';

interface Course {
  /** Phase while the run is open; null when the operation changes nothing in the world and so raises no generation. */
  readonly during: Phase | null;
  readonly done: Phase;
}

const courses: Readonly<Record<Operation, Course>> = {
  export: { during: null, done: 'protected' },
  verify: { during: null, done: 'protected' },
  drill: { during: 'drilling', done: 'protected' },
  'drill-cleanup': { during: 'drilling', done: 'protected' },
  // Its clones are those of a drill, and are cleaned up like those.
  canary: { during: 'drilling', done: 'protected' },
  'recover-metadata': { during: 'drilling', done: 'protected' },
  migrate: { during: 'migrating', done: 'failed-over' },
  failover: { during: 'failing-over', done: 'failed-over' },
  reprotect: { during: 'reprotecting', done: 'failed-over' },
  failback: { during: 'migrating', done: 'failed-over' },
};

/** Whether a run of this operation makes older plans of the group void (invariant 9). */
export function raisesGeneration(operation: Operation): boolean {
  return courses[operation].during !== null;
}

/** A group that was never seen before. Its active site is the one that the plan reads from. */
export function firstState(plan: Plan, at: Instant): GroupState {
  return {
    group: plan.group,
    phase: 'unprotected',
    generation: 0,
    activeSite: sourceSiteOf(plan) ?? '',
    roles: 'as-configured',
    currentRun: null,
    changedAt: at,
    frozen: null,
    tombstone: null,
    drill: null,
  };
}

export function stateAtStart(state: GroupState, plan: Plan, run: string, at: Instant): GroupState {
  const { during } = courses[plan.operation];
  // An export beside an open failover must not take the failover's place.
  if (during === null) return state;
  const drill = drillOfPlan(plan);
  return {
    ...state,
    currentRun: run,
    changedAt: at,
    // What is cleaned up may be left of a time before the group moved: that it has moved is not to be forgotten.
    phase: plan.operation === 'drill-cleanup' ? state.phase : during,
    generation: plan.generation + 1,
    drill: drill === null ? state.drill : { id: drill, run, at },
  };
}

/**
 * The state after a run has ended. A run that ended without having touched anything leaves the group as it was before;
 * one that ended half way stays where it is, so that resuming it or planning anew is the way on.
 */
export function stateAtEnd(
  state: GroupState,
  run: Run,
  outcome: RunOutcome,
  before: Phase | null,
  at: Instant,
): GroupState {
  const { during, done } = courses[run.plan.operation];
  const succeeded = outcome === 'done' || outcome === 'done-with-warnings';
  if (during === null) {
    const first = succeeded && run.plan.operation === 'export' && state.phase === 'unprotected';
    return first ? { ...state, phase: 'protected', changedAt: at } : state;
  }
  const ended = { ...state, changedAt: at, drill: isCleanedUp(run) ? null : state.drill };
  if (['drill', 'drill-cleanup', 'canary', 'recover-metadata'].includes(run.plan.operation))
    return stateAfterDrill({ ...state, changedAt: at }, run, outcome, before);
  switch (outcome) {
    case 'done':
    case 'done-with-warnings': {
      const site = targetSiteOf(run.plan);
      const moved = done === 'failed-over' && site !== null;
      return {
        ...ended,
        currentRun: null,
        phase: hasTurnedRound(run) ? 'protected' : onlyPutAway(run) && before === 'stuck' ? before : done,
        ...(moved ? { activeSite: site } : {}),
      };
    }
    case 'stuck':
      return { ...ended, phase: 'stuck' };
    case 'undone':
      return { ...ended, currentRun: null, phase: before ?? state.phase };
    case 'failed':
    case 'stopped':
    case 'abandoned': {
      // `currentRun` stays: it is the run that may be resumed as long as no other one has begun.
      const open = outcome === 'abandoned' ? { ...ended, currentRun: null } : ended;
      if (!touchedTheWorld(run)) return { ...open, phase: before ?? state.phase };
      return outcome === 'abandoned' ? { ...open, phase: 'stuck' } : open;
    }
  }
}

/** A quarantine alone: what was wrong with the group before is still wrong. */
function onlyPutAway({ plan }: Run): boolean {
  return plan.operation === 'reprotect' && !plan.steps.some(({ action }) => action.do === 'swap-roles');
}

/** The replication was reversed and the sites have changed places: what was moved is protected again. */
function hasTurnedRound(run: Run): boolean {
  return run.plan.steps.some(
    (step) => step.action.do === 'swap-roles' && run.steps.get(step.id)?.status === 'succeeded',
  );
}

/** A step that has an effect to observe was begun. */
function touchedTheWorld(run: Run): boolean {
  return run.plan.steps.some((step) => {
    const state = run.steps.get(step.id);
    return (
      step.holdsWhen !== null && state !== undefined && (state.attempts > 0 || state.status === 'succeeded')
    );
  });
}

/** Where the VMs shall run when the plan is done; null for plans that start none. */
export function targetSiteOf(plan: Plan): string | null {
  for (const { action } of plan.steps)
    if (action.do === 'start-vm' || action.do === 'import-vms') return action.site;
  return null;
}

function sourceSiteOf(plan: Plan): string | null {
  for (const { action } of plan.steps) {
    if (action.do === 'save-documents' || action.do === 'capture-pool' || action.do === 'record-evidence')
      return action.site;
    if (action.do === 'start-vm') return action.twinSite;
  }
  return null;
}
