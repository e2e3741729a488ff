#!/bin/sh
# etcd.sh [INSTALLER [BUNDLER]]: from nothing to a healthy three-member etcd with TLS on three fresh lab hosts, by the
# bundle, by a bare shell script over three parallel ssh, and by an Ansible playbook, by turns in one run; and the bundle's
# second run, which changes nothing. Prints each round's seconds, then the medians. ROUNDS=5
# EARLIER="INSTALLER BUNDLER": those of an earlier version take their turns too.
set -eu
# As root all that is measured runs at a high priority, the hosts with it, so that other work disturbs it less.
[ "$(id -u)" != 0 ] || renice -n -18 $$ >/dev/null
root=$(cd "$(dirname "$0")/.." && pwd)
: "${CARGO_TARGET_DIR:=/var/cache/sunshine-target}" "${SUNSHINE_LAB_CACHE:=/var/cache/sunshine-lab}" "${ROUNDS:=5}"
installer=${1:-$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release/sunshine-installer}
bundler=${2:-$CARGO_TARGET_DIR/release/sunshine-bundler}
lab=$root/tests/lab/lab name=bench-etcd-$$
work=$(mktemp -d)
trap '"$lab" down --name "$name" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
"$root/scripts/need" openssl openssh-client python3-venv
ansible=$SUNSHINE_LAB_CACHE/venv-ansible-core-2.18.6
if [ ! -x "$ansible/bin/ansible-playbook" ]; then
  rm -rf "$ansible"
  python3 -m venv "$ansible"
  "$ansible/bin/pip" --quiet install ansible-core==2.18.6
fi
rpm=$("$lab" rpms etcd | grep '\.rpm$')
key=$SUNSHINE_LAB_CACHE/keys/maintuser_ed25519 # root's too
"$bundler" build --quiet --deployer "$installer" --rpms "$rpm" -o "$work/sunshine-installer.bin"
# shellcheck disable=SC2086 # two words
set -- ${EARLIER:-}
[ $# = 0 ] || "$2" build --quiet --deployer "$1" --rpms "$rpm" -o "$work/earlier.bin"
members="10.8.14.200 10.8.14.201 10.8.14.202"

fresh() { "$lab" down --name "$name" >/dev/null 2>&1 || :; "$lab" up 3 --name "$name" --owner $$ >/dev/null; sleep 3; rm -rf "$work/run"; mkdir "$work/run"; }
# timed COMMAND…: runs it on the control host; its seconds go to $took
timed() {
  a=$(date +%s.%N)
  "$lab" run --name "$name" -- "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
  took=$(echo "$a $(date +%s.%N)" | awk '{printf "%.2f", $2 - $1}')
}
healthy() { # the proof that each way did it, not timed; $1: the certificate that asks
  said=$("$lab" exec --name "$name" host1 "cd /etc/etcd/pki && ETCDCTL_API=3 etcdctl --cacert ca.crt --cert $1.crt --key $1.key --endpoints https://10.8.14.201:2379 endpoint health --cluster 2>&1")
  [ "$(echo "$said" | grep -c 'is healthy')" = 3 ] || { echo "$said" >&2; exit 1; }
}
ours() { # BUNDLE
  timed env SUNSHINE_STATE_DIR="$work/run/state" "$work/$1" etcd create --log-dir "$work/run/log" \
    --host root:111111@10.8.14.200 root:111111@10.8.14.201 root:111111@10.8.14.202
}
playbook() { # tuned, or plain: Ansible as it comes, but for the host keys of hosts made a moment ago
  cat >"$work/run/ansible.cfg" <<CFG
[defaults]
host_key_checking = False
forks = 3
interpreter_python = /usr/bin/python3
local_tmp = $work/run/ansible
gathering = $([ "$1" = plain ] && echo implicit || echo explicit)
[ssh_connection]
pipelining = $([ "$1" = plain ] && echo False || echo True)
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null
CFG
  n=0 initial=
  for a in $members; do initial=$initial${initial:+,}host$n=https://$a:2380; n=$((n + 1)); done
  { echo '[members]'; n=0; for a in $members; do echo "$a member=host$n=https://$a:2380"; n=$((n + 1)); done; } >"$work/run/hosts"
  n=0; for a in $members; do "$root/benches/etcd/configuration" "host$n" "$a" "$initial" >"$work/run/$a.conf"; n=$((n + 1)); done
  # shellcheck disable=SC2016,SC2086 # the inner shell's own words
  timed env ANSIBLE_CONFIG="$work/run/ansible.cfg" HOME="$work/run" sh -c '"$1/benches/etcd/certificates" "$2" '"$members"' &&
    "$3/bin/ansible-playbook" -i "$2/hosts" -u root --private-key "$4" -e "rpm=$5 work=$2" "$1/benches/etcd/playbook.yml"' \
    sh "$root" "$work/run" "$ansible" "$key" "$rpm"
}
: >"$work/times"
round=0
while [ "$round" -lt "$ROUNDS" ]; do
  round=$((round + 1))
  if [ -e "$work/earlier.bin" ]; then
    fresh; ours earlier.bin; healthy root; before=$took
    ours earlier.bin; healthy root
    echo "earlier version $before s   its second run $took s"
    echo "$before $took" >>"$work/earlier"
  fi
  fresh; ours sunshine-installer.bin; healthy root; first=$took
  ours sunshine-installer.bin; healthy root; second=$took
  # shellcheck disable=SC2086 # one word for each member
  fresh; timed "$root/benches/etcd/script" "$rpm" "$key" "$work/run" $members; healthy member; script=$took
  fresh; playbook tuned; healthy member; tuned=$took
  fresh; playbook plain; healthy member; plain=$took
  echo "bundle $first s   its second run $second s   script $script s   playbook tuned $tuned s   plain $plain s"
  echo "$first $second $script $tuned $plain" >>"$work/times"
done
median() { cut -d' ' -f"$1" "$work/${2:-times}" | sort -n | sed -n "$(((ROUNDS + 1) / 2))p"; }
[ ! -e "$work/earlier" ] || echo "medians: earlier version $(median 1 earlier) s, its second run $(median 2 earlier) s"
echo "medians: bundle $(median 1) s, its second run $(median 2) s, script $(median 3) s, playbook tuned $(median 4) s, plain $(median 5) s" \
  | tee "$work/medians"
echo "$(median 1) $(median 3) $(median 4) $(median 5)" \
  | awk '{printf "bundle / script %.2f, tuned playbook / bundle %.2f, plain playbook / bundle %.2f\n", $1 / $2, $3 / $1, $4 / $1}'
