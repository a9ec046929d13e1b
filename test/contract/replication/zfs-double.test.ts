/**
 * The zfs adapter against an SSH server with a small list of datasets behind it: what it costs, what it makes of the
 * answers, and what it says when the settings or the login are wrong. What ZFS really does is tried in test/real.
 */

import t, { type Test } from 'tap';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import { startSshServer, type TestSshServer } from '../../support/ssh-server.ts';
import { wordsOf } from './doubles/zfs/filer.ts';
import { failureOf } from './failure.ts';

const clock = 1_790_000_000;

interface Entry {
  readonly name: string;
  /** Properties with their source; a snapshot has `guid`, `creation` and `createtxg`. */
  readonly properties: Readonly<Record<string, readonly [value: string, source: string]>>;
}

function snapshot(name: string, guid: number, age: number): Entry {
  const at = (value: string): readonly [string, string] => [value, '-'];
  return {
    name,
    properties: {
      type: at('snapshot'),
      guid: at(String(guid)),
      creation: at(String(clock - age)),
      createtxg: at(String(10_000_000 - age)),
    },
  };
}

function replica(name: string, changes: Entry['properties'] = {}): Entry {
  return {
    name,
    properties: {
      type: ['filesystem', '-'],
      readonly: ['on', 'local'],
      mounted: ['no', '-'],
      mountpoint: [`/${name}`, 'default'],
      origin: ['-', '-'],
      'lifeboat:mark': ['target:-', 'local'],
      ...changes,
    },
  };
}

/** What `zfs get -Hp -r -o name,property,value,source PROPERTIES NAMES` prints and how it ends. */
function zfsGet(entries: readonly Entry[], words: readonly string[]): readonly [string, string, number] {
  if (!words.includes('zfs')) return ['', '', 0];
  const [properties = '', ...names] = words.slice(words.indexOf('name,property,value,source') + 1);
  const missing = names.filter((name) => !entries.some((entry) => entry.name === name));
  const lines = entries
    .filter(({ name }) => names.some((root) => name === root || /^[/@]/.test(name.slice(root.length))))
    .flatMap((entry) =>
      properties.split(',').map((property) => {
        const [value, source] = entry.properties[property] ?? ['-', '-'];
        return `${entry.name}\t${property}\t${value}\t${source}\n`;
      }),
    );
  const refusals = missing.map((name) => `cannot open '${name}': dataset does not exist\n`);
  return [lines.join(''), refusals.join(''), missing.length === 0 ? 0 : 1];
}

async function filer(t: Test, entries: readonly Entry[]): Promise<TestSshServer> {
  return startSshServer(t, {
    command: (line, channel) => {
      const words = wordsOf(line);
      const [out, err, code] = words.includes('lifeboat-probe')
        ? ['tank  guid  4711  default\ntank  version  -  default\n', '', 0]
        : zfsGet(entries, words);
      // A login script that talks, as many do.
      channel.write('Welcome to the filer\n');
      if (words.includes('lifeboat-look')) channel.write(`clock ${clock}\n`);
      channel.write(out);
      channel.stderr.write(err);
      channel.exit(code);
      channel.end();
    },
  });
}

function open(
  t: Test,
  ssh: TestSshServer,
  changes: Partial<ArraySettings> = {},
  password = 'right',
): Replication {
  const settings: ArraySettings = {
    name: 'tokyo',
    site: 'tokyo',
    type: 'zfs',
    options: {
      host: '127.0.0.1',
      port: ssh.port,
      username: ssh.username,
      host_key: ssh.hostKey,
      pool: 'tank',
      ...changes.options,
    },
    secret: { from: 'env', name: 'FILER' },
  };
  const adapter = openReplication(settings, {
    secrets: { resolve: () => Promise.resolve(password) },
    clock: systemClock,
    peers: new Map(),
  });
  t.teardown(() => adapter.close());
  return adapter;
}

t.test(
  'five hundred volumes cost one command and one question before the first, and each has its newest point and lag',
  async (t) => {
    const volumes = Array.from({ length: 500 }, (_, n) => `tank/v${n}`);
    const ssh = await filer(
      t,
      volumes.flatMap((name, n) => [
        replica(name),
        snapshot(`${name}@lifeboat-old`, 2 * n, 7200),
        snapshot(`${name}@lifeboat-new`, 2 * n + 1, 60 + n),
      ]),
    );
    const adapter = open(t, ssh);
    await adapter.observeAll(volumes);
    t.equal(ssh.commands.length, 2);
    const seen = await adapter.observeAll(volumes);
    t.equal(ssh.commands.length, 3, 'what the ZFS can do is asked once');
    t.equal(ssh.logins(), 1);
    t.equal(seen.size, 500);
    t.match(seen.get('tank/v499'), {
      role: 'target',
      writable: false,
      newestComplete: { ref: '999', tag: 'new', complete: true },
      reportedLagSeconds: 559,
      link: 'unknown',
    });
  },
);

t.test('which snapshots are points: ours, those of known replicators, and none else', async (t) => {
  const ssh = await filer(t, [
    replica('tank/v'),
    snapshot('tank/v@manual', 1, 10),
    snapshot('tank/v@syncoid_x_2026-01-01', 2, 50),
    snapshot('tank/v@zrepl_20260101', 3, 40),
    snapshot('tank/v@lifeboat-run-1', 4, 30),
    snapshot('tank/v@lifeboat-half:2', 5, 20),
  ]);
  const points = await open(t, ssh).points('tank/v');
  t.same(
    points.map(({ ref, tag }) => [ref, tag]),
    [
      ['4', 'run-1'],
      ['3', undefined],
      ['2', undefined],
    ],
    'newest first, and nothing of which parts are missing',
  );
  const only = await open(t, ssh, { options: { points: '^manual$' } }).points('tank/v');
  t.same(
    only.map(({ ref }) => ref),
    ['1', '4'],
  );
});

t.test('a mark that is inherited from above says nothing of a volume', async (t) => {
  const ssh = await filer(t, [
    replica('tank/v', { 'lifeboat:mark': ['promoted:7', 'inherited from tank'] }),
    replica('tank/w', { 'lifeboat:mark': ['promoted:7', 'local'], readonly: ['off', 'local'] }),
    replica('tank/x', { 'lifeboat:mark': ['-', '-'], readonly: ['off', 'default'] }),
  ]);
  const seen = await open(t, ssh).observeAll(['tank/v', 'tank/w', 'tank/x']);
  t.match(seen.get('tank/v'), { role: 'target', health: { level: 'bad' } });
  t.match(seen.get('tank/w'), { role: 'promoted', health: { level: 'warn' } });
  t.match(seen.get('tank/x'), { role: 'source' });
});

t.test('a volume that is not there, or not of this pool, is refused by name', async (t) => {
  const ssh = await filer(t, [replica('tank/v')]);
  const adapter = open(t, ssh);
  for (const volume of ['tank/w', 'other/v', 'tank', '-r', "tank/v'; reboot"]) {
    const error = await failureOf(adapter.observe(volume));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-VOLUME' } });
    t.ok(error.message.includes(volume));
  }
  t.notOk(
    ssh.commands.some((line) => line.includes('reboot')),
    'a name that is none of a dataset is never sent',
  );
  t.match(await adapter.identify(), { vendor: 'OpenZFS', serial: '4711' });
});

t.test('wrong password and wrong host key end in a sentence without the secret', async (t) => {
  const ssh = await filer(t, [replica('tank/v')]);
  const thief = await failureOf(open(t, ssh, {}, 'wrong-secret').observe('tank/v'));
  t.match(thief, { kind: 'auth', problem: { code: 'DR-SSH-LOGIN' } });
  t.notMatch(thief.message, /wrong-secret/);
  const stranger = await failureOf(open(t, ssh, { options: { host_key: 'B'.repeat(43) } }).fence('tank/v'));
  t.match(stranger, { kind: 'trust', problem: { code: 'DR-SSH-HOSTKEY' } });
  t.equal(ssh.commands.length, 0);
});

t.test('everything that is wrong with the options is said at once', async (t) => {
  const settings: ArraySettings = {
    name: 'tokyo',
    site: 'tokyo',
    type: 'zfs',
    options: { port: 70_000, host_key: 'short', pool: 'tank', exports: 'smoke', points: '(', extra: 1 },
    secret: null,
  };
  const secrets = { resolve: () => Promise.resolve('') };
  try {
    openReplication(settings, { secrets, clock: systemClock, peers: new Map() });
    t.fail('it was opened');
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    t.equal(error.code, 'DR-ARRAY-OPTIONS');
    for (const name of ['host', 'port', 'username', 'host_key', 'exports', 'points', 'extra'])
      t.match(error.message, new RegExp(name));
  }
});
