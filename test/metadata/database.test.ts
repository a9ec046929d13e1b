/** Columns of a pool's database: what xapi writes comes back, and what it never writes is told and not guessed. */
import fc from 'fast-check';
import t from 'tap';
import { ColumnError, columnValue, unprotected } from '../../src/metadata/database/values.ts';
import { modelType } from '../../src/metadata/datamodel/index.ts';

const texts = modelType('string set');
const map = modelType('(string -> string) map');

/** As xapi's database writes an atom: in single quotes, with a backslash before quotes and backslashes. */
const quoted = (text: string): string => `'${text.replace(/[\\'"]/g, (c) => `\\${c}`)}'`;
const marks: Readonly<Record<string, string>> = { ' ': '.', '\t': 't', '\n': 'n', '\r': 'r', '%': '%' };
const protectedText = (text: string): string => text.replace(/[ \t\n\r%]/g, (c) => `%${marks[c] ?? c}`);

t.test('every text comes through quotes and protected white space', async (t) => {
  const word = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...' \'"\\%.nrt()\n\t_é') }));
  fc.assert(
    fc.property(fc.array(word), (words) => {
      const column = protectedText(`(${words.map(quoted).join(' ')})`);
      t.strictSame(columnValue(unprotected(column), texts), words);
    }),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(word, word), { selector: ([key]) => key }), (pairs) => {
      const column = `(${pairs.map(([key, value]) => `(${quoted(key)} ${quoted(value)})`).join(' ')})`;
      t.strictSame(Object.entries(columnValue(column, map) as object).sort(), [...pairs].sort());
    }),
    { numRuns: 200 },
  );
});

t.test('old dumps protect two spaces by one mark', async (t) => {
  t.equal(unprotected('a%_b%.c%%.d%x'), 'a  b c%.d%x');
});

t.test('what is no value of its type', async (t) => {
  for (const [text, type] of [
    ['(', 'string set'],
    ["('a'", 'string set'],
    ["('a'))", 'string set'],
    ["'a'", 'string set'],
    ["(('a' 'b'))", 'string set'],
    ["(('a'))", '(string -> string) map'],
    ["('a' 'b')", '(string -> string) map'],
    ["('unclosed)", 'string set'],
    ['', 'string set'],
    ['yes', 'bool'],
    ['1.5', 'int'],
    ['much', 'float'],
    ['yesterday', 'datetime'],
  ] as const)
    t.throws(() => columnValue(text, modelType(type)), ColumnError, `${type}: ${text}`);
  t.same(columnValue('()', texts), []);
  t.equal(columnValue('-3', modelType('int')), '-3');
  t.same(columnValue('0.', modelType('float')), { tag: 'double', text: '0.' });
});
