/** A failover of the shop as a journal would tell it: every step takes its forecast, unless the story says otherwise. */
import type { Problem } from '../../src/domain/errors.ts';
import type { Plan } from '../../src/domain/plan.ts';
import type { RunEvent } from '../../src/domain/run.ts';
import { matchableVms } from '../../src/domain/scope.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planExport } from '../../src/plan/export.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { disaster, now, productionPool, quiet, shop } from '../support/two-sites.ts';

export const digest = 'd1'.repeat(32);

export function failoverPlan(observation = disaster()): Plan {
  return planFailover({
    planId: 'plan-7f3a',
    group: shop,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation,
    pointId: null,
    declaredLost: false,
  });
}

export function exportPlan(): Plan {
  return planExport({
    planId: 'plan-11e0',
    pointId: 'shop/20260314T020000Z-0002',
    group: shop,
    configDigest: 'c'.repeat(64),
    generation: 3,
    observation: quiet(),
    vms: matchableVms(productionPool()),
  });
}

export interface Story {
  /** Steps that fail, by id. */
  readonly failing?: Readonly<Record<string, Problem>>;
  /** Warnings of steps, by id. */
  readonly warnings?: Readonly<Record<string, readonly string[]>>;
  /** The journal ends before this step is over. */
  readonly until?: string;
  readonly end?: Omit<Extract<RunEvent, { event: 'RunEnded' }>, 'event' | 'at'>;
}

export function eventsOf(plan: Plan, story: Story = {}): RunEvent[] {
  const events: RunEvent[] = [
    {
      event: 'RunStarted',
      at: now,
      run: 'run-0042',
      plan,
      planDigest: digest,
      by: 'night-shift',
      version: '0.1.0',
    },
  ];
  const ends = new Map<string, number>();
  const failed = new Set<string>();
  let last = 0;
  for (const step of plan.steps) {
    const start = Math.max(0, ...step.after.map((id) => ends.get(id) ?? 0));
    const end = start + Math.max(0.1, step.forecastSeconds);
    const needs = step.needs ?? step.after;
    if (needs.some((id) => failed.has(id))) {
      failed.add(step.id);
      ends.set(step.id, start);
      events.push({
        event: 'StepSkipped',
        at: addSeconds(now, start),
        step: step.id,
        reason: 'what it needs failed',
      });
      continue;
    }
    events.push({ event: 'StepStarted', at: addSeconds(now, start), step: step.id, attempt: 1 });
    if (story.until === step.id) break;
    ends.set(step.id, end);
    last = Math.max(last, end);
    const problem = story.failing?.[step.id];
    if (problem !== undefined) {
      failed.add(step.id);
      events.push({
        event: 'StepFailed',
        at: addSeconds(now, end),
        step: step.id,
        problem,
        outcome: 'failed',
      });
    } else {
      events.push({
        event: 'StepSucceeded',
        at: addSeconds(now, end),
        step: step.id,
        changed: step.holdsWhen !== null,
        output: null,
        warnings: story.warnings?.[step.id] ?? [],
      });
    }
  }
  if (story.end !== undefined) events.push({ event: 'RunEnded', at: addSeconds(now, last), ...story.end });
  return events;
}

export const noMemory: Problem = {
  code: 'DR-VM-START',
  what: 'VM app-02 did not start',
  known: ['no host of pool tokyo-pool has 4 GiB free'],
  next: 'free memory at site tokyo, then start it with run resume',
};
