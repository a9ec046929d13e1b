/** Questions of a recovery plan at the terminal of the run, and answered from another one. */
import t from 'tap';
import type { App, Programme } from '../../src/app/app.ts';
import type { RunEvent } from '../../src/domain/run.ts';
import { foldRun, type Run } from '../../src/domain/run.ts';
import { answerIn, Questions, runAnswer } from '../../src/faces/cli/questions.ts';
import { Session } from '../../src/faces/cli/session.ts';
import type { Terminal } from '../../src/faces/cli/terminal.ts';
import { Watch } from '../../src/faces/cli/watch.ts';
import type { RunMessage } from '../../src/ports/system.ts';
import { eventLine } from '../../src/report/live.ts';
import { step } from '../execute/plans.ts';
import { planOf } from '../execute/support.ts';

const at = '2026-01-01T00:00:00.000Z';
const plan = planOf([
  step({
    id: 'ask-doors',
    after: [],
    action: {
      do: 'ask',
      name: 'doors',
      question: 'May customers come in?',
      occasion: { at: 'end', when: 'at the end', tier: null, vm: null },
      answerWithinSeconds: 600,
      byDefault: 'stop',
    },
  }),
]);
const started: RunEvent = {
  event: 'RunStarted',
  at,
  run: 'r1',
  plan,
  planDigest: 'd',
  by: 'Ada',
  version: '1',
};
const begins: RunEvent = { event: 'StepStarted', at, step: 'ask-doors', attempt: 1 };
const over: RunEvent = {
  event: 'StepSucceeded',
  at,
  step: 'ask-doors',
  changed: true,
  output: null,
  warnings: [],
};

/** Everything that needs no more than other promises has happened. */
const atRest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Asked {
  readonly text: string;
  readonly signal: AbortSignal | undefined;
  type(line: string | null): void;
}

function desk(run: Run | null = null) {
  const asked: Asked[] = [];
  const told: RunMessage[] = [];
  const written: string[] = [];
  let heard = Promise.withResolvers<void>();
  const output = {
    write: (text: string) => void written.push(text),
    isTerminal: false,
    columns: 80,
    rows: 24,
  };
  const terminal: Terminal = {
    out: output,
    err: output,
    env: {},
    user: 'night-shift',
    interactive: true,
    now: () => at,
    every: () => () => undefined,
    ask: (text, signal) =>
      new Promise((resolve) => {
        signal?.addEventListener('abort', () => resolve(null), { once: true });
        asked.push({ text, signal, type: resolve });
        heard.resolve();
        heard = Promise.withResolvers<void>();
      }),
    askSecret: async () => null,
    readInput: async () => '',
    readFile: async () => '',
    writeFile: async () => undefined,
    makeDirectory: async () => undefined,
    onInterrupt: () => () => undefined,
    exitNow: () => {
      throw new Error('left');
    },
  };
  const app = {
    runs: {
      tell: async (_run: string, message: RunMessage) => void told.push(message),
      read: async () => run,
    },
    close: async () => undefined,
  } as unknown as App;
  const programme = { version: '1', open: async () => app } as unknown as Programme;
  const session = new Session(terminal, programme, { config: '', json: false });
  const questions = new Questions(session, app, new Watch(session), 'Ada', null);
  const next = async (): Promise<Asked> => {
    const before = asked.length;
    while (asked.length === before) await heard.promise;
    return asked[asked.length - 1] as Asked;
  };
  return { asked, told, written, session, questions, next };
}

t.test('a question is asked where the run is, until the answer is yes or no', async (t) => {
  const { questions, next, told, asked } = desk();
  questions.onEvent(started);
  const coming = next();
  questions.onEvent(begins);
  const first = await coming;
  t.equal(first.text, 'May customers come in? (yes/no; no after 10 min) ');
  const again = next();
  first.type('perhaps');
  (await again).type(' Yes ');
  await atRest();
  await questions.end();
  t.equal(asked.length, 2);
  t.same(told, [
    { says: 'answer', step: 'ask-doors', answer: 'continue', by: 'Ada', reason: 'answered at the run' },
  ]);
});

t.test('somebody else was faster, or the time is over: the question goes away', async (t) => {
  const { questions, next, told, session } = desk();
  questions.onEvent(started);
  const coming = next();
  questions.onEvent(begins);
  const question = await coming;
  questions.onEvent(over);
  t.ok(question.signal?.aborted);
  await questions.end();
  t.same(told, []);
  t.notOk(session.signal.aborted, 'the run goes on');
});

t.test('the end of the input is no answer: it stops the run in an orderly way', async (t) => {
  const { questions, next, told, session } = desk();
  questions.onEvent(started);
  const coming = next();
  questions.onEvent(begins);
  (await coming).type(null);
  await atRest();
  await questions.end();
  t.ok(session.signal.aborted);
  t.same(told, []);
});

t.test('run answer: yes or no, to a question that is open', async (t) => {
  t.same(['yes', 'Y', 'continue', 'no', 'stop', 'maybe'].map(answerIn), [
    'continue',
    'continue',
    'continue',
    'stop',
    'stop',
    null,
  ]);
  const open = desk(foldRun([started, begins]));
  t.equal(await runAnswer(open.session, 'latest', 'ask-doors', 'no', { reason: 'not yet' }), 0);
  t.same(open.told, [
    { says: 'answer', step: 'ask-doors', answer: 'stop', by: 'night-shift', reason: 'not yet' },
  ]);
  t.match(open.written.join(''), /Question doors is answered: no/);
  const refusal = (run: Run, word: string) =>
    runAnswer(desk(run).session, 'latest', 'ask-doors', word, {}).then(
      () => null,
      (error: unknown) => error,
    );
  t.match(await refusal(foldRun([started, begins]), 'perhaps'), { code: 'DR-ANSWER-WORD', exitCode: 2 });
  t.match(await refusal(foldRun([started, begins, over]), 'yes'), { code: 'DR-ANSWER-NO-QUESTION' });
});

t.test('whoever watches a run is told how to answer', (t) => {
  const run = foldRun([started, begins]);
  t.match(
    eventLine(begins, run, { width: 200, colour: false }),
    /May customers come in\?.*answer: lifeboat run answer r1 ask-doors yes\|no/,
  );
  t.end();
});
