/**
 * When something is done: in words (`every 15min`, `daily at 02:30`, `monthly on the first Tuesday at 14:00`), or as a
 * cron expression; at the clocks of a time zone. `never` is no calendar.
 */
import { dayNames, parseCron } from './cron.ts';
import { parseDuration } from './time.ts';

export interface Calendar {
  /** As people wrote it. */
  readonly words: string;
  /** Five fields. */
  readonly cron: string;
  /** IANA name, such as `Europe/Zurich`. */
  readonly timeZone: string;
}

/** For words that name no time: after the night's backups, and outside the hour in which clocks are changed. */
const quietTime = { hour: 4, minute: 0, text: '04:00' };

const longNames = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const nths: Readonly<Record<string, string>> = {
  first: '1',
  second: '2',
  third: '3',
  fourth: '4',
  last: 'L',
};

/**
 * Cron expression of the words, null for `never`. Throws `RangeError` with a sentence for people when they mean nothing.
 */
export function cronOf(written: string): string | null {
  const words = written.trim().toLowerCase().replace(/\s+/g, ' ');
  if (words === 'never') return null;
  const cron = inWords(words) ?? written.trim();
  parseCron(cron);
  return cron;
}

/** Throws `RangeError` for a zone that does not exist. */
export function assertTimeZone(timeZone: string): void {
  new Intl.DateTimeFormat('en', { timeZone });
}

/** `daily at 02:30 (Europe/Zurich)`; a calendar that is the same in every zone tells none. */
export function calendarText({ words, timeZone }: Calendar): string {
  if (/^(every|hourly)/i.test(words)) return words;
  const untimed = /^(daily|weekly|monthly)/i.test(words) && !/(^| )at /i.test(words);
  return `${words}${untimed ? ` at ${quietTime.text}` : ''} (${timeZone})`;
}

function inWords(words: string): string | null {
  const [kind = ''] = words.split(' ');
  const rest = words.slice(kind.length).trim();
  switch (kind) {
    case 'every':
      return everySo(rest);
    case 'hourly':
      return `${hourlyMinute(rest)} * * * *`;
    case 'daily': {
      const { minute, hour } = timeOf(rest, 'daily');
      return `${minute} ${hour} * * *`;
    }
    case 'weekly': {
      const [days, time] = splitTime(rest);
      const { minute, hour } = timeOf(time, 'weekly on Monday, Thursday');
      return `${minute} ${hour} * * ${weekDays(days)}`;
    }
    case 'monthly': {
      const [day, time] = splitTime(rest);
      const { minute, hour } = timeOf(time, 'monthly on day 1');
      return `${minute} ${hour} ${monthDay(day)}`;
    }
    default:
      return null;
  }
}

function everySo(rest: string): string {
  const seconds = parseDuration(rest);
  const minutes = (seconds ?? 0) / 60;
  if (Number.isInteger(minutes) && minutes >= 1 && minutes < 60 && 60 % minutes === 0)
    return minutes === 1 ? '* * * * *' : `*/${minutes} * * * *`;
  const hours = minutes / 60;
  if (Number.isInteger(hours) && hours >= 1 && hours < 24 && 24 % hours === 0)
    return hours === 1 ? '0 * * * *' : `0 */${hours} * * *`;
  throw new RangeError(
    '`every` takes a part of an hour or of a day: 1, 2, 5, 10, 15, 20 or 30 min, 1, 2, 3, 4, 6, 8 or 12 h',
  );
}

function hourlyMinute(rest: string): number {
  if (rest === '') return 0;
  const minute = Number(/^at :(\d\d)$/.exec(rest)?.[1] ?? Number.NaN);
  if (minute < 60) return minute;
  throw new RangeError('`hourly` takes a minute as in `hourly at :20`');
}

/** What stands before `at`, and what stands behind it. */
function splitTime(rest: string): readonly [string, string] {
  const at = rest.search(/(^| )at /);
  return at < 0 ? [rest, ''] : [rest.slice(0, at).trim(), rest.slice(at).trim()];
}

function timeOf(rest: string, example: string): { readonly hour: number; readonly minute: number } {
  if (rest === '') return quietTime;
  const [, hour, minute] = /^at (\d{1,2}):(\d\d)$/.exec(rest) ?? [];
  if (hour !== undefined && Number(hour) < 24 && Number(minute) < 60)
    return { hour: Number(hour), minute: Number(minute) };
  throw new RangeError(`a time of the day is written as in \`${example} at 02:30\``);
}

function weekDays(days: string): string {
  if (days === '') return 'SUN';
  const named = days.replace(/^on /, '').split(/,? and |, ?/);
  return named.map(dayNamed).join(',');
}

function monthDay(day: string): string {
  if (day === '') return '1 * *';
  const number = /^on (?:day|the) (\d{1,2})(?:st|nd|rd|th)?$/.exec(day)?.[1];
  if (number !== undefined) return `${number} * *`;
  if (day === 'on the last day') return 'L * *';
  const [, nth, name] = /^on the (\w+) (\w+)$/.exec(day) ?? [];
  const which = nths[nth ?? ''];
  if (which !== undefined && name !== undefined) return `* * ${dayNamed(name)}#${which}`;
  throw new RangeError(
    '`monthly` takes a day as in `on day 15`, `on the last day` or `on the first Tuesday`',
  );
}

function dayNamed(name: string): string {
  const at = longNames.findIndex((long) => name.length >= 3 && long.startsWith(name.replace(/s$/, '')));
  const day = dayNames[at];
  if (day === undefined) throw new RangeError(`${JSON.stringify(name)} is no day of the week`);
  return day;
}
