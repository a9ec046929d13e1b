# Lifeboat's targets. Bare `make` lists them. Everything that a target needs, it installs by itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

TSC := node node_modules/typescript7/bin/tsc

.PHONY: help setup demo test test-long check types lint imports format golden bench sweep sim test-real package lab-up lab-down schemas clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | column -t -s'|'

setup: node_modules/.ready ## install the libraries, and a suitable Node where the machine's is older

node_modules/.ready: package.json package-lock.json
	@command -v npm >/dev/null || { echo "make: npm is missing. Next: apt-get install nodejs npm, then make again."; exit 2; }
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@test "$$(node -p 'process.versions.node.split(".")[0]')" -ge 24 || { \
	  echo "make: Node 24 or newer is needed and no bundled one exists for $$(uname -sm). Next: install Node 24."; exit 2; }
	node node_modules/.bin/tap build >/dev/null
	@touch $@

demo: setup ## watch a group being protected, its site die, and the group come up elsewhere
	@node test/demo/demo.ts

check: setup types lint imports ## types, lint and the import table

types: setup
	$(TSC) --noEmit -p tsconfig.json

lint: setup
	biome check --error-on-warnings .

imports: setup
	depcruise --config .dependency-cruiser.cjs src tools test

format: setup ## format the sources
	biome check --write .

test: check ## everything that a change must pass: checks and all tests
	@tools/run-tests.sh

test-long: setup ## whole stories by the real program: kill -9, dead sites, other products; minutes
	@tools/run-tests.sh --long

test-real: setup ## tests against real servers (sshd); CI installs them
	@LIFEBOAT_REAL=1 tools/run-tests.sh --real

golden: setup ## rewrite the golden files; review the difference
	LIFEBOAT_GOLDEN=write node node_modules/.bin/tap -R terse

bench: setup ## ratios from one run: export, import, analysis, catalog, memory
	node test/bench/run.ts

sweep: setup ## kill, spoil and race every step of every operation; thousands of simulated months
	@node test/faults/sweep/sweep.ts $(or $(SEEDS),10000)

sim: setup ## simulated months of one seed, told day by day: make sim SEED=7
	@node test/faults/sweep/sim.ts $(or $(SEED),1)

package: setup ## pack it, install the tarball elsewhere, and run it from there
	@tools/try-package.sh

schemas: setup ## rewrite docs/*.schema.json
	node tools/schema.ts

lab-up: setup ## start the two-site demo lab in the background
	bin/lifeboat lab up

lab-down: ## stop it
	bin/lifeboat lab down

clean: ## remove what was installed and built
	rm -rf node_modules dist .tap .lifeboat
