/** Moves over arrays that leave the hand-over to a person: only what is seen afterwards counts (invariants 4 and 7). */
import t, { type Test } from 'tap';
import type { Plan } from '../../src/domain/plan.ts';
import type { Capabilities, ReplicaPoint } from '../../src/domain/replication.ts';
import { addSeconds } from '../../src/domain/time.ts';
import { answerDecision } from '../../src/execute/decisions.ts';
import { pair } from './fakes.ts';
import { type MovingHouse, movingHouse } from './moving-house.ts';

/** Both arrays lack what is given here; their clocks are `aheadSeconds` ahead of ours. */
async function handHouse(lacks: Partial<Capabilities>, aheadSeconds = 0): Promise<MovingHouse> {
  const house = movingHouse(['db']);
  for (const name of [pair.source.array, pair.target.array]) {
    const array = await house.world.array(name);
    const can = { ...(await array.capabilities()), ...lacks };
    array.capabilities = async () => can;
    array.identify = async () => ({
      ...{ vendor: 'fake', model: 'f', serial: name },
      clock: addSeconds(house.ports.clock.now(), aheadSeconds),
    });
  }
  return house;
}

/** A yes to every question, whatever was done. */
const yes = (plan: Plan) =>
  plan.steps.flatMap(({ id, action }) =>
    action.do === 'ask' ? [{ by: 'Ana', decision: answerDecision(id, 'continue'), reason: 'done' }] : [],
  );

/** What the person is asked to do on the source: close it, and bring a last point over. */
function bringOver(house: MovingHouse, plan: Plan, point: Partial<ReplicaPoint> = {}): void {
  const { vol1, vol1r } = house.state.volumes;
  if (vol1 === undefined || vol1r === undefined) throw new Error('there are two volumes');
  vol1.role = 'demoted';
  const last: ReplicaPoint = {
    ...{ ref: 'by-hand', tag: `lifeboat-${plan.id}`, takenAt: house.ports.clock.now() },
    ...{ clock: 'source', complete: true, consistency: 'crash' },
    ...point,
  };
  vol1r.points = [last, ...vol1r.points];
}

function turnRound(house: MovingHouse): void {
  const { vol1, vol1r } = house.state.volumes;
  if (vol1 === undefined || vol1r === undefined) throw new Error('there are two volumes');
  vol1.role = 'target';
  vol1r.role = 'source';
  vol1.points = vol1r.points;
}

const promoted = (house: MovingHouse): boolean =>
  house.state.deeds.some((deed) => /promote vol1r/.test(deed));

async function stopsUnverified(t: Test, house: MovingHouse, plan: Plan, runId: string | null, why: RegExp) {
  const result = runId === null ? await house.run(plan, yes(plan)) : await house.resume(runId);
  t.equal(result.outcome, 'failed', result.summary);
  t.match(result.run.steps.get('see-sync-vol1')?.problem, { code: 'DR-SYNC-UNVERIFIED' });
  t.match(result.run.steps.get('see-sync-vol1')?.problem?.known?.join('\n'), why);
  t.notOk(promoted(house), 'nothing was promoted');
  return result.run.id;
}

t.test(
  'invariant 4: a yes alone promotes nothing; what was done by hand is seen, then promoted',
  async (t) => {
    const house = await handHouse({ prepare: false });
    const plan = await house.migrate();
    t.same(plan.waitingOn, []);
    t.notOk(plan.steps.some(({ action }) => action.do === 'final-sync'));
    t.match(
      plan.steps.flatMap(({ action }) => (action.do === 'ask' ? [action.question] : [])),
      [new RegExp(`volume vol1 refuse writes.* point called lifeboat-${plan.id};`)],
    );
    const early = house.ports.clock.now();
    const run = await stopsUnverified(
      t,
      house,
      plan,
      null,
      /shows volume vol1 as source, not demoted\n.* no point called/,
    );

    bringOver(house, plan, { complete: false });
    await stopsUnverified(t, house, plan, run, /and not all of it/);
    const points = house.state.volumes['vol1r'];
    if (points === undefined) throw new Error('there is a replica');
    points.points = [];
    bringOver(house, plan, { takenAt: addSeconds(early, -1) });
    await stopsUnverified(t, house, plan, run, /before the SR was let go/);
    points.points = [];
    bringOver(house, plan, { clock: 'target' });
    await stopsUnverified(t, house, plan, run, /nobody knows when it was cut/);

    points.points = [];
    bringOver(house, plan);
    const result = await house.resume(run);
    t.equal(result.outcome, 'done', result.summary);
    t.ok(promoted(house));
    t.strictSame(house.powerStates('osaka'), ['db Running']);
  },
);

t.test('a clock that runs ahead makes no point younger than it is', async (t) => {
  const house = await handHouse({ prepare: false }, 3600);
  const plan = await house.migrate();
  const run = await stopsUnverified(t, house, plan, null, /no point called/);
  bringOver(house, plan);
  await stopsUnverified(t, house, plan, run, /before the SR was let go/);
  t.equal(house.state.volumes['vol1']?.role, 'demoted');
});

t.test('a move that stops before its promotion can be taken back', async (t) => {
  const house = await handHouse({ prepare: false });
  const plan = await house.migrate();
  t.match(plan.expects.notes.join('\n'), /before `lifeboat run undo` a person opens it again/);
  const run = await stopsUnverified(t, house, plan, null, /no point called/);
  const taken = await house.undo(run);
  t.equal(taken.outcome, 'undone', taken.summary);
  t.strictSame(house.powerStates('tokyo'), ['db Running']);
});

t.test('a replication that a person turns round: the sites change places once it is seen', async (t) => {
  const house = await handHouse({ reverse: 'none' });
  const plan = await house.migrate();
  t.notOk(plan.steps.some(({ action }) => action.do === 'reverse-replication'));
  const moved = await house.run(plan, yes(plan));
  t.match(moved.run.steps.get('see-reversed-vol1r')?.problem, { code: 'DR-REVERSE-UNSEEN' });
  t.strictSame(house.powerStates('osaka'), ['db Running'], 'it serves all the same');
  t.not((await house.standing()).roles, 'swapped', 'and nothing is taken for protected');

  const again = await house.reprotect();
  t.same(again.waitingOn, []);
  t.notOk(
    again.steps.some(({ action }) => action.do === 'demote-source'),
    'the person does that with it',
  );
  turnRound(house);
  const result = await house.run(again, yes(again));
  t.equal(result.outcome, 'done', result.summary);
  t.match(await house.standing(), { phase: 'protected', roles: 'swapped', activeSite: 'osaka' });
});

t.test('arrays that show only what people state: a move waits, and says why', async (t) => {
  const house = await handHouse({ prepare: false, reverse: 'none', stated: true });
  const plan = await house.migrate();
  t.same(plan.steps, []);
  t.match(
    plan.waitingOn.join('\n'),
    /the last write of SR sr1 has arrived: array \S+ shows only what people state/,
  );
});
