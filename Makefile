# make demo    from an empty machine to a running cluster on three hosts of the lab
# make test    every test, the lab's included
# make conformance   specs of Kubernetes' own conformance suite on a cluster of the lab (builds the suite first: minutes)
# make bundle  dist/sunshine-installer-VERSION.bin from install_rpm/
# make release the deployer alone, portable to CentOS 7
# make faults  what is killed or lost: clusters too, every step and more random moments, of which make test has some
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

.PHONY: demo test faults fuzz conformance lint bundle release deps clean bench-plan

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

# Every fault of the tests that inject faults. `make test` has those of etcd, some of them, chosen at random.
faults: deps
	@SUNSHINE_FAULTS=all NEXTEST_PROFILE=faults scripts/test

fuzz:
	@scripts/fuzz

conformance: deps
	@scripts/conformance

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --no-default-features --features bench,fuzz --lib --bins --benches -- -D warnings
	scripts/deny

# The cloud has no part in it, and takes longest to build.
bench-plan:
	@cargo bench --quiet --locked --no-default-features --features bench --bench plan

clean:
	rm -rf dist
