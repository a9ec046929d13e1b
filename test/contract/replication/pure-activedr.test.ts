/** ActiveDR pods against doubles of two FlashArrays: the contract, and what is particular to pods. */

import t, { type Test } from 'tap';
import { activeDrRigs, startActiveDrPair } from './doubles/pure/activedr-rig.ts';
import { hostNames } from './doubles/pure/rig.ts';
import { failureOf } from './failure.ts';
import type { Side } from './rig.ts';
import { replicationSuite } from './suite.ts';

const pair = await startActiveDrPair();
t.teardown(() => pair.stop());
const rigs = activeDrRigs(pair);
replicationSuite('pure-activedr', rigs);

async function opened(t: Test) {
  const rig = await rigs((work) => t.teardown(work));
  const at = (side: Side) => {
    const [pod = ''] = rig.volumes[side].split('::');
    return pair.pods.must(pair.arrays[side], pod);
  };
  return { rig, at };
}

t.test('a move demotes the pod when everything has arrived, and taking it back costs nothing', async (t) => {
  const { rig, at } = await opened(t);
  const { source: from, target: to } = rig.volumes;
  pair.arrays.source.mustVolume(from).files.set('data', 'the last word');
  const point = await rig.source.prepare(from, 'lb-final-1');
  t.equal(at('source').status, 'demoted');
  t.equal(at('target').files.get('disk')?.get('data'), 'the last word');
  await rig.source.unprepare(from);
  t.equal(at('source').status, 'promoted');
  t.equal(at('source').undo, null, 'it came back from what it was');
  t.ok(
    pair.arrays.source.connections.some(({ volume }) => volume === from),
    'its hosts have it again',
  );
  const again = await rig.source.prepare(from, 'lb-final-2');
  t.not(again.ref, point.ref);
  await rig.target.promote(to, { mode: 'planned', point: again.ref, confirm: `${to}@${again.ref}` });
  t.equal((await rig.source.observe(from)).role, 'demoted', 'as long as nothing was turned round');
  await rig.source.demote(from, { discard: false, confirm: '' });
  const back = await rig.target.reverse(to, 'lb-back-1', { discard: false, confirm: '' });
  t.match(await rig.source.observe(from), { role: 'target', newestComplete: { ref: back.ref } });
});

t.test('what a demotion gives up is kept as a pod of its own before the next one', async (t) => {
  const { rig, at } = await opened(t);
  const { source: from, target: to } = rig.volumes;
  const point = await rig.source.syncNow(from, 'lb-kept-1');
  await rig.target.promote(to, { mode: 'unplanned', point: point.ref, confirm: `${to}@${point.ref}` });
  await rig.target.expose(to, rig.hosts('target'));
  pair.arrays.target.mustVolume(to).files.set('data', 'only here');
  await rig.target.restore(to, { discard: true, confirm: `restore ${to} to ${point.ref}` });
  t.equal(at('target').undo?.get('disk')?.get('data'), 'only here');
  await rig.target.drillStart(to, { drill: 'lb-after', point: point.ref, access: rig.hosts('target') });
  t.equal(at('target').kept[0]?.get('disk')?.get('data'), 'only here', 'before the drill began');
  await rig.target.drillStop(to, 'lb-after');
  t.equal(at('target').undo, null, 'what the drill wrote is gone');
  t.equal(at('target').kept.length, 1);
});

t.test(
  'a pod with a volume that nobody names is not moved, and a name without a pod is refused',
  async (t) => {
    const { rig, at } = await opened(t);
    const { source: from, target: to } = rig.volumes;
    const point = await rig.source.syncNow(from, 'lb-stranger-1');
    for (const side of ['source', 'target'] as const)
      pair.arrays[side].addVolume(`${at(side).name}::stranger`);
    const wanted = { problem: { code: 'DR-CONSISTENCY-GROUP-MEMBERS', known: [/::stranger/] } };
    t.match(await failureOf(rig.source.prepare(from, 'lb-stranger-2')), wanted);
    const promotion = { mode: 'unplanned' as const, point: point.ref, confirm: `${to}@${point.ref}` };
    t.match(await failureOf(rig.target.promote(to, promotion)), wanted);
    t.equal(at('target').status, 'demoted');
    const drill = { drill: 'lb-stranger', point: point.ref, access: rig.hosts('target') };
    t.match(await failureOf(rig.target.drillStart(to, drill)), wanted);
    const plain = { volumes: { source: 'disk', target: 'disk' } };
    t.throws(() => pair.adapters.adapter('source', [plain]), /not the name of a volume in a pod/);
    const elsewhere = { volumes: rig.volumes, groups: { source: 'another', target: 'another' } };
    t.throws(() => pair.adapters.adapter('source', [elsewhere]), /is not in pod another/);
  },
);

t.test(
  'a pod that a person promoted on the array is told, and the other one is not opened beside it',
  async (t) => {
    const { rig, at } = await opened(t);
    const { source: from, target: to } = rig.volumes;
    await rig.source.prepare(from, 'lb-byhand-1');
    at('target').status = 'promoted';
    const wanted = { kind: 'refused', problem: { what: /is promoted at pure-tokyo/ } };
    t.match(await failureOf(rig.source.unprepare(from)), wanted);
    t.match(await failureOf(rig.source.prepare(from, 'lb-byhand-2')), wanted);
    const untouched = { discard: false, confirm: '' };
    t.match(await failureOf(rig.target.restore(to, untouched)), { kind: 'refused' });
    t.equal(at('source').status, 'demoted', 'one of them takes writes');
    at('target').status = 'demoted';
    await rig.source.unprepare(from);
    at('target').status = 'promoted';
    t.equal((await rig.source.observe(from)).role, 'split');
  },
);

t.test('a replica of old that a person promoted is no replica any more', async (t) => {
  const { rig, at } = await opened(t);
  const { source: from, target: to } = rig.volumes;
  const point = await rig.source.prepare(from, 'lb-turned-1');
  await rig.target.promote(to, { mode: 'planned', point: point.ref, confirm: `${to}@${point.ref}` });
  const untouched = { discard: false, confirm: '' };
  await rig.source.demote(from, untouched);
  await rig.target.reverse(to, 'lb-turned-2', untouched);
  t.equal((await rig.source.observe(from)).role, 'target');
  at('source').status = 'promoted';
  t.match(await rig.source.observe(from), { role: 'split', writable: true });
});

t.test(
  'what hosts of the site could write to a promoted pod is given up by name only, and kept',
  async (t) => {
    const { rig, at } = await opened(t);
    const { source: from, target: to } = rig.volumes;
    const point = await rig.source.syncNow(from, 'lb-reached-1');
    pair.arrays.target.connections.push({ host: hostNames.target, volume: to, lun: 1 });
    await rig.target.promote(to, { mode: 'unplanned', point: point.ref, confirm: `${to}@${point.ref}` });
    pair.arrays.target.mustVolume(to).files.set('data', 'written by hand');
    const refusal = await failureOf(rig.target.restore(to, { discard: false, confirm: '' }));
    t.equal(refusal.problem.code, 'DR-ARRAY-DIVERGED');
    await rig.target.restore(to, { discard: true, confirm: `restore ${to} to ${point.ref}` });
    await rig.target.drillStart(to, { drill: 'lb-later', point: point.ref, access: rig.hosts('target') });
    t.equal(at('target').kept[0]?.get('disk')?.get('data'), 'written by hand');
  },
);

t.test('an open drill is never seen without its name', async (t) => {
  const { rig } = await opened(t);
  const { source: from, target: to } = rig.volumes;
  const point = await rig.source.syncNow(from, 'lb-seen-1');
  const { requests } = pair.servers.target.web;
  const before = requests.length;
  await rig.target.observe(to);
  const asked = requests.slice(before);
  const [tags, pods] = ['/volumes/tags', '/pods'].map((end) => asked.findIndex((one) => one.endsWith(end)));
  t.ok(pods !== -1 && Number(tags) > Number(pods), 'what is written down is read last');
  await rig.target.drillStart(to, { drill: 'lb-seen', point: point.ref, access: rig.hosts('target') });
  t.equal((await rig.target.observe(to)).role, 'in-test');
  await rig.target.drillStop(to, 'lb-seen');
  t.equal((await rig.target.observe(to)).role, 'target');
});
