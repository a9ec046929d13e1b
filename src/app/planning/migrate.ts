/** Observed, planned and checked: a planned migration, or the failback that undoes one. */
import { openMove, unfinishedMove } from '../../check/after-failover.ts';
import type { CheckContext } from '../../check/context.ts';
import { checkMigrate } from '../../check/migrate.ts';
import { applyOverrides } from '../../check/override.ts';
import type { Finding } from '../../domain/finding.ts';
import { addSeconds } from '../../domain/time.ts';
import { planDigest } from '../../execute/executor.ts';
import { planMigrate } from '../../plan/migrate.ts';
import { recoveryPlanFindings } from '../../plan/recovery-plan-findings.ts';
import type { Decision, PlannedRun } from '../app.ts';
import type { AppPorts } from '../ports.ts';
import { rehearse } from '../rehearse.ts';
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

type Moving = Planning<'migrate'> | Planning<'failback'>;

export async function migrateRun(planning: Moving): Promise<PlannedRun> {
  const { ports, group, observation, state, request } = planning;
  const plan = planMigrate({
    operation: request.operation,
    planId: planIdOf(ports, request.operation, group.name),
    group,
    roles: state?.roles ?? 'as-configured',
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    vms: scopeOf(group, poolOf(observation, group.production)),
    lastPointId: pointIdOf(ports, group.name, observation.takenAt),
    // Points sort by their names: the first of the new direction stands behind the last of the old one.
    firstPointId: pointIdOf(ports, group.name, addSeconds(observation.takenAt, 1)),
    force: request.decisions.some(({ decision }) => decision === 'force-shutdown'),
  });
  const isThere = plan.steps.length === 0 && plan.waitingOn.length === 0;
  return {
    plan,
    digest: planDigest(plan),
    findings: isThere ? [] : await findings(planning, request.decisions),
    observation,
    decisions: request.decisions,
    confirm: {
      ...confirmationOf({ ports, observation }, group.recovery),
      alsoChanges: group.production,
    },
  };
}

async function findings(
  { ports, group, observation, state, context }: Moving,
  decisions: readonly Decision[],
): Promise<Finding[]> {
  const open = openMove(state);
  if (open !== null)
    return [unfinishedMove(group, open, await (await ports.states()).isCarriedOut(open.run))];
  const recovery = poolOf(observation, group.recovery);
  const point = chosenPoint(group, observation, null);
  const checked: CheckContext = {
    group,
    observation,
    recovery,
    production: poolOf(observation, group.production),
    point,
    state,
    decisions: new Set(decisions.map(({ decision }) => decision)),
    standing: false,
    otherGroups: otherGroups(ports, group.name),
  };
  let rehearsal: readonly Finding[] = [];
  if (point !== null && recovery !== null) {
    context.onProgress?.(`Rehearsing the import of ${point.vms.length} VMs into pool ${recovery.nameLabel}`);
    rehearsal = [
      ...(await rehearse(ports, group, point, recovery, context.signal)),
      ...recoveryPlanFindings({ group, point, recovery }),
    ];
  }
  return applyOverrides(checkMigrate(checked, rehearsal), overridesOf(decisions));
}

function otherGroups({ settings }: Pick<AppPorts, 'settings'>, name: string) {
  return settings.groups.filter((group) => group.name !== name);
}
