/** What the planning of several operations shares: names, what was chosen, and what a person overrides. */
import type { Override } from '../../check/override.ts';
import type { GroupState } from '../../domain/group.ts';
import type { Observation } from '../../domain/observation.ts';
import type { Operation } from '../../domain/plan.ts';
import type { PoolFacts } from '../../domain/pool.ts';
import type { RecoveryPoint } from '../../domain/recovery-point.ts';
import { type Matchable, vmsInScope } from '../../domain/scope.ts';
import type { GroupSettings } from '../../domain/settings.ts';
import type { Instant } from '../../domain/time.ts';
import { choosePoint, pointsToChooseFrom, replicaInstant } from '../../plan/choose-point.ts';
import { pairsOf } from '../../plan/pairs.ts';
import type { Context, Decision, PlannedRun, PlanRequest } from '../app.ts';
import type { AppPorts } from '../ports.ts';

/** What the planning of one operation starts from: the group as it is oriented now, seen a moment ago. */
export interface Planning<O extends PlanRequest['operation']> {
  readonly ports: AppPorts;
  readonly group: GroupSettings;
  readonly observation: Observation;
  /** Null when nothing was ever done for the group. */
  readonly state: GroupState | null;
  readonly request: Extract<PlanRequest, { operation: O }>;
  readonly context: Context;
}

/** Name of a recovery point: sorts by time within its group. */
export function pointIdOf(ports: AppPorts, group: string, at: Instant): string {
  return `${group}/${at.replace(/[-:]|\.\d+/g, '')}-${ports.entropy.hex(2)}`;
}

export function planIdOf(ports: AppPorts, operation: Operation, group: string): string {
  return `${operation}-${group}-${ports.clock.now().replace(/[-:]|\.\d+/g, '')}-${ports.entropy.hex(2)}`;
}

/** The site that is changed, with what must be typed before. */
export function confirmationOf(
  { ports, observation }: Pick<Planning<'failover'>, 'ports' | 'observation'>,
  site: string,
): NonNullable<PlannedRun['confirm']> {
  return {
    site,
    title: ports.settings.sites.find(({ name }) => name === site)?.title ?? site,
    pool: poolOf(observation, site)?.nameLabel ?? 'unknown',
  };
}

export function overridesOf(decisions: readonly Decision[]): Override[] {
  return decisions.flatMap(({ decision, by, reason }) =>
    decision.startsWith('override ') ? [{ code: decision.slice('override '.length), by, reason }] : [],
  );
}

export function chosenPoint(
  group: GroupSettings,
  observation: Observation,
  pointId: string | null,
): RecoveryPoint | null {
  const points = pointsToChooseFrom(group, observation, pointId);
  return choosePoint(points, replicaInstant(pairsOf(group, observation)), pointId)?.point ?? null;
}

export function poolOf(observation: Observation, site: string): PoolFacts | null {
  const view = observation.sites[site];
  return view?.reachable === true ? view.pool : null;
}

export function scopeOf(group: GroupSettings, pool: PoolFacts | null): readonly Matchable[] {
  return pool === null ? [] : vmsInScope(pool, group.scope);
}

/** Whether a failover or a drill has to look for metadata on the storage first: the catalog has none to choose from. */
export function lacksMetadata({
  group,
  observation,
  request,
}: Pick<Planning<'failover'> | Planning<'drill'>, 'group' | 'observation' | 'request'>): boolean {
  const none = !observation.catalog.points.some((point) => point.group === group.name);
  // What cannot be asked may hold everything: that is mended first.
  const unasked = observation.gaps.some(
    ({ source, problem }) => source.startsWith('catalog') && problem.code !== 'DR-CATALOG-MISSING',
  );
  const canBeRead = group.storage.length > 0 && poolOf(observation, group.recovery) !== null;
  return none && !unasked && canBeRead && request.pointId === null;
}
