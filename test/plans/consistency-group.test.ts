/** Volumes of one consistency group: one point for all of them, one step after the other, and nothing else changes. */
import t from 'tap';
import type { Plan, Step } from '../../src/domain/plan.ts';
import { matchableVms } from '../../src/domain/scope.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planDrill } from '../../src/plan/drill.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { planMigrate } from '../../src/plan/migrate.ts';
import { pairsOf } from '../../src/plan/pairs.ts';
import { planReprotect } from '../../src/plan/reprotect.ts';
import { holding, together } from '../support/kept-together.ts';
import { disaster, now, pairs, productionPool, quiet, replicaPoint, shop } from '../support/two-sites.ts';
import { drilled, drillRequest, peace } from './drill-world.ts';

const newest = replicaPoint(addSeconds(now, -60));
const common = replicaPoint(addSeconds(now, -240));
const older = replicaPoint(addSeconds(now, -540));
const request = { configDigest: 'c'.repeat(64), generation: 4 };

function failover(group: typeof together, seen = holding([newest, common, older], [common, older])): Plan {
  return planFailover({
    planId: 'failover-shop-20260314T020000Z-0001',
    group,
    observation: disaster({ pairs: seen }),
    pointId: null,
    declaredLost: false,
    ...request,
  });
}

const steps = (plan: Plan, kind: Step['action']['do']): Step[] =>
  plan.steps.filter(({ action }) => action.do === kind);

/** Each step of this kind waits for the one before it. */
function inTurn(plan: Plan, kind: Step['action']['do']): boolean {
  const found = steps(plan, kind);
  return (
    found.length === 2 &&
    found.every(({ after }, index) => index === 0 || after.includes(found[index - 1]?.id ?? ''))
  );
}

t.test('a failover takes the newest point that is whole on all volumes, and promotes them in turn', (t) => {
  const plan = failover(together);
  const refs = steps(plan, 'promote').map(({ action }) => action.do === 'promote' && action.point.ref);
  t.same(refs, [common.ref, common.ref], 'one moment, though one volume holds a newer point');
  t.ok(inTurn(plan, 'promote'));
  t.same(
    plan.expects.replicas.map(({ point }) => point?.ref),
    [common.ref, common.ref],
    'and that is what it promises',
  );
  t.equal(plan.expects.lossSeconds, 240);
  t.match(plan.expects.notes.join('; '), /SRs Tier 1, Tier 2 are one consistency group of their array/);
  const apart = failover(shop);
  t.same(
    steps(apart, 'promote').map(({ action }) => action.do === 'promote' && action.point.ref),
    [newest.ref, common.ref],
    'without a group each has its own',
  );
  t.notOk(inTurn(apart, 'promote'));
  t.end();
});

t.test('without a point that is whole on all volumes nothing is promoted', (t) => {
  for (const seen of [holding([newest], [common]), holding([newest], null)]) {
    const plan = failover(together, seen);
    t.same(plan.steps, []);
    t.equal(plan.waitingOn.length, 2, plan.waitingOn.join('; '));
  }
  const incomplete = { ...newest, complete: false };
  const [pair] = pairsOf(together, disaster({ pairs: holding([newest, common], [incomplete, common]) }));
  t.same(
    pair?.points?.map(({ ref }) => ref),
    [common.ref],
    'a point that has not arrived whole on one volume is none',
  );
  t.end();
});

t.test('a drill clones all volumes at one point', (t) => {
  const observation = peace(undefined, { pairs: holding([newest, common], [common]) });
  const group = { ...drilled, storage: together.storage };
  const plan = planDrill(drillRequest(observation, { group }));
  const refs = steps(plan, 'clone-replica').map(
    ({ action }) => action.do === 'clone-replica' && action.point.ref,
  );
  t.same(refs, [common.ref, common.ref]);
  t.ok(inTurn(plan, 'clone-replica'));
  t.end();
});

t.test('a move closes, promotes and turns round in turn; so does a reprotection', (t) => {
  const seen = pairs([common]).flatMap((pair) =>
    pair.target === null ? [] : [{ ...pair, source: { ...pair.target, role: 'source' as const } }],
  );
  const moved = planMigrate({
    operation: 'migrate',
    planId: 'migrate-shop-20260314T020000Z-0001',
    group: together,
    roles: 'as-configured',
    observation: { ...quiet(), pairs: seen },
    vms: matchableVms(productionPool()).filter(({ nameLabel }) => /^(db|app|web)-/.test(nameLabel)),
    lastPointId: 'last',
    firstPointId: 'first',
    force: false,
    ...request,
  });
  for (const kind of ['final-sync', 'promote-synced', 'reverse-replication'] as const)
    t.ok(inTurn(moved, kind), kind);
  const promoted = seen.map((pair) => ({ ...pair, target: { ...pair.target, role: 'promoted' as const } }));
  const back = planReprotect({
    planId: 'reprotect-shop-20260314T020000Z-0001',
    group: together,
    state: {
      group: 'shop',
      phase: 'failed-over',
      generation: 4,
      activeSite: 'tokyo',
      roles: 'as-configured',
      currentRun: null,
      changedAt: now,
      frozen: null,
      tombstone: { site: 'osaka', at: now, run: 'r' },
      drill: null,
    },
    observation: { ...quiet(), pairs: promoted as never },
    vms: matchableVms(productionPool()).slice(0, 2),
    stale: [],
    divergence: new Map(),
    discard: false,
    stopOld: false,
    quarantineOnly: false,
    firstPointId: 'first',
    ...request,
  });
  for (const kind of ['demote-source', 'reverse-replication'] as const) t.ok(inTurn(back, kind), kind);
  const all = steps(back, 'demote-source').map(({ id }) => id);
  t.ok(
    steps(back, 'reverse-replication').every(({ after }) => all.every((id) => after.includes(id))),
    'nothing is turned round before all of the group are demoted',
  );
  t.end();
});
