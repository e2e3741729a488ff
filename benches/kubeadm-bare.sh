#!/bin/sh
# kubeadm-bare.sh: a cluster of current Kubernetes on two fresh lab hosts by the bare commands (ssh, dnf, etcd, kubeadm init
# and join, flannel by manifest), without this product: the yardstick for its time, and the proof that the lab can run such
# clusters. Ends with a pod that reaches a service by name on the other host.
# KUBERNETES=1.36 CONTAINERD=2.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
: "${SUNSHINE_LAB_CACHE:=/var/cache/sunshine-lab}" "${KUBERNETES:=1.36}" "${CONTAINERD:=2}"
export SUNSHINE_LAB_CACHE
lab=$root/tests/lab/lab name=kubeadm-bare-$$
work=$(mktemp -d)
trap '"$lab" down --name "$name" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
"$root/scripts/need" openssl openssh-client
"$lab" rpms "kubeadm-$KUBERNETES" "containerd-$CONTAINERD" etcd-3.6 flannel agnhost >/dev/null
rpms=$SUNSHINE_LAB_CACHE/rpms
mkdir "$work/host" "$work/etcd"
cp "$rpms/kubeadm-$KUBERNETES"/*.rpm "$rpms/kubeadm-$KUBERNETES"/*.tar "$rpms/containerd-$CONTAINERD"/*.rpm "$rpms"/flannel/*.tar \
  "$rpms"/agnhost/*.tar "$root/benches/kubeadm/host" "$work/host/"
# etcd is a service of its own here, so its image is not needed.
rm -f "$work/host"/etcd-*.tar
cp "$rpms"/etcd-3.6/*.rpm "$work/etcd/etcd.rpm"
cp "$rpms/flannel/kube-flannel.yaml" "$work/"
"$lab" up 2 --name "$name" --owner $$ >/dev/null
"$lab" run --name "$name" -- "$root/benches/kubeadm/script" "$SUNSHINE_LAB_CACHE/keys/maintuser_ed25519" "$work" 1 10.8.14.200 10.8.14.201
"$lab" exec --name "$name" host0 "$(cat "$root/benches/kubeadm/smoke")"
