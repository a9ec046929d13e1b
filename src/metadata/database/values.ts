/**
 * One column of the database as a value. xapi keeps every value as text: sets and maps as s-expressions in single
 * quotes, with a backslash before quotes and backslashes; and white space in an attribute stands protected, since XML
 * parsers fold it: `%.` is a space, `%n` a line feed, `%t` a tab, `%r` a carriage return, `%%` a per cent sign, and in
 * old dumps `%_` two spaces (xapi.md 3.7; xen-api: ocaml/database/xml_spaces.ml, ocaml/libs/sexpr).
 */
import type { ModelType } from '../datamodel/index.ts';
import { emptyStruct, XmlScalar, type XmlValue } from '../xmlvalue.ts';

export class ColumnError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ColumnError';
  }
}

const protectedSpace: Readonly<Record<string, string>> = {
  '.': ' ',
  t: '\t',
  n: '\n',
  r: '\r',
  '%': '%',
  _: '  ',
};

/** The text that an attribute of a row stands for. */
export function unprotected(attribute: string): string {
  return attribute.includes('%')
    ? attribute.replace(/%([.tnr%_])/g, (_whole, mark: string) => protectedSpace[mark] ?? mark)
    : attribute;
}

/** An atom or a list of an s-expression. */
type Expression = string | readonly Expression[];

/** A quoted atom, a bare one, or a bracket; white space between them means nothing. */
const token = /\s*(?:'((?:[^'\\]|\\[\s\S])*)'|"((?:[^"\\]|\\[\s\S])*)"|([()])|([^\s()"'][^\s()"]*))/y;

function parseExpression(text: string): Expression {
  const stack: Expression[][] = [[]];
  token.lastIndex = 0;
  let end = 0;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    end = token.lastIndex;
    const [, single, double, bracket, bare] = match;
    if (bracket === '(') stack.push([]);
    else if (bracket === ')') {
      const list = stack.pop() ?? [];
      const outer = stack.at(-1);
      if (outer === undefined) throw new ColumnError('a bracket is closed that was not opened');
      outer.push(list);
    } else stack.at(-1)?.push(bare ?? (single ?? double ?? '').replace(/\\([\s\S])/g, '$1'));
  }
  const [[whole, ...more] = [], ...open] = stack;
  if (text.slice(end).trim() !== '' || open.length > 0 || more.length > 0 || whole === undefined)
    throw new ColumnError('not an s-expression');
  return whole;
}

/**
 * A column of this type, as `ova.xml` and XML-RPC write it (xapi.md 1.3): ints, enums and references stay text. Throws
 * `ColumnError` for a text that is no value of the type.
 */
export function columnValue(text: string, type: ModelType): XmlValue {
  switch (type.kind) {
    case 'bool':
      if (text !== 'true' && text !== 'false') throw new ColumnError('neither true nor false');
      return text === 'true';
    case 'int':
      if (!/^-?\d+$/.test(text)) throw new ColumnError('not a whole number');
      return text;
    case 'float':
      if (!/^[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf(?:inity)?)$/i.test(text))
        throw new ColumnError('not a number');
      return new XmlScalar('double', text);
    case 'datetime':
      if (!/^\d{4}-?\d\d-?\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:?\d\d)?$/.test(text))
        throw new ColumnError('not a date');
      return new XmlScalar('dateTime.iso8601', text);
    case 'set': {
      const list = parseExpression(text);
      if (typeof list === 'string') throw new ColumnError('not a set');
      return list.map((item) => columnValue(atom(item), type.of));
    }
    case 'map':
      return mapValue(text, type.value);
    default:
      return text;
  }
}

function mapValue(text: string, type: ModelType): XmlValue {
  const list = parseExpression(text);
  if (typeof list === 'string') throw new ColumnError('not a map');
  const map = emptyStruct();
  for (const pair of list) {
    const [key, value, ...more] = typeof pair === 'string' ? [] : pair;
    if (key === undefined || value === undefined || more.length > 0)
      throw new ColumnError('an entry of a map is not a pair');
    map[atom(key)] = columnValue(atom(value), type);
  }
  return map;
}

function atom(expression: Expression): string {
  if (typeof expression !== 'string') throw new ColumnError('a list where a text belongs');
  return expression;
}
