#!/bin/sh
# Stands in front of a filer's own program (its real one is under /run/real) and plays what files under /run ask for:
#   /run/hold    whatever sends waits until the file is gone, and has sent nothing before
#   /run/fail    the first command that fits the pattern in it fails, and has done nothing
#   /run/lose    the first command that fits is done, and the SSH session that asked for it dies before it answers
program=${0##*/}
asked="$program $*"
fits() {
  [ -e "$1" ] || return 1
  pattern=$(cat "$1")
  # The pattern is a pattern: unquoted on purpose.
  case $asked in $pattern) rm "$1" ;; *) return 1 ;; esac
}
end_session() {
  one=$$
  until [ "$(ps -o comm= -p "$one")" = sshd ]; do one=$(ps -o ppid= -p "$one" | tr -d ' '); done
  kill -9 "$one"
}
case $asked in *" send "*) while [ -e /run/hold ]; do sleep 0.05; done ;; esac
if fits /run/fail; then
  echo "$program: made to fail" >&2
  exit 1
fi
if fits /run/lose; then
  "/run/real/$program" "$@"
  end_session
  exit 1
fi
exec "/run/real/$program" "$@"
