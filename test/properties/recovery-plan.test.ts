/** Start order over random recovery plans: whoever needs somebody starts behind them, or the circle is named. */
import fc from 'fast-check';
import t from 'tap';
import type { Plan, Step } from '../../src/domain/plan.ts';
import type { DependencySettings, Moment, RecoveryPlanSettings } from '../../src/domain/recovery-plan.ts';
import { compileMatch, nothing } from '../../src/domain/scope.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { faultsOf } from '../../src/execute/dependencies.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { disaster, now, pointOf, productionPool, shop, vmNames } from '../support/two-sites.ts';

const someVms = fc.uniqueArray(fc.constantFrom(...vmNames), { minLength: 1, maxLength: 3 });
const names = (vms: readonly string[]) => ({ ...nothing, names: vms });

const dependencies: fc.Arbitrary<DependencySettings> = fc.record({
  vms: someVms.map(names),
  needs: someVms.map(names),
  ifNotReady: fc.constantFrom('start', 'leave-halted'),
});

const moments: fc.Arbitrary<Moment> = fc.oneof(
  fc.constantFrom<Moment>({ at: 'before-promotion' }, { at: 'after-storage' }, { at: 'end' }),
  fc.constantFrom('one', 'two', 'three').map((tier): Moment => ({ at: 'before-tier', tier })),
  fc.constantFrom('one', 'two', 'three').map((tier): Moment => ({ at: 'after-tier', tier })),
  fc.constantFrom(...vmNames).map((vm): Moment => ({ at: 'after-start', vm })),
);

const tiers = fc
  .array(
    fc.record({
      vms: someVms.map(names),
      waits: fc.boolean(),
      delaySeconds: fc.constantFrom(0, 30),
      atOnce: fc.constantFrom(null, 1, 2),
      onTimeout: fc.constantFrom<'stop' | 'continue'>('stop', 'continue'),
    }),
    { maxLength: 3 },
  )
  .map((made) =>
    made.map(({ vms, waits, delaySeconds, atOnce, onTimeout }, index) => ({
      name: ['one', 'two', 'three'][index] ?? '',
      vms,
      ready: [{ gate: waits ? ('guest-agent' as const) : ('running' as const) }],
      timeoutSeconds: 60,
      onTimeout,
      delaySeconds,
      ...(atOnce === null ? {} : { atOnce }),
    })),
  );

const plans: fc.Arbitrary<RecoveryPlanSettings> = fc.record({
  file: fc.constant('plan'),
  honourStartDelay: fc.boolean(),
  others: fc.constantFrom<RecoveryPlanSettings['others']>('by-order', 'last', 'leave-halted'),
  tiers,
  dependencies: fc.array(dependencies, { maxLength: 4 }),
  leaveOff: fc.uniqueArray(fc.constantFrom(...vmNames), { maxLength: 2 }).map(names),
  callouts: fc.array(
    moments.map((moment) => ({
      name: 'c',
      moment,
      argv: ['x'],
      timeoutSeconds: 10,
      onFailure: 'continue' as const,
      retries: 0,
      repeatable: false,
      inDrill: false,
    })),
    { maxLength: 3 },
  ),
});

const orders = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 24, maxLength: 24 });

function failover(plan: RecoveryPlanSettings, order: readonly number[]): Plan {
  const osaka = productionPool();
  const vms = osaka.vms.map((vm, index) => ({ ...vm, order: order[index] ?? 0 }));
  const point = pointOf({ ...osaka, vms }, addSeconds(now, -600));
  return planFailover({
    planId: 'plan',
    group: { ...shop, plan },
    configDigest: 'c',
    generation: 1,
    observation: disaster({ catalog: { observedAt: now, points: [point], damaged: [] } }),
    pointId: null,
    declaredLost: false,
  });
}

/** Everything that has ended before this step begins, whatever happens. */
function before(plan: Plan, id: string): Set<string> {
  const steps = new Map(plan.steps.map((step) => [step.id, step]));
  const seen = new Set<string>();
  const walk = (here: string): void => {
    for (const earlier of steps.get(here)?.after ?? []) {
      if (seen.has(earlier)) continue;
      seen.add(earlier);
      walk(earlier);
    }
  };
  walk(id);
  return seen;
}

const nameOf = ({ action }: Step): string => ('vm' in action ? action.vm.nameLabel : '');
const find = (plan: Plan, kind: 'start-vm' | 'await-ready', name: string): Step | undefined =>
  plan.steps.find((step) => step.action.do === kind && nameOf(step) === name);

t.test('a VM starts only after every VM that it needs is ready, or no plan is made', (t) => {
  let circles = 0;
  let held = 0;
  fc.assert(
    fc.property(plans, orders, (plan, order) => {
      const made = failover(plan, order);
      if (made.waitingOn.length > 0) {
        circles += 1;
        return made.steps.length === 0 && made.waitingOn.every((what) => what.includes('waits for itself'));
      }
      for (const { vms, needs, ifNotReady } of plan.dependencies ?? []) {
        const [waits, isNeeded] = [compileMatch(vms, []), compileMatch(needs, [])];
        for (const start of made.steps.filter(({ action }) => action.do === 'start-vm')) {
          const matchable = { uuid: '', nameLabel: nameOf(start), tags: [], folder: null, srUuids: [] };
          if (waits(matchable) === null) continue;
          const earlier = before(made, start.id);
          for (const name of vmNames) {
            if (name === nameOf(start) || isNeeded({ ...matchable, nameLabel: name }) === null) continue;
            const gate = find(made, 'await-ready', name) ?? find(made, 'start-vm', name);
            if (gate === undefined) continue;
            held += 1;
            if (!earlier.has(gate.id)) return false;
            if (ifNotReady === 'leave-halted' && !start.needs?.includes(gate.id)) return false;
          }
        }
      }
      return true;
    }),
    { numRuns: 150 },
  );
  t.ok(circles > 0, `${circles} circles were among them`);
  t.ok(held > 20, `${held} needs were looked at`);
  t.end();
});

t.test(
  'every plan can be carried out: each VM starts once or stays halted with a reason, nothing waits in a circle',
  (t) => {
    fc.assert(
      fc.property(plans, orders, (plan, order) => {
        const made = failover(plan, order);
        if (made.waitingOn.length > 0) return true;
        const started = made.steps.filter(({ action }) => action.do === 'start-vm').map(nameOf);
        const left = made.expects.leftOut.map(({ nameLabel }) => nameLabel);
        return (
          faultsOf(made).length === 0 &&
          [...started, ...left].sort().join() === [...vmNames].sort().join() &&
          (plan.leaveOff?.names ?? []).every((name) => left.includes(name))
        );
      }),
      { numRuns: 150 },
    );
    t.end();
  },
);

t.test('no more VMs of a tier are on their way up at once than its plan says', (t) => {
  fc.assert(
    fc.property(plans, orders, (plan, order) => {
      const made = failover(plan, order);
      return plan.tiers.every(({ name, atOnce }) => {
        if (atOnce === undefined) return true;
        const vms = made.expects.tiers.find((tier) => tier.name === name)?.vms ?? [];
        const starts = vms.flatMap((vm) => find(made, 'start-vm', vm.nameLabel) ?? []);
        // Two starts may overlap only when neither stands before the other: no set of them may be larger than that.
        const lanes = starts.filter(
          (start) => !starts.some((other) => other !== start && before(made, start.id).has(other.id)),
        );
        return lanes.length <= atOnce;
      });
    }),
    { numRuns: 100 },
  );
  t.end();
});
