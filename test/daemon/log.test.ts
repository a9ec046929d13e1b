/** The log of the daemon: secrets in it at no depth, and the run in every line. */
import t from 'tap';
import { Redactor } from '../../src/adapters/secrets/redactor.ts';
import { daemonLog } from '../../src/adapters/system/log.ts';

t.test('secrets are taken out by name and by value, at any depth', async (t) => {
  const lines: string[] = [];
  const redactor = new Redactor();
  redactor.add('hunter2"hunter2');
  const { logger, within } = daemonLog({
    level: 'info',
    redact: (line) => redactor.redact(line),
    write: (line) => lines.push(line),
  });
  const deep = {
    a: { b: [{ c: { password: 'one', passphrase: 'two', session_id: 'three', token: ['four'] } }] },
  };
  logger.info({ deep, apiKey: 'five', secret: { nested: 'six' } }, 'fields');
  logger.error({ error: new Error('the pool said hunter2"hunter2') }, 'and hunter2"hunter2 in words');
  await within({ run: 'run-1', job: 'export', group: 'shop' }, async () => {
    await Promise.resolve();
    logger.info('inside');
  });
  const text = lines.join('');
  for (const secret of ['"one"', '"two"', '"three"', '"four"', '"five"', '"six"', 'hunter2'])
    t.notOk(text.includes(secret), `${secret} is not told`);
  const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.match(told[0], { run: null, deep: { a: { b: [{ c: { password: '***' } }] } }, level: 'info' });
  t.match(told[2], { run: 'run-1', job: 'export', group: 'shop', msg: 'inside' });
  t.match(told[1], { error: { name: 'Error', message: 'the pool said ***' } });
});

t.test('what cannot be told whole is told in part', async (t) => {
  const lines: string[] = [];
  const { logger } = daemonLog({ level: 'info', redact: (line) => line, write: (line) => lines.push(line) });
  const round: Record<string, unknown> = {};
  round['round'] = round;
  logger.info({ round, map: new Map([['key', { password: 'x' }]]), nothing: null }, 'odd');
  t.match(JSON.parse(lines[0] ?? ''), { msg: 'odd', map: { key: { password: '***' } }, nothing: null });
});
