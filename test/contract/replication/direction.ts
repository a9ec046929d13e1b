/** After a promotion: what each side alone holds, the way back, and the way round (storage.md B.4.9, B.4.10). */
import { discardConfirmation, type ReplicaPoint } from '../../../src/domain/replication.ts';
import { type Bench, notDiscarding } from './bench.ts';
import type { Case } from './case.ts';

/** Both sides took writes since their common point, which is returned; the link is there. */
async function split(bench: Bench): Promise<ReplicaPoint> {
  const common = await bench.replicated('lb-common-1', { data: 'common' });
  await bench.promote('unplanned', common);
  await bench.write('source', 'data', 'only at the source');
  await bench.rig.write(await bench.place('target'), 'data', 'only at the target');
  return common;
}

/** A planned promotion: the sides have all in common. */
async function moved(bench: Bench): Promise<ReplicaPoint> {
  const last = await bench.rig.source.prepare(bench.volume('source'), 'lb-final-1');
  await bench.promote('planned', last);
  return last;
}

/** The old source becomes a replica-to-be and replication is turned round. */
async function turned(bench: Bench, tag: string): Promise<ReplicaPoint> {
  const { source, target } = bench.rig;
  await source.demote(bench.volume('source'), await bench.discarding('demote', 'source'));
  await bench.role('source', 'demoted', 'target');
  return target.reverse(bench.volume('target'), tag, await bench.discarding('reverse', 'target'));
}

/** The rest of the case needs `reverse`; where it is not, that is what is asserted. */
async function reverses(bench: Bench): Promise<boolean> {
  if (bench.can.reverse !== 'none') return true;
  await split(bench);
  const { target } = bench.rig;
  await bench.unsupported(target.reverse(bench.volume('target'), 'lb-back-1', notDiscarding), 'reverse');
  return false;
}

async function restores(bench: Bench): Promise<boolean> {
  if (bench.can.restore) return true;
  await split(bench);
  await bench.unsupported(bench.rig.target.restore(bench.volume('target'), notDiscarding), 'restore');
  return false;
}

export const directionCases: readonly Case[] = [
  {
    title: 'divergence names the newest common point and what would be lost',
    async run(test, bench) {
      const common = await split(bench);
      const { source, target } = bench.rig;
      const old = await source.divergence(bench.volume('source'));
      test.equal(old.common?.ref, common.ref);
      test.ok(old.bytesLost === null || old.bytesLost > 0, `${old.bytesLost} bytes at the old source`);
      test.ok(old.says.length > 0, 'in words for the person who decides');
      const promoted = await target.divergence(bench.volume('target'));
      test.equal(promoted.common?.ref, common.ref);
      test.equal(await bench.read('target', 'data'), 'only at the target', 'looking changes nothing');
    },
  },
  {
    title: 'demote never throws writes away unasked: only by the exact name of what is lost',
    async run(test, bench) {
      const common = await split(bench);
      const { source } = bench.rig;
      const volume = bench.volume('source');
      const error = await bench.refused(source.demote(volume, notDiscarding), 'it holds writes of its own');
      test.ok(error.message.length > 0);
      const wrongPoint = discardConfirmation('demote', volume, 'another-point');
      const wrongVerb = discardConfirmation('restore', volume, common.ref);
      for (const confirm of ['', wrongPoint, wrongVerb])
        await bench.refused(source.demote(volume, { discard: true, confirm }), `confirmed by "${confirm}"`);
      const view = await source.observe(volume);
      test.match(view.role, /^(source|split)$/, 'refusing changed nothing');
      await source.demote(volume, {
        discard: true,
        confirm: discardConfirmation('demote', volume, common.ref),
      });
      const after = await bench.role('source', 'demoted', 'target');
      test.not(after.writable, true);
      await source.demote(volume, notDiscarding);
      const taken = await bench.takesWrites({ side: 'source', exposed: null, as: 'host' });
      test.equal(taken, false, 'a host of the old source cannot write');
      test.equal(await bench.read('target', 'data'), 'only at the target');
    },
  },
  {
    title: 'what demote throws away is kept aside',
    needs: ['readKept'],
    async run(test, bench) {
      await split(bench);
      const { source } = bench.rig;
      await source.demote(bench.volume('source'), await bench.discarding('demote', 'source'));
      test.equal(await bench.mishap('readKept')('source', 'data'), 'only at the source');
      if (bench.can.reverse === 'none') return;
      await bench.rig.target.reverse(
        bench.volume('target'),
        'lb-back-1',
        await bench.discarding('reverse', 'target'),
      );
      test.equal(await bench.mishap('readKept')('source', 'data'), 'only at the source', 'and stays there');
    },
  },
  {
    title: 'an old source without writes of its own is demoted without discarding',
    async run(test, bench) {
      if (!bench.can.prepare) return test.pass('there is no planned move');
      await moved(bench);
      await bench.rig.source.demote(bench.volume('source'), notDiscarding);
      await bench.role('source', 'demoted', 'target');
      test.equal((await bench.rig.target.observe(bench.volume('target'))).role, 'promoted');
    },
  },
  {
    title: 'reverse carries a point with the tag to the old source; before it nothing is protected',
    async run(test, bench) {
      if (!(await reverses(bench))) return;
      await split(bench);
      const { source, target } = bench.rig;
      test.not(
        (await target.observe(bench.volume('target'))).health.level,
        'ok',
        'promoted is not protected',
      );
      await bench.refused(
        target.reverse(bench.volume('target'), 'lb-back-1', notDiscarding),
        'the old source is not demoted',
      );
      const point = await turned(bench, 'lb-back-1');
      test.match(point, { tag: 'lb-back-1', complete: true });
      await bench.role('target', 'source');
      const view = await bench.role('source', 'target');
      test.equal(view.newestComplete?.ref, point.ref);
      test.equal((await source.points(bench.volume('source')))[0]?.ref, point.ref);
      const again = await target.reverse(bench.volume('target'), 'lb-back-1', notDiscarding);
      test.equal(again.ref, point.ref, 'the same tag is the same point');
      if (!bench.can.syncNow) return;
      await bench.rig.write(await bench.place('target'), 'data', 'newer');
      const next = await target.syncNow(bench.volume('target'), 'lb-back-2');
      const held = await bench.seen('source', (seen) => seen.newestComplete?.ref === next.ref, 'it arrived');
      test.equal(held.role, 'target');
    },
  },
  {
    title: 'reverse transfers what has changed and no more',
    needs: ['bytesCarried'],
    async run(test, bench) {
      if (bench.can.reverse !== 'incremental') return test.pass(`reverse is ${bench.can.reverse} here`);
      const carried = bench.mishap('bytesCarried');
      const bulkBytes = 4 * 1024 * 1024;
      // Not compressible to nothing, and the same in each run.
      const bulk = Array.from({ length: bulkBytes / 8 }, (_, i) =>
        ((i * 2654435761) % 2 ** 32).toString(16).padStart(8, '0'),
      );
      const point = await bench.replicated('lb-bulk-1', { bulk: bulk.join(''), data: 'before' });
      const full = await carried();
      test.ok(full >= bulkBytes / 4, `the first transfer carried ${full} bytes`);
      await bench.promote('unplanned', point);
      await bench.rig.write(await bench.place('target'), 'data', 'after');
      const before = await carried();
      await turned(bench, 'lb-back-1');
      const back = (await carried()) - before;
      test.ok(back > 0, 'something was carried');
      test.ok(back < full / 4, `the way back carried ${back} bytes, the whole is ${full}`);
    },
  },
  {
    title: 'a reverse that died half way is finished by the same call',
    needs: ['dieHalfway'],
    async run(test, bench) {
      if (!(await reverses(bench))) return;
      await split(bench);
      const volume = bench.volume('target');
      await bench.rig.source.demote(bench.volume('source'), await bench.discarding('demote', 'source'));
      await bench.mishap('dieHalfway')('target', 'reverse');
      const discarding = await bench.discarding('reverse', 'target');
      await bench.refusal(bench.rig.target.reverse(volume, 'lb-back-1', discarding));
      const heir = await bench.rig.reopen('target');
      const point = await heir.reverse(volume, 'lb-back-1', discarding);
      await bench.role('target', 'source');
      await bench.role('source', 'target');
      test.equal((await bench.newest('source'))?.ref, point.ref);
      const points = await bench.rig.source.points(bench.volume('source'));
      test.equal(points.filter(({ tag }) => tag === 'lb-back-1').length, 1);
    },
  },
  {
    title:
      'there and back again: the same verbs with the names exchanged, and the same content on both sides',
    async run(test, bench) {
      if (!(await reverses(bench)) || !bench.can.prepare) return;
      const { source, target } = bench.rig;
      await bench.write('source', 'data', 'at home');
      await moved(bench);
      await bench.rig.write(await bench.place('target'), 'data', 'abroad');
      await turned(bench, 'lb-back-1');
      const last = await target.prepare(bench.volume('target'), 'lb-home-1');
      await bench.role('target', 'demoted');
      await bench.promote('planned', last, 'source');
      test.equal(await bench.read('source', 'data'), 'abroad', 'nothing is lost on the way home');
      await bench.rig.write(await bench.place('source'), 'data', 'home again');
      await target.demote(bench.volume('target'), await bench.discarding('demote', 'target'));
      const point = await source.reverse(
        bench.volume('source'),
        'lb-home-2',
        await bench.discarding('reverse', 'source'),
      );
      await bench.role('source', 'source');
      await bench.role('target', 'target');
      test.equal(await bench.contentOf(point, 'data'), 'home again');
    },
  },
  {
    title:
      'restore undoes a promotion: the original direction, and the writes of the target are thrown away by name',
    async run(test, bench) {
      if (!(await restores(bench))) return;
      const common = await split(bench);
      const { target } = bench.rig;
      const volume = bench.volume('target');
      await bench.refused(target.restore(volume, notDiscarding), 'the target holds writes of its own');
      const wrong = discardConfirmation('restore', volume, 'another-point');
      await bench.refused(
        target.restore(volume, { discard: true, confirm: wrong }),
        'another point is named',
      );
      await bench.role('target', 'promoted', 'split');
      const confirm = discardConfirmation('restore', volume, common.ref);
      await target.restore(volume, { discard: true, confirm });
      const view = await bench.role('target', 'target');
      test.not(view.writable, true);
      await bench.role('source', 'source');
      await target.restore(volume, { discard: true, confirm });
      const next = await bench.replicated('lb-after-1', {});
      test.equal(await bench.contentOf(next, 'data'), 'only at the source');
    },
  },
  {
    title: 'a planned promotion is undone without loss, and the source takes writes again',
    async run(test, bench) {
      if (!(await restores(bench)) || !bench.can.prepare) return;
      await bench.write('source', 'data', 'before the move');
      await moved(bench);
      await bench.rig.target.restore(bench.volume('target'), notDiscarding);
      await bench.role('target', 'target');
      const view = await bench.role('source', 'source');
      test.not(view.writable, false);
      const next = await bench.replicated('lb-after-1', { data: 'after the move' });
      test.equal(await bench.contentOf(next, 'data'), 'after the move');
    },
  },
];
