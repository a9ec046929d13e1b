/** The Ceph adapter over SSH against clusters in memory: the contract, and what goes wrong with rbd itself. */

import t from 'tap';
import { promotionConfirmation } from '../../../src/domain/replication.ts';
import { globalIdOf, openDoubleRig, startDouble, starts, volume } from './ceph/double.ts';
import { failureOf } from './failure.ts';
import { replicationSuite } from './suite.ts';

const double = await startDouble(t);
const adapters = { source: double.open('source'), target: double.open('target') };

replicationSuite('ceph', () => Promise.resolve(openDoubleRig(double, adapters)), {
  cannot: {
    lie: 'what a status claims is never used',
    bytesCarried: 'Ceph counts no bytes per image',
    readKept: 'a resync takes the place of what was there: nothing is kept aside',
  },
});

t.test(
  'a forced promotion that is held up goes on once only the connection of rbd-mirror is blocked',
  async (t) => {
    double.reset();
    const { clusters, open } = double;
    const point = await open('source').syncNow(volume, 'lb-last-1');
    clusters.source.up = false;
    clusters.target.waits = true;
    const target = open('target');
    await target.promote(volume, {
      mode: 'unplanned',
      point: point.ref,
      confirm: promotionConfirmation(volume, point.ref),
    });
    t.same(clusters.target.blocked, ['192.0.2.9:0/123456']);
    t.equal((await target.observe(volume)).role, 'promoted');
  },
);

t.test('a promotion that stays held ends in words, with nothing left behind on the admin host', async (t) => {
  double.reset();
  const { instead, open, servers } = double;
  const point = await open('source').syncNow(volume, 'lb-last-1');
  instead(
    'target',
    (words) => starts(words, ['mirror', 'image', 'promote', '--force']),
    (channel) => {
      // What `timeout` answers when it had to end the command.
      channel.exit(124);
      channel.end();
    },
  );
  const promoting = open('target').promote(volume, {
    mode: 'unplanned',
    point: point.ref,
    confirm: promotionConfirmation(volume, point.ref),
  });
  const error = await failureOf(promoting);
  t.match(error, { kind: 'outcome-unknown', problem: { code: 'DR-ARRAY-HELD' } });
  t.match(error.message, /systemctl stop ceph-rbd-mirror/);
  const line = servers.target.commands.find((one) => one.includes("'promote'"));
  t.match(line, /'timeout' '-k' '2' '60' 'rbd'/, 'the admin host ends it by itself');
});

t.test('a promotion that broke off over half a copy is rolled back before it counts', async (t) => {
  double.reset();
  const { clusters, open, instead } = double;
  const source = open('source');
  clusters.source.images.get(volume)?.files.set('data', 'whole');
  const point = await source.syncNow(volume, 'lb-whole-1');
  clusters.source.images.get(volume)?.files.set('data', 'newer');
  clusters.target.standsStill = true;
  clusters.source.answer(['mirror', 'image', 'snapshot', volume]);
  t.equal(clusters.target.images.get(volume)?.files.get('data'), 'newer (half)', 'half a copy is there');
  clusters.target.waits = true;
  clusters.target.answer(['mirror', 'image', 'promote', '--force', volume]);
  clusters.target.waits = false;
  clusters.target.forget();
  clusters.source.up = false;

  const target = open('target');
  const view = await target.observe(volume);
  t.match(view, { role: 'target', activity: 'promoting', health: { level: 'bad' } });
  t.same(
    (await target.points(volume)).map(({ ref }) => ref),
    [point.ref],
  );
  const promotion = {
    mode: 'unplanned',
    point: point.ref,
    confirm: promotionConfirmation(volume, point.ref),
  } as const;
  // Between Ceph's "promoted" and the rollback the caller dies: what is left says that it is not finished.
  instead(
    'target',
    (words) => starts(words, ['snap', 'rollback']),
    (channel) => {
      channel.exit(1);
      channel.end();
    },
  );
  await failureOf(target.promote(volume, promotion));
  t.match(await target.observe(volume), {
    role: 'promoted',
    activity: 'promoting',
    health: { level: 'bad' },
  });
  await open('target').promote(volume, promotion);
  t.equal(clusters.target.images.get(volume)?.files.get('data'), 'whole');
  t.match(await target.observe(volume), { role: 'promoted', health: { level: 'warn' } });
});

t.test('rbd that aborts is told apart from rbd that refuses', async (t) => {
  double.reset();
  const { instead, open } = double;
  for (const die of [
    { signal: 'ABRT', text: '' },
    { signal: null, text: '*** Caught signal (Aborted) **' },
  ]) {
    instead(
      'target',
      (words) => starts(words, ['snap', 'ls']),
      (channel) => {
        channel.stderr.write(die.text);
        if (die.signal === null) channel.exit(1);
        else channel.exit(die.signal);
        channel.end();
      },
    );
    const error = await failureOf(open('target').points(volume));
    t.match(error, { kind: 'protocol', problem: { code: 'DR-ARRAY-CRASHED' } });
  }
});

t.test('no rbd, no cluster, no key, no mirroring, nonsense: each in its own words', async (t) => {
  double.reset();
  const { clusters, instead, open } = double;
  const info = (words: readonly string[]) => starts(words, ['info']);
  const saying = (code: number, text: string, printed = '') => {
    instead('target', info, (channel) => {
      channel.write(printed);
      channel.stderr.write(text);
      channel.exit(code);
      channel.end();
    });
    return failureOf(open('target').observe(volume));
  };
  t.match(await saying(127, "timeout: failed to run command 'rbd': No such file or directory"), {
    problem: { code: 'DR-ARRAY-TOOLS' },
  });
  t.match(await saying(1, "rbd: couldn't connect to the cluster!\n(1) Operation not permitted"), {
    kind: 'auth',
  });
  t.match(await saying(110, "rbd: couldn't connect to the cluster!"), { kind: 'unreachable' });
  t.match(await saying(124, ''), { kind: 'unreachable', problem: { code: 'DR-ARRAY-UNREACHABLE' } });
  t.match(await saying(0, '', 'Welcome!'), { kind: 'protocol' });
  clusters.target.create('lb/plain');
  t.match(await failureOf(open('target').observe('lb/plain')), { problem: { code: 'DR-ARRAY-VOLUME' } });
  for (const name of ['lb', 'lb/--force', 'lb/a@b', 'a/b/c/d', '/a'])
    t.match(await failureOf(open('target').observe(name)), {
      kind: 'refused',
      problem: { code: 'DR-ARRAY-VOLUME' },
    });
});

t.test('a source that a host has open is not prepared', async (t) => {
  double.reset();
  const { clusters, instead, open } = double;
  instead(
    'source',
    (words) => starts(words, ['status']),
    (channel) => {
      channel.write(
        '{"watchers":[{"address":"192.0.2.9:0/5","client":9},{"address":"192.0.2.50:0/7","client":5}]}\n',
      );
      channel.exit(0);
      channel.end();
    },
  );
  const error = await failureOf(open('source').prepare(volume, 'lb-final-1'));
  t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-IN-USE' } });
  t.match(error.message, /192\.0\.2\.50/);
  t.notMatch(error.message, /192\.0\.2\.9:/, 'the mirror daemon of the other side is no host');
  t.equal(clusters.source.images.get(volume)?.primary, true);
});

t.test('a copy that Lifeboat has not made is never removed', async (t) => {
  double.reset();
  const { clusters, open } = double;
  const foreign = 'lb/lifeboat-drill-2-d1-shop';
  clusters.target.create(foreign, { parent: 'lb/other' });
  const error = await failureOf(open('target').drillStop(volume, 'd1'));
  t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-NOT-OURS' } });
  t.ok(clusters.target.images.has(foreign));
});

t.test('500 images cost as many commands as one', async (t) => {
  double.reset();
  const { clusters, open, servers } = double;
  const volumes = Array.from({ length: 500 }, (_, at) => `lb/many${at}`);
  for (const [at, one] of volumes.entries()) clusters.source.createMirrored(one, globalIdOf(at + 100));
  clusters.source.copyAll();
  const target = open('target');
  const cost = async (work: () => Promise<unknown>): Promise<number> => {
    const before = servers.target.commands.length;
    await work();
    return servers.target.commands.length - before;
  };
  const one = await cost(() => target.observeAll(volumes.slice(0, 1)));
  const all = await cost(() => target.observeAll(volumes));
  t.equal(all, one);
  const views = await target.observeAll(volumes);
  t.equal(volumes.filter((each) => 'role' in (views.get(each) ?? {})).length, 500);
});
