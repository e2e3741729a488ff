# What a host is, in one round trip: facts.sh UNITS FOLDERS FILES. Lines KEY<TAB>VALUE…; POSIX sh, and nothing that CentOS 7 lacks.
units=$1 folders=$2 files=$3
say() { printf '%s\t%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
say clock "$(date +%s.%N)"
if [ -r /etc/os-release ]; then
  ( . /etc/os-release; say id "$ID"; say like "$ID_LIKE"; say version "$VERSION_ID"; say platform "$PLATFORM_ID"; say pretty "$PRETTY_NAME" )
fi
for p in dnf5 dnf yum zypper; do has $p && { say manager $p; break; }; done
for f in /var/run/yum.pid /var/cache/dnf/metadata_lock.pid /run/dnf/rpmtransaction.lock /var/lib/dnf/rpmdb_lock.pid; do
  [ -r "$f" ] && p=$(tr -dc 0-9 <"$f") && [ -n "$p" ] && [ -d "/proc/$p" ] && say lock "$(cat "/proc/$p/comm") $p"
done
# Programs are started as rarely as can be: that takes most of the time here, and most of all on a busy host.
# shellcheck disable=SC2046 # its two words
set -- $(uname -mr); say kernel "$1"; say arch "$2"
# Not said where the kernel's list of modules is not there, as in a container.
if [ -s "/lib/modules/$1/modules.dep" ]; then
  if grep -qs '/ip_tables\.ko' "/lib/modules/$1/modules.dep" "/lib/modules/$1/modules.builtin"; then say iptables yes; else say iptables no; fi
fi
read -r name </proc/sys/kernel/hostname && say hostname "$name"
[ -r /etc/machine-id ] && { read -r id || [ -n "$id" ]; } </etc/machine-id && say machine "$id"
links=
if has ip; then
  # Each link and its MTU. A container may show the links of another network in /sys.
  links=$(ip -o link 2>/dev/null | awk '{sub(/(@.*)?:$/, "", $2); for (i = 3; i < NF; i++) if ($i == "mtu") print $2 " " $(i + 1)}')
  # Each address with its interface and what that sends. A temporary one is no name for a host, and one that is not to be used neither.
  ip -o addr show scope global 2>/dev/null | links=$links awk '
    BEGIN {for (n = split(ENVIRON["links"], line, "\n"); n > 0; n--) {split(line[n], word, " "); mtu[word[1]] = word[2]}}
    $3 == "inet" || $3 == "inet6" {
      sub("/.*", "", $4)
      passing = $0 ~ / (temporary|deprecated|tentative|dadfailed) / ? " passing" : ""
      print "address\t" $4 " " $2 " " ($2 in mtu ? mtu[$2] : "-") passing
    }'
  # A router may know a million.
  { ip -4 route show 2>/dev/null | awk 'NR <= 1000'; ip -6 route show 2>/dev/null | awk 'NR <= 1000 && !/^fe80:/'; } | awk '
    $1 ~ /^[0-9a-f]*[0-9:]/ {d = p = "-"; for (i = 2; i < NF; i++) {if ($i == "dev") d = $(i + 1); if ($i == "proto") p = $(i + 1)} print "path\t" $1 " " d " " p}'
  # shellcheck disable=SC2046 # its words
  set -- $(ip route get 192.0.2.1 2>/dev/null || ip -6 route get 2001:db8::1 2>/dev/null)
  while [ $# -gt 1 ]; do
    case $1 in
    src) say route "$2";;
    dev) say interface "$2"; mtu=$(printf '%s\n' "$links" | sed -n "s/^$2 //p"); [ -z "$mtu" ] || say mtu "$mtu";;
    esac
    shift
  done
fi
# A default route that the kernel itself took from a router's announcement.
has ip && ip -6 route show default 2>/dev/null | sed -n 's/.* dev \([^ ]*\) proto ra .*/\1/p' | while read -r l; do
  read -r accepts <"/proc/sys/net/ipv6/conf/$l/accept_ra" && [ "$accepts" = 1 ] && say announced "$l"
done
# What networks of pods make. A name in a package is the system's own.
for l in cni0 flannel.1 flannel-v6.1 cbr0 weave vxlan.calico cilium_host; do
  printf '%s\n' "$links" | grep -q "^$l " || continue
  say pods "$l $(ip -o -4 addr show dev "$l" 2>/dev/null | { read -r _ _ _ address _; printf %s "$address"; })"
done
set --
# shellcheck disable=SC2086 # lists of words
for d in / /var /var/lib /tmp $folders; do [ -d "$d" ] && set -- "$@" "$d"; done
stat -fc '%a %S %n' "$@" 2>/dev/null | while read -r blocks size d; do say free "$d $((blocks * size / 1024))"; done
awk '/^MemTotal/ {print "memory\t" $2} /^processor/ {n++} END {print "cpus\t" n}' /proc/meminfo /proc/cpuinfo
[ -f /sys/fs/cgroup/cgroup.controllers ] && say cgroup 2 || say cgroup 1
read -r fips 2>/dev/null </proc/sys/crypto/fips_enabled && say fips "$fips"
if has getenforce; then say selinux "$(getenforce)"; else say selinux Disabled; fi
grep -qs '^[[:space:]]*nameserver[[:space:]]' /etc/resolv.conf || say nameserver none
{ read -r _; read -r _; } </proc/swaps && say swap yes || say swap no
[ -d /run/systemd/system ] && say systemd yes
# One call for all units: two for each would take longer than everything else here. Missing ones are shown too, as inactive.
# shellcheck disable=SC2086 # a list of words
systemctl show -p Id,ActiveState,UnitFileState firewalld.service fapolicyd.service $units 2>/dev/null | awk -F= '
    function out() { if (id != "") { sub(/\.service$/, "", id); print "unit\t" id " " active " " (enabled == "" ? "not-found" : enabled) } id = active = enabled = "" }
    /^$/ {out()} $1 == "Id" {id = $2} $1 == "ActiveState" {active = $2} $1 == "UnitFileState" {enabled = $2} END {out()}'
find /etc/systemd/system /run/systemd/system -maxdepth 1 -lname /dev/null -name '*.service' -printf 'masked\t%f\n' 2>/dev/null
if has ss; then
  # No -H: CentOS 7's ss has none. The heading's port is no number.
  ss -ltnp 2>/dev/null | awk 'NR > 1 {n=split($4,a,":"); p="-"; if (match($0,/\(\("[^"]*"/)) p=substr($0,RSTART+3,RLENGTH-4); print "listen\t" a[n] " " p}' | sort -u
fi
# Files with their mode, what is in them, and how they were before a run wrote them first (`?`: none has): base64, `-` where there is
# no file. The change record of such runs is `src/resource/record.rs`'s.
content() { if [ -f "$1" ] && [ -r "$1" ]; then printf '=%s' "$(head -c 65536 <"$1" | base64 | tr -d '\n')"; else printf -; fi; }
kept=/var/lib/sunshine-installer
for f in $files; do
  before='?'
  if grep -qs "^file	$f	kept" "$kept/record"; then
    before=$(content "$kept/backup/$(printf %s "$f" | sha256sum | cut -d' ' -f1)")
  elif grep -qs "^file	$f	" "$kept/record"; then
    before=-
  fi
  say file "$f $(stat -Lc %a "$f" 2>/dev/null || echo -) $(content "$f") $before"
done
# A damaged database of rpm says so; one that another process holds for good keeps rpm waiting in silence.
rpmdb=
if has rpm; then
  timeout -k 2 15 rpm -qa --qf 'package\t%{NAME} %{EPOCHNUM} %{VERSION} %{RELEASE}\n' 2>/dev/null
  case $? in
  0) ;;
  124|137) rpmdb='gave no answer within 15 s';;
  *) rpmdb=$(timeout -k 2 15 rpm -qa 2>&1 >/dev/null | sed -n 's/^error: //p' | head -n 1);;
  esac
fi
if [ -n "$rpmdb" ]; then
  say rpmdb "$rpmdb"
  find /proc/[0-9]*/fd \( -lname '/var/lib/rpm/*' -o -lname '/usr/lib/sysimage/rpm/*' \) 2>/dev/null | cut -d / -f 3 | sort -u | while read -r p; do
    read -r name <"/proc/$p/comm" && say rpmuser "$name (process $p)"
  done
fi
for f in /etc/cni/net.d/*; do
  case $f in *.conf|*.conflist|*.json) [ -f "$f" ] && [ -z "$rpmdb" ] && ! rpm -qf -- "$f" >/dev/null 2>&1 && say cni "${f##*/}";; esac
done
:
