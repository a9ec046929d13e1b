/** The sentence of docs/invariants.md under this number: tests bear its words, so that neither goes its own way. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const page = readFileSync(join(import.meta.dirname, '../../../docs/invariants.md'), 'utf8');

export function invariant(number: number): string {
  const found = new RegExp(`^${number}\\. (.+(?:\\n {3}.+)*)`, 'm').exec(page)?.[1];
  if (found === undefined) throw new Error(`docs/invariants.md has no invariant ${number}`);
  return `${number}. ${found.replaceAll(/\n +/g, ' ')}`;
}
