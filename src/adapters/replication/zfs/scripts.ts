/** What runs on a ZFS filer as one piece, as constant text with positional parameters. */

/**
 * Triples `ACTION NAME VALUE`, where a name is that of a snapshot, a bookmark or a volume. Nothing here is needed for the point to count: what cannot be done now (a clone
 * depends on it, another tag holds it) is done after the next transfer.
 */
export const settleScript = `while [ $# -ge 3 ]; do
case $1 in
hold) zfs hold lifeboat "$2" ;;
release) zfs release lifeboat "$2" ;;
remove) zfs release lifeboat "$2"; case $2 in *@*) zfs destroy "$2" ;; esac ;;
bookmark) zfs bookmark "$2" "$3" ;;
forget) case $2 in *'#'*) zfs destroy "$2" ;; esac ;;
sent) zfs set "lifeboat:sent=$3" "$2" ;;
esac >/dev/null 2>&1
shift 3
done
exit 0`;

/** $1 dataset that has just arrived for the first time: closed before anybody writes to it. Repeats while it is busy. */
export const closeNewScript = `zfs set readonly=on "$1" || exit
[ "$(zfs get -H -o value type "$1")" = filesystem ] || exit 0
zfs set canmount=noauto "$1" || exit
tries=20
while [ "$(zfs get -H -o value mounted "$1")" = yes ]; do
zfs unmount -f "$1" && break
tries=$((tries - 1)); [ $tries -gt 0 ] || exit 1; sleep 0.3
done`;
