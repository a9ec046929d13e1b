/** What must be true before anything is done: the confirmed plan, a sound one, and nobody newer (invariant 9). */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../domain/canonical.ts';
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { GroupState } from '../domain/group.ts';
import type { Plan } from '../domain/plan.ts';
import { faultsOf } from './dependencies.ts';
import { raisesGeneration } from './phases.ts';

/** SHA-256 of the plan's canonical text, in hexadecimal. */
export function planDigest(plan: Plan): string {
  return createHash('sha256').update(canonicalJson(plan)).digest('hex');
}

export function assertExecutable(plan: Plan, digest: string): void {
  if (planDigest(plan) !== digest) {
    throw new OperatorError(
      {
        code: 'DR-PLAN-DIGEST',
        what: 'The plan is not the one that was confirmed: its digest differs',
        known: [`confirmed ${digest.slice(0, 12)}…, found ${planDigest(plan).slice(0, 12)}…`],
        next: `Make the plan anew with \`lifeboat plan ${plan.operation} ${plan.group}\` and confirm that`,
      },
      { exitCode: exitCodes.blocked },
    );
  }
  const faults = [...plan.waitingOn.map((what) => `it waits for ${what}`), ...faultsOf(plan)];
  if (faults.length > 0) {
    throw new OperatorError(
      {
        code: 'DR-PLAN-UNFIT',
        what: 'The plan cannot be run',
        known: faults,
        next: `See what it waits for, then make it anew with \`lifeboat plan ${plan.operation} ${plan.group}\``,
      },
      { exitCode: exitCodes.blocked },
    );
  }
}

export function assertGeneration(plan: Plan, state: GroupState, expected: number): void {
  if (state.generation !== expected) throw staleGeneration(plan, state);
}

/** A stopped run may go on as long as no newer one has begun. */
export function assertStillOurs(plan: Plan, runId: string, state: GroupState): void {
  // It crashed before it claimed the group, and nobody has done so since.
  if (state.generation === plan.generation) return;
  if (
    raisesGeneration(plan.operation) &&
    state.generation === plan.generation + 1 &&
    state.currentRun === runId
  )
    return;
  throw staleGeneration(plan, state);
}

/** Nothing has moved the group since this run did. */
export function isLastOf(plan: Plan, runId: string, state: GroupState): boolean {
  return (
    raisesGeneration(plan.operation) &&
    state.generation === plan.generation + 1 &&
    (state.currentRun === null || state.currentRun === runId)
  );
}

export function staleGeneration(plan: Plan, state: GroupState | null): OperatorError {
  return new OperatorError(
    {
      code: 'DR-PLAN-STALE',
      what: `The plan for group ${plan.group} is older than what has been done since`,
      known: [
        `the plan was made for generation ${plan.generation}`,
        state === null
          ? 'the group is not known any more'
          : `the group has generation ${state.generation} and is ${state.phase}${state.currentRun === null ? '' : `, run ${state.currentRun}`}`,
      ],
      next: `Make it anew with \`lifeboat plan ${plan.operation} ${plan.group}\``,
    },
    { exitCode: exitCodes.blocked },
  );
}
