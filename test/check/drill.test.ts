/** The checks of a drill: what is not isolated, not possible, or in the way. */
import t from 'tap';
import type { CheckContext } from '../../src/check/context.ts';
import { checkDrill } from '../../src/check/drill.ts';
import { checkMigrate } from '../../src/check/migrate.ts';
import { applyOverrides } from '../../src/check/override.ts';
import { withoutDrills } from '../../src/domain/drill.ts';
import type { Finding } from '../../src/domain/finding.ts';
import type { GroupState, Phase } from '../../src/domain/group.ts';
import type { Observation } from '../../src/domain/observation.ts';
import type { NetworkFacts } from '../../src/domain/pool.ts';
import type { NetworkMapping } from '../../src/domain/settings.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { afterCrash, cloning, drilled, drillId, filer, peace, tokyo } from '../plans/drill-world.ts';
import { now, pairs, productionPool, recoveryPool, replicaPoint } from '../support/two-sites.ts';

function context(observation: Observation, changes: Partial<CheckContext> = {}): CheckContext {
  const pool = (site: string) => {
    const view = observation.sites[site];
    return view?.reachable === true ? view.pool : null;
  };
  return {
    group: drilled,
    observation,
    recovery: pool('tokyo'),
    production: pool('osaka'),
    point: observation.catalog.points[0] ?? null,
    state: null,
    decisions: new Set(),
    standing: false,
    ...changes,
  };
}

const check = (observation: Observation, changes: Partial<CheckContext> = {}): Finding[] =>
  checkDrill(context(observation, changes), []);

function problems(findings: readonly Finding[]): string[] {
  return [...new Set(findings.filter((each) => each.severity === 'problem').map(({ code }) => code))];
}

function warnings(findings: readonly Finding[]): string[] {
  return [...new Set(findings.filter((each) => each.severity === 'warning').map(({ code }) => code))];
}

/** The drill network of the LAN, changed. */
function lan(changes: Partial<NetworkFacts>): Observation {
  const pool = tokyo();
  return peace({
    ...pool,
    networks: pool.networks.map((each) => (each.nameLabel === 'Drill LAN' ? { ...each, ...changes } : each)),
  });
}

function phase(phase: Phase, drill: GroupState['drill'] = null): GroupState {
  return {
    group: 'shop',
    phase,
    generation: 1,
    activeSite: 'osaka',
    roles: 'as-configured',
    currentRun: 'a run',
    changedAt: now,
    frozen: null,
    tombstone: null,
    drill,
  };
}

t.test('in quiet times a drill is possible', (t) => {
  const findings = check(peace());
  t.strictSame(problems(findings), []);
  t.ok(warnings(findings).includes('DR-DRILL-NETWORK-HOST'), 'copies on different hosts do not talk');
  const carried = lan({
    pifs: tokyo().hosts.map(({ uuid }) => ({ hostUuid: uuid, device: 'eth1', vlan: 999, attached: true })),
  });
  const told = check(carried).filter(
    ({ code, name }) => code === 'DR-DRILL-NETWORK-HOST' && name === 'Drill LAN',
  );
  t.strictSame(told, [], 'a VLAN that all hosts carry joins them');
  t.end();
});

t.test('networks that are missing, double, or not isolated', (t) => {
  t.strictSame(problems(check(peace(recoveryPool()))), ['DR-DRILL-NETWORK'], 'not there');
  const [double] = tokyo().networks.filter(({ nameLabel }) => nameLabel === 'Drill LAN');
  const pool = tokyo();
  t.ok(double);
  if (double === undefined) return t.end();
  const twice = peace({ ...pool, networks: [...pool.networks, { ...double, uuid: 'another' }] });
  t.match(check(twice), [{ code: 'DR-DRILL-NETWORK', next: /Rename all but one/ }]);

  const mapped = (change: (mapping: NetworkMapping) => Partial<NetworkMapping>) => ({
    group: { ...drilled, networks: drilled.networks.map((each) => ({ ...each, ...change(each) })) },
  });
  const unnamed = check(
    peace(),
    mapped(() => ({ drill: null })),
  );
  t.match(unnamed, [{ what: /No isolated network is named/ }, { what: /No isolated network is named/ }]);
  const real = check(
    peace(),
    mapped(({ recovery }) => ({ drill: recovery })),
  );
  t.match(problems(real), ['DR-DRILL-NETWORK'], 'the network of a real failover');

  const hosts = tokyo().hosts.map(({ uuid }) => uuid);
  const tagged = (vlan: number) =>
    hosts.map((hostUuid) => ({ hostUuid, device: 'eth0', vlan, attached: true }));
  t.ok(problems(check(lan({ pifs: tagged(-1) }))).includes('DR-DRILL-NETWORK-VLAN'), 'the VLAN of Tokyo LAN');
  const far = peace();
  const [point] = far.catalog.points;
  if (point === undefined) return t.end();
  const atProduction = { ...point, networks: point.networks.map((each) => ({ ...each, pifs: tagged(700) })) };
  const found = check(lan({ pifs: tagged(700) }), { point: atProduction });
  t.strictSame(problems(found), []);
  t.ok(warnings(found).includes('DR-DRILL-NETWORK-VLAN'), 'a number that production uses too');
  t.end();
});

t.test('arrays that cannot clone, or only by disturbing', (t) => {
  const array = (changes: Parameters<typeof filer>[0]) => check(peace(tokyo(), { arrays: [filer(changes)] }));
  t.strictSame(problems(array({ capabilities: { ...cloning, drill: 'none' } })), ['DR-DRILL-NO-CLONE']);
  t.strictSame(problems(array({ capabilities: null })), ['DR-DRILL-NO-CLONE'], 'unknown is not healthy');
  t.strictSame(problems(check(peace(tokyo(), { arrays: [] }))), ['DR-DRILL-NO-CLONE']);
  const inPlace = array({ capabilities: { ...cloning, drill: 'in-place' } });
  t.strictSame(problems(inPlace), ['DR-DRILL-DISTURBS']);
  const accepted = applyOverrides(inPlace, [{ code: 'DR-DRILL-DISTURBS', by: 'Ada', reason: 'Sunday' }]);
  t.strictSame(problems(accepted), [], 'a person may accept that');
  const never = applyOverrides(array({ capabilities: null }), [
    { code: 'DR-DRILL-NO-CLONE', by: 'Ada', reason: 'x' },
  ]);
  t.strictSame(problems(never), ['DR-DRILL-NO-CLONE'], 'and not that');
  t.strictSame(problems(array({ capabilities: { ...cloning, drillPausesTransfer: true } })), [
    'DR-DRILL-DISTURBS',
  ]);
  t.end();
});

t.test('what stands in the way', (t) => {
  t.strictSame(problems(check(peace(tokyo({ srs: productionPool().srs })))), ['DR-DRILL-SR-KNOWN']);
  t.ok(problems(check(afterCrash())).includes('DR-DRILL-OPEN'));
  const open = { id: drillId, run: 'a run', at: now };
  t.strictSame(
    problems(check(peace(), { state: phase('drilling', open) })),
    ['DR-DRILL-OPEN'],
    'remembered, though unseen',
  );
  for (const moving of ['migrating', 'failing-over', 'reprotecting'] as const)
    t.strictSame(problems(check(peace(), { state: phase(moving) })), ['DR-DRILL-PHASE'], moving);
  const waiting = { ...phase('stuck'), currentRun: '20260314T010000Z-failover-shop-1f3a' };
  t.strictSame(
    problems(check(peace(), { state: waiting })),
    ['DR-GROUP-STUCK'],
    'the stuck run keeps its place',
  );
  const givenUp = { ...waiting, currentRun: null };
  t.strictSame(problems(check(peace(), { state: givenUp })), [], 'one that was given up has none');
  t.ok(
    problems(checkMigrate(context(afterCrash()), [])).includes('DR-DRILL-OPEN'),
    'nothing planned begins beside a clone',
  );
  t.end();
});

t.test('an old replica is worth a word, and does not hinder a drill', (t) => {
  const old = peace(tokyo(), { pairs: pairs([replicaPoint(addSeconds(now, -7200))]) });
  t.strictSame(problems(check(old)), []);
  t.ok(warnings(check(old)).includes('DR-REPLICA-OLD'));
  t.end();
});

t.test('copies need room beside what runs, their originals included', (t) => {
  const pool = tokyo();
  const vms = productionPool().vms;
  const full = peace({ ...pool, hosts: pool.hosts.map((host) => ({ ...host, memoryFree: 2 ** 30 })), vms });
  t.ok(problems(check(full)).includes('DR-MEMORY'));
  t.end();
});

t.test('a failover is judged by the pool as it is when drills are gone', (t) => {
  const view = afterCrash().sites['tokyo'];
  if (view?.reachable !== true) throw new Error('no pool');
  const [host] = view.pool.hosts;
  const running = {
    ...view.pool,
    vms: view.pool.vms.map((vm) => ({
      ...vm,
      powerState: 'Running' as const,
      residentOn: host?.uuid ?? null,
    })),
  };
  const cleared = withoutDrills(running, 'shop');
  t.strictSame(
    cleared.vms.map((vm) => vm.nameLabel),
    ['own-01'],
    'only copies go',
  );
  t.strictSame(cleared.srs, []);
  const taken = running.vms.slice(0, 2).reduce((sum, vm) => sum + vm.memoryDynamicMax + vm.memoryOverhead, 0);
  t.equal(cleared.hosts[0]?.memoryFree, (host?.memoryFree ?? 0) + taken, 'their memory is free then');
  t.equal(withoutDrills(running, 'another'), running, 'drills of other groups stay');
  t.end();
});
