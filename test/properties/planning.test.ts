/** The invariants of the design that planning alone can keep, under their own names, over many worlds. */
import fc from 'fast-check';
import t from 'tap';
import type { Plan, Step } from '../../src/domain/plan.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import { matchableVms } from '../../src/domain/scope.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { keptDocumentMaxAgeSeconds } from '../../src/plan/changes.ts';
import { planExport } from '../../src/plan/export.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { forecastSeconds, inOrder } from '../../src/plan/forecast.ts';
import {
  alive,
  disaster,
  now,
  pairs,
  pointOf,
  productionPool,
  quiet,
  recoveryPool,
  replicaPoint,
  shop,
} from '../support/two-sites.ts';

/** Worlds of any age of replica, any VMs halted, any networks gone, any tiers, production alive or dead. */
const worlds = fc.record({
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
type World = typeof worlds extends fc.Arbitrary<infer W> ? W : never;

function failover(world: World): Plan {
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
function before(plan: Plan, step: Step): Set<string> {
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

const steps = <K extends Step['action']['do']>(plan: Plan, kind: K): Step[] =>
  plan.steps.filter((s) => s.action.do === kind);

t.test('2. A replica is promoted only after its point and age are recorded', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover(world);
      for (const promote of steps(plan, 'promote')) {
        const earlier = before(plan, promote);
        const recorded = steps(plan, 'record-replica').filter(
          (s) =>
            s.action.do === 'record-replica' &&
            promote.action.do === 'promote' &&
            s.action.pair.sr === promote.action.pair.sr,
        );
        if (recorded.length !== 1 || !earlier.has(recorded[0]?.id ?? '')) return false;
      }
      return true;
    }),
  );
  t.end();
});

t.test('5. Everything that can fail harmlessly comes before the first point of no return', (t) => {
  const harmless = new Set(['record-evidence', 'record-replica', 'verify-point', 'tombstone']);
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover(world);
      const noReturn = plan.steps.filter((s) => s.pointOfNoReturn);
      const must = plan.steps.filter((s) => harmless.has(s.action.do));
      return noReturn.every((step) => {
        const earlier = before(plan, step);
        return must.every((s) => earlier.has(s.id));
      });
    }),
  );
  t.end();
});

t.test('7. Missing facts make a plan wait', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover({ ...world, noReplica: true });
      return plan.steps.length === 0 && plan.waitingOn.length > 0;
    }),
  );
  const blind = planFailover({
    planId: 'p',
    group: shop,
    configDigest: 'c',
    generation: 0,
    observation: disaster({ catalog: { observedAt: now, points: [], damaged: [] } }),
    pointId: null,
    declaredLost: false,
  });
  t.same(blind.waitingOn, ['a good recovery point of the group']);
  t.same(blind.steps, []);
  t.end();
});

t.test('12. No VM ever lands on a network that was guessed', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover(world);
      const tokyo = new Map(recoveryPool().networks.map((n) => [n.uuid, n.nameLabel]));
      return steps(plan, 'import-vms').every(
        ({ action }) =>
          action.do === 'import-vms' &&
          action.networks.every(
            ({ production, recovery }) =>
              tokyo.get(recovery.uuid) ===
              (shop.networks.find((m) => m.production === production)?.recovery ?? production),
          ) &&
          (!world.ambiguous || action.networks.every(({ recovery }) => recovery.nameLabel !== 'Tokyo LAN')),
      );
    }),
  );
  t.end();
});

t.test('each VM of the point is started once, or named with the reason why not', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover(world);
      if (plan.steps.length === 0) return true;
      const started = steps(plan, 'start-vm').map((s) =>
        s.action.do === 'start-vm' ? s.action.vm.nameLabel : '',
      );
      const left = plan.expects.leftOut.map((v) => v.nameLabel);
      return (
        new Set(started).size === started.length &&
        [...started, ...left].sort().join() ===
          productionPool()
            .vms.map((v) => v.nameLabel)
            .sort()
            .join()
      );
    }),
  );
  t.end();
});

/** VMs that no tier names stand in units that wait for nobody outside: each vApp, and the VMs in none. */
const unitOf = (tier: string): string | null =>
  /(^| )order \d+$/.test(tier) ? tier.replace(/ ?order \d+$/, '') : null;

t.test('no VM starts before it was imported, and no tier before the one above it', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover(world);
      const tierOf = new Map(
        plan.expects.tiers.flatMap((tier, i) => tier.vms.map((v) => [v.uuid, i] as const)),
      );
      const starts = steps(plan, 'start-vm');
      const uuidOf = (s: Step): string => (s.action.do === 'start-vm' ? s.action.vm.uuid : '');
      return starts.every((step) => {
        const earlier = before(plan, step);
        const imported = steps(plan, 'import-vms').some(
          (s) =>
            earlier.has(s.id) &&
            s.action.do === 'import-vms' &&
            s.action.vms.some((v) => v.uuid === uuidOf(step)),
        );
        const above = starts.filter((s) => {
          const [mine, its] = [tierOf.get(uuidOf(step)) ?? 0, tierOf.get(uuidOf(s)) ?? 0];
          const unit = unitOf(plan.expects.tiers[its]?.name ?? '');
          return its < mine && (unit === null || unit === unitOf(plan.expects.tiers[mine]?.name ?? ''));
        });
        return imported && above.every((s) => earlier.has(s.id));
      });
    }),
  );
  t.end();
});

t.test('steps have ids of their own, name only steps of the plan, and can be put in order', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover(world);
      const ids = new Set(plan.steps.map((s) => s.id));
      return (
        ids.size === plan.steps.length &&
        plan.steps.every(
          (s) => s.after.every((id) => ids.has(id)) && (s.needs ?? []).every((id) => s.after.includes(id)),
        ) &&
        inOrder(plan.steps).length === plan.steps.length
      );
    }),
  );
  t.end();
});

t.test('the forecast is no shorter than any chain of steps, and no longer than all of them in a row', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const plan = failover(world);
      const seconds = new Map(plan.steps.map((s) => [s.id, s.forecastSeconds]));
      const sum = [...seconds.values()].reduce((a, b) => a + b, 0);
      const longest = Math.max(0, ...plan.steps.map((s) => s.forecastSeconds));
      const forecast = forecastSeconds(plan.steps);
      return forecast >= longest - 1e-9 && forecast <= sum + 1e-9;
    }),
  );
  t.end();
});

t.test('the same world yields the same plan', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const [first, second] = [failover(world), failover(world)];
      return JSON.stringify(first) === JSON.stringify(second);
    }),
  );
  t.end();
});

t.test(
  'an export fetches all at once when that is cheaper, and waits for a pool that does not answer',
  (t) => {
    const request = { planId: 'p', pointId: 'shop/x', group: shop, configDigest: 'c', generation: 0 };
    const all = planExport({ ...request, observation: quiet(), vms: matchableVms(productionPool()) });
    const documents = all.steps.find((s) => s.id === 'documents');
    t.equal(documents?.action.do === 'save-documents' && documents.action.strategy, 'all');
    const few = planExport({
      ...request,
      observation: quiet(),
      vms: matchableVms(productionPool()).slice(0, 2),
    });
    const singles = few.steps.find((s) => s.id === 'documents');
    t.equal(singles?.action.do === 'save-documents' && singles.action.strategy, 'singles');
    const waiting = planExport({ ...request, observation: disaster(), vms: [] });
    t.same(waiting.waitingOn, ['the pool of site osaka, which cannot be read']);
    t.same(waiting.steps, []);
    t.end();
  },
);

t.test('a document is kept only where nothing speaks against it', (t) => {
  const facts = productionPool();
  const pool = { ...facts, vms: facts.vms.map((vm) => ({ ...vm, digest: `digest of ${vm.nameLabel}` })) };
  const point = pointOf(pool, addSeconds(now, -600));
  const plan = (before: RecoveryPoint[], seen: PoolFacts = pool, everything = false) => {
    const night = quiet();
    const made = planExport({
      ...{ planId: 'p', pointId: 'shop/x', group: shop, configDigest: 'c', generation: 0, everything },
      observation: {
        ...night,
        sites: { ...night.sites, osaka: { reachable: true, site: 'osaka', pool: seen, endpoints: [] } },
        catalog: { ...night.catalog, points: before },
      },
      vms: matchableVms(seen),
    });
    const action = made.steps.find((s) => s.id === 'documents')?.action;
    if (action?.do !== 'save-documents') throw new Error('no documents are saved');
    return { kept: action.kept?.length ?? 0, fetched: action.vms.length, action };
  };
  const aged = (seconds: number): RecoveryPoint => ({
    ...point,
    vms: point.vms.map((vm) => ({
      ...vm,
      documentFrom: { pointId: 'shop/old', takenAt: addSeconds(now, -seconds) },
    })),
  });
  t.match(plan([point]), { kept: 24, fetched: 0 });
  t.match(plan([point]).action.kept?.[0], { from: { pointId: point.id, takenAt: point.takenAt } });
  t.match(plan([aged(keptDocumentMaxAgeSeconds - 1)]), { kept: 24 });
  t.match(plan([aged(keptDocumentMaxAgeSeconds - 1)]).action.kept?.[0], { from: { pointId: 'shop/old' } });
  t.match(plan([point], pool, true), { kept: 0, fetched: 24 }, 'everything was asked for');
  const reasons: [string, RecoveryPoint, PoolFacts?][] = [
    ['as old as a day', aged(keptDocumentMaxAgeSeconds)],
    ['of a time that has not come', aged(-60)],
    ['of another group', { ...point, group: 'payroll' }],
    ['of another pool', { ...point, poolUuid: 'another' }],
    ['written by another xapi', { ...point, xapiBuild: { ...point.xapiBuild, text: '25.7.0' } }],
    ['of a point that is not good', { ...point, failures: [{ uuid: 'u', nameLabel: 'x', reason: 'busy' }] }],
    ['of a point without digests', pointOf(facts, point.takenAt)],
    ['of a VM whose digest is not known', point, facts],
  ];
  for (const [why, before, seen] of reasons) t.match(plan([before], seen), { kept: 0, fetched: 24 }, why);
  fc.assert(
    fc.property(fc.subarray(pool.vms.map((vm) => vm.uuid)), (uuids) => {
      const touched = new Set(uuids);
      const seen = pool.vms.map((vm) => (touched.has(vm.uuid) ? { ...vm, digest: 'another' } : vm));
      const { action } = plan([point], { ...pool, vms: seen });
      const fetched = new Set(action.vms.map((vm) => vm.uuid));
      return (
        fetched.size === touched.size &&
        [...touched].every((uuid) => fetched.has(uuid)) &&
        (action.kept ?? []).every((vm) => !touched.has(vm.uuid)) &&
        fetched.size + (action.kept?.length ?? 0) === 24
      );
    }),
  );
  t.end();
});
