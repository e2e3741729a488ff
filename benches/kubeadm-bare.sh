#!/bin/sh
# kubeadm-bare.sh: a cluster of current Kubernetes on two fresh lab hosts by the bare commands (ssh, dnf, etcd, kubeadm init
# and join, flannel by manifest), without this product: the yardstick for its time, and the proof that the lab can run such
# clusters. Ends with a pod that reaches a service by name on the other host.
# KUBERNETES=1.36 CONTAINERD=2.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
: "${SUNSHINE_LAB_CACHE:=/var/cache/sunshine-lab}" "${KUBERNETES:=1.36}" "${CONTAINERD:=2}"
export SUNSHINE_LAB_CACHE KUBERNETES CONTAINERD
lab=$root/tests/lab/lab name=kubeadm-bare-$$
work=$(mktemp -d)
trap '"$lab" down --name "$name" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
"$root/scripts/need" openssl openssh-client
"$root/benches/kubeadm/files" "$work"
"$lab" up 2 --name "$name" --owner $$ >/dev/null
"$lab" run --name "$name" -- "$root/benches/kubeadm/script" "$SUNSHINE_LAB_CACHE/keys/maintuser_ed25519" "$work" 1 10.8.14.200 10.8.14.201
"$lab" exec --name "$name" host0 "$(cat "$root/benches/kubeadm/smoke")"
