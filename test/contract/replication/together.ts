/**
 * Consistency groups: two volumes of one group, each with the verbs of its own, and one moment for both. Where the
 * capabilities say that there are none, every verb that would make or use one moment is refused for such volumes.
 */
import { aloneOnly } from '../../../src/adapters/replication/consistency-group.ts';
import { discardConfirmation, type ReplicaPoint } from '../../../src/domain/replication.ts';
import { Bench, notDiscarding } from './bench.ts';
import type { Case } from './case.ts';
import type { Side } from './rig.ts';

/** Both volumes of a group. */
async function both(bench: Bench): Promise<readonly [Bench, Bench]> {
  if (bench.rig.together === undefined) throw new Error('the adapter claims groups and its rig has none');
  const [first, second] = await bench.rig.together();
  const can = await first.target.capabilities();
  return [new Bench(bench.test, first, can), new Bench(bench.test, second, can)];
}

/** As `openReplication` opens it for volumes that sites.yaml keeps together. */
async function refusesGroups(bench: Bench): Promise<void> {
  const { rig } = bench;
  const guarded = (side: Side) => aloneOnly(rig[side], new Set([bench.volume(side)]), 'it knows none');
  const [source, target] = [guarded('source'), guarded('target')];
  const [here, there] = [bench.volume('source'), bench.volume('target')];
  const access = rig.hosts('target');
  await bench.unsupported(source.syncNow(here, 'lb-group-1'), 'syncNow');
  await bench.unsupported(source.prepare(here, 'lb-group-1'), 'prepare');
  await bench.unsupported(source.demote(here, notDiscarding), 'demote');
  const promotion = { mode: 'unplanned' as const, point: 'p', confirm: `${there}@p` };
  await bench.unsupported(target.promote(there, promotion), 'promote');
  await bench.unsupported(target.reverse(there, 'lb-group-2', notDiscarding), 'reverse');
  await bench.unsupported(target.restore(there, notDiscarding), 'restore');
  await bench.unsupported(target.drillStart(there, { drill: 'd', point: 'p', access }), 'drillStart');
  await bench.role('source', 'source');
  await bench.role('target', 'target');
}

async function sent(members: readonly [Bench, Bench], tag: string): Promise<ReplicaPoint> {
  const [first, second] = members;
  const point = await first.rig.source.syncNow(first.volume('source'), tag);
  const same = await second.rig.source.syncNow(second.volume('source'), tag);
  first.test.equal(same.ref, point.ref, 'one point for both');
  return point;
}

async function promoted(
  members: readonly [Bench, Bench],
  mode: 'planned' | 'unplanned',
  point: ReplicaPoint,
): Promise<void> {
  for (const one of members) await one.promote(mode, point);
}

async function demoted(members: readonly [Bench, Bench]): Promise<void> {
  for (const one of members)
    await one.rig.source.demote(one.volume('source'), await one.discarding('demote', 'source'));
}

async function turned(members: readonly [Bench, Bench], tag: string): Promise<ReplicaPoint> {
  const points: ReplicaPoint[] = [];
  for (const one of members)
    points.push(
      await one.rig.target.reverse(one.volume('target'), tag, await one.discarding('reverse', 'target')),
    );
  const [point, same] = points;
  if (point === undefined) throw new Error('nothing was turned round');
  members[0].test.equal(same?.ref, point.ref, 'one point back for both');
  return point;
}

export const togetherCases: readonly Case[] = [
  {
    title: 'an array either keeps volumes at one moment, or refuses to be asked for it',
    async run(test, bench) {
      if (bench.can.consistencyGroups) test.type(bench.rig.together, 'function');
      else await refusesGroups(bench);
    },
  },
  {
    title: 'volumes of a consistency group: one tag is one point of all, with what was on all of them then',
    grouped: true,
    async run(test, bench) {
      const members = await both(bench);
      const [first, second] = members;
      await first.write('source', 'log', 'one');
      await second.write('source', 'data', 'one');
      const point = await first.rig.source.syncNow(first.volume('source'), 'lb-group-1');
      test.equal(point.consistency, 'group');
      await second.write('source', 'data', 'two');
      const same = await second.rig.source.syncNow(second.volume('source'), 'lb-group-1');
      test.equal(same.ref, point.ref, 'asked for by the other volume, it is the same point');
      test.equal(same.takenAt, point.takenAt);
      for (const one of members) {
        const points = await one.rig.target.points(one.volume('target'));
        test.equal(points.filter(({ ref }) => ref === point.ref).length, 1, 'each volume holds it once');
        test.equal((await one.newest())?.ref, point.ref);
      }
      test.equal(await first.contentOf(point, 'log'), 'one');
      // An array without older points opens with what has arrived: of one moment, too, and not before this one.
      if (first.can.promoteToPoint)
        test.equal(await second.contentOf(point, 'data'), 'one', 'not what was written in between');
      const next = await sent(members, 'lb-group-2');
      test.not(next.ref, point.ref);
      test.equal(await second.contentOf(next, 'data'), 'two');
    },
  },
  {
    title: 'volumes of a consistency group: a prepared one closes all of them before the last point is cut',
    grouped: true,
    async run(test, bench) {
      const members = await both(bench);
      const [first, second] = members;
      await second.write('source', 'data', 'the last word');
      const last = await first.rig.source.prepare(first.volume('source'), 'lb-final-1');
      for (const one of members) {
        await one.role('source', 'demoted');
        const taken = await one.takesWrites({ side: 'source', exposed: null, as: 'host' });
        test.equal(taken, false, 'no host can write to either');
      }
      const same = await second.rig.source.prepare(second.volume('source'), 'lb-final-1');
      test.equal(same.ref, last.ref);
      for (const one of members) await one.rig.source.unprepare(one.volume('source'));
      for (const one of members) await one.role('source', 'source');
      await second.write('source', 'data', 'after all');
      const again = await first.rig.source.prepare(first.volume('source'), 'lb-final-2');
      test.equal((await second.rig.source.prepare(second.volume('source'), 'lb-final-2')).ref, again.ref);
      await promoted(members, 'planned', again);
      test.equal(await second.read('target', 'data'), 'after all', 'nothing is lost');
      for (const one of members)
        await one.refused(one.rig.source.unprepare(one.volume('source')), 'the other side is promoted');
    },
  },
  {
    title: 'volumes of a consistency group: all are promoted to one point, also when newer ones have arrived',
    grouped: true,
    async run(test, bench) {
      const members = await both(bench);
      const [first, second] = members;
      await first.write('source', 'log', 'one');
      await second.write('source', 'data', 'one');
      const point = await sent(members, 'lb-group-1');
      await first.write('source', 'log', 'two');
      await second.write('source', 'data', 'two');
      const newer = await sent(members, 'lb-group-2');
      const [chosen, other] = first.can.promoteToPoint ? [point, newer] : [newer, point];
      await first.promote('unplanned', chosen);
      await first.rig.write(await first.place('target'), 'log', 'served');
      const left = await second.rig.target.points(second.volume('target'));
      if ((await second.rig.target.observe(second.volume('target'))).role === 'target') {
        test.same(
          left.map(({ ref }) => ref),
          [chosen.ref],
          'from here on there is only one point for the other volume',
        );
      }
      await second.refused(
        second.rig.target.promote(second.volume('target'), second.promotion('unplanned', other)),
        'the first volume went to another point',
      );
      await second.promote('unplanned', chosen);
      await second.promote('unplanned', chosen);
      test.equal(
        await first.read('target', 'log'),
        'served',
        'the second promotion took nothing from the first',
      );
      test.equal(await second.read('target', 'data'), first.can.promoteToPoint ? 'one' : 'two');
    },
  },
  {
    title: 'volumes of a consistency group: a drill of each from one point, while replication goes on',
    grouped: true,
    async run(test, bench) {
      const members = await both(bench);
      const [first, second] = members;
      await first.write('source', 'log', 'one');
      await second.write('source', 'data', 'one');
      const point = await sent(members, 'lb-group-1');
      const log = await first.drill('lb-drill-1', point);
      await first.rig.write(first.inDrill(log), 'log', 'drilled');
      await second.write('source', 'data', 'two');
      await sent(members, 'lb-group-2');
      const data = await second.drill('lb-drill-1', point);
      test.equal(await second.rig.read(second.inDrill(data), 'data'), 'one', 'of the same moment');
      test.equal(await first.rig.read(first.inDrill(log), 'log'), 'drilled');
      await first.rig.target.drillStop(first.volume('target'), 'lb-drill-1');
      const left = (await first.rig.target.drillList()).map(({ volume }) => volume);
      test.same(left, [second.volume('target')], 'only the copy of this volume is gone');
      await second.rig.target.drillStop(second.volume('target'), 'lb-drill-1');
      test.same(await first.rig.target.drillList(), []);
      for (const one of members) await one.role('target', 'target');
    },
  },
  {
    title: 'volumes of a consistency group: none is turned round before all are given up, and then all are',
    grouped: true,
    async run(test, bench) {
      const members = await both(bench);
      const [first, second] = members;
      for (const one of members) await one.write('source', 'data', 'common');
      const point = await sent(members, 'lb-group-1');
      await promoted(members, 'unplanned', point);
      for (const one of members) {
        await one.write('source', 'data', 'only at the source');
        await one.rig.write(await one.place('target'), 'data', 'only at the target');
      }
      const volume = first.volume('source');
      await first.refused(first.rig.source.demote(volume, notDiscarding), 'it holds writes of its own');
      await first.rig.source.demote(volume, await first.discarding('demote', 'source'));
      const other = await second.rig.source.observe(second.volume('source'));
      // Where the array knows the group alone, the first demotion is that of all of them.
      if (other.role === 'source' || other.role === 'split') {
        await first.refused(
          first.rig.target.reverse(first.volume('target'), 'lb-back-1', {
            discard: true,
            confirm: discardConfirmation('reverse', first.volume('target'), point.ref),
          }),
          'the second volume is not demoted yet',
        );
        test.equal(
          await second.rig.read({ side: 'source', exposed: null, as: 'host' }, 'data'),
          'only at the source',
          'and holds what it held',
        );
      }
      await second.rig.source.demote(second.volume('source'), await second.discarding('demote', 'source'));
      const back = await turned(members, 'lb-back-1');
      for (const one of members) {
        await one.role('target', 'source');
        await one.role('source', 'target');
        test.equal((await one.newest('source'))?.ref, back.ref);
        test.equal(await one.read('target', 'data'), 'only at the target');
      }
    },
  },
  {
    title: 'volumes of a consistency group: there and back again',
    grouped: true,
    async run(test, bench) {
      const members = await both(bench);
      const [first, second] = members;
      for (const one of members) await one.write('source', 'data', 'at home');
      const last = await first.rig.source.prepare(first.volume('source'), 'lb-move-1');
      await second.rig.source.prepare(second.volume('source'), 'lb-move-1');
      await promoted(members, 'planned', last);
      for (const one of members) await one.rig.write(await one.place('target'), 'data', 'abroad');
      await demoted(members);
      await turned(members, 'lb-back-1');
      const home = await first.rig.target.prepare(first.volume('target'), 'lb-home-1');
      await second.rig.target.prepare(second.volume('target'), 'lb-home-1');
      for (const one of members) await one.promote('planned', home, 'source');
      for (const one of members) test.equal(await one.read('source', 'data'), 'abroad', 'nothing is lost');
    },
  },
];
