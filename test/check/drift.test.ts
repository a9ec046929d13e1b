/** What changed between two looks at the sites, and whom it touches. */
import t from 'tap';
import { driftBetween } from '../../src/check/drift.ts';
import type { PoolFacts } from '../../src/domain/pool.ts';
import { lookOf, type SitesLook } from '../../src/domain/site-look.ts';
import { findingLines } from '../../src/report/findings.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { golden } from '../report/golden.ts';
import { host, productionPool, recoveryPool, shop } from '../support/two-sites.ts';
import { osaka, point, tokyo } from './a-context.ts';

const newest = point({});
const srTypes = new Map(newest.srs.map((sr) => [sr.uuid, sr.type]));
const before: SitesLook = { production: lookOf(productionPool()), recovery: lookOf(recoveryPool()) };

function drift(now: { readonly production?: PoolFacts | null; readonly recovery?: PoolFacts | null }) {
  const look = (pool: PoolFacts | null): ReturnType<typeof lookOf> | null =>
    pool === null ? null : lookOf(pool);
  return driftBetween({
    group: shop,
    before,
    now: {
      production: look(now.production === undefined ? productionPool() : now.production),
      recovery: look(now.recovery === undefined ? recoveryPool() : now.recovery),
    },
    vms: newest.vms,
    srTypes,
  });
}

const build = { major: 26, minor: 1, text: '26.1.0' };
const networks = recoveryPool().networks;
const stories: readonly (readonly [
  story: string,
  now: Parameters<typeof drift>[0],
  codes: readonly string[],
])[] = [
  ['nothing changed', {}, []],
  ['a site is dark: not seen is not changed', { production: null, recovery: null }, []],
  ['another pool behind the address', { recovery: tokyo({ uuid: 'other' }) }, ['problem DR-DRIFT-POOL']],
  ['production was updated first', { production: osaka({ xapiBuild: build }) }, ['problem DR-DRIFT-BUILD']],
  [
    'the recovery site was updated first',
    { recovery: tokyo({ xapiBuild: build }) },
    ['warning DR-DRIFT-BUILD'],
  ],
  ['HA was switched on', { recovery: tokyo({ haEnabled: true }) }, ['warning DR-DRIFT-HA']],
  [
    'one host left, one came, one is out of service',
    {
      recovery: tokyo({
        hosts: [
          ...recoveryPool()
            .hosts.slice(1)
            .map((each, index) => (index === 0 ? { ...each, enabled: false } : each)),
          host(14, 'tokyo-4', 96),
        ],
      }),
    },
    ['warning DR-DRIFT-HOST', 'warning DR-DRIFT-HOST', 'warning DR-DRIFT-HOST', 'warning DR-DRIFT-MEMORY'],
  ],
  [
    'a host shows fewer CPU features',
    {
      recovery: tokyo({
        hosts: recoveryPool().hosts.map((each, index) =>
          index === 0 ? { ...each, cpuFeatures: '17cbfbff-f7fa3223-2c100800-00000001' } : each,
        ),
      }),
    },
    ['warning DR-DRIFT-CPU'],
  ],
  [
    'half of the memory is taken',
    {
      recovery: tokyo({
        hosts: recoveryPool().hosts.map((each) => ({ ...each, memoryFree: each.memoryFree / 2 })),
      }),
    },
    ['warning DR-DRIFT-MEMORY'],
  ],
  [
    'a mapped network is gone',
    { recovery: tokyo({ networks: networks.slice(1) }) },
    ['problem DR-DRIFT-NETWORK'],
  ],
  [
    'a mapped network was renamed, the other is tagged and smaller now',
    {
      recovery: tokyo({
        networks: networks.map((each, index) =>
          index === 0
            ? { ...each, nameLabel: 'LAN of Tokyo' }
            : { ...each, mtu: 1400, pifs: each.pifs.slice(1).map((pif) => ({ ...pif, vlan: 20 })) },
        ),
      }),
    },
    ['problem DR-DRIFT-NETWORK', 'warning DR-DRIFT-NETWORK'],
  ],
  [
    'a production network is gone',
    { production: osaka({ networks: productionPool().networks.slice(1) }) },
    ['warning DR-DRIFT-NETWORK'],
  ],
  ['a driver is lost', { recovery: tokyo({ storageDrivers: ['ext', 'lvm'] }) }, ['problem DR-DRIFT-DRIVER']],
  [
    'an SR is gone, the other unplugged on a host',
    {
      production: osaka({
        srs: productionPool()
          .srs.slice(1)
          .map((each) => ({
            ...each,
            pbds: each.pbds.map((pbd, index) => ({ ...pbd, attached: index > 0 })),
          })),
      }),
    },
    ['warning DR-DRIFT-SR', 'warning DR-DRIFT-SR'],
  ],
];

t.test('each change is told once, with the VMs that it touches', (t) => {
  const told: string[] = [];
  for (const [story, now, codes] of stories) {
    const findings = drift(now);
    t.same(
      findings.map(({ severity, code }) => `${severity} ${code}`),
      codes,
      story,
    );
    if (findings.length > 0) told.push(`== ${story}\n\n${findingLines(findings, plainPaper).join('\n')}\n`);
  }
  golden(t, 'cases/drift.txt', import.meta.url, told.join('\n'));
  t.end();
});

t.test('what a pool does not tell is no difference', (t) => {
  const silent = {
    ...recoveryPool(),
    hosts: recoveryPool().hosts.map((each) => ({ ...each, cpuFeatures: '' })),
  };
  delete silent.storageDrivers;
  t.same(drift({ recovery: silent }), []);
  t.end();
});

t.test('a look is small, and the same for the same pool whatever the order of its records', (t) => {
  const pool = recoveryPool();
  const turned = { ...pool, hosts: [...pool.hosts].reverse(), networks: [...pool.networks].reverse() };
  t.strictSame(lookOf(turned), lookOf(pool));
  t.notOk(JSON.stringify(lookOf(productionPool())).includes('db-01'), 'VMs are not in it');
  t.end();
});
