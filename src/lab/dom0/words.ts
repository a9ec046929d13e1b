/** A command line as a POSIX shell takes it apart: blanks and quotes, and nothing that a shell would do beyond that. */

export class NoShell extends Error {}

/** @throws NoShell for variables, redirections, pipes and lists: there is no shell behind this. */
export function wordsOf(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let at = 0; at < line.length; at += 1) {
    const sign = line.charAt(at);
    if (sign === ' ' || sign === '\t') {
      if (word !== null) words.push(word);
      word = null;
    } else if (sign === "'" || sign === '"') {
      const end = line.indexOf(sign, at + 1);
      if (end < 0) throw new NoShell('a quote is not closed');
      const quoted = line.slice(at + 1, end);
      if (sign === '"' && /[$`\\]/.test(quoted)) throw new NoShell('no shell expands this');
      word = (word ?? '') + quoted;
      at = end;
    } else if (sign === '\\') {
      at += 1;
      word = (word ?? '') + line.charAt(at);
    } else if (/[|&;<>()$`*?[\n]/.test(sign)) throw new NoShell(`no shell understands ${sign}`);
    else word = (word ?? '') + sign;
  }
  if (word !== null) words.push(word);
  return words;
}

export interface Options {
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  /** The first option that the description does not know, or that lacks its value. */
  readonly wrong: string | null;
}

/** As `getopts` reads them: `hu:` is a flag and an option with a value. */
export function optionsOf(words: readonly string[], described: string): Options {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (!/^-./.test(word)) break;
    for (let letter = 1; letter < word.length; letter += 1) {
      const option = word.charAt(letter);
      const known = option === ':' ? -1 : described.indexOf(option);
      if (known < 0) return { flags, values, wrong: option };
      if (described.charAt(known + 1) !== ':') {
        flags.add(option);
        continue;
      }
      const rest = word.slice(letter + 1);
      if (rest === '') at += 1;
      const value = rest === '' ? words[at] : rest;
      if (value === undefined) return { flags, values, wrong: option };
      values.set(option, value);
      break;
    }
  }
  return { flags, values, wrong: null };
}
