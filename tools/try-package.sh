#!/usr/bin/env bash
# Packs what would be published, installs it somewhere else the way a user does, and runs the compiled program from there.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
export LIFEBOAT_LAB_DIR=$place/labs
lab=package-$$
trap 'cd /; "$place/node_modules/.bin/lifeboat" lab down --name "$lab" >/dev/null 2>&1 || true; rm -rf "$place"' EXIT

npm pack --silent --pack-destination "$place" >"$place/npm.log" 2>&1 || { cat "$place/npm.log"; exit 1; }
version=$(node -p 'require("./package.json").version')
cd "$place"
echo '{ "private": true }' >package.json
npm install --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel=error ./lifeboat-*.tgz
cp -r node_modules/lifeboat/{sites.yaml,runbooks} .

lifeboat=node_modules/.bin/lifeboat
[ "$("$lifeboat" --version)" = "$version" ]
"$lifeboat" --help | grep -q '^Usage: lifeboat'
"$lifeboat" validate >/dev/null
"$lifeboat" lab up --name "$lab" --port "${LIFEBOAT_PACKAGE_PORT:-28443}" >/dev/null
"$lifeboat" lab status --name "$lab" >/dev/null
"$lifeboat" lab down --name "$lab" >/dev/null
echo "lifeboat $version installs from its tarball ($(du -h lifeboat-*.tgz | cut -f1)) and runs: version, help, validate, a lab."
