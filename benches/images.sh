#!/bin/sh
# images.sh [INSTALLER [BUNDLER]]: some 200 MB of container images to twelve fresh lab hosts with containerd, by turns
#   product    the step for images of a run, over the direct route, from the bundle (benches/images.rs: the program's own code,
#              from verifying the bundle and logging in to looking for every image again; no other step of a run);
#   scp        scp of the archives to all hosts at once, then `ctr images import` of each archive there;
#   scp loop   the same, one host after the other, as a plain script does it;
#   registry   docker-registry on the control host, filled before, from which all hosts pull at once with `ctr images pull`.
# Then what the product sends to hosts that have all images, and to hosts that have one which shares a layer with another.
#
# Prints each one's seconds, the bytes that the control host sent into the lab's network, and the processor time that it took
# there; then the medians and their ratios. Stores are emptied in between; every host must have every image in the end.
# The hosts are on the same cores as the control host: unpacking for all of them is in every figure, and on a site it is not
# the control host's. Bytes and processor time of the control host are as there.
# ROUNDS=3 HOSTS=12 RATES="0 1000": limits of the control host's link in Mbit/s, 0 is none.
set -eu
# As root all that is measured runs at a high priority, the hosts with it, so that other work disturbs it less.
[ "$(id -u)" != 0 ] || renice -n -18 $$ >/dev/null
root=$(cd "$(dirname "$0")/.." && pwd)
: "${CARGO_TARGET_DIR:=/var/cache/sunshine-target}" "${SUNSHINE_LAB_CACHE:=/var/cache/sunshine-lab}"
: "${ROUNDS:=3}" "${HOSTS:=12}" "${RATES:=0 1000}"
installer=${1:-$CARGO_TARGET_DIR/release/sunshine-installer}
bundler=${2:-$CARGO_TARGET_DIR/release/sunshine-bundler}
lab=$root/tests/lab/lab name=bench-images-$$ registry=
work=$(mktemp -d "${TMPDIR:-/var/tmp}/sunshine-bench.XXXXXX")
trap '[ -z "$registry" ] || kill "$registry" 2>/dev/null; "$lab" down --name "$name" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export CARGO_TARGET_DIR SUNSHINE_LAB_CACHE
"$root/scripts/need" openssh-client skopeo cpio

product=$(cd "$root" && cargo bench --quiet --locked --no-default-features --features bench --bench images --no-run \
  --message-format=json | sed -n 's/.*"executable":"\([^"]*\/images-[^"]*\)".*/\1/p')
"$lab" rpms kubeadm-1.36 flannel containerd-2 registry >/dev/null
rpms=$SUNSHINE_LAB_CACHE/rpms
mkdir "$work/archives"
cp "$rpms"/kubeadm-1.36/*.tar "$rpms"/flannel/flannel-v*.tar "$work/archives/"
"$bundler" build -q --deployer "$installer" --image "$work"/archives/*.tar -o "$work/test.bin"

"$lab" up "$HOSTS" --name "$name" --owner $$ >/dev/null
"$lab" run --name "$name" -- "$root/benches/registry" "$rpms"/registry/*.rpm "$work/registry" 10.8.14.1:5000 >"$work/log" 2>&1 &
registry=$!
"$root/benches/images.py" --lab "$name" --work "$work" --product "$product" --registry "$registry" \
  --key "$SUNSHINE_LAB_CACHE/keys/maintuser_ed25519" --runtime "$rpms"/containerd-2/*.rpm --hosts "$HOSTS" --rounds "$ROUNDS" \
  --rates "$RATES" # the key is root's too
