"""A listing of a host, for telling whether something that was installed and removed again left a trace."""
import os
import subprocess

import hosts
from common import Problem, locked, read, sh, write

# What changes on a host by itself: logs, caches, random seeds, the lab's own faults.
VOLATILE = ("/var/log/*", "/var/cache/*", "/var/lib/dnf/*", "/var/lib/rpm/*", "/var/tmp/*", "/tmp/*", "/root/.bash_history",
            "/var/lib/systemd/random-seed", "/var/lib/systemd/timers/*", "/var/lib/systemd/catalog/*", "/etc/lab-clock-offset", "/etc/.pwd.lock",
            "/etc/*-", "/etc/.updated", "/var/.updated", "/etc/ld.so.cache", "/var/lib/lab-filler*", "/var/lib/logrotate/*",
            "/usr/lib/python3*/__pycache__/*", "*/__pycache__/*", "/var/lib/private/*", "/root/.rpmdb/*",
            # fish, where it is the login shell
            "/root/.local", "/root/.config",
            # listed by name below
            "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid")

SCRIPT = r"""
listed() {{ find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run {prune} \) -prune -o "$@"; }}
echo "== files"
listed \( -type l -printf 'l %u:%g %p -> %l\n' \) -o -printf '%y %m %u:%g %p\n' | LC_ALL=C sort
# Hundreds of files to a process: one process for each took ten times as long as the hashing.
echo "== contents"
listed -type f -newerct @{made} -print0 | xargs -0r -n 500 sha256sum -z -- | tr '\n\0' '?\n' | LC_ALL=C sort -k 2
for folder in /var/lib/docker /var/lib/containerd /var/lib/kubelet; do
    echo "== $folder: $(find $folder -mindepth 1 2>/dev/null | wc -l) entries"
done
echo "== users"; getent passwd | LC_ALL=C sort; getent group | LC_ALL=C sort
echo "== rpms"; rpm -qa | LC_ALL=C sort
echo "== units enabled"; systemctl list-unit-files --state=enabled,masked --no-legend --no-pager | awk '{{print $1, $2}}' | LC_ALL=C sort
echo "== units active"; systemctl list-units --type=service,socket,timer --state=active,failed --plain --no-legend --no-pager \
    | awk '$1 !~ /^(systemd-tmpfiles-clean|user@|session-|user-runtime-dir@)/ {{print $1, $3}}' | LC_ALL=C sort
echo "== mounts"; awk '{{print $2, $3}}' /proc/self/mounts | grep -v '^/run/user/' | LC_ALL=C sort
echo "== links"; ip -o link | awk -F': ' '{{print $2}}' | sed 's/@.*//' | LC_ALL=C sort
echo "== addresses"; ip -o addr | awk '{{print $2, $4}}' | LC_ALL=C sort
echo "== routes"; ip route | LC_ALL=C sort; ip -6 route | grep -v '^fe80' | LC_ALL=C sort
# Built-in chains that accept are what a host has before anybody asks.
echo "== packet rules"; for family in iptables ip6tables; do $family-save 2>/dev/null \
    | awk -v f=$family '/^\*/ {{t = substr($1, 2)}} /^:/ && $2 != "ACCEPT" {{print f, t, $1, $2}} /^-A/ {{print f, t, $0}}'; done
echo "== kernel settings"; sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.bridge.bridge-nf-call-iptables 2>/dev/null
echo "== listening"; ss -Hltnu 2>/dev/null | awk '{{print $1, $5}}' | LC_ALL=C sort -u
"""


def take(lab, host):
    """Prints it. Of the files' contents those that differ from the base image's: the others were never written to, which
    their time of change tells, and hashing them all is most of the work."""
    record = hosts.load(lab)
    made, known = base_sums(record["base"])
    known |= base_sums(record["layer"])[1]
    prune = " ".join(f"-o -path '{pattern}'" for pattern in VOLATILE)
    done = subprocess.run(hosts.enter(lab, host, [SCRIPT.format(prune=prune, made=made)]), check=False, text=True,
                          stdout=subprocess.PIPE, preexec_fn=lambda: hosts.join(lab, host))
    if done.returncode != 0:
        raise Problem(f"the listing of {host['name']} failed with exit {done.returncode}")
    print("\n".join(line for line in done.stdout.splitlines() if line not in known))


def base_sums(image):
    """The time of the last change in the base image, and a line for each of its files as the listing of a host has it."""
    path = f"{image}.sums"
    with locked("base-sums"):
        if not os.path.exists(path):
            made = sh("sh", "-c", 'find "$1" -xdev -printf "%C@\\n" | sort -n | tail -n 1', "sh", image)
            sums = sh("sh", "-c", 'cd "$1" && find . -xdev -type f -print0 | xargs -0r -n 500 sha256sum -z -- '
                      "| tr '\\n\\0' '?\\n' | sed 's|  [.]/|  /|'", "sh", image)
            write(path + ".new", made + sums)
            os.rename(path + ".new", path)
    made, *lines = read(path).splitlines()
    return made, set(lines)
