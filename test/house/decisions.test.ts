/** Each decision has a number of its own, the same in its name, in its title and in the list. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const folder = join(import.meta.dirname, '../../docs/decisions');
const files = readdirSync(folder)
  .filter((file) => /^\d{4}-.*\.md$/.test(file))
  .sort();

t.test('decisions are numbered one by one, and listed in that order', (t) => {
  const numbers = files.map((file) => Number(file.slice(0, 4)));
  t.strictSame(
    numbers,
    files.map((_, index) => index + 1),
  );
  for (const file of files) {
    const [title = ''] = readFileSync(join(folder, file), 'utf8').split('\n');
    t.ok(title.startsWith(`# ${Number(file.slice(0, 4))}. `), `${file}: ${title}`);
  }
  const listed = readFileSync(join(folder, 'README.md'), 'utf8')
    .split('\n')
    .flatMap((line) => line.match(/^(\d+)\. \[.*\]\((.*)\)$/)?.slice(1, 3) ?? []);
  t.strictSame(
    listed,
    files.flatMap((file) => [String(Number(file.slice(0, 4))), file]),
  );
  t.end();
});
