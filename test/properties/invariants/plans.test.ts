/** Invariants that planning alone can keep: for every plan of a failover, whatever the world is like. */
import fc from 'fast-check';
import t from 'tap';
import { planFailover } from '../../../src/plan/failover.ts';
import { disaster, now, recoveryPool, shop } from '../../support/two-sites.ts';
import { before, failover, steps, worlds } from '../worlds.ts';
import { invariant } from './sentence.ts';

t.test(invariant(2), (t) => {
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

t.test(invariant(5), (t) => {
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

t.test(invariant(7), (t) => {
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

t.test(invariant(12), (t) => {
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
