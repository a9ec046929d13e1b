/** Whatever breaks in a drill, its clean-up still has its turn. */
import type { Step } from '../../domain/plan.ts';

/**
 * The same steps, but what would stop the run lets it go on: those that come after such a step need it then, so that
 * nothing is tried that a stop would have prevented, and the run ends as failed. `before`: steps that may stop the run,
 * because there is nothing to clean up yet.
 */
export function goOnToCleanUp(steps: readonly Step[], before: readonly string[]): Step[] {
  const early = new Set(before);
  const stopping = new Set(
    steps.filter((step) => step.onFailure === 'stop' && !early.has(step.id)).map((step) => step.id),
  );
  return steps.map((step) => {
    const needs = step.needs ?? step.after;
    const more = step.after.filter((id) => stopping.has(id) && !needs.includes(id));
    return {
      ...step,
      ...(more.length === 0 ? {} : { needs: [...needs, ...more] }),
      onFailure: stopping.has(step.id) ? ('finish' as const) : step.onFailure,
    };
  });
}

/** Steps that no other one waits for. */
export function lastOf(steps: readonly Step[]): string[] {
  const waitedFor = new Set(steps.flatMap((step) => step.after));
  return steps.map((step) => step.id).filter((id) => !waitedFor.has(id));
}
