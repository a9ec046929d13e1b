/** Plans as people read them. The files read like runbooks; a change of a planner shows there, line by line. */
import t from 'tap';
import { checkFailover } from '../../src/check/failover.ts';
import type { Observation } from '../../src/domain/observation.ts';
import { matchableVms } from '../../src/domain/scope.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planExport } from '../../src/plan/export.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { golden } from '../report/golden.ts';
import {
  disaster,
  now,
  pairs,
  pointOf,
  productionPool,
  quiet,
  replicaPoint,
  shop,
  vdi,
  vm,
} from '../support/two-sites.ts';

function failoverText(
  observation: Observation,
  full: boolean,
  decisions: readonly string[] = [],
  only: readonly string[] = [],
): string {
  const plan = planFailover({
    planId: 'failover-shop-20260314T020000Z-0001',
    group: shop,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation,
    pointId: null,
    only,
    declaredLost: decisions.includes('declare-lost'),
  });
  const pool = (site: string) => {
    const view = observation.sites[site];
    return view?.reachable === true ? view.pool : null;
  };
  const findings = checkFailover(
    {
      group: shop,
      observation,
      recovery: pool('tokyo'),
      production: pool('osaka'),
      point: observation.catalog.points.find((p) => p.id === plan.expects.pointId) ?? null,
      state: null,
      decisions: new Set(decisions),
      standing: false,
    },
    [],
  );
  const planned = {
    plan,
    digest: 'd'.repeat(64),
    findings,
    observation,
    decisions: [],
    confirm: { site: 'tokyo', title: 'Tokyo, recovery', pool: 'tokyo-pool' },
  };
  return planText(planned, plainPaper, full ? 'full' : 'runbook');
}

t.test('a failover of 24 VMs in three tiers', (t) => {
  golden(t, 'cases/failover.plan.txt', import.meta.url, failoverText(disaster(), false));
  golden(t, 'cases/failover-full.plan.txt', import.meta.url, failoverText(disaster(), true));
  t.end();
});

t.test('a failover of some VMs of the group, and of one that nobody knows', (t) => {
  const some = ['db-01', 'db-02', 'app-03'];
  golden(t, 'cases/failover-some.plan.txt', import.meta.url, failoverText(disaster(), false, [], some));
  const unknown = failoverText(disaster(), false, [], ['db-01', 'wbe-01']);
  t.match(unknown, /waits for\n +- a VM wbe-01, which recovery point shop\/\S+ does not hold/i);
  t.notMatch(unknown, /Steps:/, 'and no part of it is done');
  t.end();
});

t.test('a failover that leaves a VM behind, with a replica older than the RPO', (t) => {
  const facts = productionPool();
  const grown = {
    ...facts,
    vms: [
      ...facts.vms.map((v) => (v.nameLabel === 'web-12' ? { ...v, powerState: 'Halted' as const } : v)),
      vm(99, 'web-99', facts.networks[0]?.uuid ?? ''),
    ],
    vdis: [...facts.vdis, vdi(99, facts.srs[1]?.uuid ?? '')],
  };
  const observation = disaster({
    pairs: pairs([replicaPoint(addSeconds(now, -2460))]),
    catalog: {
      observedAt: now,
      points: [pointOf(grown, addSeconds(now, -600), 2), pointOf(facts, addSeconds(now, -3000), 1)],
      damaged: [],
    },
  });
  golden(t, 'cases/failover-old-replica.plan.txt', import.meta.url, failoverText(observation, false));
  t.end();
});

t.test('a failover while production still answers, given up by a person', (t) => {
  golden(
    t,
    'cases/failover-declared-lost.plan.txt',
    import.meta.url,
    failoverText(quiet(), false, ['declare-lost']),
  );
  t.end();
});

t.test('a failover that waits for what it needs', (t) => {
  const observation = disaster({ pairs: [], catalog: { observedAt: now, points: [], damaged: [] } });
  golden(t, 'cases/failover-waiting.plan.txt', import.meta.url, failoverText(observation, false));
  t.end();
});

t.test('an export', (t) => {
  const observation = quiet();
  const plan = planExport({
    planId: 'export-shop-20260314T020000Z-0001',
    pointId: 'shop/20260314T020000Z-0001',
    group: shop,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation,
    vms: matchableVms(productionPool()),
  });
  const planned = { plan, digest: 'd'.repeat(64), findings: [], observation, decisions: [], confirm: null };
  golden(t, 'cases/export.plan.txt', import.meta.url, planText(planned, plainPaper, 'runbook'));
  t.end();
});

t.test('an export after which little changed, or nothing', (t) => {
  const facts = productionPool();
  const digested = { ...facts, vms: facts.vms.map((vm) => ({ ...vm, digest: `digest of ${vm.nameLabel}` })) };
  const touched = new Set(['app-02', 'web-05', 'web-06']);
  const changed = {
    ...digested,
    vms: digested.vms.map((vm) => (touched.has(vm.nameLabel) ? { ...vm, digest: 'another' } : vm)),
  };
  const text = (pool: typeof facts): string => {
    const night = quiet();
    const observation: Observation = {
      ...night,
      sites: { ...night.sites, osaka: { reachable: true, site: 'osaka', pool, endpoints: [] } },
      catalog: { ...night.catalog, points: [pointOf(digested, addSeconds(now, -600))] },
    };
    const plan = planExport({
      planId: 'export-shop-20260314T020000Z-0001',
      pointId: 'shop/20260314T020000Z-0001',
      group: shop,
      configDigest: 'c'.repeat(64),
      generation: 4,
      observation,
      vms: matchableVms(pool),
    });
    const planned = { plan, digest: 'd'.repeat(64), findings: [], observation, decisions: [], confirm: null };
    return planText(planned, plainPaper, 'runbook');
  };
  golden(t, 'cases/export-little-changed.plan.txt', import.meta.url, text(changed));
  golden(t, 'cases/export-nothing-changed.plan.txt', import.meta.url, text(digested));
  t.end();
});
