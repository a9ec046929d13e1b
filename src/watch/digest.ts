/** When the daily digest is due: once a day by the calendar of its zone, whatever the clock does in between. */
import type { Instant } from '../domain/time.ts';

/** The day in the zone, `YYYY-MM-DD`, and the time of day, `HH:MM`. */
export function wallClock(now: Instant, timeZone: string): { readonly day: string; readonly time: string } {
  const parts = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  }).formatToParts(new Date(now));
  const of = (type: Intl.DateTimeFormatPartTypes): string =>
    parts.find((part) => part.type === type)?.value ?? '';
  return { day: `${of('year')}-${of('month')}-${of('day')}`, time: `${of('hour')}:${of('minute')}` };
}

export interface DigestTurn {
  readonly due: boolean;
  /** What is remembered as the day of the newest digest. */
  readonly on: string | null;
}

/** The first look of all sends none: there is nothing yet to be summed up. A day that goes back sends no second one. */
export function digestTurn(
  settings: { readonly at: string; readonly timeZone: string } | null,
  digestOn: string | null,
  now: Instant,
): DigestTurn {
  if (settings === null) return { due: false, on: digestOn };
  const { day, time } = wallClock(now, settings.timeZone);
  if (digestOn === null) return { due: false, on: time >= settings.at ? day : dayBefore(day) };
  return day > digestOn && time >= settings.at ? { due: true, on: day } : { due: false, on: digestOn };
}

function dayBefore(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
}
