/** Files that a person asked for, with errors that say what to do. */
import { exitCodes, OperatorError } from '../../domain/errors.ts';
import type { Session } from './session.ts';

export async function writeOut(
  session: Session,
  file: string,
  content: string | Uint8Array,
  options: { readonly replace: boolean },
): Promise<void> {
  try {
    await session.terminal.writeFile(file, content, options);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const next: Record<string, string> = {
      EEXIST: 'name another place, or remove the file first',
      ENOENT: 'make the directory first',
      ENOSPC: 'make room on the disk, then try again',
      EACCES: 'name a place where you may write',
    };
    if (code === '') throw error;
    throw new OperatorError(
      {
        code: 'DR-FILE-WRITE',
        what: `cannot write ${file}`,
        known: [error instanceof Error ? error.message : code],
        next: next[code] ?? 'look at the disk and the path, then try again',
      },
      { cause: error },
    );
  }
}

/** The text of a file, or of the standard input for `-`. */
export async function readIn(session: Session, file: string, next: string): Promise<string> {
  if (file === '-') return session.terminal.readInput();
  try {
    return await session.terminal.readFile(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === '') throw error;
    throw new OperatorError(
      {
        code: 'DR-FILE-READ',
        what: `cannot read ${file}`,
        known: [error instanceof Error ? error.message : code],
        next,
      },
      { exitCode: exitCodes.usage, cause: error },
    );
  }
}
