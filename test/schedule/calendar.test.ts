/** Calendars: in words and as cron, against another cron where clocks stand still, and by hand where they change. */
import { Cron } from 'croner';
import fc from 'fast-check';
import t from 'tap';
import { type Calendar, calendarText, cronOf } from '../../src/domain/calendar.ts';
import type { JobSettings } from '../../src/domain/settings.ts';
import { startable } from '../../src/schedule/choose.ts';
import { due, longestInterval, nextDue } from '../../src/schedule/due.ts';
import { slotsAfter } from '../../src/schedule/slots.ts';

const calendar = (words: string, timeZone = 'UTC'): Calendar => ({
  words,
  timeZone,
  cron: cronOf(words) ?? 'never',
});

function slots(words: string, timeZone: string, from: string, until: string): string[] {
  const found: string[] = [];
  for (const moment of slotsAfter(calendar(words, timeZone), Date.parse(from) - 1)) {
    if (moment >= Date.parse(until)) break;
    found.push(new Date(moment).toISOString().slice(0, 16));
  }
  return found;
}

t.test('words mean what they say', async (t) => {
  const meanings: Readonly<Record<string, string | null>> = {
    never: null,
    'every 15min': '*/15 * * * *',
    'Every 4 h': '0 */4 * * *',
    'every 1h': '0 * * * *',
    hourly: '0 * * * *',
    'hourly at :20': '20 * * * *',
    daily: '0 4 * * *',
    'daily at 02:30': '30 2 * * *',
    weekly: '0 4 * * SUN',
    'weekly on Monday, Thursday at 7:05': '5 7 * * MON,THU',
    'weekly on mon and fri at 07:05': '5 7 * * MON,FRI',
    monthly: '0 4 1 * *',
    'monthly on day 15 at 22:00': '0 22 15 * *',
    'monthly on the 2nd': '0 4 2 * *',
    'monthly on the last day at 23:45': '45 23 L * *',
    'monthly on the first Tuesday at 14:00': '0 14 * * TUE#1',
    'monthly on the last Friday': '0 4 * * FRI#L',
    '30 2 * * 1-5': '30 2 * * 1-5',
  };
  for (const [words, cron] of Object.entries(meanings)) t.equal(cronOf(words), cron, words);
  const wrong = [
    'every 7min',
    'every day',
    'daily at 25:00',
    'daily at noon',
    'weekly on Caturday',
    'monthly on day 32',
    'monthly when it rains',
    'hourly at :75',
    '61 * * * *',
    '* * * *',
    '0 0 30 2 *',
    '*/0 * * * *',
    '5-1 * * * *',
    '0 0 * * TUE#6',
    'soon',
    '',
  ];
  for (const words of wrong) t.throws(() => cronOf(words), RangeError, JSON.stringify(words));
  t.equal(calendarText(calendar('daily', 'Europe/Zurich')), 'daily at 04:00 (Europe/Zurich)');
  t.equal(calendarText(calendar('every 15min', 'Europe/Zurich')), 'every 15min');
});

t.test('where clocks stand still, another cron says the same', async (t) => {
  const number = (from: number, to: number): fc.Arbitrary<string> =>
    fc.oneof(
      fc.constant('*'),
      fc.integer({ min: from, max: to }).map(String),
      fc
        .tuple(fc.integer({ min: from, max: to }), fc.integer({ min: from, max: to }))
        .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
      fc.integer({ min: 2, max: to }).map((step) => `*/${step}`),
      fc
        .array(fc.integer({ min: from, max: to }), { minLength: 2, maxLength: 3 })
        .map((list) => list.join(',')),
    );
  const weekDay = fc.oneof(
    fc.constant('*'),
    fc.constantFrom('MON', 'SUN', '1-5', '0', '7', 'TUE#1', 'FRI#L', 'WED#3,SAT', 'MON,THU'),
  );
  const monthDay = fc.oneof(fc.constant('*'), fc.constant('L'), fc.integer({ min: 1, max: 28 }).map(String));
  fc.assert(
    fc.property(
      fc.tuple(number(0, 59), number(0, 23), monthDay, number(1, 12), weekDay),
      fc.date({ min: new Date('2024-01-01'), max: new Date('2032-01-01'), noInvalidDate: true }),
      (fields, from) => {
        const cron = fields.join(' ');
        const theirs = new Cron(cron, { timezone: 'UTC' }).nextRuns(5, from).map((date) => date.getTime());
        const ours: number[] = [];
        for (const moment of slotsAfter(calendar(cron), from.getTime())) {
          if (ours.length === theirs.length) break;
          ours.push(moment);
        }
        if (JSON.stringify(ours) !== JSON.stringify(theirs))
          throw new Error(`${cron} from ${from.toISOString()}: ${ours} and ${theirs}`);
      },
    ),
    { numRuns: 300, seed: 7 },
  );
  t.pass('300 calendars');
});

t.test('where clocks change, nothing is lost and nothing is done twice', async (t) => {
  const paris = 'Europe/Paris';
  const spring = ['2026-03-28T23:00Z', '2026-03-29T22:00Z'] as const;
  const autumn = ['2026-10-24T22:00Z', '2026-10-25T23:00Z'] as const;
  t.same(
    slots('30 2 * * *', paris, ...spring),
    ['2026-03-29T01:00'],
    'left out: when the clocks have jumped',
  );
  t.same(slots('30 2 * * *', paris, ...autumn), ['2026-10-25T00:30'], 'shown twice: the first time');
  t.equal(slots('*/15 * * * *', paris, ...spring).length, 23 * 4, 'a day of 23 hours');
  t.equal(slots('*/15 * * * *', paris, ...autumn).length, 25 * 4, 'a day of 25 hours');
  t.same(slots('0 2,3 * * *', paris, ...spring), ['2026-03-29T01:00'], 'two that fall together are one');
  t.same(
    slots('0 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00Z', '2026-10-04T12:00Z'),
    ['2026-10-03T15:30'],
    'half an hour is left out on Lord Howe Island',
  );
  t.same(
    slots('0 12 * * *', 'Pacific/Apia', '2011-12-29T00:00Z', '2011-12-31T12:00Z'),
    ['2011-12-29T22:00', '2011-12-30T10:00', '2011-12-30T22:00'],
    'a day that Samoa left out',
  );
  t.same(slots('0 0 29 2 *', 'UTC', '2026-01-01T00:00Z', '2033-01-01T00:00Z'), [
    '2028-02-29T00:00',
    '2032-02-29T00:00',
  ]);
  const now = '2026-03-20T00:00:00.000Z';
  t.equal(longestInterval(calendar('daily at 02:30', paris), now), 86_400, 'a day');
  t.equal(longestInterval(calendar('*/15 8-18 * * 1-5', paris), now), (13 * 60 + 15 + 48 * 60) * 60);
});

t.test('a turn is due after its share of the spread, and only wanted late where it may be', async (t) => {
  const job = (group: string, changes: Partial<JobSettings> = {}): JobSettings => ({
    job: 'drill',
    group,
    calendar: calendar('daily at 12:00'),
    catchUp: true,
    ...changes,
  });
  const groups = Array.from({ length: 50 }, (_, index) => `group-${index}`);
  const before = { calendar: `${cronOf('daily at 12:00')} UTC`, until: '2026-05-01T11:00:00.000Z' };
  const answered = new Map(groups.map((group) => [`drill ${group}`, before]));
  const jobs = groups.map((group) => job(group));
  t.same(due(jobs, answered, '2026-05-01T11:59:59.000Z', 60).turns, [], 'nothing before its time');
  const early = due(jobs, answered, '2026-05-01T12:00:20.000Z', 60).turns.length;
  t.ok(early > 5 && early < 45, `${early} of 50 after a third of the spread`);
  t.equal(due(jobs, answered, '2026-05-01T12:01:00.000Z', 60).turns.length, 50, 'all after the spread');
  const [first] = jobs;
  if (first === undefined) throw new Error('there are jobs');
  const next = nextDue(first, before, '2026-05-01T11:30:00.000Z', 60) ?? '';
  t.same(
    due([first], answered, next, 60).turns.map(({ dueAt }) => dueAt),
    [next],
    'due when it was told to be due',
  );
  const [late] = due([job('group-0', { catchUp: false })], answered, '2026-05-01T13:00:00.000Z', 0).turns;
  t.match(late, { madeUp: true, wanted: false }, 'an hour late is too late where nothing is made up');
  const limits = { perPool: 2, sitesOf: () => ['one'] };
  const turns = due(jobs, answered, '2026-05-01T12:01:00.000Z', 60).turns;
  t.equal(startable(turns, [], limits).length, 2, 'two of a pool');
  t.equal(startable(turns, [{ job: 'export', group: 'elsewhere' }], limits).length, 1, 'beside another one');
  t.same(
    startable(turns.slice(0, 1), [{ job: 'export', group: turns[0]?.group ?? '' }], {
      ...limits,
      perPool: 9,
    }),
    [],
    'never two of a group',
  );
});
