/** What runs on a filer as one piece for its targets, as constant text with positional parameters. */

/**
 * $1 control port of tgtd, $2 where the kernel shows its targets. A tgtd that runs was chosen by somebody; else LIO, if
 * the kernel has it or could load it; else tgt that could be started.
 */
export const probeScript = `if command -v tgtadm >/dev/null; then
echo 'has tgt'
tgtadm -C "$1" --lld iscsi --op show --mode system >/dev/null 2>&1 && echo 'runs tgt'
fi
if command -v targetcli >/dev/null; then
{ [ -d "$2/iscsi" ] || modprobe -n -q iscsi_target_mod 2>/dev/null; } && echo 'has lio'
fi
:`;

/** $1 what backs a LUN, $2 `b` for a device and `f` for a file: a device comes some moments after its volume. */
export const waitScript = `tries=40
until [ -$2 "$1" ]; do
tries=$((tries - 1))
[ $tries -gt 0 ] || { echo "$1 is not there" >&2; exit 1; }
sleep 0.25
done`;

/** $1 file, $2 text: the whole text or the old one, whatever happens; gone when the text is empty. Nobody else reads it. */
export const recordScript = `if [ -z "$2" ]; then rm -f "$1"; exit; fi
umask 077
mkdir -p "\${1%/*}" && printf '%s\\n' "$2" >"$1.new" && sync "$1.new" && mv "$1.new" "$1"`;

/**
 * $1 where the kernel shows its targets (configfs), then files where targetcli saves them. One line for each thing, its words parted by tabs: what is not there
 * is not printed. A password is looked at only to tell whether there is one.
 */
export const lookScript = `tab='	'
first() { line=; { IFS= read -r line; } 2>/dev/null <"$1"; :; }
at=$1
shift
for one; do
[ -f "$one" ] && sed -n "s/.*\\"wwn\\": \\"\\(iqn[^\\"]*\\)\\".*/saved$tab\\1/p" "$one"
done
cd "$at" 2>/dev/null || exit 0
for one in core/*_*/*; do
[ -f "$one/udev_path" ] || continue
first "$one/wwn/vpd_unit_serial"
serial=\${line##*: }
first "$one/udev_path"
echo "store$tab\${one#core/}$tab$serial$tab$line"
done
for tpg in iscsi/*/tpgt_*; do
[ -d "$tpg" ] || continue
iqn=\${tpg#iscsi/}
iqn=\${iqn%/*}
what="$tab$iqn$tab\${tpg##*/}$tab"
first "$tpg/attrib/authentication"
said=$line
first "$tpg/attrib/generate_node_acls"
said=$said$tab$line
first "$tpg/enable"
echo "tpg$what$said$tab$line"
for one in "$tpg"/lun/lun_*; do
for link in "$one"/*; do
[ -L "$link" ] || continue
to=$(readlink "$link")
echo "lun$what\${one##*_}$tab\${to##*/core/}"
done
done
for one in "$tpg"/np/*; do
[ -d "$one" ] && echo "portal$what\${one##*/}"
done
for one in "$tpg"/acls/*; do
[ -d "$one" ] || continue
name=\${one##*/}
first "$one/auth/userid"
echo "acl$what$name$tab$line"
for mapped in "$one"/lun_*; do
[ -d "$mapped" ] && echo "mapped$what$name$tab\${mapped##*_}"
done
first "$one/info"
case $line in InitiatorName:*) echo "session$what$name" ;; esac
done
if [ -f "$tpg/dynamic_sessions" ]; then
for name in $(tr '\\000' '\\n' <"$tpg/dynamic_sessions"); do
echo "session$what$name"
done
fi
done
:`;

/** $1 directory of an initiator's login; user and password are the two lines of the standard input. */
export const loginScript = `IFS= read -r user && IFS= read -r password || exit 65
printf '%s' "$user" >"$1/userid" && printf '%s' "$password" >"$1/password"`;
