/** Observe, plan, check: everything up to the question. Nothing is changed here. */
import { checkAfterFailover, hasMoved, openFailover, unfinishedFailover } from '../check/after-failover.ts';
import type { CheckContext } from '../check/context.ts';
import { checkExport } from '../check/export.ts';
import { checkFailover } from '../check/failover.ts';
import { applyOverrides, type Override } from '../check/override.ts';
import { groupMayMove } from '../check/rules/group-state.ts';
import { exitCodes, OperatorError } from '../domain/errors.ts';
import type { Finding } from '../domain/finding.ts';
import type { GroupState } from '../domain/group.ts';
import type { Observation } from '../domain/observation.ts';
import type { PoolFacts } from '../domain/pool.ts';
import type { RecoveryPoint } from '../domain/recovery-point.ts';
import { type Matchable, vmsInScope } from '../domain/scope.ts';
import type { GroupSettings } from '../domain/settings.ts';
import type { Instant } from '../domain/time.ts';
import { planDigest } from '../execute/executor.ts';
import { observe } from '../observe/observe.ts';
import { choosePoint, replicaInstant } from '../plan/choose-point.ts';
import { planExport } from '../plan/export.ts';
import { planFailover } from '../plan/failover.ts';
import { pairsOf } from '../plan/pairs.ts';
import type { Context, Decision, PlannedRun, PlanRequest } from './app.ts';
import { groupNamed, observeRequest } from './groups.ts';
import type { AppPorts } from './ports.ts';
import { rehearse } from './rehearse.ts';

export async function planRun(
  ports: AppPorts,
  request: PlanRequest,
  context: Context = {},
): Promise<PlannedRun> {
  const group = groupNamed(ports.settings, request.group);
  const pointId = request.operation === 'failover' ? request.pointId : null;
  context.onProgress?.(
    `Looking at sites ${group.production} and ${group.recovery}, their arrays and the catalog`,
  );
  const observation = await observe(ports, observeRequest([group], pointId), context.signal);
  const state = await (await ports.states()).get(group.name);
  return request.operation === 'export'
    ? exportRun(ports, group, observation, state, request.everything === true)
    : failoverRun(ports, group, observation, state, request, context);
}

/** Name of a recovery point: sorts by time within its group. */
function pointIdOf(ports: AppPorts, group: string, at: Instant): string {
  return `${group}/${at.replace(/[-:]|\.\d+/g, '')}-${ports.entropy.hex(2)}`;
}

function planIdOf(ports: AppPorts, operation: string, group: string): string {
  return `${operation}-${group}-${ports.clock.now().replace(/[-:]|\.\d+/g, '')}-${ports.entropy.hex(2)}`;
}

function exportRun(
  ports: AppPorts,
  group: GroupSettings,
  observation: Observation,
  state: GroupState | null,
  everything: boolean,
): PlannedRun {
  const vms = scopeOf(group, poolOf(observation, group.production));
  const plan = planExport({
    planId: planIdOf(ports, 'export', group.name),
    pointId: pointIdOf(ports, group.name, observation.takenAt),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    vms,
    everything,
  });
  return {
    plan,
    digest: planDigest(plan),
    findings: checkExport({ group, observation, vms, state }),
    observation,
    decisions: [],
    confirm: null,
  };
}

async function failoverRun(
  ports: AppPorts,
  group: GroupSettings,
  observation: Observation,
  state: GroupState | null,
  request: Extract<PlanRequest, { operation: 'failover' }>,
  context: Context,
): Promise<PlannedRun> {
  const plan = planFailover({
    planId: planIdOf(ports, 'failover', group.name),
    group,
    configDigest: ports.settings.digest,
    generation: state?.generation ?? 0,
    observation,
    pointId: request.pointId,
    declaredLost: request.decisions.some(({ decision }) => decision === 'declare-lost'),
    tombstoned: state?.tombstone?.site === group.production,
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
  const recovery = poolOf(observation, group.recovery);
  const site = ports.settings.sites.find(({ name }) => name === group.recovery);
  return {
    plan,
    digest: planDigest(plan),
    findings,
    observation,
    decisions: request.decisions,
    confirm: {
      site: group.recovery,
      title: site?.title ?? group.recovery,
      pool: recovery?.nameLabel ?? 'unknown',
    },
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
  };
  const open = openFailover(state);
  if (open !== null) {
    const underWay = await (await ports.states()).isCarriedOut(open);
    if (underWay && !request.standing) throw beingCarriedOut(group.name, open);
    return [unfinishedFailover(group, open, underWay)];
  }
  if (hasMoved(state, group)) return request.standing ? checkAfterFailover(checked) : groupMayMove(checked);
  let rehearsal: readonly Finding[] = [];
  if (point !== null && recovery !== null) {
    context.onProgress?.(`Rehearsing the import of ${point.vms.length} VMs into pool ${recovery.nameLabel}`);
    rehearsal = await rehearse(ports, group, point, recovery, context.signal);
  }
  return applyOverrides(checkFailover(checked, rehearsal), overridesOf(request.decisions));
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

function overridesOf(decisions: readonly Decision[]): Override[] {
  return decisions.flatMap(({ decision, by, reason }) =>
    decision.startsWith('override ') ? [{ code: decision.slice('override '.length), by, reason }] : [],
  );
}

export function chosenPoint(
  group: GroupSettings,
  observation: Observation,
  pointId: string | null,
): RecoveryPoint | null {
  const points = observation.catalog.points.filter((point) => point.group === group.name);
  return choosePoint(points, replicaInstant(pairsOf(group, observation)), pointId)?.point ?? null;
}

export function poolOf(observation: Observation, site: string): PoolFacts | null {
  const view = observation.sites[site];
  return view?.reachable === true ? view.pool : null;
}

export function scopeOf(group: GroupSettings, pool: PoolFacts | null): readonly Matchable[] {
  return pool === null ? [] : vmsInScope(pool, group.scope);
}
