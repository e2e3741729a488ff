#!/bin/sh
# bundle.sh [INSTALLER [BUNDLER]]: times and memory of building, unpacking, checking and describing a bundle, each beside
# the other programs that do the same, in one run on one machine, on the lab's packages. Prints a table in Markdown.
#
# Every line is the best of RUNS runs after one that warms the caches: the disk is not what is compared. As root all of
# them run at a high priority, so that what else the machine does disturbs them less.
set -eu
cd "$(dirname "$0")/.."
: "${CARGO_TARGET_DIR:=/var/cache/sunshine-target}"
: "${RUNS:=5}"
installer=${1:-$CARGO_TARGET_DIR/release/sunshine-installer}
bundler=${2:-$CARGO_TARGET_DIR/release/sunshine-bundler}
first=
[ "$(id -u)" != 0 ] || first="nice -n -18"
scripts/need makeself zstd openssl createrepo-c rpm time

work=$(mktemp -d "${TMPDIR:-/var/tmp}/sunshine-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# best NAME COMMAND…: runs it, and prints its best time, that run's processor time, and its largest memory.
# The shell text in $before, when there is one, runs before every run and is not timed.
best() {
  name=$1; shift
  i=0; time=; memory=0
  while [ "$i" -le "$RUNS" ]; do
    [ -z "${before:-}" ] || eval "$before"
    $first /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
    read -r t u s m <"$work/time"
    [ "$m" -le "$memory" ] || memory=$m
    [ "$i" = 0 ] || time=$(printf '%s %s %s\n%s\n' "$t" "$u" "$s" "${time:-$t $u $s}" | sort -n | head -n1)
    i=$((i + 1))
  done
  set -- $time
  printf '| %s | %s s | %s + %s s | %s MiB |\n' "$name" "$1" "$2" "$3" "$((memory / 1024))"
}

heading() { printf '\n%s\n\n| | time | user + system | memory |\n|---|---:|---:|---:|\n' "$1"; }

mkdir "$work/rpms"
tests/lab/lab rpms etcd docker kubernetes extras | grep '\.rpm$' | while read -r f; do cp "$f" "$work/rpms/"; done
bytes=$(cat "$work"/rpms/*.rpm | wc -c)
printf 'On %s, %s cores, %s packages of %s bytes, %s.\n' "$(date -u +%F)" "$(nproc)" "$(ls "$work/rpms" | wc -l)" "$bytes" \
  "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)"

heading "Building one file"
bin=$work/test.bin
before='rm -f "$bin"' best "sunshine-bundler build (metadata and digests included)" \
  "$bundler" build -q --deployer "$installer" --rpms "$work/rpms" -o "$bin"
before='rm -f "$work/makeself.run"' best "makeself --zstd" \
  makeself --quiet --zstd "$work/rpms" "$work/makeself.run" label true
before='rm -f "$work/makeself.run"' best "makeself --nocomp" \
  makeself --quiet --nocomp "$work/rpms" "$work/makeself.run" label true

heading "Unpacking it"
before='rm -rf "$work/dir"' best "bundle extract, every byte checked" "$installer" bundle extract "$work/dir" --bundle "$bin"
before='rm -rf "$work/copy"' best "cp -r of the extracted folder" cp -r "$work/dir" "$work/copy"
before='rm -rf "$work/copy"' best "makeself --nocomp archive" sh "$work/makeself.run" --quiet --noexec --target "$work/copy"

heading "Checking it"
before= best "bundle verify" "$installer" bundle verify --bundle "$bin"
best "openssl dgst -sha256 of the same file" openssl dgst -sha256 "$bin"

heading "Metadata of the same packages"
before='rm -rf "$work/rpms/repodata"' best "sunshine-bundler metadata" "$bundler" metadata "$work/rpms"
before='rm -rf "$work/rpms/repodata"' best "createrepo_c" createrepo_c --quiet "$work/rpms"
rm -rf "$work/rpms/repodata"

heading "Metadata of 2,000 small packages"
benches/small-rpms 2000 "$work/small"
before='rm -rf "$work/small/repodata"' best "sunshine-bundler metadata" "$bundler" metadata "$work/small"
before='rm -rf "$work/small/repodata"' best "createrepo_c" createrepo_c --quiet "$work/small"

heading "Starting up (20 starts)"
truncate -s 1G "$work/image.tar"
"$bundler" build -q --deployer "$installer" -o "$work/small.bin"
"$bundler" build -q --deployer "$installer" --image "$work/image.tar" -o "$work/large.bin"
before=
for f in small large; do
  best "--version on a bundle of $(stat -c %s "$work/$f.bin") bytes" \
    sh -c 'i=0; while [ $i -lt 20 ]; do "$1" --version >/dev/null; i=$((i + 1)); done' sh "$work/$f.bin"
done
