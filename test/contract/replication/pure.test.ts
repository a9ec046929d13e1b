/** The pure adapter against doubles of two FlashArrays: the contract, and what is particular to it. */

import t from 'tap';
import { hostNames, pureRigs, startPurePair } from './doubles/pure/rig.ts';
import { failureOf } from './failure.ts';
import { replicationSuite } from './suite.ts';

const pair = await startPurePair();
t.teardown(() => pair.stop());
const rigs = pureRigs(pair);
replicationSuite('pure', rigs);

t.test('what hosts of the site could write to a promoted volume is given up by name only', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  const { source: from, target: to } = rig.volumes;
  const point = await rig.source.syncNow(from, 'lb-reached-1');
  await rig.target.promote(to, { mode: 'unplanned', point: point.ref, confirm: `${to}@${point.ref}` });
  pair.arrays.target.connections.push({ host: hostNames.target, volume: `${from}-lun`, lun: 1 });
  const refusal = await failureOf(rig.target.restore(to, { discard: false, confirm: '' }));
  t.equal(refusal.problem.code, 'DR-ARRAY-DIVERGED');
  t.equal((await rig.target.observe(to)).role, 'promoted', 'nothing was given up');
});

t.test('a session that has ended is opened again once, and lists come page by page', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  const point = await rig.source.syncNow(rig.volumes.source, 'lb-pages-1');
  pair.servers.target.expireSessions();
  pair.servers.target.pageSize = 2;
  t.teardown(() => {
    pair.servers.target.pageSize = 1000;
  });
  const view = await rig.target.observe(rig.volumes.target);
  t.equal(view.newestComplete?.ref, point.ref, 'the last page was read');
});

t.test('a link that is down is told, with what to do', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  pair.arrays.source.linked = false;
  const view = await rig.source.observe(rig.volumes.source);
  t.match(view, { role: 'source', link: 'down', health: { level: 'bad' } });
  t.match(await failureOf(rig.source.syncNow(rig.volumes.source, 'lb-link-1')), {
    kind: 'refused',
    problem: { code: 'DR-ARRAY-LINK' },
  });
});

t.test(
  'a group of several volumes, a strange volume in the way, and unknown hosts are refused',
  async (t) => {
    const rig = await rigs((work) => t.teardown(work));
    const { source: from, target: to } = rig.volumes;
    const point = await rig.source.syncNow(from, 'lb-refuse-1');
    const access = { addresses: [], iqns: ['iqn.2026-11.com.example:unheard-of'] };
    t.match(await failureOf(rig.target.drillStart(to, { drill: 'lb-refuse', point: point.ref, access })), {
      peerCode: 'no-hosts',
    });
    await rig.target.drillStop(to, 'lb-refuse');
    pair.arrays.target.addVolume(`${from}-lun`, new Map([['data', 'of somebody else']]));
    const promotion = { mode: 'unplanned' as const, point: point.ref, confirm: `${to}@${point.ref}` };
    t.match(await failureOf(rig.target.promote(to, promotion)), { kind: 'refused', peerCode: 'exists' });
    t.equal(pair.arrays.target.mustVolume(`${from}-lun`).files.get('data'), 'of somebody else');
    pair.arrays.source.addVolume(`${from}-second`);
    pair.arrays.source.mustGroup(from).members.add(`${from}-second`);
    t.match(await failureOf(rig.source.fence(from)), { kind: 'refused', peerCode: 'unsupported' });
  },
);

t.test('the words of Purity are told apart', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  const { overrides } = pair.servers.source;
  const says = (status: number, message: string): void => {
    overrides.set('GET /arrays', { status, body: { errors: [{ context: 'x', message }] } });
  };
  says(400, 'The array is busy, try again.');
  t.match(await failureOf(rig.source.identify()), { kind: 'busy' });
  says(403, 'Operation not permitted.');
  t.match(await failureOf(rig.source.identify()), { kind: 'auth', problem: { code: 'DR-ARRAY-RIGHT' } });
  overrides.set('GET /arrays', { status: 200, body: { items: [{ nonsense: true }] } });
  t.match(await failureOf(rig.source.identify()), { kind: 'protocol' });
});
