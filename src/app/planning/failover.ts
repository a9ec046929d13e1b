/** Observed, planned and checked: a failover, with the rehearsal of its import. */
import { checkAfterFailover, hasMoved, openMove, unfinishedMove } from '../../check/after-failover.ts';
import type { CheckContext } from '../../check/context.ts';
import { checkFailover } from '../../check/failover.ts';
import { applyOverrides } from '../../check/override.ts';
import { groupMayMove } from '../../check/rules/group-state.ts';
import { drillsAreCleanedUp } from '../../check/rules/leftovers.ts';
import { withoutDrills } from '../../domain/drill.ts';
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import type { Finding } from '../../domain/finding.ts';
import type { GroupState } from '../../domain/group.ts';
import type { Observation } from '../../domain/observation.ts';
import type { GroupSettings } from '../../domain/settings.ts';
import { planDigest } from '../../execute/executor.ts';
import { planFailover } from '../../plan/failover.ts';
import { recoveryPlanFindings } from '../../plan/recovery-plan-findings.ts';
import type { Context, Decision, PlannedRun } from '../app.ts';
import { verificationHistory } from '../journals.ts';
import { drillInTheWay, drillUnderWay } from '../open-drill.ts';
import type { AppPorts } from '../ports.ts';
import { rehearse } from '../rehearse.ts';
import {
  chosenPoint,
  confirmationOf,
  lacksMetadata,
  overridesOf,
  type Planning,
  planIdOf,
  poolOf,
} from './common.ts';

export async function failoverRun({
  ports,
  group,
  observation,
  state,
  request,
  context,
}: Planning<'failover'>): Promise<PlannedRun> {
  const plan = planFailover({
    planId: planIdOf(ports, 'failover', group.name),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    pointId: request.pointId,
    only: request.vms ?? [],
    declaredLost: request.decisions.some(({ decision }) => decision === 'declare-lost'),
    tombstoned: state?.tombstone?.site === group.production,
    openDrill: state?.drill ?? null,
  });
  const findings = await failoverFindings(ports, {
    group,
    observation,
    state,
    pointId: request.pointId,
    decisions: request.decisions,
    standing: false,
    context,
  });
  return {
    plan,
    digest: planDigest(plan),
    findings,
    observation,
    decisions: request.decisions,
    confirm: confirmationOf({ ports, observation }, group.recovery),
    ...(lacksMetadata({ group, observation, request }) ? { lacksMetadata: true } : {}),
  };
}

export interface FindingsRequest {
  readonly group: GroupSettings;
  readonly observation: Observation;
  readonly state: GroupState | null;
  readonly pointId: string | null;
  readonly decisions: readonly Decision[];
  readonly standing: boolean;
  readonly context: Context;
}

/** All checks of a failover, with the rehearsal of the import; the same for the real thing and for quiet times. */
export async function failoverFindings(ports: AppPorts, request: FindingsRequest): Promise<Finding[]> {
  const { group, observation, context, state } = request;
  const recovery = poolOf(observation, group.recovery);
  const point = chosenPoint(group, observation, request.pointId);
  const checked: CheckContext = {
    group,
    observation,
    recovery,
    production: poolOf(observation, group.production),
    point,
    state,
    decisions: new Set(request.decisions.map(({ decision }) => decision)),
    standing: request.standing,
    otherGroups: ports.settings.groups.filter(({ name }) => name !== group.name),
    // In an emergency nobody reads old journals for a piece of advice.
    ...(request.standing
      ? { unverifiedSince: (await verificationHistory(ports, group.name)).unverifiedSince }
      : {}),
  };
  const open = openMove(state);
  if (open !== null) {
    const underWay = await (await ports.states()).isCarriedOut(open.run);
    if (underWay && !request.standing) throw beingCarriedOut(group.name, open.run);
    return [unfinishedMove(group, open, underWay)];
  }
  const drill = request.standing ? null : await drillUnderWay(ports, state);
  if (drill !== null) throw drillInTheWay(group.name, drill);
  // The plan takes open drills away first: what is checked is the pool as it is then.
  const cleared = recovery === null ? null : withoutDrills(recovery, group.name);
  if (hasMoved(state, group)) return request.standing ? checkAfterFailover(checked) : groupMayMove(checked);
  let rehearsal: readonly Finding[] = [];
  if (point !== null && cleared !== null) {
    context.onProgress?.(`Rehearsing the import of ${point.vms.length} VMs into pool ${cleared.nameLabel}`);
    rehearsal = [
      ...(await rehearse(ports, group, point, cleared, context.signal)),
      ...recoveryPlanFindings({ group, point, recovery: cleared }),
    ];
  }
  const found = checkFailover({ ...checked, recovery: cleared }, rehearsal);
  const leftovers = drillsAreCleanedUp(checked);
  const others = found.filter(({ code }) => !leftovers.some((leftover) => leftover.code === code));
  return applyOverrides([...others, ...leftovers], overridesOf(request.decisions));
}

function beingCarriedOut(group: string, run: string): OperatorError {
  return new OperatorError(
    {
      code: 'DR-LOCK-HELD',
      what: `Group ${group} is being worked on by run ${run}`,
      known: ['nothing was done by this command'],
      next: `Follow it with \`lifeboat run follow ${run}\``,
    },
    { exitCode: exitCodes.locked },
  );
}
