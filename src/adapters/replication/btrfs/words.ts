/** What btrfs(8) says, as kinds of errors. */
import { explainBy, type Meaning } from '../send-receive/words.ts';

const meanings: readonly Meaning[] = [
  {
    words: /Device or resource busy|Text file busy/i,
    kind: 'busy',
    code: 'DR-ARRAY-BUSY',
    next: 'See on the filer who uses it (fuser -vm, exports, a transfer), end that, and try again',
  },
  {
    words: /Permission denied|Operation not permitted|sudo: /i,
    kind: 'auth',
    code: 'DR-ARRAY-RIGHT',
    next: 'Let the user of this array be root on the filer, or set `sudo`',
  },
  {
    words: /cannot find parent subvolume|clone: did not find source subvol/i,
    kind: 'refused',
    code: 'DR-ARRAY-BASE',
    next: 'Nothing was lost: what arrived in part is no point. See with `btrfs subvolume list -u -R` on both filers that the newest common point is there, then go on: the next stream begins at a point that both hold',
  },
  {
    words: /No space left|quota exceeded/i,
    kind: 'refused',
    code: 'DR-ARRAY-FULL',
    next: 'Make room in the file system: old points, kept copies (`*.lifeboat-kept-*`), then try again',
  },
  {
    words: /not a (?:mount point|btrfs)|Inappropriate ioctl|Read-only file system|Input\/output error/i,
    kind: 'refused',
    code: 'DR-ARRAY-STORAGE',
    next: 'Look at the file system on the filer: findmnt, btrfs device stats',
  },
  {
    words: /btrfs: (?:command )?not found|btrfs’?: No such file/i,
    kind: 'refused',
    code: 'DR-ARRAY-TOOLS',
    next: 'Install btrfs-progs on the filer, or correct host and type of the array',
  },
];

export const explainBtrfs = explainBy(meanings);
