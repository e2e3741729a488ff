"""What every part of the lab needs: where things are, running a command, locks, and the words for a failure."""
import contextlib
import ctypes
import fcntl
import glob
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
CACHE = os.environ.get("SUNSHINE_LAB_CACHE", "/var/cache/sunshine-lab")
# Everything about running labs: small files only, disks lie elsewhere (hosts.py).
STATE = "/run/sunshine-lab"
# Where Debian packages put programs. The lab looks here first (cli.py), as boot.sh and the builds do, so that a program that
# need_tools() finds is the one that is used, whatever the caller's PATH is.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000


class Problem(Exception):
    """Something the user can read and mend. `code` becomes the exit status."""

    def __init__(self, text, code=1):
        super().__init__(text)
        self.code = code


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def sh(*argv, check=True, **more):
    """Runs a command and returns what it printed. A failure carries its own words."""
    done = subprocess.run(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).strip()
        raise Problem(f"{' '.join(argv)}: exit {done.returncode}: {words[-1500:]}")
    return done.stdout


def read(path, otherwise=None):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        if otherwise is None:
            raise
        return otherwise


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


@contextlib.contextmanager
def locked(name):
    """One at a time: building the same artifact twice, or changing the same lab from two sides."""
    folder = os.path.join(CACHE, "locks")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another lab process that works on {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sweep(pattern, age=0):
    """Removes what builds that were killed, or older recipes, left in the cache."""
    for path in glob.glob(os.path.join(CACHE, pattern)):
        if time.time() - os.path.getmtime(path) >= age:
            os.remove(path) if os.path.isfile(path) else shutil.rmtree(path, ignore_errors=True)


def need_root():
    """The lab makes namespaces, mounts and cgroups; finds out early, and says so in one sentence."""
    if os.geteuid() != 0:
        raise Problem("the lab boots hosts in namespaces of their own and needs root: run it with sudo, "
                      "or in a container started with --privileged", 2)
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 else 1)
    if os.waitpid(pid, 0)[1] != 0:
        raise Problem("this machine lets root make no mount and network namespace (CAP_SYS_ADMIN is missing): "
                      "run the lab on a machine of its own, or in a container started with --privileged", 2)
    if not any(line.split()[2] in ("cgroup", "cgroup2") for line in read("/proc/mounts").splitlines()):
        raise Problem("no cgroup file system is mounted, and systemd cannot boot without one: "
                      "mount -t cgroup2 none /sys/fs/cgroup", 2)


# command that must be there -> the Debian package that brings it
TOOLS = {
    "debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nft": "nftables", "ip": "iproute2",
    "nsenter": "util-linux", "mkfs.ext4": "e2fsprogs", "ssh-keygen": "openssh-client", "rpmbuild": "rpm",
    "createrepo_c": "createrepo-c", "gcc": "gcc", "dpkg-deb": "dpkg", "zstd": "zstd", "sshpass": "sshpass",
}


def need_tools(tools, path=None):
    """Installs the Debian packages of the commands that are missing, and nothing else. `path` is the search path of the
    build that uses them, where that is not this process's own: what is asked for is what the build will find."""
    missing = sorted({package for command, package in tools.items() if not shutil.which(command, path=path)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Problem(f"the lab needs {', '.join(missing)} and installs them with apt-get, which is not here: "
                      "use a Debian 12 machine", 2)
    say(f"installing {' '.join(missing)}")
    with locked("apt"):
        sh("apt-get", "-qq", "update", check=False)
        sh("apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing,
           env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def mirror():
    """The mirror that this machine's own apt uses for Debian 12."""
    lines = sh("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)",
               "Created-By: Packages").splitlines()
    for line in lines:
        uri, codename, component = line.split()
        if codename == "bookworm" and component == "main":
            return uri
    raise Problem("apt on this machine names no Debian 12 (bookworm) mirror, and the lab's hosts are made from one", 2)
