/**
 * The moments of a calendar. Days and minutes are counted on a wall without changes of clocks, and each wall time is
 * then looked up in its zone. A time that is left out in spring falls due when the clocks have jumped, and one that is
 * shown twice in autumn falls due the first time. A calendar of every hour keeps its distances instead: an hour that is
 * left out was none, and one that is shown twice is two.
 */
import type { Calendar } from '../domain/calendar.ts';
import { type Cron, parseCron } from '../domain/cron.ts';
import { changeOver, farMilliseconds, momentsOf, offsetThroughout } from './zone.ts';

const minuteMilliseconds = 60_000;
const dayMilliseconds = 86_400_000;
/** A 29th of February on a given weekday comes back after 40 years at the latest: 2100 is no leap year. */
const furthestDays = 41 * 366;

/** Moments after `after`, in milliseconds, in order, each once. */
export function* slotsAfter(calendar: Calendar, after: number): Generator<number, void, undefined> {
  const days = daysOf(calendar);
  const today = Math.floor(after / dayMilliseconds);
  let newest = after;
  let waiting: readonly number[] = [];
  let waitingSince = 0;
  // From two days before: no zone is a day behind UTC, and clocks that are set back across midnight show its end again.
  for (let day = today - 2; day < today + furthestDays; day += 1) {
    const moments = momentsOfDay(calendar, days, day);
    const [first] = moments;
    if (first === undefined && day - waitingSince < 2) continue;
    const settled = first === undefined ? waiting : waiting.filter((moment) => moment < first);
    for (const moment of settled) {
      if (moment <= newest) continue;
      newest = moment;
      yield moment;
    }
    waiting = first === undefined ? [] : [...waiting.slice(settled.length), ...moments].sort((a, b) => a - b);
    waitingSince = day;
  }
}

/** The moments in `(after, until]`, the newest `most` of them at least, and how many there are; counted no further than `most`. */
export function slotsBetween(
  calendar: Calendar,
  after: number,
  until: number,
  most: number,
): { readonly newest: number | null; readonly oldest: number | null; readonly count: number } {
  let newest: number | null = null;
  let oldest: number | null = null;
  let count = 0;
  if (until <= after) return { newest, oldest, count };
  for (const moment of slotsAfter(calendar, after)) {
    if (moment > until) break;
    oldest ??= moment;
    newest = moment;
    count += 1;
    if (count >= most) break;
  }
  return { newest, oldest, count };
}

const parsed = new Map<string, Cron>();
const reckoned = new Map<string, Map<number, readonly number[]>>();
/** Of a calendar a quarter of a year, which is more than one tick asks for; of calendars more than anybody has. */
const daysAtMost = 100;
const calendarsAtMost = 100;

/** The days of a calendar that were reckoned before: a tick asks for the same ones as the tick before it. */
function daysOf({ cron, timeZone }: Calendar): Map<number, readonly number[]> {
  const key = `${cron} ${timeZone}`;
  const known = reckoned.get(key);
  if (known !== undefined) return known;
  if (reckoned.size >= calendarsAtMost) reckoned.clear();
  const days = new Map<number, readonly number[]>();
  reckoned.set(key, days);
  return days;
}

function momentsOfDay(
  calendar: Calendar,
  days: Map<number, readonly number[]>,
  day: number,
): readonly number[] {
  const known = days.get(day);
  if (known !== undefined) return known;
  if (days.size >= daysAtMost) days.clear();
  const moments = reckon(calendar, day);
  days.set(day, moments);
  return moments;
}

function reckon({ cron: text, timeZone }: Calendar, day: number): readonly number[] {
  const cron = parsed.get(text) ?? parseCron(text);
  parsed.set(text, cron);
  if (!fallsOn(cron, day)) return [];
  const midnight = day * dayMilliseconds;
  const walls = cron.hours.flatMap((hour) =>
    cron.minutes.map((minute) => midnight + (hour * 60 + minute) * minuteMilliseconds),
  );
  const offset = offsetThroughout(
    midnight - farMilliseconds,
    midnight + dayMilliseconds + farMilliseconds,
    timeZone,
  );
  if (offset !== null) return walls.map((wall) => wall - offset);
  const moments = walls.flatMap((wall) => {
    const shown = momentsOf(wall, timeZone);
    if (cron.everyHour) return shown;
    return [shown[0] ?? changeOver(wall, timeZone)];
  });
  return moments.sort((a, b) => a - b);
}

/** `day` counts from 1970-01-01, a Thursday. */
function fallsOn({ months, monthDays, lastMonthDay, weekDays }: Cron, day: number): boolean {
  const date = new Date(day * dayMilliseconds);
  const number = date.getUTCDate();
  const daysInMonth = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  if (!months.includes(date.getUTCMonth() + 1)) return false;
  const byNumber = monthDays?.includes(number) === true || (lastMonthDay && number === daysInMonth);
  const byName = weekDays?.some(
    ({ day: weekDay, nth }) =>
      weekDay === date.getUTCDay() &&
      (nth === 'every' || (nth === 'last' ? number > daysInMonth - 7 : Math.ceil(number / 7) === nth)),
  );
  if (monthDays === null && weekDays === null) return true;
  return (monthDays !== null && byNumber) || byName === true;
}
