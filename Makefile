# Targets of the project; `make` alone lists them.
# Builds go to $CARGO_TARGET_DIR, default ./target.

SEEDS ?= 200
PEERS ?= 48
SIZE ?= 16M
CHECKS := conformance tls pass compat play page

.DEFAULT_GOAL := help
.PHONY: help build demo test test-cluster sim bench bench-check load-test lint clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

build: ## the program, optimised
	cargo build --locked --release

demo: ## a server, three peers and a video of more than 1 GB
	scripts/demo.sh

# The scripts check the program built for the tests; another build would take minutes without checking more.
# Examples are checked by `make lint`, and there are no doc tests: building both would take a minute.
# Tests wait more than they compute: four at once pass in three quarters of the time of two.
test: export RUST_TEST_THREADS ?= 4
test: export CARDUME_PROGRAM = $(or $(CARGO_TARGET_DIR),target)/debug/cardume
test: ## all tests, then the protocol, TLS, legacy systems, players and a browser with the real program, then a small load
	cargo test --locked --lib --bins --tests
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target $(CHECKS:%=check-%)
	scripts/load-test.sh 12 4M
	scripts/test-cluster.sh --short
	$(MAKE) --no-print-directory bench-check

# The checks wait most of their time: three run at once, each with ports and folders of its own.
check-%:
	scripts/$@.sh

test-cluster: ## servers that share an index on real engines: Redis, and Valkey where PyPI is at hand
	scripts/test-cluster.sh
	scripts/test-cluster.sh --valkey

sim: ## the simulated network; make sim SEEDS=1000
	SIM_SEEDS=$(SEEDS) cargo test --locked --release --test sim

load-test: ## dozens of peers that download from each other; make load-test PEERS=64 SIZE=32M
	scripts/load-test.sh $(PEERS) $(SIZE)

bench: ## side by side with nginx, curl, aria2c, b3sum, Redis and others; writes docs/bench.json, docs/bench.svg, docs/BENCHMARKS.md
	scripts/bench/run.sh --json docs/bench.json
	scripts/bench/graph.py docs/bench.json docs/bench.svg a b
	scripts/bench/report.py docs/bench.json docs/BENCHMARKS.md

# Built as for the tests: a build of the optimised program would take minutes.
bench-check: ## instruction counts of the hot paths against scripts/bench/instructions.json
	cargo build --locked --example instruction_cost
	scripts/bench/instructions.py $(or $(CARGO_TARGET_DIR),target)/debug/examples/instruction_cost

lint: ## format, clippy and documentation, without a single warning, and the program without its optional features
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

clean: ## remove all build output
	cargo clean
