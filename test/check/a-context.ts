/** What a rule gets to see in these tests: the two sites of the support folder, changed where a story needs it. */
import type { CheckContext } from '../../src/check/context.ts';
import type { Observation } from '../../src/domain/observation.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { disaster, now, pointOf, productionPool, quiet, recoveryPool, shop } from '../support/two-sites.ts';

/** A quiet night by day of a check: both sites answer, and nothing is wrong. */
export function inQuietTimes(changes: Partial<CheckContext> = {}): CheckContext {
  return contextOf(quiet(), { standing: true, ...changes });
}

/** The production site is dark. */
export function inDisaster(changes: Partial<CheckContext> = {}): CheckContext {
  return contextOf(disaster(), changes);
}

function contextOf(observation: Observation, changes: Partial<CheckContext>): CheckContext {
  const seen = changes.observation ?? observation;
  const pool = (site: string) => {
    const view = seen.sites[site];
    return view?.reachable === true ? view.pool : null;
  };
  return {
    group: shop,
    observation: seen,
    recovery: pool('tokyo'),
    production: pool('osaka'),
    point: seen.catalog.points[0] ?? null,
    state: null,
    decisions: new Set(),
    standing: false,
    ...changes,
  };
}

export function tokyo(changes: Partial<PoolFacts>): PoolFacts {
  return { ...recoveryPool(), ...changes };
}

export function osaka(changes: Partial<PoolFacts>): PoolFacts {
  return { ...productionPool(), ...changes };
}

export function point(changes: Partial<RecoveryPoint>, facts = productionPool()): RecoveryPoint {
  return { ...pointOf(facts, addSeconds(now, -600)), ...changes };
}

/** Without what an older pool or point does not tell. */
export function without<T extends object, K extends keyof T>(value: T, ...keys: readonly K[]): Omit<T, K> {
  const rest = { ...value };
  for (const key of keys) delete rest[key];
  return rest;
}

export { addSeconds, now, shop };
