/** The two sites of test/support/two-sites.ts with isolated networks for drills, and what a drill may have left there. */
import { drillDescription, drillMark, drillPrefix } from '../../src/domain/drill.ts';
import type { ArrayView, Observation } from '../../src/domain/observation.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import type { Capabilities } from '../../src/domain/replication.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import type { DrillRequest } from '../../src/plan/drill.ts';
import {
  alive,
  network,
  now,
  productionPool,
  quiet,
  recoveryPool,
  shop,
  sr,
  vm,
} from '../support/two-sites.ts';

export const drillId = 'shop-20260314T020000Z-0001';

export const drilled: GroupSettings = {
  ...shop,
  networks: [
    { production: 'Production LAN', recovery: 'Tokyo LAN', drill: 'Drill LAN', drillAtProduction: null },
    { production: 'Database', recovery: 'Tokyo Database', drill: 'Drill Database', drillAtProduction: null },
  ],
};

export function tokyo(changes: Partial<PoolFacts> = {}): PoolFacts {
  const pool = recoveryPool();
  return {
    ...pool,
    networks: [...pool.networks, network(21, 'Drill LAN', []), network(22, 'Drill Database', [])],
    ...changes,
  };
}

export const cloning: Capabilities = {
  syncNow: true,
  drill: 'clone',
  drillPausesTransfer: false,
  promoteToPoint: true,
  prepare: true,
  reverse: 'incremental',
  restore: true,
  consistencyGroups: false,
  fence: true,
  expose: 'nfs',
};

export function filer(changes: Partial<ArrayView> = {}): ArrayView {
  return { array: 'filer-tokyo', capabilities: cloning, drills: [], problem: null, ...changes };
}

export function peace(pool: PoolFacts = tokyo(), changes: Partial<Observation> = {}): Observation {
  const observation = quiet();
  return {
    ...observation,
    sites: { ...observation.sites, tokyo: alive(pool, 'tokyo') },
    arrays: [filer()],
    ...changes,
  };
}

/** Uuids in the order in which they are asked for. */
export function counting(): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `00000000-0000-4000-8000-${String(count).padStart(12, '0')}`;
  };
}

export function drillRequest(observation: Observation, changes: Partial<DrillRequest> = {}): DrillRequest {
  return {
    planId: 'drill-shop-20260314T020000Z-0001',
    drillId,
    group: drilled,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation,
    pointId: null,
    keep: false,
    vms: [],
    freshUuid: counting(),
    ...changes,
  };
}

/** Tokyo after a drill that fell over: two copies, one attached clone; the array holds two. */
export function afterCrash(): Observation {
  const pool = tokyo();
  const [data] = productionPool().srs;
  const copy = (number: number, name: string) =>
    vm(number, `${drillPrefix}${name}`, pool.networks[2]?.uuid ?? '', {
      otherConfig: { [drillMark]: drillId },
    });
  return peace(
    {
      ...pool,
      vms: [copy(901, 'db-01'), copy(902, 'web-01'), vm(903, 'own-01', pool.networks[0]?.uuid ?? '')],
      srs: [
        {
          ...sr(1, `${drillPrefix}Tier 1`, pool.hosts),
          uuid: data?.uuid ?? '',
          nameDescription: drillDescription(drillId),
        },
      ],
    },
    {
      arrays: [
        filer({
          drills: ['tier1-copy', 'tier2-copy'].map((volume) => ({
            volume,
            drill: drillId,
            name: `${volume}-${drillId}`,
            madeAt: now,
          })),
        }),
      ],
    },
  );
}
