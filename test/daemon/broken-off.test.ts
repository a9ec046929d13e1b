/** A failover that a crash has left half way: the daemon tells of it, begins nothing in its place, and never goes on with it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SqliteSchedule } from '../../src/adapters/state/sqlite-schedule.ts';
import { cronOf } from '../../src/domain/calendar.ts';
import { type JobKind, jobKey } from '../../src/domain/jobs.ts';
import type { DaemonSettings } from '../../src/domain/settings.ts';
import { LabHouse } from '../check/lab-app.ts';

t.setTimeout(240_000);

/** Half a day away from now, so that no slot falls into the test. */
const words = `daily at ${String((new Date().getUTCHours() + 12) % 24).padStart(2, '0')}:30`;
const calendar = { words, cron: cronOf(words) ?? '', timeZone: 'UTC' };
const kinds: readonly JobKind[] = ['export', 'verify', 'drill'];
const never = new AbortController().signal;

t.test('a failover that broke off waits for a person', async (t) => {
  const house = await LabHouse.start(t);
  const { stateDirectory } = house.settings;
  const daemon: DaemonSettings = {
    watchEverySeconds: 300,
    jobsPerPool: 1,
    spreadSeconds: 0,
    finishWithinSeconds: 1,
    keepJournalsSeconds: 1,
    reportsDirectory: join(stateDirectory, 'reports'),
    jobs: kinds.map((job) => ({ job, group: 'shop', calendar, catchUp: true })),
  };
  await house.save();
  await house.lab.killSite('production');

  const stop = new AbortController();
  const left = await house.with({}, async (app) => {
    const plan = await app.plan({ operation: 'failover', group: 'shop', pointId: null, decisions: [] });
    return app.run(plan, {
      by: 'on-call engineer',
      signal: stop.signal,
      onEvent: (event) => {
        if (event.event === 'StepSucceeded' && event.step.startsWith('import-')) stop.abort();
      },
    });
  });
  t.equal(left.outcome, 'stopped', left.summary ?? '');
  // As a crash leaves it: without its last line.
  const journal = join(stateDirectory, 'runs', `${left.id}.jsonl`);
  const lines = readFileSync(journal, 'utf8').split('\n').slice(0, -2);
  writeFileSync(journal, `${lines.join('\n')}\n`);

  const ledger = new SqliteSchedule(join(stateDirectory, 'state.sqlite'));
  t.teardown(() => ledger.close());
  const longAgo = new Date(Date.now() - 3 * 86_400_000).toISOString();
  for (const job of kinds)
    await ledger.anchor({ job, group: 'shop' }, { calendar: `${calendar.cron} UTC`, until: longAgo });

  await house.with({ daemon }, async (app) => {
    t.same(await app.schedules.takeUp(), { turns: [], settled: [] }, 'the daemon does not take it up');
    const before = await app.look({ configProblems: [] });
    t.match(before.interrupted, [{ id: left.id, operation: 'failover', outcome: null }], 'it is reported');
    t.equal(before.interrupted.length, 1);

    for (const kind of kinds) {
      const { turns } = await app.schedules.begin([]);
      t.same(turns.map(jobKey), [`${kind} shop`]);
      for (const turn of turns) {
        const { turn: end } = await app.schedules.carryOut(turn, { signal: never });
        if (kind !== 'verify') t.equal(end.outcome, 'blocked', `${kind}: ${end.summary}`);
      }
    }
    t.same(await app.schedules.tidy(), { journals: 0 });
    const after = await app.look({ configProblems: [] });
    t.match(after.interrupted, [{ id: left.id }], 'it waits as before');
    t.same(after.states, before.states, 'nothing has taken its place');
    t.equal(readFileSync(journal, 'utf8'), `${lines.join('\n')}\n`, 'nobody has written into its journal');

    const resumed = await app.runs.resume(left.id, {
      by: 'on-call engineer',
      answers: [],
      onEvent: () => undefined,
    });
    t.match(resumed.outcome, /^done/, 'a person goes on with it');
    t.match((await app.look({ configProblems: [] })).interrupted, []);
  });
});
