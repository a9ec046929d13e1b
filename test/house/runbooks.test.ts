/** Every error ends with a code, and the README promises a heading for each. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '../..');

function textOf(directory: string, ending: string): string {
  return readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => readFileSync(join(root, directory, file), 'utf8'))
    .join('\n');
}

const headings = textOf('runbooks', '.md')
  .split('\n')
  .flatMap((line) => (line.startsWith('#') ? (line.match(/DR-[A-Z0-9-]+/g) ?? []) : []));

t.test('each code that the product can end with has one heading in the runbooks', (t) => {
  const codes = new Set(textOf('src', '.ts').match(/(?<=['`])DR-[A-Z0-9-]*[A-Z0-9](?=['`])/g));
  t.ok(codes.size > 200, `${codes.size} codes are looked for`);
  t.strictSame(
    [...codes].filter((code) => !headings.includes(code)),
    [],
  );
  t.strictSame(
    headings.filter((code, index) => headings.indexOf(code) !== index),
    [],
    'none has two',
  );
  t.end();
});
