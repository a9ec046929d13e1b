/**
 * What runs on the filers, as constant text: everything that varies is a positional parameter. Locks are held by open
 * files, so that they end with the last process of a transfer, whoever started it and whether or not the caller lives.
 * Where there is no flock(1) the file system's own refusal of a second receive stands in for it.
 */

export const exitBusy = 75;
export const exitPromoted = 76;

const lock = `lock() { exec 9>>"$1" || exit 74; command -v flock >/dev/null || return 0; flock -n 9 || exit ${exitBusy}; }`;

/**
 * $1 lock, $2 command line that sends, $3 command line that receives (empty: to standard output). Its exit code is that
 * of the receiver, whose success is proved by the point being there. Nothing is printed before the end, so that a
 * vanished caller does not break the transfer.
 */
export const sendScript = `${lock}
lock "$1"
if [ -n "$3" ]; then eval "$2" | eval "$3"; else eval "$2"; fi`;

/** Ends the processes that hold the lock in descriptor 9; their first one has written its number into it. */
const stopHolder = `end() { for child in $(pgrep -P "$1"); do end "$child"; done; kill -TERM "$1" 2>/dev/null; }
stop() { first=$(cat "$1")
case $first in ''|*[!0-9]*) return 1 ;; esac
end "$first"
flock -w 10 9; }`;

/**
 * $1 lock, $2 command line that prints the mark of the volume, $3 command line that receives, $4 what follows a success.
 * The sender holds its own lock, so whoever holds this one has lost its sender to a broken link, and is ended.
 */
export const receiveScript = `${stopHolder}
exec 9>>"$1" || exit 74
if command -v flock >/dev/null; then flock -n 9 || stop "$1" || exit ${exitBusy}; fi
echo $$ >"$1"
case "$(eval "$2" 2>/dev/null)" in promot*) exit ${exitPromoted} ;; esac
eval "$3" || exit
[ -z "$4" ] || eval "$4"`;

/** $1 lock of what arrives: ends the transfer that holds it. */
export const stopScript = `${stopHolder}
command -v flock >/dev/null || exit 0
[ -e "$1" ] || exit 0
exec 9>>"$1"
flock -n 9 || stop "$1"`;

/** $1 directory of locks: prints the locks that are held, then the filer's clock. Then the rest is run. */
export const lookScript = `if command -v flock >/dev/null; then
for one in "$1"/lifeboat-*.send "$1"/lifeboat-*.receive; do
[ -e "$one" ] || continue
flock -n "$one" true || echo "held \${one##*/}"
done
fi
echo "clock $(date +%s)"
shift
[ $# -eq 0 ] || "$@"`;

/** The volumes whose locks are held, and the clock, out of what `lookScript` prints; the rest follows. */
export function readLook(stdout: string): {
  readonly clockSeconds: number;
  readonly held: ReadonlySet<string>;
  readonly rest: readonly string[];
} {
  const lines = stdout.split('\n');
  const clockAt = lines.findIndex((line) => line.startsWith('clock '));
  const held = lines
    .slice(0, clockAt)
    .map((line) => /^held lifeboat-(.*)\.(?:send|receive)$/.exec(line)?.[1])
    .filter((name) => name !== undefined)
    .map(decodeURIComponent);
  return {
    clockSeconds: Number(lines[clockAt]?.slice('clock '.length)),
    held: new Set(held),
    rest: lines.slice(clockAt + 1).filter((line) => line !== ''),
  };
}
