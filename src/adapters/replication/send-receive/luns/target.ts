/** What the target software of a filer must be able to do; LIO and tgt are the two. */
import type { Problem } from '../../../../domain/errors.ts';
import { explainBy, type Meaning } from '../words.ts';
import type { LunNames } from './names.ts';

/** A LUN as it shall be. */
export interface Lun extends LunNames {
  /** The volume or copy that it is made of. */
  readonly volume: string;
  readonly number: number;
  readonly backing: Backing;
  /** `ADDRESS:PORT`. */
  readonly portals: readonly string[];
  readonly chap: Chap | null;
}

export interface Backing {
  readonly kind: 'block' | 'file';
  readonly path: string;
}

export interface Chap {
  readonly user: string;
  /** Null where it is not known here: the filer has an account of this name. */
  password(): Promise<string | null>;
}

export interface SeenLun {
  readonly number: number;
  readonly path: string;
  /** NAA identifier, 32 hexadecimal digits. */
  readonly naa: string;
}

export interface SeenTarget {
  readonly iqn: string;
  readonly luns: readonly SeenLun[];
  /** Who may log in and find a LUN. */
  readonly initiators: readonly string[];
  /** Anybody may. */
  readonly open: boolean;
  /** Initiators that are logged in, once for each session. */
  readonly sessions: readonly string[];
}

export interface TargetSoftware {
  /** Its name in messages. */
  readonly name: string;
  /** Everything that it shows, whoever made it; null when it does not run. */
  look(signal?: AbortSignal): Promise<readonly SeenTarget[] | null>;
  /** Makes what is missing of target and LUN. Nobody is let in by that. */
  make(lun: Lun): Promise<void>;
  /** Lets initiators in, those who are in already as well: their login is made right. */
  admit(lun: Lun, initiators: readonly string[]): Promise<void>;
  /** Lets them in no longer, and ends what sessions they have. */
  turnAway(lun: Lun, initiators: readonly string[]): Promise<void>;
  /** Takes target and LUN away, sessions and all. */
  remove(lun: Lun): Promise<void>;
  /** What is shown now is shown again after a restart of the filer. */
  keep(lun: Lun, initiators: readonly string[]): Promise<void>;
}

const tools: Problem['code'] = 'DR-ARRAY-TOOLS';

const meanings: readonly Meaning[] = [
  {
    words: /still active|in use\b|Device or resource busy/i,
    kind: 'busy',
    code: 'DR-ARRAY-BUSY',
    next: 'See on the filer who uses the device or is logged in to the target, end that, and try again',
  },
  {
    words: /can't find the account/i,
    kind: 'refused',
    code: 'DR-ARRAY-REFUSED',
    next: 'Make the CHAP account of `chap_user` on the filer by hand once: tgtadm takes its password on the command line, where Lifeboat puts none; then try again',
  },
  {
    words:
      /failed to send request|daemon is running|Could not load module|No such file or directory: '?\/sys\/kernel/i,
    kind: 'refused',
    code: tools,
    next: 'Start the target software on the filer (systemctl start tgt, or modprobe iscsi_target_mod), then try again',
  },
  {
    words: /must be root|run as root|permission denied|Operation not permitted|sudo: /i,
    kind: 'auth',
    code: 'DR-ARRAY-RIGHT',
    next: 'Let the user of this array run targetcli or tgtadm as root on the filer, or set `sudo`',
  },
  {
    words: /is not there$/m,
    kind: 'refused',
    code: 'DR-ARRAY-VOLUME',
    next: 'Compare `lun_image` with the files in the volume; for a zvol see on the filer that its device is there (volmode, udev)',
  },
  {
    words: /(?:targetcli|tgtadm)\S* (?:command )?not found|(?:targetcli|tgtadm)\S* No such file/i,
    kind: 'refused',
    code: tools,
    next: 'Install targetcli or tgt on the filer, or set `expose: none` and map the LUN by hand',
  },
  {
    words: /(?:)/,
    kind: 'refused',
    code: 'DR-ARRAY-REFUSED',
    next: 'Look at the targets on the filer (targetcli ls, or tgtadm --lld iscsi --op show --mode target) and into its log, then try again',
  },
];

export const explainTarget = explainBy(meanings);
