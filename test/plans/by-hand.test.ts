/** Plans over an array that a person works, or that lacks a verb: what is printed, and what is asked before what. */
import t from 'tap';
import type { Plan } from '../../src/domain/plan.ts';
import type { Capabilities } from '../../src/domain/replication.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { planCanary } from '../../src/plan/canary.ts';
import { planDrill } from '../../src/plan/drill.ts';
import { planFailover } from '../../src/plan/failover.ts';
import { plainPaper } from '../../src/report/paper.ts';
import { planText } from '../../src/report/plan.ts';
import { golden } from '../report/golden.ts';
import { disaster, now, pairs, replicaPoint, shop } from '../support/two-sites.ts';
import { cloning, drillRequest, filer, peace } from './drill-world.ts';

const byHand: Capabilities = {
  ...cloning,
  syncNow: false,
  prepare: false,
  reverse: 'none',
  fence: false,
  expose: 'file',
  handOffs: {
    promote: 'Break the mirror of {volume} at {point}; hosts: {hosts}',
    drillStart: 'Clone {volume} for {drill}',
    drillStop: 'Remove the clone of {volume} for {drill}; keep {unknown}',
  },
};

function failover(capabilities: Capabilities, changes: Parameters<typeof disaster>[0] = {}): Plan {
  return planFailover({
    planId: 'failover-shop-20260314T020000Z-0001',
    group: shop,
    configDigest: 'c'.repeat(64),
    generation: 4,
    observation: disaster({ arrays: [filer({ capabilities })], ...changes }),
    pointId: null,
    declaredLost: false,
  });
}

const questions = (plan: Plan): string[] =>
  plan.steps.flatMap(({ action }) => (action.do === 'ask' ? [action.question] : []));
const kinds = (plan: Plan): string[] => plan.steps.map(({ action }) => action.do);

t.test('a failover asks a person to promote, after the point is recorded and before the hosts look', (t) => {
  const plan = failover(byHand);
  t.notOk(kinds(plan).includes('promote'), 'nobody else promotes');
  const [asked] = plan.steps.filter(({ action }) => action.do === 'ask');
  t.match(asked, { pointOfNoReturn: true, onFailure: 'stop', holdsWhen: null });
  t.match(questions(plan)[0], /^Break the mirror of tier1-copy at 2026-.*; hosts: \S/);
  t.notMatch(questions(plan)[0], /[{}]/);
  const before = new Set(ancestors(plan, asked?.id ?? ''));
  t.ok(plan.steps.every(({ id, action }) => action.do !== 'record-replica' || before.has(id)));
  for (const { id, action } of plan.steps)
    if (action.do === 'attach-sr')
      t.ok(
        ancestors(plan, id).some((one) => plan.steps.find((step) => step.id === one)?.action.do === 'ask'),
        'each SR is attached after its question',
      );
  t.ok(kinds(plan).includes('compare-disks'), 'the word is not the proof');
  const text = planText({ plan, digest: 'd'.repeat(64), findings: [] }, plainPaper, 'runbook');
  // How the rest reads, and how long it takes, is tested elsewhere.
  const story = text.slice(text.indexOf('  Take over'), text.indexOf('  Import the VMs'));
  golden(t, 'cases/failover-by-hand.plan.txt', import.meta.url, story.replace(/ \(about [^)]*\)/g, ''));
  t.end();
});

function ancestors(plan: Plan, id: string): string[] {
  const after = plan.steps.find((step) => step.id === id)?.after ?? [];
  return [...after, ...after.flatMap((one) => ancestors(plan, one))];
}

t.test('what is stated as promoted is not asked for again', (t) => {
  const promoted = pairs([replicaPoint(addSeconds(now, -240))]).flatMap((pair) =>
    pair.target === null ? [] : [{ ...pair, target: { ...pair.target, role: 'promoted' as const } }],
  );
  t.same(questions(failover(byHand, { pairs: promoted })), []);
  t.end();
});

t.test('without a stated point there is no failover: nobody knows what would be lost', (t) => {
  const plan = failover(byHand, { pairs: pairs([]) });
  t.same(plan.steps, []);
  t.match(plan.waitingOn.join(), /a complete replica of SR Tier 1/);
  t.end();
});

t.test('an array that shows its volumes to nobody: a person does, at the address of production', (t) => {
  const plan = failover({ ...cloning, expose: 'none' });
  t.notOk(kinds(plan).includes('expose'));
  t.ok(kinds(plan).includes('promote'), 'it promotes by itself');
  t.match(questions(plan)[0], /Give these hosts access to volume tier1-copy of array filer-tokyo/);
  for (const { action } of plan.steps) if (action.do === 'attach-sr') t.equal(action.sr.exposedBy, null);
  t.end();
});

t.test('an array with nothing to show LUNs with: a person maps them by the names that it gives', (t) => {
  const sentence = 'Map {backing} of {volume} as {scsiId} for {hosts}';
  const plan = failover({
    ...cloning,
    expose: 'lun',
    handOffs: { expose: sentence },
    handOffNames: { 'tier1-copy': { backing: '/dev/zvol/tier1', scsiId: '36001405' } },
  });
  t.match(questions(plan)[0], /^Map \/dev\/zvol\/tier1 of tier1-copy as 36001405 for \S/);
  const exposing = plan.steps.filter(({ action }) => action.do === 'expose');
  t.ok(exposing.length > 0, 'the array says where hosts find what was mapped');
  for (const { id } of exposing) {
    const before = ancestors(plan, id).map((one) => plan.steps.find((step) => step.id === one)?.action.do);
    t.ok(before.includes('ask') && before.includes('promote'));
  }
  t.end();
});

t.test('an array that does everything hands nothing off', (t) => {
  t.same(questions(failover(cloning)), []);
  t.end();
});

t.test('a drill asks for the copy before it is looked at, and for its removal once it is forgotten', (t) => {
  const plan = planDrill(drillRequest(peace(undefined, { arrays: [filer({ capabilities: byHand })] })));
  t.same(plan.waitingOn, []);
  const [, , third] = questions(plan);
  t.match(questions(plan)[0], /^Clone tier1-copy for shop-/);
  t.match(third, /^Remove the clone of tier1-copy for shop-.*; keep \{unknown\}$/);
  for (const { id, action } of plan.steps) {
    const before = ancestors(plan, id).map((one) => plan.steps.find((step) => step.id === one)?.action.do);
    if (action.do === 'clone-replica') t.ok(before.includes('ask'));
    if (action.do === 'ask' && action.name.startsWith('remove-clone')) t.ok(before.includes('forget-clone'));
  }
  t.end();
});

t.test('a canary needs an array that can be asked, and cleans up whatever breaks', (t) => {
  const plan = (capabilities: Capabilities): Plan =>
    planCanary({
      planId: 'canary-shop-20260314T020000Z-0001',
      drillId: 'shop-20260314T020000Z-0001',
      group: shop,
      configDigest: 'c'.repeat(64),
      generation: 4,
      observation: peace(undefined, { arrays: [filer({ capabilities })] }),
      syncNow: new Map([['filer-osaka', true]]),
    });
  t.match(plan(byHand).waitingOn, ['an array that can be asked: array filer-tokyo is worked by hand']);
  t.same(plan(byHand).steps, []);
  const well = plan(cloning);
  t.same(well.waitingOn, []);
  t.same(
    well.steps.filter(({ pointOfNoReturn }) => pointOfNoReturn),
    [],
  );
  for (const { action, needs } of well.steps)
    if (action.do === 'remove-canary' || action.do === 'remove-copies') t.same(needs, [], action.do);
  const [inventory, ...rest] = well.steps;
  t.equal(inventory?.action.do, 'record-inventory');
  t.same(
    rest.filter(({ onFailure }) => onFailure === 'stop').map(({ id }) => id),
    [],
    'nothing stops the run before its clean-up',
  );
  t.end();
});
