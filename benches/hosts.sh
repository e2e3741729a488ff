#!/bin/sh
# One command on twelve lab hosts: `hosts exec` beside parallel-ssh (Debian's pssh), both as maintuser by key, through sudo.
# Usage: [EARLIER=BINARY] benches/hosts.sh BINARY [ROUNDS [MORE]]; EARLIER, an earlier version, takes its turns too; prints each round's seconds, ours and theirs by turns. Each host gets MORE
# addresses (at most 16), so 16 makes 204 hosts of them.
set -eu
binary=$(readlink -f "$1") earlier=${EARLIER:+$(readlink -f "$EARLIER")} rounds=${2:-5} more=${3:-0}
root=$(cd "$(dirname "$0")/.." && pwd)
lab=$root/tests/lab/lab name=bench-hosts-$$
work=$(mktemp -d)
trap '"$lab" down --name "$name" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
"$root/scripts/need" pssh
"$lab" up 12 --name "$name" --owner $$ >/dev/null
key=${SUNSHINE_LAB_CACHE:-/var/cache/sunshine-lab}/keys/maintuser_ed25519
hosts=$(for n in 0 1 2 3 4 5 6 7 8 9 10 11; do
    echo "maintuser@10.8.14.$((200 + n))"
    i=0; while [ $i -lt "$more" ]; do
        address=10.8.14.$((2 + n * 16 + i))
        "$lab" exec --name "$name" "host$n" "ip addr add $address/24 dev eth0"
        echo "maintuser@$address"
        i=$((i + 1))
    done
done)
count=$(echo "$hosts" | wc -l)
echo "$hosts" >"$work/hosts"
now() { date +%s.%N; }
ours() { # BINARY
    # shellcheck disable=SC2086 # one word for each host
    XDG_STATE_HOME=$work/$(echo "$1" | cksum | tr -d " ") "$lab" run --name "$name" -- "$1" --log-dir "$work/log" --ssh-key "$key" hosts exec $hosts -- hostname >"$work/ours"
}
theirs() {
    "$lab" run --name "$name" -- parallel-ssh -h "$work/hosts" -p 64 -i \
        -x "-i $key -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=$work/known -o LogLevel=ERROR" sudo -n hostname >"$work/theirs"
}
# The first round records host keys and warms caches; it is not counted.
# parallel-ssh does not call again when an sshd drops it, so of many it may reach fewer: its figure says how many.
ours "$binary"; theirs || :
[ "$(grep -c "host[0-9]*$" "$work/ours")" = "$count" ] && [ "$(grep -o "host[0-9]*$" "$work/ours" | sort -u | wc -l)" = 12 ] || { echo "not all of them answered:" >&2; cat "$work/ours" >&2; exit 1; }
n=0
[ -z "$earlier" ] || ours "$earlier"
while [ $n -lt "$rounds" ]; do
    n=$((n + 1)) a=$(now)
    if [ -n "$earlier" ]; then
        ours "$earlier"
        echo "$a $(now)" | awk '{printf "earlier version %.2f s   ", $2 - $1}'
        a=$(now)
    fi
    ours "$binary"
    b=$(now)
    theirs || :
    c=$(now)
    echo "$a $b $c $count $(grep -c SUCCESS "$work/theirs")" |
        awk '{printf "hosts exec %.2f s, %d hosts   parallel-ssh %.2f s, %d hosts\n", $2 - $1, $4, $3 - $2, $5}'
done
