/** Plans of drills and of their clean-up, as people read them, and what must hold for each of them (invariant 3). */
import t from 'tap';
import { checkDrill } from '../../src/check/drill.ts';
import type { Observation } from '../../src/domain/observation.ts';
import type { Plan } from '../../src/domain/plan.ts';
import { matchableVms } from '../../src/domain/scope.ts';
import { faultsOf } from '../../src/execute/dependencies.ts';
import { type DrillRequest, planDrill } from '../../src/plan/drill.ts';
import { planDrillCleanup } from '../../src/plan/drill-cleanup.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { golden } from '../report/golden.ts';
import { deadProduction, now, productionPool, recoveryPool } from '../support/two-sites.ts';
import { afterCrash, cloning, drilled, drillId, drillRequest, filer, peace, tokyo } from './drill-world.ts';

function text(plan: Plan, observation: Observation, full = false): string {
  const view = observation.sites['tokyo'];
  const point = observation.catalog.points.find((p) => p.id === plan.expects.pointId) ?? null;
  const findings =
    plan.operation === 'drill'
      ? checkDrill(
          {
            group: drilled,
            observation,
            recovery: view?.reachable === true ? view.pool : null,
            production: null,
            point,
            state: null,
            decisions: new Set(),
            standing: false,
          },
          [],
        )
      : [];
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

function drill(observation = peace(), changes: Partial<DrillRequest> = {}): Plan {
  return planDrill(drillRequest(observation, changes));
}

const verbsOf = (plan: Plan): string[] => plan.steps.map((step) => step.action.do);

t.test('a drill of 24 VMs', (t) => {
  const plan = drill();
  golden(t, 'cases/drill.plan.txt', import.meta.url, text(plan, peace()));
  golden(t, 'cases/drill-full.plan.txt', import.meta.url, text(plan, peace(), true));
  t.strictSame(faultsOf(plan), []);
  t.strictSame(drill(), plan, 'the same world gives the same plan');
  t.end();
});

t.test('a drill of two VMs that is kept', (t) => {
  const plan = drill(peace(), { keep: true, vms: ['db-01', 'db-02'] });
  golden(t, 'cases/drill-kept.plan.txt', import.meta.url, text(plan, peace()));
  t.notOk(verbsOf(plan).includes('remove-copies'));
  t.equal(verbsOf(plan).filter((verb) => verb === 'clone-replica').length, 1, 'only the SR that they use');
  t.end();
});

t.test('a drill touches replication with nothing but a clone', (t) => {
  for (const verb of verbsOf(drill()))
    t.notOk(
      ['promote', 'promote-synced', 'expose', 'fence-storage', 'tombstone', 'final-sync'].includes(verb),
      verb,
    );
  t.notOk(drill().steps.some((step) => step.pointOfNoReturn));
  t.end();
});

t.test('copies get new uuids, names that say so, and isolated networks', (t) => {
  const originals = new Set(productionPool().vms.map((vm) => vm.uuid));
  const imports = drill().steps.flatMap(({ action }) => (action.do === 'import-vms' ? [action] : []));
  const copies = imports.flatMap((action) => action.vms);
  t.equal(copies.length, 24);
  t.equal(new Set(copies.map((copy) => copy.uuid)).size, 24);
  for (const copy of copies) {
    t.notOk(originals.has(copy.uuid));
    t.ok(originals.has(copy.original ?? ''));
    t.match(copy.nameLabel, /^drill: /);
  }
  for (const { drill: id, networks } of imports) {
    t.equal(id, drillId);
    for (const { recovery } of networks) t.match(recovery.nameLabel, /^Drill /);
  }
  t.end();
});

t.test('whatever step fails after the first clone, the clean-up comes after it and does not need it', (t) => {
  const plan = drill();
  const cleaning = plan.steps.filter((step) => step.action.do === 'remove-copies');
  t.equal(cleaning.length, 1);
  t.strictSame(cleaning[0]?.needs, []);
  const first = plan.steps.findIndex((step) => step.action.do === 'clone-replica');
  const before = new Set<string>();
  const queue = [...(cleaning[0]?.after ?? [])];
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
    if (before.has(id)) continue;
    before.add(id);
    queue.push(...(plan.steps.find((step) => step.id === id)?.after ?? []));
  }
  for (const step of plan.steps.slice(first)) {
    t.not(step.onFailure, 'stop', `${step.id} does not stop the run`);
    if (['remove-copies', 'forget-clone', 'stop-clone', 'compare-inventory'].includes(step.action.do))
      continue;
    t.ok(before.has(step.id), `${step.id} has ended before the clean-up begins`);
  }
  t.end();
});

t.test('a tier that stops the run in a failover stops what comes after it in a drill', (t) => {
  const plan = drill();
  const later = plan.steps.find((step) => step.id === 'start-app-01');
  t.ok(later?.needs?.includes('ready-db-01'), 'the application needs the database');
  const last = plan.steps.find((step) => step.id === 'start-web-01');
  t.notOk(last?.needs?.includes('start-app-01'), 'a tier that goes on does not hold up the next one');
  t.end();
});

t.test('what a drill waits for', (t) => {
  const waits = (observation: Observation, changes: Partial<DrillRequest> = {}): readonly string[] => {
    const plan = drill(observation, changes);
    t.strictSame(plan.steps, []);
    return plan.waitingOn;
  };
  t.match(waits(peace(recoveryPool())).join(), /isolated network for drills in place of Database/);
  t.match(waits(peace(tokyo(), { arrays: [] })).join(), /has not said whether it can clone/);
  t.match(
    waits(peace(tokyo(), { arrays: [filer({ capabilities: { ...cloning, drill: 'none' } })] })).join(),
    /can neither clone/,
  );
  t.match(waits(peace(tokyo({ srs: productionPool().srs }))).join(), /does not know SR Tier 1/);
  t.match(waits(afterCrash()).join(), /clean-up of an earlier drill/);
  t.match(waits(peace(), { vms: ['nobody'] }).join(), /holds none of those/);
  t.match(waits(peace(), { pointId: 'shop/gone' }).join(), /shop\/gone, which the catalog does not hold/);
  t.end();
});

t.test('an array that cannot clone beside the replica is named', (t) => {
  const inPlace = peace(tokyo(), { arrays: [filer({ capabilities: { ...cloning, drill: 'in-place' } })] });
  t.match(drill(inPlace).expects.notes.join(), /test mode while the drill lasts/);
  t.match(text(drill(inPlace), inPlace), /DR-DRILL-DISTURBS/);
  const pausing = peace(tokyo(), {
    arrays: [filer({ capabilities: { ...cloning, drillPausesTransfer: true } })],
  });
  t.match(drill(pausing).expects.notes.join(), /holds up the replication/);
  t.end();
});

t.test('the clean-up removes what is found by its marks, without any journal', (t) => {
  const request = {
    planId: 'drill-cleanup-shop-20260314T020000Z-0001',
    group: drilled,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation: afterCrash(),
    open: null,
    before: null,
  };
  const plan = planDrillCleanup(request);
  golden(t, 'cases/drill-cleanup.plan.txt', import.meta.url, text(plan, afterCrash()));
  t.strictSame(faultsOf(plan), []);
  const removed = plan.steps.flatMap(({ action }) => (action.do === 'remove-copies' ? action.vms : []));
  t.strictSame(
    removed.map((vm) => vm.nameLabel),
    ['drill: db-01', 'drill: web-01'],
    'own-01 is nobody’s copy',
  );

  t.strictSame(planDrillCleanup({ ...request, observation: peace() }).steps, [], 'nothing is left to do');
  const open = { id: drillId, run: 'a run', at: now };
  t.strictSame(
    verbsOf(planDrillCleanup({ ...request, observation: peace(), open })),
    ['remove-copies', 'compare-inventory'],
    'the state is set right although nothing is seen',
  );
  const blind = peace(tokyo(), { arrays: [filer({ drills: null })] });
  t.strictSame(
    verbsOf(planDrillCleanup({ ...request, observation: blind, open })).filter(
      (verb) => verb === 'stop-clone',
    ).length,
    2,
    'an array that does not list its clones is told to stop each of them',
  );
  t.end();
});

t.test('copies belong to no group, whatever tags they bear', (t) => {
  const view = afterCrash().sites['tokyo'];
  if (view?.reachable !== true) throw new Error('no pool');
  t.strictSame(
    matchableVms(view.pool).map((vm) => vm.nameLabel),
    ['own-01'],
    'an export there must not take them for VMs',
  );
  t.end();
});

t.test('a failover takes an open drill away first, and is not held up by it', (t) => {
  const observation = afterCrash();
  const plan = planFailover({
    planId: 'failover-shop-20260314T020000Z-0001',
    group: drilled,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation: { ...observation, sites: { ...observation.sites, osaka: deadProduction } },
    pointId: null,
    declaredLost: false,
  });
  golden(t, 'cases/failover-open-drill.plan.txt', import.meta.url, text(plan, observation));
  const tombstone = plan.steps.find((step) => step.action.do === 'tombstone');
  const cleaning = plan.steps.filter((step) => step.action.do === 'stop-clone').map((step) => step.id);
  t.equal(cleaning.length, 2);
  for (const id of cleaning) {
    t.ok(tombstone?.after.includes(id), 'before the point of no return');
    t.notOk(tombstone?.needs?.includes(id), 'and not needed for it');
  }
  for (const step of plan.steps.filter(({ action }) => action.do === 'remove-copies'))
    t.equal(step.onFailure, 'continue');
  t.end();
});
