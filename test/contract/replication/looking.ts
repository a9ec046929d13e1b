/** Reading verbs: what an array says of itself and of its pairs, and how it says that it cannot. */
import { PortError } from '../../../src/domain/errors.ts';
import type { Case } from './case.ts';
import type { Side } from './rig.ts';

const sides: readonly Side[] = ['source', 'target'];

export const lookingCases: readonly Case[] = [
  {
    title: 'an array says who it is and what time it has',
    async run(test, { rig }) {
      for (const side of sides) {
        const { vendor, serial, clock } = await rig[side].identify();
        test.not(vendor, '');
        test.not(serial, '');
        test.ok(Number.isFinite(Date.parse(clock)), `the clock is an instant: ${clock}`);
      }
      test.same(await rig.source.capabilities(), await rig.source.capabilities(), 'capabilities are stable');
    },
  },
  {
    title: 'both arrays find the pair, and mean the same one',
    async run(test, bench) {
      const { rig } = bench;
      for (const side of sides) {
        const other = side === 'source' ? 'target' : 'source';
        const found = (await rig[side].discover()).filter(({ volume }) => volume === bench.volume(side));
        test.equal(found.length, 1, `${side} lists its volume once`);
        test.equal(found[0]?.role, side);
        const peer = found[0]?.peer ?? null;
        if (peer !== null)
          test.equal(peer.volume, bench.volume(other), 'the other side goes by its own name');
      }
    },
  },
  {
    title: 'a fresh pair: the source takes writes, the target takes none',
    async run(test, bench) {
      const source = await bench.role('source', 'source');
      const target = await bench.role('target', 'target');
      test.same(source.pair, { array: bench.rig.source.array, volume: bench.volume('source') });
      test.not(source.writable, false);
      test.not(target.writable, true);
      test.ok(Number.isFinite(Date.parse(target.observedAt)));
      for (const view of [source, target]) test.not(view.link, 'down');
      test.not(target.newestComplete?.complete, false, 'only a complete point is shown as newest');
    },
  },
  {
    title: 'many volumes are observed at once, and each has its view or its own error',
    async run(test, bench) {
      for (const side of sides) {
        const volume = bench.volume(side);
        const seen = await bench.rig[side].observeAll([volume, 'no-such-volume']);
        test.equal(seen.size, 2);
        const view = seen.get(volume);
        const absent = seen.get('no-such-volume');
        if (view instanceof PortError || view === undefined) throw new Error(`no view of ${volume}`);
        test.equal(view.role, side);
        test.equal(view.pair.volume, volume);
        test.ok(absent instanceof PortError, 'a volume that is not there has an error of its own');
        test.equal(absent instanceof PortError ? absent.kind : '', 'refused');
        test.same([...(await bench.rig[side].observeAll([])).keys()], []);
      }
    },
  },
  {
    title: 'a crowd of pairs costs no more round trips than two',
    needs: ['crowd', 'roundTrips'],
    async run(test, bench) {
      const [crowd, roundTrips] = [bench.mishap('crowd'), bench.mishap('roundTrips')];
      const volumes = await crowd();
      test.ok(volumes.length >= 20, 'the rig made a crowd');
      const cost = async (work: () => Promise<unknown>): Promise<number> => {
        const before = await roundTrips('target');
        await work();
        return (await roundTrips('target')) - before;
      };
      const { target } = bench.rig;
      await target.observe(bench.volume('target'));
      const two = await cost(() => target.observeAll(volumes.slice(0, 2)));
      const all = await cost(() => target.observeAll(volumes));
      test.ok(all <= two, `${volumes.length} volumes cost ${all} round trips, two cost ${two}`);
      const discovering = await cost(() => target.discover());
      test.ok(discovering < 10, `discover costs ${discovering} round trips`);
      const seen = await target.observeAll(volumes);
      for (const volume of volumes) {
        const view = seen.get(volume);
        test.notOk(view instanceof PortError || view === undefined, `${volume} has a view`);
      }
    },
  },
  {
    title: 'a volume that is not there is refused by name, by every verb',
    async run(_, bench) {
      const absent = 'no-such-volume';
      for (const side of sides) {
        const adapter = bench.rig[side];
        await bench.refused(adapter.observe(absent), 'observe');
        await bench.refused(adapter.points(absent), 'points');
      }
      const { source, target } = bench.rig;
      await bench.refused(source.syncNow(absent, 'lb-absent-1'), 'syncNow');
      await bench.refused(source.prepare(absent, 'lb-absent-1'), 'prepare');
      await bench.refused(source.fence(absent), 'fence');
      const point = { mode: 'unplanned' as const, point: 'p', confirm: `${absent}@p` };
      await bench.refused(target.promote(absent, point), 'promote');
      await bench.refused(target.expose(absent, bench.rig.hosts('target')), 'expose');
    },
  },
  {
    title: 'wrong credentials are told apart, without telling them',
    needs: ['wrongCredentials'],
    async run(test, bench) {
      const stranger = await bench.mishap('wrongCredentials')('source');
      test.equal((await bench.refusal(stranger.identify())).kind, 'auth');
      test.equal((await bench.refusal(stranger.observe(bench.volume('source')))).kind, 'auth');
      test.equal((await bench.refusal(stranger.fence(bench.volume('source')))).kind, 'auth');
      await bench.role('source', 'source');
    },
  },
  {
    title: 'an array that shows another identity than the pinned one is not spoken to',
    needs: ['wrongTrust'],
    async run(test, bench) {
      const stranger = await bench.mishap('wrongTrust')('source');
      test.equal((await bench.refusal(stranger.identify())).kind, 'trust');
      test.equal((await bench.refusal(stranger.fence(bench.volume('source')))).kind, 'trust');
      await bench.role('source', 'source');
    },
  },
  {
    title: 'a call that was stopped before it began does nothing',
    async run(test, bench) {
      const { source, target } = bench.rig;
      const stopped = AbortSignal.abort();
      test.equal((await bench.refusal(source.observe(bench.volume('source'), stopped))).kind, 'cancelled');
      test.equal((await bench.refusal(target.points(bench.volume('target'), stopped))).kind, 'cancelled');
      if (bench.can.fence) {
        test.equal((await bench.refusal(source.fence(bench.volume('source'), stopped))).kind, 'cancelled');
        await bench.role('source', 'source');
      }
    },
  },
  {
    title: 'an array that claims health with an old point is shown with the old point',
    needs: ['lie'],
    async run(test, bench) {
      const point = await bench.replicated('lb-lie-1', { data: 'old' });
      await bench.mishap('lie')('target');
      await bench.write('source', 'data', 'never carried');
      const view = await bench.rig.target.observe(bench.volume('target'));
      test.equal(view.newestComplete?.ref, point.ref);
      test.equal(
        view.newestComplete?.takenAt,
        point.takenAt,
        'the age can be told from the point, whatever is claimed',
      );
    },
  },
  {
    title: 'the clock by which a point is dated can be asked for',
    needs: ['skewClock'],
    async run(test, bench) {
      const offBySeconds = 600;
      for (const side of sides) await bench.mishap('skewClock')(side, offBySeconds);
      const before = Date.parse((await bench.rig.source.identify()).clock);
      const point = await bench.replicated('lb-clock-1', { data: 'x' });
      const after = Date.parse((await bench.rig.source.identify()).clock);
      test.ok(before - Date.now() > (offBySeconds - 300) * 1000, 'the array says that its clock is ahead');
      const takenAt = Date.parse(point.takenAt);
      test.ok(takenAt >= before - 1000 && takenAt <= after + 1000, `${point.takenAt} is by that clock`);
    },
  },
];
