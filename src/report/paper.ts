/** What reports are written on: a width, colours or none, and the few shapes that they share. Pure text in and out. */
import { stripVTControlCharacters } from 'node:util';

export interface Paper {
  /** Columns of the terminal; reports keep within it, except for words that cannot be broken. */
  readonly width: number;
  readonly colour: boolean;
}

/** For files, pipes and golden files. */
export const plainPaper: Paper = { width: 100, colour: false };

export type Tone = 'bold' | 'dim' | 'good' | 'warn' | 'bad' | 'accent';

const codes: Readonly<Record<Tone, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  good: [32, 39],
  warn: [33, 39],
  bad: [31, 39],
  accent: [36, 39],
};

export function paint(paper: Paper, tone: Tone, text: string): string {
  if (!paper.colour || text === '') return text;
  const [on, off] = codes[tone];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}

/** Names come from other people's systems: control characters in them must not reach a terminal. */
export function clean(text: string): string {
  return [...text]
    .map((character) => {
      const code = character.codePointAt(0) ?? 0;
      return code < 32 || (code >= 127 && code < 160) ? '\uFFFD' : character;
    })
    .join('');
}

/** Columns that a text takes, colours left out; wide characters of East Asia take two. */
export function widthOf(text: string): number {
  let columns = 0;
  for (const character of stripVTControlCharacters(text)) {
    const code = character.codePointAt(0) ?? 0;
    const wide =
      (code >= 0x1100 && code <= 0x115f) ||
      (code >= 0x2e80 && code <= 0xa4cf) ||
      (code >= 0xac00 && code <= 0xd7a3) ||
      (code >= 0xf900 && code <= 0xfaff) ||
      (code >= 0xff00 && code <= 0xff60) ||
      (code >= 0x1f300 && code <= 0x1faff);
    columns += wide ? 2 : 1;
  }
  return columns;
}

export function pad(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - widthOf(text)));
}

export function padLeft(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - widthOf(text))) + text;
}

/** Cuts a text without colours to so many columns, with an ellipsis where something was lost. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let kept = '';
  for (const character of text) {
    if (widthOf(kept) + widthOf(character) > columns - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

/** Breaks a text at its spaces; `first` begins the first line and `rest` the others. */
export function wrap(text: string, width: number, first = '', rest = first): string[] {
  const lines: string[] = [];
  let line = first;
  let empty = true;
  for (const word of text.split(' ').filter((part) => part !== '')) {
    if (!empty && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line);
      line = rest;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  lines.push(line);
  return lines;
}

/** A list of names in one sentence, cut short with a count: `a, b, c and 9 more`. */
export function names(list: readonly string[], most = 12): string {
  const shown = list.length > most + 1 ? list.slice(0, most) : list;
  const rest = list.length - shown.length;
  return shown.map(clean).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** Two columns: labels and texts, the texts broken below themselves. */
export function facts(
  paper: Paper,
  rows: readonly (readonly [label: string, text: string])[],
  indent = 2,
): string[] {
  const column = indent + Math.max(0, ...rows.map(([label]) => widthOf(label))) + 2;
  return rows.flatMap(([label, text]) =>
    wrap(text, paper.width, pad(' '.repeat(indent) + paint(paper, 'dim', label), column), ' '.repeat(column)),
  );
}

/** Rows under headings, columns as wide as needed; the last one is cut where the paper ends. */
export function table(
  paper: Paper,
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  options: { readonly right?: readonly number[] } = {},
): string[] {
  const widths = headings.map((heading, column) =>
    Math.max(widthOf(heading), ...rows.map((row) => widthOf(row[column] ?? ''))),
  );
  const render = (row: readonly string[]): string =>
    headings
      .map((_, column) => {
        const text = row[column] ?? '';
        if (options.right?.includes(column)) return padLeft(text, widths[column] ?? 0);
        return column === headings.length - 1 ? text : pad(text, widths[column] ?? 0);
      })
      .join('  ')
      .trimEnd();
  return [paint(paper, 'dim', render(headings)), ...rows.map(render)].map((line) => `  ${line}`);
}

export function heading(paper: Paper, text: string): string {
  return paint(paper, 'bold', text);
}

/** A sentence for the end of a line: capital first, no full stop. Only a plain word takes one: names stay as they are. */
export function upperFirst(text: string): string {
  const [first = ''] = text.split(' ', 1);
  return /^[a-z]+[,;:]?$/.test(first) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

export function asSentence(text: string): string {
  return /[.?!]$/.test(text) ? upperFirst(text) : `${upperFirst(text)}.`;
}

/** Keeps two words on one line; `page` makes an ordinary space of it. */
export const hardSpace = '\u00a0';

export function page(lines: readonly string[]): string {
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`.replaceAll(hardSpace, ' ');
}
