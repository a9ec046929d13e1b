/** Alarms over time: told once, reminded by the interval, told once when over; whatever the clock does meanwhile. */
import fc from 'fast-check';
import t from 'tap';
import type { Alarm, AlarmNews, Condition, Severity } from '../../src/domain/alarm.ts';
import { addSeconds, type Instant, secondsBetween } from '../../src/domain/time.ts';
import { type AlarmRules, type Assessment, stepAlarms } from '../../src/watch/alarms.ts';
import { now as start } from '../support/two-sites.ts';

const rules: AlarmRules = { remindSeconds: { critical: 3600, warning: 86_400 }, settleSeconds: 300 };

function condition(key: string, severity: Severity = 'warning', what = `${key} is wrong`): Condition {
  return { key, kind: 'rpo', severity, groups: ['shop'], what, evidence: [], next: 'Mend it.' };
}

function assessment(
  conditions: readonly Condition[],
  more: { readonly unknown?: readonly string[]; readonly covered?: readonly string[] } = {},
): Assessment {
  return { conditions, unknown: new Set(more.unknown), covered: new Set(more.covered) };
}

/** Plays looks one after the other; returns what was told at each, as `event key`. */
class Story {
  open: readonly Alarm[] = [];
  at: Instant = start;
  readonly told: AlarmNews[] = [];

  look(seconds: number, seen: Assessment, how: AlarmRules = rules): string[] {
    this.at = addSeconds(this.at, seconds);
    const step = stepAlarms(this.open, seen, this.at, how);
    this.open = step.alarms.filter(({ closedAt }) => closedAt === null);
    this.told.push(...step.news);
    return step.news.map(({ event, alarm }) => `${event} ${alarm.key}`);
  }
}

t.test('an alarm is told once, reminded by its interval, and told once when it is over', (t) => {
  const story = new Story();
  const broken = assessment([condition('rpo:shop', 'critical')]);
  t.strictSame(story.look(0, broken), ['raised rpo:shop']);
  t.strictSame(story.look(60, broken), []);
  t.strictSame(story.look(3500, broken), []);
  t.strictSame(story.look(40, broken), ['reminded rpo:shop']);
  t.strictSame(story.look(60, assessment([])), [], 'it has to stay over for a while');
  t.strictSame(story.look(60, broken), [], 'what flutters is not told anew');
  t.strictSame(story.look(60, assessment([])), []);
  t.strictSame(story.look(300, assessment([])), ['closed rpo:shop']);
  t.strictSame(story.look(60, assessment([])), []);
  t.strictSame(story.look(60, broken), ['raised rpo:shop'], 'the same trouble later is another alarm');
  const [first, , , second] = story.told.map(({ alarm }) => alarm.id);
  t.not(first, second);
  t.end();
});

t.test('what gets worse is told at once, and never becomes milder while it lasts', (t) => {
  const story = new Story();
  story.look(0, assessment([condition('export:shop', 'warning')]));
  t.strictSame(story.look(60, assessment([condition('export:shop', 'critical')])), ['worsened export:shop']);
  t.strictSame(story.look(60, assessment([condition('export:shop', 'warning')])), []);
  t.equal(story.open[0]?.severity, 'critical', 'who heard of something critical hears of its end');
  t.end();
});

t.test('what cannot be seen neither begins nor ends', (t) => {
  const story = new Story();
  t.strictSame(story.look(0, assessment([], { unknown: ['rpo:shop'] })), []);
  story.look(0, assessment([condition('rpo:shop')]));
  t.strictSame(story.look(1000, assessment([], { unknown: ['rpo:shop'] })), []);
  t.strictSame(story.look(86_400, assessment([], { unknown: ['rpo:shop'] })), ['reminded rpo:shop']);
  t.equal(story.open.length, 1);
  t.end();
});

t.test('what follows from another alarm is told with that one, and by itself when it alone is left', (t) => {
  const story = new Story();
  const both = assessment([condition('site:osaka', 'critical'), condition('rpo:shop')], {
    covered: ['rpo:shop'],
  });
  t.strictSame(story.look(0, both), ['raised site:osaka']);
  t.strictSame(story.look(60, both), []);
  t.strictSame(story.look(60, assessment([condition('rpo:shop')])), ['raised rpo:shop']);
  t.strictSame(story.look(300, assessment([condition('rpo:shop')])), ['closed site:osaka']);
  t.end();
});

t.test('a clock that is set back holds up neither reminders nor ends', (t) => {
  const story = new Story();
  const broken = assessment([condition('rpo:shop', 'critical')]);
  story.look(0, broken);
  t.strictSame(story.look(-10 * 86_400, broken), []);
  t.strictSame(story.look(3600, broken), ['reminded rpo:shop']);
  story.look(60, assessment([]));
  t.strictSame(story.look(-86_400, assessment([])), []);
  t.strictSame(story.look(300, assessment([])), ['closed rpo:shop']);
  t.end();
});

const keys = ['site:osaka', 'rpo:shop', 'rpo:payroll'] as const;
const state = fc.constantFrom('wrong', 'worse', 'right', 'unknown', 'covered');
const looks = fc.array(
  fc.record({ seconds: fc.integer({ min: -2000, max: 6000 }), states: fc.tuple(state, state, state) }),
  { minLength: 1, maxLength: 60 },
);

t.test('property: each alarm is told once, reminded by its interval, and closed once', (t) => {
  fc.assert(
    fc.property(looks, (played) => {
      const story = new Story();
      let current = start;
      for (const { seconds, states } of played) {
        const conditions = keys.flatMap((key, index) => {
          const how = states[index];
          return how === 'right' || how === 'unknown'
            ? []
            : [condition(key, how === 'worse' ? 'critical' : 'warning')];
        });
        const those = (how: string): string[] => keys.filter((_, index) => states[index] === how);
        const before = story.open;
        const told = story.look(
          seconds,
          assessment(conditions, { unknown: those('unknown'), covered: those('covered') }),
        );
        current = story.at;
        // Never two open alarms of one key, and never two messages about one alarm at once.
        if (new Set(story.open.map(({ key }) => key)).size !== story.open.length) return false;
        if (new Set(told.map((line) => line.split(' ')[1])).size !== told.length) return false;
        for (const [index, key] of keys.entries()) {
          const how = states[index];
          const was = before.find((alarm) => alarm.key === key);
          const line = told.find((each) => each.endsWith(` ${key}`))?.split(' ')[0];
          if (was === undefined) {
            if ((line === 'raised') !== (how === 'wrong' || how === 'worse')) return false;
            if (line !== undefined && line !== 'raised') return false;
          } else {
            if (line === 'raised') return false;
            if (line === 'closed' && how !== 'right') return false;
            if (how === 'covered' && line !== undefined) return false;
            if (line === 'worsened' && (how !== 'worse' || was.severity === 'critical')) return false;
            const quiet = secondsBetween(was.toldAt > current ? current : was.toldAt, current);
            const severity = how === 'worse' ? 'critical' : was.severity;
            const lasts = how === 'wrong' || how === 'worse' || how === 'unknown';
            if (line === 'reminded' && !(lasts && quiet >= rules.remindSeconds[severity])) return false;
            if (line === undefined && lasts && quiet >= rules.remindSeconds[severity]) return false;
          }
        }
      }
      const byAlarm = Map.groupBy(story.told, ({ alarm }) => alarm.id);
      return [...byAlarm.values()].every((news) => {
        const events = news.map(({ event }) => event);
        const count = (wanted: string): number => events.filter((event) => event === wanted).length;
        return (
          events[0] === 'raised' &&
          count('raised') === 1 &&
          count('worsened') <= 1 &&
          count('closed') <= 1 &&
          (count('closed') === 0 || events.at(-1) === 'closed')
        );
      });
    }),
    { numRuns: 400, seed: 20260321 },
  );
  t.end();
});

t.test('property: whatever has been over for long enough is closed', (t) => {
  fc.assert(
    fc.property(looks, (played) => {
      const story = new Story();
      for (const { seconds, states } of played)
        story.look(
          seconds,
          assessment(keys.filter((_, index) => states[index] !== 'right').map((key) => condition(key))),
        );
      story.look(1, assessment([]));
      story.look(rules.settleSeconds, assessment([]));
      return story.open.length === 0;
    }),
    { numRuns: 200, seed: 7 },
  );
  t.end();
});
