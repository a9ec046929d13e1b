/** What `init` proposes: the same world is the same file, whatever names it has; guesses are marked, and nothing is guessed twice. */
import fc from 'fast-check';
import t from 'tap';
import { loadSettings } from '../../src/config/load.ts';
import { proposal } from '../../src/config/proposal.ts';
import { proposeNetworks } from '../../src/config/proposal-networks.ts';
import type { NetworkFacts, PoolFacts } from '../../src/domain/pool.ts';
import type { ProposalFacts, ProposedArray, ProposedSite } from '../../src/domain/proposal.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { golden } from '../report/golden.ts';
import { vbdFacts } from '../support/facts.ts';
import { network, productionPool, recoveryPool, sr, uuid, vdi, vm } from '../support/two-sites.ts';

const site = (name: string, pool: PoolFacts): ProposedSite => ({
  name,
  pool,
  hosts: pool.hosts.map(({ address, nameLabel }, index) => ({
    url: `https://${address}`,
    fingerprint: `${index}`.padStart(64, 'a'),
    nameLabel,
  })),
  username: 'root',
  password: { from: 'store', name: `pool-${name}` },
});

const array = (
  name: string,
  at: string,
  role: 'source' | 'target',
  volumes: readonly string[],
): ProposedArray => ({
  name,
  site: at,
  lines: [`  ${name}:`, `    site: ${at}`, '    type: zfs', '    options:', '      host: filer.example'],
  pairs: volumes.map((volume) => ({ volume, role, peer: null })),
});

const filers = [
  array('filer-osaka', 'osaka', 'source', ['exports/tier1', 'exports/tier2']),
  array('filer-tokyo', 'tokyo', 'target', ['exports/tier1', 'exports/tier2']),
];

const facts = (changes: Partial<ProposalFacts> = {}): ProposalFacts => ({
  production: site('osaka', productionPool()),
  recovery: site('tokyo', recoveryPool()),
  arrays: filers,
  schema: '/usr/share/lifeboat/docs/sites.schema.json',
  keyFile: '.lifeboat/catalog.key',
  ...changes,
});

const read = (text: string): Settings =>
  loadSettings('/etc/lifeboat/sites.yaml', (file) => {
    if (file === '/etc/lifeboat/sites.yaml') return text;
    throw new Error(`nobody has ${file}`);
  });

t.test('two sites with their arrays', (t) => {
  const proposed = proposal(facts());
  golden(
    t,
    'cases/proposal.yaml',
    import.meta.url,
    `${proposed.text}\n${proposed.review.map((line) => `# ${line}\n`).join('')}`,
  );
  const settings = read(proposed.text);
  t.equal(proposed.complete, true);
  t.strictSame(
    settings.groups.map(({ name }) => name),
    ['tier-1', 'tier-2'],
    'no VM ties the two SRs together',
  );
  t.match(settings.groups[0]?.storage, [
    {
      sr: 'Tier 1',
      source: { array: 'filer-osaka', volume: 'exports/tier1' },
      target: { array: 'filer-tokyo', volume: 'exports/tier1' },
    },
  ]);
  t.equal(settings.sites[0]?.pool.poolUuid, productionPool().uuid, 'no other pool can be taken for it');
  t.end();
});

t.test('without arrays the groups protect nothing, and stand in comments', (t) => {
  const proposed = proposal(facts({ arrays: [] }));
  t.equal(proposed.complete, false);
  t.strictSame(read(proposed.text).groups, []);
  t.match(proposed.text, /^# {2}tier-1:$/m);
  t.match(proposed.review[0], /No array was described/);
  const silent = proposal(facts({ arrays: filers.map((filer) => ({ ...filer, pairs: null })) }));
  t.match(silent.review[0], /filer-osaka did not answer/);
  t.strictSame(
    read(silent.text).arrays.map(({ name }) => name),
    ['filer-osaka', 'filer-tokyo'],
    'they are written all the same',
  );
  t.end();
});

t.test('a VM with disks on two SRs makes one group of them', (t) => {
  const pool = productionPool();
  const [first, ...others] = pool.vms;
  if (first === undefined) throw new Error('the pool has VMs');
  const tied = { ...first, vbds: [...first.vbds, vbdFacts(uuid('vbd', 99), uuid('vdi', 24))] };
  const proposed = proposal(facts({ production: site('osaka', { ...pool, vms: [tied, ...others] }) }));
  const settings = read(proposed.text);
  t.match(settings.groups, [{ name: 'tier-1', storage: [{ sr: 'Tier 1' }, { sr: 'Tier 2' }] }]);
  t.equal(settings.groups.length, 1);
  t.match(proposed.text, /CHECK 2 SRs are in one group because VMs have disks on more than one of them/);
  t.end();
});

t.test('a tag or a folder that exactly these VMs bear names the group', (t) => {
  const pool = productionPool();
  const named = (change: (name: string) => object): string[] => {
    const vms = pool.vms.map((each) => ({ ...each, ...change(each.nameLabel) }));
    return read(proposal(facts({ production: site('osaka', { ...pool, vms }) })).text).groups.map(
      ({ name }) => name,
    );
  };
  t.strictSame(
    named((name) => (name.startsWith('db') ? { tags: ['Shop DB!'] } : {})),
    ['shop-db', 'tier-2'],
  );
  t.strictSame(
    named((name) => ({ otherConfig: { folder: name.startsWith('db') ? '/Shop/Data' : '/Shop/Front' } })),
    ['data', 'front'],
  );
  t.strictSame(
    named((name) => (name === 'db-01' ? { tags: ['one'] } : {})),
    ['tier-1', 'tier-2'],
    'a tag of some says nothing',
  );
  t.strictSame(
    named(() => ({ tags: ['all'] })),
    ['tier-1', 'tier-2'],
    'nor does a tag of everybody',
  );
  t.end();
});

t.test('what would be missing is told', (t) => {
  const pool = productionPool();
  const local = { ...sr(3, 'Local', pool.hosts), shared: false };
  const iso = { ...sr(4, 'ISOs', pool.hosts), contentType: 'iso', type: 'iso' };
  const alone = vm(90, 'alone', uuid('network', 1), { vbds: [vbdFacts(uuid('vbd', 90), uuid('vdi', 90))] });
  const [first, ...others] = pool.vms;
  if (first === undefined) throw new Error('the pool has VMs');
  const both = { ...first, vbds: [...first.vbds, vbdFacts(uuid('vbd', 91), uuid('vdi', 91))] };
  const changed: PoolFacts = {
    ...pool,
    srs: [...pool.srs, local, iso],
    vdis: [...pool.vdis, vdi(90, local.uuid), vdi(91, local.uuid)],
    vms: [both, ...others, alone],
  };
  const proposed = proposal(facts({ production: site('osaka', changed) }));
  const all = proposed.review.join('\n');
  t.match(all, /1 VMs? ha(s|ve) no disk on shared storage, and nobody protects .*: alone/);
  t.match(all, /VM db-01 also has a disk on an SR that is not replicated/);
  t.notMatch(proposed.text, /Local|ISOs/);
  t.end();
});

t.test('a volume is never guessed twice', (t) => {
  const twice = [...filers, array('other-tokyo', 'tokyo', 'target', ['exports/tier1'])];
  const proposed = proposal(facts({ arrays: twice }));
  t.equal(proposed.complete, false, 'two replicas of one name: a person must say which');
  t.strictSame(
    read(proposed.text).groups.map(({ name }) => name),
    ['tier-2'],
  );
  t.match(proposed.review.join('\n'), /Group tier-1: no replicated volume was recognised under SR Tier 1/);
  const byName = [
    array('filer-osaka', 'osaka', 'source', ['pool/1', 'pool/2']),
    array('filer-tokyo', 'tokyo', 'target', ['pool/1', 'pool/2']),
  ];
  const guessed = proposal(facts({ arrays: byName }));
  t.equal(read(guessed.text).groups.length, 2);
  t.match(guessed.text, /CHECK volume pool\/1 only sounds like SR Tier 1/);
  t.end();
});

t.test('networks: the same name is sure, the rest are guesses with a reason', (t) => {
  const { hosts } = recoveryPool();
  const net = (number: number, name: string, vlan = -1): NetworkFacts => ({
    ...network(number, name, hosts),
    pifs: hosts.map((host) => ({ hostUuid: host.uuid, device: 'eth0', vlan, attached: true })),
  });
  const propose = (own: NetworkFacts, ...theirs: readonly NetworkFacts[]) =>
    proposeNetworks([own], theirs, ['osaka', 'tokyo'])[0];
  t.match(propose(net(1, 'DMZ'), net(2, 'DMZ')), {
    recovery: 'DMZ',
    drill: null,
    doubts: [/no isolated network/],
  });
  t.match(propose(net(1, 'Osaka DMZ'), net(2, 'Tokyo DMZ'), net(3, 'LAN')), {
    recovery: 'Tokyo DMZ',
    doubts: [/only sounds alike/, /drill/],
  });
  t.match(propose(net(1, 'Front', 20), net(2, 'Outside', 20), net(3, 'LAN', 30)), {
    recovery: 'Outside',
    doubts: [/only has the same VLAN, 20/, /drill/],
  });
  t.match(propose(net(1, 'Front'), net(2, 'Outside')), {
    recovery: null,
    doubts: [/no network of the recovery pool/, /drill/],
  });
  t.match(propose(net(1, 'DMZ'), net(2, 'DMZ'), net(3, 'DMZ')), {
    recovery: null,
    doubts: [/2 networks of this name/, /drill/],
  });
  t.match(propose(net(1, 'Front', 20), net(2, 'A', 20), net(3, 'B', 20)), {
    recovery: null,
    doubts: [/several fit equally well: A, B/, /drill/],
  });
  t.match(propose(net(1, 'Osaka LAN'), net(2, 'Tokyo LAN'), net(3, 'Drill LAN')), {
    recovery: 'Tokyo LAN',
    drill: 'Drill LAN',
    doubts: [/sounds alike/, /taken for an isolated network/],
  });
  t.match(
    propose(net(1, 'LAN'), net(2, 'Drill LAN')),
    { recovery: null, drill: 'Drill LAN' },
    'a drill network never serves a failover',
  );
  t.match(propose(net(1, 'Osaka'), net(2, 'Tokyo')), { recovery: null }, 'names of sites are no purpose');
  t.end();
});

t.test('whatever names people give, the file is right and says the same names', (t) => {
  const name = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 24 }),
    fc.constantFrom(
      'no',
      'null',
      '1.5',
      '0x1f',
      '- a',
      '# b',
      'a: b',
      "it's",
      '"q"',
      'x\ny: z',
      '*',
      '&a',
      '!t',
      '%',
      '@',
      '`',
      '{',
      ']',
      'a,b',
      ' a',
      'a ',
      '.',
      '..',
      '2026-01-01',
      '12:30',
      '~',
      '?',
      '<<',
    ),
  );
  // `__proto__` is the one name that the reader refuses as a key: whoever reviews the file is told of it.
  const plain = name.filter((text) => text.trim() !== '' && text !== '__proto__');
  fc.assert(
    fc.property(fc.uniqueArray(plain, { minLength: 8, maxLength: 8 }), (names) => {
      const [
        lan = '',
        database = '',
        first = '',
        second = '',
        poolName = '',
        hostName = '',
        vmName = '',
        tag = '',
      ] = names;
      const pool = productionPool();
      const rename = <T extends { readonly nameLabel: string }>(
        items: readonly T[],
        ...to: readonly string[]
      ): T[] => items.map((item, index) => ({ ...item, nameLabel: to[index] ?? item.nameLabel }));
      const production: PoolFacts = {
        ...pool,
        nameLabel: poolName,
        networks: rename(pool.networks, lan, database),
        srs: rename(pool.srs, first, second),
        hosts: rename(pool.hosts, hostName),
        vms: rename(pool.vms, vmName).map((each, index) => (index === 0 ? { ...each, tags: [tag] } : each)),
      };
      const there = recoveryPool();
      const recovery: PoolFacts = { ...there, networks: rename(there.networks, lan, database) };
      const proposed = proposal(
        facts({ production: site('osaka', production), recovery: site('tokyo', recovery) }),
      );
      const settings = read(proposed.text);
      const mapped = new Map(
        settings.groups.flatMap(({ networks }) => networks.map((each) => [each.production, each.recovery])),
      );
      // Without a usable name an SR goes by its uuid.
      const srs = settings.groups.flatMap(({ storage }) => storage.map(({ sr: named }) => named));
      return (
        settings.groups.length === 2 &&
        settings.sites[0]?.title === poolName &&
        srs.sort().join('\u0000') === [first, second].sort().join('\u0000') &&
        mapped.get(lan) === lan &&
        mapped.get(database) === database
      );
    }),
    { numRuns: 150, seed: 1 },
  );
  t.pass('150 pairs of pools were proposed and read back');
  t.end();
});
