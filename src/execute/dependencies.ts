/**
 * When a step's turn has come. `after` gives the order; when a step fails and the run goes on (`onFailure: continue`),
 * only those steps are skipped that need it: one VM that does not come up never holds up the others.
 */
import type { Plan, Step } from '../domain/plan.ts';
import type { Run, StepState } from '../domain/run.ts';

/** Which steps may begin, kept up to date as steps end: every question costs as much as it has answers. */
export class Schedule {
  readonly #steps: ReadonlyMap<string, Step>;
  readonly #followers = new Map<string, string[]>();
  readonly #waitsFor = new Map<string, number>();
  readonly #order = new Map<string, number>();
  readonly #free = new Set<string>();

  /** `isOver`: the step needs no more work (it succeeded, or a person said to leave it). */
  constructor(plan: Plan, isOver: (stepId: string) => boolean) {
    this.#steps = new Map(plan.steps.map((step) => [step.id, step]));
    plan.steps.forEach((step, index) => {
      this.#order.set(step.id, index);
      if (isOver(step.id)) return;
      const open = new Set(step.after.filter((id) => !isOver(id)));
      this.#waitsFor.set(step.id, open.size);
      for (const id of open) this.#followers.set(id, [...(this.#followers.get(id) ?? []), step.id]);
      if (open.size === 0) this.#free.add(step.id);
    });
  }

  /** Steps that wait for no other step, in the order of the plan. */
  free(): readonly Step[] {
    return [...this.#free]
      .sort((a, b) => (this.#order.get(a) ?? 0) - (this.#order.get(b) ?? 0))
      .flatMap((id) => this.#steps.get(id) ?? []);
  }

  begin(stepId: string): void {
    this.#free.delete(stepId);
  }

  end(stepId: string): void {
    for (const follower of this.#followers.get(stepId) ?? []) {
      const open = (this.#waitsFor.get(follower) ?? 0) - 1;
      this.#waitsFor.set(follower, open);
      if (open === 0) this.#free.add(follower);
    }
  }

  /**
   * Why a free step is not worth beginning: a step that it needs neither succeeded nor was settled by a person. Null
   * when all is well.
   */
  pointless(step: Step, states: Run['steps'], isSettled: (stepId: string) => boolean): string | null {
    for (const id of step.needs ?? step.after) {
      const status: StepState['status'] | undefined = states.get(id)?.status;
      if (isSettled(id)) continue;
      return `needs ${id}, which ${status === 'skipped' ? 'was skipped' : 'failed'}`;
    }
    return null;
  }
}

/** Faults in the plan itself, so that a run cannot wait for ever: unknown, double and circular step ids. */
export function faultsOf(plan: Plan): string[] {
  const faults: string[] = [];
  const ids = new Set<string>();
  for (const step of plan.steps) {
    if (ids.has(step.id)) faults.push(`two steps are called ${step.id}`);
    ids.add(step.id);
  }
  for (const step of plan.steps) {
    for (const id of step.after)
      if (!ids.has(id)) faults.push(`step ${step.id} comes after ${id}, which is not there`);
    for (const id of step.needs ?? [])
      if (!step.after.includes(id)) faults.push(`step ${step.id} needs ${id}, but does not come after it`);
  }
  if (faults.length > 0) return faults;
  const placed = new Set(inOrderOfSteps(plan).map((step) => step.id));
  const rest = plan.steps.filter((step) => !placed.has(step.id)).map((step) => step.id);
  return rest.length === 0 ? [] : [`steps wait for each other: ${rest.join(', ')}`];
}

/** Each step behind those that it comes after; steps that wait for each other are missing. */
export function inOrderOfSteps(plan: Plan): Step[] {
  const schedule = new Schedule(plan, () => false);
  const placed: Step[] = [];
  for (let free = schedule.free(); free.length > 0; free = schedule.free()) {
    for (const step of free) {
      schedule.begin(step.id);
      schedule.end(step.id);
      placed.push(step);
    }
  }
  return placed;
}
