import t from 'tap';
import type { CheckContext } from '../../src/check/context.ts';
import { blocks, checkFailover } from '../../src/check/failover.ts';
import { applyOverrides, neverOverridden } from '../../src/check/override.ts';
import type { Finding } from '../../src/domain/finding.ts';
import { addSeconds } from '../../src/domain/time.ts';
import {
  alive,
  deadProduction,
  disaster,
  host,
  network,
  now,
  pairs,
  pointOf,
  productionPool,
  quiet,
  recoveryPool,
  replicaPoint,
  shop,
  sr,
  vm,
} from '../support/two-sites.ts';

function context(changes: Partial<CheckContext> = {}): CheckContext {
  const observation = changes.observation ?? disaster();
  const pool = (site: string) => {
    const view = observation.sites[site];
    return view?.reachable === true ? view.pool : null;
  };
  return {
    group: shop,
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

const codes = (changes: Partial<CheckContext> = {}): string[] =>
  checkFailover(context(changes), []).map((f) => `${f.severity} ${f.code}`);

t.test('a dead site, a fresh replica and an empty recovery pool: nothing speaks against it', (t) => {
  t.same(codes(), []);
  t.end();
});

t.test('a site that answers is not failed over, unless a person gives it up', (t) => {
  const observation = quiet();
  t.same(codes({ observation }), ['problem DR-SOURCE-ALIVE']);
  const [finding] = checkFailover(context({ observation }), []);
  t.equal(finding?.vms.length, 24, 'the running twins are named');
  t.match(finding?.next, /--declare-lost/);
  t.same(codes({ observation, decisions: new Set(['declare-lost']) }), ['warning DR-SOURCE-ALIVE']);
  t.same(codes({ observation, standing: true }), [], 'in quiet times it is what we hope for');
  t.end();
});

t.test('hosts that answer while the pool cannot be read may still run its VMs', (t) => {
  const endpoints = [{ url: 'https://192.0.2.1', answered: true, detail: 'wrong password', observedAt: now }];
  const observation = disaster({
    sites: {
      osaka: { ...deadProduction, endpoints } as typeof deadProduction,
      tokyo: alive(recoveryPool(), 'tokyo'),
    },
  });
  t.same(codes({ observation }), ['problem DR-SOURCE-HALF-DEAD']);
  t.end();
});

t.test('an array that answers while no host does is worth a warning', (t) => {
  const seen = pairs([replicaPoint(addSeconds(now, -240))]).map((pair) => ({
    ...pair,
    source:
      pair.target === null
        ? null
        : { ...pair.target, pair: { array: 'filer-osaka', volume: 'tier1' }, role: 'source' as const },
  }));
  t.same(codes({ observation: disaster({ pairs: seen }) }), ['warning DR-SOURCE-ARRAY-ALIVE']);
  t.end();
});

t.test('a link that only the source knows to be down is told in quiet times', (t) => {
  const seen = (link: 'up' | 'down') => ({
    ...quiet(),
    pairs: pairs([replicaPoint(addSeconds(now, -240))]).map((pair) => {
      const [target, source] = [pair.target, { array: 'filer-osaka', volume: 'tier1' }];
      if (target === null) return pair;
      return {
        ...pair,
        target: { ...target, link: 'unknown' as const },
        source: { ...target, pair: source, role: 'source' as const, link },
      };
    }),
  });
  const told = (link: 'up' | 'down') =>
    codes({ observation: seen(link), standing: true }).filter((code) => /REPLICATION/.test(code));
  t.same(told('up'), []);
  t.same(told('down'), ['warning DR-REPLICATION-UNHEALTHY', 'warning DR-REPLICATION-UNHEALTHY']);
  t.end();
});

t.test('a replica older than the RPO needs a yes', (t) => {
  const observation = disaster({ pairs: pairs([replicaPoint(addSeconds(now, -41 * 60))]) });
  t.same(codes({ observation }), ['problem DR-REPLICA-OLD', 'problem DR-REPLICA-OLD'], 'one per SR');
  const [finding] = checkFailover(context({ observation }), []);
  t.equal(finding?.what, 'The replica of SR Tier 1 is 41 min old, the RPO is 15 min');
  t.same(codes({ observation, decisions: new Set(['accept-loss']) }), [
    'warning DR-REPLICA-OLD',
    'warning DR-REPLICA-OLD',
  ]);
  t.end();
});

t.test('missing facts never count as healthy', (t) => {
  t.same(codes({ observation: disaster({ pairs: [] }) }), [
    'problem DR-REPLICA-UNSEEN',
    'problem DR-REPLICA-UNSEEN',
  ]);
  t.same(codes({ observation: disaster({ pairs: pairs([]) }) }), [
    'problem DR-REPLICA-NONE',
    'problem DR-REPLICA-NONE',
  ]);
  const half = disaster({ pairs: pairs([replicaPoint(addSeconds(now, -60), false)]) });
  t.same(
    codes({ observation: half }),
    ['problem DR-REPLICA-NONE', 'problem DR-REPLICA-NONE'],
    'a half point is none',
  );
  const empty = disaster({
    catalog: {
      observedAt: now,
      points: [],
      damaged: [{ id: 'shop/x', target: 'disk', reason: 'flipped bit' }],
    },
  });
  t.same(codes({ observation: empty }), ['problem DR-POINT-NONE']);
  const dark = disaster({
    sites: { osaka: deadProduction, tokyo: { ...deadProduction, site: 'tokyo' } as typeof deadProduction },
  });
  t.same(codes({ observation: dark }), ['problem DR-RECOVERY-UNREACHABLE']);
  t.end();
});

t.test('networks: missing, ambiguous, matched only by bridge name', (t) => {
  const hosts = recoveryPool().hosts;
  const without = {
    ...recoveryPool(),
    networks: [network(11, 'Tokyo LAN', hosts, 'xenbr7'), network(13, 'Guest WiFi', hosts, 'xenbr2')],
  };
  const findings = checkFailover(context({ recovery: without }), []);
  t.same(
    findings.map((f) => f.code),
    ['DR-NETWORK-MISSING'],
  );
  t.equal(findings[0]?.name, 'Tokyo Database');
  t.same(findings[0]?.vms, ['db-01', 'db-02', 'db-03', 'db-04']);
  t.match(
    findings[0]?.evidence.join(),
    /connect the VMs to Guest WiFi, only because its bridge is also called xenbr2/,
  );
  const twice = {
    ...recoveryPool(),
    networks: [...recoveryPool().networks, network(14, 'Tokyo LAN', hosts, 'xapi9')],
  };
  t.same(codes({ recovery: twice }), ['problem DR-NETWORK-AMBIGUOUS']);
  const partly = {
    ...recoveryPool(),
    networks: [network(11, 'Tokyo LAN', hosts.slice(0, 2)), network(12, 'Tokyo Database', [])],
  };
  t.same(codes({ recovery: partly }), ['warning DR-NETWORK-INTERNAL', 'warning DR-NETWORK-NOT-EVERYWHERE']);
  t.end();
});

t.test('memory is counted host by host, not as a sum', (t) => {
  const [big] = pointOf(productionPool(), addSeconds(now, -600)).vms;
  const point = pointOf(productionPool(), addSeconds(now, -600));
  const huge = {
    ...point,
    vms: point.vms.map((v) => (v.uuid === big?.uuid ? { ...v, memoryDynamicMax: 90 * 1024 ** 3 } : v)),
  };
  const spread = {
    ...recoveryPool(),
    hosts: [host(11, 'tokyo-1', 64), host(12, 'tokyo-2', 64), host(13, 'tokyo-3', 64)],
  };
  const findings = checkFailover(context({ recovery: spread, point: huge }), []);
  t.same(
    findings.map((f) => f.code),
    ['DR-MEMORY'],
    '192 GiB in all, and yet no room for 90',
  );
  t.same(findings[0]?.vms, [big?.nameLabel]);
  t.end();
});

t.test('a disk on an SR that nobody replicates is a problem, an ISO library is not', (t) => {
  const facts = productionPool();
  const local = { ...sr(9, 'Local storage', facts.hosts.slice(0, 1)), shared: false };
  const moved = {
    ...facts,
    srs: [...facts.srs, local, { ...sr(8, 'ISO library', facts.hosts), contentType: 'iso' }],
    vdis: facts.vdis.map((d, i) => (i === 0 ? { ...d, srUuid: local.uuid } : d)),
  };
  const findings = checkFailover(context({ point: pointOf(moved, addSeconds(now, -600)) }), []);
  t.same(
    findings.map((f) => [f.code, f.name, f.vms]),
    [['DR-SR-NOT-REPLICATED', 'Local storage', ['db-01']]],
  );
  t.end();
});

t.test('an SR of the group that the point does not know is named: it would stay behind', (t) => {
  const known = pointOf(productionPool(), addSeconds(now, -600));
  const findings = checkFailover(context({ point: { ...known, srs: [] } }), []);
  const named = findings.filter((f) => f.code === 'DR-SR-NOT-IN-POINT').map((f) => f.name);
  t.same(named, ['Tier 1', 'Tier 2']);
  t.end();
});

t.test('an SR that both sites have plugged is not promoted over', (t) => {
  const osaka = productionPool();
  const tokyo = { ...recoveryPool(), srs: [sr(1, 'Tier 1', recoveryPool().hosts)] };
  const observation = disaster({ sites: { osaka: alive(osaka, 'osaka'), tokyo: alive(tokyo, 'tokyo') } });
  t.ok(codes({ observation, decisions: new Set(['declare-lost']) }).includes('problem DR-SR-TWICE'));
  t.end();
});

t.test('the group itself may say no', (t) => {
  const state = {
    group: 'shop',
    phase: 'protected' as const,
    generation: 3,
    activeSite: 'osaka',
    currentRun: null,
    changedAt: now,
    frozen: { by: 'on-call engineer', at: now, reason: 'migration of the filer' },
    tombstone: null,
    drill: null,
    roles: 'as-configured' as const,
  };
  t.same(codes({ state }), ['warning DR-GROUP-FROZEN']);
  t.same(codes({ state: { ...state, frozen: null, phase: 'failed-over', activeSite: 'tokyo' } }), [
    'problem DR-GROUP-FAILED-OVER',
  ]);
  t.same(codes({ state: { ...state, frozen: null, phase: 'stuck', currentRun: 'r1' } }), [
    'warning DR-GROUP-STUCK',
  ]);
  t.end();
});

t.test('problems come before warnings, in one order for one world', (t) => {
  const recovery = {
    ...recoveryPool(),
    hosts: recoveryPool().hosts.map((h, i) => (i === 2 ? { ...h, enabled: false } : h)),
    networks: [],
  };
  const findings = checkFailover(context({ recovery }), []);
  t.same(
    findings.map((f) => f.severity),
    ['problem', 'problem', 'warning'],
  );
  t.ok(blocks(findings));
  t.same(checkFailover(context({ recovery }), []), findings);
  for (const finding of findings) t.match(finding.next, /\.$/, `${finding.code} says what to do next`);
  t.end();
});

t.test('a VM of the group that runs at the recovery site already is left alone, and said', (t) => {
  const recovery = { ...recoveryPool(), vms: [vm(1, 'db-01', recoveryPool().networks[1]?.uuid ?? '')] };
  t.same(codes({ recovery }), ['warning DR-TWIN-RUNNING']);
  t.end();
});

t.test('a problem is overridden by name, with a person and a reason, and stays in the list', (t) => {
  const recovery = { ...recoveryPool(), networks: recoveryPool().networks.slice(0, 1) };
  const findings = checkFailover(context({ recovery }), []);
  t.same(
    findings.map((f) => `${f.severity} ${f.code}`),
    ['problem DR-NETWORK-MISSING'],
  );
  const by = { by: 'on-call engineer', reason: 'the databases come up by hand' };
  const accepted = applyOverrides(findings, [{ code: 'DR-NETWORK-MISSING', ...by }]);
  t.same(
    accepted.map((f) => f.severity),
    ['warning'],
  );
  t.match(accepted[0]?.evidence.join(), /accepted by on-call engineer: the databases come up by hand/);
  const alive = checkFailover(context({ observation: quiet() }), []);
  t.ok(
    blocks(applyOverrides(alive, [{ code: 'DR-SOURCE-ALIVE', ...by }])),
    'a living twin is never waved through',
  );
  t.end();
});

t.test('what would break an invariant is never waved through, by whatever name', (t) => {
  const problem = (code: Finding['code']): Finding => ({
    severity: 'problem',
    code,
    about: 'group',
    name: 'shop',
    what: 'It speaks against it',
    evidence: [],
    vms: [],
    next: 'Look.',
  });
  const findings = [...neverOverridden].map((code) => problem(code as Finding['code']));
  const overrides = findings.map(({ code }) => ({ code, by: 'on-call engineer', reason: 'it is urgent' }));
  t.same(
    applyOverrides(findings, overrides).filter(({ severity }) => severity !== 'problem'),
    [],
  );
  for (const code of [
    'DR-SOURCE-ALIVE',
    'DR-SR-TWICE',
    'DR-VMS-AT-BOTH-SITES',
    'DR-FACT-OLD',
    'DR-SITES-SAME-POOL',
  ])
    t.ok(neverOverridden.has(code), code);
  t.end();
});
