/** One look of the watch over the two sites, as plain values; a test changes what its story needs. */
import { defaultAlarms } from '../../src/domain/notice-settings.ts';
import type { Observation } from '../../src/domain/observation.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import { pointVmsOf } from '../../src/domain/recovery-point.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import type { GroupStatus } from '../../src/domain/status.ts';
import { addSeconds } from '../../src/domain/time.ts';
import type { WatchedGroup, WatchFacts } from '../../src/watch/conditions.ts';
import type { SitePair } from '../../src/watch/differences.ts';
import {
  alive,
  now,
  pairs,
  productionPool,
  quiet,
  recoveryPool,
  replicaPoint,
  shop,
} from '../support/two-sites.ts';

export function statusOf(group: GroupSettings, changes: Partial<GroupStatus> = {}): GroupStatus {
  return {
    group: group.name,
    production: group.production,
    recovery: group.recovery,
    phase: 'protected',
    activeSite: group.production,
    generation: 3,
    frozen: null,
    rpoSeconds: group.rpoSeconds,
    rtoSeconds: group.rtoSeconds,
    point: { id: `${group.name}/1`, takenAt: addSeconds(now, -600), ageSeconds: 600, vmCount: 24 },
    replicas: [],
    lossSeconds: 240,
    skewSeconds: -360,
    vmCount: 24,
    readiness: 'ready',
    findings: [],
    currentRun: null,
    lastRun: null,
    lastDrill: {
      id: 'run-drill',
      operation: 'drill',
      group: group.name,
      by: 'daemon',
      startedAt: addSeconds(now, -86_400),
      endedAt: addSeconds(now, -86_000),
      outcome: 'done',
      summary: 'done',
    },
    ...changes,
  };
}

export function watched(
  changes: Partial<WatchedGroup> & { readonly status?: GroupStatus } = {},
  group: GroupSettings = shop,
): WatchedGroup {
  return {
    group,
    state: null,
    status: statusOf(group),
    view: { group: group.name, readiness: 'ready', because: [], codes: [], next: null },
    ...changes,
  };
}

/** A quiet night: nothing is wrong. */
export function aLook(changes: Partial<WatchFacts> = {}): WatchFacts {
  return {
    now,
    limits: defaultAlarms,
    observation: quietly(),
    groups: [watched()],
    arrays: new Map([
      ['filer-osaka', 'osaka'],
      ['filer-tokyo', 'tokyo'],
    ]),
    pins: new Map(),
    jobs: [],
    interrupted: [],
    configProblems: [],
    rehearsal: null,
    channels: [],
    ...changes,
  };
}

export function quietly(changes: Partial<Observation> = {}): Observation {
  return { ...quiet(), pairs: pairs([replicaPoint(addSeconds(now, -240))]), ...changes };
}

export function aPair(
  change: (home: PoolFacts, away: PoolFacts) => readonly [home: PoolFacts, away: PoolFacts] = (
    home,
    away,
  ) => [home, away],
  pins: ReadonlyMap<string, readonly string[]> = new Map(),
): SitePair {
  const [home, away] = change(productionPool(), recoveryPool());
  return {
    production: 'osaka',
    recovery: 'tokyo',
    home,
    away,
    groups: [{ group: shop, vms: pointVmsOf(home.vms, home) }],
    pins,
  };
}

export { alive, now, shop };
