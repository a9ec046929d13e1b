/**
 * The failover plan: everything that can fail harmlessly first (invariant 5), then the replica, the SRs, the VMs in
 * tier order, and what makes the old site's return safe. One file per act in `failover/`.
 */
import type { PairObservation } from '../domain/observation.ts';
import type { Plan } from '../domain/plan.ts';
import { byName } from '../domain/scope.ts';
import { choosePoint, newestComplete, pointsToChooseFrom, replicaInstant } from './choose-point.ts';
import { cleanUpBefore } from './drill/clean-up-before.ts';
import { alreadyPromoted, pairsOf } from './pairs.ts';
import { attach } from './recover/attach.ts';
import { bringUp } from './recover/bring-up.ts';
import { RecoverDraft, type RecoverRequest } from './recover/draft.ts';
import { expectationOf, nothingExpected } from './recover/expectation.ts';
import { isFinished } from './recover/finished.ts';
import { atMoment } from './recover/moments.ts';
import { askedVms, faultsOfAsking } from './recover/partial.ts';
import { prepare } from './recover/prepare.ts';
import { takeOver } from './recover/take-over.ts';
import { faultsOfOrder, startOrder } from './tiers.ts';

export { pairsOf } from './pairs.ts';
export type { RecoverRequest } from './recover/draft.ts';

export function planFailover(request: RecoverRequest): Plan {
  const { group, observation } = request;
  const pairs = pairsOf(group, observation);
  const groupPoints = pointsToChooseFrom(group, observation, request.pointId);
  const choice = choosePoint(groupPoints, replicaInstant(pairs), request.pointId);
  const recovery = observation.sites[group.recovery];
  const pool = recovery?.reachable === true ? recovery.pool : null;
  const built =
    choice === null || pool === null ? null : build(new RecoverDraft(request, choice, pool, pairs));
  const waitingOn = [
    ...missing(request, pairs, { pool: pool !== null, point: choice !== null }),
    ...(built?.waitingOn ?? []),
  ];
  return {
    id: request.planId,
    operation: 'failover',
    group: group.name,
    generation: request.generation,
    basedOn: { observation: observation.id, takenAt: observation.takenAt },
    configDigest: request.configDigest,
    steps: waitingOn.length > 0 ? [] : (built?.steps ?? []),
    ...(built?.limits === undefined ? {} : { limits: built.limits }),
    expects: built?.expects ?? nothingExpected(request, pairs, choice),
    waitingOn,
  };
}

/** What a plan cannot be made without, in words. */
function missing(
  { group, pointId }: RecoverRequest,
  pairs: readonly PairObservation[],
  there: { readonly pool: boolean; readonly point: boolean },
): string[] {
  const waitingOn: string[] = [];
  if (!there.pool) waitingOn.push(`the pool of site ${group.recovery}, which cannot be read`);
  if (!there.point)
    waitingOn.push(
      pointId === null
        ? 'a good recovery point of the group'
        : `recovery point ${pointId}, which the catalog does not hold`,
    );
  for (const pair of pairs) {
    if (pair.points === null)
      waitingOn.push(`the array of the recovery site: the points of SR ${pair.sr} are unknown`);
    else if (newestComplete(pair) === null && !alreadyPromoted(pair))
      waitingOn.push(`a complete replica of SR ${pair.sr}`);
  }
  return waitingOn;
}

function build(draft: RecoverDraft): Pick<Plan, 'steps' | 'limits' | 'expects' | 'waitingOn'> {
  const { point, tooYoung } = draft.choice;
  const young = new Set(tooYoung.map((vm) => vm.uuid));
  const vms = point.vms.filter((vm) => !young.has(vm.uuid)).sort(byName);
  const { group, only } = draft.request;
  const order = startOrder(group.plan, point, vms, { asked: askedVms(only, point) });
  const waitingOn = [...faultsOfAsking(only, point), ...faultsOfOrder(order)];

  const harmless = prepare(draft);
  const called = atMoment(draft, { at: 'before-promotion' }, harmless, harmless);
  // A clone that cannot be taken away holds nothing up: where an array minds, its answer to the promotion says so.
  const cleaned = cleanUpBefore(draft, harmless);
  const promoted = takeOver(draft, harmless, [...called, ...cleaned]);
  const attached = attach(draft, promoted);
  bringUp(draft, order, attached);
  const expects = expectationOf(draft, order);
  if (!isFinished(draft.request, draft.pool, draft.steps))
    return { steps: draft.steps, ...draft.limits, expects, waitingOn };
  const note = `Nothing is left to do: the group runs at site ${draft.request.group.recovery}`;
  return {
    steps: [],
    expects: { ...expects, forecastSeconds: 0, notes: [note, ...expects.notes] },
    waitingOn,
  };
}
