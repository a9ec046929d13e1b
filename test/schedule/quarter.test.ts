/** A quarter of a year on a driven clock: what the ledger says was due, done, missed and made up, against a model. */
import fc from 'fast-check';
import t from 'tap';
import { cronOf } from '../../src/domain/calendar.ts';
import type { JobKind } from '../../src/domain/jobs.ts';
import type { JobSettings } from '../../src/domain/settings.ts';
import { shop } from '../support/two-sites.ts';
import { DrivenDaemons } from './driven.ts';
import { type Day, Model, type ModelJob, stepMilliseconds } from './model.ts';

// Nine seconds by itself; many times that on a busy machine.
t.setTimeout(240_000);

const everyDay = (): boolean => true;
const onSunday = ({ weekDay }: Day): boolean => weekDay === 0;

interface Job extends ModelJob {
  readonly job: JobKind;
  readonly words: string;
}

/** Sydney changes its clocks forward, Berlin and New York change theirs back, all within this quarter. */
const jobs: readonly Job[] = [
  {
    ...{ job: 'export', group: 'berlin', timeZone: 'Europe/Berlin', steps: 1 },
    words: 'every 30min',
    rule: { rule: 'minutes', minutes: [0, 30] },
  },
  {
    ...{ job: 'verify', group: 'berlin', timeZone: 'Europe/Berlin', steps: 2 },
    words: 'hourly at :20',
    rule: { rule: 'minutes', minutes: [20] },
  },
  {
    ...{ job: 'drill', group: 'berlin', timeZone: 'Europe/Berlin', steps: 5 },
    words: 'monthly on the first Tuesday at 14:00',
    rule: { rule: 'times', times: ['14:00'], on: ({ weekDay, day }) => weekDay === 2 && day <= 7 },
  },
  {
    ...{ job: 'catalog-check', group: 'berlin', timeZone: 'Europe/Berlin', steps: 3 },
    words: 'daily at 02:30',
    rule: { rule: 'times', times: ['02:30'], on: everyDay },
  },
  {
    ...{ job: 'report', group: 'berlin', timeZone: 'Europe/Berlin', steps: 1 },
    words: 'weekly at 02:30',
    rule: { rule: 'times', times: ['02:30'], on: onSunday },
  },
  {
    ...{ job: 'export', group: 'sydney', timeZone: 'Australia/Sydney', steps: 1 },
    words: '10,40 * * * *',
    rule: { rule: 'minutes', minutes: [10, 40] },
  },
  {
    ...{ job: 'verify', group: 'sydney', timeZone: 'Australia/Sydney', steps: 2 },
    words: 'every 4h',
    rule: { rule: 'times', times: ['00:00', '04:00', '08:00', '12:00', '16:00', '20:00'], on: everyDay },
  },
  {
    ...{ job: 'drill', group: 'sydney', timeZone: 'Australia/Sydney', steps: 5 },
    words: 'weekly on Sunday at 02:20',
    rule: { rule: 'times', times: ['02:20'], on: onSunday },
  },
  {
    ...{ job: 'catalog-check', group: 'sydney', timeZone: 'America/New_York', steps: 3 },
    words: 'daily at 01:30',
    rule: { rule: 'times', times: ['01:30'], on: everyDay },
  },
  {
    ...{ job: 'report', group: 'sydney', timeZone: 'Australia/Sydney', steps: 1 },
    words: 'monthly on the last day at 23:40',
    rule: { rule: 'times', times: ['23:40'], on: ({ day, daysInMonth }) => day === daysInMonth },
  },
];

type Happening =
  | { readonly at: number; readonly happens: 'kill' | 'terminate'; readonly downSteps: number }
  | { readonly at: number; readonly happens: 'set-clock'; readonly seconds: number };

interface Told {
  readonly what: string;
  readonly slot: string;
  readonly startedAt: string;
  readonly missed: number;
  readonly madeUp: boolean;
  readonly outcome: string;
}

async function live(
  start: number,
  steps: number,
  happenings: readonly Happening[],
  isOutage: (moment: number) => boolean = () => false,
): Promise<{ readonly seen: Told[]; readonly expected: Told[]; readonly logged: readonly string[] }> {
  const groups = ['berlin', 'sydney'].map((name) => ({ ...shop, name }));
  const until = start + (steps + 2 * 144) * stepMilliseconds;
  const model = new Model(jobs, 1, { from: start - 2 * 86_400_000, until, isOutage });
  const daemons = new DrivenDaemons({
    settings: DrivenDaemons.settings(
      {
        watchEverySeconds: 10_000_000,
        jobsPerPool: 1,
        spreadSeconds: 0,
        finishWithinSeconds: 60,
        keepJournalsSeconds: 86_400,
        reportsDirectory: 'reports',
        jobs: jobs.map(settingsOf),
      },
      groups,
    ),
    start,
    isOutage,
    secondsOf: ({ job, group }) =>
      (jobs.find((other) => other.job === job && other.group === group)?.steps ?? 0) * 600,
  });
  let downUntil: number | null = null;
  await daemons.start();
  model.restart();
  model.beat(0, daemons.now);
  for (let step = 1; step <= steps; step += 1) {
    for (const happening of happenings.filter(({ at }) => at === step)) {
      if (happening.happens === 'set-clock') daemons.setClock(happening.seconds);
      else if (downUntil === null) {
        await (happening.happens === 'kill' ? daemons.kill() : daemons.terminate());
        model.die();
        downUntil = step + happening.downSteps;
      }
    }
    await daemons.step(600);
    if (downUntil === null) model.beat(step, daemons.now);
    else if (step >= downUntil) {
      downUntil = null;
      await daemons.start();
      model.restart();
      model.beat(step, daemons.now);
    }
  }
  const turns = await daemons.turns();
  await daemons.kill();
  return {
    seen: turns.map(({ job, group, outcome, slot, startedAt, missed, madeUp }) => ({
      what: `${job} of ${group}`,
      ...{ slot, startedAt, missed, madeUp },
      outcome: outcome ?? 'open',
    })),
    expected: model.turns.map(({ job, group, slot, startedAt, missed, madeUp, outcome }) => ({
      what: `${job} of ${group}`,
      slot: new Date(slot).toISOString(),
      startedAt: new Date(startedAt).toISOString(),
      ...{ missed, madeUp, outcome },
    })),
    logged: daemons.logged,
  };
}

function settingsOf({ job, group, words, timeZone }: Job): JobSettings {
  const cron = cronOf(words);
  if (cron === null) throw new Error(`${words} is never`);
  return { job, group, calendar: { words, cron, timeZone }, catchUp: true };
}

const stepsPerDay = 144;
const stepAt = (start: string, at: string): number =>
  Math.round((Date.parse(at) - Date.parse(start)) / stepMilliseconds);

t.test('the ledger of a quarter is exact', async (t) => {
  t.setTimeout(240_000);
  const start = '2026-09-01T00:00:00.000Z';
  const at = (moment: string): number => stepAt(start, moment);
  const happenings: Happening[] = [
    { at: at('2026-09-09T03:10:00Z'), happens: 'kill', downSteps: 37 },
    // In the middle of the drill of Berlin, and of that of Sydney.
    { at: at('2026-09-01T12:20:00Z'), happens: 'kill', downSteps: 2 },
    { at: at('2026-09-12T16:30:00Z'), happens: 'terminate', downSteps: 6 },
    // Over the hour that is left out in Sydney, and over the one that is shown twice in Berlin.
    { at: at('2026-10-03T15:00:00Z'), happens: 'terminate', downSteps: 10 },
    { at: at('2026-10-24T23:30:00Z'), happens: 'kill', downSteps: 9 },
    // Two days of silence, over a drill.
    { at: at('2026-10-05T10:00:00Z'), happens: 'kill', downSteps: 2 * stepsPerDay },
    // A clock that was wrong for a night, one that was set back a little, and one that was years ahead for a moment.
    { at: at('2026-11-10T20:00:00Z'), happens: 'set-clock', seconds: 3 * 3600 },
    { at: at('2026-11-11T05:00:00Z'), happens: 'set-clock', seconds: -3 * 3600 },
    { at: at('2026-11-15T10:00:00Z'), happens: 'set-clock', seconds: -600 },
  ];
  // Sites that do not answer, over an evening and over the change of the clocks in Sydney, where the daemon is away in part.
  const outages = [
    ['2026-09-20T17:00:00Z', '2026-09-21T02:00:00Z'],
    ['2026-10-03T12:00:00Z', '2026-10-04T12:00:00Z'],
  ].map((outage) => outage.map((moment) => Date.parse(moment)));
  const isOutage = (moment: number): boolean =>
    outages.some(([from = 0, until = 0]) => moment >= from && moment < until);
  const { seen, expected, logged } = await live(Date.parse(start), 91 * stepsPerDay, happenings, isOutage);
  t.equal(seen.length, expected.length, 'as many turns');
  const wrong = expected.flatMap((turn, index) =>
    JSON.stringify(turn) === JSON.stringify(seen[index]) ? [] : [{ expected: turn, seen: seen[index] }],
  );
  t.same(wrong.slice(0, 3), [], 'each turn as the model has it');
  const of = (what: string, from: string, until: string): Told[] =>
    seen.filter((turn) => turn.what === what && turn.slot >= from && turn.slot < until);
  t.ok(seen.length > 9000, `${seen.length} turns`);
  t.equal(
    of('drill of sydney', '2026-10-03T12:00', '2026-10-04T12:00').length,
    1,
    'the drill of the hour that is left out is held once',
  );
  t.equal(
    of('catalog-check of sydney', '2026-11-01T05:00', '2026-11-01T07:00').length,
    1,
    'what is shown twice is done once',
  );
  t.ok(
    seen.some(({ missed }) => missed > 90),
    'two days of silence are made up for once',
  );
  t.ok(
    seen.some(({ outcome }) => outcome === 'interrupted'),
    'what a kill broke off is told',
  );
  const failed = seen.filter(({ outcome }) => outcome === 'failed');
  t.ok(failed.length > 80, `${failed.length} turns failed with the sites, and none of them is done twice`);
  t.ok(
    logged.some((line) => line.includes('the clock was set back')),
    'a clock that was set back is told',
  );
  t.notOk(
    logged.some((line) => line.startsWith('error') && !/looked at|: failed after/.test(line)),
    'nothing else failed',
  );
});

t.test('whatever happens to the daemon and to its clock', async (t) => {
  t.setTimeout(240_000);
  const happening: fc.Arbitrary<Happening> = fc.oneof(
    fc.record({
      at: fc.integer({ min: 1, max: 3 * stepsPerDay }),
      happens: fc.constantFrom('kill' as const, 'terminate' as const),
      downSteps: fc.integer({ min: 1, max: stepsPerDay }),
    }),
    fc.record({
      at: fc.integer({ min: 1, max: 3 * stepsPerDay }),
      happens: fc.constant('set-clock' as const),
      // Whole steps: the model looks at the clocks no oftener.
      seconds: fc.integer({ min: -100, max: 100 }).map((steps) => steps * 600),
    }),
  );
  const starts = ['2026-10-02T00:00:00.000Z', '2026-10-23T00:00:00.000Z', '2026-10-30T00:00:00.000Z'];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...starts),
      fc.array(happening, { maxLength: 6 }),
      async (start, happenings) => {
        const { seen, expected } = await live(Date.parse(start), 3 * stepsPerDay, happenings);
        t.same(seen, expected);
        if (JSON.stringify(seen) !== JSON.stringify(expected)) throw new Error('the ledger is not exact');
      },
    ),
    { numRuns: 10, seed: 20_261_025 },
  );
});
