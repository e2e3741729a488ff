#!/bin/sh
# Measures the repository server against nginx (sendfile on), in one run on one machine: 32 connections fetching one
# package of about 10 MB over the loopback, each server in turn, several rounds; then its resident memory under 200
# connections.
#
#   benches/repo.sh [INSTALLER] [BUNDLER]        default: target/release, or $CARGO_TARGET_DIR/release
#
# Needs wrk, nginx and python3. Prints a table; docs/benchmarks.md has what was measured.
set -eu

target=${CARGO_TARGET_DIR:-$(dirname "$0")/../target}
installer=${1:-$target/release/sunshine-installer}
bundler=${2:-$target/release/sunshine-bundler}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-8}
for program in wrk nginx python3 rpmbuild "$installer" "$bundler"; do
    command -v "$program" >/dev/null || { echo "$0: $program is missing" >&2; exit 1; }
done

work=$(mktemp -d)
ours='' nginx=''
stop() {
    [ -z "$ours" ] || kill "$ours" 2>/dev/null || true
    [ -z "$nginx" ] || kill "$nginx" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT INT TERM

# A package of 10 MB that does not compress.
mkdir -p "$work/rpms"
cat >"$work/bench.spec" <<SPEC
Name: bench
Version: 1
Release: 1
Summary: for measuring
License: none
AutoReqProv: no
BuildArch: noarch
%description
For measuring.
%install
mkdir -p %{buildroot}/opt/bench
head -c 10000000 /dev/urandom >%{buildroot}/opt/bench/data
%files
/opt/bench
SPEC
rpmbuild -bb --quiet --define "_topdir $work/top" --define "_rpmdir $work/rpms" --define '_binary_payload w1.gzdio' \
    --define '_build_name_fmt bench.rpm' "$work/bench.spec"
"$bundler" build --deployer "$installer" --rpms "$work/rpms/bench.rpm" --output "$work/bench.bin" >/dev/null 2>&1
size=$(stat -c %s "$work/rpms/bench.rpm")

"$installer" repo serve --bundle "$work/bench.bin" --listen 127.0.0.1 --log-dir "$work/log" >"$work/repo" &
ours=$!
cat >"$work/nginx.conf" <<CONF
user root;
worker_processes auto;
pid $work/nginx.pid;
error_log $work/nginx.log;
daemon off;
events { worker_connections 1024; }
http {
    access_log $work/nginx-access.log;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    server { listen 127.0.0.1:18080; root $work; }
}
CONF
nginx -c "$work/nginx.conf" -p "$work" &
nginx=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    grep -q baseurl "$work/repo" 2>/dev/null && break
    sleep 1
done
base=$(sed -n 's/^baseurl=//p' "$work/repo")

# The first line of wrk's output that says how much it moved, in MB/s.
fetch() {
    wrk --timeout 60s -t 2 -c "$2" -d "${seconds}s" "$1" | python3 -c '
import re, sys
text = sys.stdin.read()
errors = re.search(r"Socket errors.*|Non-2xx.*", text)
if errors:
    sys.exit("wrk: " + errors.group(0))
value, unit = re.search(r"Transfer/sec:\s+([0-9.]+)([KMG])B", text).groups()
print(int(float(value) * {"K": 1 / 1024, "M": 1, "G": 1024}[unit]))'
}
memory() { awk '/^VmRSS|^VmHWM/ {printf "%s %d MB  ", $1, $2 / 1024}' "/proc/$1/status"; }

echo "package: $size bytes; $(nproc) processors; $(nginx -v 2>&1); 32 connections, $seconds s each"
fetch "${base}rpms/bench.rpm" 32 >/dev/null
fetch "http://127.0.0.1:18080/rpms/bench.rpm" 32 >/dev/null
round=1
while [ "$round" -le "$rounds" ]; do
    one=$(fetch "${base}rpms/bench.rpm" 32)
    two=$(fetch "http://127.0.0.1:18080/rpms/bench.rpm" 32)
    echo "round $round: ours $one MiB/s, nginx $two MiB/s, ratio $(python3 -c "print(f'{$one / $two:.2f}')")"
    round=$((round + 1))
done
fetch "${base}rpms/bench.rpm" 200 >/dev/null
echo "memory of ours after 32 and 200 connections: $(memory "$ours")"
