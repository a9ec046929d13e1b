/** The invariant of drills, under its own name, over many worlds. */
import fc from 'fast-check';
import t from 'tap';
import type { Plan, Step } from '../../src/domain/plan.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { faultsOf } from '../../src/execute/dependencies.ts';
import { planDrill } from '../../src/plan/drill.ts';
import { cloning, drilled, drillId, drillRequest, filer, peace, tokyo } from '../plans/drill-world.ts';
import { now, pairs, pointOf, productionPool, replicaPoint } from '../support/two-sites.ts';

const worlds = fc.record({
  states: fc.array(fc.constantFrom('Running', 'Halted', 'Suspended'), { minLength: 24, maxLength: 24 }),
  asked: fc.subarray(['db-01', 'db-04', 'app-03', 'web-07', 'web-12']),
  networks: fc.constantFrom(4, 4, 4, 3, 2),
  ambiguous: fc.constantFrom(false, false, false, true),
  tiers: fc.integer({ min: 0, max: 3 }),
  onTimeout: fc.constantFrom('stop' as const, 'continue' as const),
  others: fc.constantFrom('by-order' as const, 'last' as const, 'leave-halted' as const),
  keep: fc.boolean(),
  can: fc.constantFrom('clone' as const, 'clone' as const, 'in-place' as const, 'none' as const),
  replicaAgeSeconds: fc.integer({ min: 0, max: 7200 }),
  srsKnown: fc.constantFrom(false, false, false, true),
});
type World = typeof worlds extends fc.Arbitrary<infer W> ? W : never;

function drill(world: World): Plan {
  const pool = tokyo();
  const networks = pool.networks.slice(0, world.networks);
  const [, , third] = networks;
  const osaka = productionPool();
  const vms = osaka.vms.map((vm, i) => ({ ...vm, powerState: world.states[i] ?? ('Running' as const) }));
  const observation = peace(
    {
      ...pool,
      networks:
        world.ambiguous && third !== undefined ? [...networks, { ...third, uuid: 'another' }] : networks,
      srs: world.srsKnown ? osaka.srs : [],
    },
    {
      pairs: pairs([replicaPoint(addSeconds(now, -world.replicaAgeSeconds))]),
      catalog: { observedAt: now, points: [pointOf({ ...osaka, vms }, addSeconds(now, -7300))], damaged: [] },
      arrays: [filer({ capabilities: { ...cloning, drill: world.can } })],
    },
  );
  const tiers = drilled.plan.tiers
    .slice(0, world.tiers)
    .map((tier) => ({ ...tier, onTimeout: world.onTimeout }));
  return planDrill(
    drillRequest(observation, {
      keep: world.keep,
      vms: world.asked,
      group: { ...drilled, plan: { ...drilled.plan, tiers, others: world.others } },
    }),
  );
}

/** Everything that a drill may do; of replication, to clone and to stop the clone. */
const allowed: ReadonlySet<Step['action']['do']> = new Set<Step['action']['do']>([
  'record-inventory',
  'record-replica',
  'verify-point',
  'clone-replica',
  'attach-sr',
  'compare-disks',
  'restore-names',
  'import-vms',
  'start-vm',
  'await-ready',
  'record-proof',
  'remove-copies',
  'forget-clone',
  'stop-clone',
  'compare-inventory',
]);

t.test(
  '3. A drill never touches production replication, uses its isolated network only, and always plans its own clean-up',
  (t) => {
    let planned = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        const plan = drill(world);
        if (plan.waitingOn.length > 0) return plan.steps.length === 0;
        planned += 1;
        if (faultsOf(plan).length > 0) return false;
        const actions = plan.steps.map(({ action }) => action);
        if (actions.some((action) => !allowed.has(action.do))) return false;
        if (plan.steps.some((step) => step.pointOfNoReturn)) return false;
        // Nothing is written at the production site, nor done there.
        if (actions.some((action) => 'site' in action && action.site !== drilled.recovery)) return false;
        for (const action of actions) {
          if (action.do === 'import-vms') {
            if (action.drill !== drillId) return false;
            if (action.networks.some(({ recovery }) => !recovery.nameLabel.startsWith('Drill ')))
              return false;
            if (action.vms.some((vm) => vm.original === undefined || vm.original === vm.uuid)) return false;
          }
          if (action.do === 'start-vm' && action.twinSite !== null) return false;
          if (action.do === 'attach-sr' && !action.sr.nameDescription.includes(drillId)) return false;
        }
        return world.keep || cleansUp(plan);
      }),
      { numRuns: 300 },
    );
    t.ok(planned > 30, `${planned} worlds allowed a drill`);
    t.end();
  },
);

/** Each thing that is made is taken away by a step that runs whatever fails. */
function cleansUp(plan: Plan): boolean {
  const find = (kind: Step['action']['do']) => plan.steps.filter(({ action }) => action.do === kind);
  const taken = new Set(
    find('stop-clone').map(({ action }) => JSON.stringify('target' in action ? action.target : null)),
  );
  const made = find('clone-replica').map(({ action }) =>
    JSON.stringify('target' in action ? action.target : null),
  );
  if (made.some((target) => !taken.has(target))) return false;
  const forgotten = new Set(
    find('forget-clone').map(({ action }) => ('srUuid' in action ? action.srUuid : '')),
  );
  if (find('attach-sr').some(({ action }) => action.do === 'attach-sr' && !forgotten.has(action.sr.uuid)))
    return false;
  const [removal] = find('remove-copies');
  const [proof] = find('record-proof');
  if (removal?.action.do !== 'remove-copies' || proof === undefined) return false;
  const removed = new Set(removal.action.vms.map((vm) => vm.uuid));
  const copies = find('import-vms').flatMap(({ action }) => (action.do === 'import-vms' ? action.vms : []));
  if (copies.some((vm) => !removed.has(vm.uuid))) return false;
  const first = plan.steps.findIndex(({ action }) => action.do === 'clone-replica');
  return (
    (removal.needs ?? removal.after).length === 0 &&
    (proof.needs ?? proof.after).length === 0 &&
    plan.steps.slice(first).every((step) => step.onFailure !== 'stop')
  );
}
