/** Turns of jobs on the lab: each kind as the daemon carries it out, a frozen group, and a drill that was broken off. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SqliteSchedule } from '../../src/adapters/state/sqlite-schedule.ts';
import type { App } from '../../src/app/app.ts';
import type { BegunTurn, EndedTurn } from '../../src/app/turns.ts';
import { cronOf } from '../../src/domain/calendar.ts';
import { type JobKind, jobKey } from '../../src/domain/jobs.ts';
import type { DaemonSettings, JobSettings } from '../../src/domain/settings.ts';
import { LabHouse } from '../check/lab-app.ts';

t.setTimeout(240_000);

/** Half a day away from now, so that no slot falls into the test. */
const words = `daily at ${String((new Date().getUTCHours() + 12) % 24).padStart(2, '0')}:30`;
const calendar = { words, cron: cronOf(words) ?? '', timeZone: 'UTC' };
const job = (kind: JobKind, group: string | null = 'shop', catchUp = true): JobSettings => ({
  job: kind,
  group,
  calendar,
  catchUp,
});

/** A daemon was last seen three days ago: everything is long due. */
async function longDue(stateDirectory: string, jobs: readonly JobSettings[]): Promise<void> {
  const ledger = new SqliteSchedule(join(stateDirectory, 'state.sqlite'));
  for (const { job: kind, group } of jobs)
    await ledger.anchor(
      { job: kind, group },
      { calendar: `${calendar.cron} UTC`, until: new Date(Date.now() - 3 * 86_400_000).toISOString() },
    );
  ledger.close();
}

t.test('each kind of job, as nobody looks', async (t) => {
  t.setTimeout(240_000);
  const house = await LabHouse.start(t);
  const { stateDirectory } = house.settings;
  const daemonOf = (...jobs: readonly JobSettings[]): { readonly daemon: DaemonSettings } => ({
    daemon: {
      watchEverySeconds: 300,
      jobsPerPool: 1,
      spreadSeconds: 0,
      finishWithinSeconds: 1,
      keepJournalsSeconds: 86_400,
      reportsDirectory: join(stateDirectory, 'reports'),
      jobs,
    },
  });
  const carryOut = (app: App, turn: BegunTurn): Promise<EndedTurn> =>
    app.schedules.carryOut(turn, { signal: new AbortController().signal });
  const only = async (app: App): Promise<BegunTurn> => {
    const { turns } = await app.schedules.begin([]);
    const [turn] = turns;
    if (turn === undefined || turns.length > 1) throw new Error(`${turns.length} turns were begun`);
    return turn;
  };

  const kinds = [job('export'), job('verify'), job('catalog-check'), job('report'), job('rehearsal', null)];
  await longDue(stateDirectory, kinds);
  await house.with(daemonOf(...kinds), async (app) => {
    const seen: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      const { turns, waiting } = await app.schedules.begin([]);
      t.equal(new Set(turns.map(({ group }) => group)).size, turns.length, 'one of a group at a time');
      t.equal(waiting, 3 - round, 'the others wait');
      for (const turn of turns) {
        t.match(turn, { madeUp: true, missed: 2 }, `${jobKey(turn)}: made up for once`);
        const { turn: end } = await carryOut(app, turn);
        t.ok(['done', 'warnings'].includes(end.outcome ?? '') || turn.job === 'rehearsal', end.summary ?? '');
        t.ok(end.outcome !== null && end.summary !== null, `${jobKey(turn)} came to an end`);
        seen.push(jobKey(turn));
        const file = /^written to (.*)$/.exec(end.summary ?? '')?.[1];
        if (turn.job === 'report')
          t.match(readFileSync(file ?? '', 'utf8'), /Group shop, production → recovery/);
      }
    }
    t.same(seen.sort(), kinds.map(jobKey).sort(), 'each of them once');
    t.same((await app.schedules.begin([])).turns, [], 'and no more');
    const tick = await app.look({ configProblems: [] });
    t.same(tick.interrupted, [], 'nothing waits for a person');
    t.equal(tick.jobs.length, kinds.length);
    t.ok(tick.jobs.every(({ last, intervalSeconds }) => last?.outcome && intervalSeconds === 86_400));

    await app.freeze('shop', { by: 'on-call engineer', reason: 'the array is being moved' });
  });

  await longDue(stateDirectory, kinds);
  await house.with(
    daemonOf(job('export'), job('catalog-check'), job('verify', 'shop', false)),
    async (app) => {
      const { turns, passed } = await app.schedules.begin([]);
      t.same(turns.map(jobKey), ['catalog-check shop'], 'of a frozen group the catalog alone is read');
      t.match(passed, [
        { job: 'export', outcome: 'skipped', summary: /frozen by on-call engineer/ },
        { job: 'verify' },
      ]);
      for (const turn of turns) await carryOut(app, turn);
      await app.unfreeze('shop', { by: 'on-call engineer', reason: 'it stands' });
    },
  );

  await longDue(stateDirectory, [job('drill')]);
  const drilling = daemonOf(job('drill'));
  const slow = await house.lab.faults.add({
    pool: 'recovery',
    method: 'VM.start',
    times: 'always',
    effect: { kind: 'delay', seconds: 3 },
  });
  await house.with(drilling, async (app) => {
    const stop = new AbortController();
    const turn = await only(app);
    const following: Promise<unknown>[] = [];
    const broken = await app.schedules.carryOut(turn, {
      signal: stop.signal,
      // Until its copies are there, and the first of them is being started.
      onRun: (run) =>
        following.push(
          app.runs.follow(run, {
            onEvent: (event) => {
              if (event.event === 'StepStarted' && /^start-/.test(event.step)) stop.abort();
            },
          }),
        ),
    });
    await Promise.all(following);
    t.match(
      broken,
      { leftOpen: true, turn: { outcome: null, run: /-drill-shop-/ } },
      'stopped in the middle',
    );
  });
  house.lab.faults.remove(slow);
  await house.with(drilling, async (app) => {
    const { turns, settled } = await app.schedules.takeUp();
    t.same(settled, []);
    const [turn] = turns;
    if (turn === undefined) throw new Error('the drill is not taken up');
    const { turn: end, run } = await carryOut(app, turn);
    t.match(end, { outcome: 'interrupted', summary: /was broken off .* what it had made was taken away/ });
    t.match(run?.plan.operation ?? 'drill-cleanup', 'drill-cleanup');
    const [state] = (await app.look({ configProblems: [] })).states;
    t.match(state, { drill: null, phase: 'protected' }, 'the group is as it was');
    t.same((await app.schedules.begin([])).turns, [], 'and the drill is not begun again');
    t.same((await app.schedules.takeUp()).turns, [], 'nothing is left open');
  });
  t.ok(existsSync(join(stateDirectory, 'reports', 'shop')));
});
