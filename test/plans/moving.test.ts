/** Plans that move a group on purpose, and those that bring its protection in order again, as people read them. */
import t from 'tap';
import { checkMigrate } from '../../src/check/migrate.ts';
import { checkReprotect } from '../../src/check/reprotect.ts';
import { drillMark } from '../../src/domain/drill.ts';
import type { GroupState, Roles } from '../../src/domain/group.ts';
import type { Observation, PairObservation } from '../../src/domain/observation.ts';
import { mirrored } from '../../src/domain/orientation.ts';
import type { Plan } from '../../src/domain/plan.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import { quarantineKey } from '../../src/domain/quarantine.ts';
import type { Divergence, PairView } from '../../src/domain/replication.ts';
import { matchableVms, nothing } from '../../src/domain/scope.ts';
import type { GroupSettings } from '../../src/domain/settings.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planMigrate } from '../../src/plan/migrate.ts';
import { planReprotect } from '../../src/plan/reprotect.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { golden } from '../report/golden.ts';
import {
  alive,
  deadProduction,
  disaster,
  now,
  pairs,
  pointOf,
  productionPool,
  recoveryPool,
  replicaPoint,
  shop,
} from '../support/two-sites.ts';

/** The one guest without an agent. */
const agentless = 'app-05';

const state: GroupState = {
  group: 'shop',
  phase: 'protected',
  generation: 4,
  activeSite: 'osaka',
  roles: 'as-configured',
  currentRun: null,
  changedAt: now,
  frozen: null,
  tombstone: null,
  drill: null,
};
const failedOver: GroupState = {
  ...state,
  phase: 'failed-over',
  activeSite: 'tokyo',
  tombstone: { site: 'osaka', at: now, run: '20260314T013000Z-failover-shop-1f3a' },
};

/** Both arrays seen, with these roles. */
function bothArrays(source: PairView['role'], target: PairView['role']): PairObservation[] {
  return pairs([replicaPoint(addSeconds(now, -240))]).flatMap((pair) => {
    const { target: seen } = pair;
    if (seen === null) return [];
    const view = (role: PairView['role']): PairView => ({ ...seen, role, link: 'up' });
    return [{ ...pair, source: view(source), target: view(target) }];
  });
}

/** Every guest that runs has an agent, but for one. */
function withAgents(pool: PoolFacts): PoolFacts {
  const guest = { networks: {}, driversDetected: true, live: true };
  return {
    ...pool,
    vms: pool.vms.map((vm) =>
      vm.powerState === 'Running' && vm.nameLabel !== agentless ? { ...vm, guest } : vm,
    ),
  };
}

/** Everybody answers; the pools as given. */
function look(osaka: PoolFacts, tokyo: PoolFacts, seen: readonly PairObservation[]): Observation {
  return disaster({
    sites: { osaka: alive(withAgents(osaka), 'osaka'), tokyo: alive(withAgents(tokyo), 'tokyo') },
    pairs: [...seen],
  });
}

/** Tokyo after it took over: the group's VMs and SRs on its own networks. */
function tokyoServing(): PoolFacts {
  const from = productionPool();
  const tokyo = recoveryPool();
  const [lan, database] = tokyo.networks;
  const networkOf = new Map(from.networks.map(({ uuid, nameLabel }) => [uuid, nameLabel]));
  return {
    ...tokyo,
    appliances: from.appliances,
    vdis: from.vdis,
    srs: from.srs.map((sr) => ({
      ...sr,
      pbds: tokyo.hosts.map((host) => ({
        uuid: `pbd-${sr.uuid}-${host.uuid}`,
        hostUuid: host.uuid,
        attached: true,
        deviceConfig: sr.pbds[0]?.deviceConfig ?? {},
      })),
    })),
    vms: from.vms.map((vm) => ({
      ...vm,
      vifs: vm.vifs.map((vif) => ({
        ...vif,
        networkUuid:
          (/database/i.test(networkOf.get(vif.networkUuid) ?? '') ? database : lan)?.uuid ?? vif.networkUuid,
      })),
    })),
  };
}

/** Osaka with what a reprotection left there: halted copies that nothing starts. */
function osakaPutAway(): PoolFacts {
  const osaka = productionPool();
  return {
    ...osaka,
    hosts: osaka.hosts.map((host) => ({ ...host, memoryFree: host.memoryTotal })),
    srs: osaka.srs.map((sr) => ({ ...sr, pbds: sr.pbds.map((pbd) => ({ ...pbd, attached: false })) })),
    vms: osaka.vms.map((vm) => ({
      ...vm,
      powerState: 'Halted',
      otherConfig: { ...vm.otherConfig, [quarantineKey]: 'moved to site tokyo' },
      blockedOperations: { start: 'moved to site tokyo' },
    })),
  };
}

interface MoveOptions {
  readonly roles?: Roles;
  readonly decisions?: readonly string[];
}

function migratePlan(
  operation: 'migrate' | 'failback',
  group: GroupSettings,
  observation: Observation,
  { roles = 'as-configured', decisions = [] }: MoveOptions = {},
): Plan {
  const from = observation.sites[group.production];
  const production = from?.reachable === true ? from.pool : null;
  return planMigrate({
    operation,
    planId: `${operation}-shop-20260314T020000Z-0001`,
    group,
    roles,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation,
    vms: production === null ? [] : matchableVms(production),
    lastPointId: 'shop/20260314T020000Z-0001',
    firstPointId: 'shop/20260314T020001Z-0002',
    force: decisions.includes('force-shutdown'),
  });
}

function migrateText(
  operation: 'migrate' | 'failback',
  group: GroupSettings,
  observation: Observation,
  options: MoveOptions = {},
): string {
  const { roles = 'as-configured', decisions = [] } = options;
  const from = observation.sites[group.production];
  const to = observation.sites[group.recovery];
  const production = from?.reachable === true ? from.pool : null;
  const recovery = to?.reachable === true ? to.pool : null;
  const plan = migratePlan(operation, group, observation, options);
  const findings = checkMigrate(
    {
      group,
      observation,
      recovery,
      production,
      point: observation.catalog.points[0] ?? null,
      state: { ...state, roles },
      decisions: new Set(decisions),
      standing: false,
    },
    [],
  );
  const confirm = { site: group.recovery, title: group.recovery, pool: recovery?.nameLabel ?? '' };
  return planText(
    { plan, digest: 'd'.repeat(64), findings, observation, decisions: [], confirm } as Parameters<
      typeof planText
    >[0],
    plainPaper,
    'runbook',
  );
}

function reprotectText(
  observation: Observation,
  options: {
    readonly decisions?: readonly string[];
    readonly quarantineOnly?: boolean;
    readonly divergence?: Divergence;
  } = {},
): string {
  const { decisions = [], quarantineOnly = false } = options;
  const old = observation.sites['osaka'];
  const here = observation.sites['tokyo'];
  const production = old?.reachable === true ? old.pool : null;
  const recovery = here?.reachable === true ? here.pool : null;
  const vms = recovery === null ? [] : matchableVms(recovery);
  const stale = production === null ? [] : matchableVms(production);
  const nothing: Divergence = {
    common: replicaPoint(addSeconds(now, -240)),
    pointsLost: 0,
    bytesLost: 0,
    says: [],
  };
  const divergence = new Map(shop.storage.map(({ sr }) => [sr, options.divergence ?? nothing]));
  const plan = planReprotect({
    planId: 'reprotect-shop-20260314T020000Z-0001',
    group: shop,
    state: failedOver,
    configDigest: 'c'.repeat(64),
    generation: 5,
    observation,
    vms,
    stale,
    divergence,
    discard: decisions.includes('discard-changes'),
    stopOld: decisions.includes('stop-old'),
    quarantineOnly,
    firstPointId: 'shop/20260314T020000Z-0001',
  });
  const findings = checkReprotect({
    context: {
      group: shop,
      observation,
      recovery,
      production,
      point: observation.catalog.points[0] ?? null,
      state: failedOver,
      decisions: new Set(decisions),
      standing: false,
    },
    stale: new Set(stale.map((vm) => vm.uuid)),
    serving: new Set(vms.map((vm) => vm.uuid)),
    divergence,
    quarantineOnly,
  });
  return planText({ plan, digest: 'd'.repeat(64), findings }, plainPaper, 'runbook');
}

t.test('a planned migration', (t) => {
  const observation = look(productionPool(), recoveryPool(), bothArrays('source', 'target'));
  golden(t, 'cases/migrate.plan.txt', import.meta.url, migrateText('migrate', shop, observation));
  t.end();
});

t.test('VMs stop in the reverse of the order in which they start, inside a tier as well', (t) => {
  const named = (...names: string[]) => ({ ...nothing, names });
  const dependencies = [
    { vms: named('db-03'), needs: named('db-01'), ifNotReady: 'start' as const },
    { vms: named('db-01'), needs: named('db-02'), ifNotReady: 'start' as const },
    { vms: named('web-12'), needs: named('db-04'), ifNotReady: 'start' as const },
  ];
  const group = { ...shop, plan: { ...shop.plan, dependencies } };
  const observation = look(productionPool(), recoveryPool(), bothArrays('source', 'target'));
  const { steps } = migratePlan('migrate', group, observation);
  const after = (vm: string): readonly string[] =>
    steps.find((step) => step.id === `shut-down-${vm}`)?.after ?? [];
  t.ok(after('db-01').includes('shut-down-db-03'));
  t.ok(after('db-02').includes('shut-down-db-01'));
  t.ok(after('db-04').includes('shut-down-web-12'), 'whoever needs it from another tier');
  t.notOk(
    after('db-03').some((id) => id.startsWith('shut-down-db-')),
    'nobody of its tier needs it',
  );
  for (const vm of ['db-01', 'db-03']) t.ok(after(vm).includes('shut-down-app-01'), 'later tiers come first');
  const place = (vm: string): number => steps.findIndex((step) => step.id === `shut-down-${vm}`);
  t.ok(place('db-03') < place('db-01') && place('db-01') < place('db-02'), 'and they are listed so');
  t.end();
});

t.test('a planned migration that would go wrong', (t) => {
  const osaka = productionPool();
  const [first, ...rest] = osaka.vms;
  if (first === undefined) throw new Error('the pool has VMs');
  const uneasy = { ...osaka, vms: [{ ...first, powerState: 'Suspended' as const }, ...rest] };
  const tokyo = { ...recoveryPool(), vms: [{ ...first, residentOn: null }] };
  const observation = look(uneasy, tokyo, bothArrays('source', 'split'));
  golden(t, 'cases/migrate-blocked.plan.txt', import.meta.url, migrateText('migrate', shop, observation));
  t.end();
});

t.test('a failback', (t) => {
  const serving = tokyoServing();
  const observation = {
    ...look(osakaPutAway(), serving, bothArrays('source', 'target')),
    catalog: {
      observedAt: now,
      points: [{ ...pointOf(serving, addSeconds(now, -600)), site: 'tokyo' }],
      damaged: [],
    },
  };
  const text = migrateText('failback', mirrored(shop), observation, { roles: 'swapped' });
  golden(t, 'cases/failback.plan.txt', import.meta.url, text);
  t.end();
});

t.test('a move to where the group is already has nothing to do', (t) => {
  const observation = look(productionPool(), recoveryPool(), bothArrays('source', 'target'));
  const text = migrateText('failback', shop, observation);
  t.match(text, /Nothing is left to do: the group runs at site osaka already/);
  t.notMatch(text, /Steps:/);
  t.end();
});

t.test('a move from a site that does not answer waits', (t) => {
  const observation = disaster({ sites: { osaka: deadProduction, tokyo: alive(recoveryPool(), 'tokyo') } });
  const text = migrateText('migrate', shop, observation);
  t.match(text, /the pool of site osaka, which cannot be read/);
  t.match(text, /lifeboat failover shop/);
  t.notMatch(text, /Steps:/);
  t.end();
});

t.test('a reprotection when both sides hold the same', (t) => {
  const osaka = productionPool();
  const halted = { ...osaka, vms: osaka.vms.map((vm) => ({ ...vm, powerState: 'Halted' as const })) };
  const observation = look(halted, tokyoServing(), bothArrays('split', 'promoted'));
  golden(t, 'cases/reprotect.plan.txt', import.meta.url, reprotectText(observation));
  t.end();
});

t.test('a reprotection that throws away what the old site wrote alone', (t) => {
  const divergence: Divergence = {
    common: replicaPoint(addSeconds(now, -7200)),
    pointsLost: 2,
    bytesLost: 734_003_200,
    says: ['2 points, 700 MiB, written at array filer-osaka after the last point that arrived'],
  };
  const observation = look(productionPool(), tokyoServing(), bothArrays('split', 'promoted'));
  golden(t, 'cases/reprotect-blocked.plan.txt', import.meta.url, reprotectText(observation, { divergence }));
  const decisions = ['discard-changes', 'stop-old'];
  golden(
    t,
    'cases/reprotect-discard.plan.txt',
    import.meta.url,
    reprotectText(observation, { divergence, decisions }),
  );
  t.end();
});

t.test('a quarantine as soon as the old site answers', (t) => {
  const osaka = productionPool();
  const halted = { ...osaka, vms: osaka.vms.map((vm) => ({ ...vm, powerState: 'Halted' as const })) };
  const observation = { ...look(halted, tokyoServing(), []), pairs: pairs([]) };
  golden(
    t,
    'cases/quarantine.plan.txt',
    import.meta.url,
    reprotectText(observation, { quarantineOnly: true }),
  );
  t.end();
});

t.test('a reprotection waits for a site that is still dead', (t) => {
  const observation = disaster({
    sites: { osaka: deadProduction, tokyo: alive(tokyoServing(), 'tokyo') },
    pairs: pairs([]),
  });
  const text = reprotectText(observation);
  t.match(text, /site osaka to come back: its pool cannot be read/);
  t.notMatch(text, /Steps:/);
  t.end();
});

t.test('a reprotection waits until a drill at the serving site is cleaned up; a quarantine need not', (t) => {
  const tokyo = tokyoServing();
  const [first] = tokyo.vms;
  if (first === undefined) throw new Error('there is a VM');
  const copy = {
    ...first,
    uuid: 'copy',
    nameLabel: `drill: ${first.nameLabel}`,
    powerState: 'Halted' as const,
    otherConfig: { [drillMark]: 'shop-20260314T010000Z-0001' },
  };
  const observation = look(
    osakaPutAway(),
    { ...tokyo, vms: [...tokyo.vms, copy] },
    bothArrays('source', 'promoted'),
  );
  t.match(reprotectText(observation), /DR-DRILL-OPEN[\s\S]*lifeboat drill cleanup shop/);
  t.notMatch(reprotectText(observation, { quarantineOnly: true }), /DR-DRILL-OPEN/);
  t.end();
});

t.test(
  'a migration waits for storage that the pool does not know: its pair would stay the wrong way round',
  (t) => {
    const renamed = {
      ...shop,
      storage: shop.storage.map((each, index) => (index === 0 ? { ...each, sr: 'gone' } : each)),
    };
    const observation = look(productionPool(), recoveryPool(), bothArrays('source', 'target'));
    const plan = planMigrate({
      operation: 'migrate',
      planId: 'migrate-shop-1',
      group: renamed,
      roles: 'as-configured',
      configDigest: 'c',
      generation: 1,
      observation,
      vms: matchableVms(productionPool()),
      lastPointId: 'shop/1',
      firstPointId: 'shop/2',
      force: false,
    });
    t.same(plan.steps, []);
    t.match(plan.waitingOn.join('; '), /SR gone, which the pool of site osaka does not know/);
    t.end();
  },
);
