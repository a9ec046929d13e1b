/** Points: cut at the source under our tag, complete at the target, never half. */
import { PortError } from '../../../src/domain/errors.ts';
import type { ReplicaPoint } from '../../../src/domain/replication.ts';
import type { Bench } from './bench.ts';
import type { Case } from './case.ts';

/** The rest of the case needs `syncNow`; where it is not, that is what is asserted. */
async function syncs(bench: Bench): Promise<boolean> {
  if (bench.can.syncNow) return true;
  await bench.unsupported(bench.rig.source.syncNow(bench.volume('source'), 'lb-unsupported-1'), 'syncNow');
  return false;
}

/** A second transfer beside a running one is taken in turn, or refused. */
async function arrivedOrRefused(sync: Promise<ReplicaPoint>): Promise<ReplicaPoint | null> {
  try {
    return await sync;
  } catch (error) {
    if (error instanceof PortError && /^(busy|refused)$/.test(error.kind)) return null;
    throw error;
  }
}

export const transferCases: readonly Case[] = [
  {
    title: 'a point is cut at the source, carries our tag, and is complete at the target',
    async run(test, bench) {
      if (!(await syncs(bench))) return;
      const { source, target } = bench.rig;
      await bench.write('source', 'data', 'first');
      const point = await source.syncNow(bench.volume('source'), 'lb-run1-1');
      test.equal(point.tag, 'lb-run1-1');
      test.equal(point.complete, true);
      const [held] = await target.points(bench.volume('target'));
      test.match(held, { ref: point.ref, tag: point.tag, takenAt: point.takenAt, complete: true });
      test.equal((await bench.newest())?.ref, point.ref);
      test.equal(await bench.contentOf(point, 'data'), 'first');
    },
  },
  {
    title: 'the same tag twice is one point; another tag is another point, even of the same content',
    async run(test, bench) {
      if (!(await syncs(bench))) return;
      const { source, target } = bench.rig;
      const volume = bench.volume('source');
      await bench.write('source', 'data', 'same');
      const first = await source.syncNow(volume, 'lb-run1-1');
      const again = await source.syncNow(volume, 'lb-run1-1');
      test.equal(again.ref, first.ref);
      test.equal(again.takenAt, first.takenAt);
      const fresh = await bench.rig.reopen('source');
      test.equal((await fresh.syncNow(volume, 'lb-run1-1')).ref, first.ref, 'the tag is found on the array');
      const other = await source.syncNow(volume, 'lb-run1-2');
      test.not(other.ref, first.ref);
      const points = await target.points(bench.volume('target'));
      test.equal(points.filter(({ tag }) => tag === 'lb-run1-1').length, 1);
      test.equal(points.filter(({ tag }) => tag === 'lb-run1-2').length, 1);
      test.equal(points[0]?.ref, other.ref, 'newest first');
      test.equal(new Set(points.map(({ ref }) => ref)).size, points.length, 'no two points go by one name');
    },
  },
  {
    title: 'a second sync beside a running one makes no second transfer of it, and no half point',
    needs: ['holdTransfers'],
    async run(test, bench) {
      if (!(await syncs(bench))) return;
      const { source } = bench.rig;
      const volume = bench.volume('source');
      const before = await bench.newest();
      await bench.write('source', 'data', 'held');
      const release = await bench.mishap('holdTransfers')();
      const first = source.syncNow(volume, 'lb-held-1');
      await bench.seen('source', ({ activity }) => activity !== 'idle', 'a transfer is under way');
      test.equal(
        (await bench.newest())?.ref ?? null,
        before?.ref ?? null,
        'what is under way does not count',
      );
      const same = source.syncNow(volume, 'lb-held-1');
      const other = arrivedOrRefused(source.syncNow(volume, 'lb-held-2'));
      await release();
      const point = await first;
      test.equal((await same).ref, point.ref);
      // Waited for to its end: what is still on its way would make the newest point an older one at any moment.
      const newest = (await other) ?? point;
      const held = await bench.rig.target.points(bench.volume('target'));
      test.ok(held.every(({ complete }) => complete));
      test.ok(held.filter(({ tag }) => tag === 'lb-held-1').length <= 1, 'one point of one tag');
      test.equal(await bench.contentOf(bench.can.promoteToPoint ? point : newest, 'data'), 'held');
    },
  },
  {
    title: 'a link that is cut in the middle leaves no half point, and the next sync works',
    needs: ['holdTransfers', 'cutLink', 'mendLink'],
    async run(test, bench) {
      if (!(await syncs(bench))) return;
      const { source } = bench.rig;
      const whole = await bench.replicated('lb-whole-1', { data: 'whole' });
      await bench.write('source', 'data', 'half');
      const release = await bench.mishap('holdTransfers')();
      const broken = bench.refusal(source.syncNow(bench.volume('source'), 'lb-half-1'));
      await bench.seen('source', ({ activity }) => activity !== 'idle', 'a transfer is under way');
      await bench.mishap('cutLink')();
      await release();
      test.match((await broken).kind, /^(refused|unreachable|busy|outcome-unknown)$/);
      test.equal((await bench.newest())?.ref, whole.ref);
      const held = await bench.rig.target.points(bench.volume('target'));
      test.notOk(held.some(({ tag, complete }) => tag === 'lb-half-1' && complete));
      await bench.mishap('mendLink')();
      const next = await source.syncNow(bench.volume('source'), 'lb-half-1');
      test.equal((await bench.newest())?.ref, next.ref);
      test.equal(await bench.contentOf(next, 'data'), 'half');
    },
  },
  {
    title: 'with the link down a sync fails with a reason, and the target stays as it was',
    needs: ['cutLink', 'mendLink'],
    async run(test, bench) {
      if (!(await syncs(bench))) return;
      const whole = await bench.replicated('lb-whole-1', { data: 'whole' });
      await bench.mishap('cutLink')();
      const error = await bench.refusal(bench.rig.source.syncNow(bench.volume('source'), 'lb-down-1'));
      test.match(error.kind, /^(refused|unreachable|busy|outcome-unknown)$/, error.message);
      test.equal((await bench.newest())?.ref, whole.ref);
      await bench.role('target', 'target');
      await bench.mishap('mendLink')();
      const next = await bench.rig.source.syncNow(bench.volume('source'), 'lb-down-1');
      test.equal((await bench.newest())?.ref, next.ref);
    },
  },
  {
    title: 'a caller that dies in the middle of a transfer finds its outcome by the tag',
    needs: ['holdTransfers'],
    async run(test, bench) {
      if (!(await syncs(bench))) return;
      const volume = bench.volume('source');
      await bench.write('source', 'data', 'orphan');
      const release = await bench.mishap('holdTransfers')();
      const caller = new AbortController();
      const call = bench.refusal(bench.rig.source.syncNow(volume, 'lb-orphan-1', caller.signal));
      await bench.seen('source', ({ activity }) => activity !== 'idle', 'a transfer is under way');
      caller.abort();
      test.match((await call).kind, /^(cancelled|outcome-unknown)$/);
      await release();
      const heir = await bench.rig.reopen('source');
      const point = await heir.syncNow(volume, 'lb-orphan-1');
      const points = await bench.rig.target.points(bench.volume('target'));
      test.equal(points.filter(({ tag }) => tag === 'lb-orphan-1').length, 1);
      test.equal(await bench.contentOf(point, 'data'), 'orphan');
    },
  },
  {
    title: 'with the source dark the target answers, and its point grows old',
    needs: ['powerOff', 'powerOn'],
    async run(test, bench) {
      const point = await bench.replicated('lb-last-1', { data: 'last' });
      await bench.mishap('powerOff')('source');
      const view = await bench.rig.target.observe(bench.volume('target'));
      test.equal(view.role, 'target');
      test.equal(view.newestComplete?.ref, point.ref);
      test.not(view.health.level === 'ok' && view.link === 'up', true, 'nobody claims that all is well');
      const error = await bench.refusal(bench.rig.source.observe(bench.volume('source')));
      test.equal(error.kind, 'unreachable');
      await bench.mishap('powerOn')('source');
      await bench.role('source', 'source');
      test.equal((await bench.newest())?.ref, point.ref, 'the point has survived');
    },
  },
  {
    title: 'verbs of the source are refused at the target, and the other way round',
    async run(_, bench) {
      const { source, target } = bench.rig;
      if (bench.can.syncNow)
        await bench.refused(
          target.syncNow(bench.volume('target'), 'lb-wrong-side-1'),
          'syncNow at the target',
        );
      if (bench.can.prepare)
        await bench.refused(
          target.prepare(bench.volume('target'), 'lb-wrong-side-1'),
          'prepare at the target',
        );
      const point = await bench.replicated('lb-side-1', { data: 'x' });
      await bench.refused(
        source.promote(bench.volume('source'), bench.promotion('unplanned', point, 'source')),
        'promote at the source',
      );
      await bench.role('source', 'source');
      await bench.role('target', 'target');
    },
  },
];
