/** What people say of the volumes of an array that nobody can ask: read anew each time, believed as far as it goes. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { PortError } from '../../../domain/errors.ts';

const instant = z.iso.datetime({ offset: true }).transform((text) => new Date(text).toISOString());

const statement = z.strictObject({
  role: z.enum(['source', 'target', 'promoted', 'demoted', 'unknown']).default('unknown'),
  /** The moment of the source that the replica stands for. */
  point_taken_at: instant.optional(),
  by: z.string().min(1),
  at: instant,
});
const file = z.strictObject({ volumes: z.record(z.string(), statement) });

export type Statement = z.output<typeof statement>;

/** By volume; empty as long as there is no file. */
export async function readStatements(
  array: string,
  path: string,
): Promise<Readonly<Record<string, Statement>>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw unreadable(array, path, [error instanceof Error ? error.message : String(error)]);
  }
  const read = file.safeParse(parsed(array, path, text));
  if (read.success) return read.data.volumes;
  throw unreadable(
    array,
    path,
    read.error.issues
      .slice(0, 5)
      .map((issue) => `${issue.path.map(String).join('.') || 'file'}: ${issue.message}`),
  );
}

function parsed(array: string, path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unreadable(array, path, [error instanceof Error ? error.message : String(error)]);
  }
}

function unreadable(array: string, path: string, known: readonly string[]): PortError {
  return new PortError('refused', {
    code: 'DR-ARRAY-STATEMENTS',
    what: `What people say of array ${array} cannot be read`,
    where: { file: path },
    known,
    next: 'Correct the file as the README of the manual adapter shows it',
  });
}
