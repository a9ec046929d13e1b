/** What zfs(8) says, as kinds of errors (storage.md A.2). */
import { explainBy, type Meaning } from '../send-receive/words.ts';

const meanings: readonly Meaning[] = [
  {
    words: /dataset is busy|pool is busy|is currently being received|Device or resource busy|target is busy/i,
    kind: 'busy',
    code: 'DR-ARRAY-BUSY',
    next: 'See on the filer who uses it (fuser -vm, exports, iSCSI targets, a transfer), end that, and try again',
  },
  {
    words: /dataset does not exist|no such pool|could not find any snapshots/i,
    kind: 'refused',
    code: 'DR-ARRAY-VOLUME',
    next: 'Compare the name in sites.yaml with what `zfs list` shows on the filer',
  },
  {
    words: /permission denied|insufficient privileges|must be superuser|sudo: /i,
    kind: 'auth',
    code: 'DR-ARRAY-RIGHT',
    next: 'Give the user of this array the rights that the README of the zfs adapter lists, or set `sudo`',
  },
  {
    words:
      /most recent snapshot of .* does not\s*match|has been modified|has diverged|destination .* exists/i,
    kind: 'refused',
    code: 'DR-ARRAY-DIVERGED',
    next: 'Decide which side is to be kept; the plan for it names what is lost, and asks',
  },
  {
    words: /out of space|No space left|quota exceeded/i,
    kind: 'refused',
    code: 'DR-ARRAY-FULL',
    next: 'Make room in the pool: old snapshots, kept copies (`zfs list -o name,lifeboat:kept`), then try again',
  },
  {
    words:
      /I\/O is currently suspended|daemon is running|failed to initialize ZFS|cannot open .*: I\/O error/i,
    kind: 'refused',
    code: 'DR-ARRAY-STORAGE',
    next: 'Look at the pool on the filer: zpool status -x',
  },
  {
    words: /(?:zfs|zpool): (?:command )?not found|No such file or directory$/im,
    kind: 'refused',
    code: 'DR-ARRAY-TOOLS',
    next: 'Install ZFS on the filer, or correct host and type of the array',
  },
];

export const explainZfs = explainBy(meanings);
