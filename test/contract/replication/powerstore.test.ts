/** The powerstore adapter against doubles of two PowerStores: the contract, and what is particular to it. */

import t from 'tap';
import { powerStoreRigs, startPowerStorePair } from './doubles/powerstore/rig.ts';
import { refused } from './doubles/powerstore/server.ts';
import { failureOf } from './failure.ts';
import { replicationSuite } from './suite.ts';

const pair = await startPowerStorePair();
t.teardown(() => pair.stop());
const rigs = powerStoreRigs(pair);
replicationSuite('powerstore', rigs);

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
  t.match(await rig.source.observe(rig.volumes.source), {
    role: 'source',
    link: 'down',
    health: { level: 'bad' },
  });
  t.match(await failureOf(rig.source.syncNow(rig.volumes.source, 'lb-link-1')), {
    kind: 'refused',
    problem: { code: 'DR-ARRAY-LINK' },
  });
});

t.test('a session that a person has paused is not waited for', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  for (const session of pair.arrays.source.sessions) session.state = 'Paused';
  const error = await failureOf(rig.source.syncNow(rig.volumes.source, 'lb-paused-1'));
  t.match(error, { kind: 'refused', problem: { what: /Paused/ } });
});

t.test('the words of the site in a description stay, and what has no room is refused', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  const { source: from, target: to } = rig.volumes;
  const point = await rig.source.syncNow(from, 'lb-words-1');
  await rig.target.promote(to, { mode: 'unplanned', point: point.ref, confirm: `${to}@${point.ref}` });
  t.match(pair.arrays.target.named(to)?.description, /^replica of the shop \[lifeboat .*promoted:/);
  const volume = pair.arrays.source.named(from);
  if (volume === undefined) throw new Error('the volume is there');
  volume.description = 'x'.repeat(250);
  t.match(await failureOf(rig.source.fence(from)), { kind: 'refused' });
  t.equal(volume.description, 'x'.repeat(250));
});

t.test('hosts that the array does not know are refused', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  const point = await rig.source.syncNow(rig.volumes.source, 'lb-hosts-1');
  const access = { addresses: [], iqns: ['iqn.2026-11.com.example:unheard-of'] };
  const drill = { drill: 'lb-hosts', point: point.ref, access };
  t.match(await failureOf(rig.target.drillStart(rig.volumes.target, drill)), { peerCode: 'no-hosts' });
  await rig.target.drillStop(rig.volumes.target, 'lb-hosts');
});

t.test('the words of PowerStore are told apart', async (t) => {
  const rig = await rigs((work) => t.teardown(work));
  const { overrides } = pair.servers.source;
  overrides.set('GET /cluster', refused(403, '0xE09040030001', 'Forbidden.'));
  t.match(await failureOf(rig.source.identify()), { kind: 'auth', problem: { code: 'DR-ARRAY-RIGHT' } });
  overrides.set('GET /cluster', refused(503, '0xE04040010009', 'Service unavailable.'));
  t.match(await failureOf(rig.source.identify()), { kind: 'busy' });
  overrides.set('GET /cluster', { status: 200, body: [{ nonsense: true }] });
  t.match(await failureOf(rig.source.identify()), { kind: 'protocol' });
});

t.test(
  'a volume that is not in the named group, and a group without order of writes, are refused',
  async (t) => {
    const rig = await rigs((work) => t.teardown(work));
    const [first] = (await rig.together?.()) ?? [];
    if (first === undefined) throw new Error('the rig has groups');
    const [group] = pair.arrays.source.groups;
    if (group === undefined) throw new Error('the group is there');
    group.ordered = false;
    t.match(await failureOf(first.source.fence(first.volumes.source)), {
      problem: { code: 'DR-CONSISTENCY-GROUP-MEMBERS', what: /order of writes/ },
    });
    t.match(
      (await first.source.points(first.volumes.source)).map(({ consistency }) => consistency),
      [],
      'and nothing of it counts as one moment',
    );
    pair.arrays.source.groups[0] = { ...group, ordered: true, members: new Set() };
    t.match(await failureOf(first.source.observe(first.volumes.source)), { kind: 'refused' });
    t.match(await failureOf(first.source.fence(first.volumes.source)), {
      problem: { code: 'DR-ARRAY-VOLUME', known: [/not in the consistency group/] },
    });
    const alone = pair.adapters.adapter('source', [{ volumes: first.volumes }]);
    t.match(
      await failureOf(alone.fence(first.volumes.source)),
      { peerCode: 'unsupported' },
      'and a volume of a group that sites.yaml does not name is not touched by itself',
    );
  },
);
