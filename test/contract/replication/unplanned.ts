/** The source is lost or given up: the target is promoted without a word to it (storage.md B.4.5). */
import type { Case } from './case.ts';

export const unplannedCases: readonly Case[] = [
  {
    title: 'with the source dark the target is promoted, and shown to the named hosts only',
    needs: ['powerOff', 'powerOn'],
    async run(test, bench) {
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const point = await bench.replicated('lb-last-1', { data: 'the last minute' });
      await bench.mishap('powerOff')('source');
      await target.promote(volume, bench.promotion('unplanned', point));
      const view = await bench.role('target', 'promoted');
      test.not(view.health.level, 'ok', 'nothing protects it from here on');
      test.not(view.writable, false);
      const place = await bench.place('target');
      test.equal(await bench.rig.read(place, 'data'), 'the last minute');
      test.equal(await bench.takesWrites(place), true);
      if (bench.can.expose === 'lun' || bench.can.expose === 'nfs')
        test.equal(
          await bench.reaches({ ...place, as: 'stranger' }),
          false,
          'only the hosts that were named',
        );
    },
  },
  {
    title: 'an unplanned promotion asks nothing of the source, even when it is there',
    needs: ['roundTrips'],
    async run(test, bench) {
      const point = await bench.replicated('lb-last-1', { data: 'x' });
      const { target } = bench.rig;
      const before = await bench.mishap('roundTrips')('source');
      await target.points(bench.volume('target'));
      await target.promote(bench.volume('target'), bench.promotion('unplanned', point));
      await bench.place('target');
      await target.observe(bench.volume('target'));
      test.equal(await bench.mishap('roundTrips')('source'), before);
    },
  },
  {
    title: 'the same promotion twice changes nothing; another point is another matter',
    async run(test, bench) {
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const older = await bench.replicated('lb-older-1', { data: 'older' });
      const newer = await bench.replicated('lb-newer-1', { data: 'newer' });
      await bench.promote('unplanned', newer);
      const place = await bench.place('target');
      await bench.rig.write(place, 'since', 'written after the promotion');
      await target.promote(volume, bench.promotion('unplanned', newer));
      const heir = await bench.rig.reopen('target');
      await heir.promote(volume, bench.promotion('unplanned', newer));
      test.equal(await bench.rig.read(place, 'since'), 'written after the promotion');
      await bench.refused(target.promote(volume, bench.promotion('unplanned', older)), 'another point');
      test.equal(await bench.rig.read(place, 'data'), 'newer');
    },
  },
  {
    title: 'a wrong confirmation, or a point that is not there, promotes nothing',
    async run(test, bench) {
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const one = await bench.replicated('lb-one-1', { data: 'one' });
      const two = await bench.replicated('lb-two-1', { data: 'two' });
      const stale = {
        ...bench.promotion('unplanned', two),
        confirm: bench.promotion('unplanned', one).confirm,
      };
      await bench.refused(target.promote(volume, stale), 'the confirmation names another point');
      await bench.refused(target.promote(volume, { ...stale, confirm: '' }), 'no confirmation');
      const absent = { mode: 'unplanned' as const, point: 'absent', confirm: `${volume}@absent` };
      await bench.refused(target.promote(volume, absent), 'no such point');
      const view = await bench.role('target', 'target');
      test.equal(view.newestComplete?.ref, two.ref);
    },
  },
  {
    title: 'an older point can be promoted, or is refused as a whole',
    async run(test, bench) {
      const monday = await bench.replicated('lb-monday-1', { data: 'monday' });
      await bench.replicated('lb-tuesday-1', { data: 'tuesday' });
      if (!bench.can.promoteToPoint) {
        const promotion = bench.promotion('unplanned', monday);
        await bench.unsupported(
          bench.rig.target.promote(bench.volume('target'), promotion),
          'an older point',
        );
        await bench.role('target', 'target');
        return;
      }
      await bench.promote('unplanned', monday);
      test.equal(await bench.read('target', 'data'), 'monday');
    },
  },
  {
    title: 'a target is shown to nobody before it is promoted, and concealed again afterwards',
    async run(test, bench) {
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const hosts = bench.rig.hosts('target');
      if (bench.can.expose === 'none') {
        await bench.unsupported(target.expose(volume, hosts), 'expose');
        await bench.unsupported(target.conceal(volume, hosts), 'conceal');
        return;
      }
      const point = await bench.replicated('lb-shown-1', { data: 'x' });
      const early = await target.expose(volume, hosts).then(
        (exposed) => exposed,
        () => null,
      );
      if (early !== null)
        test.equal(
          await bench.takesWrites({ side: 'target', exposed: early, as: 'host' }),
          false,
          'an array that shows its replica lets nobody write to it',
        );
      await bench.promote('unplanned', point);
      const place = await bench.place('target');
      const again = await bench.place('target');
      test.same(again, place, 'exposing twice is the same address');
      test.equal(await bench.reaches(place), true);
      if (bench.can.expose === 'file') return;
      await target.conceal(volume, hosts);
      test.equal(await bench.reaches(place), false);
      await target.conceal(volume, hosts);
      await bench.role('target', 'promoted');
      test.equal(await bench.rig.read(await bench.place('target'), 'data'), 'x', 'and it can be shown again');
    },
  },
  {
    title: 'the old source comes back: both sides take writes, and that is said',
    needs: ['powerOff', 'powerOn'],
    async run(test, bench) {
      const point = await bench.replicated('lb-last-1', { data: 'common' });
      await bench.write('source', 'data', 'only at the source');
      await bench.mishap('powerOff')('source');
      await bench.promote('unplanned', point);
      await bench.rig.write(await bench.place('target'), 'data', 'only at the target');
      await bench.mishap('powerOn')('source');
      const old = await bench.role('source', 'split', 'source');
      if (bench.rig.reportsSplit) await bench.role('source', 'split');
      const { role } = await bench.role('target', 'promoted', 'split');
      test.match([old.role, role].join(' '), /source promoted|split/);
      if (bench.can.syncNow)
        await bench.refused(
          bench.rig.source.syncNow(bench.volume('source'), 'lb-after-1'),
          'nothing is sent to a side that was promoted',
        );
      test.equal(await bench.read('target', 'data'), 'only at the target');
    },
  },
  {
    title: 'a promotion that died half way is finished by the same call, and by no other',
    needs: ['dieHalfway'],
    async run(test, bench) {
      const { target } = bench.rig;
      const volume = bench.volume('target');
      const older = await bench.replicated('lb-older-1', { data: 'older' });
      const newer = await bench.replicated('lb-newer-1', { data: 'newer' });
      await bench.mishap('dieHalfway')('target', 'promote');
      await bench.refusal(target.promote(volume, bench.promotion('unplanned', newer)));
      const heir = await bench.rig.reopen('target');
      if ((await heir.observe(volume)).role === 'promoted')
        await bench.refused(heir.promote(volume, bench.promotion('unplanned', older)), 'another point');
      await heir.promote(volume, bench.promotion('unplanned', newer));
      await bench.role('target', 'promoted');
      test.equal(await bench.read('target', 'data'), 'newer');
    },
  },
];
