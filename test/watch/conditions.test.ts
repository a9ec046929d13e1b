/** Each alarm by itself: provoked over a quiet night, told once, closed when it is over; and one for a dead site. */
import t from 'tap';
import type { Alarm, AlarmKind, Severity } from '../../src/domain/alarm.ts';
import { backupDate, backupMark, backupVdiMark } from '../../src/domain/backup-vdi.ts';
import type { JobStanding, JobTurn } from '../../src/domain/jobs.ts';
import { defaultAlarms } from '../../src/domain/notice-settings.ts';
import type { Gap, SiteView } from '../../src/domain/observation.ts';
import type { RunBrief } from '../../src/domain/status.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { stepAlarms } from '../../src/watch/alarms.ts';
import { assess, type WatchFacts } from '../../src/watch/conditions.ts';
import { deadProduction, productionPool, recoveryPool, uuid } from '../support/two-sites.ts';
import { aLook, alive, now, quietly, shop, statusOf, watched } from './a-look.ts';

const rules = { remindSeconds: { critical: 3600, warning: 86_400 }, settleSeconds: 0 };

function told(open: readonly Alarm[], facts: WatchFacts) {
  const { alarms, news } = stepAlarms(open, assess(facts), facts.now, rules);
  return {
    open: alarms.filter(({ closedAt }) => closedAt === null),
    news,
    told: news.map(({ event, alarm }) => `${event} ${alarm.key}`),
  };
}

const status = (changes: Parameters<typeof statusOf>[1]): Partial<WatchFacts> => ({
  groups: [watched({ status: statusOf(shop, changes) })],
});
const gap = (source: string, code: Gap['problem']['code'], what = 'It does not answer'): Gap => ({
  source,
  problem: { code, what, next: 'Look there.' },
});
const gaps = (...list: readonly Gap[]): Partial<WatchFacts> => ({ observation: quietly({ gaps: list }) });
const run = (changes: Partial<RunBrief> = {}): RunBrief => ({
  id: '20260314T010000Z-failover-shop-0001',
  operation: 'failover',
  group: 'shop',
  by: 'on-call engineer',
  startedAt: addSeconds(now, -3600),
  endedAt: null,
  outcome: null,
  summary: null,
  ...changes,
});
const turn = (outcome: JobTurn['outcome']): JobTurn => ({
  slot: addSeconds(now, -900),
  startedAt: addSeconds(now, -900),
  endedAt: addSeconds(now, -880),
  outcome,
  run: 'run-1',
  summary: `it ended as ${outcome}`,
  missed: 0,
  madeUp: false,
});
const job = (changes: Partial<JobStanding>): JobStanding => ({
  job: 'export',
  group: 'shop',
  schedule: 'every 15 min',
  intervalSeconds: 900,
  nextAt: addSeconds(now, 60),
  last: turn('done'),
  lastGoodAt: addSeconds(now, -880),
  ...changes,
});
const tokyoWith = (changes: object): Partial<WatchFacts> => ({
  observation: quietly({
    sites: {
      osaka: alive(productionPool(), 'osaka'),
      tokyo: alive({ ...recoveryPool(), ...changes }, 'tokyo'),
    },
  }),
});
const certificates = (seconds: number) => [
  { hostUuid: uuid('host', 11), type: 'host', notAfter: addSeconds(now, seconds), sha256: 'b'.repeat(64) },
];
const refused = (site: SiteView): SiteView =>
  site.reachable
    ? site
    : {
        ...site,
        problem: {
          code: 'DR-POOL-PASSWORD',
          what: 'Cannot log in to pool osaka',
          next: 'Correct the password.',
        },
      };
const notReady = (
  because: readonly string[],
  codes: readonly Gap['problem']['code'][],
): Partial<WatchFacts> => ({
  groups: [watched({ view: { group: 'shop', readiness: 'not-ready', because, codes, next: 'Mend it.' } })],
});
const lastDrill = (changes: Partial<RunBrief>): Partial<WatchFacts> =>
  status({
    lastDrill: run({ operation: 'drill', endedAt: addSeconds(now, -600), outcome: 'done', ...changes }),
  });
const backup = (writtenAt: string | null): Partial<WatchFacts> => {
  const osaka = productionPool();
  const group = {
    ...shop,
    metadataBackup: {
      method: 'xenapi' as const,
      everySeconds: 86_400,
      history: 25,
      dumps: 1,
      bytes: 2 ** 30,
    },
  };
  const marked = osaka.srs.flatMap((sr, index) => {
    // The other SR has a fresh one: the one that lags behind counts.
    const at = index === 0 ? addSeconds(now, -60) : writtenAt;
    const [first] = osaka.vdis;
    return at === null || first === undefined
      ? []
      : [
          {
            ...first,
            uuid: `backup-${index}`,
            srUuid: sr.uuid,
            otherConfig: { [backupVdiMark]: backupMark(backupDate(at), at) },
          },
        ];
  });
  return {
    groups: [watched({ status: statusOf(shop, { lastRun: run({ operation: 'export' }) }) }, group)],
    observation: quietly({
      sites: {
        osaka: alive({ ...osaka, vdis: [...osaka.vdis, ...marked] }, 'osaka'),
        tokyo: alive(recoveryPool(), 'tokyo'),
      },
    }),
  };
};
const returned = (code: 'DR-SITE-RETURNED' | 'DR-GROUP-UNPROTECTED'): Partial<WatchFacts> =>
  status({
    phase: 'failed-over',
    activeSite: 'tokyo',
    readiness: 'not-ready',
    findings: [
      {
        severity: 'problem',
        code,
        about: 'group',
        name: 'shop',
        what: 'Site osaka answers again and still holds 24 VMs',
        evidence: ['not in quarantine: db-01'],
        vms: [],
        next: 'lifeboat quarantine shop',
      },
    ],
  });

type Case = readonly [
  name: string,
  facts: Partial<WatchFacts>,
  key: string,
  kind: AlarmKind,
  severity: Severity,
  what: RegExp,
];

const cases: readonly Case[] = [
  [
    'a site is lost',
    { observation: quietly({ sites: { osaka: deadProduction, tokyo: alive(recoveryPool(), 'tokyo') } }) },
    'site:osaka',
    'site-lost',
    'critical',
    /Site osaka does not answer/,
  ],
  [
    'a password is refused',
    {
      observation: quietly({
        sites: { osaka: refused(deadProduction), tokyo: alive(recoveryPool(), 'tokyo') },
      }),
    },
    'site:osaka',
    'credential',
    'critical',
    /does not let Lifeboat in/,
  ],
  [
    'an array is lost',
    gaps(
      gap('array filer-tokyo, volume tier1-copy', 'DR-ARRAY-UNREACHABLE'),
      gap('array filer-tokyo, points of tier2-copy', 'DR-ARRAY-UNREACHABLE'),
    ),
    'array:filer-tokyo',
    'array-lost',
    'critical',
    /Array filer-tokyo does not answer/,
  ],
  [
    'one volume cannot be asked',
    gaps(gap('array filer-tokyo, volume tier1-copy', 'DR-ARRAY-VOLUME')),
    'array:filer-tokyo',
    'array-lost',
    'critical',
    /does not tell of volume tier1-copy/,
  ],
  [
    'an array refuses the password',
    gaps(
      gap('array filer-osaka, volume tier1', 'DR-ARRAY-PASSWORD'),
      gap('array filer-osaka, volume tier2', 'DR-ARRAY-PASSWORD'),
    ),
    'array:filer-osaka',
    'credential',
    'critical',
    /filer-osaka does not let Lifeboat in/,
  ],
  [
    'a catalog target is lost',
    gaps(gap('catalog target away', 'DR-CATALOG-IO')),
    'catalog-target:away',
    'catalog',
    'warning',
    /Catalog target away is lost/,
  ],
  [
    'the catalog is closed',
    gaps(gap('catalog', 'DR-CATALOG-KEY')),
    'catalog',
    'catalog',
    'critical',
    /The catalog cannot be read/,
  ],
  [
    'a point is damaged',
    {
      observation: quietly({
        catalog: {
          observedAt: now,
          points: [],
          damaged: [{ id: 'shop/1', target: 'here', reason: 'a byte differs' }],
        },
      }),
    },
    'catalog-damage:here',
    'catalog',
    'warning',
    /target here are damaged/,
  ],
  [
    'an export failed',
    { jobs: [job({ last: turn('failed') })] },
    'export:shop',
    'export',
    'warning',
    /The export of group shop failed/,
  ],
  [
    'an export failed by hand',
    status({
      lastRun: run({
        operation: 'export',
        endedAt: addSeconds(now, -60),
        outcome: 'failed',
        summary: 'no space',
      }),
    }),
    'export:shop',
    'export',
    'warning',
    /The export of group shop failed/,
  ],
  [
    'exports are missed',
    {
      ...status({ point: { id: 'shop/1', takenAt: addSeconds(now, -7200), ageSeconds: 7200, vmCount: 24 } }),
      jobs: [job({ nextAt: addSeconds(now, -1000) })],
    },
    'export:shop',
    'export',
    'critical',
    /No recovery point of group shop was made in time: the newest is 2 h old/,
  ],
  [
    'an export is missed, and nothing is scheduled',
    status({ point: { id: 'shop/1', takenAt: addSeconds(now, -1000), ageSeconds: 1000, vmCount: 24 } }),
    'export:shop',
    'export',
    'critical',
    /was made in time/,
  ],
  [
    'the RPO is broken',
    status({ lossSeconds: 2460 }),
    'rpo:shop',
    'rpo',
    'critical',
    /RPO of group shop is broken: 41 min would be lost now, 15 min were promised/,
  ],
  [
    'metadata that is newer than the replica',
    status({ skewSeconds: 7200 }),
    'skew:shop',
    'skew',
    'warning',
    /2 h newer than its replica/,
  ],
  [
    'a replica that is newer than the metadata',
    status({ skewSeconds: -7200 }),
    'skew:shop',
    'skew',
    'warning',
    /2 h newer than its metadata/,
  ],
  [
    'readiness is lost',
    notReady(
      ['Site tokyo has no network named LAN (difference network-123456, since 2026-03-13)'],
      ['DR-NETWORK-MISSING'],
    ),
    'readiness:shop',
    'readiness',
    'critical',
    /could not fail over to site tokyo now/,
  ],
  [
    'the last drill is too old',
    lastDrill({ endedAt: addSeconds(now, -91 * 86_400) }),
    'drill:shop',
    'drill',
    'warning',
    /was 91 d ago/,
  ],
  ['there was no drill', status({ lastDrill: null }), 'drill:shop', 'drill', 'warning', /was never drilled/],
  [
    'the last drill failed',
    lastDrill({ outcome: 'failed', summary: 'db-01 did not boot' }),
    'drill:shop',
    'drill',
    'warning',
    /did not end well/,
  ],
  [
    'a certificate ends soon',
    tokyoWith({ certificates: certificates(20 * 86_400) }),
    'certificate:tokyo',
    'expiry',
    'warning',
    /ends in 20 d/,
  ],
  [
    'a certificate has ended',
    tokyoWith({ certificates: certificates(-60) }),
    'certificate:tokyo',
    'expiry',
    'critical',
    /has ended/,
  ],
  [
    'a licence ends soon',
    tokyoWith({
      hosts: recoveryPool().hosts.map((host) => ({
        ...host,
        licence: { edition: 'premium', expiresAt: addSeconds(now, 86_400) },
      })),
    }),
    'licence:tokyo',
    'expiry',
    'warning',
    /licence of a host of site tokyo ends in 1 d/,
  ],
  [
    'a password ends soon',
    {
      limits: {
        ...defaultAlarms,
        expiries: [{ name: 'password of filer-tokyo', at: addSeconds(now, 86_400) }],
      },
    },
    'expiry:password of filer-tokyo',
    'expiry',
    'warning',
    /^password of filer-tokyo ends in 1 d/,
  ],
  [
    'a host shows a new certificate',
    { ...tokyoWith({ certificates: certificates(10 ** 8) }), pins: new Map([['tokyo', ['a'.repeat(64)]]]) },
    'pins:tokyo',
    'credential',
    'warning',
    /refused by tokyo-1 of site tokyo/,
  ],
  [
    'the metadata backup was not written',
    backup(addSeconds(now, -3 * 86_400)),
    'metadata-backup:shop',
    'metadata-backup',
    'warning',
    /last written 3 d ago/,
  ],
  [
    'the metadata backup was never written',
    backup(null),
    'metadata-backup:shop',
    'metadata-backup',
    'warning',
    /never written/,
  ],
  [
    'a run is stuck',
    status({ currentRun: run({ outcome: 'stuck', endedAt: now }) }),
    'run:20260314T010000Z-failover-shop-0001',
    'run',
    'critical',
    /is stuck/,
  ],
  [
    'a run broke off',
    { interrupted: [run()] },
    'run:20260314T010000Z-failover-shop-0001',
    'run',
    'critical',
    /broke off/,
  ],
  [
    'a job failed',
    { jobs: [job({ job: 'verify', last: turn('failed') })] },
    'job:verify:shop',
    'job',
    'warning',
    /Job verify of group shop did not go well/,
  ],
  [
    'a job is late',
    { jobs: [job({ job: 'report', nextAt: addSeconds(now, -2000) })] },
    'job:report:shop',
    'job',
    'warning',
    /was not done in time/,
  ],
  [
    'Lifeboat could not act',
    {
      rehearsal: {
        takenAt: now,
        version: '1',
        tookSeconds: 3,
        outcome: 'unable',
        sections: [
          {
            about: 'array filer-tokyo',
            checks: [
              {
                verb: 'identify',
                outcome: 'failed',
                says: [],
                problem: { code: 'DR-ARRAY-PASSWORD', what: 'wrong password', next: '' },
              },
            ],
          },
        ],
        groups: [],
      },
    },
    'rehearsal',
    'rehearsal',
    'critical',
    /could not act now/,
  ],
  [
    'the rehearsal itself did not run',
    { jobs: [job({ job: 'rehearsal', group: null, last: turn('failed') })] },
    'job:rehearsal:',
    'rehearsal',
    'critical',
    /rehearsal of Lifeboat itself did not go well/,
  ],
  [
    'a configuration was refused',
    {
      configProblems: [
        {
          code: 'DR-CONFIG-VALUE',
          what: 'no duration',
          where: { file: 'sites.yaml', line: 3, column: 7 },
          next: 'Correct it.',
        },
      ],
    },
    'config',
    'config',
    'warning',
    /refused/,
  ],
  [
    'a channel is deaf',
    {
      channels: [
        { channel: 'oncall', waiting: 3, waitingSince: addSeconds(now, -1200), problem: 'no answer' },
      ],
    },
    'channel:oncall',
    'channel',
    'warning',
    /through channel oncall/,
  ],
];

for (const [name, facts, key, kind, severity, what] of cases)
  t.test(`${name}: told once, and once when it is over`, (t) => {
    const quiet = told([], aLook());
    t.strictSame(quiet.told, []);
    const begun = told(quiet.open, aLook(facts));
    t.strictSame(begun.told, [`raised ${key}`]);
    const [alarm] = begun.open;
    t.equal(alarm?.kind, kind);
    t.equal(alarm?.severity, severity);
    t.match(alarm?.what, what);
    t.not(alarm?.next, '');
    const later = (seconds: number): string => addSeconds(now, seconds);
    t.strictSame(told(begun.open, aLook({ ...facts, now: later(60) })).told, [], 'once');
    t.strictSame(told(begun.open, aLook({ now: later(120) })).told, [`closed ${key}`]);
    t.end();
  });

t.test('a site that was given up is back: told, and closed when its copies are put away', (t) => {
  const moved = told([], aLook(returned('DR-GROUP-UNPROTECTED')));
  t.strictSame(moved.told, ['raised readiness:shop']);
  const back = told(moved.open, aLook(returned('DR-SITE-RETURNED')));
  t.strictSame(back.told, ['raised returned:shop']);
  const dark = {
    ...returned('DR-GROUP-UNPROTECTED'),
    observation: quietly({ sites: { osaka: deadProduction, tokyo: alive(recoveryPool(), 'tokyo') } }),
  };
  t.strictSame(
    told(back.open, aLook(dark)).told,
    ['raised site:osaka'],
    'dark again, it is as dangerous as before',
  );
  t.strictSame(told(back.open, aLook(returned('DR-GROUP-UNPROTECTED'))).told, ['closed returned:shop']);
  t.end();
});

const osakaIsDark = quietly({
  sites: { osaka: deadProduction, tokyo: alive(recoveryPool(), 'tokyo') },
  gaps: [
    gap('array filer-osaka, volume tier1', 'DR-ARRAY-UNREACHABLE'),
    gap('array filer-osaka, volume tier2', 'DR-ARRAY-UNREACHABLE'),
  ],
});
const twenty = Array.from({ length: 20 }, (_, index) => {
  const group = { ...shop, name: `shop-${index}` };
  const old = statusOf(group, {
    lossSeconds: 5000,
    skewSeconds: 9000,
    point: { id: 'p', takenAt: addSeconds(now, -9000), ageSeconds: 9000, vmCount: 1 },
  });
  return watched(
    {
      status: old,
      view: {
        group: group.name,
        readiness: 'not-ready',
        because: ['the replica is old'],
        codes: ['DR-REPLICA-OLD'],
        next: null,
      },
    },
    group,
  );
});

t.test('one dead site is one alarm with its groups, and what follows from it stands in its words', (t) => {
  const dead = told([], aLook({ observation: osakaIsDark, groups: twenty }));
  t.strictSame(dead.told, ['raised site:osaka']);
  t.equal(dead.open[0]?.groups.length, 20);
  t.match(dead.open[0]?.evidence.join('\n'), /from it follows: The RPO of group shop-7 is broken/);
  t.match(dead.open[0]?.evidence.join('\n'), /from it follows: Array filer-osaka does not answer/);
  t.strictSame(
    told(dead.open, aLook({ observation: osakaIsDark, groups: twenty, now: addSeconds(now, 60) })).told,
    [],
  );
  const back = told(dead.open, aLook({ groups: twenty }));
  t.ok(back.told.includes('closed site:osaka'));
  t.equal(
    back.told.filter((line) => line.startsWith('raised rpo:')).length,
    20,
    'what still holds is an alarm of its own then',
  );
  t.end();
});

t.test('a dead site covers nothing that does not follow from it', (t) => {
  const broken = watched({
    view: {
      group: 'shop',
      readiness: 'not-ready',
      because: ['no network'],
      codes: ['DR-NETWORK-MISSING'],
      next: null,
    },
  });
  t.strictSame(told([], aLook({ observation: osakaIsDark, groups: [broken] })).told.sort(), [
    'raised readiness:shop',
    'raised site:osaka',
  ]);
  t.end();
});

t.test('a frozen group and one on its way are left alone', (t) => {
  const frozen = { by: 'storage team', at: now, reason: 'works' };
  const old = { lastDrill: null, point: null, frozen };
  t.strictSame(told([], aLook({ ...status(old), jobs: [job({ last: turn('failed') })] })).told, []);
  const state = {
    group: 'shop',
    phase: 'migrating' as const,
    generation: 4,
    activeSite: 'osaka',
    roles: 'as-configured' as const,
    currentRun: 'r',
    changedAt: now,
    frozen: null,
    tombstone: null,
    drill: null,
  };
  const moving = aLook({
    groups: [
      watched({ state, status: statusOf(shop, { phase: 'migrating', lossSeconds: 10_000, point: null }) }),
    ],
  });
  t.strictSame(told([], moving).told, []);
  t.end();
});

t.test('what cannot be known ends nothing', (t) => {
  const begun = told([], aLook(status({ lossSeconds: 5000 })));
  t.strictSame(begun.told, ['raised rpo:shop']);
  t.strictSame(told(begun.open, aLook(status({ lossSeconds: null }))).told, []);
  const ending = told([], aLook(tokyoWith({ certificates: certificates(86_400) })));
  const dark = quietly({
    sites: {
      osaka: alive(productionPool(), 'osaka'),
      tokyo: { ...deadProduction, site: 'tokyo' } as SiteView,
    },
  });
  t.notOk(told(ending.open, aLook({ observation: dark })).told.includes('closed certificate:tokyo'));
  t.end();
});

t.test('a new group waits for its first export, and nothing is lost before it', (t) => {
  const unprotected = status({
    phase: 'unprotected',
    point: null,
    lastDrill: null,
    lossSeconds: null,
    skewSeconds: null,
  });
  const view = {
    group: 'shop',
    readiness: 'not-ready' as const,
    because: ['no point'],
    codes: ['DR-POINT-NONE' as const],
    next: null,
  };
  const groups = [watched({ status: unprotected.groups?.[0]?.status ?? statusOf(shop), view })];
  const observation = quietly({ gaps: [gap('catalog target here', 'DR-CATALOG-MISSING')] });
  for (const last of [null, turn(null)])
    t.strictSame(told([], aLook({ groups, observation, jobs: [job({ last, lastGoodAt: null })] })).told, []);
  t.strictSame(
    told([], aLook({ groups, observation })).told,
    ['raised readiness:shop'],
    'nothing is scheduled',
  );
  t.strictSame(
    told([], aLook({ groups, observation, jobs: [job({ last: turn('failed'), lastGoodAt: null })] })).told,
    ['raised readiness:shop'],
  );
  t.end();
});

t.test('an export that broke off and was made up for waits for nobody', (t) => {
  const export1 = run({ operation: 'export', id: 'e', startedAt: addSeconds(now, -3600) });
  t.strictSame(told([], aLook({ interrupted: [export1] })).told, []);
  t.strictSame(told([], aLook({ interrupted: [{ ...export1, startedAt: addSeconds(now, -60) }] })).told, [
    'raised run:e',
  ]);
  t.end();
});
