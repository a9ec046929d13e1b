/** Worlds in which a failover is planned: any age of replica, any VMs halted, any networks gone, production alive or dead. */
import fc from 'fast-check';
import type { Plan, Step } from '../../src/domain/plan.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planFailover } from '../../src/plan/failover.ts';
import {
  alive,
  disaster,
  now,
  pairs,
  pointOf,
  productionPool,
  recoveryPool,
  replicaPoint,
  shop,
} from '../support/two-sites.ts';

/** Worlds of any age of replica, any VMs halted, any networks gone, any tiers, production alive or dead. */
export const worlds = fc.record({
  replicaAgeSeconds: fc.integer({ min: 0, max: 7200 }),
  pointAgeSeconds: fc.integer({ min: 0, max: 7200 }),
  states: fc.array(fc.constantFrom('Running', 'Halted', 'Suspended', 'Paused'), {
    minLength: 24,
    maxLength: 24,
  }),
  networksHere: fc.integer({ min: 0, max: 2 }),
  ambiguous: fc.boolean(),
  hostsAlive: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
  tiers: fc.integer({ min: 0, max: 3 }),
  others: fc.constantFrom('by-order' as const, 'last' as const, 'leave-halted' as const),
  orders: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 24, maxLength: 24 }),
  productionAlive: fc.boolean(),
  declaredLost: fc.boolean(),
  noReplica: fc.boolean(),
});
export type World = typeof worlds extends fc.Arbitrary<infer W> ? W : never;

export function failover(world: World): Plan {
  const tokyo = recoveryPool();
  const networks = tokyo.networks.slice(0, world.networksHere);
  const [first] = networks;
  const recovery = {
    ...tokyo,
    networks:
      world.ambiguous && first !== undefined
        ? [...networks, { ...first, uuid: 'second-of-that-name' }]
        : networks,
    hosts: tokyo.hosts.map((host, i) => ({ ...host, live: world.hostsAlive[i] ?? true })),
  };
  const osaka = productionPool();
  const point = pointOf(
    {
      ...osaka,
      vms: osaka.vms.map((v, i) => ({
        ...v,
        powerState: (world.states[i] ?? 'Running') as typeof v.powerState,
        order: world.orders[i] ?? 0,
      })),
    },
    addSeconds(now, -world.pointAgeSeconds),
  );
  const observation = disaster({
    sites: {
      ...(world.productionAlive
        ? { osaka: alive(osaka, 'osaka') }
        : { osaka: disaster().sites['osaka'] as never }),
      tokyo: alive(recovery, 'tokyo'),
    },
    pairs: pairs(world.noReplica ? [] : [replicaPoint(addSeconds(now, -world.replicaAgeSeconds))]),
    catalog: { observedAt: now, points: [point], damaged: [] },
  });
  return planFailover({
    planId: 'plan',
    group: {
      ...shop,
      plan: { ...shop.plan, tiers: shop.plan.tiers.slice(0, world.tiers), others: world.others },
    },
    configDigest: 'c',
    generation: 1,
    observation,
    pointId: null,
    declaredLost: world.declaredLost,
  });
}

/** All steps that must have ended before this one, near and far. */
export function before(plan: Plan, step: Step): Set<string> {
  const seen = new Set<string>();
  const steps = new Map(plan.steps.map((s) => [s.id, s]));
  const walk = (id: string): void => {
    for (const earlier of steps.get(id)?.after ?? []) {
      if (seen.has(earlier)) continue;
      seen.add(earlier);
      walk(earlier);
    }
  };
  walk(step.id);
  return seen;
}

export const steps = <K extends Step['action']['do']>(plan: Plan, kind: K): Step[] =>
  plan.steps.filter((s) => s.action.do === kind);
