/** Messages to a run that another process carries out: none is lost, none is taken by another run. */
import { join } from 'node:path';
import t from 'tap';
import { SqliteInbox } from '../../src/adapters/state/sqlite-inbox.ts';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import { answerDecision, answerOf } from '../../src/execute/decisions.ts';

t.test('a message waits, over processes, until its content is in the journal', async (t) => {
  const path = join(t.testdir(), 'state.sqlite');
  const here = new SqliteInbox(path, new VirtualClock());
  const there = new SqliteInbox(path, new VirtualClock());
  t.teardown(() => [here, there].forEach((inbox) => void inbox.close()));
  const stop = { by: 'Ada', reason: 'the site is back', says: 'stop' as const };
  await here.post('r1', stop);
  await here.post('r1', { by: 'Bob', reason: 'seen', says: 'answer', step: 'ask', answer: 'go-on' });
  await here.post('r2', { by: 'Ada', reason: 'too slow', says: 'cancel-step', step: 'ready-web' });
  const waiting = await there.waiting('r1');
  t.match(waiting, [
    { at: '2026-01-01T00:00:00.000Z', message: stop },
    { message: { says: 'answer', step: 'ask', answer: 'go-on' } },
  ]);
  t.equal((await there.waiting('r1')).length, 2, 'reading takes nothing away');
  await there.settle(waiting[0]?.id ?? 0);
  t.match(await here.waiting('r1'), [{ message: { says: 'answer' } }]);
  t.equal((await here.waiting('r2')).length, 1);
  t.same(await here.waiting('r3'), []);
});

t.test('the newest answer to the question of a step is found among the decisions', (t) => {
  const told = (decision: string, by: string) => ({
    at: '2026-01-01T00:00:00.000Z',
    by,
    decision,
    reason: 'x',
  });
  const decisions = [
    told('declare-lost', 'Ada'),
    told(answerDecision('ask', 'wait'), 'Ada'),
    told(answerDecision('ask', 'go on'), 'Bob'),
    told(answerDecision('ask-2', 'no'), 'Bob'),
  ];
  t.same(answerOf(decisions, 'ask'), { answer: 'go on', by: 'Bob', reason: 'x' });
  t.equal(answerOf(decisions, 'as'), null);
  t.end();
});
