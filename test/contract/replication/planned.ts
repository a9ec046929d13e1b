/** The planned move: the source stops taking writes first, and nothing is lost (storage.md B.4.6). */
import type { Bench } from './bench.ts';
import type { Case } from './case.ts';

/** The rest of the case needs `prepare`; where it is not, that is what is asserted. */
async function prepares(bench: Bench): Promise<boolean> {
  if (bench.can.prepare) return true;
  const { source } = bench.rig;
  await bench.unsupported(source.prepare(bench.volume('source'), 'lb-unsupported-1'), 'prepare');
  await bench.unsupported(source.unprepare(bench.volume('source')), 'unprepare');
  return false;
}

export const plannedCases: readonly Case[] = [
  {
    title: 'a prepared source takes no write, and its last point is at the target',
    async run(test, bench) {
      if (!(await prepares(bench))) return;
      const { source } = bench.rig;
      const volume = bench.volume('source');
      await bench.write('source', 'data', 'the last word');
      const last = await source.prepare(volume, 'lb-final-1');
      test.match(last, { tag: 'lb-final-1', complete: true });
      const view = await bench.role('source', 'demoted');
      test.not(view.writable, true);
      const refused = await bench.takesWrites({ side: 'source', exposed: null, as: 'host' });
      test.equal(refused, false, 'a host of the source cannot write');
      test.equal((await bench.newest())?.ref, last.ref);
      const again = await source.prepare(volume, 'lb-final-1');
      test.equal(again.ref, last.ref, 'the same tag is the same point');
      test.equal(await bench.contentOf(last, 'data'), 'the last word');
    },
  },
  {
    title: 'what was prepared can be taken back, as long as nothing is promoted',
    async run(test, bench) {
      if (!(await prepares(bench))) return;
      const { source, target } = bench.rig;
      const volume = bench.volume('source');
      await source.unprepare(volume);
      await bench.role('source', 'source');
      const last = await source.prepare(volume, 'lb-final-1');
      await source.unprepare(volume);
      await source.unprepare(volume);
      const view = await bench.role('source', 'source');
      test.not(view.writable, false);
      await bench.write('source', 'data', 'after all');
      await bench.refused(
        target.promote(bench.volume('target'), bench.promotion('planned', last)),
        'the source takes writes again',
      );
      const next = await bench.replicated('lb-final-2', {});
      test.equal(await bench.contentOf(next, 'data'), 'after all');
    },
  },
  {
    title: 'a planned promotion waits for the last point of a prepared source',
    async run(test, bench) {
      if (!(await prepares(bench))) return;
      const { source, target } = bench.rig;
      const volume = bench.volume('target');
      const early = await bench.replicated('lb-early-1', { data: 'early' });
      await bench.refused(
        target.promote(volume, bench.promotion('planned', early)),
        'the source is not prepared',
      );
      await bench.write('source', 'data', 'late');
      const last = await source.prepare(bench.volume('source'), 'lb-final-1');
      await bench.refused(target.promote(volume, bench.promotion('planned', early)), 'not the last point');
      await bench.role('target', 'target');
      await bench.promote('planned', last);
      test.equal(await bench.read('target', 'data'), 'late', 'nothing is lost');
      await bench.refused(source.unprepare(bench.volume('source')), 'the other side is promoted');
      await bench.role('source', 'demoted', 'target');
    },
  },
  {
    title: 'a prepare that died half way is finished by the same call',
    needs: ['dieHalfway'],
    async run(test, bench) {
      if (!(await prepares(bench))) return;
      const volume = bench.volume('source');
      await bench.write('source', 'data', 'the last word');
      await bench.mishap('dieHalfway')('source', 'prepare');
      await bench.refusal(bench.rig.source.prepare(volume, 'lb-final-1'));
      const heir = await bench.rig.reopen('source');
      const last = await heir.prepare(volume, 'lb-final-1');
      await bench.role('source', 'demoted');
      test.equal((await bench.newest())?.ref, last.ref);
      await bench.promote('planned', last);
      test.equal(await bench.read('target', 'data'), 'the last word');
    },
  },
  {
    title: 'a fenced source takes no write',
    async run(test, bench) {
      const { source } = bench.rig;
      const volume = bench.volume('source');
      if (!bench.can.fence) {
        await bench.unsupported(source.fence(volume), 'fence');
        return;
      }
      await source.fence(volume);
      await source.fence(volume);
      const taken = await bench.takesWrites({ side: 'source', exposed: null, as: 'host' });
      test.equal(taken, false, 'a host of the source cannot write');
      test.not((await source.observe(volume)).writable, true);
    },
  },
];
