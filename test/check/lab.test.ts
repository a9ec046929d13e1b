/** `check` and `verify` on the lab: what is well, what a large pool costs, and each way of being wrong. */
import t from 'tap';
import type { Finding } from '../../src/domain/finding.ts';
import type { Operation } from '../../src/domain/plan.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { populate } from '../../src/lab/core/populate.ts';
import { findingLines } from '../../src/report/findings.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { LabHouse } from './lab-app.ts';

t.setTimeout(240_000);

async function findings(
  house: LabHouse,
  changes: Partial<Settings> = {},
  password?: string,
): Promise<Map<Operation, readonly Finding[]>> {
  const report = await house.with(changes, (app) => app.check({ groups: [] }), password);
  return new Map(
    report.groups.flatMap((group) => group.operations.map((each) => [each.operation, each.findings])),
  );
}

const textOf = (found: readonly Finding[] | undefined): string =>
  findingLines(found ?? [], { ...plainPaper, width: 1000 }).join('\n');

t.test('a group that is well, large or small, and what it costs to know that', async (t) => {
  const house = await LabHouse.start(t);
  await house.save();
  const small = house.lab.calls.length;
  const clear = await findings(house);
  t.same(
    [...clear.keys()],
    ['export', 'verify', 'drill', 'migrate', 'failover'],
    'every operation of its phase',
  );
  for (const [operation, found] of clear)
    t.equal(textOf(found), '', `${operation}: nothing speaks against it`);
  const asked = house.lab.calls
    .slice(small)
    .map(({ method }) => method)
    .sort();

  populate(house.lab.pool('production'), {
    vms: 220,
    prefix: 'app-x',
    running: true,
    memoryBytes: 16n * 1024n * 1024n,
    srs: ['gold storage'],
    networks: ['Production LAN'],
  });
  await house.save();
  const large = house.lab.calls.length;
  const after = await findings(house);
  const then = house.lab.calls
    .slice(large)
    .map(({ method }) => method)
    .sort();
  t.equal(textOf(after.get('export')), '');
  t.strictSame(then, asked, 'as many calls for 223 VMs as for 3');
  t.notOk(
    then.some((method) => method.includes('import_metadata')),
    'no dry run',
  );
  t.ok(then.length < 120, `${then.length} calls`);
});

const wrongCertificate = 'ab'.repeat(32);

/** One thing that is wrong, and what is said of it: the finding, and the next step. */
interface Wrong {
  readonly what: string;
  readonly change: (settings: Settings) => Partial<Settings>;
  readonly password?: string;
  readonly operation?: Operation;
  readonly says: readonly RegExp[];
}

const onlySite = (name: string, change: (site: Settings['sites'][number]) => Settings['sites'][number]) => {
  return ({ sites }: Settings): Partial<Settings> => ({
    sites: sites.map((site) => (site.name === name ? change(site) : site)),
  });
};
const storageOf =
  (
    change: (
      storage: Settings['groups'][number]['storage'][number],
    ) => Settings['groups'][number]['storage'][number],
  ) =>
  ({ groups }: Settings): Partial<Settings> => ({
    groups: groups.map((group) => ({ ...group, storage: group.storage.map(change) })),
  });

const wrongs: readonly Wrong[] = [
  {
    what: 'a wrong password of the recovery site',
    change: () => ({}),
    password: 'wrong',
    says: [
      /✗ The pool of site recovery cannot be read/,
      /refuses user or password/,
      /Next: Correct username and password of the pool/,
    ],
  },
  {
    what: 'a wrong fingerprint of the recovery site',
    change: onlySite('recovery', (site) => ({
      ...site,
      pool: {
        ...site.pool,
        hosts: site.pool.hosts.map((host) => ({ ...host, fingerprint: wrongCertificate })),
      },
    })),
    says: [
      /✗ The pool of site recovery cannot be read/,
      /another certificate than sites.yaml pins: nothing was sent/,
      /Next: \S+/,
    ],
  },
  {
    what: 'a wrong fingerprint of the production site',
    change: onlySite('production', (site) => ({
      ...site,
      pool: {
        ...site.pool,
        hosts: site.pool.hosts.map((host) => ({ ...host, fingerprint: wrongCertificate })),
      },
    })),
    operation: 'export',
    says: [/✗ The pool of site production cannot be read/, /another certificate/, /Next: \S+/],
  },
  {
    what: 'both sites lead to one pool',
    change: ({ sites }) => ({
      sites: sites.map((site) => ({ ...site, pool: sites[0]?.pool ?? site.pool })),
    }),
    says: [
      /✗ Sites production and recovery are one and the same pool/,
      /Next: Correct the addresses of the hosts in sites.yaml/,
    ],
  },
  {
    what: 'an array that cannot be reached',
    change: ({ arrays }) => ({
      arrays: arrays.map((array) =>
        array.name === 'array-recovery' ? { ...array, options: { directory: '/nonexistent' } } : array,
      ),
    }),
    says: [/✗ The replica of SR gold storage could not be looked at/, /array-recovery/, /Next: \S+/],
  },
  {
    what: 'a volume that the array does not have',
    change: storageOf((storage) => ({ ...storage, target: { ...storage.target, volume: 'brass' } })),
    says: [
      /✗ The replica of SR gold storage could not be looked at/,
      /array array-recovery has no volume brass/i,
      /Next: Compare the pair in sites.yaml/,
    ],
  },
  {
    what: 'source and target confused',
    change: storageOf(({ sr, source, target }) => ({ sr, source: target, target: source })),
    says: [
      /✗ Volume gold of array array-production is source, not a replica of SR gold storage/,
      /Next: Compare source and target of SR gold storage in sites.yaml/,
    ],
  },
];

t.test('each way of being wrong ends in a sentence with the next step', async (t) => {
  const house = await LabHouse.start(t);
  await house.save();
  for (const { what, change, password, operation = 'failover', says } of wrongs) {
    const found = await findings(house, change(house.settings), password);
    const text = textOf(found.get(operation));
    for (const pattern of says) t.match(text, pattern, `${what}: ${pattern.source}`);
  }
  const verified = await house.run(
    { operation: 'verify', group: 'shop' },
    wrongs.at(-2)?.change(house.settings),
  );
  t.equal(verified.exitCode, 1, 'a verification says so as well');
  t.match(verified.steps.get('replication-gold-storage')?.problem, { what: /has no volume brass/ });
  t.equal(verified.steps.get('read-back')?.status, 'succeeded', 'and looks at the rest');
});
