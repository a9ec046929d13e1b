/** Plans in files, frozen groups, and words for runs that another process carries out: what the application refuses. */

import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import type { PlannedRun } from '../../src/app/app.ts';
import { createApp } from '../../src/app/create-app.ts';
import { filedPlanOf } from '../../src/app/plan-file.ts';
import type { AppPorts } from '../../src/app/ports.ts';
import type { GroupState } from '../../src/domain/group.ts';
import type { Plan } from '../../src/domain/plan.ts';
import { planDigest } from '../../src/execute/executor.ts';
import type { PostedMessage, RunMessage } from '../../src/ports/system.ts';
import {
  countingEntropy,
  MemoryJournals,
  MemoryStates,
  planOf,
  readStep,
  startStep,
} from '../execute/support.ts';
import { settings } from '../scripts/fake.ts';
import { noClockwork } from '../support/clock.ts';
import { noGuests } from '../support/guests.ts';
import { noHome } from '../support/home.ts';
import { disaster, now } from '../support/two-sites.ts';
import { noWatching } from '../support/watching.ts';

const nobody = async (): Promise<never> => {
  throw new Error('nothing of this reaches a site');
};

function house() {
  const clock = new VirtualClock({ start: now, auto: true });
  const journals = new MemoryJournals();
  const states = new MemoryStates();
  const inbox: (PostedMessage & { readonly run: string })[] = [];
  const ports: AppPorts = {
    ...{ settings, version: '1', clock, entropy: countingEntropy(), journals },
    states: async () => states,
    inbox: async () => ({
      post: async (run: string, message: RunMessage) => {
        inbox.push({ id: inbox.length + 1, run, at: now, message });
      },
      waiting: async (run) => inbox.filter((posted) => posted.run === run),
      settle: async () => undefined,
    }),
    ...{
      hypervisor: nobody,
      array: nobody,
      catalog: nobody,
      foreign: { read: nobody },
      probeTcp: nobody,
      rehearse: nobody,
    },
    ...noGuests,
    ...noClockwork,
    ...noWatching,
    home: noHome,
    secretStore: { list: nobody, set: nobody, remove: nobody },
    close: async () => undefined,
  };
  return { app: createApp(ports), clock, journals, states, inbox };
}

function planned(values: Partial<Plan> = {}): PlannedRun {
  // A plan without acts on the world: whether it may begin is all that is asked here.
  const plan = planOf([readStep('note', { action: { do: 'verify-point', pointId: 'shop/1' } })], {
    group: 'shop',
    configDigest: settings.digest,
    basedOn: { observation: 'o', takenAt: now },
    ...values,
  });
  const confirm = { site: 'tokyo', title: 'Tokyo', pool: 'tokyo-pool' };
  return { plan, digest: planDigest(plan), findings: [], observation: disaster(), decisions: [], confirm };
}

const ada = { by: 'Ada', reason: 'works on the filer' };
const options = { by: 'Ada', onEvent: () => undefined };

t.test('a frozen group: schedules are refused, people are not; it remembers who, when and why', async (t) => {
  const { app, states } = house();
  t.match(await app.freeze('shop', ada), { phase: 'unprotected', frozen: { ...ada, at: now } });
  await t.rejects(app.freeze('shop', { by: 'Bob', reason: 'me too' }), {
    code: 'DR-FREEZE-TWICE',
    message: /by Ada since .*works on the filer/,
  });
  await t.rejects(app.run(planned(), { ...options, automatic: true }), {
    code: 'DR-GROUP-FROZEN',
    exitCode: 10,
  });
  t.same((await app.runs.list({ group: null })).length, 0, 'it did not begin');
  const byHand = await app.run(planned(), options);
  t.ok(byHand.endedAt, 'a person may');
  t.match(await states.get('shop'), { frozen: { by: 'Ada' } }, 'and the run does not lift it');
  t.match(await app.unfreeze('shop', { by: 'Bob', reason: 'done' }), { frozen: null });
  await t.rejects(app.unfreeze('shop', ada), { code: 'DR-FREEZE-NONE' });
  t.match(await app.audit({ group: 'shop' }), [
    { did: 'unfreeze', by: 'Bob' },
    { did: 'freeze', by: 'Ada' },
  ]);
  await t.rejects(app.freeze('shpo', ada), { code: 'DR-GROUP-UNKNOWN' });
  await t.rejects(app.audit({ group: 'shpo' }), { code: 'DR-GROUP-UNKNOWN' });
});

t.test('a group that is stuck: a schedule takes nothing from the run that waits for a person', async (t) => {
  const { app, states } = house();
  await app.run(planned(), options);
  const failover = '20260131T023005Z-failover-shop-1f3a';
  const stuck = async (changes: Partial<GroupState>): Promise<void> => {
    const state = await states.get('shop');
    if (state === null) throw new Error('the group was never seen');
    const next = { ...state, phase: 'stuck', currentRun: failover, ...changes } as const;
    t.ok(await states.change('shop', state.generation, { ...next, generation: state.generation + 1 }));
  };
  const bySchedule = async (operation: Plan['operation']): Promise<unknown> => {
    const generation = (await states.get('shop'))?.generation ?? 0;
    return app.run(planned({ operation, generation }), { ...options, automatic: true });
  };

  await stuck({});
  for (const operation of ['drill', 'drill-cleanup', 'canary'] as const)
    await t.rejects(bySchedule(operation), {
      code: 'DR-GROUP-STUCK',
      exitCode: 10,
      message: new RegExp(failover),
    });
  await bySchedule('export');
  await bySchedule('verify');
  t.match(await states.get('shop'), { phase: 'stuck', currentRun: failover }, 'it still waits');

  await stuck({ currentRun: null });
  await t.rejects(
    bySchedule('drill'),
    { code: 'DR-GROUP-STUCK' },
    'nor from one that was abandoned half way',
  );
  await stuck({ drill: { id: 'd1', run: failover, at: now } });
  await bySchedule('drill-cleanup');
  t.not((await states.get('shop'))?.currentRun, failover, 'what a drill has left is taken away all the same');
});

t.test('a plan of a file is run as it is, with what was decided when it was made', async (t) => {
  const { app } = house();
  const decisions = [{ decision: 'accept-loss' as const, by: 'Eve', reason: 'seen' }];
  const text = JSON.stringify(filedPlanOf({ ...planned(), decisions }));
  const filed = await app.openPlanFile(text, 'plan.json', { acceptAge: null });
  t.same(JSON.parse(JSON.stringify(filed)), JSON.parse(text));
  const run = await app.run(filed, options);
  t.match(run.decisions, [
    { decision: 'accept-loss', by: 'Eve' },
    { decision: 'declare-lost', by: 'Ada', reason: /site osaka did not answer/ },
  ]);
  t.equal(run.planDigest, filed.digest);
  await t.rejects(
    app.openPlanFile(text, 'plan.json', { acceptAge: null }),
    { code: 'DR-PLAN-STALE', exitCode: 10 },
    'it has been run: the group has a new generation',
  );
});

t.test('what is not exactly the plan that was written is refused', async (t) => {
  const { app, clock } = house();
  const whole = filedPlanOf(planned());
  const open = (value: unknown) =>
    app.openPlanFile(typeof value === 'string' ? value : JSON.stringify(value), 'plan.json', {
      acceptAge: null,
    });
  const changed: Record<string, unknown> = {
    'the text of a plan': 'Failover of group shop\n',
    'another JSON': { run: 'r1' },
    nothing: 'null',
    'a finding was taken out': { ...whole, findings: [{}] },
    'a decision was put in': { ...whole, decisions: [{ decision: 'declare-lost', by: 'Eve', reason: 'x' }] },
    'another plan under the seal': { ...whole, plan: planned({ id: 'another' }).plan },
  };
  for (const [what, value] of Object.entries(changed))
    await t.rejects(open(value), { code: 'DR-PLAN-FILE', exitCode: 2 }, what);
  const other = filedPlanOf(planned({ configDigest: 'other', generation: 3 }));
  await t.rejects(open(other), { message: /DR-PLAN-CONFIG.*DR-PLAN-STALE/s }, 'all at once');
  await clock.advance(3601);
  await t.rejects(open(whole), { code: 'DR-PLAN-OLD', message: /1 h.*--accept-age/ });
  const taken = await app.openPlanFile(JSON.stringify(whole), 'plan.json', { acceptAge: ada });
  t.match((await app.run(taken, options)).decisions, [{ decision: 'accept-age', ...ada }, {}]);
});

t.test('words for a run: only where somebody hears them, and only what is possible', async (t) => {
  const made = house();
  const { journals, states, inbox, app } = made;
  const plan = planOf([startStep('db'), startStep('web', { repeatable: false }), startStep('app')]);
  const journal = await journals.create('r1');
  await journal.append({
    event: 'RunStarted',
    at: now,
    run: 'r1',
    plan,
    planDigest: 'd',
    by: 'Ada',
    version: '1',
  });
  for (const step of ['start-db', 'start-web'])
    await journal.append({ event: 'StepStarted', at: now, step, attempt: 1 });
  const cancel = (step: string) => app.runs.tell('r1', { says: 'cancel-step', step, ...ada });
  await t.rejects(app.runs.tell('r1', { says: 'stop', ...ada }), {
    code: 'DR-RUN-IDLE',
    message: /resume r1.*undo r1.*abandon r1/,
  });
  await t.rejects(cancel('start-db'), { code: 'DR-RUN-IDLE' });
  await t.rejects(cancel('start-nobody'), { code: 'DR-RUN-STEP', exitCode: 2 });
  await t.rejects(cancel('start-app'), { code: 'DR-STEP-NOT-RUNNING' });
  await t.rejects(cancel('start-web'), { code: 'DR-STEP-NOT-CANCELLABLE' });
  t.same(inbox, []);
  await app.runs.tell('r1', { says: 'answer', step: 'start-db', answer: 'yes', ...ada });
  t.match(inbox, [{ run: 'r1', message: { answer: 'yes' } }], 'an answer waits for whoever goes on');

  inbox.length = 0;
  const lock = await states.lock('payroll', 'r1');
  const heard = app.runs.tell('r1', { says: 'stop', ...ada });
  while (inbox.length === 0) await made.clock.sleep(1);
  inbox.length = 0;
  await t.resolves(heard, 'as soon as the run has taken it');
  const unheard = app.runs.tell('r1', { says: 'stop', ...ada });
  while (inbox.length === 0) await made.clock.sleep(1);
  await lock.release();
  await t.rejects(unheard, { code: 'DR-RUN-IDLE' }, 'the process died with the message unheard');
});

t.test('a drill that is under way gives way to a failover: it is told to stop, and waited for', async (t) => {
  const { app, states, journals, inbox, clock } = house();
  const begin = async (run: string, operation: Plan['operation']): Promise<void> => {
    const journal = await journals.create(run);
    const plan = planOf([startStep('db')], { operation, group: 'shop' });
    const started = { event: 'RunStarted', at: now, run, plan, planDigest: 'd', by: 'Ada', version: '1' };
    await journal.append(started as never);
    const state = (await states.get('shop')) ?? (await app.freeze('shop', ada));
    states.states.set('shop', { ...state, phase: 'drilling', currentRun: run });
  };
  await begin('d1', 'drill');
  t.equal(await app.stopDrill('shop', ada), null, 'its process is gone: there is nobody to stop');

  const lock = await states.lock('shop', 'd1');
  let isOver = false;
  const stopped = app.stopDrill('shop', ada).finally(() => {
    isOver = true;
  });
  while (inbox.length === 0) await clock.sleep(1);
  t.match(inbox, [{ run: 'd1', message: { says: 'stop', ...ada } }]);
  inbox.length = 0;
  for (let look = 0; look < 5; look += 1) await clock.sleep(1);
  t.notOk(isOver, 'the lock is still held');
  await lock.release();
  t.equal(await stopped, 'd1');

  await begin('m1', 'migrate');
  await states.lock('shop', 'm1');
  t.equal(await app.stopDrill('shop', ada), null, 'anything else is not stopped by this');
  t.same(inbox, []);
  await t.rejects(app.stopDrill('shpo', ada), { code: 'DR-GROUP-UNKNOWN' });
});
