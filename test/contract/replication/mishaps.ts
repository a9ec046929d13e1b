/** Answers that are lost after the effect: what is there is found by looking, and the same call again is quiet. */
import { type Bench, notDiscarding } from './bench.ts';
import type { Case } from './case.ts';

export const mishapCases: readonly Case[] = [
  {
    title: 'the answer to a sync is lost: the tag finds the one point',
    needs: ['loseAnswer'],
    async run(test, bench) {
      if (!bench.can.syncNow) return test.pass('there is no syncNow');
      const volume = bench.volume('source');
      await bench.mishap('loseAnswer')('source', 'syncNow');
      await bench.unknownOrDone(bench.rig.source.syncNow(volume, 'lb-lost-1'));
      const point = await (await bench.rig.reopen('source')).syncNow(volume, 'lb-lost-1');
      const points = await bench.rig.target.points(bench.volume('target'));
      test.equal(points.filter(({ tag }) => tag === 'lb-lost-1').length, 1);
      test.equal(points[0]?.ref, point.ref);
    },
  },
  {
    title: 'the answer to a promotion is lost: looking shows it, and asking again changes nothing',
    needs: ['loseAnswer'],
    async run(test, bench) {
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const point = await bench.replicated('lb-last-1', { data: 'x' });
      await bench.mishap('loseAnswer')('target', 'promote');
      await bench.unknownOrDone(target.promote(volume, bench.promotion('unplanned', point)));
      await bench.role('target', 'promoted');
      const place = await bench.place('target');
      await bench.rig.write(place, 'since', 'y');
      await target.promote(volume, bench.promotion('unplanned', point));
      test.equal(await bench.rig.read(place, 'since'), 'y');
    },
  },
  {
    title: 'the answer to a drill is lost: it is found by its mark, asked for again, and removed',
    needs: ['loseAnswer'],
    async run(test, bench) {
      if (bench.can.drill === 'none') return test.pass('there are no drills');
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const point = await bench.replicated('lb-last-1', { data: 'x' });
      await bench.mishap('loseAnswer')('target', 'drillStart');
      await bench.unknownOrDone(bench.drill('lb-lost', point));
      test.equal((await target.drillList()).filter(({ drill }) => drill === 'lb-lost').length, 1);
      const exposed = await bench.drill('lb-lost', point);
      test.equal(await bench.rig.read(bench.inDrill(exposed), 'data'), 'x');
      await bench.mishap('loseAnswer')('target', 'drillStop');
      await bench.unknownOrDone(target.drillStop(volume, 'lb-lost'));
      await target.drillStop(volume, 'lb-lost');
      test.equal((await target.drillList()).filter(({ drill }) => drill === 'lb-lost').length, 0);
    },
  },
  {
    title: 'the answers on the way round are lost: every verb is found done and asked again',
    needs: ['loseAnswer'],
    async run(test, bench) {
      if (!bench.can.prepare || bench.can.reverse === 'none') return test.pass('there is no way round');
      await wayRound(test, bench);
    },
  },
  {
    title: 'the answer to a fence is lost: looking shows that nobody writes',
    needs: ['loseAnswer'],
    async run(test, bench) {
      if (!bench.can.fence) return test.pass('there is no fence');
      const { source } = bench.rig;
      await bench.mishap('loseAnswer')('source', 'fence');
      await bench.unknownOrDone(source.fence(bench.volume('source')));
      test.not((await source.observe(bench.volume('source'))).writable, true);
      await source.fence(bench.volume('source'));
    },
  },
];

async function wayRound(test: Bench['test'], bench: Bench): Promise<void> {
  const { source, target } = bench.rig;
  const [from, to] = [bench.volume('source'), bench.volume('target')];
  const loseAnswer = bench.mishap('loseAnswer');
  await bench.write('source', 'data', 'the last word');
  await loseAnswer('source', 'prepare');
  await bench.unknownOrDone(source.prepare(from, 'lb-final-1'));
  const last = await source.prepare(from, 'lb-final-1');
  await bench.promote('planned', last);
  await loseAnswer('source', 'demote');
  await bench.unknownOrDone(source.demote(from, notDiscarding));
  await source.demote(from, notDiscarding);
  await bench.rig.write(await bench.place('target'), 'data', 'abroad');
  await loseAnswer('target', 'reverse');
  await bench.unknownOrDone(target.reverse(to, 'lb-back-1', notDiscarding));
  const point = await target.reverse(to, 'lb-back-1', notDiscarding);
  await bench.role('target', 'source');
  const view = await bench.role('source', 'target');
  test.equal(view.newestComplete?.ref, point.ref);
  const held = await source.points(from);
  test.equal(held.filter(({ tag }) => tag === 'lb-back-1').length, 1);
}
