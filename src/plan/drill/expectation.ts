/** What a drill promises: who is proven, with which point, and what it means for replication. */
import type { ArrayView } from '../../domain/observation.ts';
import type { Expectation } from '../../domain/plan.ts';
import { formatDuration } from '../../domain/time.ts';
import { forecastSeconds } from '../forecast.ts';
import { named, type RecoverDraft } from '../recover/draft.ts';
import { expectationOf } from '../recover/expectation.ts';
import type { StartOrder } from '../tiers.ts';

export interface DrillPromise {
  readonly keep: boolean;
  /** How many VMs of the point were not asked for. */
  readonly notAsked: number;
  /** vApps that the copies are not put into. */
  readonly appliances: readonly string[];
  readonly steps: Parameters<typeof forecastSeconds>[0];
}

export function drillExpectation(draft: RecoverDraft, order: StartOrder, promise: DrillPromise): Expectation {
  const base = expectationOf(draft, order);
  return {
    ...base,
    forecastSeconds: Math.ceil(forecastSeconds(promise.steps, draft.limits.limits)),
    tiers: order.tiers.map((tier) => ({
      name: tier.name,
      vms: tier.vms.map((vm) => named(draft.member(vm))),
    })),
    notes: notesOf(draft, base, promise),
  };
}

function notesOf(draft: RecoverDraft, base: Expectation, promise: DrillPromise): string[] {
  const { group, observation } = draft.request;
  const notes = disturbances(
    draft.storage.map(({ settings }) => settings.target.array),
    observation.arrays ?? [],
  );
  if (notes.length === 0)
    notes.push('Production and its replication go on: only a clone of the replica is used');
  notes.push(
    'The copies get new uuids, MAC seeds and MACs, and isolated networks; HA and auto-start are off',
  );
  if (base.lossSeconds !== null) {
    const against = base.lossSeconds > group.rpoSeconds ? 'MORE than' : 'within';
    notes.push(
      `It proves a state that is ${formatDuration(base.lossSeconds)} old: ${against} the RPO of ${formatDuration(group.rpoSeconds)}`,
    );
  }
  if (promise.notAsked > 0)
    notes.push(`${promise.notAsked} VMs of the recovery point are not drilled: they were not asked for`);
  if (promise.appliances.length > 0)
    notes.push(`vApps are left out (${promise.appliances.join(', ')}): the copies start by the tiers alone`);
  notes.push(
    promise.keep
      ? `The copies stay until \`lifeboat drill cleanup ${group.name}\``
      : 'Everything is removed again at the end, whatever fails on the way',
  );
  return notes;
}

/** What a drill does to replication on arrays that cannot clone beside it; empty where they can. */
export function disturbances(used: readonly string[], arrays: readonly ArrayView[]): string[] {
  return [...new Set(used)].flatMap((array) => {
    const can = arrays.find((view) => view.array === array)?.capabilities;
    if (can == null) return [];
    if (can.drill === 'in-place')
      return [
        `Array ${array} cannot clone: the replica itself is put into a test mode while the drill lasts`,
      ];
    if (can.drillPausesTransfer)
      return [`Array ${array} holds up the replication while the drill lasts: the RPO is not kept meanwhile`];
    return [];
  });
}
