"""What goes wrong on demand. Each fault is one command, and each has one that ends it."""
import os
import shutil

import hosts
import keys
import net
from common import Problem, sh

DEAD = """\
[dead]
name=A default repository that nobody can reach
baseurl=http://198.51.100.1/repo
enabled=1
gpgcheck=0
timeout=5
"""


def add_commands(command):
    def fault(name, act, text):
        made = command(name, with_host(act), text, host=True)
        return made

    fault("cut", lambda lab, host, o: cable(lab, host, o, True),
          "lose every packet to and from a host").add_argument("--from", dest="other", help="only those between it and this host")
    fault("mute", lambda lab, host, o: net.member(lab, "bridge", "mute", host["mac"], True), "lose every packet that a host sends")
    fault("heal", lambda lab, host, o: cable(lab, host, o, False),
          "end cut, mute and drop-to-control").add_argument("--from", dest="other")
    fault("drop-to-control", lambda lab, host, o: net.member(lab, "inet", "nocontrol", host["mac"], True),
          "lose new connections from a host to the control host; those the other way still work")
    one = fault("fill-disk", fill, "fill a host's disk")
    one.add_argument("--leave", type=int, default=0, metavar="MB", help="leave so much free")
    fault("free-disk", lambda lab, host, o: hosts.inside(lab, host, "rm -f /var/lib/lab-filler*"), "end fill-disk")
    fault("freeze", lambda lab, host, o: hosts.freeze(lab, host["name"], True), "stop all of a host's processes")
    fault("thaw", lambda lab, host, o: hosts.freeze(lab, host["name"], False), "let them go on")
    one = fault("clock", clock, "set a host's clock wrong, as date(1) shows it (0: right again)")
    one.add_argument("seconds", type=int, help="+ or - seconds")
    one = command("rate", rate, "limit what a host receives, or what `control`, the control host, sends", host=True)
    one.add_argument("mbit", type=int, help="megabits per second, 0: no limit")
    one = fault("sshd", sshd, "give sshd an option more and reload it; without an option, take all of them back")
    one.add_argument("option", nargs="*", help="for instance 'AllowTcpForwarding no' or 'MaxStartups 2:100:2'")
    fault("rekey", rekey, "give a host new SSH host keys, as a reinstalled machine has")
    fault("dead-repo", lambda lab, host, o: hosts.inside(lab, host, f"cat >/etc/yum.repos.d/dead.repo <<'END'\n{DEAD}END"),
          "give a host a default repository that cannot be reached")
    fault("no-repo", lambda lab, host, o: hosts.inside(lab, host, "rm -f /etc/yum.repos.d/dead.repo"), "end dead-repo")


def with_host(act):
    def done(options):
        record = hosts.load(net.valid_name(options.name))
        act(options.name, hosts.find(record, options.host), options)
    return done


def cable(lab, host, options, cut):
    if options.other:
        other = hosts.find(hosts.load(lab), options.other)
        for one, two in ((host, other), (other, host)):
            net.member(lab, "bridge", "apart", f"{one['mac']} . {two['mac']}", cut)
        return
    net.member(lab, "bridge", "cut", host["mac"], cut)
    if not cut:
        net.member(lab, "bridge", "mute", host["mac"], False)
        net.member(lab, "inet", "nocontrol", host["mac"], False)


def fill(lab, host, options):
    # The second file takes what fallocate's rounding left.
    hosts.inside(lab, host, f"""
        free=$(($(stat -f -c '%a * %S' /) - {options.leave} * 1048576))
        [ $free -gt 0 ] && fallocate -l $free /var/lib/lab-filler 2>/dev/null
        [ {options.leave} -gt 0 ] || dd if=/dev/zero of=/var/lib/lab-filler2 bs=4k 2>/dev/null
        true""")


def rate(options):
    record = hosts.load(net.valid_name(options.name))
    device = "br0" if options.host == "control" else f"h{hosts.find(record, options.host)['index']}"
    net.rate(options.name, device, options.mbit)


def clock(lab, host, options):
    if options.seconds:
        hosts.inside(lab, host, f"echo {options.seconds} >/etc/lab-clock-offset")
    else:
        hosts.inside(lab, host, "rm -f /etc/lab-clock-offset")


def sshd(lab, host, options):
    drop_in = "/etc/ssh/sshd_config.d/00-fault.conf"
    text = "\n".join(options.option)
    hosts.inside(lab, host, f"cat >{drop_in} <<'END'\n{text}\nEND" if text else f"rm -f {drop_in}")
    try:
        hosts.inside(lab, host, "sshd -t")
    except Problem:
        hosts.inside(lab, host, f"rm -f {drop_in}")
        raise
    hosts.inside(lab, host, "systemctl reload ssh")
    hosts.ready(lab, [host])


def rekey(lab, host, _options):
    folder = os.path.join(hosts.home(lab, host["name"]), "keys")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for kind in keys.KINDS:
        file = f"{folder}/ssh_host_{kind}_key"
        shutil.rmtree(file, ignore_errors=True)
        sh("sh", "-c", f"rm -f {file} {file}.pub && ssh-keygen -q -t {kind} -N '' -f {file}")
        for end in ("", ".pub"):
            with open(file + end, encoding="utf-8") as text:
                hosts.inside(lab, host, f"cat >/etc/ssh/ssh_host_{kind}_key{end} <<'END'\n{text.read()}END")
    hosts.inside(lab, host, "systemctl reload ssh")
    hosts.ready(lab, [host])
