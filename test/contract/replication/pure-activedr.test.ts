/** ActiveDR pods against doubles of two FlashArrays: the contract, and what is particular to pods. */
import t, { type Test } from 'tap';
import { PortError } from '../../../src/domain/errors.ts';
import { activeDrRigs, startActiveDrPair } from './doubles/pure/activedr-rig.ts';
import type { Side } from './rig.ts';
import { replicationSuite } from './suite.ts';

const pair = await startActiveDrPair();
t.teardown(() => pair.stop());
const rigs = activeDrRigs(pair);
replicationSuite('pure-activedr', rigs);

async function failureOf(work: Promise<unknown>): Promise<PortError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof PortError) return error;
  throw error ?? new Error('it succeeded');
}

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
