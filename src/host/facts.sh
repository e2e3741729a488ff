# What a host is, in one round trip. Lines KEY<TAB>VALUE…; POSIX sh, and nothing that CentOS 7 lacks.
say() { printf '%s\t%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
say clock "$(date +%s.%N)"
if [ -r /etc/os-release ]; then
  ( . /etc/os-release; say id "$ID"; say like "$ID_LIKE"; say version "$VERSION_ID"; say pretty "$PRETTY_NAME" )
fi
for p in dnf5 dnf yum zypper; do has $p && { say manager $p; break; }; done
for f in /var/run/yum.pid /var/cache/dnf/metadata_lock.pid /run/dnf/rpmtransaction.lock /var/lib/dnf/rpmdb_lock.pid; do
  [ -r "$f" ] && p=$(tr -dc 0-9 <"$f") && [ -n "$p" ] && [ -d "/proc/$p" ] && say lock "$(cat "/proc/$p/comm") $p"
done
say arch "$(uname -m)"
say kernel "$(uname -r)"
say hostname "$(cat /proc/sys/kernel/hostname)"
say machine "$(cat /etc/machine-id 2>/dev/null)"
if has ip; then
  ip -o addr show scope global 2>/dev/null | while read -r _ _ family address _; do
    case $family in inet|inet6) say address "${address%%/*}";; esac
  done
  say route "$(ip route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p')"
  say interface "$(ip route get 192.0.2.1 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')"
fi
for d in / /var /var/lib /var/lib/etcd /var/lib/docker /tmp; do
  [ -d "$d" ] && say free "$d $(df -Pk "$d" 2>/dev/null | awk 'NR==2 {print $4}')"
done
say memory "$(awk '/^MemTotal/ {print $2}' /proc/meminfo)"
say cpus "$(grep -c '^processor' /proc/cpuinfo)"
[ -f /sys/fs/cgroup/cgroup.controllers ] && say cgroup 2 || say cgroup 1
if has getenforce; then say selinux "$(getenforce)"; else say selinux Disabled; fi
[ "$(awk 'NR>1' /proc/swaps | wc -l)" -gt 0 ] && say swap yes || say swap no
[ -d /run/systemd/system ] && say systemd yes
# One call for all units: two for each would take longer than everything else here. Missing ones are shown too, as inactive.
systemctl show -p Id,ActiveState,UnitFileState firewalld.service etcd.service docker.service containerd.service kubelet.service \
  kube-apiserver.service kube-controller-manager.service kube-scheduler.service kube-proxy.service flanneld.service \
  haproxy.service keepalived.service chronyd.service 2>/dev/null | awk -F= '
    function out() { if (id != "") { sub(/\.service$/, "", id); print "unit\t" id " " active " " (enabled == "" ? "not-found" : enabled) } id = active = enabled = "" }
    /^$/ {out()} $1 == "Id" {id = $2} $1 == "ActiveState" {active = $2} $1 == "UnitFileState" {enabled = $2} END {out()}'
if has ss; then
  # No -H: CentOS 7's ss has none. The heading's port is no number.
  ss -ltnp 2>/dev/null | awk 'NR > 1 {n=split($4,a,":"); p="-"; if (match($0,/\(\("[^"]*"/)) p=substr($0,RSTART+3,RLENGTH-4); print "listen\t" a[n] " " p}' | sort -u
fi
has rpm && rpm -qa --qf 'package\t%{NAME} %{EPOCHNUM} %{VERSION} %{RELEASE}\n' 2>/dev/null
:
