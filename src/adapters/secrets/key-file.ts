/**
 * Key files: one line, `lifeboat-key-1:` and 32 random bytes in Base64. Readable by the owner alone: a key file that
 * others may read is refused, as ssh refuses such private keys.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { OperatorError, type Problem } from '../../domain/errors.ts';

const prefix = 'lifeboat-key-1:';

/** Makes a new key file of mode 0600; an existing file is never touched. */
export async function generateKeyFile(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(`${prefix}${randomBytes(32).toString('base64')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new OperatorError(
      {
        code: 'DR-KEY-FILE',
        what: 'Cannot make the key file',
        where: { object: path },
        known: [codeOf(error) === 'EEXIST' ? 'it exists already' : textOf(error)],
        next: 'Choose another path; an existing key is never overwritten, because it opens what was written with it',
      },
      { cause: error },
    );
  }
}

export async function readKeyFile(path: string): Promise<Uint8Array> {
  const text = (await readPrivateFile(path, 'key file')).trim();
  const key = text.startsWith(prefix) ? Buffer.from(text.slice(prefix.length), 'base64') : Buffer.alloc(0);
  if (key.length !== 32 || `${prefix}${key.toString('base64')}` !== text) {
    throw new OperatorError({
      code: 'DR-KEY-FILE',
      what: 'This is not a key file of Lifeboat',
      where: { object: path },
      known: [`a key file is one line that begins with "${prefix}" and holds 32 bytes in Base64`],
      next: 'Correct the path, or restore the key file from where a copy is kept',
    });
  }
  return key;
}

/** The text of a file that only its owner may read; `what` names it in sentences. */
export async function readPrivateFile(path: string, what: string): Promise<string> {
  const problem = (known: string, next: string): Problem => ({
    code: 'DR-SECRET-FILE',
    what: `Cannot use ${what} ${path}`,
    where: { object: path },
    known: [known],
    next,
  });
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new OperatorError(
        problem(
          `other users may read or write it (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`,
          `Take their rights away: chmod 600 ${path}`,
        ),
      );
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    const missing = codeOf(error) === 'ENOENT';
    throw new OperatorError(
      problem(
        missing ? 'it does not exist' : textOf(error),
        missing
          ? 'Create it, or correct its path in sites.yaml'
          : 'Give the user that runs Lifeboat the right to read it',
      ),
      { cause: error },
    );
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function textOf(error: unknown): string {
  const known: Record<string, string> = {
    EACCES: 'permission denied',
    EISDIR: 'it is a directory',
    ENOTDIR: 'a part of its path is not a directory',
    ENOSPC: 'the disk is full',
    EROFS: 'the file system is mounted read-only',
  };
  return known[codeOf(error)] ?? `the system says ${codeOf(error) || 'nothing more'}`;
}
