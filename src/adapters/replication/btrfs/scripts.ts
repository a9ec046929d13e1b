/** What runs on a btrfs filer as one piece, as constant text with positional parameters. */

/**
 * $1 the directory. Prints all subvolumes, those that are read-only, and the records of every volume.
 * A head that is not there is the rule at a replica.
 */
export const lookScript = `btrfs subvolume list -q -u -R "$1" | sed 's/^/subvolume /' || exit
btrfs subvolume list -r "$1" | sed 's/^/readonly /' || exit
cd "$1" || exit
for one in .lifeboat/*/mark .lifeboat/*/sent .lifeboat/*/access; do
[ -f "$one" ] && echo "record $one $(cat "$one")"
done
for one in .lifeboat/*/drills/*; do
[ -f "$one" ] && echo "drill $one $(cat "$one")"
done
:`;

/** $1 the directory, then names of volumes: prints their marks. */
export const marksScript = `cd "$1" || exit
shift
for one; do
[ -f ".lifeboat/$one/mark" ] && echo "record .lifeboat/$one/mark $(cat ".lifeboat/$one/mark")"
done
:`;

/** $1 file, $2 text: the whole text or the old one, whatever happens; gone when the text is empty. */
export const recordScript = `mkdir -p "\${1%/*}" || exit
if [ -n "$2" ]; then printf '%s\\n' "$2" >"$1.new" && sync "$1.new" && mv "$1.new" "$1"; else rm -f "$1"; fi &&
btrfs filesystem sync "\${1%/*}"`;

/** $1 the volume, $2 the path of the point without its time. */
export const cutScript = `mkdir -p "\${2%/*}" && btrfs subvolume snapshot -r "$1" "$2@$(date +%s)"`;

/**
 * $1 the base, $2 the bridge, $3 the point: one stream with both, the point on top of the bridge. A bridge is the base
 * over again under an identity of its own: a snapshot that was writable once has lost the UUID that its source was
 * received with, so that the other filer knows the bridge as received, as `btrfs receive` needs it for shared extents.
 */
export const bridgeScript = `if [ -d "$2" ]; then btrfs subvolume delete "$2" >/dev/null || exit; fi
btrfs subvolume snapshot "$1" "$2" >/dev/null && btrfs property set -ts "$2" ro true || exit
btrfs send -q -p "$1" "$2" && btrfs send -q -p "$2" "$3"`;

/**
 * $1 directory of the points, $2 name, $3 name of the bridge in the stream, or nothing: receives after removing what a
 * broken transfer has left under these names.
 */
export const takeScript = `mkdir -p "$1" || exit
if [ -n "$3" ] && [ -d "$1/$3" ]; then btrfs subvolume delete "$1/$3" >/dev/null || exit; fi
if [ -d "$1/$2" ] && [ "$(btrfs property get -ts "$1/$2" ro)" = ro=false ]; then
btrfs subvolume delete "$1/$2" >/dev/null || exit
fi
btrfs receive -q "$1" && btrfs filesystem sync "$1"`;

/** $1 the point, $2 the volume, $3 a path for a moment: prints one line more than one when the volume differs from the point. */
export const compareScript = `if [ -d "$3" ]; then btrfs subvolume delete "$3" >/dev/null || exit; fi
btrfs subvolume snapshot -r "$2" "$3" >/dev/null || exit
btrfs send -q --no-data -p "$1" "$3" | btrfs receive --dump
code=$?
btrfs subvolume delete "$3" >/dev/null && exit $code`;

/** $1 the volume, $2 where it is kept. */
export const keepScript = `[ ! -e "$1" ] || { mv -n "$1" "$2" && [ ! -e "$1" ]; }`;

/** Paths of points of ours that are not needed any more. */
export const pruneScript = `for one; do
case $one in */.lifeboat/*/points/*) btrfs subvolume delete "$one" >/dev/null 2>&1 ;; esac
done
:`;

/** $1 the copy of a drill, $2 its record. */
export const removeScript = `if [ -d "$1" ]; then
btrfs property set -ts "$1" ro false && btrfs subvolume delete "$1" >/dev/null || exit
fi
rm -f "$2" "$2.access"`;
