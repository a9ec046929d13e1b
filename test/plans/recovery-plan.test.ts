/** Recovery plans at work: a golden file that reads like a runbook, and what each part of a plan makes of the steps. */
import t from 'tap';
import type { Plan, Step } from '../../src/domain/plan.ts';
import type { RecoveryPlanSettings, VmOverride } from '../../src/domain/recovery-plan.ts';
import { nothing } from '../../src/domain/scope.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { faultsOf } from '../../src/execute/dependencies.ts';
import { planDrill } from '../../src/plan/drill.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { recoveryPlanFindings } from '../../src/plan/recovery-plan-findings.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { golden } from '../report/golden.ts';
import {
  alive,
  disaster,
  network,
  now,
  pointOf,
  productionPool,
  recoveryPool,
  shop,
} from '../support/two-sites.ts';
import { drilled, drillRequest, tokyo as drillTokyo, peace } from './drill-world.ts';

const gib = 1024 ** 3;
const named = (...names: string[]) => ({ ...nothing, names });
const override: VmOverride = {
  vms: nothing,
  site: 'tokyo',
  networks: [],
  addresses: [],
  addressesInDrill: false,
  memory: null,
  vcpus: null,
  host: null,
};

const elaborate: RecoveryPlanSettings = {
  file: 'runbooks/shop.yaml',
  honourStartDelay: true,
  others: 'by-order',
  tiers: [
    {
      name: 'database',
      vms: named('db-*'),
      ready: [
        { gate: 'guest-agent' },
        { gate: 'address', subnets: ['10.1.0.0/16', '10.2.0.0/16'] },
        {
          gate: 'command',
          user: 'probe',
          port: 22,
          keyFile: '/keys/probe',
          hostKey: { knownHostsFile: '/keys/known_hosts' },
          argv: ['pg_isready', '--quiet'],
          exitCode: 0,
        },
      ],
      readyInDrill: [{ gate: 'guest-agent' }],
      timeoutSeconds: 600,
      onTimeout: 'stop',
      atOnce: 2,
    },
    {
      name: 'application',
      vms: named('app-*'),
      ready: [
        {
          gate: 'http',
          port: 8443,
          path: '/health',
          tls: true,
          host: null,
          verify: false,
          caFile: null,
          status: [200, 204],
          contains: null,
        },
      ],
      timeoutSeconds: 300,
      onTimeout: 'continue',
      delaySeconds: 30,
    },
  ],
  dependencies: [
    { vms: named('db-02'), needs: named('db-01'), ifNotReady: 'leave-halted' },
    { vms: named('app-08'), needs: named('app-01', 'web-12'), ifNotReady: 'start' },
  ],
  leaveOff: named('web-12'),
  overrides: [
    {
      ...override,
      vms: named('db-01'),
      networks: [{ production: 'Database', here: 'Tokyo Vault' }],
      addresses: [{ device: '0', ipv4: { address: '10.2.0.11/24', gateway: '10.2.0.1' }, ipv6: null }],
    },
    {
      ...override,
      vms: named('db-*'),
      memory: { staticMax: 2 * gib, dynamicMax: 2 * gib, dynamicMin: gib },
      vcpus: 1,
      host: 'tokyo-2',
    },
    { ...override, vms: named('app-*'), site: 'osaka', vcpus: 8 },
  ],
  prompts: [
    {
      name: 'storage-team',
      moment: { at: 'before-promotion' },
      question: 'Does the storage team agree?',
      timeoutSeconds: 900,
      byDefault: 'stop',
      inDrill: false,
    },
    {
      name: 'doors',
      moment: { at: 'after-tier', tier: 'application' },
      question: 'May customers come in?',
      timeoutSeconds: 1800,
      byDefault: 'continue',
      inDrill: true,
    },
  ],
  callouts: [
    {
      name: 'dns',
      moment: { at: 'before-tier', tier: 'application' },
      argv: ['/usr/local/libexec/move-dns', '--to', 'tokyo'],
      timeoutSeconds: 120,
      onFailure: 'stop',
      retries: 2,
      repeatable: true,
      inDrill: false,
    },
    {
      name: 'license',
      moment: { at: 'after-start', vm: 'app-01' },
      argv: ['activate'],
      timeoutSeconds: 60,
      onFailure: 'continue',
      retries: 0,
      repeatable: false,
      inDrill: true,
    },
    {
      name: 'status-page',
      moment: { at: 'end' },
      argv: ['status-page', 'up'],
      timeoutSeconds: 60,
      onFailure: 'continue',
      retries: 0,
      repeatable: false,
      inDrill: false,
    },
  ],
};

function tokyo() {
  const pool = recoveryPool();
  return { ...pool, networks: [...pool.networks, network(13, 'Tokyo Vault', pool.hosts)] };
}

/** The pool of drills, with the network that an override would have a VM on. */
function tokyoForDrills() {
  const pool = drillTokyo();
  return { ...pool, networks: [...pool.networks, network(13, 'Tokyo Vault', pool.hosts)] };
}

function world() {
  const osaka = productionPool();
  // Web servers stand in a vApp and start two by two; nothing in the plan names them.
  const vms = osaka.vms.map((vm) =>
    vm.nameLabel.startsWith('web-')
      ? { ...vm, order: Math.ceil(Number(vm.nameLabel.slice(-2)) / 6), startDelaySeconds: 5 }
      : vm,
  );
  const point = pointOf({ ...osaka, vms }, addSeconds(now, -600));
  const observation = disaster({
    sites: { osaka: disaster().sites['osaka'] as never, tokyo: alive(tokyo(), 'tokyo') },
    catalog: { observedAt: now, points: [point], damaged: [] },
  });
  return { point, observation };
}

function planned(plan: RecoveryPlanSettings): Plan {
  return planFailover({
    planId: 'failover-shop-20260314T020000Z-0001',
    group: { ...shop, plan },
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation: world().observation,
    pointId: null,
    declaredLost: false,
  });
}

const stepOf = (plan: Plan, id: string): Step => {
  const step = plan.steps.find((candidate) => candidate.id === id);
  if (step === undefined) throw new Error(`no step ${id} in ${plan.steps.map((s) => s.id).join(' ')}`);
  return step;
};

t.test('an elaborate plan reads like a runbook', (t) => {
  const plan = planned(elaborate);
  const text = planText({ plan, digest: 'd'.repeat(64), findings: [] }, plainPaper, 'runbook');
  golden(t, 'cases/recovery-plan.plan.txt', import.meta.url, text);
  t.end();
});

t.test('a start_delay is slept and counted, or neither', (t) => {
  const seen = (honourStartDelay: boolean): Step =>
    stepOf(planned({ ...elaborate, honourStartDelay }), 'start-web-01');
  const [slept, skipped] = [seen(true), seen(false)];
  t.equal(slept.forecastSeconds - skipped.forecastSeconds, 5);
  t.notMatch(slept.action, { skippedDelaySeconds: 5 });
  t.match(skipped.action, { skippedDelaySeconds: 5 });
  t.match(skipped.holdsWhen, { skippedDelaySeconds: 5 });
  t.match(slept.why, /it sleeps its own start_delay of 5 s/);
  t.notMatch(skipped.why, /start_delay/);
  t.end();
});

t.test('dependencies, numbers at once and pauses are what steps come after', (t) => {
  const plan = planned(elaborate);
  t.ok(stepOf(plan, 'start-db-02').after.includes('ready-db-01'));
  t.ok(stepOf(plan, 'start-db-02').needs?.includes('ready-db-01'), 'left halted when db-01 is not ready');
  t.ok(
    stepOf(plan, 'start-db-03').after.includes('ready-db-01'),
    'two at once: the third waits for the first',
  );
  t.notOk(stepOf(plan, 'start-db-03').needs?.includes('ready-db-01'), 'waiting for a place is no need');
  t.same(
    stepOf(plan, 'pause-before-application').after,
    [1, 2, 3, 4].map((n) => `ready-db-0${n}`),
  );
  t.same(stepOf(plan, 'call-dns').after, ['pause-before-application']);
  t.ok(stepOf(plan, 'start-app-01').after.includes('call-dns'));
  t.ok(stepOf(plan, 'start-app-08').after.includes('ready-app-01'));
  t.same(stepOf(plan, 'start-app-08').needs, ['import-application'], 'started even when app-01 is not ready');
  t.match(plan.expects.notes.at(-1), /VM web-12 is not started, and needed by app-08: they start without it/);
  t.match(plan.expects.leftOut, [
    { nameLabel: 'web-12', reason: 'stays halted: the recovery plan leaves it off' },
  ]);
  t.same(stepOf(plan, 'call-license-app-01').after, ['start-app-01']);
  t.ok(stepOf(plan, 'ready-app-01').after.includes('call-license-app-01'));
  t.ok(stepOf(plan, 'tombstone-osaka').after.includes('ask-storage-team'));
  t.notOk(stepOf(plan, 'tombstone-osaka').needs?.includes('ask-storage-team'));
  t.end();
});

t.test('overrides apply at their site: an import of its own, another shape, other addresses', (t) => {
  const plan = planned(elaborate);
  t.match(stepOf(plan, 'import-database').action, {
    vms: [{ nameLabel: 'db-01' }],
    networks: [{ production: 'Database', recovery: { nameLabel: 'Tokyo Vault' } }],
  });
  t.match(stepOf(plan, 'import-database-2').action, {
    vms: [{ nameLabel: 'db-02' }, { nameLabel: 'db-03' }, { nameLabel: 'db-04' }],
    networks: [{ recovery: { nameLabel: 'Tokyo Database' } }],
  });
  t.match(stepOf(plan, 'adjust-db-01').action, {
    adjustment: { memory: { staticMax: 2 * gib }, vcpus: 1, host: { nameLabel: 'tokyo-2' } },
  });
  t.ok(stepOf(plan, 'start-db-01').after.includes('adjust-db-01'));
  t.ok(stepOf(plan, 'ready-db-01').after.includes('address-db-01'));
  t.notOk(
    plan.steps.some(({ id }) => id.startsWith('adjust-app')),
    'what is said for Osaka is not done in Tokyo',
  );
  t.end();
});

t.test(
  '3. a drill stays on its networks, calls what is marked for drills, and sets what is marked for drills',
  (t) => {
    const observation = peace();
    const pool = tokyoForDrills();
    const plan = planDrill(
      drillRequest(
        { ...observation, sites: { ...observation.sites, tokyo: alive(pool, 'tokyo') } },
        { group: { ...drilled, plan: elaborate } },
      ),
    );
    t.same(plan.waitingOn, []);
    t.same(faultsOf(plan), []);
    const networks = plan.steps.flatMap(({ action }) => (action.do === 'import-vms' ? action.networks : []));
    t.same([...new Set(networks.map(({ recovery }) => recovery.nameLabel))].sort(), [
      'Drill Database',
      'Drill LAN',
    ]);
    const called = plan.steps.filter(({ action }) => action.do === 'call-out' || action.do === 'ask');
    t.same(
      called.map(({ id }) => id).sort(),
      ['ask-doors', 'call-license-drill-app-01'],
      'neither the question of the storage team nor dns nor the status page',
    );
    t.match(called.find(({ id }) => id.startsWith('call'))?.action, { occasion: { vm: 'drill: app-01' } });
    t.notOk(plan.steps.some(({ action }) => action.do === 'set-addresses'));
    const everywhere = (elaborate.overrides ?? []).map((each) => ({ ...each, addressesInDrill: true }));
    const told = planDrill(
      drillRequest(observation, { group: { ...drilled, plan: { ...elaborate, overrides: everywhere } } }),
    );
    t.equal(told.steps.filter(({ action }) => action.do === 'set-addresses').length, 1);
    const gates = plan.steps.flatMap(({ action }) =>
      action.do === 'await-ready' && action.vm.nameLabel === 'drill: db-01' ? action.gates : [],
    );
    t.same(gates, [{ gate: 'guest-agent' }], 'ready_in_drill');
    const circle = [{ vms: named('db-01'), needs: named('app-01'), ifNotReady: 'start' as const }];
    const stuck = planDrill(
      drillRequest(observation, { group: { ...drilled, plan: { ...elaborate, dependencies: circle } } }),
    );
    t.match(stuck, { steps: [], waitingOn: [/no VM waits for itself/] });
    t.end();
  },
);

t.test('VMs that wait for each other make the plan wait, and the circle is named', (t) => {
  const circle = (dependencies: RecoveryPlanSettings['dependencies']): Plan =>
    planned({ ...elaborate, ...(dependencies === undefined ? {} : { dependencies }) });
  const inside = circle([
    { vms: named('db-01'), needs: named('db-02'), ifNotReady: 'start' },
    { vms: named('db-02'), needs: named('db-01'), ifNotReady: 'start' },
  ]);
  t.same(inside.steps, []);
  t.match(inside.waitingOn, [/no VM waits for itself: db-01 needs db-02 needs db-01/]);
  const across = circle([{ vms: named('db-03'), needs: named('app-02'), ifNotReady: 'start' }]);
  t.match(across.waitingOn, [/db-03 needs app-02 of tier application waits for tier database with db-03/]);
  const { point } = world();
  const group = {
    ...shop,
    plan: {
      ...elaborate,
      dependencies: [{ vms: named('db-*'), needs: named('app-02'), ifNotReady: 'start' as const }],
    },
  };
  t.match(
    recoveryPlanFindings({ group, point, recovery: tokyo() }).find((f) => f.severity === 'problem'),
    { code: 'DR-PLAN-CIRCLE' },
  );
  t.end();
});

t.test('lines that name nobody, and overrides that cannot be followed, are told', (t) => {
  const { point } = world();
  const look = (plan: RecoveryPlanSettings) =>
    recoveryPlanFindings({ group: { ...shop, plan }, point, recovery: tokyo() });
  t.same(look(elaborate), [], 'the elaborate plan is right');
  const [idle, moments] = look({
    ...elaborate,
    dependencies: [{ vms: named('bd-*'), needs: named('db-01'), ifNotReady: 'start' }],
    prompts: [],
    callouts: (elaborate.callouts ?? []).map((each) => ({
      ...each,
      moment: { at: 'after-start', vm: 'x-*' },
    })),
  });
  t.match(idle, {
    severity: 'warning',
    code: 'DR-PLAN-IDLE-RULE',
    evidence: ['the VMs of dependency 1: name bd-*'],
  });
  t.match(moments, {
    code: 'DR-PLAN-IDLE-RULE',
    evidence: ['dns: the start of x-*', /license/, /status-page/],
  });
  const wrong = look({
    ...elaborate,
    overrides: [
      {
        ...override,
        vms: named('db-01', 'db-02'),
        networks: [
          { production: 'Database', here: 'Nowhere' },
          { production: 'Production LAN', here: 'Tokyo LAN' },
        ],
        addresses: [{ device: '0', ipv4: { address: '10.2.0.11/24', gateway: '' }, ipv6: null }],
        host: 'tokyo-9',
      },
    ],
  });
  t.same(
    wrong.map(({ severity, what }) => `${severity}: ${what}`),
    [
      'problem: Network Nowhere of an override is not there in pool tokyo-pool',
      'warning: An override changes network Production LAN, which none of its VMs uses',
      'warning: Host tokyo-9, which an override prefers, is not in pool tokyo-pool',
      'problem: An override gives the same addresses to several VMs',
    ],
  );
  t.same(wrong[0]?.vms, ['db-01', 'db-02']);
  t.end();
});
