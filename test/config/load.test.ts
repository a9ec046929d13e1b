import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { loadRecoveryPlan, loadSettings } from '../../src/config/load.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import { editDistance, nearest } from '../../src/domain/nearest.ts';
import { compileMatch, nothing } from '../../src/domain/scope.ts';
import type { Settings } from '../../src/domain/settings.ts';
import { arraysOf } from '../../src/lab/arrays/index.ts';
import { demoPort } from '../../src/lab/commands/index.ts';
import { startLab } from '../../src/lab/lab.ts';
import { schemaFiles, schemaText } from '../../tools/schema.ts';
import { golden } from '../report/golden.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const fingerprint = `${'AB:CD:'.repeat(15)}EF:01`;

const sample = `
state: var
sites:
  osaka:
    title: Osaka
    pool:
      hosts:
        - { url: 'https://osaka-1.example', fingerprint: '${fingerprint}' }
        - { url: 'https://osaka-2.example:8443/', fingerprint: { file: prints/osaka-2 } }
      password: { env: OSAKA_PASSWORD }
  tokyo:
    pool:
      hosts: [{ url: 'https://tokyo-1.example' }]
      ca_file: /etc/lifeboat/ca.pem
      username: lifeboat
      password: { command: [pass, show, tokyo] }
      pool_uuid: 0B5C5C4E-1111-4222-8333-444455556666
      max_requests: 4
arrays:
  a: { site: osaka, type: zfs, options: { host: filer-a, port: 22, fast: true }, secret: { store: filer-a } }
  b: { site: tokyo, type: zfs }
groups:
  shop:
    production: osaka
    recovery: tokyo
    rpo: 15min
    rto: 1h30m
    vms:
      include: { names: ['web-*'], tags: [shop] }
    storage:
      - sr: Data
        source: { array: a, volume: tank/shop }
        target: { array: b, volume: tank/shop }
    networks:
      Production LAN: Recovery LAN
      DMZ: { recovery: Recovery DMZ, drill: Bubble }
    recovery_plan: plans/shop.yaml
    retention: { last: 3, max_age: 30d }
catalog:
  targets:
    - { name: here, type: directory, path: catalog }
    - name: away
      type: sftp
      host: vault.example
      username: lifeboat
      path: /srv/catalog
      host_key: SHA256:${'A'.repeat(43)}
      private_key_file: keys/id
  encryption: { passphrase: { file: keys/passphrase } }
`;
const plan = `
tiers:
  - name: database
    vms: { names: ['db-*'] }
    ready: [guest-agent, { address: 10.2.0.0/24 }, { tcp: 5432 }]
    timeout: 5min
    on_timeout: stop
  - name: web
    vms: { patterns: ['web-\\d+'] }
others: leave-halted
`;

type Files = Readonly<Record<string, string>>;
const reader =
  (files: Files) =>
  (file: string): string => {
    const text = files[file];
    if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${file}'`);
    return text;
  };
const good: Files = {
  '/etc/dr/sites.yaml': sample,
  '/etc/dr/plans/shop.yaml': plan,
  '/etc/dr/prints/osaka-2': `SHA256 Fingerprint=${'12:'.repeat(31)}34\n`,
};
const load = (files: Files = good, file = '/etc/dr/sites.yaml'): Settings =>
  loadSettings(file, reader(files));
const problemsOf = (files: Files, file = '/etc/dr/sites.yaml'): OperatorError => {
  try {
    load(files, file);
  } catch (error) {
    if (error instanceof OperatorError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
};
const changed = (from: string, to: string): Files => {
  if (!sample.includes(from)) throw new Error(`the sample has no ${from}`);
  return { ...good, '/etc/dr/sites.yaml': sample.replace(from, to) };
};

const lineOf = (words: string): number => sample.slice(0, sample.indexOf(words)).split('\n').length;

t.test('settings are settled: defaults filled in, units in seconds, paths beside the file', (t) => {
  const settings = load();
  t.match(settings, {
    file: '/etc/dr/sites.yaml',
    stateDirectory: '/etc/dr/var',
    secretsFile: '/etc/dr/var/secrets',
  });
  t.match(settings.digest, /^[0-9a-f]{64}$/);
  const [osaka, tokyo] = settings.sites;
  t.same(osaka?.pool, {
    hosts: [
      { url: 'https://osaka-1.example', fingerprint: `${'abcd'.repeat(15)}ef01` },
      { url: 'https://osaka-2.example:8443', fingerprint: `${'12'.repeat(31)}34` },
    ],
    username: 'root',
    password: { from: 'env', name: 'OSAKA_PASSWORD' },
    poolUuid: null,
    caFile: null,
    transport: 'auto',
    maxRequests: 2,
  });
  t.match(tokyo, {
    title: 'tokyo',
    pool: {
      password: { from: 'command', argv: ['pass', 'show', 'tokyo'] },
      poolUuid: '0b5c5c4e-1111-4222-8333-444455556666',
      caFile: '/etc/lifeboat/ca.pem',
      maxRequests: 4,
    },
  });
  t.same(settings.arrays[0], {
    name: 'a',
    site: 'osaka',
    type: 'zfs',
    options: { host: 'filer-a', port: 22, fast: true },
    secret: { from: 'store', name: 'filer-a' },
  });
  const [shop] = settings.groups;
  t.match(shop, { rpoSeconds: 900, rtoSeconds: 5400, production: 'osaka', recovery: 'tokyo' });
  t.same(shop?.scope.exclude, { names: [], patterns: [], tags: [], folders: [], srs: [], uuids: [] });
  t.same(shop?.networks, [
    { production: 'Production LAN', recovery: 'Recovery LAN', drill: null, drillAtProduction: null },
    { production: 'DMZ', recovery: 'Recovery DMZ', drill: 'Bubble', drillAtProduction: null },
  ]);
  t.same(shop?.retention, {
    last: 3,
    hourly: 48,
    daily: 14,
    weekly: 8,
    monthly: 12,
    yearly: 3,
    maxAgeSeconds: 30 * 86_400,
  });
  t.match(shop?.plan, { file: 'plans/shop.yaml', others: 'leave-halted', honourStartDelay: false });
  t.match(shop?.plan.tiers, [
    {
      name: 'database',
      ready: [
        { gate: 'guest-agent' },
        { gate: 'address', subnets: ['10.2.0.0/24'] },
        { gate: 'tcp', port: 5432 },
      ],
      timeoutSeconds: 300,
      onTimeout: 'stop',
    },
    { name: 'web', ready: [{ gate: 'running' }], timeoutSeconds: 600, onTimeout: 'continue' },
  ]);
  t.match(settings.catalog, {
    encryption: { passphrase: { from: 'file', path: '/etc/dr/keys/passphrase' } },
    targets: [
      { type: 'directory', path: '/etc/dr/catalog' },
      { type: 'sftp', port: 22, hostKey: 'A'.repeat(43), privateKeyFile: '/etc/dr/keys/id', password: null },
    ],
  });
  t.end();
});

t.test('without a recovery plan the VMs follow their own order', (t) => {
  const settings = load(changed('    recovery_plan: plans/shop.yaml\n', ''));
  t.same(settings.groups[0]?.plan, {
    file: null,
    tiers: [],
    others: 'by-order',
    honourStartDelay: false,
    dependencies: [],
    overrides: [],
    callouts: [],
    prompts: [],
  });
  t.end();
});

t.test('every mistake is told at once, with file, line, column and what to write', (t) => {
  const file = 'test/config/cases/everything-wrong.yaml';
  const error = t.throws(() => loadSettings(file, (path) => readFileSync(`${root}${path}`, 'utf8')), {
    name: 'OperatorError',
    exitCode: 2,
  }) as OperatorError;
  golden(t, 'cases/everything-wrong.txt', import.meta.url, `${error.message}\n`);
  t.notMatch(error.message, /hunter2|s3cret/, 'a secret that was written in clear text is not repeated');
  t.end();
});

t.test('what is not YAML at all is told by line and column', (t) => {
  const cases: [string, string, RegExp][] = [
    ['', 'DR-CONFIG-MISSING', /^s\.yaml:1:1: the file is empty\. Next: start from the sample/],
    ['a: [1,\nb: }', 'DR-CONFIG-SYNTAX', /^s\.yaml:2:1: this is not valid YAML/],
    ['a: 1\na: 2', 'DR-CONFIG-DUPLICATE', /^s\.yaml:2:1: this key is written a second time/],
    ['a:\n\tb: 1\n', 'DR-CONFIG-SYNTAX', /^s\.yaml:2:1: this line is indented with a tab/],
    ['a:\n  b: 1\n  __proto__: 2\n', 'DR-CONFIG-VALUE', /^s\.yaml:3:3: "__proto__" cannot be a key/],
    ['a: { " __proto__ ": 2 }', 'DR-CONFIG-VALUE', /^s\.yaml:1:6: "__proto__" cannot be a key/],
    ['- x', 'DR-CONFIG-VALUE', /^s\.yaml:1:1: this must be a block of keys, and it is a list/],
    ['just words', 'DR-CONFIG-VALUE', /^s\.yaml:1:1: this must be a block of keys, and it is a text/],
    ['a: 1\n---\nb: 2\n', 'DR-CONFIG-SYNTAX', /^s\.yaml:2:1: this is not valid YAML/],
    [
      `${[...'abcdefghi'].map((key, i, all) => `${key}: &${key} [${i ? `*${all[i - 1]},`.repeat(9) : 'x'}]`).join('\n')}`,
      'DR-CONFIG-SYNTAX',
      /^s\.yaml: this file cannot be unfolded/,
    ],
  ];
  for (const [text, code, message] of cases) {
    const error = problemsOf({ 's.yaml': text }, 's.yaml');
    t.equal(error.code, code, JSON.stringify(text.slice(0, 20)));
    t.match(error.message, message);
    t.equal(error.exitCode, 2);
  }
  t.end();
});

t.test('files that cannot be read are told where they are named', (t) => {
  t.match(problemsOf({}).message, /cannot read \/etc\/dr\/sites\.yaml: ENOENT.*--config.*DR-CONFIG-FILE/);
  const { '/etc/dr/plans/shop.yaml': _, ...noPlan } = good;
  t.match(problemsOf(noPlan).problems, [
    {
      code: 'DR-CONFIG-FILE',
      where: { line: lineOf('recovery_plan'), column: 20 },
      what: 'cannot read /etc/dr/plans/shop.yaml',
    },
  ]);
  const { '/etc/dr/prints/osaka-2': __, ...noPrint } = good;
  t.match(problemsOf(noPrint).problems, [
    { code: 'DR-CONFIG-FINGERPRINT-FILE', where: { line: lineOf('prints/osaka-2') } },
  ]);
  t.match(problemsOf({ ...good, '/etc/dr/prints/osaka-2': 'ab:cd' }).message, /has 4 characters/);
  t.end();
});

t.test('where the daemon listens', (t) => {
  const listenAt = (written: string) =>
    load(changed('state: var', `state: var\ndaemon: { listen: '${written}' }`)).daemon?.listen;
  t.strictSame(listenAt('127.0.0.1:9617'), { host: '127.0.0.1', port: 9617 });
  t.strictSame(listenAt('[::1]:9617'), { host: '::1', port: 9617 });
  t.strictSame(listenAt('localhost:0'), { host: 'localhost', port: 0 });
  t.equal(load().daemon?.listen, undefined, 'closed unless somebody opens it');
  t.end();
});

t.test('schedules: those of the group, those of all, what is usual; no part of the digest', (t) => {
  const jobsOf = ({ daemon }: Settings): readonly string[] =>
    (daemon?.jobs ?? []).map(
      ({ job, group, calendar, catchUp }) =>
        `${job} ${group ?? '-'}: ${calendar.cron} ${calendar.timeZone}${catchUp ? '' : ', never late'}`,
    );
  const usual = load();
  t.same(jobsOf(usual), [
    'export shop: */15 * * * * UTC',
    'verify shop: 0 * * * * UTC',
    'catalog-check shop: 0 4 * * * UTC',
    'report shop: 0 4 * * SUN UTC',
    'rehearsal -: 0 4 * * * UTC',
  ]);
  t.match(usual.daemon, {
    watchEverySeconds: 300,
    jobsPerPool: 2,
    spreadSeconds: 60,
    finishWithinSeconds: 60,
    keepJournalsSeconds: 30 * 86_400,
  });
  t.equal(usual.daemon?.reportsDirectory, '/etc/dr/var/reports');
  const own = load(
    changed(
      '    retention: {',
      `    schedules:
      timezone: Asia/Tokyo
      export: every 5min
      drill: { when: weekly on Tuesday at 14:00, timezone: UTC, catch_up: false }
      report: never
    retention: {`,
    ),
  );
  t.same(jobsOf(own).slice(0, 4), [
    'export shop: */5 * * * * Asia/Tokyo',
    'verify shop: 0 * * * * Asia/Tokyo',
    'drill shop: 0 14 * * TUE UTC, never late',
    'catalog-check shop: 0 4 * * * Asia/Tokyo',
  ]);
  t.equal(own.digest, usual.digest, 'a plan stays good when only a schedule changes');
  t.end();
});

t.test('one part that contradicts another is refused', (t) => {
  const cases: [string, string, string, RegExp][] = [
    [
      'production: osaka',
      'production: osak',
      'DR-CONFIG-REFERENCE',
      /no site named osak; did you mean osaka\?/,
    ],
    ['recovery: tokyo', 'recovery: osaka', 'DR-CONFIG-SAME-SITE', /same site/],
    ['array: b,', 'array: c,', 'DR-CONFIG-REFERENCE', /no array named c/],
    [
      'site: tokyo, type',
      'site: osaka, type',
      'DR-CONFIG-REFERENCE',
      /array b stands at osaka, and the target/,
    ],
    [
      'https://tokyo-1.example',
      'https://osaka-1.example',
      'DR-CONFIG-DUPLICATE',
      /already named in sites\.osaka/,
    ],
    ['      ca_file: /etc/lifeboat/ca.pem\n', '', 'DR-CONFIG-NO-TRUST', /nothing proves/],
    [
      'drill: Bubble',
      'drill: Recovery LAN',
      'DR-CONFIG-DRILL-NETWORK',
      /meet the network of a real failover/,
    ],
    ["{ names: ['web-*'], tags: [shop] }", '{ names: [] }', 'DR-CONFIG-EMPTY-SCOPE', /protect nothing/],
    ['name: away', 'name: here', 'DR-CONFIG-DUPLICATE', /the target here is already named/],
    [
      'name: away',
      'name: away\n      site: tokio',
      'DR-CONFIG-REFERENCE',
      /no site named tokio; did you mean tokyo/,
    ],
    ['state: var', 'state: var\ndaemon: { listen: 9617 }', 'DR-CONFIG-VALUE', /listen/],
    ['state: var', "state: var\ndaemon: { listen: '0.0.0.0' }", 'DR-CONFIG-VALUE', /no address to listen on/],
    [
      'state: var',
      "state: var\ndaemon: { listen: '127.0.0.1:70000' }",
      'DR-CONFIG-VALUE',
      /no address to listen on/,
    ],
    ['      private_key_file: keys/id\n', '', 'DR-CONFIG-MISSING', /no way to log in/],
    ['{ env: OSAKA_PASSWORD }', '{}', 'DR-CONFIG-VALUE', /has no source/],
    [
      "'https://osaka-1.example'",
      "'https://root:pw@osaka-1.example'",
      'DR-CONFIG-CLEAR-SECRET',
      /user name or password/,
    ],
    ["'https://osaka-1.example'", "'https://osaka-1.example/x'", 'DR-CONFIG-VALUE', /has a path/],
    ["'https://osaka-1.example'", 'osaka-1', 'DR-CONFIG-VALUE', /not an address/],
    ['  shop:\n', '  "web shop":\n', 'DR-CONFIG-VALUE', /letters, digits/],
    ['rpo: 15min', 'rpo: 0s', 'DR-CONFIG-VALUE', /zero/],
    ['fast: true', 'api_key: xyz', 'DR-CONFIG-CLEAR-SECRET', /clear text/],
  ];
  for (const [from, to, code, message] of cases) {
    const error = problemsOf(changed(from, to));
    t.same(
      error.problems.map((problem) => problem.code),
      [code],
      `${from} → ${to}`,
    );
    t.match(error.message, message);
    t.type(error.problems[0]?.where?.line, 'number');
    t.not(error.problems[0]?.next, '');
  }
  t.end();
});

t.test('two groups may not share a volume', (t) => {
  const shop = /( {2}shop:[\s\S]*?)catalog:/.exec(sample)?.[1] ?? '';
  const error = problemsOf(changed('catalog:\n', `${shop.replace('shop:', 'pay:')}catalog:\n`));
  t.same(
    error.problems.map((problem) => problem.code),
    ['DR-CONFIG-DUPLICATE', 'DR-CONFIG-DUPLICATE'],
  );
  t.match(error.message, /promoted as a whole/);
  t.end();
});

t.test('the digest follows the meaning, not the spelling', (t) => {
  const digest = load().digest;
  t.equal(load(changed('rto: 1h30m', 'rto: 90min')).digest, digest, 'the same duration in other words');
  t.equal(load(changed('state: var', '# a remark\nstate: var')).digest, digest);
  const elsewhere = Object.fromEntries(
    Object.entries(good).map(([file, text]) => [file.replace('/etc/dr', '/srv'), text]),
  );
  t.equal(load(elsewhere, '/srv/sites.yaml').digest, digest, 'the same files in another directory');
  t.not(load(changed('rto: 1h30m', 'rto: 91min')).digest, digest);
  t.not(load({ ...good, '/etc/dr/plans/shop.yaml': plan.replace('5min', '6min') }).digest, digest);
  t.not(load({ ...good, '/etc/dr/prints/osaka-2': '34'.repeat(32) }).digest, digest);
  t.end();
});

t.test('the sample of the repository is right, and so is its recovery plan', (t) => {
  const settings = loadSettings(`${root}sites.yaml`, (file) => readFileSync(file, 'utf8'));
  t.same(
    settings.groups[0]?.plan.tiers.map((tier) => tier.name),
    ['database', 'application', 'web'],
  );
  t.same(
    loadRecoveryPlan('runbooks/shop.yaml', (file) => readFileSync(`${root}${file}`, 'utf8')),
    settings.groups[0]?.plan,
  );
  t.end();
});

t.test('the sample describes the lab as it comes out of the box', async (t) => {
  const settings = loadSettings(`${root}sites.yaml`, (file) => readFileSync(file, 'utf8'));
  const lab = await startLab({ world: 'demo', storage: t.testdir(), port: 0 });
  t.teardown(() => lab.stop());
  const shop = settings.groups[0];
  for (const site of settings.sites) {
    const { hosts, db } = lab.pool(site.name);
    t.same(
      site.pool.hosts,
      hosts.map((host) => ({
        url: `https://${host.address}:${demoPort}`,
        fingerprint: host.certificate.sha256.replaceAll(':', '').toLowerCase(),
      })),
    );
    const networks = db.all('network').map((network) => network.text('name_label'));
    for (const mapping of shop?.networks ?? []) {
      const wanted = site.name === 'production' ? [mapping.production] : [mapping.recovery, mapping.drill];
      for (const name of wanted) t.ok(name !== null && networks.includes(name), `${site.name} has ${name}`);
    }
  }
  t.same(
    settings.arrays.map(({ name, options }) => [name, options['url'], options['fingerprint']]),
    [...arraysOf(lab)].map(([name, { array, certificate }]) => [
      name,
      `https://${array.address}:${demoPort}`,
      certificate.sha256,
    ]),
  );
  const production = lab.pool('production').db;
  const srs = production.all('SR').map((sr) => sr.text('name_label'));
  for (const { sr } of shop?.storage ?? []) t.ok(srs.includes(sr), `production has SR ${sr}`);
  const include = compileMatch(shop?.scope.include ?? nothing, []);
  const vms = production
    .all('VM')
    .map((vm) => vm.text('name_label'))
    .filter((nameLabel) => include({ uuid: '', nameLabel, tags: [], folder: null, srUuids: [] }) !== null);
  t.equal(vms.length, 24);
});

t.test('the schemas for editors are current', (t) => {
  for (const [kind, file] of schemaFiles) {
    t.equal(
      readFileSync(`${root}${file}`, 'utf8'),
      schemaText(kind),
      `${file}; \`make schemas\` rewrites it`,
    );
  }
  t.end();
});

t.test('a word is nearest to itself, one slip away from its neighbours, and far from strangers', (t) => {
  t.equal(nearest('titel', ['pool', 'title']), 'title');
  t.equal(nearest('max-requests', ['max_requests', 'hosts']), 'max_requests');
  t.equal(nearest('zebra', ['pool', 'title']), null);
  t.equal(nearest('x', ['ab']), null);
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      t.equal(editDistance(a, b), editDistance(b, a));
      t.equal(editDistance(a, b) === 0, a === b);
      t.ok(editDistance(a, b) <= Math.max([...a].length, [...b].length));
    }),
  );
  t.end();
});
