/** The truenas adapter against doubles of two TrueNAS: the contract, and what is particular to it. */

import t from 'tap';
import { openReplication } from '../../../src/adapters/replication/open.ts';
import { systemClock } from '../../../src/adapters/system/clock.ts';
import { OperatorError, type PortError } from '../../../src/domain/errors.ts';
import { promotionConfirmation } from '../../../src/domain/replication.ts';
import { CallError } from './doubles/truenas/filer.ts';
import { startTrueNasPair, trueNasRigs } from './doubles/truenas/rig.ts';
import { failureOf } from './failure.ts';
import type { Place } from './rig.ts';
import { replicationSuite } from './suite.ts';

const pair = await startTrueNasPair();
t.teardown(() => pair.stop());
replicationSuite('truenas', trueNasRigs(pair));

t.test('a session that has ended is opened again once, in the middle of work', async (t) => {
  const rig = await trueNasRigs(pair)((work) => t.teardown(work));
  await rig.source.observe(rig.volumes.source);
  pair.servers.source.expireSessions();
  const point = await rig.source.syncNow(rig.volumes.source, 'lb-expired-1');
  t.equal(point.tag, 'lb-expired-1');
});

t.test('a task of the old source cannot take back what was promoted', async (t) => {
  const rig = await trueNasRigs(pair)((work) => t.teardown(work));
  const { source: from, target: to } = rig.volumes;
  const point = await rig.source.syncNow(from, 'lb-guard-1');
  const confirm = promotionConfirmation(to, point.ref);
  await rig.target.promote(to, { mode: 'unplanned', point: point.ref, confirm });
  pair.filers.target.must(to).files.set('data', 'written at the recovery site');
  pair.filers.source.must(from).files.set('data', 'written by the old site');
  pair.filers.source.snapshot(from, 'auto-2026-11-21_16-00');
  const job = pair.filers.source.push({
    source_datasets: [from],
    target_dataset: to,
    name_regex: '.*',
    readonly: 'SET',
    allow_from_scratch: false,
  });
  while (job.state === 'RUNNING') await new Promise((resolve) => setImmediate(resolve));
  t.match(job, { state: 'FAILED', error: /dataset is busy/ });
  t.equal(pair.filers.target.must(to).files.get('data'), 'written at the recovery site');
});

t.test('a job that fails ends in its own words', async (t) => {
  const rig = await trueNasRigs(pair)((work) => t.teardown(work));
  pair.filers.source.linked = false;
  const error = await failureOf(rig.source.syncNow(rig.volumes.source, 'lb-words-1'));
  t.match(error, { kind: 'refused', peerCode: 'job FAILED', problem: { code: 'DR-ARRAY-LINK' } });
  t.match(error.message, /Connection timed out/);
});

t.test('the words of the middleware are told apart', async (t) => {
  const rig = await trueNasRigs(pair)((work) => t.teardown(work));
  const { overrides } = pair.servers.source;
  const says = async (errname: string, reason: string): Promise<PortError> => {
    overrides.set('pool.dataset.update', () => {
      throw new CallError(errname, reason);
    });
    return failureOf(rig.source.fence(rig.volumes.source));
  };
  t.match(await says('EBUSY', 'dataset is busy'), { kind: 'busy', problem: { code: 'DR-ARRAY-BUSY' } });
  t.match(await says('EACCES', 'Not authorized'), { kind: 'auth', problem: { code: 'DR-ARRAY-RIGHT' } });
  t.match(await says('EFAULT', 'out of space'), { kind: 'refused', message: /out of space/ });
  overrides.clear();
  overrides.set('pool.snapshot.query', () => 'nonsense');
  t.match(await failureOf(rig.source.observe(rig.volumes.source)), { kind: 'protocol' });
});

t.test('zvols are shown by iSCSI to the named initiators, and their copies too', async (t) => {
  const rig = await trueNasRigs(pair, 'VOLUME')((work) => t.teardown(work));
  const { source: from, target: to } = rig.volumes;
  const own: Place = { side: 'source', exposed: null, as: 'host' };
  await rig.write(own, 'block', 'as it was');
  const point = await rig.source.syncNow(from, 'lb-zvol-1');
  const access = rig.hosts('target');
  const copy = await rig.target.drillStart(to, { drill: 'lb-zvol', point: point.ref, access });
  t.match(copy, { kind: 'iscsi', lun: 0, portals: ['127.0.0.1:3260'], scsiId: /^36589cfc000000\d{19}$/ });
  t.equal(await rig.read({ side: 'target', exposed: copy, as: 'host' }, 'block'), 'as it was');
  await t.rejects(rig.read({ side: 'target', exposed: copy, as: 'stranger' }, 'block'), /login refused/);
  const confirm = promotionConfirmation(to, point.ref);
  await rig.target.promote(to, { mode: 'unplanned', point: point.ref, confirm });
  const shown = await rig.target.expose(to, access);
  t.not(shown.scsiId, copy.scsiId, 'the copy is another disk');
  t.same(await rig.target.expose(to, access), shown);
  await rig.write({ side: 'target', exposed: shown, as: 'host' }, 'block', 'newer');
  await rig.target.drillStop(to, 'lb-zvol');
  await t.rejects(rig.read({ side: 'target', exposed: copy, as: 'host' }, 'block'));
  t.equal(await rig.read({ side: 'target', exposed: shown, as: 'host' }, 'block'), 'newer');
  const nobody = { addresses: [], iqns: [] };
  t.equal((await failureOf(rig.target.expose(to, nobody))).peerCode, 'no-hosts', 'nobody is not everybody');
  await rig.target.conceal(to, access);
  await t.rejects(rig.read({ side: 'target', exposed: shown, as: 'host' }, 'block'));
  const { extents, targets, links, initiators } = pair.servers.target.shares;
  t.same([extents, targets, links, initiators], [[], [], [], []], 'nothing of it is left');
});

t.test('everything that is wrong with the options is said at once', async (t) => {
  const settings = {
    name: 'nas',
    site: 'tokyo',
    type: 'truenas',
    options: { url: 'http://nas', pool: '/', colour: 'red' },
    secret: null,
  };
  const surroundings = { secrets: { resolve: async () => '' }, clock: systemClock, peers: new Map() };
  try {
    openReplication(settings, surroundings);
    t.fail('it was opened');
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    t.equal(error.code, 'DR-ARRAY-OPTIONS');
    for (const word of ['url', 'username', 'pool', 'ssh_connection', 'colour']) t.match(error.message, word);
  }
});
