/** What a person does to a run that is under way: stop it, cancel a step of it, answer it, take it back. */
import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import type { Plan, Step } from '../../src/domain/plan.ts';
import { answerOf } from '../../src/execute/decisions.ts';
import { type ExecutorPorts, execute, planDigest, resume, undo } from '../../src/execute/executor.ts';
import type { StepContext } from '../../src/execute/handlers.ts';
import type { PostedMessage, RunInbox, RunMessage } from '../../src/ports/system.ts';
import {
  countingEntropy,
  everyAction,
  MemoryJournals,
  MemoryStates,
  planOf,
  portError,
  readStep,
  startStep,
  told,
} from './support.ts';

class MemoryInbox implements RunInbox {
  messages: (PostedMessage & { readonly run: string })[] = [];
  #next = 1;
  async post(run: string, message: RunMessage): Promise<void> {
    this.messages.push({ id: this.#next++, run, at: '2026-01-01T00:00:00.000Z', message });
  }
  async waiting(run: string): Promise<readonly PostedMessage[]> {
    return this.messages.filter((message) => message.run === run);
  }
  async settle(id: number): Promise<void> {
    this.messages = this.messages.filter((message) => message.id !== id);
  }
}

/** VMs that run at Osaka. A start may wait, a halt may fail. */
function house(act: (context: StepContext, running: Set<string>) => Promise<void> = async () => undefined) {
  const running = new Set<string>();
  const sight = { lost: false };
  const clock = new VirtualClock({ auto: true });
  const journals = new MemoryJournals();
  const states = new MemoryStates();
  const inbox = new MemoryInbox();
  const acts: string[] = [];
  const isRunning = async ({ vm }: { vm: { uuid: string; nameLabel: string } }) => running.has(vm.uuid);
  const ports: ExecutorPorts = {
    journals,
    states,
    clock,
    inbox,
    entropy: countingEntropy(),
    actions: everyAction(async (action, context) => {
      acts.push(`${action.do} ${context.step.id}`);
      await act(context, running);
      if (action.do === 'start-vm') running.add(action.vm.uuid);
      if (action.do === 'fence-vms') for (const { uuid } of action.vms) running.delete(uuid);
      return { output: null, warnings: [] };
    }),
    conditions: new Proxy({} as ExecutorPorts['conditions'], {
      get: (_none, kind) => async (condition: never) => {
        if (sight.lost) throw portError('unreachable');
        const holds =
          kind === 'vm-running'
            ? await isRunning(condition)
            : (condition as { vms: { uuid: string }[] }).vms.every(({ uuid }) => !running.has(uuid));
        return holds ? { holds } : { holds, because: `${String(kind)} does not show` };
      },
    }),
  };
  const options = { by: 'Ada', version: '1', runId: 'r1' };
  return {
    ...{ running, sight, clock, journals, states, inbox, acts, ports },
    go: (plan: Plan) => execute(ports, { ...options, plan, planDigest: planDigest(plan) }),
    goOn: () => resume(ports, { ...options, by: 'Bob' }),
    takeBack: () => undo(ports, { ...options, by: 'Bob', reason: 'it was a mistake' }),
    journal: () => told(journals.runs.get('r1') ?? []),
  };
}

/** A start that can be taken back, as a migration's stop of a VM can. */
function revocable(name: string, values: Partial<Step> = {}): Step {
  const vms = [{ uuid: name, nameLabel: name }];
  return startStep(name, {
    undo: { do: 'fence-vms', site: 'osaka', vms, reason: 'taken back' },
    undoneWhen: { is: 'vms-fenced', site: 'osaka', vms },
    ...values,
  });
}

/** An act that waits until it is told to stop; somebody says this to its run in the meantime. */
const waitFor = (id: string, message: RunMessage, inbox: () => RunInbox) => async (context: StepContext) => {
  if (context.step.id !== id) return;
  await inbox().post(context.run, message);
  await new Promise((_, reject) => {
    context.signal.addEventListener('abort', () => reject(portError('cancelled')), { once: true });
  });
};

/** A house in which somebody says something while step `id` waits. */
function houseWhere(id: string, message: RunMessage) {
  const made: ReturnType<typeof house> = house(waitFor(id, message, () => made.inbox));
  return made;
}

t.test('a step that waits is cancelled from another terminal; its rule for failures decides', async (t) => {
  for (const onFailure of ['continue', 'stop'] as const) {
    const made = houseWhere('gate', {
      ...{ by: 'Bob', reason: 'the monitor is down' },
      ...{ says: 'cancel-step', step: 'gate' },
    });
    await made.inbox.post('r1', { by: 'Eve', reason: 'of last week', says: 'stop' });
    const plan = planOf([
      readStep('gate', { onFailure, holdsWhen: startStep('x').holdsWhen, timeoutSeconds: 86_400 }),
      startStep('web', { after: ['gate'], needs: [] }),
    ]);
    const result = await made.go(plan);
    t.match(result.run.steps.get('gate')?.problem, {
      code: 'DR-STEP-CANCELLED',
      known: ['Bob: the monitor is down', /does not show/],
    });
    t.equal(result.outcome, onFailure === 'stop' ? 'failed' : 'done-with-warnings');
    t.same(made.running.has('web'), onFailure === 'continue');
    t.match(result.run.decisions, [{ by: 'Bob', decision: 'cancel-step gate' }], 'and no stop of last week');
    t.same(made.inbox.messages, []);
  }
});

t.test('a step that must not be repeated is not torn off by a cancellation', async (t) => {
  const made = house(async ({ step, signal }) => {
    if (step.id !== 'start-db') return;
    await made.inbox.post('r1', { by: 'Bob', reason: 'haste', says: 'cancel-step', step: 'start-db' });
    await made.clock.sleep(60, signal);
  });
  t.equal((await made.go(planOf([startStep('db', { repeatable: false })]))).outcome, 'done');
});

t.test(
  'a run is stopped from another terminal, with the reason in the journal, and goes on later',
  async (t) => {
    const made = houseWhere('start-web', { by: 'Bob', reason: 'the site is back', says: 'stop' });
    const result = await made.go(planOf([startStep('db'), startStep('web', { after: ['start-db'] })]));
    t.equal(result.outcome, 'stopped');
    t.match(result.run.decisions, [{ by: 'Bob', decision: 'stop-run', reason: 'the site is back' }]);
    t.same([...made.running], ['db']);
  },
);

t.test('an answer reaches the step that asks, also one that was given while nobody listened', async (t) => {
  for (const when of ['before', 'meanwhile'] as const) {
    let heard: string | null = null;
    const made = house(async (context) => {
      while (answerOf(context.decisions, 'ask') === null) await made.clock.sleep(5, context.signal);
      heard = answerOf(context.decisions, 'ask')?.answer ?? null;
    });
    const answer: RunMessage = { by: 'Bob', reason: 'seen', says: 'answer', step: 'ask', answer: 'go on' };
    if (when === 'before') await made.inbox.post('r1', answer);
    const running = made.go(planOf([readStep('ask')]));
    if (when === 'meanwhile') await made.inbox.post('r1', answer);
    t.equal((await running).outcome, 'done');
    t.equal(heard, 'go on', when);
  }
});

t.test('an inbox that cannot be read does not hold up the run', async (t) => {
  const made = house(async () => made.clock.sleep(10));
  made.inbox.waiting = async () => {
    throw new Error('disk on fire');
  };
  t.equal((await made.go(planOf([startStep('db')]))).outcome, 'done');
});

t.test('the plan says how often a step is tried; the world is looked at before each try', async (t) => {
  for (const retriesMax of [0, 2]) {
    const made = house(async () => {
      throw portError('busy');
    });
    const result = await made.go(planOf([startStep('db', { retriesMax, timeoutSeconds: 86_400 })]));
    t.equal(result.run.steps.get('start-db')?.attempts, retriesMax + 1);
    t.equal(result.outcome, 'failed');
  }
});

const threeSteps = planOf([
  revocable('db'),
  readStep('look', { after: ['start-db'] }),
  revocable('app', { after: ['look'] }),
  startStep('web', { after: ['start-app'] }),
]);

t.test('a failed run is taken back, last step first, and the group is as before', async (t) => {
  const made = house(async ({ step }) => {
    if (step.id === 'start-web') throw portError('refused');
  });
  await made.states.change('payroll', 0, {
    ...{ group: 'payroll', phase: 'protected', generation: 0, activeSite: 'tokyo', roles: 'as-configured' },
    ...{
      currentRun: null,
      changedAt: '2026-01-01T00:00:00.000Z',
      frozen: null,
      tombstone: null,
      drill: null,
    },
  });
  t.equal((await made.go(threeSteps)).outcome, 'failed');
  made.acts.length = 0;
  const result = await made.takeBack();
  t.equal(result.outcome, 'undone', result.summary);
  t.same(made.acts, ['fence-vms start-app', 'fence-vms start-db']);
  t.same([...made.running], []);
  t.match(result.summary, /2 steps were taken back$/);
  t.same(made.journal().slice(-7), [
    'RunResumed',
    'Decision undo-run',
    'UndoStarted start-app',
    'UndoSucceeded start-app',
    'UndoStarted start-db',
    'UndoSucceeded start-db',
    'RunEnded undone',
  ]);
  t.match(await made.states.get('payroll'), { phase: 'protected', currentRun: null, generation: 1 });
  t.equal((await made.takeBack()).outcome, 'undone', 'and again changes nothing');
  t.same(made.acts.length, 2);
});

t.test('an undo that fails or crashes goes on where it was, and never forward', async (t) => {
  let broken = true;
  const made = house(async ({ step }) => {
    if (step.id === 'start-web') throw portError('refused');
    if (broken && step.why === 'takes back start-db') throw portError('refused');
  });
  await made.go(threeSteps);
  const first = await made.takeBack();
  t.equal(first.outcome, 'failed');
  t.match(first.summary, /could not be taken back: start-db/);
  t.same([...made.running], ['db']);
  broken = false;
  made.acts.length = 0;
  t.equal((await made.goOn()).outcome, 'undone');
  t.same(made.acts, ['fence-vms start-db']);

  const plan = planOf([
    revocable('a'),
    revocable('b', { after: ['start-a'] }),
    readStep('bad', { after: ['start-b'] }),
  ]);
  const count = 9;
  for (let crashAt = 1; crashAt <= count; crashAt += 1) {
    const torn = house(async ({ step }) => {
      if (step.id === 'bad') throw portError('refused');
    });
    await torn.go(plan);
    let left = crashAt;
    torn.journals.beforeAppend = () => {
      left -= 1;
      if (left === 0) throw new Error('power cut');
    };
    const crashed = await torn.takeBack().then(
      () => false,
      () => true,
    );
    t.equal(crashed, crashAt <= 7, `line ${crashAt}`);
    torn.journals.beforeAppend = () => undefined;
    t.equal((await torn.takeBack()).outcome, 'undone');
    t.same([...torn.running], []);
  }
});

t.test('after a point of no return nothing is taken back, and the run stays as it was', async (t) => {
  const past = planOf([
    revocable('db'),
    startStep('promote', { after: ['start-db'], pointOfNoReturn: true }),
    startStep('web', { after: ['start-promote'] }),
  ]);
  const made = house(async ({ step }) => {
    if (step.id === 'start-web') throw portError('refused');
  });
  await made.go(past);
  const before = made.journal();
  await t.rejects(made.takeBack(), {
    code: 'DR-UNDO-TOO-LATE',
    problems: [{ known: ['step start-promote: it was begun, and may have taken effect'] }],
  });
  t.same(made.journal(), before);
  t.same([...made.running], ['db', 'promote']);

  t.test('one that was refused, and of which nothing shows, is not passed', async (t) => {
    const refused = house(async ({ step }) => {
      if (step.id === 'start-promote') throw portError('refused');
    });
    await refused.go(past);
    t.equal((await refused.takeBack()).outcome, 'undone');
    t.same([...refused.running], []);
  });
  t.test('one that was refused, and cannot be looked at, may have been passed', async (t) => {
    const refused = house(async ({ step }) => {
      if (step.id === 'start-promote') throw portError('refused');
    });
    await refused.go(past);
    refused.sight.lost = true;
    await t.rejects(refused.takeBack(), { code: 'DR-UNDO-UNKNOWN', exitCode: 10 });
    t.same([...refused.running], ['db'], 'nothing was taken back');
    refused.sight.lost = false;
    t.equal((await refused.takeBack()).outcome, 'undone');
  });
  t.test('a run that has ended well has nothing to take back', async (t) => {
    const well = house();
    await well.go(past);
    await t.rejects(well.takeBack(), { code: 'DR-UNDO-ENDED' });
  });
});

t.test('a step may end the run as failed and still let the clean-up run', async (t) => {
  const made = house(async ({ step }) => {
    if (step.id === 'start-db') throw portError('refused');
  });
  const result = await made.go(
    planOf([
      startStep('db', { onFailure: 'finish' }),
      startStep('web', { after: ['start-db'] }),
      readStep('clean-up', { after: ['start-web'], needs: [] }),
    ]),
  );
  t.equal(result.outcome, 'failed');
  t.equal(result.run.steps.get('start-web')?.status, 'skipped');
  t.equal(result.run.steps.get('clean-up')?.status, 'succeeded');
});
