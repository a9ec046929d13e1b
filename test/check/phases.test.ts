/** Which operations `check` looks at: those that are possible in the phase of the group. */
import t from 'tap';
import { operationsIn } from '../../src/app/check.ts';
import type { GroupState } from '../../src/domain/group.ts';
import { now } from '../support/two-sites.ts';

const state: GroupState = {
  group: 'shop',
  phase: 'protected',
  generation: 3,
  activeSite: 'osaka',
  roles: 'as-configured',
  currentRun: null,
  changedAt: now,
  frozen: null,
  tombstone: null,
  drill: null,
};

t.test('each phase has its operations', (t) => {
  const all = ['export', 'verify', 'drill', 'migrate', 'failover'];
  t.same(operationsIn(null), all);
  t.same(operationsIn(state), all);
  t.same(operationsIn({ ...state, roles: 'swapped' }), ['export', 'verify', 'drill', 'failback', 'failover']);
  t.same(operationsIn({ ...state, phase: 'drilling' }), ['export', 'verify', 'drill-cleanup', 'failover']);
  t.same(operationsIn({ ...state, phase: 'failing-over' }), ['failover']);
  t.same(operationsIn({ ...state, phase: 'failed-over' }), ['failover', 'reprotect']);
  t.same(operationsIn({ ...state, phase: 'reprotecting' }), ['reprotect']);
  t.ok(operationsIn({ ...state, phase: 'stuck' }).includes('failover'), 'a stuck group may have to move');
  t.end();
});
