/** What a run leaves of a drill in the state of its group: nothing, when the clean-up went through to its end. */
import type { GroupState, Phase } from '../domain/group.ts';
import type { Action, Plan } from '../domain/plan.ts';
import type { Run, RunOutcome } from '../domain/run.ts';

const cleaning: ReadonlySet<Action['do']> = new Set<Action['do']>([
  'remove-copies',
  'forget-clone',
  'forget-found-clones',
  'stop-clone',
  'compare-inventory',
]);
/** The first acts that leave an object somewhere; what they name is what the clean-up looks for. */
const making: ReadonlySet<Action['do']> = new Set<Action['do']>([
  'clone-replica',
  'clone-canary',
  'attach-sr',
  'attach-found-clone',
  'import-vms',
]);

/** The drill that a plan carries out; null for plans that make none. */
export function drillOfPlan(plan: Plan): string | null {
  for (const { action } of plan.steps) {
    if (action.do === 'clone-replica' || action.do === 'clone-canary') return action.drill;
    // VMs without disks have copies, and nothing of theirs is cloned.
    if (action.do === 'import-vms' && action.drill !== undefined) return action.drill;
  }
  return null;
}

/** Every step that takes a drill away has succeeded, and there were some. */
export function isCleanedUp(run: Run): boolean {
  const steps = run.plan.steps.filter((step) => cleaning.has(step.action.do));
  return steps.length > 0 && steps.every((step) => run.steps.get(step.id)?.status === 'succeeded');
}

function madeSomething(run: Run): boolean {
  return run.plan.steps.some(
    (step) => making.has(step.action.do) && (run.steps.get(step.id)?.attempts ?? 0) > 0,
  );
}

/**
 * The group after a drill, or after the clean-up of one. A drill that was cleaned up is over, however it ended, and is
 * not gone on with; one whose objects stand stays open until `drill cleanup`.
 */
export function stateAfterDrill(
  state: GroupState,
  run: Run,
  outcome: RunOutcome,
  before: Phase | null,
): GroupState {
  if (isCleanedUp(run)) return { ...state, currentRun: null, drill: null, phase: phaseAfter(state, before) };
  if (run.plan.operation !== 'drill-cleanup' && !madeSomething(run)) {
    const currentRun = outcome === 'abandoned' ? null : state.currentRun;
    return { ...state, currentRun, drill: null, phase: phaseAfter(state, before) };
  }
  const isOver = outcome === 'done' || outcome === 'done-with-warnings' || outcome === 'abandoned';
  return { ...state, currentRun: isOver ? null : state.currentRun };
}

/** A drill needs a recovery point, so a group that was being drilled is protected once the drill is gone. */
function phaseAfter(state: GroupState, before: Phase | null): Phase {
  const phase = before ?? state.phase;
  return phase === 'drilling' || (phase === 'stuck' && state.drill !== null) ? 'protected' : phase;
}
