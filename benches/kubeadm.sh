#!/bin/sh
# kubeadm.sh [INSTALLER [BUNDLER]]: from nothing to etcd and current Kubernetes on three fresh lab hosts, by the bundle's one line and by the
# bare commands (benches/kubeadm/script: ssh, dnf, etcd, kubeadm), by turns in one run; and the same line again, which changes nothing. Each
# cluster is proved by a pod that reaches a service by name, not timed. Prints each round's seconds, then the medians and their ratio.
# ROUNDS=3 CONTROL_PLANE=1 (or 3) KUBERNETES=1.36 CONTAINERD=2
set -eu
# As root all that is measured runs at a high priority, the hosts with it, so that other work disturbs it less.
[ "$(id -u)" != 0 ] || renice -n -18 $$ >/dev/null
root=$(cd "$(dirname "$0")/.." && pwd)
: "${CARGO_TARGET_DIR:=/var/cache/sunshine-target}" "${SUNSHINE_LAB_CACHE:=/var/cache/sunshine-lab}"
: "${ROUNDS:=3}" "${CONTROL_PLANE:=1}" "${KUBERNETES:=1.36}" "${CONTAINERD:=2}"
export SUNSHINE_LAB_CACHE KUBERNETES CONTAINERD
installer=${1:-$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release/sunshine-installer}
bundler=${2:-$CARGO_TARGET_DIR/release/sunshine-bundler}
lab=$root/tests/lab/lab name=bench-kubeadm-$$
work=$(mktemp -d)
export SUNSHINE_STATE_DIR="$work/run/state"
trap '"$lab" down --name "$name" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
"$root/scripts/need" openssl openssh-client
"$root/benches/kubeadm/files" "$work"
"$bundler" build --quiet --deployer "$installer" --rpms "$work"/host/*.rpm "$work/etcd/etcd.rpm" --image "$work"/host/*.tar \
  --assume-provided "$root/tests/lab/provided" -o "$work/sunshine-installer.bin"
case $CONTROL_PLANE in
1) control_plane=root:111111@10.8.14.200 workers="root:111111@10.8.14.201 root:111111@10.8.14.202" ;;
3) cat >"$work/cluster.yaml" <<'END' ;;
schema: 1
defaults: {passwordEnv: CLUSTER_PASSWORD}
hosts:
  - {address: 10.8.14.200, roles: [etcd, control-plane, worker]}
  - {address: 10.8.14.201, roles: [etcd, control-plane, worker]}
  - {address: 10.8.14.202, roles: [etcd, control-plane, worker]}
kubernetes: {apiEndpoint: '10.8.14.200:6443'}
END
*) echo "CONTROL_PLANE is 1 or 3" >&2; exit 2 ;;
esac

fresh() { "$lab" down --name "$name" >/dev/null 2>&1 || :; "$lab" up 3 --name "$name" --owner $$ >/dev/null; sleep 3; rm -rf "$work/run"; mkdir "$work/run"; }
# timed COMMAND…: runs it on the control host; its seconds go to $took
timed() {
  a=$(date +%s.%N)
  "$lab" run --name "$name" -- "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
  took=$(echo "$a $(date +%s.%N)" | awk '{printf "%.2f", $2 - $1}')
}
proved() { "$lab" exec --name "$name" host0 "$(sed '/taint node/d; s/nodeName: host0/nodeName: host2/' "$root/benches/kubeadm/smoke")" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }; }
# The one line; with three control plane nodes the file, which can say that the first one's address stands for a load balancer.
ours() {
  case $CONTROL_PLANE in
  # shellcheck disable=SC2086 # one word for each host
  1) timed "$work/sunshine-installer.bin" -K onekey_deploy_ctl -create_etcd_cluster --host-list $control_plane \
    -create_k8s_cluster --master-host-list $control_plane --node-host-list $workers --log-dir "$work/run/log" ;;
  3) timed env CLUSTER_PASSWORD=111111 "$work/sunshine-installer.bin" cluster apply -f "$work/cluster.yaml" --log-dir "$work/run/log" ;;
  esac
}
bare() {
  cp -r "$work/host" "$work/etcd" "$work/kube-flannel.yaml" "$work/run/"
  timed "$root/benches/kubeadm/script" "$SUNSHINE_LAB_CACHE/keys/maintuser_ed25519" "$work/run" "$CONTROL_PLANE" \
    10.8.14.200 10.8.14.201 10.8.14.202
}
: >"$work/times"
round=0
while [ "$round" -lt "$ROUNDS" ]; do
  round=$((round + 1))
  fresh; ours; first=$took; proved
  ours; second=$took
  fresh; bare; bare=$took; [ "$CONTROL_PLANE" = 1 ] || "$lab" exec --name "$name" host0 'KUBECONFIG=/etc/kubernetes/admin.conf kubectl taint node --all node-role.kubernetes.io/control-plane-' >/dev/null; proved
  echo "one line $first s   the line again $second s   bare commands $bare s"
  echo "$first $second $bare" >>"$work/times"
done
median() { cut -d' ' -f"$1" "$work/times" | sort -n | sed -n "$(((ROUNDS + 1) / 2))p"; }
echo "medians, $CONTROL_PLANE control plane node(s): one line $(median 1) s, again $(median 2) s, bare commands $(median 3) s"
echo "$(median 1) $(median 3)" | awk '{printf "one line / bare commands %.2f\n", $1 / $2}'
