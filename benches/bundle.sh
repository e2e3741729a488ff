#!/bin/sh
# bundle.sh [INSTALLER [BUNDLER]]: times and memory of building, unpacking, checking and describing a bundle, each beside
# the other programs that do the same, by turns in one run on one machine, on the lab's packages. Prints tables in Markdown;
# their last column says how many times as long the first program took.
#
# Every line is the best of RUNS runs after one that warms the caches: the disk is not what is compared.
# RUNS=5; OLD_BIN, OLD_BUNDLER: programs of an earlier version, to compare with.
set -eu
cd "$(dirname "$0")/.."
: "${CARGO_TARGET_DIR:=/var/cache/sunshine-target}" "${OLD_BIN:=}" "${OLD_BUNDLER:=}"
installer=${1:-$CARGO_TARGET_DIR/release/sunshine-installer}
bundler=${2:-$CARGO_TARGET_DIR/release/sunshine-bundler}
scripts/need makeself zstd openssl createrepo-c rpm time

work=$(mktemp -d "${TMPDIR:-/var/tmp}/sunshine-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

compare() { # TITLE NAME BEFORE PROGRAM OLD ARGUMENTS (NAME BEFORE COMMAND)…: one program, and its earlier version, beside others
  title=$1 name=$2 before=$3 program=$4 old=$5 arguments=$6; shift 6
  [ -z "$old" ] || set -- "$name, earlier version" "$before" "$old $arguments" "$@"
  benches/turns.py "$title" "$name" "$before" "$program $arguments" "$@"
}

mkdir "$work/rpms"
tests/lab/lab rpms etcd docker kubernetes extras | grep '\.rpm$' | while read -r f; do cp "$f" "$work/rpms/"; done
bytes=$(cat "$work"/rpms/*.rpm | wc -c)
printf 'On %s, %s cores, %s packages of %s bytes, %s,%s.\n' "$(date -u +%F)" "$(nproc)" "$(ls "$work/rpms" | wc -l)" "$bytes" \
  "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)" "$(uptime | sed 's/.*users*,//')"

bin=$work/test.bin
compare "Building one file" \
  "sunshine-bundler build (metadata and digests included)" "rm -f $bin" "$bundler" "$OLD_BUNDLER" \
  "build -q --deployer $installer --rpms $work/rpms -o $bin" \
  "makeself --zstd" "rm -f $work/run" "makeself --quiet --zstd $work/rpms $work/run label true" \
  "makeself --nocomp" "rm -f $work/run" "makeself --quiet --nocomp $work/rpms $work/run label true"

compare "Unpacking it" \
  "bundle extract, every byte checked" "rm -rf $work/dir" "$installer" "$OLD_BIN" "bundle extract $work/dir --bundle $bin" \
  "cp -r of the extracted folder" "rm -rf $work/copy" "cp -r $work/dir $work/copy" \
  "makeself --nocomp archive" "rm -rf $work/copy" "sh $work/run --quiet --noexec --target $work/copy"

compare "Checking it" \
  "bundle verify" "" "$installer" "$OLD_BIN" "bundle verify --bundle $bin" \
  "openssl dgst -sha256 of the same file" "" "openssl dgst -sha256 $bin"

describe() { # TITLE FOLDER
  compare "$1" "sunshine-bundler metadata" "rm -rf $2/repodata" "$bundler" "$OLD_BUNDLER" "metadata $2" \
    "createrepo_c" "rm -rf $2/repodata" "createrepo_c --quiet $2"
}
describe "Metadata of the same packages" "$work/rpms"
benches/small-rpms 2000 "$work/small"
describe "Metadata of 2,000 small packages" "$work/small"

truncate -s 1G "$work/large"
"$bundler" build -q --deployer "$installer" -o "$work/small.bin"
"$bundler" build -q --deployer "$installer" --file large="$work/large" -o "$work/large.bin"
# Starts another program 20 times.
printf '#!/bin/sh\ni=0; while [ $i -lt 20 ]; do "$1" --version >/dev/null; i=$((i + 1)); done\n' >"$work/start"
chmod +x "$work/start"
benches/turns.py "Starting up (20 starts)" \
  "--version on a bundle of $(stat -c %s "$work/large.bin") bytes" "" "$work/start $work/large.bin" \
  "--version on a bundle of $(stat -c %s "$work/small.bin") bytes" "" "$work/start $work/small.bin"
