/** What the ZFS of a filer can do: asked of it in one command, never concluded from a version. */

export interface ZfsFeatures {
  /** What `zfs version` says of the module or the program; null where ZFS is older than that command. */
  readonly release: string | null;
  /** Of a pool without feature flags; null where it has them. */
  readonly poolVersion: string | null;
  /** A transfer that broke off goes on where it was: `receive -s`, `send -t`. */
  readonly resume: boolean;
  /** A snapshot that is gone can still be what a stream begins from. */
  readonly bookmarks: boolean;
  /** Block devices. */
  readonly zvols: boolean;
}

/**
 * $1 pool. The properties are asked for on the pool itself, which exists: what fails is that ZFS does not know them. A
 * zvol is a block device only where the kernel makes one of it, and there ZFS knows `volmode` or has made the directory.
 */
export const probeScript = `echo "release $(zfs version 2>/dev/null | head -n 1)"
zfs get -H -o value receive_resume_token "$1" >/dev/null 2>&1 && echo 'knows receive_resume_token'
if [ -d /dev/zvol ] || zfs get -H -o value volmode "$1" >/dev/null 2>&1; then echo 'knows zvols'; fi
zpool get all "$1"`;

export interface Probed {
  readonly serial: string;
  readonly features: ZfsFeatures;
}

/** `lines`: what `probeScript` prints. */
export function readProbe(lines: readonly string[]): Probed {
  const pool = new Map(
    lines.map((line) => line.split(/\s+/)).flatMap(([, name, value]) => (name ? [[name, value ?? '-']] : [])),
  );
  const enabled = (feature: string): boolean =>
    ['enabled', 'active'].includes(pool.get(`feature@${feature}`) ?? '');
  const version = pool.get('version') ?? '-';
  const release = lines.find((line) => line.startsWith('release '))?.slice('release '.length);
  return {
    serial: pool.get('guid') ?? '-',
    features: {
      release: release === undefined || release === '' ? null : release,
      poolVersion: version === '-' ? null : version,
      // zfs-receive(8): `-s` needs the pool feature; older programs do not know the property.
      resume: lines.includes('knows receive_resume_token') && enabled('extensible_dataset'),
      bookmarks: enabled('bookmarks'),
      zvols: lines.includes('knows zvols'),
    },
  };
}

/** For `identify`: release and pool, then what this ZFS lacks or can do. */
export function modelOf({ release, poolVersion, resume, bookmarks, zvols }: ZfsFeatures): string {
  const pool = poolVersion === null ? 'pool with feature flags' : `pool version ${poolVersion}`;
  const can = (able: boolean, words: string): string => (able ? words : `no ${words}`);
  const words = [can(resume, 'resumed transfers'), can(bookmarks, 'bookmarks'), can(zvols, 'zvols')];
  return [...(release === null ? [] : [release]), pool, ...words].join(', ');
}
