"""The image that every host starts from: Debian's systemd, sshd, dnf and rpm, dressed as an RHEL-family system.

It is read only while labs run (each host writes to a disk of its own above it), and its name carries a hash of the
recipe, so that a changed recipe makes a new image."""
import hashlib
import os
import shutil
import tempfile

from common import CACHE, HERE, TOOLS, locked, mirror, need_tools, read, say, sh, sweep, write
from rpmpack import pack

PACKAGES = ("systemd,systemd-sysv,dbus,openssh-server,openssh-client,dnf,rpm,iproute2,iptables,procps,curl,kmod,sudo,"
            "zypper,ca-certificates,util-linux,iputils-ping,hostname,tar,gzip,zstd,less")
ROOT_PASSWORD = "111111"
# For `lab snapshot` and for the rpms: what the base host provides under the names that rpms ask for.
PROVIDES = ["/bin/sh", "/usr/sbin/ldconfig", "/sbin/ldconfig", "systemd", "shadow-utils", "iptables", "iproute",
            "util-linux", "procps-ng", "bash", "coreutils", "glibc", "openssl-libs", "ca-certificates", "kmod",
            "system-release(releasever) = 9", "system-release = 9.4", "redhat-release = 9.4"]

# What installers load -> the kernel's option for it.
MODULES = {"overlay": "OVERLAY_FS", "br_netfilter": "BRIDGE_NETFILTER", "nf_conntrack": "NF_CONNTRACK", "nf_nat": "NF_NAT",
           "ip_tables": "IP_NF_IPTABLES", "ip_vs": "IP_VS", "ip_vs_rr": "IP_VS_RR", "vxlan": "VXLAN", "ip_set": "IP_SET"}


def recipe():
    digest = hashlib.sha256((read(__file__) + os.uname().release).encode())
    folder = os.path.join(HERE, "base")
    for where, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            digest.update(f"{where[len(folder):]}/{name}\n{read(os.path.join(where, name))}".encode())
    return digest.hexdigest()[:12]


def path():
    return os.path.join(CACHE, f"base-{recipe()}")


def ensure():
    """Returns the image's folder, built when it is missing."""
    image = path()
    if os.path.isdir(image):
        # In use: the sweep below takes what nobody booted from for days.
        os.utime(image)
        return image
    need_tools(TOOLS)
    with locked("base"):
        if not os.path.isdir(image):
            say("building the hosts' base image (about a minute, once)")
            sweep("base-work-*")
            work = tempfile.mkdtemp(prefix="base-work-", dir=CACHE)
            try:
                root = os.path.join(work, "root")
                build(root, work)
                os.rename(root, image)
                os.utime(image)
                sweep("base-*", age=3 * 86400)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return image


def modules(root):
    """A list of what this machine's kernel has, so that `modprobe br_netfilter` on a host says the truth."""
    release = os.uname().release
    config = sh("sh", "-c", f"zcat /proc/config.gz 2>/dev/null || cat /boot/config-{release} 2>/dev/null || true")
    loaded = {line.split()[0] for line in read("/proc/modules", "").splitlines()}
    there = [name for name, option in MODULES.items() if f"CONFIG_{option}=y" in config.split() or name in loaded]
    folder = os.path.join(root, "lib/modules", release)
    write(f"{folder}/modules.builtin", "".join(f"kernel/lab/{name}.ko\n" for name in there))
    write(f"{folder}/modules.order", "")


def build(root, work):
    sh("nice", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root, mirror())
    shutil.copytree(os.path.join(HERE, "base"), root, dirs_exist_ok=True)

    modules(root)

    def inside(script):
        sh("chroot", root, "/bin/sh", "-ec", script, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})

    inside(f"""
        groupadd --system wheel
        useradd --create-home --shell /bin/bash --password '!' maintuser
        useradd --create-home --shell /bin/bash --groups wheel sudouser
        printf 'root:%s\\nmaintuser:%s\\nsudouser:%s\\n' {ROOT_PASSWORD} maint-pw sudo-pw | chpasswd
        chmod 0440 /etc/sudoers.d/*
        rm -f /etc/ssh/ssh_host_* /etc/machine-id /etc/hostname /etc/resolv.conf /var/lib/dbus/machine-id
        rm -f /etc/apt/sources.list && rm -rf /var/cache/apt /var/lib/apt/lists /usr/share/doc /usr/share/man
        rm -rf /usr/share/locale /var/log/*.log /var/log/apt
        mkdir -p /etc/yum.repos.d /etc/sysconfig /etc/rpm /var/log /var/cache/apt /var/lib/apt/lists /var/log/journal
        ln -sf dnf /usr/bin/yum
        rm -f /etc/systemd/system/*.wants/apt-daily* /etc/systemd/system/timers.target.wants/*
        systemctl mask console-getty.service systemd-firstboot.service systemd-udevd.service \\
            systemd-udev-trigger.service systemd-udevd-kernel.socket systemd-udevd-control.socket \\
            systemd-networkd.service systemd-resolved.service systemd-timesyncd.service getty.target \\
            apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer systemd-homed.service e2scrub_reap.service \\
            dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount 2>/dev/null
        systemctl enable ssh.service lab-machine.service
        systemctl set-default multi-user.target
        dpkg-divert --quiet --local --rename --divert /usr/bin/date.real --add /usr/bin/date
        mv /usr/bin/lab-date /usr/bin/date
        chmod 0755 /usr/bin/date
        depmod {os.uname().release}
        # an rpm database of rpm's own, in which the base host is one package
        rpm --initdb
    """)
    rpm = pack(work, name="lab-base", version="9.0", release="1", summary="The lab's base host",
               provides=PROVIDES, arch="noarch")
    shutil.copy(rpm, os.path.join(root, "tmp/lab-base.rpm"))
    inside("rpm -i --nodeps /tmp/lab-base.rpm && rm -f /tmp/lab-base.rpm")
    write(os.path.join(root, "etc/machine-id"), "")
