#!/usr/bin/env bash
# A sample of an adapter for arrays of type "command" (docs/command-adapter.md). The "array" is a directory and its
# commands are cp, mv and diff; to make it yours, keep the verbs and put your array's own commands in their place.
#
#   array-command.sh ROOT [SERVER]     ROOT: the array. SERVER: the address under which hosts reach it, in answers.
#
#   ROOT/serial            who this array is            ROOT/link          symlink to ROOT of the other array
#   ROOT/volumes/V/        what hosts mount             ROOT/points/V/REF/ a moment of the volume, never changed
#   ROOT/exports/V         "ADDRESS rw|ro" per line     ROOT/drills/V/D/   copy for drill D
#   ROOT/state/V/          role, peer, points, …        ROOT/kept/V-N/     what was put aside before it was given up
#
# Exit codes: 0 done, 10 already so, 20 busy, 30 wrong state, 40 refused, 44 not there, 45 wrong secret,
# 50 cannot, 60 does not answer. What goes to stderr is shown to the operator as the array's own words.
set -euo pipefail

fail() {
  printf '%s\n' "$2" >&2
  exit "$1"
}

answer() {
  printf '%s\n' "$1"
  exit "${2:-0}"
}

# ---- the request: one JSON object on one line, whose fields have names of their own at every depth ----

# Most of what follows is done by bash itself: a status that is asked every minute should not start twenty processes.
declare -A field # the text of a field, empty when it is null or absent
read_field() {   # NAME
  local pattern="\"$1\":\"([^\"]*)\""
  field[$1]=''
  if [[ $request =~ $pattern ]]; then field[$1]=${BASH_REMATCH[1]}; fi
}

read_list() { # NAME: into the array "texts"
  local pattern="\"$1\":\[([^]]*)\]"
  texts=()
  if [[ $request =~ $pattern ]]; then IFS=, read -r -a texts <<<"${BASH_REMATCH[1]//\"/}"; fi
}

read_request() {
  read -r request || true
  case $request in *\\*) fail 40 "this sample does not understand texts with quotes and backslashes" ;; esac
  local name
  for name in verb volume tag point drill common secret; do read_field "$name"; done
  verb=${field[verb]}
  volume=${field[volume]}
  if [[ $request == *'"discard":true'* ]]; then discard=yes; else discard=no; fi
}

named_soundly() { [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]]; }

# ---- the array: its clock, its copies, its doors ----

now() {
  local moment=$EPOCHREALTIME
  TZ=UTC0 printf '%(%Y-%m-%dT%H:%M:%S)T.%sZ' "${moment%[.,]*}" "${moment: -6:3}"
}

# The directory around TO is never made here: behind a link that broke it would be made on this side.
copy_tree() { # FROM TO: whole or not at all
  local half="$2.half"
  if [[ -e $half ]]; then remove_tree "$half"; fi
  cp -a "$1" "$half" && mv -T "$half" "$2"
}

remove_tree() { # only ever below an array
  case $1 in
    "$root"/*/* | "$root"/link/*/*) rm -rf -- "$1" ;;
    *) fail 40 "$1 is not part of the array" ;;
  esac
}

allow() { # EXPORT MODE: for the hosts of the request
  local address
  [[ -d $root/exports ]] || mkdir -p "$root/exports"
  deny "$1"
  for address in "${texts[@]}"; do printf '%s %s\n' "$address" "$2" >>"$root/exports/$1"; done
}

deny() { # EXPORT: to the hosts of the request
  local address door="$root/exports/$1"
  read_list addresses
  [[ -e $door ]] || return 0
  for address in "${texts[@]}"; do sed -i "\|^$address |d" "$door"; done
}

close_to_writes() { if [[ -e $1 ]]; then sed -i 's/ rw$/ ro/' "$1"; fi; }
open_to_writes() { if [[ -e $1 ]]; then sed -i 's/ ro$/ rw/' "$1"; fi; }

exposed() { # PATH
  printf '{"exposed":{"kind":"nfs","server":"%s","path":"%s"}}' "$server" "$1"
}

link_is_up() { [[ -d $root/link/state ]]; }
need_link() { link_is_up || fail 60 "the other array does not answer"; }

# ---- the state of a volume: one small file for each fact; a fact that is not there is empty ----

get() { if [[ -e $1 ]]; then printf '%s' "$(<"$1")"; fi; }
read_fact() { # VARIABLE FILE: the same without a process of its own
  printf -v "$1" '%s' ''
  if [[ -e $2 ]]; then IFS= read -r "$1" <"$2" || true; fi
}
put() { # FILE TEXT
  printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"
}
set_role() { put "$1/role" "$2"; }

use_volume() {
  if ! named_soundly "$volume" || [[ ! -d $root/state/$volume ]]; then fail 44 "there is no volume $volume"; fi
  here="$root/state/$volume"
  read_fact peer "$here/peer"
  there="$root/link/state/$peer"
  live="$root/volumes/$volume"
  read_fact role "$here/role"
}

one_at_a_time() {
  exec 9>"$here/lock"
  flock -w 2 9 || fail 20 "another command works on $volume"
}

is_worked_on() {
  [[ -e $here/lock ]] || return 1
  exec 8<"$here/lock"
  local busy=no
  flock -n 8 || busy=yes
  exec 8<&-
  [[ $busy == yes ]]
}

peer_role() { if link_is_up; then get "$there/role"; fi; }

wrong_role() { fail 30 "$volume is $role: $verb is not for that"; }

# A point is a line "REF TAG TIME", the newest first.
find_point() { # FILE WHAT COLUMN
  local line columns
  [[ -e $1 ]] || return 0
  while read -r line; do
    read -r -a columns <<<"$line"
    if [[ ${columns[$3 - 1]:-} == "$2" ]]; then
      printf '%s\n' "$line"
      return
    fi
  done <"$1"
}
add_point() { # FILE LINE
  { printf '%s\n' "$2" && if [[ -e $1 ]]; then cat "$1"; fi; } >"$1.new" && mv "$1.new" "$1"
}
point_json() { # LINE
  local ref tag at
  read -r ref tag at <<<"$1"
  if [[ -z $ref ]]; then printf 'null'; else
    printf '{"ref":"%s","tag":"%s","takenAt":"%s","clock":"source","complete":true,"consistency":"crash"}' \
      "$ref" "$tag" "$at"
  fi
}

same_content() { diff -rq "$1" "$2" >/dev/null; }

put_aside() {
  local number=1
  mkdir -p "$root/kept"
  while [[ -e $root/kept/$volume-$number ]]; do number=$((number + 1)); done
  copy_tree "$live" "$root/kept/$volume-$number"
}

# ---- verbs that look ----

identify() {
  answer "$(printf '{"vendor":"Lifeboat sample","model":"directory","serial":"%s","clock":"%s"}' \
    "$(get "$root/serial")" "$(now)")"
}

capabilities() {
  answer '{"syncNow":true,"drill":"clone","promoteToPoint":true,"prepare":true,"reverse":"full","restore":true,"fence":true,"expose":"nfs"}'
}

each_volume() { # FUNCTION: its outputs, with commas between
  local comma='' state
  for state in "$root"/state/*/; do
    [[ -d $state ]] || continue
    state=${state%/}
    volume=${state##*/}
    use_volume
    printf '%s' "$comma"
    "$1"
    comma=','
  done
}

pair_json() {
  printf '{"volume":"%s","role":"%s","peer":{"array":"%s","volume":"%s"}}' \
    "$volume" "$role" "$(get "$root/link/serial")" "$peer"
}

discover() { answer "{\"pairs\":[$(each_volume pair_json)]}"; }

# Says what the array believes of itself: level and reason.
health() {
  if [[ $seen_role == split ]]; then printf 'bad both sides take writes'
  elif [[ $seen_role == promoted ]]; then printf 'warn nothing protects it until the replication is reversed'
  elif ! link_is_up; then printf 'warn the other array does not answer'
  else printf 'ok'; fi
}

view_json() {
  local link=down activity=idle writable=false other='' level reason newest
  seen_role=$role
  if link_is_up; then
    link=up
    read_fact other "$there/role"
  fi
  if [[ $role == source && $other == promoted ]]; then seen_role=split; fi
  if is_worked_on; then activity=transferring; fi
  if [[ $role == promoted || ($role == source && ! -e $here/fenced) ]]; then writable=true; fi
  read -r level reason <<<"$(health)"
  read -r newest <"$here/points" || true
  printf '{"role":"%s","activity":"%s","link":"%s","health":{"level":"%s","reasons":[%s]},"writable":%s,"newestComplete":%s}' \
    "$seen_role" "$activity" "$link" "$level" "${reason:+\"$reason\"}" "$writable" "$(point_json "$newest")"
}

observe() {
  local comma='' one said=''
  read_list volumes
  for one in "${texts[@]}"; do
    if named_soundly "$one" && [[ -d $root/state/$one ]]; then
      volume=$one
      use_volume
      said+="$comma\"$one\":$(view_json)"
      comma=','
    fi
  done
  answer "{\"volumes\":{$said}}"
}

points() {
  local line comma='' said=''
  while read -r line; do
    said+="$comma$(point_json "$line")"
    comma=','
  done <"$here/points"
  answer "{\"points\":[$said]}"
}

# The newest point that both sides hold: sets common, and own when this side holds what it does not.
compare_sides() {
  local ref
  ref=$(get "$here/promoted")
  if [[ -z $ref ]] && link_is_up; then ref=$(get "$there/promoted"); fi
  if [[ -z $ref ]]; then read -r ref _ <"$here/points" || true; fi
  common=$(find_point "$here/points" "$ref" 1)
  own=''
  if [[ $role == target ]]; then return; fi
  if [[ -z $common ]] || ! same_content "$live" "$root/points/$volume/$ref"; then own=yes; fi
}

divergence() {
  compare_sides
  local says="volume $volume holds nothing that the common point does not"
  if [[ -n $own ]]; then says="volume $volume differs from the common point"; fi
  answer "$(printf '{"common":%s,"says":["%s"]}' "$(point_json "$common")" "$says")"
}

drill_json() { # prints every drill of a volume
  local drill name comma=''
  for drill in "$root/drills/$volume"/*/; do
    [[ -d $drill ]] || continue
    name=${drill%/}
    printf '%s{"volume":"%s","drill":"%s","name":"%s"}' "$comma" "$volume" "${name##*/}" "${drill%/}"
    comma=','
  done
}

drillList() {
  local said
  said=$(each_volume drill_json)
  # A volume without drills leaves its comma behind.
  said=$(sed -E 's/,+/,/g; s/^,//; s/,$//' <<<"$said")
  answer "{\"drills\":[$said]}"
}

# ---- verbs that act: each asks first whether it is so already ----

# Cuts a point with the tag of the request and brings it to the other side. A call that died goes on where it was.
send() {
  local tag line ref
  tag=${field[tag]}
  need_link
  line=$(find_point "$there/points" "$tag" 2)
  if [[ -n $line ]]; then
    if [[ -z $(find_point "$here/points" "$tag" 2) ]]; then add_point "$here/points" "$line"; fi
    return
  fi
  line=$(find_point "$here/cuts" "$tag" 2)
  if [[ -z $line ]]; then
    line="$(</proc/sys/kernel/random/uuid) $tag $(now)"
    read -r ref _ <<<"$line"
    copy_tree "$live" "$root/points/$volume/$ref"
    add_point "$here/cuts" "$line"
  fi
  read -r ref _ <<<"$line"
  if [[ ! -d $root/link/points/$peer/$ref ]]; then
    copy_tree "$root/points/$volume/$ref" "$root/link/points/$peer/$ref" || fail 60 "the link broke"
  fi
  # The other side may have been promoted meanwhile: then it takes nothing any more.
  case $(peer_role) in
    target | demoted) ;;
    '') fail 60 "the link broke" ;;
    *) fail 30 "the other side takes no points: it is $(peer_role)" ;;
  esac
  add_point "$there/points" "$line" || fail 60 "the link broke"
  add_point "$here/points" "$line"
}

sent() { answer "{\"point\":$(point_json "$(find_point "$here/points" "${field[tag]}" 2)")}" "${1:-0}"; }

syncNow() {
  [[ $role == source ]] || wrong_role
  need_link
  [[ $(peer_role) == target ]] || fail 30 "the other side is $(peer_role): nothing is sent to it"
  send
  sent
}

prepare() {
  case $role in
    source)
      need_link
      [[ $(peer_role) == target ]] || fail 30 "the other side is $(peer_role)"
      put "$here/prepared" "${field[tag]}"
      close_to_writes "$root/exports/$volume"
      set_role "$here" demoted
      ;;
    demoted) [[ $(get "$here/prepared") == "${field[tag]}" ]] || wrong_role ;;
    *) wrong_role ;;
  esac
  send
  sent
}

unprepare() {
  case $role in
    source) answer '{}' 10 ;;
    demoted) ;;
    *) wrong_role ;;
  esac
  need_link
  [[ -e $here/prepared && $(peer_role) == target ]] || fail 30 "the other side is $(peer_role)"
  set_role "$here" source
  open_to_writes "$root/exports/$volume"
  rm -f "$here/prepared"
  answer '{}'
}

promote() {
  local ref
  ref=${field[point]}
  case $role in
    promoted)
      if [[ $(get "$here/promoted") == "$ref" ]]; then answer '{}' 10; fi
      fail 30 "$volume was promoted at point $(get "$here/promoted")"
      ;;
    target) ;;
    *) wrong_role ;;
  esac
  [[ -n $(find_point "$here/points" "$ref" 1) ]] || fail 40 "there is no point $ref"
  remove_tree "$live.promoted"
  copy_tree "$root/points/$volume/$ref" "$live.promoted"
  remove_tree "$live"
  mv -T "$live.promoted" "$live"
  rm -f "$root/exports/$volume"
  put "$here/promoted" "$ref"
  set_role "$here" promoted
  answer '{}'
}

demote() {
  case $role in
    demoted | target) answer '{}' 10 ;;
    source) ;;
    *) wrong_role ;;
  esac
  need_link
  [[ $(peer_role) == promoted ]] || fail 30 "the other side is $(peer_role): one of the two must take writes"
  compare_sides
  if [[ -n $own ]]; then
    [[ $discard == yes && ${field[common]} == "${common%% *}" ]] || fail 40 "$volume holds writes of its own"
    put_aside
  fi
  close_to_writes "$root/exports/$volume"
  set_role "$here" demoted
  answer '{}'
}

reverse() {
  local tag
  tag=${field[tag]}
  need_link
  if [[ $role == source && -n $(find_point "$here/points" "$tag" 2) ]]; then sent 10; fi
  [[ $role == promoted ]] || wrong_role
  if [[ $(peer_role) != demoted && -z $(find_point "$there/points" "$tag" 2) ]]; then
    fail 30 "the other side is $(peer_role), and must be demoted first"
  fi
  if [[ $discard == no ]] && ! same_content "$root/link/volumes/$peer" "$root/points/$volume/$(get "$here/promoted")"; then
    fail 40 "the other side holds writes of its own"
  fi
  send
  rm -f "$there/prepared" "$there/fenced" "$there/promoted" "$here/prepared" "$here/fenced"
  set_role "$there" target
  set_role "$here" source
  rm -f "$here/promoted"
  sent
}

restore() {
  case $role in
    target) answer '{}' 10 ;;
    promoted) ;;
    *) wrong_role ;;
  esac
  need_link
  case $(peer_role) in source | demoted) ;; *) fail 30 "the other side is $(peer_role)" ;; esac
  compare_sides
  if [[ -n $own ]]; then
    [[ $discard == yes && ${field[common]} == "${common%% *}" ]] || fail 40 "$volume holds writes of its own"
    put_aside
  fi
  rm -f "$root/exports/$volume"
  set_role "$here" target
  rm -f "$here/promoted"
  if [[ $(peer_role) == demoted ]]; then
    open_to_writes "$root/link/exports/$peer"
    set_role "$there" source
    rm -f "$there/prepared"
  fi
  answer '{}'
}

expose() {
  case $role in source | promoted) ;; *) wrong_role ;; esac
  allow "$volume" rw
  answer "$(exposed "$live")"
}

conceal() {
  deny "$volume"
  answer '{}'
}

# The mark is the directory of the drill: it is there before the copy, so that a crash leaves nothing unmarked.
drillStart() {
  local drill ref copy
  drill=${field[drill]}
  ref=${field[point]}
  named_soundly "$drill" || fail 40 "$drill cannot be the name of a drill"
  copy="$root/drills/$volume/$drill"
  [[ -n $(find_point "$here/points" "$ref" 1) ]] || fail 40 "there is no point $ref"
  mkdir -p "$copy"
  if [[ ! -d $copy/data ]]; then copy_tree "$root/points/$volume/$ref" "$copy/data"; fi
  allow "$volume@$drill" rw
  answer "$(exposed "$copy/data")"
}

drillStop() {
  local drill
  drill=${field[drill]}
  named_soundly "$drill" || fail 40 "$drill cannot be the name of a drill"
  [[ -d $root/drills/$volume/$drill ]] || answer '{}' 10
  rm -f "$root/exports/$volume@$drill"
  remove_tree "$root/drills/$volume/$drill"
  answer '{}'
}

fence() {
  [[ $role == source ]] || wrong_role
  close_to_writes "$root/exports/$volume"
  put "$here/fenced" yes
  answer '{}'
}

main() {
  root=${1:?the directory of the array is the first argument}
  server=${2:-127.0.0.1}
  read_request
  [[ -d $root/state ]] || fail 60 "$root is not there"
  read_fact secret "$root/secret"
  if [[ -n $secret && $secret != "${field[secret]}" ]]; then fail 45 "the secret is not the right one"; fi
  case $verb in
    identify | capabilities | discover | observe | drillList) "$verb" ;;
    points | divergence) use_volume && "$verb" ;;
    syncNow | prepare | unprepare | promote | demote | reverse | restore | expose | conceal | drillStart | drillStop | fence)
      use_volume
      one_at_a_time
      "$verb"
      ;;
    *) fail 50 "this array has no verb $verb" ;;
  esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
