/**
 * The zfs adapter where the ZFS can do more than the one that runs in test/real: transfers that go on, bookmarks, zvols.
 * Both filers are models of OpenZFS 2.x behind an SSH server; the bytes go through this machine.
 */

import t, { type Test } from 'tap';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { promotionConfirmation } from '../../../src/domain/replication.ts';
import type { ArraySettings } from '../../../src/domain/settings.ts';
import type { Replication } from '../../../src/ports/replication.ts';
import type { TestSshServer } from '../../support/ssh-server.ts';
import { startZfsFiler, type ZfsFiler } from './doubles/zfs/filer.ts';
import { ZfsPool } from './doubles/zfs/pool.ts';
import { failureOf } from './failure.ts';

interface Pair {
  readonly here: ZfsFiler;
  readonly there: ZfsFiler;
  readonly source: Replication;
  readonly target: Replication;
}

const able = { resume: true, bookmarks: true };

/** A volume at one filer and the adapters of both; the bytes go through this machine. */
async function pairOf(
  t: Test,
  volume: string,
  type: 'filesystem' | 'volume' = 'filesystem',
  features = [able, able] as const,
): Promise<Pair> {
  const [here, there] = await Promise.all([
    startZfsFiler(t, new ZfsPool('tank', { ...features[0] })),
    startZfsFiler(t, new ZfsPool('tank', { ...features[1] })),
  ]);
  here.pool.create(volume, type).content = 'the first state of the volume';
  const settings = (name: string, ssh: TestSshServer): ArraySettings => ({
    ...{ name, site: name, type: 'zfs', secret: { from: 'env', name: 'FILER' } },
    options: {
      ...{ host: '127.0.0.1', port: ssh.port, username: ssh.username, host_key: ssh.hostKey },
      ...{ pool: 'tank', via: 'lifeboat', keep_points: 2 },
    },
  });
  const sides = [settings('tokyo', here), settings('osaka', there)] as const;
  const adapter = (own: ArraySettings, other: ArraySettings): Replication => {
    const opened = openReplication(own, {
      secrets: { resolve: () => Promise.resolve('right') },
      clock: systemClock,
      peers: new Map([[volume, { array: other, volume }]]),
    });
    t.teardown(() => opened.close());
    return opened;
  };
  const [source, target] = [adapter(sides[0], sides[1]), adapter(sides[1], sides[0])];
  return { here, there, source, target };
}

t.test('what the ZFS can do is asked of it, and said', async (t) => {
  const { source } = await pairOf(t, 'tank/v');
  t.match(await source.identify(), {
    serial: '4711',
    model: 'zfs-2.2.2-1, pool with feature flags, resumed transfers, bookmarks, zvols',
  });
  const old = await pairOf(t, 'tank/v', 'filesystem', [{ resume: false, bookmarks: false }, able]);
  t.match((await old.source.identify()).model, /no resumed transfers, no bookmarks/);
});

t.test('a transfer that was cut goes on where it was, the first one and the next', async (t) => {
  const { here, there, source, target } = await pairOf(t, 'tank/v');
  for (const tag of ['lb-1', 'lb-2']) {
    here.pool.dataset('tank/v').content = `what ${tag} holds, and more than ten bytes of it`;
    here.cutNext(10);
    await failureOf(source.syncNow('tank/v', tag));
    t.notOk((await target.points('tank/v')).some((point) => point.tag === tag));
    t.match(await target.observe('tank/v'), { writable: false });
    const point = await source.syncNow('tank/v', tag);
    t.equal((await target.points('tank/v'))[0]?.ref, point.ref);
    t.equal(there.pool.dataset('tank/v').content, here.pool.dataset('tank/v').content);
    t.equal(here.sends.at(-1)?.[0], '-t');
  }
  t.equal(here.sends.length, 4);
});

t.test('what breaks off again while it goes on, and has come further, goes on by itself', async (t) => {
  const { here, there, source } = await pairOf(t, 'tank/v');
  here.cutNext(5);
  await failureOf(source.syncNow('tank/v', 'lb-1'));
  here.cutNext(5);
  await source.syncNow('tank/v', 'lb-1');
  t.equal(there.pool.dataset('tank/v').content, 'the first state of the volume');
  t.same(
    here.sends.map(([option]) => option),
    ['tank/v@lifeboat-lb-1', '-t', '-t'],
  );
  here.pool.dataset('tank/v').content = 'the second state of the volume';
  here.cutNext(5);
  await failureOf(source.syncNow('tank/v', 'lb-2'));
  here.cutNext(0);
  await failureOf(source.syncNow('tank/v', 'lb-2'));
});

t.test('a cut transfer of an older point is finished first, and the asked one follows', async (t) => {
  const { here, there, source, target } = await pairOf(t, 'tank/v');
  await source.syncNow('tank/v', 'lb-1');
  here.pool.dataset('tank/v').content = 'the second state of the volume';
  here.cutNext(4);
  await failureOf(source.syncNow('tank/v', 'lb-2'));
  here.pool.dataset('tank/v').content = 'the third state of the volume';
  await source.syncNow('tank/v', 'lb-3');
  t.same((await target.points('tank/v')).map(({ tag }) => tag).slice(0, 2), ['lb-3', 'lb-2']);
  t.equal(there.pool.dataset('tank/v').content, 'the third state of the volume');
});

t.test('what can no longer be finished is dropped, and sent anew', async (t) => {
  const { here, there, source, target } = await pairOf(t, 'tank/v');
  await source.syncNow('tank/v', 'lb-1');
  here.pool.dataset('tank/v').content = 'the second state of the volume';
  here.cutNext(4);
  await failureOf(source.syncNow('tank/v', 'lb-2'));
  here.pool.destroy('tank/v@lifeboat-lb-2');
  const point = await source.syncNow('tank/v', 'lb-3');
  t.equal((await target.points('tank/v'))[0]?.ref, point.ref);
  t.equal(there.pool.dataset('tank/v').partial, null);
  t.same(here.sends.at(-1)?.slice(0, 2), ['-i', '@lifeboat-lb-1']);
});

t.test('where one of the two filers cannot resume, a cut transfer begins anew', async (t) => {
  const { here, there, source } = await pairOf(t, 'tank/v', 'filesystem', [{ ...able, resume: false }, able]);
  await source.syncNow('tank/v', 'lb-1');
  here.pool.dataset('tank/v').content = 'the second state of the volume';
  here.cutNext(4);
  await failureOf(source.syncNow('tank/v', 'lb-2'));
  t.equal(there.pool.dataset('tank/v').partial, null);
  await source.syncNow('tank/v', 'lb-2');
  t.same(
    here.sends.map(([option]) => option),
    ['tank/v@lifeboat-lb-1', '-i', '-i'],
  );
});

t.test('a promotion drops what was on its way, and is of the point that it names', async (t) => {
  const { here, there, source, target } = await pairOf(t, 'tank/v');
  const point = await source.syncNow('tank/v', 'lb-1');
  here.pool.dataset('tank/v').content = 'the second state of the volume';
  here.cutNext(4);
  await failureOf(source.syncNow('tank/v', 'lb-2'));
  const confirm = promotionConfirmation('tank/v', point.ref);
  await target.promote('tank/v', { mode: 'unplanned', point: point.ref, confirm });
  t.equal(there.pool.dataset('tank/v').partial, null);
  t.match(await target.observe('tank/v'), { role: 'promoted', writable: true });
});

t.test('the common point outlives its snapshot at the source', async (t) => {
  const { here, there, source, target } = await pairOf(t, 'tank/v');
  const first = await source.syncNow('tank/v', 'lb-1');
  here.pool.snapshot('tank/v@lifeboat-lb-1').snapshot.holds.clear();
  here.pool.destroy('tank/v@lifeboat-lb-1');
  t.match(await source.observe('tank/v'), { newestComplete: { ref: first.ref } });
  here.pool.dataset('tank/v').content = 'the second state of the volume';
  const point = await source.syncNow('tank/v', 'lb-2');
  t.same(here.sends.at(-1)?.slice(0, 2), ['-i', `#lifeboat-${first.ref}`]);
  t.same(
    (await target.points('tank/v')).map(({ ref }) => ref),
    [point.ref, first.ref],
  );
  t.equal(there.pool.dataset('tank/v').content, 'the second state of the volume');
});

t.test('bookmarks of ours do not pile up, those of others stay, and the newest never goes', async (t) => {
  const { here, source } = await pairOf(t, 'tank/v');
  const points = [await source.syncNow('tank/v', 'lb-0')];
  here.pool.bookmark('tank/v@lifeboat-lb-0', 'tank/v#zrepl_CURSOR');
  for (const n of [1, 2, 3, 4]) points.push(await source.syncNow('tank/v', `lb-${n}`));
  t.same(
    here.pool.dataset('tank/v').bookmarks.map(({ short }) => short),
    ['zrepl_CURSOR', ...points.slice(2).map(({ ref }) => `lifeboat-${ref}`)],
  );
});

t.test('a bookmark below a volume is no part of it', async (t) => {
  const { here, source, target } = await pairOf(t, 'tank/v');
  here.pool.create('tank/v/logs', 'filesystem');
  await source.syncNow('tank/v', 'lb-1');
  here.pool.bookmark('tank/v/logs@lifeboat-lb-1:2', 'tank/v/logs#zrepl_CURSOR');
  await source.syncNow('tank/v', 'lb-2');
  t.match((await target.points('tank/v'))[0], { tag: 'lb-2', consistency: 'group' });
});

t.test('a zvol is replicated and promoted; who shows it to hosts is said beforehand', async (t) => {
  const { there, source, target } = await pairOf(t, 'tank/lun', 'volume');
  t.match(await source.capabilities(), { expose: 'none', drill: 'none', syncNow: true });
  const point = await source.syncNow('tank/lun', 'lb-1');
  t.match(there.pool.dataset('tank/lun'), { type: 'volume', content: 'the first state of the volume' });
  t.match(await target.observe('tank/lun'), { role: 'target', writable: false });
  const confirm = promotionConfirmation('tank/lun', point.ref);
  await target.promote('tank/lun', { mode: 'unplanned', point: point.ref, confirm });
  t.match(await target.observe('tank/lun'), { role: 'promoted', writable: true });
  const error = await failureOf(target.expose('tank/lun', { addresses: ['10.1.1.1'], iqns: [] }));
  t.match(error, { problem: { code: 'DR-ARRAY-REFUSED' } });
  t.match(await (await pairOf(t, 'tank/v')).source.capabilities(), { expose: 'nfs', drill: 'clone' });
});

t.test(
  'a zvol is closed for a planned move, opened again, and no copy of it is left by a refused drill',
  async (t) => {
    const { here, there, source, target } = await pairOf(t, 'tank/lun', 'volume');
    const first = await source.syncNow('tank/lun', 'lb-1');
    const drill = { drill: 'd1', point: first.ref, access: { addresses: ['10.1.1.1'], iqns: [] } };
    t.match(await failureOf(target.drillStart('tank/lun', drill)), { problem: { code: 'DR-ARRAY-REFUSED' } });
    t.same([...there.pool.datasets.keys()], ['tank/lun']);
    here.pool.dataset('tank/lun').content = 'the last state of the volume';
    await source.prepare('tank/lun', 'lb-2');
    t.match(await source.observe('tank/lun'), { role: 'demoted', writable: false });
    t.equal(there.pool.dataset('tank/lun').content, 'the last state of the volume');
    await source.unprepare('tank/lun');
    t.match(await source.observe('tank/lun'), { role: 'source', writable: true });
    await source.conceal('tank/lun', { addresses: ['10.1.1.1'], iqns: [] });
  },
);

t.test('a first transfer that died before it closed the replica', async (t) => {
  const { there, source, target } = await pairOf(t, 'tank/v');
  there.loseCloseOfNext();
  await failureOf(source.syncNow('tank/v', 'lb-1'));
  t.match(await target.observe('tank/v'), { role: 'source', writable: true });
  const point = await source.syncNow('tank/v', 'lb-1');
  t.match(await target.observe('tank/v'), {
    role: 'target',
    writable: false,
    newestComplete: { ref: point.ref },
  });
});

for (const [what, change] of [
  ['was written to', (pool: ZfsPool) => (pool.dataset('tank/v').content = 'of others')],
  ['has a snapshot of others', (pool: ZfsPool) => pool.cut('tank/v@manual', new Map())],
  ['is shown to hosts', (pool: ZfsPool) => pool.dataset('tank/v').local.set('lifeboat:access', '10.1.1.1')],
  ['was a sender', (pool: ZfsPool) => pool.dataset('tank/v').local.set('lifeboat:sent', '7')],
] as const)
  t.test(`what takes writes and ${what} is left alone`, async (t) => {
    const { there, source, target } = await pairOf(t, 'tank/v');
    there.loseCloseOfNext();
    await failureOf(source.syncNow('tank/v', 'lb-1'));
    change(there.pool);
    const error = await failureOf(source.syncNow('tank/v', 'lb-1'));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-REFUSED' } });
    t.match(error.message, /takes writes/);
    t.match(await target.observe('tank/v'), { writable: true });
  });
