/** In what two sites do not fit together: each aspect by itself, with the VMs that it touches; and the ledger over time. */
import t from 'tap';
import { counts, type Difference, isAccepted, type LedgerEntry } from '../../src/domain/drift.ts';
import type { Finding } from '../../src/domain/finding.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { differencesOf } from '../../src/watch/differences.ts';
import { foldLedger, withAcceptance } from '../../src/watch/ledger.ts';
import { readinessView, sinceWhen } from '../../src/watch/readiness.ts';
import { shop, sr, uuid } from '../support/two-sites.ts';
import { aPair, now, statusOf } from './a-look.ts';

type Change = (home: PoolFacts, away: PoolFacts) => readonly [home: PoolFacts, away: PoolFacts];

const found = (change?: Change, pins?: ReadonlyMap<string, readonly string[]>): Difference[] =>
  differencesOf(aPair(change, pins), now);
const awayWith =
  (changes: Partial<PoolFacts>): Change =>
  (home, away) => [home, { ...away, ...changes }];
const homeWith =
  (changes: Partial<PoolFacts>): Change =>
  (home, away) => [{ ...home, ...changes }, away];
const network = (pool: PoolFacts, name: string, changes: object): PoolFacts['networks'] =>
  pool.networks.map((each) => (each.nameLabel === name ? { ...each, ...changes } : each));
const vmsOf = (difference: Difference | undefined): readonly string[] =>
  difference?.vms.flatMap(({ names }) => names) ?? [];

t.test('sites that fit together have no difference', (t) => {
  t.strictSame(found(), []);
  t.end();
});

const certificate = (hostNumber: number, sha256: string, notAfter = '2046-01-01T00:00:00.000Z') => ({
  hostUuid: uuid('host', hostNumber),
  type: 'host',
  notAfter,
  sha256,
});
const licensed =
  (edition: string, expiresAt: string | null = null): Change =>
  (home, away) => [
    {
      ...home,
      hosts: home.hosts.map((host) => ({ ...host, licence: { edition: 'premium', expiresAt: null } })),
    },
    { ...away, hosts: away.hosts.map((host) => ({ ...host, licence: { edition, expiresAt } })) },
  ];
const withRecord =
  (changes: object): Change =>
  (home, away) => [home, { ...away, srs: home.srs.slice(0, 1).map((each) => ({ ...each, ...changes })) }];

const aspects: readonly (readonly [
  name: string,
  change: Change,
  aspect: string,
  breaks: boolean,
  what: RegExp,
  vms: number,
])[] = [
  [
    'a network is missing',
    (home, away) => [home, { ...away, networks: away.networks.slice(0, 1) }],
    'network',
    true,
    /no network named Tokyo Database/,
    4,
  ],
  [
    'two networks of one name',
    (home, away) => [
      home,
      {
        ...away,
        networks: [
          ...away.networks,
          ...away.networks.slice(0, 1).map((each) => ({ ...each, uuid: 'other' })),
        ],
      },
    ],
    'network',
    true,
    /2 networks named Tokyo LAN/,
    20,
  ],
  [
    'another VLAN',
    (home, away) => [
      home,
      {
        ...away,
        networks: network(away, 'Tokyo LAN', {
          pifs: away.networks[0]?.pifs.map((pif) => ({ ...pif, vlan: 30 })),
        }),
      },
    ],
    'vlan',
    false,
    /untagged at site osaka, and Tokyo LAN is VLAN 30/,
    20,
  ],
  [
    'an internal network',
    (home, away) => [home, { ...away, networks: network(away, 'Tokyo LAN', { pifs: [] }) }],
    'vlan',
    false,
    /Tokyo LAN is internal/,
    20,
  ],
  [
    'another MTU',
    (home, away) => [{ ...home, networks: network(home, 'Database', { mtu: 9000 }) }, away],
    'mtu',
    false,
    /MTU of 9000 at site osaka, and Tokyo Database one of 1500/,
    4,
  ],
  [
    'an unplugged interface',
    (home, away) => [
      home,
      {
        ...away,
        networks: network(away, 'Tokyo LAN', {
          pifs: away.networks[0]?.pifs.map((pif, index) => ({ ...pif, attached: index > 0 })),
        }),
      },
    ],
    'network',
    false,
    /missing on 1 host/,
    20,
  ],
  [
    'no interface on any host',
    (home, away) => [
      home,
      {
        ...away,
        networks: network(away, 'Tokyo LAN', {
          pifs: away.networks[0]?.pifs.map((pif) => ({ ...pif, attached: false })),
        }),
      },
    ],
    'network',
    true,
    /missing on 3 hosts/,
    20,
  ],
  ['an SR is gone', homeWith({ srs: [sr(1, 'Tier 1', [])] }), 'sr', false, /no SR Tier 2/, 0],
  [
    'no driver',
    awayWith({ storageDrivers: ['ext', 'lvm'] }),
    'sr-type',
    true,
    /no driver for SR Tier 1 of type nfs/,
    4,
  ],
  [
    'another type',
    withRecord({ type: 'lvmoiscsi' }),
    'sr-type',
    true,
    /type nfs at site osaka and of type lvmoiscsi/,
    4,
  ],
  [
    'other options',
    withRecord({
      pbds: [
        {
          uuid: 'p',
          hostUuid: uuid('host', 11),
          attached: true,
          deviceConfig: { server: '198.51.100.9', nfsversion: '4' },
        },
      ],
    }),
    'device-config',
    false,
    /other options at site tokyo/,
    4,
  ],
  [
    'hosts that disagree',
    (home, away) => [
      {
        ...home,
        srs: home.srs.map((each) => ({
          ...each,
          pbds: each.pbds.map((pbd, index) => ({
            ...pbd,
            deviceConfig: {
              ...pbd.deviceConfig,
              server: `192.0.2.${50 + (each.nameLabel === 'Tier 1' && index === 0 ? 1 : 0)}`,
            },
          })),
        })),
      },
      away,
    ],
    'device-config',
    false,
    /reach SR Tier 1 in 2 different ways/,
    4,
  ],
  [
    'less hosts',
    (home, away) => [
      home,
      {
        ...away,
        hosts: away.hosts.map((host, index) => ({
          ...host,
          memoryTotal: host.memoryTotal * 2,
          enabled: index > 0,
        })),
        networks: away.networks,
      },
    ],
    'hosts',
    false,
    /2 hosts in service, site osaka has 3/,
    0,
  ],
  [
    'less memory',
    (home, away) => [
      home,
      { ...away, hosts: away.hosts.map((host) => ({ ...host, memoryTotal: host.memoryTotal / 2 })) },
    ],
    'memory',
    false,
    /192 GiB of memory, those of site osaka 384 GiB/,
    0,
  ],
  [
    'no room for all',
    (home, away) => [
      home,
      { ...away, hosts: away.hosts.map((host) => ({ ...host, memoryFree: 1024 ** 3 })) },
    ],
    'memory',
    false,
    /no room for all groups/,
    0,
  ],
  [
    'another make of CPU',
    (home, away) => [
      home,
      { ...away, hosts: away.hosts.map((host) => ({ ...host, cpuVendor: 'AuthenticAMD' })) },
    ],
    'cpu',
    false,
    /another make: AuthenticAMD/,
    0,
  ],
  [
    'less CPU features',
    (home, away) => [
      home,
      {
        ...away,
        hosts: away.hosts.map((host) => ({ ...host, cpuFeatures: '17cbfbff-f7fa3223-2c100800-00000020' })),
      },
    ],
    'cpu',
    false,
    /lack 1 feature/,
    0,
  ],
  [
    'an older build',
    awayWith({ xapiBuild: { major: 24, minor: 1, text: '24.1.0' } }),
    'build',
    true,
    /refuses the documents/,
    0,
  ],
  [
    'a newer build',
    awayWith({ xapiBuild: { major: 25, minor: 9, text: '25.9.0' } }),
    'build',
    false,
    /can move, and not come back/,
    0,
  ],
  [
    'another edition',
    licensed('free'),
    'licence',
    false,
    /licensed as free, those of site osaka as premium/,
    0,
  ],
  [
    'a licence that has ended',
    licensed('premium', addSeconds(now, -60)),
    'licence',
    true,
    /licence of tokyo-1, tokyo-2, tokyo-3 at site tokyo has ended/,
    0,
  ],
  [
    'a certificate that has ended',
    awayWith({ certificates: [certificate(11, 'a'.repeat(64), addSeconds(now, -60))] }),
    'certificate',
    false,
    /certificate of tokyo-1 at site tokyo has ended/,
    0,
  ],
];

for (const [name, change, aspect, breaks, what, vms] of aspects)
  t.test(name, (t) => {
    const all = found(change);
    const difference = all.find((each) => what.test(each.what));
    t.ok(difference !== undefined, all.map((each) => each.what).join('; '));
    t.equal(difference?.aspect, aspect);
    t.equal(difference?.breaks, breaks);
    t.equal(vmsOf(difference).length, vms);
    t.ok(
      difference?.vms.some(({ group }) => group === 'shop'),
      'it concerns the group',
    );
    t.strictSame(
      found(change).map(({ id }) => id),
      all.map(({ id }) => id),
      'the same sites, the same ids',
    );
    t.end();
  });

t.test('certificates that the settings do not know', (t) => {
  const [known, stranger] = ['a'.repeat(64), 'b'.repeat(64)];
  const shown = awayWith({ certificates: [certificate(11, known), certificate(12, stranger)] });
  const [difference] = found(shown, new Map([['tokyo', [known]]]));
  t.match(difference?.what, /tokyo-2 of site tokyo shows a certificate that sites\.yaml does not know/);
  t.strictSame(found(shown, new Map([['tokyo', []]])), [], 'a CA is trusted instead');
  t.strictSame(found(shown, new Map([['tokyo', [known, stranger]]])), []);
  t.end();
});

t.test('what differs in a new way is another difference; what moves by itself is not', (t) => {
  const mtu = (value: number): string | undefined =>
    found((home, away) => [{ ...home, networks: network(home, 'Database', { mtu: value }) }, away])[0]?.id;
  t.not(mtu(9000), mtu(4000));
  const free = (gib: number): string | undefined =>
    found((home, away) => [
      home,
      { ...away, hosts: away.hosts.map((host) => ({ ...host, memoryFree: gib * 1024 ** 3 })) },
    ])[0]?.id;
  t.equal(free(1), free(2));
  t.end();
});

t.test('passwords of a device_config are in no difference', (t) => {
  const secret = (home: PoolFacts): PoolFacts => ({
    ...home,
    srs: home.srs.map((each) => ({
      ...each,
      pbds: each.pbds.map((pbd, index) => ({
        ...pbd,
        deviceConfig: { ...pbd.deviceConfig, chappassword: 'hunter2', options: `o${index}` },
      })),
    })),
  });
  const text = JSON.stringify(found((home, away) => [secret(home), away]));
  t.match(text, /different ways/);
  t.notMatch(text, /hunter2/);
  t.end();
});

const osakaTokyo = ['osaka', 'tokyo'] as const;
const lookAt = (at: string, differences: readonly Difference[], seen = true) => ({
  at,
  differences,
  compared: seen ? [osakaTokyo] : [],
  configured: [osakaTokyo],
});

t.test('the ledger knows since when, survives a dark site, and forgets what is long gone', (t) => {
  const missing = found((home, away) => [home, { ...away, networks: away.networks.slice(0, 1) }]);
  const later = (days: number): string => addSeconds(now, days * 86_400);
  let ledger = foldLedger([], lookAt(now, missing));
  ledger = foldLedger(ledger, lookAt(later(1), missing));
  t.equal(ledger[0]?.firstSeenAt, now);
  t.equal(ledger[0]?.lastSeenAt, later(1));
  ledger = foldLedger(ledger, lookAt(later(2), [], false));
  t.equal(ledger[0]?.goneAt, null, 'a site that was not seen says nothing');
  ledger = foldLedger(ledger, lookAt(later(3), []));
  t.equal(ledger[0]?.goneAt, later(3));
  t.equal(foldLedger(ledger, lookAt(later(4), missing))[0]?.firstSeenAt, later(4), 'what comes back is new');
  t.strictSame(foldLedger(ledger, lookAt(later(40), [])), []);
  const moved = foldLedger(foldLedger([], lookAt(now, missing)), {
    at: later(1),
    differences: [],
    compared: [],
    configured: [],
  });
  t.equal(moved[0]?.goneAt, later(1), 'a pair that is no pair any more has no differences');
  t.end();
});

t.test('an acceptance holds until its day, and for this difference alone', (t) => {
  const missing = found((home, away) => [home, { ...away, networks: away.networks.slice(0, 1) }]);
  const ledger = foldLedger([], lookAt(now, missing));
  const id = ledger[0]?.id ?? '';
  const said = { at: now, by: 'head of network', reason: 'new switches', until: addSeconds(now, 86_400) };
  const accepted = withAcceptance(ledger, id, said) ?? [];
  const entry = accepted[0] as LedgerEntry;
  t.ok(counts(ledger[0] as LedgerEntry, now));
  t.notOk(counts(entry, now));
  t.ok(isAccepted(entry, addSeconds(now, 86_399)));
  t.notOk(isAccepted(entry, addSeconds(now, 86_400)));
  t.ok(counts(entry, addSeconds(now, 86_400)), 'it counts again');
  t.equal(withAcceptance(ledger, 'network-000000', said), null);
  t.end();
});

const networkMissing: Finding = {
  severity: 'problem',
  code: 'DR-NETWORK-MISSING',
  about: 'network',
  name: 'Tokyo Database',
  what: 'Site tokyo has no network named Tokyo Database, where network Database belongs',
  evidence: [],
  vms: ['db-01'],
  next: 'Create it.',
};

t.test(
  'readiness follows from the ledger: lost with the difference that did it, and back when it is accepted',
  (t) => {
    const missing = found((home, away) => [home, { ...away, networks: away.networks.slice(0, 1) }]);
    const ledger = foldLedger([], lookAt(now, missing));
    const status = statusOf(shop, { readiness: 'not-ready', findings: [networkMissing] });
    const lost = readinessView(status, ledger, now);
    t.equal(lost.readiness, 'not-ready');
    t.match(lost.because, [
      new RegExp(`no network named Tokyo Database.*difference ${ledger[0]?.id}, since ${now}`),
    ]);
    const said = { at: now, by: 'head of network', reason: 'new switches', until: addSeconds(now, 86_400) };
    const accepted = withAcceptance(ledger, ledger[0]?.id ?? '', said) ?? [];
    t.match(readinessView(status, accepted, now), { readiness: 'ready-with-warnings', because: [] });
    t.equal(readinessView(status, accepted, said.until).readiness, 'not-ready', 'its day has come');
    const other = {
      ...networkMissing,
      code: 'DR-REPLICA-NONE' as const,
      about: 'array' as const,
      name: 'filer-tokyo tier1-copy',
    };
    t.equal(
      readinessView(
        statusOf(shop, { readiness: 'not-ready', findings: [networkMissing, other] }),
        accepted,
        now,
      ).readiness,
      'not-ready',
    );
    t.equal(readinessView(statusOf(shop, { readiness: 'unknown' }), ledger, now).readiness, 'unknown');
    t.equal(readinessView(statusOf(shop), [], now).readiness, 'ready');
    t.end();
  },
);

t.test('since when a group is as ready as it is', (t) => {
  const view = (readiness: 'ready' | 'not-ready') => ({
    group: 'shop',
    readiness,
    because: [],
    codes: [],
    next: null,
  });
  const first = sinceWhen([], [view('ready')], now);
  t.equal(sinceWhen(first, [view('ready')], addSeconds(now, 60))[0]?.since, now);
  t.equal(sinceWhen(first, [view('not-ready')], addSeconds(now, 60))[0]?.since, addSeconds(now, 60));
  t.end();
});
