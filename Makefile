# make demo    from an empty machine to a running cluster on three hosts of the lab
# make test    every test, the lab's included
# make conformance   specs of Kubernetes' own conformance suite on a cluster of the lab (builds the suite first: minutes)
# make bundle  dist/sunshine-installer-VERSION.bin from install_rpm/
# make release the deployer alone, portable to CentOS 7
# make faults  N (100) random scenarios of a flow and one fault, SEED makes the same ones again: docs/lab.md, "Faults"
# make killed  what is killed or lost: clusters too, every step and more random moments, of which make test has some; Calico
# make fuzz    inputs that nobody wrote for every parser, SECONDS_EACH (30) seconds each; compiles with coverage first: minutes
# make bench-plan  what deciding, comparing and scheduling a plan costs, a line for each number of hosts
# make lint    formatting, clippy; licences, bans and sources of dependencies (no advisories: deny.toml says why)

SHELL := /bin/sh
export CARGO_TARGET_DIR ?= /var/cache/sunshine-target
export SUNSHINE_LAB_CACHE ?= /var/cache/sunshine-lab
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
PORTABLE := $(CARGO_TARGET_DIR)/x86_64-unknown-linux-gnu/release/sunshine-installer
BUNDLER := $(CARGO_TARGET_DIR)/release/sunshine-bundler
BUNDLE := dist/sunshine-installer-$(VERSION).bin

.PHONY: demo test faults killed fuzz conformance lint bundle release deps clean bench-plan

deps:
	@scripts/need binutils procps curl gcc make perl python3 python3-venv rpm createrepo-c dnf zypper skopeo makeself openssl openssh-client openssh-server sshpass zstd minisign gnupg chromium chromium-driver

release: deps
	@scripts/release

bundle: release
	@scripts/bundle "$(PORTABLE)" "$(BUNDLE)" install_rpm

demo: deps
	@scripts/demo

test: deps
	@scripts/test

SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
N ?= 100
faults: deps
	@SUNSHINE_SEED=$(SEED) SUNSHINE_SCENARIOS=$(N) SUNSHINE_ONLY=$(ONLY) NEXTEST_PROFILE=faults scripts/test --no-capture

# Every fault of the tests of what is killed. `make test` has those of etcd, some of them, chosen at random.
killed: deps
	@SUNSHINE_FAULTS=all NEXTEST_PROFILE=killed scripts/test

fuzz:
	@scripts/fuzz

conformance: deps
	@scripts/conformance

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --no-default-features --features bench,fuzz --lib --bins --benches -- -D warnings
	cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml
	scripts/deny

# The cloud has no part in it, and takes longest to build.
bench-plan:
	@cargo bench --quiet --locked --no-default-features --features bench --bench plan

clean:
	rm -rf dist
