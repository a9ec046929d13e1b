/** The contract over the linstor adapter and a double of two LINSTOR clusters, and what is particular to LINSTOR. */

import t, { type Test } from 'tap';
import { copyName } from '../../../src/adapters/replication/linstor/drills.ts';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import { discardConfirmation, promotionConfirmation } from '../../../src/domain/replication.ts';
import { linstorRigs, startLinstorWorld } from './doubles/linstor/rig.ts';
import { failureOf } from './failure.ts';
import type { Rig } from './rig.ts';
import { replicationSuite } from './suite.ts';

const world = await startLinstorWorld();
t.teardown(() => world.stop());
const rigs = linstorRigs(world);
const open = (test: Test): Promise<Rig> => rigs((work) => test.teardown(work));

replicationSuite('linstor', rigs, {
  cannot: { lie: 'a LINSTOR controller claims nothing of a replica beside the points it holds' },
});

const { source, target } = world.controllers;

t.test('options that do not fit are told all at once, and nobody is contacted', async (t) => {
  const options = { url: 'http://a', keep_points: 1, colour: 'red' };
  const settings = { ...world.adapters.settings('source'), options };
  const open = () =>
    openReplication(settings, {
      secrets: { resolve: async () => '' },
      clock: systemClock,
      peers: new Map(),
    });
  t.throws(open, /url.*remote.*keep_points.*colour/s);
  t.throws(open, OperatorError);
});

t.test(
  'an open device stops prepare, demote and fence, by the name of its node; nothing is left changed',
  async (t) => {
    const rig = await open(t);
    const device = source.cluster.definition(rig.volumes.source);
    device.nodes.set('source-1', { diskless: true, inUse: true });
    for (const work of [
      () => rig.source.prepare(rig.volumes.source, 'lb-final-1'),
      () => rig.source.fence(rig.volumes.source),
    ]) {
      const error = await failureOf(work());
      t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-IN-USE' } });
      t.match(error.message, /source-1/);
      t.same(device.props, {});
      t.match(await rig.source.observe(rig.volumes.source), { role: 'source', writable: true });
    }
  },
);

t.test('a promoted device takes writes although its last snapshot was of a blocked one', async (t) => {
  const rig = await open(t);
  const last = await rig.source.prepare(rig.volumes.source, 'lb-final-1');
  const copied = target.cluster.definition(rig.volumes.target).props;
  t.match(copied, { 'DrbdOptions/Resource/auto-promote': 'no' }, 'the shipment brought the block along');
  const confirm = promotionConfirmation(rig.volumes.target, last.ref);
  await rig.target.promote(rig.volumes.target, { mode: 'planned', point: last.ref, confirm });
  t.match(await rig.target.observe(rig.volumes.target), { role: 'promoted', writable: true });
});

t.test('a promotion that died before it let anybody write is finished by the same call', async (t) => {
  const rig = await open(t);
  const last = await rig.source.prepare(rig.volumes.source, 'lb-final-1');
  const confirm = promotionConfirmation(rig.volumes.target, last.ref);
  const promotion = { mode: 'planned', point: last.ref, confirm } as const;
  target.traps.push({ matches: ({ body }) => JSON.stringify(body).includes('promoted:'), effect: 'die' });
  await failureOf(rig.target.promote(rig.volumes.target, promotion));
  t.match(await rig.target.observe(rig.volumes.target), { role: 'promoted', writable: false });
  await rig.target.promote(rig.volumes.target, promotion);
  t.match(await rig.target.observe(rig.volumes.target), { role: 'promoted', writable: true });
});

t.test('a cluster that is busy with an earlier shipment is waited for', async (t) => {
  const rig = await open(t);
  source.cluster.busyFor = 5;
  t.match(await rig.source.syncNow(rig.volumes.source, 'lb-busy-1'), { tag: 'lb-busy-1', complete: true });
});

t.test('old points of ours go, others stay; what was kept aside stays', async (t) => {
  const rig = await open(t);
  for (let i = 1; i <= 8; i += 1) await rig.source.syncNow(rig.volumes.source, `lb-many-${i}`);
  const tags = (await rig.target.points(rig.volumes.target)).map(({ tag }) => tag ?? 'of a schedule');
  t.same(tags, [
    'lb-many-8',
    'lb-many-7',
    'lb-many-6',
    'lb-many-5',
    'lb-many-4',
    'lb-many-3',
    'of a schedule',
  ]);
  const own = [...source.cluster.definition(rig.volumes.source).snaps.keys()];
  t.equal(own.length, 7);
  t.ok(own.includes('back_20260101_000000'));
});

t.test('a definition that has the name of a copy and no mark of ours is never touched', async (t) => {
  const rig = await open(t);
  const [point] = await rig.target.points(rig.volumes.target);
  const name = copyName(rig.volumes.target, 'lb-d1');
  target.cluster.deploy(name);
  const order = { drill: 'lb-d1', point: point?.ref ?? '', access: rig.hosts('target') };
  t.match(await failureOf(rig.target.drillStart(rig.volumes.target, order)), {
    problem: { code: 'DR-ARRAY-NOT-OURS' },
  });
  await rig.target.drillStop(rig.volumes.target, 'lb-d1');
  t.ok(target.cluster.definitions.has(name));
});

t.test('hosts that are no nodes of the cluster are named', async (t) => {
  const rig = await open(t);
  const access = { addresses: ['192.0.2.7'], iqns: [] };
  const error = await failureOf(rig.source.expose(rig.volumes.source, access));
  t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-NOT-A-NODE' } });
  t.match(error.message, /192\.0\.2\.7/);
});

t.test('a shipment that failed is told by its remote, and looks bad', async (t) => {
  const rig = await open(t);
  world.link.held = true;
  const broken = failureOf(rig.source.syncNow(rig.volumes.source, 'lb-broken-1'));
  while ((await rig.source.observe(rig.volumes.source)).activity !== 'transferring');
  world.link.up = false;
  t.match(await broken, { problem: { code: 'DR-ARRAY-LINK' } });
  t.match(await rig.source.observe(rig.volumes.source), { health: { level: 'bad' } });
});

t.test(
  'a demotion leaves nothing that a person did not ask for: the other side must be promoted',
  async (t) => {
    const rig = await open(t);
    const { volumes } = rig;
    const { common } = await rig.source.divergence(volumes.source);
    const confirm = discardConfirmation('demote', volumes.source, common?.ref ?? null);
    const error = await failureOf(rig.source.demote(volumes.source, { discard: true, confirm }));
    t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-ROLE' } });
    t.match(await rig.source.observe(volumes.source), { role: 'source', writable: true });
  },
);
