/** Files that people edit: looked at by their size and times, which works over every file system and survives renames. */
import { type Stats, unwatchFile, watchFile } from 'node:fs';

const lookEveryMilliseconds = 2000;

/** Calls `changed` after a change of one of the files, until the returned function is called. */
export function watchFiles(paths: readonly string[], changed: () => void): () => void {
  const listener = (now: Stats, before: Stats): void => {
    if (now.mtimeMs !== before.mtimeMs || now.size !== before.size || now.ino !== before.ino) changed();
  };
  for (const path of paths) watchFile(path, { interval: lookEveryMilliseconds, persistent: false }, listener);
  return () => {
    for (const path of paths) unwatchFile(path, listener);
  };
}
