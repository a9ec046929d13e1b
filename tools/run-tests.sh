#!/usr/bin/env bash
# Runs the tests and ends with one plain line, "N passed, N failed, N skipped", whatever the reporter printed.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT

if [ "${1:-}" = --real ]; then
  files=(test/real/*.test.ts)
  node node_modules/.bin/tap -R tap --exclude= --timeout 1800 --jobs 1 "${files[@]}" >"$out" 2>&1
else
  node node_modules/.bin/tap -R tap >"$out" 2>&1
fi
code=$?

# Passing assertions are thousands of lines; a person wants the files, the failures and the skips.
awk '
  /^(not )?ok / || /^# time=/ { print; next }
  /^ *not ok / { failing = 1; indent = match($0, /[^ ]/); print; next }
  failing && match($0, /[^ ]/) >= indent { print; next }
  { failing = 0 }
  /# SKIP/ { print }
' "$out"
[ "$code" -eq 0 ] || grep -qE '^ *not ok ' "$out" || tail -n 40 "$out"

awk -v code="$code" '
  /^# \{ total:/ { line = $0 }
  function field(name) { return match(line, name ": [0-9]+") ? substr(line, RSTART + length(name) + 2, RLENGTH - length(name) - 2) + 0 : 0 }
  END {
    if (line == "") { print "0 passed, 1 failed"; exit }
    failed = field("fail")
    if (code != 0 && failed == 0) failed = 1
    printf "%d passed, %d failed, %d skipped\n", field("pass"), failed, field("skip")
  }
' "$out"
exit "$code"
