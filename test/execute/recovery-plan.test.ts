/** What a recovery plan adds to a run, carried out: gates, questions, callouts, pauses, other shapes and addresses. */
import t from 'tap';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import type { GuestAction, Occasion } from '../../src/domain/actions/guests.ts';
import { PortError } from '../../src/domain/errors.ts';
import type { Step } from '../../src/domain/plan.ts';
import type { CommandGate, HttpGate, ReadinessGate } from '../../src/domain/recovery-plan.ts';
import { firstClosedGate } from '../../src/execute/actions/gates.ts';
import { answerDecision } from '../../src/execute/decisions.ts';
import { execute, planDigest, resume } from '../../src/execute/executor.ts';
import { handlersOver } from '../../src/execute/interpreter.ts';
import type { ProgramCall, ProgramEnd } from '../../src/ports/guests.ts';
import type { VmState } from '../../src/ports/hypervisor.ts';
import type { PostedMessage, RunInbox, RunMessage } from '../../src/ports/system.ts';
import { noGuests } from '../support/guests.ts';
import { FakeWorld, fakeVm, twoSites } from './fakes.ts';
import { step } from './plans.ts';
import { countingEntropy, MemoryJournals, MemoryStates, planOf, told } from './support.ts';

const occasion: Occasion = { at: 'before-tier', when: 'before tier web', tier: 'web', vm: null };
const answers = { networks: { '0/ip': '10.1.0.7' }, driversDetected: true, live: true };

class MemoryInbox implements RunInbox {
  readonly #messages: (PostedMessage & { readonly run: string })[] = [];
  #next = 1;
  async post(run: string, message: RunMessage): Promise<void> {
    this.#messages.push({ run, id: this.#next++, at: '2026-01-01T00:00:00.000Z', message });
  }
  async waiting(run: string): Promise<readonly PostedMessage[]> {
    return this.#messages.filter((each) => each.run === run);
  }
  async settle(id: number): Promise<void> {
    this.#messages.splice(
      this.#messages.findIndex((each) => each.id === id),
      1,
    );
  }
}

function house() {
  const state = twoSites([]);
  const osaka = state.sites['osaka'];
  if (osaka === undefined) throw new Error('the fake world has an Osaka');
  osaka.pool.vms = [
    fakeVm('db', 'net-osaka', { powerState: 'Running' }),
    fakeVm('web', 'net-osaka', { powerState: 'Halted' }),
  ];
  const clock = new VirtualClock({ auto: true });
  const states = new MemoryStates();
  const journals = new MemoryJournals();
  const inbox = new MemoryInbox();
  const world = new FakeWorld(state, clock, states);
  const ports = { journals, states, inbox, clock, entropy: countingEntropy(), ...handlersOver(world) };
  const run = (steps: readonly Step[]) => {
    const plan = planOf(steps);
    return execute(ports, { plan, planDigest: planDigest(plan), by: 'Ada', version: '1', runId: 'r1' });
  };
  const again = (more: Partial<Parameters<typeof resume>[1]> = {}) =>
    resume(ports, { runId: 'r1', by: 'Ada', version: '1', ...more });
  return { world, osaka, clock, journals, inbox, run, again, deeds: state.deeds };
}

const call = (values: Partial<Step> = {}, action: Partial<GuestAction & { do: 'call-out' }> = {}): Step =>
  step({
    id: 'call-dns',
    after: [],
    action: {
      do: 'call-out',
      name: 'dns',
      site: 'osaka',
      occasion,
      argv: ['/opt/move-dns', "it's; rm"],
      tryWithinSeconds: 60,
      retries: 0,
      ...action,
    },
    repeatable: false,
    ...values,
  });
const pause: Step = step({
  id: 'pause',
  after: ['call-dns'],
  needs: [],
  action: { do: 'pause', seconds: 30, tier: 'web' },
});

const ended = (values: Partial<ProgramEnd>): ProgramEnd => ({
  code: 0,
  signal: null,
  timedOut: false,
  stdout: '',
  stderr: '',
  ...values,
});

t.test(
  'a callout gets its arguments as they are and the facts of the run; its words land in the journal',
  async (t) => {
    const { world, run, clock } = house();
    const calls: ProgramCall[] = [];
    world.runProgram = async (given) => {
      calls.push(given);
      return ended({ stdout: 'moved\n' });
    };
    const before = clock.monotonicSeconds();
    const result = await run([call(), pause]);
    t.equal(result.outcome, 'done', result.summary);
    t.same(calls, [
      {
        argv: ['/opt/move-dns', "it's; rm"],
        env: {
          LIFEBOAT_RUN: 'r1',
          LIFEBOAT_GROUP: 'payroll',
          LIFEBOAT_OPERATION: 'failover',
          LIFEBOAT_SITE: 'osaka',
          LIFEBOAT_CALLOUT: 'dns',
          LIFEBOAT_MOMENT: 'before tier web',
          LIFEBOAT_TIER: 'web',
          LIFEBOAT_VM: '',
          LIFEBOAT_TRY: '1',
        },
        timeoutSeconds: 60,
      },
    ]);
    t.match(result.run.steps.get('call-dns')?.output, { code: 0, tries: 1, stdout: 'moved\n' });
    t.ok(clock.monotonicSeconds() - before >= 30, 'the pause was slept');
  },
);

t.test('a callout that fails ends by its rule: the run stops, or goes on and says so', async (t) => {
  const stops = house();
  stops.world.runProgram = async () => ended({ code: 3, stderr: 'zone is locked\n' });
  const stopped = await stops.run([call(), pause]);
  t.equal(stopped.outcome, 'failed');
  t.match(stopped.run.steps.get('call-dns')?.problem, {
    code: 'DR-CALLOUT-FAILED',
    what: 'Callout dns ended with code 3',
    known: ['it said: zone is locked'],
  });
  t.equal(stopped.run.steps.get('pause')?.status, 'waiting');

  const goesOn = house();
  goesOn.world.runProgram = async () => ended({ code: 3 });
  const result = await goesOn.run([call({ onFailure: 'continue' }), pause]);
  t.equal(result.run.steps.get('call-dns')?.status, 'failed');
  t.equal(result.run.steps.get('pause')?.status, 'succeeded');
  t.equal(result.outcome, 'done-with-warnings');
});

t.test('a repeatable callout is tried again as often as the plan says', async (t) => {
  const { world, run } = house();
  const tries: string[] = [];
  world.runProgram = async ({ env }) => {
    tries.push(env['LIFEBOAT_TRY'] ?? '');
    return ended({ code: tries.length < 3 ? 1 : 0 });
  };
  const result = await run([call({ repeatable: true }, { retries: 2 })]);
  t.same(tries, ['1', '2', '3']);
  t.match(result.run.steps.get('call-dns'), {
    status: 'succeeded',
    warnings: ['callout dns succeeded at try 3'],
  });
});

t.test(
  'cut off half-way, a callout that may not run twice is a question, and runs again only on an answer',
  async (t) => {
    const { world, run, again } = house();
    let calls = 0;
    world.runProgram = async () => {
      calls += 1;
      return ended({ code: null, signal: 'SIGKILL', timedOut: calls === 1 });
    };
    const first = await run([call(), pause]);
    t.equal(first.outcome, 'stuck');
    t.match(first.run.steps.get('call-dns')?.problem, { code: 'DR-RUN-STUCK' });
    t.equal((await again()).outcome, 'stuck', 'resuming alone calls nothing');
    t.equal(calls, 1);
    const skipped = await again({ answers: [{ step: 'call-dns', answer: 'skip', reason: 'it was done' }] });
    t.equal(calls, 1);
    t.equal(skipped.run.steps.get('pause')?.status, 'succeeded');

    const harmless = house();
    harmless.world.runProgram = async () => ended({ code: null, timedOut: true });
    const result = await harmless.run([call({ onFailure: 'continue' }), pause]);
    t.match(result.run.steps.get('call-dns')?.problem, {
      code: 'DR-CALLOUT-TIMEOUT',
      what: 'Callout dns did not end within 1 min and was killed',
    });
    t.equal(result.outcome, 'done-with-warnings', 'where the run goes on anyway it is no question');
  },
);

t.test('a crash in the middle of a callout is a question too', async (t) => {
  const { world, run, again, journals } = house();
  let calls = 0;
  world.runProgram = async () => {
    calls += 1;
    return ended({});
  };
  journals.beforeAppend = (event) => {
    if (event.event === 'StepSucceeded') throw new Error('the power is gone');
  };
  await t.rejects(run([call()]));
  journals.beforeAppend = () => undefined;
  t.equal((await again()).outcome, 'stuck');
  t.equal(calls, 1);
  const retried = await again({ answers: [{ step: 'call-dns', answer: 'retry', reason: 'it was not' }] });
  t.equal(retried.outcome, 'done');
  t.equal(calls, 2);
});

const question = (byDefault: 'continue' | 'stop'): Step =>
  step({
    id: 'ask-doors',
    after: [],
    action: {
      do: 'ask',
      name: 'doors',
      question: 'May customers come in?',
      occasion,
      answerWithinSeconds: 600,
      byDefault,
    },
    timeoutSeconds: 660,
  });
const answer = (says: 'continue' | 'stop'): RunMessage => ({
  says: 'answer',
  step: 'ask-doors',
  answer: says,
  by: 'Bob',
  reason: 'seen',
});

t.test('a question takes the answer that reaches the run from elsewhere, with the name', async (t) => {
  const { run, inbox, journals } = house();
  await inbox.post('r1', answer('continue'));
  const result = await run([question('stop')]);
  t.equal(result.outcome, 'done', result.summary);
  t.match(result.run.steps.get('ask-doors')?.output, { answer: 'continue', by: 'Bob', reason: 'seen' });
  t.ok(told(journals.runs.get('r1') ?? []).includes(`Decision ${answerDecision('ask-doors', 'continue')}`));
});

t.test('a no stops the run; resumed, it asks again and the old no does not count', async (t) => {
  const { run, again, inbox } = house();
  const handlersSee = inbox.waiting.bind(inbox);
  let asked = 0;
  inbox.waiting = async (id) => {
    asked += 1;
    // Given while the question stands, as a person would.
    if (asked === 3) await inbox.post(id, answer('stop'));
    return handlersSee(id);
  };
  const result = await run([question('continue')]);
  t.equal(result.outcome, 'failed');
  t.match(result.run.steps.get('ask-doors')?.problem, {
    code: 'DR-PROMPT-STOP',
    known: ['May customers come in?', 'Bob: seen'],
  });
  await inbox.post('r1', answer('continue'));
  t.equal((await again()).outcome, 'done');
});

t.test('nobody answers: the default counts when the time is over', async (t) => {
  const yes = house();
  const before = yes.clock.monotonicSeconds();
  const result = await yes.run([question('continue')]);
  t.equal(result.outcome, 'done-with-warnings');
  t.ok(yes.clock.monotonicSeconds() - before >= 600);
  t.match(result.run.steps.get('ask-doors'), {
    output: { answer: 'continue', by: null },
    warnings: ['question doors: nobody answered within 10 min, so the run goes on'],
  });
  const no = house();
  const stopped = await no.run([question('stop')]);
  t.equal(stopped.outcome, 'failed');
  t.match(stopped.run.steps.get('ask-doors')?.problem, {
    code: 'DR-PROMPT-STOP',
    known: ['May customers come in?', 'nobody answered within 10 min'],
  });
});

t.test(
  'a VM is changed before its start, once, and its addresses are set when its agent can do it',
  async (t) => {
    const { osaka, run, again, deeds, clock } = house();
    const vm = { uuid: 'web', nameLabel: 'web' };
    const memory = { staticMax: 8, dynamicMax: 8, dynamicMin: 4 };
    const adjustment = { memory, vcpus: 3, host: { uuid: 'oa', nameLabel: 'oa' } };
    const addresses = [{ device: '0', ipv4: { address: '10.2.0.9/24', gateway: '10.2.0.1' }, ipv6: null }];
    const steps = [
      step({
        id: 'adjust',
        after: [],
        action: { do: 'adjust-vm', site: 'osaka', vm, adjustment },
        holdsWhen: { is: 'vm-adjusted', site: 'osaka', vm, adjustment },
      }),
      step({
        id: 'start',
        after: ['adjust'],
        action: { do: 'start-vm', site: 'osaka', vm, twinSite: null },
        holdsWhen: { is: 'vm-running', site: 'osaka', vm },
      }),
      step({
        id: 'address',
        after: ['start'],
        action: { do: 'set-addresses', site: 'osaka', vm, addresses },
        holdsWhen: { is: 'addresses-set', site: 'osaka', vm, addresses },
      }),
    ];
    const web = osaka.pool.vms.find(({ uuid }) => uuid === 'web');
    // The agent reports a while after the start.
    void clock.sleep(45).then(() => Object.assign(web ?? {}, { guest: answers }));
    const result = await run(steps);
    t.equal(result.outcome, 'done', result.summary);
    t.same(deeds, ['osaka: adjust web', 'osaka: start web', 'osaka: address web 0 10.2.0.9/24']);
    t.match(web, { memoryStaticMax: 8, memoryDynamicMin: 4, vcpusAtStartup: 3, affinity: 'oa' });
    t.equal((await again()).outcome, 'done');
    t.equal(deeds.length, 3);

    const silent = house();
    const late = await silent.run(steps);
    t.equal(late.outcome, 'failed');
    t.match(late.run.steps.get('address')?.problem?.known, [/its guest agent has not reported/]);
  },
);

const http: HttpGate = {
  gate: 'http',
  port: 8080,
  path: '/health',
  tls: false,
  host: null,
  verify: true,
  caFile: null,
  status: [200, 204],
  contains: 'up',
};
const command: CommandGate = {
  gate: 'command',
  user: 'probe',
  port: 22,
  keyFile: '/k',
  hostKey: { pinned: 'x' },
  argv: ['pg_isready'],
  exitCode: 0,
};

t.test('each gate says what it waits for', async (t) => {
  const running: VmState = { powerState: 'Running', residentOn: 'oa', startDelaySeconds: 0, guest: answers };
  const closed = (
    gate: ReadinessGate,
    world: Partial<FakeWorld> = {},
    state: VmState | undefined = running,
  ) =>
    firstClosedGate(
      { probeTcp: async () => false, ...noGuests, ...world },
      'db',
      [gate],
      state,
      new AbortController().signal,
    );
  const http_ = (status: number, text: string) => ({
    probeHttp: async () => ({ answered: true as const, status, text }),
  });
  t.equal(await closed({ gate: 'running' }), null);
  t.equal(await closed({ gate: 'running' }, {}, { ...running, powerState: 'Halted' }), 'is halted');
  t.equal(await closed({ gate: 'guest-agent' }), null);
  t.match(await closed({ gate: 'guest-agent' }, {}, { ...running, guest: null }), /agent has not reported/);
  t.equal(await closed({ gate: 'address', subnets: ['10.9.0.0/16', '10.1.0.0/16'] }), null);
  t.equal(
    await closed({ gate: 'address', subnets: ['10.9.0.0/16', '10.8.0.0/16'] }),
    'has no address in 10.9.0.0/16 or 10.8.0.0/16 (it reports 10.1.0.7)',
  );
  t.match(await closed({ gate: 'tcp', port: 5432 }), /does not answer on TCP port 5432/);
  t.equal(await closed({ gate: 'tcp', port: 5432 }, { probeTcp: async () => true }), null);
  t.equal(await closed(http, http_(204, 'all is up')), null);
  t.equal(
    await closed(http, http_(503, 'up')),
    'answers 503 instead of 200 or 204 to /health on http port 8080 at 10.1.0.7',
  );
  t.equal(
    await closed(http, http_(200, 'booting')),
    'answers /health on http port 8080 at 10.1.0.7 without "up"',
  );
  t.match(
    await closed(http, {
      probeHttp: async () => ({ answered: false, because: 'the connection was refused' }),
    }),
    /does not answer on http port 8080 at 10.1.0.7: the connection was refused/,
  );
  t.equal(await closed(http, {}, { ...running, guest: null }), 'reports no address to ask it at');
  const ends = (code: number | null) => ({
    runInGuest: async () => ({ code, stdout: 'secret', stderr: '' }),
  });
  t.equal(await closed(command, ends(0)), null);
  t.equal(await closed({ ...command, exitCode: 4 }, ends(4)), null);
  t.equal(
    await closed(command, ends(2)),
    'is not ready by its own word: pg_isready at 10.1.0.7 ended with 2 instead of 0',
  );
  t.match(await closed(command, ends(null)), /was ended by a signal/);
  const refuses = new PortError('trust', { code: 'DR-SSH-HOSTKEY', what: 'another host key', next: 'Look' });
  t.equal(
    await closed(command, { runInGuest: async () => Promise.reject(refuses) }),
    'could not be asked at 10.1.0.7: another host key',
  );
});

t.test('a guest is waited for until its page answers; a login is not tried every other second', async (t) => {
  const { world, osaka, run, clock } = house();
  const db = osaka.pool.vms.find(({ uuid }) => uuid === 'db');
  Object.assign(db ?? {}, { guest: answers });
  let pages = 0;
  const logins: number[] = [];
  world.probeHttp = async () => {
    pages += 1;
    return { answered: true, status: pages < 4 ? 503 : 200, text: 'up' };
  };
  world.runInGuest = async () => {
    logins.push(clock.monotonicSeconds());
    return { code: logins.length < 3 ? 1 : 0, stdout: '', stderr: '' };
  };
  const vm = { uuid: 'db', nameLabel: 'db' };
  const ready = (id: string, gates: readonly ReadinessGate[], after: string[] = []): Step =>
    step({
      id,
      after,
      action: { do: 'await-ready', site: 'osaka', vm, gates },
      holdsWhen: { is: 'vm-ready', site: 'osaka', vm, gates },
    });
  const result = await run([ready('page', [http]), ready('login', [command], ['page'])]);
  t.equal(result.outcome, 'done', result.summary);
  t.ok(pages >= 4);
  const [, second = 0, third = 0] = logins;
  t.ok(third - second >= 10, 'ten seconds between two logins');
});
