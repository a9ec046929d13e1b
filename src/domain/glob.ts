/** Globs and patterns over name labels, both matched against the whole name, with upper and lower case told apart. */

/** Under the `u` flag only these may be escaped; `-` only inside a set. */
const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
const setLiteral = (character: string): string => character.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/**
 * A glob as a regular expression: `*` any text, `?` one character, `[a-z]` and `[!a-z]` one of a set, `{a,b}` either
 * (may be nested), `\` takes the next character as it is. Throws `SyntaxError` with a sentence for the person.
 */
export function globExpression(glob: string): RegExp {
  if (glob === '') throw new SyntaxError('an empty glob matches nothing');
  const characters = [...glob];
  let source = '';
  let depth = 0;
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] as string;
    if (character === '\\') {
      at += 1;
      const next = characters[at];
      if (next === undefined) throw new SyntaxError('nothing follows the last \\');
      source += literal(next);
    } else if (character === '*') {
      // Several stars mean the same as one, and cost the matcher less.
      while (characters[at + 1] === '*') at += 1;
      source += '.*';
    } else if (character === '?') {
      source += '.';
    } else if (character === '[') {
      const negated = characters[at + 1] === '!' || characters[at + 1] === '^';
      const first = at + (negated ? 2 : 1);
      // A ] in the first place belongs to the set, as in every shell.
      const end = characters.indexOf(']', first + 1);
      if (end === -1) throw new SyntaxError('the [ is never closed with ]');
      source += set(characters.slice(first, end), negated);
      at = end;
    } else if (character === '{') {
      depth += 1;
      source += '(?:';
    } else if (character === '}' && depth > 0) {
      depth -= 1;
      source += ')';
    } else if (character === ',' && depth > 0) {
      source += '|';
    } else {
      source += literal(character);
    }
  }
  if (depth > 0) throw new SyntaxError('the { is never closed with }');
  return new RegExp(`^(?:${source})$`, 'su');
}

function set(characters: readonly string[], negated: boolean): string {
  let source = '';
  for (let at = 0; at < characters.length; at += 1) {
    const from = characters[at] as string;
    const to = characters[at + 2];
    if (characters[at + 1] === '-' && to !== undefined) {
      if ((from.codePointAt(0) ?? 0) > (to.codePointAt(0) ?? 0)) {
        throw new SyntaxError(`the range ${from}-${to} runs backwards`);
      }
      source += `${setLiteral(from)}-${setLiteral(to)}`;
      at += 2;
    } else {
      source += setLiteral(from);
    }
  }
  return `[${negated ? '^' : ''}${source}]`;
}

/** A regular expression of the configuration, anchored at both ends. Throws `SyntaxError`. */
export function patternExpression(pattern: string): RegExp {
  // Compiled alone first: `a)(b` would become valid by the wrapping.
  new RegExp(pattern, 'u');
  return new RegExp(`^(?:${pattern})$`, 'su');
}

/** What is wrong with a glob or pattern, or null. */
export function globProblem(glob: string): string | null {
  return syntaxProblem(() => globExpression(glob));
}
export function patternProblem(pattern: string): string | null {
  return syntaxProblem(() => patternExpression(pattern));
}

function syntaxProblem(compile: () => RegExp): string | null {
  try {
    compile();
    return null;
  } catch (error) {
    if (error instanceof SyntaxError)
      return error.message.replace(/^Invalid regular expression: (\/.*\/\w*: )?/s, '');
    throw error;
  }
}
