/**
 * The messages that every class has: get_all, get_record, getters, setters of fields that can be written, add_to_,
 * remove_from_, add_, remove_, create and destroy (xapi.md 1.3, 10).
 */
import { type ClassModel, classes } from '../../metadata/datamodel/index.ts';
import { columnOf } from './columns.ts';
import type { Row } from './database.ts';
import type { Answer } from './encode.ts';
import { fail } from './failure.ts';
import type { Call, MessageHandler } from './registry.ts';
import { isStruct, type Value } from './values.ts';

const made = new Map<string, MessageHandler | null>();

/** The built-in behaviour of a message; null when the lab has none. */
export function genericHandler(cls: string, name: string): MessageHandler | null {
  const key = `${cls}.${name}`;
  const known = made.get(key);
  if (known !== undefined) return known;
  const model = classes.get(cls);
  const handler = model === undefined ? null : make(model, name);
  made.set(key, handler);
  return handler;
}

function make(model: ClassModel, name: string): MessageHandler | null {
  const cls = model.name;
  switch (name) {
    case 'get_all':
      return (call) => [...call.pool.db.table(cls).keys()];
    case 'get_all_records':
      return (call) => recordsOf(call.pool.db.table(cls).values());
    case 'get_all_records_where':
      return (call) => {
        const holds = condition(model, call.text(0));
        return recordsOf(call.pool.db.all(cls).filter(holds));
      };
    case 'get_record':
      return (call) => call.row(cls);
    case 'get_by_uuid':
      return (call) => call.pool.db.byUuid(cls, call.text(0)).ref;
    case 'get_by_name_label':
      return (call) => call.pool.db.byName(cls, call.text(0)).map((row) => row.ref);
    case 'create':
      if (model.messages.get(name)?.params[0]?.type !== `${cls} record`) return null;
      return (call) => call.pool.db.create(cls, call.struct(0)).ref;
    case 'destroy':
      return (call) => {
        call.row(cls).destroy();
        return '';
      };
    default:
      return field(model, name);
  }
}

function recordsOf(rows: Iterable<Row>): Answer {
  const records: { [ref: string]: Row } = {};
  for (const row of rows) records[row.ref] = row;
  return records;
}

function field(model: ClassModel, name: string): MessageHandler | null {
  const cls = model.name;
  for (const [prefix, act] of accessors) {
    if (!name.startsWith(prefix)) continue;
    const target = name.slice(prefix.length);
    if (model.fields.has(target)) return (call) => act(call, call.row(cls), target);
  }
  return null;
}

type Accessor = (call: Call, row: Row, field: string) => Answer;

const accessors: readonly (readonly [prefix: string, act: Accessor])[] = [
  ['get_', (_call, row, name) => row.get(name)],
  [
    'set_',
    (call, row, name) => {
      row.set({ [name]: call.params[1] ?? '' });
      return '';
    },
  ],
  [
    'add_to_',
    (call, row, name) => {
      const key = call.text(1);
      if (Object.hasOwn(row.map(name), key)) fail('MAP_DUPLICATE_KEY', row.cls, name, row.ref, key);
      row.put(name, key, call.text(2));
      return '';
    },
  ],
  [
    'remove_from_',
    (call, row, name) => {
      row.drop(name, call.text(1));
      return '';
    },
  ],
  [
    'add_',
    (call, row, name) => {
      const set = row.texts(name);
      if (!set.includes(call.text(1))) row.set({ [name]: [...set, call.text(1)] });
      return '';
    },
  ],
  [
    'remove_',
    (call, row, name) => {
      row.set({ [name]: row.texts(name).filter((item) => item !== call.text(1)) });
      return '';
    },
  ],
];

const lexeme = /\s*(?:("[^"]*")|(=|\(|\)|true|false|field|and|or|not))/y;

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  lexeme.lastIndex = 0;
  while (lexeme.lastIndex < text.length) {
    const rest = text.slice(lexeme.lastIndex);
    if (/^[ \t\n]*$/.test(rest)) break;
    const found = lexeme.exec(text);
    if (found === null) fail('INVALID_VALUE', text, 'Failure("lexing: empty token")');
    tokens.push(found[1] ?? found[2] ?? '');
  }
  return tokens;
}

/**
 * The little language of get_all_records_where: `field "name__label" = "web"` with `and`, `or`, `not` and brackets.
 * Fields have the names of the database's columns, and everything is compared as text.
 */
function condition(model: ClassModel, text: string): (row: Row) => boolean {
  const tokens = tokensOf(text);
  const columns = new Map([...model.fields.keys()].map((field) => [columnOf(model.name, field), field]));
  let at = 0;
  const bad = (): never => fail('INVALID_VALUE', text, 'Xapi_database__Db_filter_parse.MenhirBasics.Error');
  const next = (): string => {
    const token = tokens[at] ?? bad();
    at += 1;
    return token;
  };
  const operand = (first: string): ((row: Row) => string) => {
    const token = first === 'field' ? next() : first;
    if (!token.startsWith('"')) bad();
    const name = token.slice(1, -1);
    if (first !== 'field') return () => name;
    const field = columns.get(name);
    return (row) =>
      plainText(field === undefined ? fail('INTERNAL_ERROR', 'missing field', name, '') : row.get(field));
  };
  const either = (): ((row: Row) => boolean) => {
    let left = both();
    while (tokens[at] === 'or') {
      at += 1;
      const [a, b] = [left, both()];
      left = (row) => a(row) || b(row);
    }
    return left;
  };
  const both = (): ((row: Row) => boolean) => {
    let left = single();
    while (tokens[at] === 'and') {
      at += 1;
      const [a, b] = [left, single()];
      left = (row) => a(row) && b(row);
    }
    return left;
  };
  const single = (): ((row: Row) => boolean) => {
    const token = next();
    if (token === 'not') {
      const inner = single();
      return (row) => !inner(row);
    }
    if (token === '(') {
      const inner = either();
      if (next() !== ')') bad();
      return inner;
    }
    if (token === 'true') return () => true;
    if (token === 'false') return () => false;
    const left = operand(token);
    if (next() !== '=') bad();
    const right = operand(next());
    return (row) => left(row) === right(row);
  };
  const holds = either();
  if (at !== tokens.length) bad();
  return holds;
}

function plainText(value: Value): string {
  if (Array.isArray(value)) return `(${value.map((v) => `'${plainText(v)}'`).join(' ')})`;
  if (typeof value === 'object' && !isStruct(value)) return value.text;
  if (isStruct(value))
    return `(${Object.entries(value)
      .map(([k, v]) => `('${k}' '${plainText(v)}')`)
      .join(' ')})`;
  return String(value);
}
