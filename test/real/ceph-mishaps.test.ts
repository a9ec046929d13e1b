/** What only Ceph does, over two real clusters: promotions that are held up or break off, journal mode, pools and namespaces. */
import t, { type Test } from 'tap';
import { promotionConfirmation } from '../../src/domain/replication.ts';
import { CephPair, caseSeconds } from './storage/ceph.ts';
import { whyNoCeph } from './storage/ceph-place.ts';

const missing = whyNoCeph();
if (missing !== null && process.env['LIFEBOAT_REAL'] !== undefined) throw new Error(missing);

if (missing !== null) t.test('two real Ceph clusters', { skip: missing }, () => undefined);
else {
  // Two clusters on a busy machine: each case has a limit of its own, the file a generous one.
  t.setTimeout(1_800_000);
  const pair = new CephPair();
  // Also where the runner gives the file up: nothing of it may stay behind.
  process.once('exit', () => pair.stop());
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));
  t.teardown(() => pair.stop());
  t.before(() => pair.start());

  /** A case of Ceph alone: both clusters up, evidence when it fails. */
  const special = (title: string, run: (t: Test) => Promise<void>): void => {
    t.test(title, { timeout: caseSeconds * 1000 }, async (t) => {
      t.teardown(() => pair.closeAdapters());
      await pair.mended();
      try {
        await run(t);
      } catch (error) {
        t.comment(await pair.evidence());
        throw error;
      }
    });
  };

  const unplanned = (volume: string, point: string) =>
    ({ mode: 'unplanned', point, confirm: promotionConfirmation(volume, point) }) as const;

  special(
    'the source dies in the middle of a transfer: the promotion ends, at the last whole point',
    async (t) => {
      const volume = await pair.newImage({ size: '64M' });
      await pair.write('source', volume, 'data', 'whole');
      const point = await pair.open('source', [volume]).syncNow(volume, 'lb-whole-1');
      const whole = await pair.digest('source', volume);
      await pair.dieInTransfer(volume);
      const target = pair.open('target', [volume]);
      t.equal((await target.observe(volume)).newestComplete?.ref, point.ref, 'half a copy is no point');
      await target.promote(volume, unplanned(volume, point.ref));
      t.equal((await target.observe(volume)).role, 'promoted');
      t.equal(await pair.digest('target', volume), whole);
    },
  );

  special('a forced promotion that was broken off over half a copy is rolled back', async (t) => {
    const volume = await pair.newImage({ size: '64M' });
    await pair.write('source', volume, 'data', 'whole');
    const point = await pair.open('source', [volume]).syncNow(volume, 'lb-whole-1');
    const whole = await pair.digest('source', volume);
    await pair.dieInTransfer(volume);
    await pair.breakOffPromotion(volume);
    const target = pair.open('target', [volume]);
    t.match(await target.observe(volume), { activity: 'promoting', health: { level: 'bad' } });
    await target.promote(volume, unplanned(volume, point.ref));
    const view = await target.observe(volume);
    t.match(view, { role: 'promoted', health: { level: 'warn' } });
    t.equal(await pair.digest('target', volume), whole);
    await pair.write('target', volume, 'data', 'written after it');
    await target.promote(volume, unplanned(volume, point.ref));
    t.equal(
      await pair.read('target', volume, 'data'),
      'written after it',
      'asked again, nothing is rolled back',
    );
  });

  special('journal mode in a pool that mirrors all its images', async (t) => {
    await thereAndBack(t, await pair.newImage({ inPool: await pair.journaledPool(), mode: 'journal' }));
  });

  special('snapshot mode in a namespace', async (t) => {
    await thereAndBack(t, await pair.newImage({ inPool: await pair.namespace() }));
  });

  async function thereAndBack(t: Test, volume: string): Promise<void> {
    const [source, target] = [pair.open('source', [volume]), pair.open('target', [volume])];
    await pair.write('source', volume, 'data', 'first');
    const point = await source.syncNow(volume, 'lb-first-1');
    t.match(
      (await target.points(volume)).find(({ ref }) => ref === point.ref),
      { tag: 'lb-first-1', complete: true },
    );
    const access = { addresses: ['10.79.1.7'], iqns: [] };
    const drill = await target.drillStart(volume, { drill: 'd1', point: point.ref, access });
    t.equal(await pair.read('target', drill.path ?? '', 'data'), 'first');
    t.match(await target.drillList(), [{ volume, drill: 'd1' }]);
    await target.drillStop(volume, 'd1');
    t.same(await target.drillList(), []);
    t.ok((await target.discover()).some((one) => one.volume === volume));
    const last = await source.prepare(volume, 'lb-last-1');
    t.equal((await source.observe(volume)).role, 'demoted');
    await target.promote(volume, {
      mode: 'planned',
      point: last.ref,
      confirm: promotionConfirmation(volume, last.ref),
    });
    await pair.write('target', volume, 'data', 'abroad');
    const back = await target.reverse(volume, 'lb-back-1', { discard: false, confirm: '' });
    t.equal((await target.observe(volume)).role, 'source');
    t.equal((await source.points(volume)).find(({ ref }) => ref === back.ref)?.tag, 'lb-back-1');
    t.equal(await pair.read('source', volume, 'data'), 'abroad');
  }
}
