"""The lab's network: a bridge in a namespace with no way out, and the rules that watch and disturb it."""
import contextlib
import ctypes
import ipaddress
import json
import os
import re

from common import CLONE_NEWNET, Problem, sh

CONTROL, CONTROL6 = "10.8.14.1", "fd10:8:14::1"
# The network of second interfaces, in labs whose hosts have such.
SECOND, SECOND6 = "10.8.15.1", "fd10:8:15::1"
INSIDE = ["10.8.14.0/24", "fd10:8:14::/64", "10.8.15.0/24", "fd10:8:15::/64"]
FIRST, MOST = 200, 50

# Rules in the control host's namespace. Hosts use it as their gateway, so that whatever they send to an address
# outside the lab arrives at `arriving`, is counted there and goes no further: nothing is forwarded.
# pkttype is "host" only for packets meant for the gateway itself: broadcast and multicast chatter of the lab's own
# network (ARP, neighbour discovery, VRRP) is not on its way out. Packets between hosts never come here, the bridge
# passes them on below. `leaving` counts what the control host itself would send outside.
RULES = """
table inet lab {
    set out4 { typeof ether saddr . ip saddr . ip daddr . meta l4proto . th dport; flags dynamic; size 65535; counter; }
    set out6 { typeof ether saddr . ip6 saddr . ip6 daddr . meta l4proto . th dport; flags dynamic; size 65535; counter; }
    set bare4 { typeof ether saddr . ip saddr . ip daddr . meta l4proto; flags dynamic; size 65535; counter; }
    set bare6 { typeof ether saddr . ip6 saddr . ip6 daddr . meta l4proto; flags dynamic; size 65535; counter; }
    set own4 { typeof ip saddr . ip daddr . meta l4proto . th dport; flags dynamic; size 65535; counter; }
    set own6 { typeof ip6 saddr . ip6 daddr . meta l4proto . th dport; flags dynamic; size 65535; counter; }
    set lookups { typeof ether saddr . meta l4proto; flags dynamic; size 1024; counter; }
    set nocontrol { typeof ether saddr; }
    chain arriving {
        type filter hook prerouting priority raw; policy accept;
        iifname != { "br0", "br1" } accept
        meta pkttype != host accept
        ip daddr { 10.8.14.0/24, 10.8.15.0/24 } goto within
        ip6 daddr { fd10:8:14::/64, fd10:8:15::/64, fe80::/10 } goto within
        meta l4proto { tcp, udp, sctp } meta nfproto ipv4 add @out4 { ether saddr . ip saddr . ip daddr . meta l4proto . th dport } drop
        meta l4proto { tcp, udp, sctp } meta nfproto ipv6 add @out6 { ether saddr . ip6 saddr . ip6 daddr . meta l4proto . th dport } drop
        meta nfproto ipv4 add @bare4 { ether saddr . ip saddr . ip daddr . meta l4proto } drop
        meta nfproto ipv6 add @bare6 { ether saddr . ip6 saddr . ip6 daddr . meta l4proto } drop
    }
    chain within {
        meta l4proto { tcp, udp } th dport 53 add @lookups { ether saddr . meta l4proto }
    }
    chain control {
        type filter hook input priority filter; policy accept;
        iifname "br0" ether saddr @nocontrol ct state new drop
    }
    chain leaving {
        type filter hook output priority filter; policy accept;
        oifname != { "br0", "br1" } accept
        ip daddr { 10.8.14.0/24, 10.8.15.0/24, 224.0.0.0/4, 255.255.255.255 } accept
        ip6 daddr { fd10:8:14::/64, fd10:8:15::/64, fe80::/10, ff00::/8 } accept
        meta l4proto { tcp, udp, sctp } meta nfproto ipv4 add @own4 { ip saddr . ip daddr . meta l4proto . th dport }
        meta l4proto { tcp, udp, sctp } meta nfproto ipv6 add @own6 { ip6 saddr . ip6 daddr . meta l4proto . th dport }
        reject with icmpx type no-route
    }
}
table bridge lab {
    set cut { type ether_addr; }
    set mute { type ether_addr; }
    set apart { type ether_addr . ether_addr; }
    chain in {
        type filter hook prerouting priority -300; policy accept;
        ether saddr @cut drop
        ether saddr @mute drop
        ether daddr @cut drop
        ether saddr . ether daddr @apart drop
    }
    chain out {
        type filter hook output priority 0; policy accept;
        ether daddr @cut drop
    }
}
"""


def space(name):
    return f"lab-{name}"


def path(name):
    return f"/run/netns/{space(name)}"


def inside(name, *argv, **more):
    return sh("nsenter", f"--net={path(name)}", *argv, **more)


def create(name, second):
    try:
        sh("ip", "netns", "add", space(name))
    except Problem as problem:
        raise Problem(f"no network namespace can be made here ({problem}): the lab needs CAP_SYS_ADMIN and "
                      "CAP_NET_ADMIN, for instance a container started with --privileged", 2) from problem
    inside(name, "sh", "-ec", f"""
        ip link set lo up
        # Per namespace: bridged packets between hosts are no business of the control host's rules.
        for file in arptables iptables ip6tables; do
            echo 0 >/proc/sys/net/bridge/bridge-nf-call-$file 2>/dev/null || true
        done
        echo 0 >/proc/sys/net/ipv4/ip_forward
        ip link add br0 type bridge forward_delay 0
        ip link set br0 address 02:00:0a:08:0e:01 up
        ip addr add {CONTROL}/24 brd + dev br0
        ip -6 addr add {CONTROL6}/64 dev br0 nodad
        # Only so that attempts of the control host are seen by the rules; nothing answers there.
        ip route add default dev br0
        ip -6 route add default dev br0
    """)
    if second:
        inside(name, "sh", "-ec", f"""
            ip link add br1 type bridge forward_delay 0
            ip link set br1 address 02:00:0a:08:0f:01 up
            ip addr add {SECOND}/24 brd + dev br1
            ip -6 addr add {SECOND6}/64 dev br1 nodad
        """)
    inside(name, "nft", "-f", "-", input=RULES)


def remove(name):
    if os.path.exists(path(name)):
        sh("ip", "netns", "del", space(name))


def mac(index, network=14):
    return f"02:00:0a:08:{network:02x}:{FIRST + index:02x}"


def member(name, family, group, element, present):
    """Adds an element to one of the rules' sets, or takes it away."""
    verb = "add" if present else "delete"
    with contextlib.suppress(Problem) if not present else contextlib.nullcontext():
        inside(name, "nft", verb, "element", family, "lab", group, f"{{ {element} }}")


def members(name, family, group):
    answer = json.loads(inside(name, "nft", "-j", "list", "set", family, "lab", group))
    found = next(entry["set"] for entry in answer["nftables"] if "set" in entry)
    return found.get("elem", [])


def egress(name, hosts, declared=()):
    """What left a host for anywhere outside the lab: lines of (host, from, to, protocol, port, packets).

    Link-local addresses (RFC 3927: no router passes them on) come last, and `nearby` tells them:
    kubelet asks 169.254.169.254 whether it runs in a cloud."""
    names = by_mac(hosts)
    ours = [ipaddress.ip_network(text) for text in INSIDE + list(declared)]
    lines = []
    for group in ("out4", "out6", "bare4", "bare6", "own4", "own6"):
        for entry in members(name, "inet", group):
            value = entry["elem"]["val"]["concat"]
            who = "control" if group.startswith("own") else names.get(value.pop(0), "unknown")
            target = ipaddress.ip_address(value[1])
            if any(target in net for net in ours):
                continue
            port = value[3] if len(value) > 3 else "-"
            lines.append((who, value[0], value[1], str(value[2]), str(port), entry["elem"]["counter"]["packets"]))
    return sorted(lines, key=lambda line: (nearby(line), line))


def by_mac(hosts):
    return {one["mac"]: host["name"] for host in hosts for one in (host, host["second"]) if one}


def nearby(line):
    return ipaddress.ip_address(line[2]).is_link_local


def lookups(name, hosts):
    names = by_mac(hosts)
    return [(names.get(entry["elem"]["val"]["concat"][0], "unknown"), entry["elem"]["counter"]["packets"])
            for entry in members(name, "inet", "lookups")]


@contextlib.contextmanager
def entered(name):
    """This thread's sockets are the lab's while inside."""
    libc = ctypes.CDLL(None, use_errno=True)
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    lab = os.open(path(name), os.O_RDONLY)
    try:
        if libc.setns(lab, CLONE_NEWNET) != 0:
            raise Problem(f"cannot enter the lab's network: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        libc.setns(back, CLONE_NEWNET)
        os.close(back)
        os.close(lab)


def rate(name, device, mbit):
    """Limits what is sent into a device: to one host, or from the control host to all. There is no artificial delay: the
    lab's kernel has no netem."""
    inside(name, "tc", "qdisc", "del", "dev", device, "root", check=False)
    if mbit:
        inside(name, "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbit}mbit",
               "burst", "256kb", "latency", "200ms")


def valid_name(text):
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", text):
        raise Problem(f"a lab's name is made of a-z, 0-9 and -: {text!r} is not", 2)
    return text


def run(name, argv):
    """Replaces this process by a command on the control host."""
    if not os.path.exists(path(name)):
        raise Problem(f"there is no lab called {name}: start one with `lab up 3 --name {name}`", 2)
    try:
        os.execvp("nsenter", ["nsenter", f"--net={path(name)}", "--", *argv])
    except OSError as error:
        raise Problem(f"nsenter: {error}") from error
