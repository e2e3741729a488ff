#!/bin/sh
# A cluster of two lab hosts deployed over REST, by turns alone and while 200 clients ask for its progress once a second each.
# Usage: benches/rest.sh BUNDLE [ROUNDS]; prints the deployment's seconds, and how long the answers took.
set -eu
bundle=$(readlink -f "$1") rounds=${2:-3}
root=$(cd "$(dirname "$0")/.." && pwd)
lab=$root/tests/lab/lab name=bench-rest-$$
work=$(mktemp -d)
trap '[ -z "${listener:-}" ] || kill "$listener" 2>/dev/null; "$lab" down --name "$name" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# deploy CLIENTS: new hosts, one deployment, that many clients beside it.
deploy() {
    "$lab" up 2 --name "$name" --owner $$ >/dev/null
    rm -rf "$work/state"
    : >"$work/said"
    SUNSHINE_STATE_DIR=$work/state "$lab" run --name "$name" -- "$bundle" serve --log-dir "$work/log" >"$work/said" 2>&1 &
    listener=$!
    until grep -q listening "$work/said"; do sleep 0.1; done
    "$lab" run --name "$name" -- python3 "$root/benches/rest_clients.py" "$1"
    kill "$listener"
    wait "$listener" || :
    listener=
    "$lab" down --name "$name" >/dev/null
}

n=0
while [ $n -lt "$rounds" ]; do
    n=$((n + 1))
    deploy 0
    deploy 200
done
