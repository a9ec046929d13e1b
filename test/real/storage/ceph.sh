#!/bin/bash
# Real Ceph clusters of one node each, every one in network, process and host name spaces of its own, with an sshd as
# admin host and rbd-mirror. Root only; nothing but two veth ends is visible outside. RIG=<an existing directory>
#   ceph.sh make NAME OCTET       keys, monitor map and data of a new cluster, once
#   ceph.sh up NAME OCTET         starts it: 10.79.OCTET.2:22 is the admin host, 10.80.OCTET.1 the cluster's own address
#   ceph.sh down NAME             power cut: SIGKILL of the first process, everything inside dies with it
#   ceph.sh join A B              the private link between two clusters; again after either was down
#   ceph.sh link NAME up|down     the way from outside to the admin host
#   ceph.sh repl NAME up|down     the way from NAME to its peer
#   ceph.sh mirror NAME start|stop
#   ceph.sh exec NAME COMMAND...  runs inside
# RIG_SECONDS: the limit of what `exec` runs inside; it ends there as well, and holds nobody up.
set -u
R=${RIG:?} CMD=$1 N=$2 D=${RIG:?}/$2
first() { cat "$R/$1/first"; }
inside() { local name=$1; shift; CEPH_CONF=$R/$name/ceph.conf nsenter -t "$(first "$name")" -m -n -u -p -r -w "$@"; }
configuration() {
  cat <<C
[global]
fsid = $F
mon_host = [v2:$IP:3300/0,v1:$IP:6789/0]
public_addr = $IP
cluster_addr = $IP
keyring = $D/keyring
admin_socket = $D/run/\$name.\$pid.asok
pid_file = $D/run/\$name.pid
run_dir = $D/run
log_file = $D/log/\$name.log
log_to_stderr = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 2
mon_data_avail_crit = 1
rbd_default_clone_format = 2
# A snapshot waits for the monitor to agree with itself: a second, by default.
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
rbd_mirror_image_state_check_interval = 1
rbd_mirror_pool_replayers_refresh_interval = 2
rbd_mirror_journal_poll_age = 1
rbd_journal_commit_age = 1
rbd_mirror_leader_heartbeat_interval = 1
rbd_mirror_leader_max_missed_heartbeats = 2
rbd_mirror_leader_max_acquire_attempts_before_break = 2
mon_client_ping_interval = 1
mon_client_ping_timeout = 4
mon_client_hunt_interval = 1
mon_client_hunt_interval_backoff = 1
ms_max_backoff = 1
objecter_tick_interval = 1
objecter_timeout = 2
[mon]
mon_data = $D/mon/\$cluster-\$id
[mgr]
mgr_data = $D/mgr/\$cluster-\$id
mgr_initial_modules = rbd_support
[osd]
osd_data = $D/osd/\$cluster-\$id
osd_client_watch_timeout = 15
bluestore_block_size = 2147483648
bluestore_cache_autotune = false
bluestore_cache_size = 33554432
C
}
case $CMD in
make)
  set -e
  O=$3 IP=10.80.$3.1 F=$(cat /proc/sys/kernel/random/uuid)
  mkdir -p "$D"/{run,log,home} "$D/mon/ceph-x" "$D/mgr/ceph-x" "$D/osd/ceph-0"
  configuration >"$D/ceph.conf"
  (flock 9; [ -f "$R/id" ] || ssh-keygen -q -t ed25519 -N '' -f "$R/id") 9>"$R/id.lock"
  ssh-keygen -q -t ed25519 -N '' -f "$D/hostkey"
  export CEPH_CONF=$D/ceph.conf K=$D/keyring
  ceph-authtool --create-keyring "$K" --gen-key -n mon. --cap mon 'allow *' >/dev/null
  ceph-authtool "$K" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
  ceph-authtool "$K" --gen-key -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *' >/dev/null
  ceph-authtool "$K" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd' >/dev/null
  ceph-authtool "$K" --gen-key -n client.rbd-mirror.x --cap mon 'profile rbd-mirror' --cap osd 'profile rbd' --cap mgr 'profile rbd' >/dev/null
  ceph-authtool "$K" --gen-key -n client.lifeboat --cap mon 'profile rbd' --cap osd 'profile rbd' --cap mgr 'profile rbd' >/dev/null
  monmaptool --create --clobber --fsid "$F" --addv x "[v2:$IP:3300,v1:$IP:6789]" "$D/monmap" >/dev/null
  ceph-mon --mkfs -i x --monmap "$D/monmap" --keyring "$K"
  touch "$D/fresh"
  ;;
up)
  ip link show "lbc$N" >/dev/null 2>&1 && { echo "lbc$N exists: a rig with this name runs already" >&2; exit 1; }
  O=$3 IP=10.80.$3.1
  printf '127.0.0.1 localhost\n%s %s\n' "$IP" "$N" >"$D/hosts"; : >"$D/resolv"
  cat >"$D/sshd_config" <<C
ListenAddress 0.0.0.0:22
HostKey $D/hostkey
PidFile none
AuthorizedKeysFile $R/id.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel VERBOSE
C
  cat >"$D/init.sh" <<C
set -e
mount --bind $D/run /run; mkdir -p /run/sshd
rm -f /run/*.pid /run/*.asok
mount --bind $D/hosts /etc/hosts; mount --bind $D/resolv /etc/resolv.conf
# What login shells of this machine's root do is no part of an admin host.
mount --bind $D/home /root
hostname $N; ip link set lo up; ip addr add $IP/32 dev lo
# A link that is mended is used again at once, where the kernel can be told (6.15).
[ ! -e /proc/sys/net/ipv4/tcp_rto_max_ms ] || echo 1000 >/proc/sys/net/ipv4/tcp_rto_max_ms
export CEPH_CONF=$D/ceph.conf
ceph-mon -i x; ceph-mgr -i x
if [ -e $D/fresh ]; then
  ceph auth import -i $D/keyring >/dev/null 2>&1
  U=\$(cat /proc/sys/kernel/random/uuid)
  echo "{\"cephx_secret\":\"\$(ceph-authtool -p -n osd.0 $D/keyring)\"}" | ceph osd new \$U 0 -i - >/dev/null
  ceph-osd -i 0 --mkfs --osd-uuid \$U >/dev/null 2>&1
fi
ceph-osd -i 0 >/dev/null 2>&1
until ceph osd stat | grep -q '1 up'; do sleep 0.2; done
if [ -e $D/fresh ]; then
  ceph osd set-require-min-compat-client mimic >/dev/null 2>&1
  rm $D/fresh
fi
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip addr add 10.79.$O.2/24 dev eth0; ip link set eth0 up
exec /usr/sbin/sshd -D -f $D/sshd_config -E $D/sshd.log
C
  unshare --mount --net --uts --pid --fork --kill-child --mount-proc --propagation private bash "$D/init.sh" >"$D/init.log" 2>&1 &
  U=$!; echo $U >"$D/pid"
  until P=$(pgrep -P $U); do kill -0 $U 2>/dev/null || { cat "$D/init.log"; exit 1; }; sleep 0.02; done
  echo "$P" >"$D/first"
  ip link add "lbc$N" type veth peer name eth0 netns "$P"; ip addr add "10.79.$O.1/24" dev "lbc$N"; ip link set "lbc$N" up
  for _ in $(seq 2400); do
    kill -0 $U 2>/dev/null || { cat "$D/init.log"; exit 1; }
    timeout 1 bash -c "exec 3<>/dev/tcp/10.79.$O.2/22" 2>/dev/null && exit 0
    sleep 0.05
  done
  cat "$D/init.log"; exit 1
  ;;
down)
  [ -f "$D/pid" ] && kill -9 "$(cat "$D/pid")" 2>/dev/null
  for _ in $(seq 200); do ip link show "lbc$N" >/dev/null 2>&1 || break; sleep 0.02; done
  ip link del "lbc$N" 2>/dev/null
  rm -f "$D/pid" "$D/first"
  ;;
join)
  A=$(first "$N") B=$(first "$3")
  OA=$(inside "$N" ip -o -4 addr show dev eth0 | grep -oE '10\.79\.[0-9]+' | head -1); OB=$(inside "$3" ip -o -4 addr show dev eth0 | grep -oE '10\.79\.[0-9]+' | head -1)
  IA=10.80.${OA##*.}.1 IB=10.80.${OB##*.}.1
  inside "$N" ip link del repl0 2>/dev/null; inside "$3" ip link del repl0 2>/dev/null
  ip link add repl0 netns "$A" type veth peer name repl0 netns "$B"
  for side in "$N $IA $IB" "$3 $IB $IA"; do
    set -- $side
    echo "$3 $2" >"$R/$1/peer"
    inside "$1" ip link set repl0 up
    inside "$1" ip route add "$3/32" dev repl0 src "$2"
  done
  ;;
link) ip link set "lbc$N" "$3" ;;
repl)
  inside "$N" ip link set repl0 "$3"
  if [ "$3" = up ]; then read -r THEIRS OURS <"$D/peer"; inside "$N" ip route replace "$THEIRS/32" dev repl0 src "$OURS"; fi
  ;;
mirror)
  if [ "$3" = start ]; then inside "$N" rbd-mirror -n client.rbd-mirror.x --pid-file /run/rbd-mirror.pid --log-file "$D/log/rbd-mirror.log"
  else
    # It lets go of its locks when it may: those of a killed one are held until its watch has run out.
    inside "$N" sh -c 'P=$(cat /run/rbd-mirror.pid) && kill -CONT $P && kill $P || exit 0
      for _ in $(seq 60); do kill -0 $P 2>/dev/null || exit 0; sleep 0.1; done
      kill -9 $P'
  fi
  ;;
exec) shift 2; inside "$N" timeout -k 2 "${RIG_SECONDS:-60}" "$@" ;;
esac
