/** What goes wrong with ONTAP itself, over REST: jobs, pages, codes, releases, LUNs, and what was done by hand. */

import t from 'tap';
import { durationSeconds } from '../../../src/adapters/replication/ontap/rest-answers.ts';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError } from '../../../src/domain/errors.ts';
import { promotionConfirmation } from '../../../src/domain/replication.ts';
import { startRestFace } from './doubles/ontap/rest-face.ts';
import { makeClusters, populate, together, volumes } from './doubles/ontap/rig.ts';
import { failureOf } from './failure.ts';

const clusters = makeClusters();
const { face, doubles } = await startRestFace(t, clusters);
face.reset();
const source = face.open('source');
const target = face.open('target');
const access = { addresses: ['192.0.2.102'], iqns: ['iqn.2026-01.test:a'] };
t.beforeEach(() => face.reset());

function promotion(point: string) {
  return { mode: 'unplanned', point, confirm: promotionConfirmation(volumes.target, point) } as const;
}

t.test('500 pairs cost as many requests as one, and pages are followed', async (t) => {
  for (let at = 0; at < 499; at += 1) populate(clusters, `svm1:v${at}`, `svm2:v${at}_dst`);
  const all = [...clusters.target.volumes.keys()];
  const cost = async (work: () => Promise<unknown>): Promise<number> => {
    const before = face.requests('target');
    await work();
    return face.requests('target') - before;
  };
  t.equal(await cost(() => target.observeAll(all)), await cost(() => target.observeAll(all.slice(0, 1))));
  doubles.target.pageRecords = 200;
  const views = await target.observeAll(all);
  t.equal(all.filter((each) => 'role' in (views.get(each) ?? {})).length, 500);
  t.equal((await target.discover()).length, 500);
});

t.test(
  'a job that fails is told in the words of ONTAP; a break during a transfer is for later',
  async (t) => {
    const point = await source.syncNow(volumes.source, 'lb-one-1');
    const breaking = (body: unknown) => (body as { state?: string } | null)?.state === 'broken_off';
    doubles.target.instead(({ body }) => breaking(body), {
      status: 400,
      body: { error: { code: '13303808', message: 'Break failed: another transfer is in progress.' } },
    });
    t.match(await failureOf(target.promote(volumes.target, promotion(point.ref))), {
      kind: 'busy',
      peerCode: '13303808',
    });
    t.equal((await target.observe(volumes.target)).role, 'target');
    await target.promote(volumes.target, promotion(point.ref));
    t.equal((await target.observe(volumes.target)).role, 'promoted');
    face.reset();
    clusters.source.snapshot(volumes.source, 'by-hand', null);
    const taken = await failureOf(source.syncNow(volumes.source, 'by-hand'));
    t.match(taken, { kind: 'refused', problem: { code: 'DR-ARRAY-NAME' } });
  },
);

t.test('rights, strange answers and busy arrays are told apart', async (t) => {
  const error = (code: string, message: string) => ({ error: { code, message } });
  const cases = [
    [403, error('6', 'not authorized for that command'), 'auth'],
    [503, error('1', 'Service Unavailable'), 'busy'],
    [400, error('2', 'The volume is temporarily locked.'), 'busy'],
    [200, { records: [{ uuid: 1 }] }, 'protocol'],
  ] as const;
  for (const [status, body, kind] of cases) {
    doubles.target.instead(({ path }) => path === '/api/storage/volumes', { status, body });
    t.equal((await failureOf(target.observe(volumes.target))).kind, kind, `status ${status}`);
  }
});

t.test('a release without version_uuid and delta: points are known by name and time', async (t) => {
  doubles.source.old = true;
  doubles.target.old = true;
  const point = await source.syncNow(volumes.source, 'lb-old-1');
  t.match(point.ref, /^lb-old-1@/);
  await target.promote(volumes.target, promotion(point.ref));
  t.match(await source.divergence(volumes.source), { common: { ref: point.ref }, bytesLost: null });
});

t.test('a LUN is mapped for its hosts, taken from them by prepare and given back', async (t) => {
  const volume = clusters.source.volume(volumes.source);
  const lun = clusters.source.addLun(volume, 'lun0');
  const exposed = await source.expose(volumes.source, access);
  t.match(exposed, { kind: 'iscsi', lun: 0, portals: ['192.0.2.12'], scsiId: `3600a0980${lun.serialHex}` });
  t.same(clusters.source.igroups[0]?.initiators, access.iqns);
  await source.prepare(volumes.source, 'lb-final-1');
  t.same(lun.maps, []);
  t.equal(volume.policy, 'lifeboat_closed');
  await source.unprepare(volumes.source);
  t.same(lun.maps, [{ igroup: 'lifeboat_shop', id: 0 }]);
  t.equal(volume.policy, 'default');
  t.equal(volume.comment, '');
  await source.conceal(volumes.source, access);
  t.same(lun.maps, []);
});

t.test('hosts that are let in again by hand are seen', async (t) => {
  const volume = clusters.source.volume(volumes.source);
  volume.comment = 'of the accounts department';
  await source.fence(volumes.source);
  t.match(await source.observe(volumes.source), { role: 'demoted', writable: false });
  volume.policy = 'default';
  t.match(await source.observe(volumes.source), { writable: 'unknown', health: { level: 'bad' } });
  volume.policy = 'lifeboat_closed';
  clusters.source.addRule(clusters.source.policy('svm1', 'lifeboat_closed'), '0.0.0.0/0');
  t.match(await failureOf(source.prepare(volumes.source, 'lb-final-1')), {
    problem: { code: 'DR-ARRAY-IN-USE' },
  });
  await source.unprepare(volumes.source);
  t.equal(volume.comment, 'of the accounts department');
});

t.test('a volume with the name of a copy is never removed', async (t) => {
  const foreign = clusters.target.addVolume('svm2:lifeboat_drill_shop_dst_d1', { comment: 'mine' });
  const error = await failureOf(target.drillStop(volumes.target, 'd1'));
  t.match(error, { kind: 'refused', problem: { code: 'DR-ARRAY-NOT-OURS' } });
  t.ok([...clusters.target.volumes.values()].includes(foreign));
});

t.test('options are checked at once; both types are known', async (t) => {
  const surroundings = { secrets: { resolve: async () => '' }, clock: systemClock, peers: new Map() };
  for (const type of ['ontap', 'ontap-cli']) {
    const array = { name: 'a', site: 's', type, options: { keep_points: 0 }, secret: null };
    t.throws(() => openReplication(array, surroundings), OperatorError);
  }
  t.equal(durationSeconds('P2DT1H2M3S'), 2 * 86_400 + 3723);
  t.equal(durationSeconds('soon'), null);
});

t.test('a pair of LUNs says so, and one of exports or of both kinds says NFS', async (t) => {
  t.equal((await target.capabilities()).expose, 'nfs');
  const cluster = clusters.target;
  cluster.addLun(cluster.volume(volumes.target), 'lun0');
  t.equal((await target.capabilities()).expose, 'lun');
  const second = { volumes: { source: 'svm1:second', target: 'svm2:second_dst' } };
  populate(clusters, second.volumes.source, second.volumes.target);
  const both = face.open('target', {}, [{ volumes }, second]);
  t.equal((await both.capabilities()).expose, 'nfs', 'not every volume of the array is a LUN');
});

t.test(
  'a release that does not replicate consistency groups says so, and makes no point of one',
  async (t) => {
    const [log] = together(clusters, face);
    t.equal((await log.source.capabilities()).consistencyGroups, true);
    doubles.source.release = '9.13.0';
    t.equal((await log.source.capabilities()).consistencyGroups, false);
    const error = await failureOf(log.source.syncNow(log.volumes.source, 'lb-old-1'));
    t.match(error, {
      peerCode: 'unsupported',
      problem: { code: 'DR-CONSISTENCY-GROUP-CANNOT', known: [/9\.13\.0/] },
    });
    t.same(clusters.source.volume(log.volumes.source).snapshots.length, 1, 'only what was there');
  },
);

t.test(
  'a group that died between the break and its way back to an older point is finished by the same call',
  async (t) => {
    const [log, data] = together(clusters, face);
    clusters.source.volume(data.volumes.source).files.set('data', 'one');
    const point = await log.source.syncNow(log.volumes.source, 'lb-older-1');
    clusters.source.volume(data.volumes.source).files.set('data', 'two');
    await log.source.syncNow(log.volumes.source, 'lb-newer-1');
    const promote = (rig: typeof log) =>
      rig.target.promote(rig.volumes.target, {
        mode: 'unplanned',
        point: point.ref,
        confirm: promotionConfirmation(rig.volumes.target, point.ref),
      });
    doubles.target.instead(
      ({ method, path }) => method === 'PATCH' && path.includes('/consistency-groups/'),
      {
        status: 500,
        body: { error: { code: '1', message: 'internal error' } },
      },
    );
    await failureOf(promote(log));
    for (const rig of [log, data]) {
      const view = await rig.target.observe(rig.volumes.target);
      t.match(
        view,
        { role: 'target', activity: 'promoting', writable: false },
        'it is not said to be promoted',
      );
      await failureOf(rig.target.expose(rig.volumes.target, access));
    }
    await promote(data);
    for (const rig of [log, data])
      t.equal((await rig.target.observe(rig.volumes.target)).role, 'promoted', 'all of the group at once');
    t.equal(clusters.target.volume(data.volumes.target).files.get('data'), 'one');
    await promote(log);
  },
);

t.test('snapshots of the same name that were not taken for the group are no points of it', async (t) => {
  const [log, data] = together(clusters, face);
  for (const rig of [log, data]) clusters.source.snapshot(rig.volumes.source, 'hourly.0', null);
  clusters.source.snapshot(log.volumes.source, 'lb-alone-1', 'lifeboat');
  await log.source.syncNow(log.volumes.source, 'lb-group-1');
  for (const rig of [log, data]) {
    const tags = (await rig.target.points(rig.volumes.target)).map(({ tag }) => tag ?? null);
    t.same(tags, ['lb-group-1', null], 'that of the group, and the first of SnapMirror');
  }
});
