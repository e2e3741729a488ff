"""Labs and their hosts: what is recorded about them, booting, entering, switching off, and leaving no trace."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid

import base
import keys
import logins
import net
from common import CACHE, HERE, STATE, SYSTEM_PATH, Problem, read, sh, write

DISKS, MEMORY = os.path.join(CACHE, "disks"), "/dev/shm/sunshine-lab-disks"
DISK_SIZE = os.environ.get("SUNSHINE_LAB_DISK", "20G")
SHIELDED = {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8",
            "USER": "root", "LOGNAME": "root"}


def home(lab, host=""):
    return os.path.join(STATE, lab, host) if host else os.path.join(STATE, lab)


def place_of_disks():
    """Where a new lab's disks lie. In memory nothing waits for the machine's disk, nor is written twice: once by the host,
    once by the file below it. Two labs of three Kubernetes nodes write some 8 GiB."""
    available = re.search(r"^MemAvailable:\s+(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    parent = os.path.dirname(MEMORY)
    if not available or not os.path.ismount(parent):
        return DISKS
    # In a container it is often a small one.
    place = os.statvfs(parent)
    free = min(int(available[1]) << 10, place.f_bavail * place.f_frsize)
    return MEMORY if free >= 12 << 30 else DISKS


def load(lab):
    try:
        return json.loads(read(os.path.join(home(lab), "lab.json")))
    except OSError:
        raise Problem(f"there is no lab called {lab}: start one with `lab up 3 --name {lab}`", 2) from None


def save(record):
    path = os.path.join(home(record["name"]), "lab.json")
    write(path + ".new", json.dumps(record, indent=2), 0o600)
    os.rename(path + ".new", path)


def names():
    """Every lab of which anything is left: its record, its network, its cgroups or its disks."""
    found = {os.path.basename(path) for path in glob.glob(f"{STATE}/*") + glob.glob(f"{DISKS}/*") + glob.glob(f"{MEMORY}/*")}
    found |= {os.path.basename(path)[4:] for path in glob.glob("/run/netns/lab-*")}
    for top in hierarchies():
        found |= {os.path.basename(path[:-1]) for path in glob.glob(f"{top}/sunshine-lab/*/")}
    return sorted(found)


def find(record, word):
    """A host by name, address or number."""
    for host in record["hosts"]:
        if word in (host["name"], host["address"], host["address6"], str(host["index"])):
            return host
    known = ", ".join(host["name"] for host in record["hosts"])
    raise Problem(f"lab {record['name']} has no host {word}: there are {known}", 2)


def plan(lab, index, distinct=(), port=22, second=False, kinds=()):
    """Who may log in to a host, and how, and what kind of login it is (logins.py), one of `kinds`. `distinct` spreads the hosts over the ways that users really have; `second`: it has
    another interface, in a network of its own, by which its default route goes."""
    host = {"name": f"host{index}", "index": index, "address": f"10.8.14.{net.FIRST + index}",
            "address6": f"fd10:8:14::{net.FIRST + index}", "mac": net.mac(index), "port": port,
            "user": "root", "password": base.ROOT_PASSWORD, "key": keys.path("ed25519"), "sudo_password": None, "only": False}
    host["second"] = {"address": f"10.8.15.{net.FIRST + index}", "address6": f"fd10:8:15::{net.FIRST + index}",
                      "mac": net.mac(index, 15)} if second else None
    host["login"] = kinds[index % len(kinds)] if kinds else None
    way = index % 3 if distinct else 0
    if "ports" in distinct and way == 1:
        host["port"] = 2222
    if distinct:
        host["key"] = None
    if "users" in distinct and way == 1:
        host.update(user="maintuser", password=None if "keys" in distinct else "maint-pw",
                    key=keys.path("ed25519"), only=True)
    if "users" in distinct and way == 2:
        host.update(user="maintuser", password="maint-pw", sudo_password="maint-pw", only=True)
    if "users" not in distinct and "keys" in distinct and way == 1:
        host.update(password=None, key=keys.path("ed25519"))
    return host


def seed(lab, host):
    """What makes this host itself: laid over its disk at the first boot."""
    root = os.path.join(home(lab, host["name"]), "seed")
    name = host["name"]
    write(f"{root}/etc/machine-id", uuid.uuid5(uuid.NAMESPACE_DNS, f"{lab}.{name}").hex + "\n", 0o444)
    write(f"{root}/etc/hostname", name + "\n")
    write(f"{root}/etc/hosts", f"127.0.0.1 localhost localhost.localdomain\n::1 localhost localhost.localdomain\n"
                               f"{host['address']} {name}\n")
    # A name server that never answers, where the lab sees the question.
    write(f"{root}/etc/resolv.conf", f"nameserver {net.CONTROL}\noptions timeout:1 attempts:1\n")
    options = [f"Port {host['port']}"]
    if host["only"]:
        options.append("PermitRootLogin no")
    if not host["password"]:
        options.append("PasswordAuthentication no")
    write(f"{root}/etc/ssh/sshd_config.d/00-host.conf", "\n".join(options) + "\n")
    free = "" if host["sudo_password"] else "NOPASSWD: "
    write(f"{root}/etc/sudoers.d/maintuser", f"maintuser ALL=(ALL) {free}ALL\n", 0o440)
    for path in keys.of_host(host["index"]):
        shutil.copy2(path, f"{root}/etc/ssh/")
    if host["key"]:
        authorized = "".join(read(keys.path(kind) + ".pub") for kind in keys.KINDS)
        write(f"{root}/home/maintuser/.ssh/authorized_keys", authorized, 0o600)
        write(f"{root}/root/.ssh/authorized_keys", authorized, 0o600)
        os.chmod(f"{root}/root", 0o700)
        os.chmod(f"{root}/root/.ssh", 0o700)
        # maintuser is the first ordinary user of the base image
        for where in (".ssh", ".ssh/authorized_keys", ""):
            os.chown(f"{root}/home/maintuser/{where}", 1000, 1000)
        os.chmod(f"{root}/home/maintuser/.ssh", 0o700)
    if host["login"]:
        logins.seed(root, load(lab)["base"], host["login"])


def boot(lab, host):
    """Starts a host and returns at once; `ready` waits for it."""
    folder = home(lab, host["name"])
    os.makedirs(folder, exist_ok=True)
    record = load(lab)
    disks = os.path.join(record["disks"], lab)
    os.makedirs(disks, exist_ok=True)
    environment = {"PATH": SHIELDED["PATH"], "LAB": lab, "HOST": host["name"], "INDEX": str(host["index"]),
                   "HOME_DIR": folder, "BASE": record["base"], "LAYER": record["layer"], "DISK": os.path.join(disks, host["name"] + ".img"),
                   "DISK_SIZE": record["disk_size"], "MAC": host["mac"],
                   "ADDRESSES": f"{host['address']}/24 {host['address6']}/64",
                   "GATEWAYS": f"{net.CONTROL} {net.CONTROL6}", "GATEWAY_DEVICE": "eth0"}
    if host["second"]:
        second = host["second"]
        environment |= {"SECOND_MAC": second["mac"], "SECOND_ADDRESSES": f"{second['address']}/24 {second['address6']}/64",
                        "GATEWAYS": f"{net.SECOND} {net.SECOND6}", "GATEWAY_DEVICE": "eth1"}
    with open(os.path.join(folder, "power.log"), "ab") as log:
        subprocess.Popen(["unshare", "--mount", "--propagation", "private", "--", os.path.join(HERE, "lib/boot.sh")],
                         env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                         cwd="/", close_fds=True)


# Instances of inotify of all hosts together, as they have one user: a kubelet and systemd itself need a dozen on each.
WATCHERS, WATCHERS_FILE = 2048, "/proc/sys/fs/inotify/max_user_instances"


def allow_watchers():
    """Raises the machine's limit where it is too low for several labs: a kubelet beyond it ends at once. Where the limit
    cannot be changed, one lab still has room."""
    if int(read(WATCHERS_FILE, WATCHERS)) < WATCHERS:
        with contextlib.suppress(OSError), open(WATCHERS_FILE, "w", encoding="ascii") as file:
            file.write(f"{WATCHERS}\n")


def ready(lab, hosts, seconds=60):
    """Waits until every sshd greets."""
    waiting, deadline = list(hosts), time.monotonic() + seconds
    with net.entered(lab):
        while waiting:
            waiting = [host for host in waiting if not greets(host)]
            if waiting and time.monotonic() > deadline:
                host = waiting[0]
                log = read(os.path.join(home(lab, host["name"]), "power.log"), "")
                console = read(os.path.join(home(lab, host["name"]), "console.log"), "")
                raise Problem(f"{host['name']} did not answer on port {host['port']} within {seconds} s\n"
                              f"{log[-1000:]}\n{console[-2000:]}")
            time.sleep(0.05)


def greets(host):
    with contextlib.suppress(OSError), socket.create_connection((host["address"], host["port"]), 0.5) as peer:
        peer.settimeout(2)
        return peer.recv(8).startswith(b"SSH-2.0")
    return False


def hierarchies():
    for line in read("/proc/self/mounts").splitlines():
        _, where, kind = line.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            yield where


def groups(lab, host=""):
    """This lab's (or host's) cgroup in each hierarchy."""
    for top in hierarchies():
        path = os.path.join(top, "sunshine-lab", lab, host).rstrip("/")
        if os.path.isdir(path):
            yield path


def processes(lab, host=""):
    found = set()
    for group in groups(lab, host):
        for where, _, files in os.walk(group):
            if "cgroup.procs" in files:
                found |= {int(pid) for pid in read(os.path.join(where, "cgroup.procs"), "").split()}
    return found - {0, os.getpid()}


def init(lab, host):
    """The process id of the host's own process 1, as seen from here; None while it is off."""
    nspawn = read(os.path.join(home(lab, host["name"]), "nspawn.pid"), "").strip()
    for path in glob.glob(f"/proc/{nspawn}/task/*/children") if nspawn else []:
        for pid in read(path, "").split():
            if re.search(r"^NSpid:\s+\d+\s+(?:\d+\s+)*1$", read(f"/proc/{pid}/status", ""), re.MULTILINE):
                return int(pid)
    return None


def enter(lab, host, argv):
    """The command line that runs argv inside the host, without its network: it works when the cable is cut."""
    pid = init(lab, host)
    if pid is None:
        raise Problem(f"{host['name']} is switched off: `lab start {host['name']} --name {lab}`")
    command = argv if len(argv) > 1 else ["/bin/bash", "-c", argv[0]]
    return ["nsenter", "--target", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root",
            "--", "env", "-C", "/", "-i", *(f"{key}={value}" for key, value in SHIELDED.items()), *command]


def join(lab, host):
    """Puts this process among the host's own, so that it is frozen and ended with them."""
    for group in groups(lab, host["name"]):
        if "/freezer/" in group or os.path.exists(os.path.join(group, "cgroup.freeze")):
            with contextlib.suppress(OSError):
                write_plain(os.path.join(group, "cgroup.procs"), str(os.getpid()))


def write_plain(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def inside(lab, host, *argv, check=True):
    return sh(*enter(lab, host, argv), check=check, preexec_fn=lambda: join(lab, host))


def freeze(lab, host, frozen):
    """Stops every process of the host where it stands."""
    for group in groups(lab, host):
        for file, word in (("freezer.state", "FROZEN" if frozen else "THAWED"), ("cgroup.freeze", str(int(frozen)))):
            path = os.path.join(group, file)
            if os.path.exists(path):
                write_plain(path, word)
                deadline = time.monotonic() + 10
                while file == "freezer.state" and read(path).strip() != word and time.monotonic() < deadline:
                    time.sleep(0.02)
                    write_plain(path, word)


def starting(lab, host=""):
    """Processes that are to power a host and have not reached its cgroup yet."""
    mark = f"HOME_DIR={home(lab, host)}{'' if host else '/'}".encode()
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if any(word == mark if host else word.startswith(mark) for word in file.read().split(b"\0")):
                yield int(path.split("/")[2])


def kill(lab, host=""):
    """Cuts the power: SIGKILL to everything in the cgroup, until nothing is left."""
    deadline = time.monotonic() + 20
    while True:
        # A frozen process does not die.
        every = {os.path.basename(path[:-1]) for group in groups(lab) for path in glob.glob(f"{group}/*/")}
        for top in {host} if host else every:
            with contextlib.suppress(OSError):
                freeze(lab, top, False)
        left = processes(lab, host) | set(starting(lab, host))
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Problem(f"lab {lab}: these processes do not die: {sorted(left)}")
        time.sleep(0.02)


def power_off(lab, host, seconds=30):
    """An orderly shutdown, and a power cut when that does not come to its end."""
    pid = init(lab, host)
    if pid:
        os.kill(pid, signal.SIGRTMIN + 4)
        deadline = time.monotonic() + seconds
        while processes(lab, host["name"]) and time.monotonic() < deadline:
            time.sleep(0.05)
    kill(lab, host["name"])


def remove_groups(lab, host=""):
    for group in groups(lab, host):
        for where, _, _ in os.walk(group, topdown=False):
            for _ in range(50):
                try:
                    os.rmdir(where)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
        if not host:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(group))


def down(lab):
    """Removes everything that bears the lab's name. Works from what is there, not from the record, which may be gone."""
    kill(lab)
    # Commands that were started with `lab run` hold the network; they end with it.
    net_inode = None
    with contextlib.suppress(OSError):
        net_inode = os.stat(net.path(lab)).st_ino
    for path in glob.glob("/proc/[0-9]*/ns/net") if net_inode else []:
        with contextlib.suppress(OSError, ValueError):
            if os.stat(path).st_ino == net_inode and int(path.split("/")[2]) != os.getpid():
                os.kill(int(path.split("/")[2]), signal.SIGKILL)
    net.remove(lab)
    remove_groups(lab)
    for path in (os.path.join(DISKS, lab), os.path.join(MEMORY, lab), home(lab)):
        shutil.rmtree(path, ignore_errors=True)
    for path in (STATE, DISKS, MEMORY):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def owner_of(pid):
    """pid and start time: a pid alone may be somebody else's by now."""
    try:
        return [pid, read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]]
    except OSError:
        raise Problem(f"no process {pid} to own the lab", 2) from None


def stale(lab):
    """Whether the process that the lab was started for is gone."""
    try:
        owner = load(lab)["owner"]
    except Problem:
        # Parts without a record: the lab was being made or removed by a process that died.
        return True
    if not owner:
        return False
    with contextlib.suppress(Problem):
        return owner_of(owner[0]) != owner
    return True
