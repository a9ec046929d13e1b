/** Command lines of ONTAP's clustershell and the tables that it prints with a separator of ours (storage.md C.2). */

/** Unlikely in any comment; a row that holds it nevertheless has too many columns and is refused. */
export const separator = '~|~';

/** Before every command: no questions, no pages, tables for machines, fields that only advanced users see. */
export const preamble = `set -privilege advanced -confirmations off -rows 0 -showseparator "${separator}"`;

/** One word as the clustershell reads it. Throws on line breaks, which no shell of ONTAP carries. */
export function word(text: string): string {
  if (/[\r\n\0]/.test(text)) throw new TypeError('an argument of a command cannot hold a line break');
  if (/^[A-Za-z0-9_./:*-]+$/.test(text)) return text;
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

/** `command -parameter value …` */
export function commandLine(command: string, parameters: Readonly<Record<string, string>>): string {
  const given = Object.entries(parameters).map(([name, value]) => `-${name} ${word(value)}`);
  return [command, ...given].join(' ');
}

export type Row = ReadonlyMap<string, string>;

const noEntries = /There are no entries matching your query/i;

/**
 * Rows by field name. The first line names the fields, the second says them for people, the others are rows; `-` is a
 * value that is not there and left out. Null for text that is no such table.
 */
export function readTable(text: string, asked: readonly string[]): readonly Row[] | null {
  if (noEntries.test(text)) return [];
  const lines = text.split(/\r?\n/).filter((line) => line.includes(separator));
  const [head, , ...rows] = lines.map((line) => line.split(separator).map((cell) => cell.trim()));
  if (head === undefined) return null;
  const names = head.filter((name) => name !== '');
  if (!asked.every((name) => names.includes(name))) return null;
  if (rows.some((cells) => cells.length > names.length + 1 || cells.length < names.length)) return null;
  return rows.map(
    (cells) =>
      new Map(
        names.flatMap((name, at): [string, string][] => {
          const cell = unquoted(cells[at] ?? '-');
          return cell === '-' ? [] : [[name, cell]];
        }),
      ),
  );
}

/** Values with blanks may stand between quotes. */
function unquoted(cell: string): string {
  return /^".*"$/.test(cell) ? cell.slice(1, -1).replaceAll(/\\(["\\])/g, '$1') : cell;
}

/** `118:3:10`, hours without bound, → seconds. */
export function lagSeconds(text: string): number | null {
  const [, hours, minutes, seconds] = /^(\d+):(\d{1,2}):(\d{1,2})$/.exec(text) ?? [];
  return hours === undefined ? null : Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Sat Nov 21 16:16:45 2026` or `11/21/2026 16:16:45` by the clock of a zone → an instant; null for what is neither. */
export function instantIn(zone: string, text: string): string | null {
  const [, month, day, time, year] = /^\w{3} (\w{3}) +(\d{1,2}) (\d\d:\d\d:\d\d) (\d{4})$/.exec(text) ?? [];
  if (month !== undefined) return local(zone, Number(year), months.indexOf(month), Number(day), time ?? '');
  const numbers = /^(\d{1,2})\/(\d{1,2})\/(\d{4}) (\d\d:\d\d:\d\d)/.exec(text);
  if (numbers === null) return null;
  return local(zone, Number(numbers[3]), Number(numbers[1]) - 1, Number(numbers[2]), numbers[4] ?? '');
}

function local(zone: string, year: number, month: number, day: number, time: string): string | null {
  const [hours, minutes, seconds] = time.split(':').map(Number);
  const asUtc = Date.UTC(year, month, day, hours, minutes, seconds);
  if (!Number.isFinite(asUtc) || month < 0) return null;
  try {
    // The offset of the zone depends on the instant itself: the second look settles it except in the hour of a change.
    const near = asUtc - offsetAt(zone, asUtc);
    return new Date(asUtc - offsetAt(zone, near)).toISOString();
  } catch {
    return null;
  }
}

/** Milliseconds that the clock of a zone is ahead of UTC. Throws on a zone that nobody knows. */
function offsetAt(zone: string, instant: number): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const parts = new Map(format.formatToParts(instant).map(({ type, value }) => [type, Number(value)]));
  const of = (name: 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second') => parts.get(name) ?? 0;
  return (
    Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'), of('second')) -
    Math.floor(instant / 1000) * 1000
  );
}
