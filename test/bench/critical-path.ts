/**
 * The shortest time in which a pool could carry out a plan, at the prices of the lab: its one core works without a pause
 * and without contention, its hosts work beside it, and whoever orders the work costs nothing. Steps without a price, the
 * reading of the pool and of the catalog among them, take no time.
 */
import type { Step } from '../../src/domain/plan.ts';

export interface Price {
  /** Served by the pool's one core, one after the other. */
  readonly coreSeconds: number;
  /** Worked on by a host afterwards. */
  readonly hostSeconds: number;
}

export interface Pace {
  readonly limitOf: (resource: string) => number;
  /** `done`: steps that have ended before this one begins. */
  readonly priceOf: (step: Step, done: readonly Step[]) => Price;
  /** Hosts times the VMs that each works on at once. */
  readonly workers: number;
}

export function criticalPathSeconds(steps: readonly Step[], { limitOf, priceOf, workers }: Pace): number {
  const used = new Map<string, number>();
  const waiting = new Set(steps);
  const running: { readonly step: Step; readonly endsAt: number }[] = [];
  const done: Step[] = [];
  const ended = new Set<string>();
  const free = new Array<number>(workers).fill(0);
  let core = 0;
  let now = 0;
  const change = (step: Step, by: number): void => {
    for (const resource of step.uses) used.set(resource, (used.get(resource) ?? 0) + by);
  };
  const fits = (step: Step): boolean =>
    step.after.every((id) => ended.has(id)) &&
    step.uses.every((resource) => (used.get(resource) ?? 0) < limitOf(resource));
  while (waiting.size > 0 || running.length > 0) {
    for (const step of waiting) {
      if (!fits(step)) continue;
      waiting.delete(step);
      change(step, 1);
      const { coreSeconds, hostSeconds } = priceOf(step, done);
      if (coreSeconds > 0) core = Math.max(core, now) + coreSeconds;
      let endsAt = coreSeconds > 0 ? core : now;
      if (hostSeconds > 0) {
        const worker = free.indexOf(Math.min(...free));
        endsAt = Math.max(endsAt, free[worker] ?? 0) + hostSeconds;
        free[worker] = endsAt;
      }
      running.push({ step, endsAt });
    }
    running.sort((a, b) => a.endsAt - b.endsAt);
    const next = running.shift();
    if (next === undefined) throw new Error('steps wait for each other');
    now = next.endsAt;
    change(next.step, -1);
    ended.add(next.step.id);
    done.push(next.step);
  }
  return now;
}
