import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { SqliteStates } from '../../src/adapters/state/sqlite-states.ts';
import { systemEntropy } from '../../src/adapters/system/entropy.ts';
import { VirtualClock } from '../../src/adapters/system/virtual-clock.ts';
import type { GroupState } from '../../src/domain/group.ts';

const state: GroupState = {
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
};

function opened(
  t: { testdir(): string; teardown(run: () => void): void },
  path = join(t.testdir(), 's', 'state.db'),
) {
  const states = new SqliteStates(path, new VirtualClock(), systemEntropy);
  t.teardown(() => states.close());
  return { states, path };
}

t.test('a state is kept across openings, readable by its owner alone', async (t) => {
  const { states, path } = opened(t);
  t.equal(await states.get('payroll'), null);
  const frozen = { by: 'Ada', at: '2026-01-01T00:00:00.000Z', reason: 'works on the array' };
  const tombstone = { site: 'tokyo', at: '2026-01-01T00:00:00.000Z', run: 'r1' };
  t.equal(await states.change('payroll', 0, { ...state, phase: 'unprotected', frozen, tombstone }), true);
  const again = opened(t, path);
  t.same(await again.states.all(), [{ ...state, phase: 'unprotected', frozen, tombstone }]);
  t.equal(statSync(path).mode & 0o777, 0o600);
});

t.test('a freeze is neither lifted nor set by a run that knows an older state', async (t) => {
  const { states, path } = opened(t);
  const by = { by: 'Ada', reason: 'works on the array' };
  const frozen = { ...by, at: '2026-01-01T00:00:00.000Z' };
  await states.setFrozen('payroll', frozen, by, state);
  t.same(await states.get('payroll'), { ...state, frozen }, 'also before anything was done');
  await states.change('payroll', 0, { ...state, generation: 1, phase: 'failing-over' });
  t.match(await states.get('payroll'), { generation: 1, frozen });
  await opened(t, path).states.setFrozen('payroll', null, { by: 'Bob', reason: 'done' }, state);
  await states.change('payroll', 1, { ...state, generation: 1, phase: 'failed-over', frozen });
  t.match(await states.get('payroll'), { phase: 'failed-over', frozen: null });
  t.match(await states.audit(null), [
    { did: 'unfreeze', by: 'Bob', group: 'payroll' },
    { did: 'freeze', by: 'Ada', reason: 'works on the array' },
  ]);
  t.same(await states.audit('another'), []);
});

t.test('of two that change the same generation, one wins', async (t) => {
  const { states, path } = opened(t);
  const other = opened(t, path).states;
  await states.change('payroll', 0, state);
  const next: GroupState = { ...state, generation: 1, phase: 'failing-over', currentRun: 'r1' };
  t.same(
    await Promise.all([
      states.change('payroll', 0, next),
      other.change('payroll', 0, { ...next, currentRun: 'r2' }),
    ]),
    [true, false],
  );
  t.equal((await other.get('payroll'))?.currentRun, 'r1');
  t.equal(await states.change('payroll', 7, { ...next, generation: 7 }), false);
  t.equal(
    await states.change('new', 3, { ...state, group: 'new', generation: 3 }),
    false,
    'a new group begins at 0',
  );
});

t.test('a phase moves only as the design allows', async (t) => {
  const { states } = opened(t);
  await states.change('payroll', 0, state);
  await t.rejects(states.change('payroll', 0, { ...state, phase: 'reprotecting' }), {
    code: 'DR-GROUP-PHASE',
    message: /protected and cannot become reprotecting/,
  });
  t.equal((await states.get('payroll'))?.phase, 'protected');
});

t.test('a living holder refuses with who, which run and since when; a released lock is free', async (t) => {
  const { states, path } = opened(t);
  const lock = await states.lock('payroll', 'r1');
  await lock.assertHeld();
  await t.rejects(opened(t, path).states.lock('payroll', 'r2'), {
    code: 'DR-LOCK-HELD',
    exitCode: 11,
    message: new RegExp(`run r1.*process ${process.pid} on .* since 2026-01-01`),
  });
  await t.resolves(states.lock('crm', 'r3'), 'another group is free');
  await lock.release();
  await t.rejects(lock.assertHeld(), { code: 'DR-LOCK-LOST', exitCode: 11 });
  await (await states.lock('payroll', 'r2')).assertHeld();
});

t.test('the lock of a killed process is taken over', async (t) => {
  const { states, path } = opened(t);
  const script = `
    import { SqliteStates } from '${join(import.meta.dirname, '../../src/adapters/state/sqlite-states.ts')}';
    import { systemClock } from '${join(import.meta.dirname, '../../src/adapters/system/clock.ts')}';
    import { systemEntropy } from '${join(import.meta.dirname, '../../src/adapters/system/entropy.ts')}';
    await new SqliteStates(${JSON.stringify(path)}, systemClock, systemEntropy).lock('payroll', 'r1');
    process.stdout.write('locked');
    process.stdin.resume();
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  await t.rejects(states.lock('payroll', 'r2'), { code: 'DR-LOCK-HELD' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await (await states.lock('payroll', 'r2')).assertHeld();
});

t.test(
  'a process that got the number of a dead one does not hold its lock; another machine might',
  async (t) => {
    const { states, path } = opened(t);
    await states.lock('payroll', 'r1');
    const db = new DatabaseSync(path);
    t.teardown(() => db.close());
    db.exec("UPDATE group_lock SET process_start = 'another-boot:17'");
    await t.resolves(states.lock('payroll', 'r2'));
    db.exec("UPDATE group_lock SET host = 'elsewhere'");
    await t.rejects(states.lock('payroll', 'r3'), {
      code: 'DR-LOCK-HELD',
      message: /another machine.*break the lock/,
    });
    const by = { by: 'Ada', reason: 'that machine burnt' };
    await states.lock('payroll (export)', 'r9');
    db.exec("UPDATE group_lock SET host = 'elsewhere'");
    t.same(await states.breakLock('payroll', by), ['r2', 'r9']);
    t.same(await states.breakLock('payroll', by), []);
    t.match(await states.audit('payroll'), [
      { did: 'break-lock', by: 'Ada', reason: 'that machine burnt', detail: /run r9 of elsewhere/ },
      { did: 'break-lock', detail: /run r2 of elsewhere held it since 2026/ },
    ]);
    await t.resolves(states.lock('payroll', 'r3'));
    await t.rejects(
      states.breakLock('payroll', by),
      { code: 'DR-LOCK-HELD' },
      'the lock of a living process is not broken',
    );
  },
);

t.test('a damaged, unreadable or newer database is told in a sentence', async (t) => {
  const directory = t.testdir();
  const damaged = join(directory, 'damaged.db');
  writeFileSync(damaged, Buffer.alloc(8192, 'not a database '));
  t.throws(() => opened(t, damaged), { code: 'DR-STATE-UNUSABLE', message: /damaged\.db.*backup/ });
  mkdirSync(join(directory, 'folder.db'));
  t.throws(() => opened(t, join(directory, 'folder.db')), { code: 'DR-STATE-UNUSABLE' });
  const newer = join(directory, 'newer.db');
  const db = new DatabaseSync(newer);
  db.exec('PRAGMA user_version = 99');
  db.close();
  t.throws(() => opened(t, newer), { code: 'DR-STATE-UNUSABLE', message: /version 99/ });
});
