#!/bin/sh
# listener.sh [INSTALLER [BUNDLER]]: the memory of `repo serve` while CLIENTS clients at once each pull one layer of an image,
# beside docker-registry under the same load, in one run on one machine over the loopback: first as fast as they can, then each
# at RATE KiB/s, so that all of them are being served all the time. Prints the largest resident memory of each server (VmHWM),
# counted anew for each load, and how long the clients took. Every client must get every byte.
# CLIENTS=300 LAYER=50 (MB) RATE=1024
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
: "${CARGO_TARGET_DIR:=/var/cache/sunshine-target}" "${SUNSHINE_LAB_CACHE:=/var/cache/sunshine-lab}"
: "${CLIENTS:=300}" "${LAYER:=50}" "${RATE:=1024}"
export SUNSHINE_LAB_CACHE
installer=${1:-$CARGO_TARGET_DIR/release/sunshine-installer}
bundler=${2:-$CARGO_TARGET_DIR/release/sunshine-bundler}
lab=$root/tests/lab/lab ours='' registry=''
work=$(mktemp -d "${TMPDIR:-/var/tmp}/sunshine-bench.XXXXXX")
trap 'kill $ours $registry 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
"$root/scripts/need" skopeo cpio
"$lab" rpms registry >/dev/null

# An image of one layer, which does not compress.
mkdir "$work/tree"
head -c "${LAYER}000000" /dev/urandom >"$work/tree/data"
PYTHONPATH=$root/tests/lab/lib PYTHONDONTWRITEBYTECODE=1 python3 -c '
import sys, ociimage
ociimage.save(sys.argv[1], ["bench.local/layer:1"], [ociimage.layer(sys.argv[2])])' "$work/layer.tar" "$work/tree"
layer=$(tar -tvf "$work/layer.tar" | sort -n -k 3 | sed -n '$s,.*blobs/sha256/,,p')
"$bundler" build -q --deployer "$installer" --image "$work/layer.tar" -o "$work/test.bin"

"$installer" repo serve --bundle "$work/test.bin" --listen 127.0.0.1 --log-dir "$work/log" >"$work/said" &
ours=$!
"$root/benches/registry" "$SUNSHINE_LAB_CACHE"/rpms/registry/*.rpm "$work/registry" 127.0.0.1:15000 >"$work/registry.log" 2>&1 &
registry=$!
until curl -fs -o /dev/null http://127.0.0.1:15000/v2/; do sleep 0.1; done
skopeo copy --quiet --preserve-digests --dest-tls-verify=false "oci-archive:$work/layer.tar" \
  docker://127.0.0.1:15000/layer:1
until grep -q baseurl "$work/said"; do sleep 0.1; done
place=$(sed -n 's/.*docker pull \([^ ]*\):1$/\1/p' "$work/said")

echo "$CLIENTS clients, a layer of $LAYER MB each; $(nproc) cores"
# load RATE: both servers in turn.
load() {
  for server in "repo_serve $ours http://${place%%/*}/v2/${place#*/}" "docker-registry $registry http://127.0.0.1:15000/v2/layer"; do
    set -- "$1" $server
    echo 5 >"/proc/$3/clear_refs" # VmHWM begins anew: proc(5)
    took=$("$root/benches/listener_clients.py" "$4/blobs/sha256:$layer" "$CLIENTS" "$1")
    echo "$2: $took, at most $(awk '/^VmHWM/ {printf "%.1f", $2 / 1024}' "/proc/$3/status") MiB"
  done
}
echo "as fast as they can:"
load 0
echo "$RATE KiB/s each:"
load "$RATE"
