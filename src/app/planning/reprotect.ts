/** Observed, planned and checked: a reprotection after a failover, or only the quarantine that it begins with. */
import { openMove, unfinishedMove } from '../../check/after-failover.ts';
import type { CheckContext } from '../../check/context.ts';
import { applyOverrides } from '../../check/override.ts';
import { checkReprotect } from '../../check/reprotect.ts';
import { PortError } from '../../domain/errors.ts';
import type { Finding } from '../../domain/finding.ts';
import type { Divergence } from '../../domain/replication.ts';
import { type Matchable, matchableVms } from '../../domain/scope.ts';
import { planDigest } from '../../execute/executor.ts';
import { planReprotect } from '../../plan/reprotect.ts';
import type { Decision, PlannedRun } from '../app.ts';
import {
  chosenPoint,
  confirmationOf,
  overridesOf,
  type Planning,
  planIdOf,
  pointIdOf,
  poolOf,
  scopeOf,
} from './common.ts';

export async function reprotectRun(planning: Planning<'reprotect'>): Promise<PlannedRun> {
  const { ports, group, observation, state, request, context } = planning;
  const took = (name: Decision['decision']): boolean =>
    request.decisions.some(({ decision }) => decision === name);
  const serving = poolOf(observation, group.recovery);
  const vms = scopeOf(group, serving);
  const stale = staleCopies(planning);
  context.onProgress?.(`Asking the arrays of site ${group.production} what they alone hold`);
  const divergence = await divergences(planning);
  const plan = planReprotect({
    planId: planIdOf(ports, 'reprotect', group.name),
    group,
    state,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    vms,
    stale,
    divergence,
    discard: took('discard-changes'),
    stopOld: took('stop-old'),
    quarantineOnly: request.quarantineOnly,
    firstPointId: pointIdOf(ports, group.name, observation.takenAt),
  });
  const isDone = plan.steps.length === 0 && plan.waitingOn.length === 0;
  return {
    plan,
    digest: planDigest(plan),
    findings: isDone ? [] : await findings(planning, { vms, stale, divergence }),
    observation,
    decisions: request.decisions,
    confirm: confirmationOf({ ports, observation }, group.production),
  };
}

/**
 * What the old site holds of the group: by the rules, by what the recovery point knows, and by what serves under the same
 * uuid at the other site, for a name or a tag may have been changed since at either of them.
 */
function staleCopies({ group, observation }: Planning<'reprotect'>): Matchable[] {
  const old = poolOf(observation, group.production);
  if (old === null) return [];
  const serving = scopeOf(group, poolOf(observation, group.recovery));
  const noted = chosenPoint(group, observation, null)?.vms ?? [];
  const known = new Set([...noted, ...serving].map((vm) => vm.uuid));
  const byRules = new Set(scopeOf(group, old).map((vm) => vm.uuid));
  return matchableVms(old).filter((vm) => known.has(vm.uuid) || byRules.has(vm.uuid));
}

/** Null where the array could not be asked, or cannot tell. */
async function divergences({
  ports,
  group,
  observation,
  request,
  context,
}: Planning<'reprotect'>): Promise<ReadonlyMap<string, Divergence | null>> {
  const found = new Map<string, Divergence | null>();
  if (request.quarantineOnly) return found;
  for (const { sr, source } of group.storage) {
    const seen = observation.pairs.find((pair) => pair.sr === sr)?.source ?? null;
    // Once it is a replica again, what it alone held is gone.
    if (seen?.role === 'target') continue;
    try {
      const array = await ports.array(source.array);
      found.set(sr, seen === null ? null : await array.divergence(source.volume, context.signal));
    } catch (error) {
      if (!(error instanceof PortError) || context.signal?.aborted === true) throw error;
      found.set(sr, null);
    }
  }
  return found;
}

async function findings(
  { ports, group, observation, state, request }: Planning<'reprotect'>,
  seen: {
    readonly vms: readonly Matchable[];
    readonly stale: readonly Matchable[];
    readonly divergence: ReadonlyMap<string, Divergence | null>;
  },
): Promise<Finding[]> {
  const open = openMove(state);
  if (open !== null)
    return [unfinishedMove(group, open, await (await ports.states()).isCarriedOut(open.run))];
  const context: CheckContext = {
    group,
    observation,
    recovery: poolOf(observation, group.recovery),
    production: poolOf(observation, group.production),
    point: chosenPoint(group, observation, null),
    state,
    decisions: new Set(request.decisions.map(({ decision }) => decision)),
    standing: false,
  };
  const uuids = (vms: readonly Matchable[]): Set<string> => new Set(vms.map((vm) => vm.uuid));
  return applyOverrides(
    checkReprotect({
      context,
      stale: uuids(seen.stale),
      serving: uuids(seen.vms),
      divergence: seen.divergence,
      quarantineOnly: request.quarantineOnly,
    }),
    overridesOf(request.decisions),
  );
}
