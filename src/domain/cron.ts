/**
 * Cron expressions of five fields as sets of numbers: minute, hour, day of month, month, day of week. Names of months and
 * days, ranges, steps and lists; `L` for the last day of a month, `TUE#1` and `FRI#L` for the first Tuesday and the last
 * Friday. Day of month and day of week are alternatives when both are restricted, as in Vixie's cron.
 */
export interface Cron {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly months: readonly number[];
  /** Null when any day of the month will do. */
  readonly monthDays: readonly number[] | null;
  readonly lastMonthDay: boolean;
  /** Null when any day of the week will do; 0 is Sunday. */
  readonly weekDays: readonly WeekDay[] | null;
  /** Whether it runs in every hour: then a repeated hour is one hour more, and not the same again. */
  readonly everyHour: boolean;
}

export interface WeekDay {
  readonly day: number;
  /** Every one of the month, the n-th, or the last. */
  readonly nth: 'every' | 'last' | number;
}

export const dayNames = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'] as const;
const monthNames = [
  'JAN',
  'FEB',
  'MAR',
  'APR',
  'MAY',
  'JUN',
  'JUL',
  'AUG',
  'SEP',
  'OCT',
  'NOV',
  'DEC',
] as const;

interface Field {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly names?: readonly string[];
}

const minute: Field = { name: 'minute', from: 0, to: 59 };
const hour: Field = { name: 'hour', from: 0, to: 23 };
const monthDay: Field = { name: 'day of the month', from: 1, to: 31 };
const month: Field = { name: 'month', from: 1, to: 12, names: monthNames };
const weekDay: Field = { name: 'day of the week', from: 0, to: 7, names: dayNames };

/** Throws `RangeError` with a sentence for people when the text is no expression, or one that names no day at all. */
export function parseCron(text: string): Cron {
  const fields = text.trim().toUpperCase().split(/\s+/);
  const [minutes = '', hours = '', days = '', months = '', weekDays = ''] = fields;
  if (fields.length !== 5)
    throw new RangeError(
      `a cron expression has five fields (minute hour day month weekday), and this has ${fields.length}`,
    );
  const named = days.split(',');
  const numbered = named.filter((item) => item !== 'L');
  const cron: Cron = {
    minutes: numbersOf(minutes, minute),
    hours: numbersOf(hours, hour),
    months: numbersOf(months, month),
    monthDays: isAny(days) ? null : numbered.length === 0 ? [] : numbersOf(numbered.join(','), monthDay),
    lastMonthDay: named.includes('L'),
    weekDays: isAny(weekDays) ? null : weekDaysOf(weekDays),
    everyHour: numbersOf(hours, hour).length === 24,
  };
  if (!canComeTrue(cron)) throw new RangeError('there is no such day in any year');
  return cron;
}

function isAny(field: string): boolean {
  return field === '*' || field === '?';
}

function weekDaysOf(text: string): WeekDay[] {
  return text.split(',').flatMap((item): WeekDay[] => {
    const [, name, which] = /^([^#]+)#(.*)$/.exec(item) ?? [];
    if (name === undefined || which === undefined)
      return numbersOf(item, weekDay).map((day) => ({ day: day % 7, nth: 'every' }));
    const nth = which === 'L' ? 'last' : /^[1-5]$/.test(which) ? Number(which) : null;
    if (nth === null)
      throw new RangeError(`behind # stands which one of the month, 1 to 5 or L, not ${quoted(which)}`);
    return [{ day: numberOf(name, weekDay) % 7, nth }];
  });
}

/** In order, each once. */
function numbersOf(text: string, field: Field): number[] {
  const found = new Set<number>();
  for (const item of text.split(',')) {
    const [range = '', step, ...more] = item.split('/');
    if (more.length > 0) throw notIn(item, field);
    const every = step === undefined ? 1 : Number(step);
    if (step !== undefined && (!/^\d+$/.test(step) || every < 1 || every > field.to))
      throw new RangeError(
        `a step of the ${field.name} is a number from 1 to ${field.to}, not ${quoted(step)}`,
      );
    const [from, to] = boundsOf(range, field, step !== undefined);
    if (from > to) throw new RangeError(`the range ${quoted(range)} of the ${field.name} goes backwards`);
    for (let number = from; number <= to; number += every) found.add(number);
  }
  return [...found].sort((a, b) => a - b);
}

function boundsOf(range: string, field: Field, stepped: boolean): [number, number] {
  if (isAny(range)) return [field.from, field.to];
  const [first = '', last, ...more] = range.split('-');
  if (more.length > 0) throw notIn(range, field);
  const from = numberOf(first, field);
  // `5/20` counts from 5 to the end, as everywhere.
  return [from, last === undefined ? (stepped ? field.to : from) : numberOf(last, field)];
}

function numberOf(text: string, field: Field): number {
  const named = field.names?.indexOf(text) ?? -1;
  if (named >= 0) return named + field.from;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= field.from && number <= field.to) return number;
  throw notIn(text, field);
}

function notIn(text: string, { name, from, to }: Field): RangeError {
  return new RangeError(`${quoted(text)} is no ${name} (${from} to ${to})`);
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

/** In a leap year, so that the 29th of February counts. */
const longestMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function canComeTrue({ months, monthDays, lastMonthDay, weekDays }: Cron): boolean {
  if (monthDays === null || weekDays !== null || lastMonthDay) return true;
  return months.some((number) => monthDays.some((day) => day <= (longestMonths[number - 1] ?? 0)));
}
