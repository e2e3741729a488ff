"""The command line of the lab."""
import argparse
import json
import os
import subprocess
import sys
import time

import base
import faults
import gobuild
import gopack
import hosts
import keys
import logins
import net
import rpms
import shells
import snapshot
from common import CACHE, SYSTEM_PATH, TOOLS, Problem, locked, need_root, need_tools, say

DISTINCT = "users,ports,keys"


def main(argv):
    options = parser().parse_args(argv)
    os.environ["PATH"] = f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}"
    try:
        if options.command != "rpms" or not (options.print or options.list):
            need_root()
        os.makedirs(CACHE, exist_ok=True)
        return options.act(options) or 0
    except Problem as problem:
        say(str(problem))
        return problem.code
    except KeyboardInterrupt:
        return 130


def parser():
    top = argparse.ArgumentParser(prog="lab", description="Real hosts on one machine, for tests. See docs/lab.md.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, act, text, host=False):
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(act=act)
        made.add_argument("--name", default="lab", help="the lab (default: lab)")
        if host:
            made.add_argument("host", help="name, address or number")
        return made

    one = command("rpms", make_rpms, "build or reuse the lab's rpms and images")
    one.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: {', '.join(rpms.GROUPS)}; only on demand: "
                     f"{', '.join(name for name in rpms.ALL if name not in rpms.GROUPS)}")
    one.add_argument("--print", action="store_true", help="print the paths, build nothing")
    one.add_argument("--json", action="store_true", help="print the paths as JSON, by group")
    one.add_argument("--list", action="store_true", help="print what is built, its size and the time it took; build nothing")
    command("check", lambda _options: None, "say whether hosts can be booted here; exit 2 when not")
    command("prepare", prepare, "build the base image and the keys, so that `up` is quick")
    one = command("up", up, "boot N hosts and wait until each answers SSH")
    one.add_argument("count", type=int)
    one.add_argument("--distinct", nargs="?", const=DISTINCT, default="",
                     help=f"spread hosts over the ways to log in: any of {DISTINCT} (alone: all)")
    one.add_argument("--port", type=int, default=22, help="sshd's port on every host")
    one.add_argument("--disk", default=hosts.DISK_SIZE, help="size of each host's disk (sparse; default %(default)s)")
    one.add_argument("--second-interface", action="store_true",
                     help="each host has another interface, in 10.8.15.0/24 and fd10:8:15::/64, and its default route goes by that")
    one.add_argument("--logins", default="", metavar="KIND[,KIND…]",
                     help="what logins find, host by host in turn: SHELL[+noisy][+proxies], SHELL bash, dash, tcsh or fish")
    one.add_argument("--owner", type=int, help="process whose end makes the lab stale")
    one = command("add", add, "boot one more host")
    one.add_argument("--port", type=int, default=22)
    one = command("down", down, "remove a lab")
    which = one.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every lab on this machine")
    which.add_argument("--stale", action="store_true", help="labs whose owner is gone")
    one = command("status", status, "what is running")
    one.add_argument("--json", action="store_true")
    one = command("exec", execute, "run a command inside a host, whatever its network does", host=True)
    one.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    one = command("run", run, "run a command on the control host, inside the lab's network")
    one.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    command("ssh-line", ssh_line, "print how to log in to a host from the control host", host=True)
    command("start", start, "switch a host on", host=True)
    command("poweroff", poweroff, "shut a host down in an orderly way; its disk is kept", host=True)
    command("reboot", reboot, "shut down and start again", host=True)
    command("kill", cut_power, "cut a host's power; its disk is kept", host=True)
    one = command("egress", egress, "which packets left for anywhere outside the lab; exit 1 when there are any")
    one.add_argument("--inside", action="append", default=[], metavar="CIDR",
                     help="count this network (pods, services) as inside")
    one.add_argument("--json", action="store_true")
    command("snapshot", take_snapshot, "list everything an installer may have changed on a host", host=True)
    faults.add_commands(command)
    return top


def make_rpms(options):
    if options.list:
        print(rpms.listing())
        return
    if not options.print:
        missing = [group for group in options.groups or rpms.GROUPS if group in rpms.ALL and not rpms.fresh(group)]
        gobuild.prefetch([build for group in missing for build in gopack.builds(group)])
        rpms.ensure(options.groups)
    print(rpms.report(options.groups) if options.json else "\n".join(rpms.paths(options.groups)))


def prepare(_options):
    need_tools(TOOLS)
    base.ensure()
    shells.ensure()
    keys.ensure(3)


def up(options):
    if not 1 <= options.count <= net.MOST:
        raise Problem(f"a lab has 1 to {net.MOST} hosts", 2)
    distinct = [word for word in options.distinct.split(",") if word]
    for word in distinct:
        if word not in DISTINCT.split(","):
            raise Problem(f"--distinct knows {DISTINCT}, not {word}", 2)
    kinds = logins.parse(options.logins)
    lab = net.valid_name(options.name)
    owner = hosts.owner_of(options.owner) if options.owner else None
    need_tools(TOOLS)
    image, layer = base.ensure(), shells.ensure()
    keys.ensure(options.count)
    with locked(f"lab-{lab}"):
        if lab in hosts.names():
            raise Problem(f"there is a lab called {lab} already: `lab down --name {lab}`, or choose another --name", 2)
        record = {"name": lab, "base": image, "layer": layer, "kinds": kinds, "disk_size": options.disk, "disks": hosts.place_of_disks(), "owner": owner, "made": time.time(),
                  "hosts": [hosts.plan(lab, index, distinct, options.port, options.second_interface, kinds) for index in range(options.count)]}
        hosts.save(record)
        try:
            hosts.allow_watchers()
            net.create(lab, options.second_interface)
            for host in record["hosts"]:
                hosts.seed(lab, host)
                hosts.boot(lab, host)
            hosts.ready(lab, record["hosts"], 60 + 5 * options.count)
        except BaseException:
            # What did not come up whole is not left lying about.
            if not os.environ.get("SUNSHINE_LAB_KEEP"):
                hosts.down(lab)
            raise


def add(options):
    with changing(options) as record:
        index = len(record["hosts"])
        if index >= net.MOST:
            raise Problem(f"a lab has 1 to {net.MOST} hosts", 2)
        keys.ensure(index + 1)
        second = any(host["second"] for host in record["hosts"])
        host = hosts.plan(options.name, index, (), options.port, second, record["kinds"])
        record["hosts"].append(host)
        hosts.save(record)
        hosts.seed(options.name, host)
        hosts.boot(options.name, host)
        hosts.ready(options.name, [host])
        print(host["name"])


class changing:
    """The record of a lab, with nobody else changing it."""

    def __init__(self, options):
        self.lab = net.valid_name(options.name)

    def __enter__(self):
        record = hosts.load(self.lab)
        self.lock = locked(f"lab-{self.lab}")
        self.lock.__enter__()
        return record if not os.path.exists(hosts.home(self.lab)) else hosts.load(self.lab)

    def __exit__(self, *failure):
        return self.lock.__exit__(*failure)


def down(options):
    every = options.all or options.stale
    for lab in hosts.names() if every else [net.valid_name(options.name)]:
        if options.stale and not hosts.stale(lab):
            continue
        with locked(f"lab-{lab}"):
            if not (options.stale and not hosts.stale(lab)):
                hosts.down(lab)
        if every:
            say(f"removed lab {lab}")


def status(options):
    labs = []
    for lab in hosts.names():
        try:
            record = hosts.load(lab)
        except Problem:
            record = {"name": lab, "hosts": [], "owner": None}
        for host in record["hosts"]:
            host["running"] = hosts.init(lab, host) is not None
        record["stale"] = hosts.stale(lab)
        record["netns"] = net.path(lab)
        labs.append(record)
    if options.json:
        print(json.dumps(labs, indent=2))
        return
    for record in labs:
        print(f"{record['name']}{'  (stale)' if record['stale'] else ''}")
        for host in record["hosts"]:
            print(f"  {host['name']:8} {host['address']}:{host['port']:<5} {host['user']:10} "
                  f"{'running' if host['running'] else 'off'}")


def the_host(options):
    record = hosts.load(net.valid_name(options.name))
    return hosts.find(record, options.host)


def words(options):
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        raise Problem("a command is missing", 2)
    return argv


def execute(options):
    host = the_host(options)
    line = hosts.enter(options.name, host, words(options))
    sys.stdout.flush()
    # A child, not exec: the lab's own exit status for a host that is off must not look like the command's.
    return subprocess.run(line, preexec_fn=lambda: hosts.join(options.name, host), check=False).returncode


def run(options):
    net.run(net.valid_name(options.name), words(options))


def ssh_line(options):
    host = the_host(options)
    print(f"ssh -p {host['port']} -i {keys.path('ed25519')} {host['user']}@{host['address']}")


def start(options):
    host = the_host(options)
    if hosts.init(options.name, host) is None:
        hosts.kill(options.name, host["name"])
        hosts.boot(options.name, host)
    hosts.ready(options.name, [host])


def poweroff(options):
    host = the_host(options)
    hosts.power_off(options.name, host)
    hosts.remove_groups(options.name, host["name"])


def reboot(options):
    poweroff(options)
    start(options)


def cut_power(options):
    host = the_host(options)
    hosts.kill(options.name, host["name"])
    hosts.remove_groups(options.name, host["name"])


def egress(options):
    record = hosts.load(net.valid_name(options.name))
    found = net.egress(options.name, record["hosts"], options.inside)
    lines = [line for line in found if not net.nearby(line)]
    if options.json:
        fields = ("host", "from", "to", "protocol", "port", "packets")
        print(json.dumps([dict(zip(fields, line)) for line in lines], indent=2))
        return 1 if lines else 0
    for line in found:
        who, source, target, protocol, port, packets = line
        note = " (link-local: no router passes it on, not counted)" if net.nearby(line) else ""
        print(f"{who}: {packets} packets from {source} to {target} {protocol}/{port}{note}")
    for who, packets in net.lookups(options.name, record["hosts"]):
        print(f"{who}: {packets} packets asked the lab's name server, which answers nobody (inside the lab, not counted)")
    if not lines:
        print("no packet left the lab")
    return 1 if lines else 0


def take_snapshot(options):
    snapshot.take(options.name, the_host(options))
