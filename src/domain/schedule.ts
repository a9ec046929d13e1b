/** When the steps of a plan would end by their forecasts: a list schedule over the limited things that they use. */
import { limitsOf } from './limits.ts';
import type { Plan, Step } from './plan.ts';

/** Seconds from the beginning until each step ends, by its id, when it starts as soon as others and its resources allow. */
export function forecastEnds(
  steps: readonly Step[],
  limits: Plan['limits'] = {},
): ReadonlyMap<string, number> {
  const widthOf = limitsOf({ limits });
  const endOf = new Map<string, number>();
  const busyUntil = new Map<string, number[]>();
  for (const step of inOrder(steps)) {
    let start = Math.max(0, ...step.after.map((id) => endOf.get(id) ?? 0));
    const lanes = step.uses.map((resource) => {
      let lane = busyUntil.get(resource);
      if (lane === undefined) {
        lane = new Array<number>(widthOf(resource)).fill(0);
        busyUntil.set(resource, lane);
      }
      return lane;
    });
    for (const lane of lanes) start = Math.max(start, Math.min(...lane));
    const end = start + step.forecastSeconds;
    for (const lane of lanes) lane[lane.indexOf(Math.min(...lane))] = end;
    endOf.set(step.id, end);
  }
  return endOf;
}

/** Steps so that each stands behind those it waits for; in the plan's own order otherwise. */
export function inOrder(steps: readonly Step[]): Step[] {
  const done = new Set<string>();
  const ordered: Step[] = [];
  let rest = [...steps];
  while (rest.length > 0) {
    const ready = rest.filter((step) => step.after.every((id) => done.has(id)));
    if (ready.length === 0)
      throw new Error(`steps wait for each other: ${rest.map((step) => step.id).join(', ')}`);
    for (const step of ready) {
      ordered.push(step);
      done.add(step.id);
    }
    rest = rest.filter((step) => !done.has(step.id));
  }
  return ordered;
}
