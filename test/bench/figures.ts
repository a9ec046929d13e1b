/** What a measurement found, and how it is printed. */

export interface Figure {
  readonly name: string;
  /** The ratio, or another single value that the aim is about. */
  readonly value: string;
  readonly aim: string | null;
  /** Null where there is no aim. */
  readonly met: boolean | null;
  /** Absolute figures, and what exactly was compared. */
  readonly beside: string;
}

export interface Bench {
  /** A directory for everything that is written; removed at the end. */
  readonly directory: string;
  readonly vms: number;
  readonly repetitions: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** `1.23 s (1.20-1.31)`: the median and the span. */
export function spread(seconds: readonly number[]): string {
  const shown =
    seconds.length === 1 ? '' : ` (${number(Math.min(...seconds))}-${number(Math.max(...seconds))})`;
  return `${number(median(seconds))} s${shown}`;
}

export function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The first is divided by the second, repetition by repetition, so that what slows down both falls out. */
export function ratioOf(first: readonly number[], second: readonly number[]): number {
  return median(first.map((value, index) => value / (second[index] ?? Number.NaN)));
}

export function atMost(name: string, ratio: number, aim: number, beside: string): Figure {
  return { name, value: ratio.toFixed(2), aim: `at most ${aim.toFixed(2)}`, met: ratio <= aim, beside };
}

export function timesFaster(name: string, ratio: number, aim: number, beside: string): Figure {
  return { name, value: `${ratio.toFixed(2)} x faster`, aim: `at least ${aim} x`, met: ratio >= aim, beside };
}

export async function timed<T>(
  work: () => Promise<T>,
): Promise<{ readonly seconds: number; readonly result: T }> {
  const began = performance.now();
  const result = await work();
  return { seconds: (performance.now() - began) / 1000, result };
}

export function printed(figures: readonly Figure[]): string {
  const rows = [
    ['what', 'measured', 'aim', ''],
    ...figures.map(({ name, value, aim, met }) => [
      name,
      value,
      aim ?? '',
      met === null ? '' : met ? 'met' : 'MISSED',
    ]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines: string[] = [];
  for (const [index, row] of rows.entries()) {
    lines.push(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
    const beside = index === 0 ? undefined : figures[index - 1]?.beside;
    if (beside !== undefined) lines.push(`    ${beside}`);
  }
  return `${lines.join('\n')}\n`;
}
