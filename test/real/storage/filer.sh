#!/bin/bash
# Real filers on one machine: each in mount, network, host name and process name spaces of its own, with its own pool on
# a file and its own sshd. Root only; nothing but one veth end for each is visible outside. RIG=<an existing directory>
#   (keys of the operator and of the replication link: RIG/operator, RIG/link)
#   filer.sh up NAME OCTET zfs|btrfs   starts it and stays: sshd at 10.77.OCTET.2:22; ends when standard input does
#   filer.sh answers NAME OCTET        waits until its sshd does
#   filer.sh link NAME up|down         the way from outside to the filer
#   filer.sh join A B                  the private replication link, A 10.78.0.1 and B 10.78.0.2; again after either was down
#   filer.sh repl NAME up|down         the filer's end of the replication link
#   filer.sh exec NAME COMMAND...      runs inside
# A power cut is SIGKILL of the process in NAME/pid: everything inside dies, unsynced writes are lost, the disk stays.
set -u
R=${RIG:?} CMD=$1 N=${2:-} D=${RIG:?}/${2:-}
first() { cat "$R/$1/first"; }

write_files() {
  mkdir -p "$D/run" "$D/state" "$D/mnt"
  [ -f "$D/hostkey" ] || ssh-keygen -q -t ed25519 -N '' -C '' -f "$D/hostkey"
  [ -f "$D/disk.img" ] || truncate -s "${SIZE:-2G}" "$D/disk.img"
  cat "$R/operator.pub" "$R/link.pub" >"$D/authorized"
  # Without the name and without a name server the first pool command waits five seconds for an address.
  printf '127.0.0.1 localhost\n10.77.%s.2 %s\n' "$O" "$N" >"$D/hosts"
  : >"$D/resolv"
  cat >"$D/sshd_config" <<C
ListenAddress 0.0.0.0:22
HostKey $D/hostkey
PidFile none
AuthorizedKeysFile $D/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
UseDNS no
LogLevel VERBOSE
C
}

put_in_front() {
  local path
  path=$(readlink -f "$(command -v "$1")")
  mkdir -p /run/real
  touch "/run/real/$1"
  mount --bind "$path" "/run/real/$1"
  mount --bind "$(dirname "$0")/mishap.sh" "$path"
}

pool_of_zfs() {
  mkdir -p /var/lib/zfs
  mount --bind "$D/state" /var/lib/zfs
  zfs-fuse -n --no-kstat-mount -m 64 >"$D/zfs-fuse.log" 2>&1 &
  until zpool list >/dev/null 2>&1; do sleep 0.05; done
  [ -e "$D/created" ] || { zpool create -m "$D/mnt" tank "$D/disk.img" && touch "$D/created"; }
  zpool list tank >/dev/null 2>&1 || zpool import -d "$D" tank
  zfs mount -a || true
}

pool_of_btrfs() {
  [ -e "$D/created" ] || { mkfs.btrfs -q -f "$D/disk.img" >/dev/null && touch "$D/created"; }
  mount -o loop,user_subvol_rm_allowed "$D/disk.img" "$D/mnt"
}

case $CMD in
up)
  O=$3 FS=$4
  ip link show "dr$N" >/dev/null 2>&1 && { echo "dr$N exists: a rig with this number runs already" >&2; exit 1; }
  write_files
  # Our own end must not be waited for by the processes below, or nobody would notice that it closed.
  exec 9<&0 0</dev/null
  unshare --mount --net --uts --pid --fork --kill-child --mount-proc --propagation private \
    "$0" inside "$N" "$O" "$FS" >"$D/init.log" 2>&1 9<&- &
  U=$!
  trap 'kill -9 $U 2>/dev/null' EXIT
  until P=$(pgrep -P $U); do kill -0 $U 2>/dev/null || { cat "$D/init.log" >&2; exit 1; }; sleep 0.02; done
  echo "$P" >"$D/first"
  ip link add "dr$N" type veth peer name eth0 netns "$P"
  ip addr add "10.77.$O.1/24" dev "dr$N"
  ip link set "dr$N" up
  echo $U >"$D/pid"
  echo started
  # The guard: whoever started us holds the other end of this pipe, and its death is a power cut.
  (cat <&9 >/dev/null; kill -9 $U 2>/dev/null) &
  exec 9<&-
  wait $U 2>/dev/null
  trap - EXIT
  exit 0
  ;;
inside)
  set -e
  O=$3 FS=$4
  mount --bind "$D/run" /run
  mkdir -p /run/sshd /run/lock /run/zfs
  rm -f /run/zfs-fuse.pid /run/zfs/*
  mount --bind "$D/hosts" /etc/hosts
  mount --bind "$D/resolv" /etc/resolv.conf
  # What the machine's own root runs at each login is no part of a filer.
  mount -t tmpfs none /root
  hostname "$N"
  ip link set lo up
  put_in_front "$FS"
  "pool_of_$FS"
  install -m 600 "$R/link" /run/link
  cat "$R"/*/hostkey.pub | sed 's/^/* /' >/run/known_hosts
  until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
  ip addr add "10.77.$O.2/24" dev eth0
  ip link set eth0 up
  exec /usr/sbin/sshd -D -f "$D/sshd_config" -E "$D/sshd.log"
  ;;
answers)
  for _ in $(seq 600); do
    timeout 1 bash -c "exec 3<>/dev/tcp/10.77.$3.2/22 && head -c 4 <&3" 2>/dev/null | grep -q SSH && exit 0
    sleep 0.05
  done
  exit 1
  ;;
link) ip link set "dr$N" "$3" ;;
join)
  A=$(first "$N") B=$(first "$3")
  # Each filer knows the host keys of both by the time that they are joined.
  for one in "$N" "$3"; do cat "$R"/*/hostkey.pub | sed 's/^/* /' >"$R/$one/run/known_hosts"; done
  nsenter -t "$A" -n ip link del repl0 2>/dev/null
  ip link add repl0 netns "$A" type veth peer name repl0 netns "$B"
  nsenter -t "$A" -n ip addr add 10.78.0.1/24 dev repl0
  nsenter -t "$A" -n ip link set repl0 up
  nsenter -t "$B" -n ip addr add 10.78.0.2/24 dev repl0
  nsenter -t "$B" -n ip link set repl0 up
  ;;
repl) nsenter -t "$(first "$N")" -n ip link set repl0 "$3" ;;
exec)
  shift 2
  exec nsenter -t "$(first "$N")" -m -n -u -p -r -w "$@"
  ;;
esac
