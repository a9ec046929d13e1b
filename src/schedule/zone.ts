/**
 * Clocks on the wall and moments in time. A wall time is the number of milliseconds that UTC would show for the same
 * figures; where a zone changes its clocks, a wall time belongs to no moment, or to two.
 */
const hourMilliseconds = 3_600_000;
/** Further than any change of clocks reaches: a day was left out once, on Samoa. */
export const farMilliseconds = 36 * hourMilliseconds;

const formats = new Map<string, Intl.DateTimeFormat>();

/** What the clocks of the zone show at a moment, to the second. */
export function wallAt(moment: number, timeZone: string): number {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    formats.set(timeZone, format);
  }
  const shown: Record<string, number> = {};
  for (const { type, value } of format.formatToParts(moment)) shown[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown;
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** The moments at which the clocks of the zone show this: one; two where it is shown twice; none where it is left out. */
export function momentsOf(wall: number, timeZone: string): readonly number[] {
  const before = offsetAt(wall - farMilliseconds, timeZone);
  const after = offsetAt(wall + farMilliseconds, timeZone);
  if (before === after) return [wall - before];
  return [wall - before, wall - after]
    .sort((a, b) => a - b)
    .filter((moment) => wallAt(moment, timeZone) === wall);
}

/** What the clocks are ahead of UTC from this moment until that one; null when they are changed in between. */
export function offsetThroughout(from: number, until: number, timeZone: string): number | null {
  const offset = offsetAt(from, timeZone);
  return offset === offsetAt(until, timeZone) ? offset : null;
}

function offsetAt(moment: number, timeZone: string): number {
  if (timeZone === 'UTC') return 0;
  const whole = Math.floor(moment / 1000) * 1000;
  return wallAt(whole, timeZone) - whole;
}

/** The change of clocks that leaves a wall time out, to the second: there alone the wall jumps over it. */
export function changeOver(wall: number, timeZone: string): number {
  let earlier = wall - farMilliseconds;
  let later = wall + farMilliseconds;
  while (later - earlier > 1000) {
    const middle = Math.floor((earlier + later) / 2000) * 1000;
    if (wallAt(middle, timeZone) < wall) earlier = middle;
    else later = middle;
  }
  return later;
}
