/** Trouble on purpose: what a new user gets wrong and what breaks at 3 a.m., through the real program on the lab. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ends, failover, World } from './trouble.ts';

// A child process per command: tens of seconds for some tests on a busy machine.
t.setTimeout(240_000);

const everybody = 24;

/** A change of sites.yaml, and how each verb ends with it. */
interface Slip {
  readonly what: string;
  readonly change: readonly (readonly [from: string | RegExp, to: string])[];
  readonly export?: readonly [code: number, ...words: RegExp[]];
  readonly failover?: readonly [code: number, ...words: RegExp[]];
}

const productionPassword = /(production site[\s\S]*?\[printf, )hush-pool\]/;
const recoveryPassword = /(recovery site\n[\s\S]*?\[printf, )hush-pool\]/;

const slips: readonly Slip[] = [
  {
    what: 'a wrong password of production',
    change: [[productionPassword, '$1wrong]']],
    export: [10, /refuses user or password/, /user: root/, /Correct username and password of the pool/],
    failover: [10, /DR-SOURCE-HALF-DEAD/, /its VMs may still run/, /--declare-lost/],
  },
  {
    what: 'a wrong password of recovery',
    change: [[recoveryPassword, '$1wrong]']],
    export: [3, /What failed: 1 step rehearse/, /Correct username and password/],
    failover: [10, /pool of site recovery cannot be read/, /Correct username and password/],
  },
  {
    what: 'production at a wrong address',
    change: [[/127\.0\.1\.([123]):/g, '127.0.7.$1:']],
    export: [10, /127\.0\.7\.1:\d+: connection refused/, /Check the addresses in sites.yaml/],
  },
  {
    what: 'recovery at a wrong address',
    change: [[/127\.0\.2\.([123]):/g, '127.0.7.$1:']],
    export: [3, /7 of 7|6 of 7/, /rehearse/, /No host of the pool answers/],
    failover: [
      10,
      /DR-RECOVERY-UNREACHABLE/,
      /Recovery point shop\//,
      /it waits for - the pool of site recovery, which cannot be read/,
    ],
  },
  {
    what: 'a wrong fingerprint',
    change: [['56:E9:7E', '56:EA:7E']],
    export: [
      10,
      /https:\/\/127\.0\.1\.1:\d+: The host shows another certificate than sites.yaml pins: nothing was sent/,
      /sites.yaml pins 56:EA:7E/,
      /the host shows 56:E9:7E/,
      /somebody stands in between/,
    ],
  },
  {
    what: 'the uuid of another pool',
    change: [[/(production site\n {4}pool:\n)/, '$1      pool_uuid: 01234567-89ab-4def-8123-456789abcdef\n']],
    export: [10, /DR-SOURCE-UNREACHABLE/, /another pool|other pool|01234567/i],
  },
  {
    what: 'typing errors',
    change: [
      ['rpo: 15min', 'rpoo: 15min'],
      ['rto: 1h', 'rto: 1 fortnight'],
      ['target: { array: array-recovery, volume: gold }', 'target: { array: array-recovry, volume: gold }'],
    ],
    export: [
      2,
      /sites\.yaml:\d+:\d+: Unknown key 'rpoo' in groups\.shop; did you mean rpo\?/,
      /groups\.shop\.rto: "1 fortnight" is not a duration/,
      /no array named array-recovry; did you mean array-recovery\?/,
    ],
  },
  {
    what: 'a network that does not exist at recovery',
    change: [['{ recovery: Recovery LAN,', '{ recovery: Recovery LAAN,']],
    export: [3, /an import at site recovery would fail: Site recovery has no network named Recovery LAAN/],
    failover: [
      10,
      /DR-NETWORK-MISSING/,
      /VMs: app-01/,
      /Create network Recovery LAAN at site recovery, or map/,
    ],
  },
  {
    what: 'a wrong password of the arrays',
    change: [[/hush-pool-array/g, 'wrong']],
    export: [3, /replica of SR gold storage could not be learned: Array array-recovery refuses user admin/],
    failover: [10, /DR-REPLICA-UNSEEN/, /Correct the user name or the secret of the array/],
  },
  {
    what: 'a secret that is nowhere',
    change: [[/\{ command: \[printf, hush-pool\] \}/g, '{ env: LIFEBOAT_NO_SUCH_SECRET }']],
    export: [
      10,
      /environment variable LIFEBOAT_NO_SUCH_SECRET/,
      /it is not set/,
      /Set LIFEBOAT_NO_SUCH_SECRET/,
    ],
  },
  {
    what: 'a wrong passphrase of the catalog',
    change: [['a passphrase for the lab only', 'another passphrase']],
    export: [1, /Cannot open catalog target here/, /passphrase does not open this catalog/, /export anew/],
    failover: [10, /DR-POINT-NONE/, /passphrase does not open this catalog/, /Give the key with which/],
  },
  {
    what: 'a group of nobody',
    change: [["names: ['web-*', 'app-*', 'db-*']", "names: ['mail-*']"]],
    export: [10, /DR-GROUP-EMPTY/, /No VM of pool production matches/, /lifeboat export shop --preview/],
  },
];

t.test('mistakes in sites.yaml end in a sentence that says what to do, and nothing is lost', async (t) => {
  t.setTimeout(120_000);
  const world = await World.start(t);
  for (const slip of slips) {
    world.configure(...slip.change);
    const [exported, failedOver] = await Promise.all([
      slip.export === undefined ? null : world.run('export', 'shop'),
      slip.failover === undefined ? null : world.run(...failover),
    ]);
    if (slip.export !== undefined && exported !== null) {
      const [code, ...words] = slip.export;
      ends(t, `${slip.what}, export`, exported, code, ...words);
    }
    if (slip.failover !== undefined && failedOver !== null) {
      const [code, ...words] = slip.failover;
      ends(t, `${slip.what}, failover`, failedOver, code, ...words, /Nothing was changed/);
    }
  }
  world.configure();
  t.equal(world.running('production').length, everybody, 'production runs as before');
  t.equal(world.powerStates('recovery').size, 0, 'nothing was brought to the recovery site');
  const verified = await world.run('catalog', 'verify');
  ends(t, 'the catalog', verified, 0, /The catalog is whole/);
});

t.test('production lives: nothing moves without a reason and a name', async (t) => {
  t.setTimeout(120_000);
  const world = await World.start(t);
  ends(t, 'alive', await world.run(...failover), 10, /still answers, and 24 VMs/, /--declare-lost "REASON"/);
  ends(
    t,
    'the wrong name',
    await world.run('failover', 'shop', '--yes', 'production', '--declare-lost', 'x'),
    2,
    /--yes says production/,
  );
  ends(
    t,
    'nobody there',
    await world.run('failover', 'shop', '--declare-lost', 'x'),
    2,
    /nobody is here to confirm/,
  );
  t.equal(world.running('production').length, everybody);
  const given = await world.run(...failover, '--declare-lost', 'fire in the hall');
  ends(t, 'given up', given, 0, /24 of 24 ready/, /declare-lost, because fire in the hall/);
  t.same(world.running('production'), [], 'the copies were stopped first');
  t.equal(world.running('recovery').length, everybody);
  const blocked = world.lab
    .pool('production')
    .db.all('VM')
    .filter((vm) => vm.map('blocked_operations')['start'] !== undefined);
  t.equal(blocked.length, everybody, 'and may not be started again');
  const [, run] = await world.runs();
  t.equal(run?.outcome, 'done');
});

t.test('a group that has moved has a status of its own, and a site that comes back is red', async (t) => {
  t.setTimeout(120_000);
  const world = await World.start(t);
  await world.killProduction();
  ends(t, 'the failover', await world.run(...failover), 0, /24 of 24 ready/);
  ends(
    t,
    'a second one',
    await world.run(...failover),
    10,
    /1 problem/,
    /was failed over to site recovery already/,
  );
  ends(
    t,
    'status',
    await world.run('status'),
    3,
    /failed over; the VMs run at recovery, and nothing protects them/,
    /DR-GROUP-UNPROTECTED/,
  );
  ends(t, 'an export', await world.run('export', 'shop'), 10, /DR-EXPORT-OF-LOST-SITE/);
  await world.lab.reviveSite('production');
  ends(
    t,
    'the site is back',
    await world.run('status'),
    3,
    /Site production answers again and still holds 24 VMs/,
    /lifeboat quarantine shop/,
  );
  ends(t, 'an export from it', await world.run('export', 'shop'), 10, /not worth a recovery point/);
  const twin = world.lab.pool('production').db.byName('VM', 'db-01')[0];
  twin?.set({ power_state: 'Running' });
  ends(
    t,
    'a twin runs',
    await world.run('status'),
    3,
    /1 VM of group shop is running at both sites at once/,
    /VMs: db-01/,
    /Stop them at site production now/,
  );
});

t.test(
  'the catalog: a target that cannot be used is loud, damage is found before anything changes',
  async (t) => {
    t.setTimeout(120_000);
    const world = await World.start(t);
    const file = join(world.directory, 'a-file');
    writeFileSync(file, '');
    world.configure([/$/, `    - name: vault\n      type: directory\n      path: ${join(file, 'vault')}\n`]);
    ends(t, 'one of two', await world.run('export', 'shop'), 3, /vault/, /Next: /);
    world.configure();
    const packs = join(world.directory, '.lifeboat', 'catalog', 'packs');
    const largest = readdirSync(packs)
      .map((name) => join(packs, name))
      .sort((a, b) => statSync(b).size - statSync(a).size)[0];
    const bytes = readFileSync(largest ?? '');
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
    rmSync(largest ?? '');
    writeFileSync(largest ?? '', bytes);
    ends(t, 'verify', await world.run('catalog', 'verify'), 1, /1 damage found|damages? found/, /lost: VM/);
    await world.killProduction();
    ends(t, 'failover', await world.run(...failover), 10, /DR-DOCUMENT-UNREADABLE/, /Nothing was changed/);
    t.equal(world.powerStates('recovery').size, 0);
  },
);

t.test(
  "one VM that cannot be exported costs only itself, and a run that never began is in nobody's way",
  async (t) => {
    const world = await World.start(t, { saved: false });
    const web = world.lab.pool('production').db.byName('VM', 'web-07')[0];
    web?.put('blocked_operations', 'metadata_export', 'no copies');
    ends(t, 'export', await world.run('export', 'shop'), 3, /VM web-07 has no document in this point/);
    writeFileSync(
      join(world.directory, '.lifeboat', 'runs', '29991231T235959Z-failover-shop-ffff.jsonl'),
      '',
    );
    ends(t, 'status', await world.run('status'), 3, /The recovery point has no metadata of VM web-07/);
    ends(t, 'resume', await world.run('run', 'resume', 'latest'), 1, /never began: its journal is empty/);
    await world.killProduction();
    ends(
      t,
      'failover',
      await world.run(...failover),
      3,
      /23 of 23 ready/,
      /web-07: its metadata could not be saved/,
    );
    t.equal(world.running('recovery').length, everybody - 1);
  },
);
