/** Reports as files: whole or not at all, for the owner alone. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { OperatorError } from '../../domain/errors.ts';

/** Replaces a file of that name. `OperatorError` when it cannot be written. */
export async function shelve(path: string, text: string): Promise<void> {
  const unfinished = `${path}.part`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(unfinished, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw new OperatorError(
      {
        code: 'DR-REPORT-WRITE',
        what: 'A report cannot be written',
        where: { file: path },
        known: [error instanceof Error ? error.message : String(error)],
        next: 'Check space and rights of the directory; `daemon.reports` of sites.yaml names it',
      },
      { cause: error },
    );
  }
}
