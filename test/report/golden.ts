/** Golden files: `make golden` rewrites them, and a person reviews the difference. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type t from 'tap';

/** `name` is relative to the test file: `golden('cases/x.txt', import.meta.url, …)`. */
export function golden(test: Pick<typeof t, 'equal'>, name: string, from: string, actual: string): void {
  const file = fileURLToPath(new URL(name, from));
  if (process.env['LIFEBOAT_GOLDEN'] === 'write') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, actual);
  }
  const expected = existsSync(file)
    ? readFileSync(file, 'utf8')
    : '(the golden file is missing; run `make golden`)';
  test.equal(actual, expected, `as in ${name}; \`make golden\` rewrites it`);
}
