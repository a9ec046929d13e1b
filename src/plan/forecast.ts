/**
 * How long a plan will take: a list schedule of its steps over the limited things that they use, with costs measured
 * on a real xapi (performance.md 2, 5, 6). Forecasts are for people; nothing is ever timed out by them.
 */
import type { Plan, Step } from '../domain/plan.ts';
import { forecastEnds } from '../domain/schedule.ts';

export const costs = {
  /** One export by itself; it grows with the pool (performance.md 2: 2.5 ms at 200 VMs, 7.5 ms at 1,000). */
  exportOneSeconds: (vmsInPool: number): number => 0.0013 + 0.0000063 * vmsInPool + 0.005,
  /** Everything in one request: linear (performance.md 2). */
  exportAllSeconds: (vmsInPool: number): number => 0.02 + 0.00102 * vmsInPool,
  /** Plug on the coordinator with its scan (performance.md 5.3: 0.5 s at 90 VDIs, 6.1 s at 1,500). */
  plugSeconds: (vdis: number): number => 0.2 + 0.004 * vdis,
  /** One document of many VMs (performance.md 5.3). */
  importSeconds: (vms: number, vdis: number, vdisInTarget: number): number =>
    0.02 + 0.0033 * vms + 0.00003 * vdis * vdisInTarget,
  /**
   * VM.start, without the VM's own start_delay. The pool's core needs 60 ms to 205 ms for each, growing with the pool, and
   * shares itself among those that start at once; a host needs seconds, which nobody measured (performance.md 6).
   */
  startSeconds: (vmsInPool: number, atOnce: number): number =>
    Math.max(2, atOnce * (0.08 + 0.0001 * vmsInPool)),
  /** A guest with an agent reports after its boot; without a gate on the agent there is nothing to wait for. */
  bootSeconds: 20,
} as const;

/** Seconds until the last step ends when each starts as soon as its predecessors and its resources allow. */
export function forecastSeconds(steps: readonly Step[], limits?: Plan['limits']): number {
  return Math.max(0, ...forecastEnds(steps, limits).values());
}

export { inOrder } from '../domain/schedule.ts';
