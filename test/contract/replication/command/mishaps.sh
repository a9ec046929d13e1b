#!/usr/bin/env bash
# The sample of runbooks/samples with mishaps played in it: files in ROOT.mishaps say which. Arguments: SAMPLE ROOT [SERVER].
set -euo pipefail
source "$1"
shift
mishaps="$1.mishaps"

played=(answer set_role send allow copy_tree health now)
kept=$(declare -f "${played[@]}")
for name in "${played[@]}"; do kept=${kept/#"$name ()"/"true_$name ()"} kept=${kept/$'\n'"$name ()"/$'\n'"true_$name ()"}; done
eval "$kept"

once() { # NAME: whether this mishap was asked for; it happens once
  [[ -e $mishaps/$1 ]] && rm "$mishaps/$1"
}
die() { kill -9 $$; }

answer() {
  if once "lose-$verb"; then die; fi
  true_answer "$@"
}
set_role() {
  if [[ $verb == promote || ($verb == reverse && $2 == source) ]] && once "die-$verb"; then die; fi
  true_set_role "$@"
}
send() {
  if [[ $verb == prepare ]] && once die-prepare; then die; fi
  true_send "$@"
}
allow() {
  if [[ $verb == drillStart ]] && once die-drillStart; then die; fi
  true_allow "$@"
}
copy_tree() {
  while [[ -e $mishaps/hold ]]; do sleep 0.05; done
  true_copy_tree "$@"
}
health() { if [[ -e $mishaps/lie ]]; then printf 'ok'; else true_health; fi; }
now() {
  if [[ -e $mishaps/skew ]]; then date -u -d "+$(cat "$mishaps/skew") seconds" +%Y-%m-%dT%H:%M:%S.%3NZ; else true_now; fi
}

printf . >>"$mishaps/calls"
main "$@"
