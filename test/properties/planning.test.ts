/** What every plan of a failover and of an export has in common, over many worlds; invariants have their own folder. */
import fc from 'fast-check';
import t from 'tap';
import { limitsFor, limitsOf } from '../../src/domain/limits.ts';
import type { Step } from '../../src/domain/plan.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import type { RecoveryPoint } from '../../src/domain/recovery-point.ts';
import { matchableVms } from '../../src/domain/scope.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { keptDocumentMaxAgeSeconds } from '../../src/plan/changes.ts';
import { planExport } from '../../src/plan/export.ts';
import { forecastSeconds, inOrder } from '../../src/plan/forecast.ts';
import { disaster, now, pointOf, productionPool, quiet, shop } from '../support/two-sites.ts';
import { before, failover, steps, worlds } from './worlds.ts';

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

t.test('a pool of many hosts starts more VMs at once, up to what its core can feed', (t) => {
  const site = 'tokyo';
  t.same(
    [1, 2, 3, 5, 10, 64].map((hosts) => limitsOf(limitsFor(site, hosts))(`start:${site}`)),
    [4, 8, 12, 20, 20, 20],
  );
  t.equal(limitsOf(limitsFor(site, 3))('start:osaka'), 4, 'of that site alone');
  t.equal(limitsOf(limitsFor(site, 3))(`import:${site}`), 1, 'everything else is as usual');
  const step = (id: string): Step => ({
    id,
    after: [],
    action: { do: 'start-vm', site, vm: { uuid: id, nameLabel: id }, twinSite: null },
    holdsWhen: null,
    pointOfNoReturn: false,
    repeatable: true,
    timeoutSeconds: 60,
    forecastSeconds: 2,
    uses: [`start:${site}`],
    onFailure: 'continue',
    why: id,
  });
  const steps = Array.from({ length: 24 }, (_, index) => step(`start-${index}`));
  t.equal(forecastSeconds(steps), 12, 'four at once');
  t.equal(forecastSeconds(steps, limitsFor(site, 3).limits), 4, 'twelve at once');
  t.end();
});
