/** Drills: a copy of a point beside the replica, which replication never notices. */
import type { Bench } from './bench.ts';
import type { Case } from './case.ts';

/** The rest of the case needs drills; where there are none, that is what is asserted. */
async function drills(bench: Bench): Promise<boolean> {
  if (bench.can.drill !== 'none') return true;
  const point = await bench.replicated('lb-nodrill-1', { data: 'x' });
  await bench.unsupported(bench.drill('lb-none', point), 'drillStart');
  return false;
}

async function left(bench: Bench, drill: string): Promise<number> {
  const found = await bench.rig.target.drillList();
  return found.filter((one) => one.drill === drill && one.volume === bench.volume('target')).length;
}

export const drillCases: readonly Case[] = [
  {
    title: 'a drill shows the newest point, and what is written there stays there',
    async run(test, bench) {
      if (!(await drills(bench))) return;
      const { target } = bench.rig;
      const point = await bench.replicated('lb-drill-1', { data: 'as it was' });
      const exposed = await bench.drill('lb-d1', point);
      const place = bench.inDrill(exposed);
      test.equal(await bench.rig.read(place, 'data'), 'as it was');
      await bench.rig.write(place, 'data', 'changed by the drill');
      test.equal(await bench.rig.read(place, 'data'), 'changed by the drill');
      const view = await bench.role('target', bench.can.drill === 'in-place' ? 'in-test' : 'target');
      test.equal(view.newestComplete?.ref, point.ref);
      await bench.role('source', 'source');
      test.equal(await left(bench, 'lb-d1'), 1, 'it is found by its mark');
      await target.drillStop(bench.volume('target'), 'lb-d1');
      test.equal(await left(bench, 'lb-d1'), 0);
      test.equal(await bench.contentOf(point, 'data'), 'as it was', 'the replica was never touched');
    },
  },
  {
    title: 'a drill of an older point shows that point',
    async run(test, bench) {
      if (!(await drills(bench))) return;
      const monday = await bench.replicated('lb-monday-1', { data: 'monday' });
      const tuesday = await bench.replicated('lb-tuesday-1', { data: 'tuesday' });
      if (!bench.can.promoteToPoint && bench.can.drill === 'in-place') {
        await bench.unsupported(bench.drill('lb-old', monday), 'drillStart of an older point');
        return;
      }
      const exposed = await bench.drill('lb-old', monday);
      test.equal(await bench.rig.read(bench.inDrill(exposed), 'data'), 'monday');
      test.equal((await bench.newest())?.ref, tuesday.ref, 'the newest point is still there');
      await bench.rig.target.drillStop(bench.volume('target'), 'lb-old');
    },
  },
  {
    title: 'the same drill again is the same copy; after its end it is a new one',
    async run(test, bench) {
      if (!(await drills(bench))) return;
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const point = await bench.replicated('lb-again-1', { data: 'fresh' });
      const first = await bench.drill('lb-twice', point);
      await bench.rig.write(bench.inDrill(first), 'note', 'kept');
      const again = await bench.drill('lb-twice', point, await bench.rig.reopen('target'));
      test.same(again, first);
      test.equal(await bench.rig.read(bench.inDrill(again), 'note'), 'kept');
      test.equal(await left(bench, 'lb-twice'), 1);
      await target.drillStop(volume, 'lb-twice');
      await target.drillStop(volume, 'lb-twice');
      await target.drillStop(volume, 'lb-never');
      const anew = await bench.drill('lb-twice', point);
      test.equal(await bench.rig.read(bench.inDrill(anew), 'note'), null, 'nothing of the first is left');
      await target.drillStop(volume, 'lb-twice');
      test.equal(await left(bench, 'lb-twice'), 0);
    },
  },
  {
    title: 'one drill ends and the other goes on',
    async run(test, bench) {
      if (!(await drills(bench))) return;
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const point = await bench.replicated('lb-two-1', { data: 'x' });
      const one = await bench.drill('lb-one', point);
      if (bench.can.drill === 'in-place') {
        const error = await bench.refused(bench.drill('lb-other', point), 'one drill at a time');
        test.match(error.message, /lb-one/, 'it names the drill that is open');
        await target.drillStop(volume, 'lb-other');
        test.equal(await bench.rig.read(bench.inDrill(one), 'data'), 'x');
        return;
      }
      const other = await bench.drill('lb-other', point);
      await bench.rig.write(bench.inDrill(other), 'data', 'of the other');
      test.equal(await bench.rig.read(bench.inDrill(one), 'data'), 'x');
      await target.drillStop(volume, 'lb-one');
      test.equal(await bench.rig.read(bench.inDrill(other), 'data'), 'of the other');
      await target.drillStop(volume, 'lb-other');
      test.equal((await left(bench, 'lb-one')) + (await left(bench, 'lb-other')), 0);
    },
  },
  {
    title: 'replication goes on during a drill',
    async run(test, bench) {
      if (!(await drills(bench)) || !bench.can.syncNow) return;
      const point = await bench.replicated('lb-during-1', { data: 'before' });
      const exposed = await bench.drill('lb-during', point);
      const arriving = bench.replicated('lb-during-2', { data: 'during' });
      // An array that holds transfers up while a drill is open sends it once the drill is over.
      if (!bench.can.drillPausesTransfer) {
        const { ref } = await arriving;
        test.equal((await bench.newest())?.ref, ref);
      }
      test.equal(
        await bench.rig.read(bench.inDrill(exposed), 'data'),
        'before',
        'the copy is of its own point',
      );
      await bench.rig.target.drillStop(bench.volume('target'), 'lb-during');
      const during = await arriving;
      test.equal(await bench.contentOf(during, 'data'), 'during');
    },
  },
  {
    title: 'a drill that died between its copy and its showing is found and removed',
    needs: ['dieHalfway'],
    async run(test, bench) {
      if (!(await drills(bench))) return;
      const volume = bench.volume('target');
      const point = await bench.replicated('lb-crash-1', { data: 'x' });
      for (const cure of ['stop', 'start'] as const) {
        await bench.mishap('dieHalfway')('target', 'drillStart');
        await bench.refusal(bench.drill('lb-crash', point));
        test.equal(await left(bench, 'lb-crash'), 1, 'what was made carries the mark');
        const heir = await bench.rig.reopen('target');
        if (cure === 'start') {
          const exposed = await bench.drill('lb-crash', point, heir);
          test.equal(
            await bench.rig.read(bench.inDrill(exposed), 'data'),
            'x',
            'starting again completes it',
          );
        }
        await heir.drillStop(volume, 'lb-crash');
        test.equal(await left(bench, 'lb-crash'), 0);
      }
      await bench.role('target', 'target');
      test.equal((await bench.newest())?.ref, point.ref);
    },
  },
  {
    title: 'a drill is for the named hosts, and of a point that is there',
    async run(test, bench) {
      if (!(await drills(bench))) return;
      const point = await bench.replicated('lb-named-1', { data: 'x' });
      const exposed = await bench.drill('lb-named', point);
      test.equal(await bench.reaches(bench.inDrill(exposed)), true);
      if (bench.can.expose !== 'file')
        test.equal(await bench.reaches(bench.inDrill(exposed, 'stranger')), false, 'nobody else');
      const volume = bench.volume('target');
      await bench.rig.target.drillStop(volume, 'lb-named');
      test.equal(await bench.reaches(bench.inDrill(exposed)), false, 'gone with its drill');
      const access = bench.rig.hosts('target');
      await bench.refused(
        bench.rig.target.drillStart(volume, { drill: 'lb-absent', point: 'no-such-point', access }),
        'a point that is not there',
      );
      test.equal(await left(bench, 'lb-absent'), 0);
    },
  },
  {
    title: 'the drill comes first: promotion beside an open one is refused by its name, or leaves it alone',
    async run(test, bench) {
      if (!(await drills(bench))) return;
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const point = await bench.replicated('lb-open-1', { data: 'real' });
      const exposed = await bench.drill('lb-open', point);
      await bench.rig.write(bench.inDrill(exposed), 'data', 'drilled');
      const promoted = await target.promote(volume, bench.promotion('unplanned', point)).then(
        () => null,
        (error: unknown) => error,
      );
      if (promoted === null) {
        test.equal(await bench.rig.read(bench.inDrill(exposed), 'data'), 'drilled');
        await target.drillStop(volume, 'lb-open');
      } else {
        const error = await bench.refused(Promise.reject(promoted), 'the drill is open');
        test.match(error.message, /lb-open/, 'it names the drill');
        test.not((await target.observe(volume)).role, 'promoted');
        await target.drillStop(volume, 'lb-open');
        await bench.promote('unplanned', point);
      }
      await bench.role('target', 'promoted');
      test.equal(await bench.read('target', 'data'), 'real', 'nothing of the drill is in it');
    },
  },
];
