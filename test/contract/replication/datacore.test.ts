/** The contract over the datacore adapter and a double of two SANsymphony server groups, and what is particular to it. */

import t, { type Test } from 'tap';
import { openDatacoreArray } from '../../../src/adapters/replication/datacore/datacore-array.ts';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import { promotionConfirmation } from '../../../src/domain/replication.ts';
import { datacoreRigs, startDatacoreWorld, volumes } from './doubles/datacore/rig.ts';
import { failureOf } from './failure.ts';
import type { Rig } from './rig.ts';
import { replicationSuite } from './suite.ts';

const world = await startDatacoreWorld();
t.teardown(() => world.stop());
const rigs = datacoreRigs(world);

replicationSuite('datacore', rigs, {
  cannot: { readKept: 'SANsymphony keeps nothing aside when a direction is turned, and the adapter says so' },
});

const { source, target } = world.servers;
const open = (test: Test): Promise<Rig> => rigs((work) => test.teardown(work));

t.test('options that do not fit are told all at once, and nobody is contacted', async (t) => {
  const options = { url: 'https://a', server_host: 'name-of-it', colour: 'red' };
  const settings = { ...world.adapters.settings('source'), options };
  const opening = () =>
    openReplication(settings, {
      secrets: { resolve: async () => '' },
      clock: systemClock,
      peers: new Map(),
    });
  t.throws(opening, /username.*server_host.*colour/s);
  t.throws(opening, OperatorError);
  const { portals: _, ...rest } = world.adapters.settings('source').options;
  const incomplete = { ...settings, options: rest };
  const open = () =>
    openDatacoreArray(incomplete, {
      secrets: { resolve: async () => '' },
      clock: systemClock,
      peers: new Map(),
    });
  t.throws(open, /portals and target_iqn/);
});

t.test('a token that is over is fetched again once, in the middle of a verb', async (t) => {
  const rig = await open(t);
  await rig.source.observe(rig.volumes.source);
  const before = source.logins;
  source.expireTokens();
  t.match(await rig.source.syncNow(rig.volumes.source, 'lb-token-1'), { complete: true });
  t.equal(source.logins - before, 1, 'the source logged in once more');
});

t.test('a refused password is sent once, not until everybody is locked out', async (t) => {
  await open(t);
  const stranger = world.adapters.adapter('source', [{ volumes }], { secret: 'not-the-password' });
  for (let i = 0; i < 5; i += 1)
    t.match(await failureOf(stranger.identify()), { kind: 'auth', problem: { code: 'DR-ARRAY-PASSWORD' } });
  t.equal(source.wrongTries, 1);
});

t.test('an array that lets nobody in says for how long', async (t) => {
  const rig = await open(t);
  source.expireTokens();
  source.wrongTries = 3;
  const error = await failureOf(world.adapters.adapter('source', [{ volumes }]).observe(rig.volumes.source));
  t.match(error, { kind: 'auth', problem: { code: 'DR-ARRAY-LOCKED-OUT' } });
  t.match(error.message, /wait 30 seconds/i);
});

t.test('an operation that must wait for another one is sent again', async (t) => {
  const rig = await open(t);
  const point = await rig.source.syncNow(rig.volumes.source, 'lb-busy-1');
  const confirm = promotionConfirmation(rig.volumes.target, point.ref);
  target.busyOperations = 2;
  await rig.target.promote(rig.volumes.target, { mode: 'unplanned', point: point.ref, confirm });
  t.equal(target.busyOperations, 0);
  t.match(await rig.target.observe(rig.volumes.target), { role: 'promoted' });
});

t.test('what people wrote into a description stays, and what they spoilt claims nothing', async (t) => {
  const rig = await open(t);
  const disk = target.group.byAlias(rig.volumes.target);
  const words = disk.description;
  for (let i = 1; i <= 6; i += 1) await rig.source.syncNow(rig.volumes.source, `lb-many-${i}`);
  t.ok(disk.description.startsWith(`${words} [lifeboat {`), disk.description);
  const points = await rig.target.points(rig.volumes.target);
  t.same(
    points.map(({ tag }) => tag),
    ['lb-many-6', 'lb-many-5', 'lb-many-4', 'lb-many-3'],
  );
  disk.description = disk.description.replace('"tag"', '"label"');
  t.same(await rig.target.points(rig.volumes.target), []);
});

t.test('test mode that somebody else has switched on is left alone', async (t) => {
  const rig = await open(t);
  const point = await rig.source.syncNow(rig.volumes.source, 'lb-theirs-1');
  const { replication } = target.group.byAlias(rig.volumes.target);
  if (replication === null) throw new Error('no replication');
  replication.stand = 'testing';
  const order = { drill: 'lb-d1', point: point.ref, access: rig.hosts('target') };
  t.match(await failureOf(rig.target.drillStart(rig.volumes.target, order)), {
    problem: { code: 'DR-ARRAY-NOT-OURS' },
  });
  await rig.target.drillStop(rig.volumes.target, 'lb-d1');
  t.equal(replication.stand, 'testing');
  t.match(await rig.target.observe(rig.volumes.target), { role: 'in-test' });
});

t.test('initiators that no host has are named', async (t) => {
  const rig = await open(t);
  const access = { addresses: [], iqns: ['iqn.2026-01.org.example:unknown'] };
  const error = await failureOf(rig.source.expose(rig.volumes.source, access));
  t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-NOT-A-NODE' } });
  t.match(error.message, /example:unknown/);
});

t.test('a broken link is told by what the array says of its transfers', async (t) => {
  const rig = await open(t);
  world.link.up = false;
  t.match(await rig.source.observe(rig.volumes.source), { link: 'down', health: { level: 'bad' } });
  t.match(await failureOf(rig.source.syncNow(rig.volumes.source, 'lb-broken-1')), {
    problem: { code: 'DR-ARRAY-LINK' },
  });
});
