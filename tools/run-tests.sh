#!/usr/bin/env bash
# Runs the tests and ends with one plain line, "N passed, N failed, N skipped", whatever the reporter printed.
# In CI a file that failed is run once more, alone: one that passes then is named as flaky, and a fault of the product
# still fails. By hand nothing is run twice.
set -uo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# Hundreds of processes load the same program: what one of them compiled, the others take.
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$PWD/node_modules/.cache/compiled}"

# Passing assertions are thousands of lines; a person wants the files, the failures and the skips.
shorten() {
  awk '
    /^(not )?ok / || /^# time=/ { print; next }
    /^ *not ok / { failing = 1; indent = match($0, /[^ ]/); print; next }
    failing && match($0, /[^ ]/) >= indent { print; next }
    { failing = 0 }
    /# SKIP/ { print }
  ' "$1"
}

# The totals of a run: passed, failed, skipped. A run that broke off has failed once at least.
totals() {
  awk -v code="$2" '
    /^# \{ total:/ { line = $0 }
    function field(name) { return match(line, name ": [0-9]+") ? substr(line, RSTART + length(name) + 2, RLENGTH - length(name) - 2) + 0 : 0 }
    END {
      failed = field("fail")
      if (line == "" || (code != 0 && failed == 0)) failed = failed > 0 ? failed : 1
      print field("pass"), failed, field("skip")
    }
  ' "$1"
}

# Files of the last level that failed, one a line.
failures() { sed -nE 's/^not ok [0-9]+ - (test\/[^ ]+\.test\.ts).*/\1/p' "$1"; }

if [ "${1:-}" = --real ]; then
  options=(-R tap --exclude= --timeout 1800 --jobs 1)
  files=(test/real/*.test.ts)
elif [ "${1:-}" = --long ]; then
  options=(-R tap --exclude=)
  mapfile -t files < <(find test -name '*.long.test.ts' | sort)
else
  options=(-R tap)
  files=()
fi
node node_modules/.bin/tap "${options[@]}" "${files[@]}" >"$work/first" 2>&1
code=$?
shorten "$work/first"
[ "$code" -eq 0 ] || grep -qE '^ *not ok ' "$work/first" || tail -n 40 "$work/first"
read -r passed failed skipped <<<"$(totals "$work/first" "$code")"

mapfile -t again < <(failures "$work/first")
if [ "$code" -ne 0 ] && [ "${CI:-}" = true ] && [ "${#again[@]}" -gt 0 ] && [ "${#again[@]}" -le 5 ]; then
  echo
  echo "Once more, alone: ${again[*]}"
  node node_modules/.bin/tap "${options[@]}" --jobs 1 "${again[@]}" >"$work/second" 2>&1
  code=$?
  shorten "$work/second"
  for file in "${again[@]}"; do
    failures "$work/second" | grep -qxF "$file" || echo "FLAKY: $file failed, and passed when it was run again"
  done
  read -r repassed failed _ <<<"$(totals "$work/second" "$code")"
  passed=$((passed + repassed))
fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$code"
