/** The verification as people read it, and when it asks for a new point. */
import t from 'tap';
import type { ErrorCode } from '../../src/domain/errors.ts';
import type { PairObservation } from '../../src/domain/observation.ts';
import { lookOf } from '../../src/domain/site-look.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planVerify, type VerifyRequest } from '../../src/plan/verify.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { golden } from '../report/golden.ts';
import { now, pairs, productionPool, quiet, recoveryPool, replicaPoint, shop } from '../support/two-sites.ts';

/** Both ends of each pair are seen; the newest point has this age. */
function pairsOfAge(seconds: number): PairObservation[] {
  return pairs([replicaPoint(addSeconds(now, -seconds))]).map((pair, index) => ({
    ...pair,
    source:
      pair.target === null
        ? null
        : { ...pair.target, role: 'source', pair: shop.storage[index]?.source ?? pair.target.pair },
  }));
}

function request(ageSeconds: number, changes: Partial<VerifyRequest> = {}): VerifyRequest {
  const observation = { ...quiet(), pairs: pairsOfAge(ageSeconds) };
  return {
    planId: 'verify-shop-20260314T020000Z-0001',
    group: shop,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation,
    point: observation.catalog.points[0] ?? null,
    since: {
      at: addSeconds(now, -86_400),
      by: 'run 20260313T020000Z-verify-shop-00ab',
      looks: { production: lookOf(productionPool()), recovery: lookOf(recoveryPool()) },
    },
    frozen: false,
    sync: false,
    deep: false,
    syncNow: new Map([['filer-osaka', true]]),
    ...changes,
  };
}

function text(asked: VerifyRequest): string {
  const plan = planVerify(asked);
  return planText({ plan, digest: 'd'.repeat(64), findings: [] }, plainPaper, 'full');
}

const syncs = (asked: VerifyRequest): string[] =>
  planVerify(asked).steps.flatMap(({ id, action }) => (action.do === 'sync-replication' ? [id] : []));

t.test('a verification with young replicas', (t) => {
  golden(t, 'cases/verify.plan.txt', import.meta.url, text(request(240)));
  t.end();
});

t.test('a verification that has new points sent first, of every byte', (t) => {
  golden(t, 'cases/verify-sync.plan.txt', import.meta.url, text(request(600, { deep: true, since: null })));
  t.end();
});

t.test('a new point is asked for from half of the RPO on, or on request, where the array can', (t) => {
  t.same(syncs(request(449)), []);
  t.same(syncs(request(451)), ['sync-tier-1', 'sync-tier-2']);
  t.same(syncs(request(10, { sync: true })), ['sync-tier-1', 'sync-tier-2']);
  const cannot = planVerify(request(600, { syncNow: new Map([['filer-osaka', false]]) }));
  t.notOk(cannot.steps.some(({ action }) => action.do === 'sync-replication'));
  t.match(cannot.expects.notes.join(), /by its own schedule only/);
  const unknown = planVerify(request(600, { syncNow: new Map() }));
  t.notOk(unknown.steps.some(({ action }) => action.do === 'sync-replication'));
  t.match(unknown.expects.notes.join(), /is not known/);
  t.end();
});

t.test('a frozen group is looked at and left alone, unless a person asks for a point', (t) => {
  t.same(syncs(request(600, { frozen: true })), []);
  t.match(planVerify(request(600, { frozen: true })).expects.notes.join(), /group shop is frozen/);
  t.same(syncs(request(600, { frozen: true, sync: true })), ['sync-tier-1', 'sync-tier-2']);
  t.end();
});

t.test('nothing is asked of a pair that is not in its roles', (t) => {
  const seen = pairsOfAge(600).map((pair) => ({
    ...pair,
    target: pair.target === null ? null : { ...pair.target, role: 'promoted' as const },
  }));
  t.same(syncs(request(600, { observation: { ...quiet(), pairs: seen }, sync: true })), []);
  t.same(syncs(request(600, { observation: { ...quiet(), pairs: [] }, sync: true })), []);
  t.end();
});

t.test('a replica that is not there yet is made by the first point, when a person asks for it', (t) => {
  const seen = pairsOfAge(600).map((pair) => ({ ...pair, target: null, points: null }));
  const missing = (code: ErrorCode): Partial<VerifyRequest> => ({
    observation: {
      ...quiet(),
      pairs: seen,
      gaps: shop.storage.map(({ target: { array, volume } }) => ({
        source: `array ${array}, volume ${volume}`,
        problem: { code, what: `There is no volume ${volume}`, known: [], next: 'Look' },
      })),
    },
  });
  const [{ target } = { target: null }] = shop.storage;
  t.same(syncs(request(600, { ...missing('DR-ARRAY-VOLUME'), sync: true })), ['sync-tier-1', 'sync-tier-2']);
  t.same(syncs(request(600, missing('DR-ARRAY-VOLUME'))), [], 'never by itself');
  const notes = planVerify(request(600, missing('DR-ARRAY-VOLUME'))).expects.notes.join();
  t.match(notes, `has no volume ${target?.volume ?? ''} yet`);
  t.match(notes, /lifeboat verify shop --sync/);
  t.same(syncs(request(600, { ...missing('DR-ARRAY-UNREACHABLE'), sync: true })), [], 'nor into silence');
  t.end();
});

t.test('every promise is looked at, whichever of the others is broken', (t) => {
  for (const step of planVerify(request(600)).steps) {
    t.equal(step.onFailure, 'finish', `${step.id} ends the run as failed, and nothing else`);
    if (step.after.length > 0) t.same(step.needs, [], `${step.id} needs no other step`);
    t.notOk(step.pointOfNoReturn);
  }
  t.end();
});
