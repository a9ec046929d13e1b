/** Each rule on its own: it holds, it does not hold, and what it says when it cannot know (invariant 7). */
import t from 'tap';
import { checkAfterFailover } from '../../src/check/after-failover.ts';
import type { CheckContext, Rule } from '../../src/check/context.ts';
import { checkMigrate } from '../../src/check/migrate.ts';
import { gpusAreThere, memoryFits, vcpusFit } from '../../src/check/rules/capacity.ts';
import {
  catalogTargetsAnswer,
  catalogWasVerified,
  metadataIsYoung,
  pointKnowsEveryVm,
} from '../../src/check/rules/catalog.ts';
import { buildsFit, cpusFit } from '../../src/check/rules/compatibility.ts';
import {
  clocksAgree,
  factsAreFresh,
  pointIsOfThisPool,
  sitesAreTwoPools,
} from '../../src/check/rules/identity.ts';
import { drillsAreCleanedUp } from '../../src/check/rules/leftovers.ts';
import { networksAreThere, networksOnTheWayBack } from '../../src/check/rules/networks.ts';
import { membersServe } from '../../src/check/rules/put-away.ts';
import {
  driversAreThere,
  originalIsNotVisible,
  othersOnOurStorage,
  srsAreEverywhere,
  storageOfOneGroup,
} from '../../src/check/rules/storage.ts';
import { haIsSound, nothingStartsAtProduction } from '../../src/check/rules/traps.ts';
import { drillMark } from '../../src/domain/drill.ts';
import type { Finding } from '../../src/domain/finding.ts';
import type { HostFacts, VmFacts } from '../../src/domain/pool.ts';
import { quarantineKey } from '../../src/domain/quarantine.ts';
import type { VmOverride } from '../../src/domain/recovery-plan.ts';
import { nothing } from '../../src/domain/scope.ts';
import { findingLines } from '../../src/report/findings.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { golden } from '../report/golden.ts';
import {
  host,
  pairs,
  pointOf,
  productionPool,
  quiet,
  recoveryPool,
  replicaPoint,
  sr,
  uuid,
  vm,
} from '../support/two-sites.ts';
import {
  addSeconds,
  inDisaster,
  inQuietTimes,
  now,
  osaka,
  point,
  shop,
  tokyo,
  without,
} from './a-context.ts';

type Case = readonly [story: string, context: CheckContext, codes: readonly string[]];

const told: { readonly title: string; readonly findings: readonly Finding[] }[] = [];

/** Runs each case; whatever a rule finds goes into the golden file as a person reads it. */
function table(title: string, rule: Rule, cases: readonly Case[]): void {
  t.test(title, (t) => {
    for (const [story, context, codes] of cases) {
      const findings = rule(context);
      t.same(
        findings.map(({ severity, code }) => `${severity} ${code}`),
        codes,
        story,
      );
      for (const finding of findings) t.not(finding.next, '', 'it says what to do next');
      if (findings.length > 0) told.push({ title: `${title}: ${story}`, findings });
    }
    t.end();
  });
}

const gib = 1024 ** 3;
const hosts = recoveryPool().hosts;
const everyHost = (changes: Partial<HostFacts>): HostFacts[] =>
  hosts.map((each) => ({ ...each, ...changes }));
const vms = point({}).vms;
const [first] = vms;
if (first === undefined) throw new Error('the point has VMs');
const pointWith = (changes: Partial<typeof first>) =>
  point({ vms: vms.map((each) => (each === first ? { ...each, ...changes } : each)) });

table('the sites are two pools', sitesAreTwoPools, [
  ['two pools', inQuietTimes(), []],
  [
    'one and the same',
    inQuietTimes({ recovery: tokyo({ uuid: productionPool().uuid }) }),
    ['problem DR-SITES-SAME-POOL'],
  ],
  ['one is dark', inDisaster(), []],
]);

table('the point is of this pool', pointIsOfThisPool, [
  ['as ever', inQuietTimes(), []],
  [
    'production was set up anew',
    inQuietTimes({ production: osaka({ uuid: 'new' }) }),
    ['warning DR-POOL-CHANGED'],
  ],
  [
    'the addresses lead home',
    inDisaster({ recovery: tokyo({ uuid: productionPool().uuid }) }),
    ['problem DR-SITES-SAME-POOL'],
  ],
  ['no point', inQuietTimes({ point: null }), []],
]);

const looked = pairs([replicaPoint(addSeconds(now, -60))]);
table('facts are fresh', factsAreFresh, [
  ['just looked', inQuietTimes(), []],
  [
    'an old look at a pool',
    inQuietTimes({ recovery: tokyo({ observedAt: addSeconds(now, -3600) }) }),
    ['problem DR-FACT-OLD'],
  ],
  [
    'an old look at an array',
    inQuietTimes({
      observation: {
        ...quiet(),
        pairs: looked.slice(0, 1).map((pair) => ({
          ...pair,
          target: pair.target === null ? null : { ...pair.target, observedAt: addSeconds(now, -1800) },
        })),
      },
    }),
    ['problem DR-FACT-OLD'],
  ],
]);

table('clocks agree', clocksAgree, [
  ['alike', inQuietTimes(), []],
  ['ahead', inQuietTimes({ recovery: tokyo({ clockOffsetSeconds: 95 }) }), ['warning DR-CLOCK-OFFSET']],
  ['behind', inQuietTimes({ production: osaka({ clockOffsetSeconds: -3700 }) }), ['warning DR-CLOCK-OFFSET']],
  [
    'measured by the two times alone',
    inQuietTimes({
      recovery: { ...without(recoveryPool(), 'clockOffsetSeconds'), serverTime: addSeconds(now, 600) },
    }),
    ['warning DR-CLOCK-OFFSET'],
  ],
]);

table('memory fits', memoryFits, [
  ['plenty', inDisaster(), []],
  [
    'a VM larger than any host',
    inDisaster({ point: pointWith({ memoryDynamicMax: 100 * gib }) }),
    ['problem DR-MEMORY'],
  ],
  [
    'its overhead is what is too much',
    inDisaster({ point: pointWith({ memoryDynamicMax: 96 * gib - 1, memoryOverhead: 2 }) }),
    ['problem DR-MEMORY'],
  ],
  [
    'only with the reserve of HA',
    inDisaster({
      recovery: tokyo({
        hosts: everyHost({ memoryFree: 50 * gib }),
        haEnabled: true,
        haPlan: { hostFailuresToTolerate: 2, planExistsFor: 2, allowOvercommit: false },
      }),
    }),
    ['problem DR-MEMORY-HA'],
  ],
  [
    'HA that may be overcommitted',
    inDisaster({
      recovery: tokyo({
        hosts: everyHost({ memoryFree: 50 * gib }),
        haEnabled: true,
        haPlan: { hostFailuresToTolerate: 2, planExistsFor: 2, allowOvercommit: true },
      }),
    }),
    [],
  ],
  [
    'what HA keeps is not known',
    inDisaster({ recovery: { ...without(recoveryPool(), 'haPlan'), haEnabled: true } }),
    ['warning DR-FACT-UNKNOWN'],
  ],
  [
    'no host in service',
    inDisaster({ recovery: tokyo({ hosts: everyHost({ enabled: false }) }) }),
    ['problem DR-MEMORY'],
  ],
]);

t.test('memory and virtual CPUs are those that the recovery plan gives a VM at the recovery site', (t) => {
  const override = (memory: number, vcpus: number | null, site = 'tokyo'): VmOverride => ({
    vms: { ...nothing, names: [first.nameLabel] },
    site,
    networks: [],
    addresses: [],
    addressesInDrill: false,
    memory: { staticMax: memory, dynamicMax: memory, dynamicMin: memory },
    vcpus,
    host: null,
  });
  const codes = (rule: Rule, overrides: readonly VmOverride[], memoryDynamicMax: number): string[] => {
    const group = { ...shop, plan: { ...shop.plan, overrides } };
    return rule(inDisaster({ group, point: pointWith({ memoryDynamicMax }) })).map(({ code }) => code);
  };
  t.same(codes(memoryFits, [override(200 * gib, null)], gib), ['DR-MEMORY'], 'raised beyond every host');
  t.same(codes(memoryFits, [override(2 * gib, null)], 200 * gib), [], 'lowered until it fits');
  t.same(
    codes(memoryFits, [override(2 * gib, null, 'osaka')], 200 * gib),
    ['DR-MEMORY'],
    'of the other site',
  );
  t.same(
    codes(memoryFits, [override(200 * gib, null), override(2 * gib, null)], gib),
    ['DR-MEMORY'],
    'the first that says something decides',
  );
  t.same(codes(vcpusFit, [override(gib, 24)], gib), ['DR-VCPUS']);
  t.end();
});

table('virtual CPUs fit', vcpusFit, [
  ['plenty', inDisaster(), []],
  [
    'a VM wider than any host',
    inDisaster({ point: pointWith({ vcpusAtStartup: 24 }) }),
    ['problem DR-VCPUS'],
  ],
  [
    'a crowd',
    inDisaster({ recovery: tokyo({ hosts: everyHost({ cpuCount: 2 }).slice(0, 2) }) }),
    ['warning DR-VCPU-RATIO'],
  ],
  [
    'not known',
    inDisaster({ recovery: tokyo({ hosts: everyHost({ cpuCount: 0 }) }) }),
    ['warning DR-FACT-UNKNOWN'],
  ],
]);

table('graphics cards are there', gpusAreThere, [
  ['nobody needs one', inDisaster(), []],
  ['none there', inDisaster({ point: pointWith({ hasVgpu: true }) }), ['problem DR-GPU-NONE']],
  [
    'one there',
    inDisaster({
      point: pointWith({ hasVgpu: true }),
      recovery: tokyo({ hosts: everyHost({ gpuGroupUuids: ['g'] }) }),
    }),
    [],
  ],
  [
    'not known',
    inDisaster({
      point: pointWith({ hasVgpu: true }),
      recovery: tokyo({ hosts: hosts.map((each) => without(each, 'gpuGroupUuids')) }),
    }),
    ['warning DR-FACT-UNKNOWN'],
  ],
]);

t.test('a VM with a virtual GPU is placed on a host that has a card', (t) => {
  const one = everyHost({ memoryFree: 200 * gib }).map((each, index) =>
    index === 0 ? { ...each, gpuGroupUuids: ['g'], memoryFree: 2 * gib } : each,
  );
  const findings = memoryFits(
    inDisaster({ point: pointWith({ hasVgpu: true }), recovery: tokyo({ hosts: one }) }),
  );
  t.same(
    findings.map(({ code, vms }) => [code, vms]),
    [['DR-MEMORY', [first.nameLabel]]],
  );
  t.end();
});

const features = hosts[0]?.cpuFeatures ?? '';
table('CPUs fit', cpusFit, [
  ['alike', inDisaster(), []],
  [
    'a host lacks some',
    inDisaster({
      recovery: tokyo({
        hosts: [
          ...hosts.slice(0, 2),
          { ...host(13, 'tokyo-3', 96), cpuFeatures: '17cbfbff-f7fa3223-2c100800-00000001' },
        ],
      }),
    }),
    ['warning DR-CPU-FEATURES'],
  ],
  [
    'a VM that saw more than its hosts show now',
    inDisaster({
      point: pointWith({ bootCpu: { vendor: 'GenuineIntel', features: `${features}-00000003` } }),
    }),
    ['warning DR-CPU-FEATURES'],
  ],
  [
    'a VM whose last start tells nothing is judged by its hosts',
    inDisaster({
      point: pointWith({ bootCpu: { vendor: 'GenuineIntel', features: '' } }),
      recovery: tokyo({
        hosts: everyHost({ cpuFeatures: '17cbfbff-f7fa3223-2c100800-00000001' }),
      }),
    }),
    ['warning DR-CPU-FEATURES'],
  ],
  [
    'another make',
    inDisaster({ recovery: tokyo({ hosts: everyHost({ cpuVendor: 'AuthenticAMD' }).slice(0, 1) }) }),
    ['warning DR-CPU-VENDOR'],
  ],
  [
    'not known there',
    inDisaster({ recovery: tokyo({ hosts: everyHost({ cpuFeatures: '' }) }) }),
    ['warning DR-FACT-UNKNOWN'],
  ],
  [
    'not known in the point',
    inDisaster({
      point: point({ hosts: productionPool().hosts.map((each) => ({ ...each, cpuFeatures: '' })) }),
    }),
    ['warning DR-FACT-UNKNOWN'],
  ],
]);

const build = (major: number, minor: number) => ({ major, minor, text: `${major}.${minor}.0` });
table('builds fit', buildsFit, [
  ['alike', inQuietTimes(), []],
  [
    'the point is newer',
    inDisaster({ recovery: tokyo({ xapiBuild: build(25, 5) }) }),
    ['problem DR-BUILD-GATE'],
  ],
  [
    'production was updated since the point',
    inQuietTimes({ production: osaka({ xapiBuild: build(26, 1) }) }),
    ['warning DR-BUILD-GATE'],
  ],
  [
    'the recovery pool is newer',
    inQuietTimes({ recovery: tokyo({ xapiBuild: build(26, 1) }) }),
    ['warning DR-BUILD-WAY-BACK'],
  ],
  [
    'an old pool takes older documents of its own major number',
    inDisaster({ recovery: tokyo({ xapiBuild: build(1, 249) }), point: point({ xapiBuild: build(1, 14) }) }),
    ['warning DR-BUILD-WAY-BACK'],
  ],
  [
    'a pool before 21.1 refuses every other major number',
    inDisaster({
      recovery: tokyo({ xapiBuild: build(21, 0) }),
      point: point({ xapiBuild: build(1, 249) }),
    }),
    ['problem DR-BUILD-GATE'],
  ],
  ['nothing is known of production', inDisaster({ point: null }), []],
]);

const networks = recoveryPool().networks;
const lan = networks[0];
const database = networks[1];
if (lan === undefined || database === undefined) throw new Error('the recovery pool has networks');
const withLan = (changes: Partial<typeof lan>) => tokyo({ networks: [{ ...lan, ...changes }, database] });
table('networks are there', networksAreThere, [
  ['mapped', inDisaster(), []],
  [
    'down on a host',
    inDisaster({
      recovery: withLan({ pifs: lan.pifs.map((pif, index) => ({ ...pif, attached: index > 0 })) }),
    }),
    ['warning DR-NETWORK-UNPLUGGED'],
  ],
  [
    'hosts disagree',
    inDisaster({
      recovery: withLan({ pifs: lan.pifs.map((pif, index) => ({ ...pif, vlan: index === 2 ? 21 : 20 })) }),
    }),
    ['warning DR-NETWORK-VLAN'],
  ],
  [
    'another VLAN behind a mapping is what mappings are for',
    inDisaster({ recovery: withLan({ pifs: lan.pifs.map((pif) => ({ ...pif, vlan: 20 })) }) }),
    [],
  ],
  [
    'another VLAN behind the same name',
    inDisaster({
      group: { ...shop, networks: shop.networks.slice(1) },
      recovery: withLan({ nameLabel: 'Production LAN', pifs: lan.pifs.map((pif) => ({ ...pif, vlan: 20 })) }),
    }),
    ['warning DR-NETWORK-VLAN'],
  ],
  [
    'missing on a host',
    inDisaster({ recovery: withLan({ pifs: lan.pifs.slice(1) }) }),
    ['warning DR-NETWORK-NOT-EVERYWHERE'],
  ],
  ['smaller frames', inDisaster({ recovery: withLan({ mtu: 1400 }) }), ['warning DR-NETWORK-MTU']],
]);

table('networks on the way back', networksOnTheWayBack, [
  ['one to one', inQuietTimes(), []],
  [
    'two in one',
    inQuietTimes({
      group: { ...shop, networks: shop.networks.map((each) => ({ ...each, recovery: 'Tokyo LAN' })) },
    }),
    ['warning DR-NETWORK-WAY-BACK'],
  ],
]);

table('drivers are there', driversAreThere, [
  ['there', inDisaster(), []],
  [
    'absent',
    inDisaster({ recovery: tokyo({ storageDrivers: ['ext', 'lvm'] }) }),
    ['problem DR-SR-NO-DRIVER', 'problem DR-SR-NO-DRIVER'],
  ],
  [
    'not known',
    inDisaster({ recovery: without(recoveryPool(), 'storageDrivers') }),
    ['warning DR-FACT-UNKNOWN'],
  ],
]);

const tier1 = (pool: { readonly hosts: readonly HostFacts[] }) => sr(1, 'Tier 1', pool.hosts);
table('the original is not visible', originalIsNotVisible, [
  ['not attached', inDisaster(), []],
  [
    'attached from the address of production',
    inDisaster({ recovery: tokyo({ srs: [tier1(recoveryPool())] }) }),
    ['warning DR-SR-ORIGINAL-VISIBLE'],
  ],
  [
    'attached from elsewhere',
    inDisaster({
      recovery: tokyo({
        srs: [
          {
            ...tier1(recoveryPool()),
            pbds: tier1(recoveryPool()).pbds.map((pbd) => ({
              ...pbd,
              deviceConfig: { server: '198.51.100.9', serverpath: '/copy' },
            })),
          },
        ],
      }),
    }),
    [],
  ],
]);

table('SRs are everywhere', srsAreEverywhere, [
  ['on every host', inQuietTimes(), []],
  [
    'not on one',
    inQuietTimes({
      production: osaka({
        srs: productionPool()
          .srs.map((each) => ({
            ...each,
            pbds: each.pbds.map((pbd, index) => ({ ...pbd, attached: index > 0 })),
          }))
          .slice(0, 1),
      }),
    }),
    ['warning DR-SR-NOT-EVERYWHERE'],
  ],
  [
    'not attached at all',
    inQuietTimes({ recovery: tokyo({ srs: [{ ...tier1(recoveryPool()), pbds: [] }] }) }),
    [],
  ],
]);

const stranger = vm(1, 'reporting-01', productionPool().networks[0]?.uuid ?? '', { uuid: uuid('vm', 77) });
table('nobody else is on our storage', othersOnOurStorage, [
  ['nobody', inQuietTimes(), []],
  [
    'a stranger',
    inQuietTimes({ production: osaka({ vms: [...productionPool().vms, stranger] }) }),
    ['warning DR-SR-OTHERS'],
  ],
  ['production is dark', inDisaster(), []],
]);

const payroll = { ...shop, name: 'payroll', storage: shop.storage.slice(1) };
table('storage of one group', storageOfOneGroup, [
  ['alone', inQuietTimes({ otherGroups: [] }), []],
  ['listed twice', inQuietTimes({ otherGroups: [payroll] }), ['problem DR-SR-TWO-GROUPS']],
  [
    'across two groups',
    inQuietTimes({ group: { ...shop, storage: shop.storage.slice(0, 1) }, otherGroups: [payroll] }),
    ['problem DR-SR-TWO-GROUPS'],
  ],
  ['the other groups are not known', inQuietTimes(), []],
]);

const ha = {
  haEnabled: true,
  haPlan: { hostFailuresToTolerate: 1, planExistsFor: 1, allowOvercommit: false },
};
table('HA is sound', haIsSound, [
  ['off', inQuietTimes(), []],
  ['three hosts', inQuietTimes({ recovery: tokyo(ha) }), []],
  [
    'two hosts',
    inQuietTimes({ recovery: tokyo({ ...ha, hosts: hosts.slice(0, 2) }) }),
    ['warning DR-HA-FEW-HOSTS'],
  ],
  [
    'no plan any more',
    inQuietTimes({ recovery: tokyo({ ...ha, haPlan: { ...ha.haPlan, planExistsFor: 0 } }) }),
    ['warning DR-HA-PLAN'],
  ],
  [
    'not known',
    inQuietTimes({ recovery: { ...without(recoveryPool(), 'haPlan'), haEnabled: true } }),
    ['warning DR-FACT-UNKNOWN'],
  ],
]);

table('nothing starts by itself at production', nothingStartsAtProduction, [
  ['HA off', inDisaster(), []],
  ['HA was on', inDisaster({ point: point({ haEnabled: true }) }), ['warning DR-HA-RETURNS']],
  ['not known', inDisaster({ point: without(point({}), 'haEnabled') }), ['warning DR-HA-RETURNS']],
  [
    'auto-start',
    inDisaster({ point: point({ poolOtherConfig: { auto_poweron: 'true' } }) }),
    ['warning DR-AUTO-START'],
  ],
  ['in quiet times it is what they are for', inQuietTimes({ point: point({ haEnabled: true }) }), []],
]);

const drill = 'shop-20260313T020000Z-00ab';
const copy = vm(200, 'drill: db-01', lan.uuid, { otherConfig: { [drillMark]: drill } });
const state = {
  group: 'shop',
  phase: 'protected' as const,
  generation: 3,
  activeSite: 'osaka',
  currentRun: null,
  changedAt: now,
  frozen: null,
  tombstone: null,
  drill: null,
  roles: 'as-configured' as const,
};
table('drills are cleaned up', drillsAreCleanedUp, [
  ['none', inQuietTimes({ state }), []],
  ['a copy is left', inQuietTimes({ recovery: tokyo({ vms: [copy] }) }), ['warning DR-DRILL-LEFTOVER']],
  [
    'nothing is seen, and no clean-up ended',
    inQuietTimes({ state: { ...state, drill: { id: drill, run: 'r1', at: now } } }),
    ['warning DR-DRILL-LEFTOVER'],
  ],
  [
    'of another group',
    inQuietTimes({
      recovery: tokyo({ vms: [{ ...copy, otherConfig: { [drillMark]: 'payroll-20260313T020000Z-00ab' } }] }),
    }),
    [],
  ],
]);

const gap = {
  source: 'catalog target nas',
  problem: { code: 'DR-CATALOG-TARGET' as const, what: 'The directory /nas is not there', next: 'Mount it.' },
};
table('catalog targets answer', catalogTargetsAnswer, [
  ['all', inQuietTimes(), []],
  [
    'one is lost',
    inQuietTimes({ observation: { ...quiet(), gaps: [gap] } }),
    ['warning DR-CATALOG-TARGET-LOST'],
  ],
]);

table('the catalog was verified', catalogWasVerified, [
  ['lately', inQuietTimes({ unverifiedSince: addSeconds(now, -86_400) }), []],
  [
    'long ago',
    inQuietTimes({ unverifiedSince: addSeconds(now, -9 * 86_400) }),
    ['warning DR-CATALOG-UNVERIFIED'],
  ],
  ['nothing was ever saved', inQuietTimes({ unverifiedSince: null }), []],
]);

table('metadata is young', metadataIsYoung, [
  ['ten minutes', inQuietTimes(), []],
  [
    'an hour',
    inQuietTimes({
      observation: {
        ...quiet(),
        catalog: { observedAt: now, points: [point({ takenAt: addSeconds(now, -3600) })], damaged: [] },
      },
    }),
    ['warning DR-POINT-OLD'],
  ],
]);

const newcomer = vm(99, 'web-99', productionPool().networks[0]?.uuid ?? '');
table('the point knows every VM', pointKnowsEveryVm, [
  ['every one', inQuietTimes(), []],
  [
    'a newcomer',
    inQuietTimes({ production: osaka({ vms: [...productionPool().vms, newcomer] }) }),
    ['warning DR-VM-NOT-SAVED'],
  ],
  ['production is dark', inDisaster(), []],
]);

t.test('copies in quarantine are no members: neither moved nor saved', (t) => {
  const production = productionPool();
  const members = production.vms.filter((each) => !each.isTemplate && !each.isSnapshot);
  const putAway = (count: number): VmFacts[] =>
    members.map((each, i) =>
      i < count ? { ...each, otherConfig: { ...each.otherConfig, [quarantineKey]: 'moved' } } : each,
    );
  const told = (count: number, mayGoOn: boolean) =>
    membersServe(shop, putAway(count), mayGoOn).map(({ severity, code, vms }) => [
      severity,
      code,
      vms.length,
    ]);
  t.same(told(0, true), []);
  t.same(told(1, true), [['warning', 'DR-VMS-PUT-AWAY', 1]]);
  t.same(told(1, false), [['problem', 'DR-VMS-PUT-AWAY', 1]], 'a move leaves nobody behind');
  t.same(told(members.length, true), [['problem', 'DR-VMS-PUT-AWAY', members.length]]);
  const all = inQuietTimes({ production: { ...production, vms: putAway(members.length) } });
  t.ok(checkMigrate(all, []).some(({ code }) => code === 'DR-VMS-PUT-AWAY'));
  t.end();
});

t.test('what people read', (t) => {
  const text = told.map(
    ({ title, findings }) => `== ${title}\n\n${findingLines(findings, plainPaper).join('\n')}\n`,
  );
  golden(t, 'cases/rules.txt', import.meta.url, `${text.join('\n')}`);
  t.end();
});

t.test('twins are looked for among the VMs of now, and not of the recovery point alone', (t) => {
  const production = productionPool();
  const [young] = production.vms;
  if (young === undefined) throw new Error('there is a VM');
  const whole = pointOf(production, addSeconds(now, -600));
  const point = { ...whole, vms: whole.vms.filter((vm) => vm.uuid !== young.uuid) };
  const recovery = tokyo({ vms: [{ ...young, powerState: 'Running' as const }] });
  t.match(
    checkMigrate(inQuietTimes({ point, recovery }), []).filter(({ code }) => code === 'DR-VMS-AT-BOTH-SITES'),
    [{ vms: [young.nameLabel], severity: 'problem' }],
  );
  const state = {
    ...{ group: 'shop', phase: 'failed-over' as const, generation: 2, activeSite: 'tokyo' },
    ...{ roles: 'as-configured' as const, currentRun: null, changedAt: now, frozen: null, drill: null },
    tombstone: { site: 'osaka', at: now, run: 'f1' },
  };
  t.match(
    checkAfterFailover(inQuietTimes({ point: { ...point, vms: [] }, recovery, state })).filter(
      ({ code }) => code === 'DR-VMS-AT-BOTH-SITES',
    ),
    [{ vms: [young.nameLabel], severity: 'problem' }],
    'status says so too',
  );
  t.end();
});
