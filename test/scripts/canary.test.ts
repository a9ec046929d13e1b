/** `verify GROUP --canary` as it is typed: one group, and the plan of a canary. */
import t from 'tap';
import { call } from './fake.ts';

t.test('a canary is planned for the group that is named', async (t) => {
  const called = await call(['verify', 'shop', '--canary', '--by', 'Ada']);
  t.match(called.asked, [
    'open sites.yaml',
    'plan {"operation":"canary","group":"shop","decisions":[]}',
    /^run .* by Ada$/,
  ]);
});

t.test('for no group, or for several, it is a slip of the fingers', async (t) => {
  for (const groups of [[], ['shop', 'payroll']]) {
    const called = await call(['verify', ...groups, '--canary']);
    t.match(called, { code: 2, err: /DR-CANARY-GROUP/ });
    t.notOk(called.asked.some((asked) => asked.startsWith('plan')));
  }
});
