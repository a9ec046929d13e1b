/**
 * Which files belong to a backup. A person names a file, the first of the numbered files that `xe vm-export --multiple`
 * writes (`shop`, `shop2`, `shop3`), or a directory: the copy of a metadata backup disk, one date of it, a folder with
 * files, or the folder of one Xen Orchestra backup. Links are never followed: `by-sr` is made of them.
 */
import { lstat, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { OperatorError } from '../../domain/errors.ts';
import type { Instant } from '../../domain/time.ts';

export interface Found {
  readonly files: readonly string[];
  /** By the name of a directory; null when no name says it. */
  readonly madeAt: Instant | null;
  readonly newestFileAt: Instant;
  readonly remarks: readonly string[];
  /** Files that a person named, with their numbered companions: each must be a backup. */
  readonly named: ReadonlySet<string>;
}

/** `metadata/2026-01-31-02-30-05` of xe-backup-metadata, in the local time of dom0 (xapi.md 5.5). */
const backupDate = /^(\d{4})-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)$/;
/** `20260131T023005Z`, the folder of one Xen Orchestra backup. */
const orchestraDate = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** Throws `OperatorError` DR-FOREIGN-READ for a path that cannot be opened. */
export async function findFiles(paths: readonly string[]): Promise<Found> {
  const parts = await Promise.all(paths.map(async (path) => findUnder(await followed(resolve(path)))));
  const files = [...new Set(parts.flatMap((part) => part.files))];
  const dates = [...new Set(parts.flatMap((part) => part.madeAt ?? []))].sort();
  if (dates.length > 1)
    throw new OperatorError({
      code: 'DR-FOREIGN-MIXED',
      what: 'The paths hold backups of several times, and a recovery point is of one',
      known: dates.map((date) => `one of ${date}`),
      next: 'Name one of them; import the others as points of their own.',
    });
  const times = await Promise.all(files.map(async (file) => (await look(file)).mtimeMs));
  return {
    files,
    madeAt: dates[0] ?? null,
    newestFileAt: new Date(Math.floor(Math.max(0, ...times) / 1000) * 1000).toISOString(),
    remarks: parts.flatMap((part) => part.remarks),
    named: new Set(parts.flatMap((part) => (part.isNamed === true ? part.files : []))),
  };
}

/** A link that a person names is meant; links below are not followed. */
async function followed(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    throw unreadable(path, reasonOf(error), error);
  }
}

type Part = Pick<Found, 'files' | 'madeAt' | 'remarks'> & { readonly isNamed?: true };

async function findUnder(path: string): Promise<Part> {
  const entry = await look(path);
  if (entry.isFile()) return numberedFiles(path);
  if (!entry.isDirectory()) throw unreadable(path, 'it is neither a file nor a directory');
  const names = await list(path);
  if (names.includes('metadata')) return newestDate(path);
  if (names.includes('all')) return oneDate(path);
  if (names.includes('data') && names.includes('metadata.json'))
    return { files: [join(path, 'data')], madeAt: dateOf(basename(path)), remarks: [] };
  const files = await regularFiles(path);
  return { files, madeAt: dateOf(basename(path)), remarks: [] };
}

/** `xe vm-export` names the first file as it was told and numbers the others from 2 (xapi.md 5.5, `xe`). */
async function numberedFiles(first: string): Promise<Part> {
  const madeAt = dateOf(basename(dirname(first)));
  const name = basename(first);
  const numbers = (await list(dirname(first)))
    .flatMap((other) => {
      const rest = other.startsWith(name) ? other.slice(name.length) : '';
      return /^[1-9]\d*$/.test(rest) && Number(rest) > 1 ? [Number(rest)] : [];
    })
    .sort((a, b) => a - b);
  const files = [first, ...numbers.map((number) => `${first}${number}`)];
  const regular: string[] = [];
  for (const file of files) if ((await look(file)).isFile()) regular.push(file);
  const last = numbers.at(-1) ?? 1;
  const missing = Array.from({ length: last - 1 }, (_, index) => index + 2).filter(
    (number) => !numbers.includes(number),
  );
  return {
    isNamed: true,
    files: regular,
    madeAt,
    remarks: missing.map(
      (number) =>
        `${name}${number} is missing between ${name} and ${name}${last}: the VM that it held is not known`,
    ),
  };
}

/** The disk of `xe-backup-metadata`: its newest date, and what older ones there are. */
async function newestDate(path: string): Promise<Part> {
  const dates = (await list(join(path, 'metadata'))).filter((name) => dateOf(name) !== null).sort();
  const newest = dates.pop();
  if (newest === undefined) throw unreadable(path, 'its directory metadata holds no date');
  const part = await oneDate(join(path, 'metadata', newest));
  return {
    ...part,
    remarks: [
      ...part.remarks,
      ...(dates.length === 0
        ? []
        : [
            `The newest of ${dates.length + 1} dates was taken, ${newest}; for another one name its directory, such as metadata/${dates.at(-1)}`,
          ]),
    ],
  };
}

async function oneDate(path: string): Promise<Part> {
  const files = (await regularFiles(join(path, 'all'))).filter((file) => file.endsWith('.vmmeta'));
  const madeAt = dateOf(basename(path));
  return {
    files,
    madeAt,
    remarks:
      madeAt === null
        ? []
        : [
            'The date of its directory is local time of the host that wrote it and was read as UTC; --at says better',
          ],
  };
}

function dateOf(name: string): Instant | null {
  const match = backupDate.exec(name) ?? orchestraDate.exec(name);
  if (match === null) return null;
  const [year, month, day, hour, minute, second] = match.slice(1);
  const millis = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(millis) ? null : new Date(millis).toISOString();
}

async function regularFiles(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await list(path)) {
    const file = join(path, name);
    if (!name.startsWith('.') && (await look(file)).isFile()) found.push(file);
  }
  return found;
}

async function list(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    throw unreadable(path, reasonOf(error), error);
  }
}

async function look(path: string): Promise<Awaited<ReturnType<typeof lstat>> & { readonly mtimeMs: number }> {
  try {
    return await lstat(path);
  } catch (error) {
    throw unreadable(path, reasonOf(error), error);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function unreadable(path: string, reason: string, cause?: unknown): OperatorError {
  return new OperatorError(
    {
      code: 'DR-FOREIGN-READ',
      what: `Cannot read ${path}`,
      known: [reason],
      next: 'Name a file or directory that is there and that you may read.',
    },
    { exitCode: 2, ...(cause === undefined ? {} : { cause }) },
  );
}
