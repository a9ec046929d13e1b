import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { OperatorError } from '../../src/domain/errors.ts';
import type { Plan } from '../../src/domain/plan.ts';
import { abandon, type ExecutorPorts, execute, planDigest, resume } from '../../src/execute/executor.ts';
import type { StepContext } from '../../src/execute/handlers.ts';
import {
  countingEntropy,
  everyAction,
  MemoryJournals,
  MemoryStates,
  onlyRunning,
  planOf,
  portError,
  readStep,
  startStep,
  told,
} from './support.ts';

type Start = (vm: string, context: StepContext) => Promise<void>;

function worldOf(start: Start = async () => undefined) {
  const running = new Set<string>();
  const acts: string[] = [];
  const clock = new VirtualClock({ auto: true });
  const journals = new MemoryJournals();
  const states = new MemoryStates();
  let look: () => void = () => undefined;
  const ports: ExecutorPorts = {
    journals,
    states,
    clock,
    entropy: countingEntropy(),
    actions: everyAction(async (action, context) => {
      acts.push(context.step.id);
      if (action.do === 'start-vm') {
        await start(action.vm.uuid, context);
        running.add(action.vm.uuid);
      }
      return { output: null, warnings: [] };
    }),
    conditions: onlyRunning((uuid) => {
      look();
      return running.has(uuid);
    }),
  };
  const go = (plan: Plan, signal?: AbortSignal) =>
    execute(ports, {
      plan,
      planDigest: planDigest(plan),
      by: 'Ada',
      version: '1',
      runId: 'r1',
      ...(signal === undefined ? {} : { signal }),
    });
  const goOn = (answers: { step: string; answer: 'retry' | 'skip'; reason: string }[] = []) =>
    resume(ports, { runId: 'r1', by: 'Bob', version: '1', answers });
  const journal = () => told(journals.runs.get('r1') ?? []);
  const onLook = (hook: () => void): void => {
    look = hook;
  };
  return { running, acts, clock, journals, states, ports, go, goOn, journal, onLook };
}

t.test('a plan is carried out in order, and the journal tells intent and outcome', async (t) => {
  const world = worldOf();
  const result = await world.go(planOf([startStep('web', { after: ['start-db'] }), startStep('db')]));
  t.equal(result.outcome, 'done');
  t.equal(result.exitCode, 0);
  t.same(world.journal(), [
    'RunStarted',
    'StepStarted start-db',
    'StepSucceeded start-db',
    'StepStarted start-web',
    'StepSucceeded start-web',
    'RunEnded done',
  ]);
  t.match(await world.states.get('payroll'), {
    phase: 'failed-over',
    generation: 1,
    activeSite: 'osaka',
    currentRun: null,
  });
});

t.test('what holds already is noted and not done again', async (t) => {
  const world = worldOf();
  world.running.add('db');
  const result = await world.go(planOf([startStep('db')]));
  t.equal(result.outcome, 'done');
  t.same(world.acts, []);
  t.equal(result.run.steps.get('start-db')?.changed, false);
});

t.test('the output of an act that tells nothing is what the look after it shows', async (t) => {
  const world = worldOf();
  const conditions = {
    ...world.ports.conditions,
    'vm-running': async ({ vm }: { readonly vm: { readonly uuid: string } }) =>
      world.running.has(vm.uuid)
        ? ({ holds: true, output: { host: 'oa' } } as const)
        : ({ holds: false, because: 'it is halted' } as const),
  };
  const plan = planOf([startStep('db')]);
  const ports = { ...world.ports, conditions };
  const order = { plan, planDigest: planDigest(plan), by: 'Ada', version: '1', runId: 'r1' };
  const { run } = await execute(ports, order);
  t.same(run.steps.get('start-db')?.output, { host: 'oa' });
});

t.test('a call that was never sent is tried again; the world is looked at before', async (t) => {
  let calls = 0;
  const world = worldOf(async () => {
    calls += 1;
    if (calls < 3) throw portError('unreachable');
  });
  const result = await world.go(planOf([startStep('db')]));
  t.equal(result.outcome, 'done');
  t.equal(calls, 3);
  t.equal(result.run.steps.get('start-db')?.attempts, 3);
});

t.test('a lost answer behind a finished effect is success, told as a warning', async (t) => {
  const world = worldOf();
  const lost = {
    ...world.ports,
    actions: everyAction(async (action) => {
      if (action.do === 'start-vm') world.running.add(action.vm.uuid);
      throw portError('outcome-unknown', 'outcome-unknown');
    }),
  };
  const plan = planOf([startStep('db', { repeatable: false })]);
  const result = await execute(lost, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1' });
  t.equal(result.outcome, 'done-with-warnings');
  t.equal(result.exitCode, 3);
  t.match(result.run.steps.get('start-db')?.warnings, [/world shows its effect/]);
});

t.test('an unknown outcome that must not be repeated ends stuck, with the question', async (t) => {
  let refuse = true;
  const world = worldOf(async () => {
    if (refuse) throw portError('outcome-unknown');
  });
  const result = await world.go(
    planOf([
      startStep('db', { repeatable: false }),
      startStep('db', { id: 'ready-db', after: ['start-db'] }),
    ]),
  );
  t.equal(result.outcome, 'stuck');
  t.equal(result.exitCode, 12);
  t.same(world.acts, ['start-db']);
  const problem = result.run.steps.get('start-db')?.problem;
  t.match(problem, {
    code: 'DR-RUN-STUCK',
    next: /run resume r1 --retry start-db.*--skip start-db.*run abandon/,
  });
  t.match(await world.states.get('payroll'), { phase: 'stuck', currentRun: 'r1' });

  t.test('asking again changes nothing', async (t) => {
    t.equal((await world.goOn()).outcome, 'stuck');
    t.same(world.acts, ['start-db']);
  });
  t.test('a person may settle it by hand, and what comes after it goes on', async (t) => {
    refuse = false;
    const settled = await world.goOn([{ step: 'start-db', answer: 'skip', reason: 'started by hand' }]);
    t.equal(settled.run.steps.get('start-db')?.status, 'skipped');
    t.match(settled.run.steps.get('start-db')?.reason, /Bob settled it by hand: started by hand/);
    t.equal(settled.run.steps.get('ready-db')?.status, 'succeeded');
    t.equal(settled.outcome, 'done-with-warnings');
  });
});

t.test('a stuck step is done again only after a person said so, once', async (t) => {
  let refuse = true;
  const world = worldOf(async () => {
    if (refuse) throw portError('outcome-unknown');
  });
  await world.go(planOf([startStep('db', { repeatable: false })]));
  await world.goOn([{ step: 'start-db', answer: 'retry', reason: 'looked: it is halted' }]);
  t.same(world.acts, ['start-db', 'start-db']);
  t.equal((await world.goOn()).outcome, 'stuck', 'the answer is used up');
  refuse = false;
  t.equal((await world.goOn([{ step: 'start-db', answer: 'retry', reason: 'again' }])).outcome, 'done');
});

t.test('a success that does not show in the world is no success', async (t) => {
  const world = worldOf();
  const blind = { ...world.ports, conditions: onlyRunning(() => false) };
  const plan = planOf([startStep('db')]);
  const result = await execute(blind, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1' });
  t.equal(result.outcome, 'failed');
  t.match(result.run.steps.get('start-db')?.problem, { code: 'DR-STEP-NO-EFFECT' });
});

t.test('a refusal stops the run, or only what needs the step', async (t) => {
  const refuseDb: Start = async (vm) => {
    if (vm === 'db') throw portError('refused', 'refused');
  };
  const stop = worldOf(refuseDb);
  const stopped = await stop.go(planOf([startStep('db'), startStep('web', { after: ['start-db'] })]));
  t.equal(stopped.outcome, 'failed');
  t.equal(stopped.run.steps.get('start-web')?.status, 'waiting');

  const on = worldOf(refuseDb);
  const ready = startStep('db', {
    id: 'ready-db',
    after: ['start-db'],
    action: { do: 'await-ready', site: 'osaka', vm: { uuid: 'db', nameLabel: 'db' }, gates: [] },
    onFailure: 'continue',
  });
  const went = await on.go(
    planOf([
      startStep('db', { onFailure: 'continue' }),
      ready,
      startStep('web', { after: ['ready-db'], needs: [] }),
    ]),
  );
  t.equal(went.outcome, 'done-with-warnings');
  t.match(went.run.steps.get('ready-db'), { status: 'skipped', reason: 'needs start-db, which failed' });
  t.equal(went.run.steps.get('start-web')?.status, 'succeeded', 'the next tier is not held up');
  t.match(went.summary, /failed: start-db; skipped: ready-db/);
});

t.test('a step that takes too long is told to stop, and the world decides', async (t) => {
  const world = worldOf(async (_vm, context) => {
    await world.clock.sleep(10_000, context.signal);
  });
  const result = await world.go(planOf([startStep('db', { timeoutSeconds: 60 })]));
  t.equal(result.outcome, 'failed');
  t.match(result.run.steps.get('start-db')?.problem, { code: 'DR-STEP-TIMEOUT', what: /1 min/ });
  t.ok(world.clock.monotonicSeconds() < 100);

  const deaf = worldOf(() => new Promise(() => undefined));
  const given = await deaf.go(planOf([startStep('db', { timeoutSeconds: 60, repeatable: false })]));
  t.equal(given.outcome, 'stuck', 'an act that does not stop is given up, not waited for');
});

t.test('a stopped run can be resumed; a step that must not be repeated is let finish', async (t) => {
  const stop = new AbortController();
  const world = worldOf(async (vm, context) => {
    if (context.attempt > 1 || vm === 'late') return;
    if (vm === 'promote') stop.abort();
    await world.clock.sleep(30, context.signal);
  });
  const plan = planOf([
    startStep('promote', { repeatable: false }),
    startStep('web'),
    startStep('late', { after: ['start-promote', 'start-web'] }),
  ]);
  const result = await world.go(plan, stop.signal);
  t.equal(result.outcome, 'stopped');
  t.equal(result.exitCode, 130);
  t.equal(result.run.steps.get('start-promote')?.status, 'succeeded');
  t.equal(result.run.steps.get('start-web')?.status, 'unknown');
  t.equal(result.run.steps.get('start-late')?.status, 'waiting');
  t.match(await world.states.get('payroll'), { phase: 'failing-over', currentRun: 'r1', generation: 1 });
  t.equal((await world.goOn()).outcome, 'done');
  t.same([...world.running].sort(), ['late', 'promote', 'web']);
});

t.test('a plan that is not the confirmed one, or of an older generation, does nothing', async (t) => {
  const world = worldOf();
  const plan = planOf([startStep('db')]);
  await t.rejects(
    execute(world.ports, { plan, planDigest: planDigest(planOf([])), by: 'Ada', version: '1' }),
    { code: 'DR-PLAN-DIGEST', exitCode: 10 },
  );
  await t.rejects(
    world.go(planOf([startStep('db', { after: ['start-web'] }), startStep('web', { after: ['start-db'] })])),
    {
      code: 'DR-PLAN-UNFIT',
      message: /wait for each other/,
    },
  );
  await world.go(planOf([]));
  await t.rejects(world.go(plan), { code: 'DR-PLAN-STALE', exitCode: 10 });
  t.same(world.acts, []);
});

t.test('a run that another one has overtaken stops at its next step and cannot be resumed', async (t) => {
  const world = worldOf(async () => {
    const state = await world.states.get('payroll');
    if (state !== null)
      await world.states.change('payroll', 1, { ...state, generation: 2, currentRun: 'r2' });
  });
  await t.rejects(world.go(planOf([startStep('db'), startStep('web', { after: ['start-db'] })])), {
    code: 'DR-PLAN-STALE',
  });
  t.same(world.acts, ['start-db']);
  await t.rejects(world.goOn(), { code: 'DR-PLAN-STALE' });
});

t.test('a run that crashed before it began cannot be resumed after another one is done', async (t) => {
  const world = worldOf();
  const change = world.states.change.bind(world.states);
  world.states.change = async () => {
    throw new Error('power cut');
  };
  const plan = planOf([startStep('old')]);
  await t.rejects(world.go(plan), /power cut/);
  world.states.change = change;
  const other = planOf([startStep('new')]);
  const done = await execute(world.ports, {
    plan: other,
    planDigest: planDigest(other),
    by: 'Eve',
    version: '1',
    runId: 'r2',
  });
  t.equal(done.outcome, 'done');
  await t.rejects(world.goOn(), { code: 'DR-PLAN-STALE' });
  t.same([...world.running], ['new']);
  const gone = await abandon(world.ports, { runId: 'r1', by: 'Bob', version: '1', reason: 'overtaken' });
  t.equal(gone.outcome, 'abandoned');
  t.match(await world.states.get('payroll'), { phase: 'failed-over', generation: 1 });
});

t.test('when the journal cannot be written, nothing more is done', async (t) => {
  const world = worldOf();
  world.journals.beforeAppend = (event) => {
    if (event.event === 'StepSucceeded')
      throw new OperatorError({ code: 'DR-JOURNAL-IO', what: 'disk full', next: 'x' });
  };
  await t.rejects(world.go(planOf([startStep('db'), startStep('web', { after: ['start-db'] })])), {
    code: 'DR-JOURNAL-IO',
  });
  t.same(world.acts, ['start-db']);
});

t.test('a view that breaks does not stop the run', async (t) => {
  const world = worldOf();
  const plan = planOf([startStep('db')]);
  let told = 0;
  const onEvent = (): void => {
    told += 1;
    if (told === 2) throw new Error('the terminal is gone');
  };
  const result = await execute(world.ports, {
    plan,
    planDigest: planDigest(plan),
    by: 'Ada',
    version: '1',
    onEvent,
  });
  t.equal(result.outcome, 'done');
  t.equal(told, 2);
});

t.test('a lost lock stops the run before the next act', async (t) => {
  const world = worldOf(async () => {
    world.states.lockLost = true;
  });
  await t.rejects(
    world.go(planOf([startStep('db'), startStep('web', { after: ['start-db'] })])),
    /lock is lost/,
  );
  t.same(world.acts, ['start-db']);
});

t.test(
  'a run that touched nothing leaves the group as it was; an abandoned one leaves it stuck',
  async (t) => {
    const refused = worldOf();
    const ports = {
      ...refused.ports,
      actions: everyAction(async () => {
        throw portError('refused');
      }),
    };
    refused.states.states.set('payroll', {
      group: 'payroll',
      phase: 'protected',
      generation: 0,
      activeSite: 'tokyo',
      currentRun: null,
      changedAt: '2026-01-01T00:00:00.000Z',
      frozen: null,
      tombstone: null,
      drill: null,
      roles: 'as-configured',
    });
    const plan = planOf([readStep('read'), startStep('db', { after: ['read'] })]);
    await execute(ports, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1' });
    t.match(await refused.states.get('payroll'), {
      phase: 'protected',
      activeSite: 'tokyo',
      generation: 1,
    });

    const world = worldOf(async () => {
      throw portError('outcome-unknown');
    });
    await world.go(planOf([startStep('db', { repeatable: false })]));
    const ended = await abandon(world.ports, {
      runId: 'r1',
      by: 'Bob',
      version: '1',
      reason: 'site is back',
    });
    t.equal(ended.outcome, 'abandoned');
    t.match(await world.states.get('payroll'), { phase: 'stuck', currentRun: null });
    await t.rejects(world.goOn(), { code: 'DR-RUN-ABANDONED' });
  },
);

t.test('an export raises no generation and does not take the place of an open failover', async (t) => {
  const world = worldOf();
  await world.go(planOf([readStep('save')], { operation: 'export' }));
  t.match(await world.states.get('payroll'), {
    phase: 'protected',
    generation: 0,
    activeSite: 'tokyo',
    currentRun: null,
  });
});

t.test('an export that hangs does not keep a failover waiting, and does nothing more after it', async (t) => {
  const world = worldOf();
  const hangs = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const exporting = execute(
    {
      ...world.ports,
      actions: everyAction(async (_action, context) => {
        world.acts.push(context.step.id);
        begun.resolve();
        await hangs.promise;
        return { output: null, warnings: [] };
      }),
    },
    ((plan) => ({ plan, planDigest: planDigest(plan), by: 'clock', version: '1', runId: 'e1' }))(
      planOf([readStep('save', { timeoutSeconds: 1e6 }), readStep('seal', { after: ['save'] })], {
        operation: 'export',
      }),
    ),
  );
  await begun.promise;
  await t.rejects(world.go(planOf([], { operation: 'export' })), /held by e1/);
  t.equal((await world.go(planOf([startStep('db')]))).outcome, 'done');
  hangs.resolve();
  await t.rejects(exporting, { code: 'DR-PLAN-STALE' });
  t.same(world.acts, ['save', 'start-db']);
});

t.test('looking that fails is repeated; it is never taken for an answer', async (t) => {
  const world = worldOf();
  let looks = 0;
  world.onLook(() => {
    looks += 1;
    if (looks < 3) throw portError('unreachable');
  });
  t.equal((await world.go(planOf([startStep('db')]))).outcome, 'done');
  t.same(world.acts, ['start-db']);
});
