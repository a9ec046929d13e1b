/** The ledger: the one in SQLite and the one of the simulated quarter behave alike, and SQLite's survives its process. */
import { join } from 'node:path';
import t from 'tap';
import { SqliteSchedule } from '../../src/adapters/state/sqlite-schedule.ts';
import type { ScheduleLedger } from '../../src/ports/schedule.ts';
import { MemoryLedger } from './memory-ledger.ts';

const shop = { job: 'export', group: 'shop' } as const;
const itself = { job: 'rehearsal', group: null } as const;
const at = (minute: number): string => `2026-05-01T12:${String(minute).padStart(2, '0')}:00.000Z`;
const until = (minute: number) => ({ calendar: '* * * * * UTC', until: at(minute) });
const turn = (minute: number) => ({ slot: at(minute), startedAt: at(minute), missed: 2, madeUp: true });

async function story(ledger: ScheduleLedger): Promise<unknown> {
  await ledger.anchor(shop, until(0));
  await ledger.anchor(itself, until(0));
  const first = await ledger.begin({ ...shop, ...turn(1) }, until(0), until(1));
  const again = await ledger.begin({ ...shop, ...turn(1) }, until(0), until(1));
  const own = await ledger.begin({ ...itself, ...turn(2) }, until(0), until(2));
  if (first === null || own === null) throw new Error('a slot that nobody took can be taken');
  await ledger.noteRun(first, 'run-1');
  const open = await ledger.open();
  await ledger.end(first, { at: at(3), outcome: 'done', summary: 'well' });
  const second = await ledger.begin({ ...shop, ...turn(4) }, until(1), until(4));
  if (second === null) throw new Error('the next slot can be taken');
  await ledger.end(second, { at: at(5), outcome: 'interrupted', summary: 'broken', again: until(3) });
  const before = await ledger.turns({ group: null, limit: 10 });
  await ledger.forget(at(59));
  return {
    again,
    open,
    before,
    limited: await ledger.turns({ group: null, limit: 1 }),
    kept: await ledger.turns({ group: 'shop', limit: 10 }),
    answered: [...(await ledger.answered())].sort(),
    newest: [...(await ledger.newest())].sort(),
  };
}

t.test('both ledgers tell the same', async (t) => {
  const file = join(t.testdir(), 'state.sqlite');
  const ledger = new SqliteSchedule(file);
  const seen = await story(ledger);
  t.same(seen, await story(new MemoryLedger()));
  ledger.close();
  const later = new SqliteSchedule(file);
  t.teardown(() => later.close());
  t.same([...(await later.newest())].sort(), (seen as { newest: unknown }).newest, 'after a restart as well');
  t.match(seen, {
    again: null,
    answered: [
      ['export shop', until(3)],
      ['rehearsal', until(2)],
    ],
  });
  const [last] = await later.turns({ group: 'shop', limit: 1 });
  t.match(last, { outcome: 'interrupted', missed: 2, madeUp: true, run: null });
});

t.test('two daemons at one ledger answer a slot once', async (t) => {
  const file = join(t.testdir(), 'state.sqlite');
  const ledgers = [new SqliteSchedule(file), new SqliteSchedule(file)];
  t.teardown(() => {
    for (const ledger of ledgers) ledger.close();
  });
  await ledgers[0]?.anchor(shop, until(0));
  const taken = await Promise.all(
    ledgers.map((ledger) => ledger.begin({ ...shop, ...turn(1) }, until(0), until(1))),
  );
  t.equal(taken.filter((id) => id !== null).length, 1);
});
