#!/usr/bin/env python3
"""Brings images to lab hosts in several ways and prints what each took. Run by images.sh, which says what is compared."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import time

LAB = pathlib.Path(__file__).resolve().parent.parent / "tests/lab/lab"
REGISTRY = "10.8.14.1:5000"
PREPARE = f"""rpm -i /var/tmp/images/*.rpm
mkdir -p /etc/containerd/certs.d/_default
echo 'server = "http://{REGISTRY}"' >/etc/containerd/certs.d/_default/hosts.toml"""
# Blocks that are free again go back to the machine's memory, where the hosts' disks lie.
EMPTY = """systemctl stop containerd
rm -rf /var/lib/containerd/* /var/lib/sunshine-installer /var/tmp/images/*
fstrim /var/lib/containerd 2>/dev/null || :
systemctl start containerd"""
# ctr warns of the lab's cgroups at every call.
IMPORT = """for i in /var/tmp/images/*.tar; do
    said=$(ctr -n k8s.io images import "$i" 2>&1) && rm "$i" || { echo "$said" >&2; exit 1; }
done"""
PULL = """for i in %s; do
    said=$(ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d "$i" 2>&1) || { echo "$said" >&2; exit 1; }
done"""
LOOK = """there=$(ctr -n k8s.io images ls -q 2>/dev/null)
for i in %s; do echo "$there" | grep -qxF "$i" || { echo "$i is missing" >&2; exit 1; }; done"""


def run(command):
    """Seconds of processor time that a command took, its children's too."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)[:300]}: exit {process.returncode}: {said.decode()[-2000:]}")
    return used.ru_utime + used.ru_stime


def together(lines):
    """Runs several lines of commands at once, those of each line one after the other."""
    with concurrent.futures.ThreadPoolExecutor(len(lines)) as pool:
        return sum(pool.map(lambda line: sum(map(run, line)), lines))


def processor(process):
    """Seconds of processor time of a process that is running."""
    words = pathlib.Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def name_of(archive):
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))
    return index["manifests"][0]["annotations"]["io.containerd.image.name"]


class Bench:
    def __init__(self, options):
        self.options = options
        self.addresses = [f"10.8.14.{200 + n}" for n in range(options.hosts)]
        self.images = {name_of(path): str(path) for path in sorted(options.work.glob("archives/*.tar"))}
        self.size = sum(os.path.getsize(path) for path in self.images.values())
        self.ssh = ["-q", "-i", options.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]

    def control(self, *argv):
        """A command on the control host."""
        return ["nsenter", f"--net=/run/netns/lab-{self.options.lab}", "--", *map(str, argv)]

    def on(self, address, script):
        return self.control("ssh", *self.ssh, f"root@{address}", f"set -e\n{script}")

    def copy(self, address, *files):
        return self.control("scp", *self.ssh, *files, f"root@{address}:/var/tmp/images/")

    def everywhere(self, *scripts):
        return together([[self.on(address, script) for script in scripts] for address in self.addresses])

    def prepare(self):
        """containerd on the hosts, the images in the registry."""
        runtime = self.options.runtime
        together([[self.on(a, "mkdir -p /var/tmp/images"), self.copy(a, runtime), self.on(a, PREPARE)] for a in self.addresses])
        for name, archive in self.images.items():
            to = f"docker://{REGISTRY}/{name.split('/', 1)[1]}"
            run(self.control("skopeo", "copy", "--quiet", "--preserve-digests", "--retry-times", 5, "--dest-tls-verify=false",
                             f"oci-archive:{archive}", to))

    # The ways. Each returns the control host's processor time, without the registry's.

    def product(self):
        work = self.options.work
        return run(self.control(self.options.product, work / "test.bin", self.options.key, work / "known_hosts", *self.addresses))

    def scp(self):
        return together([self.by_scp(address) for address in self.addresses])

    def scp_loop(self):
        return sum(run(command) for address in self.addresses for command in self.by_scp(address))

    def by_scp(self, address):
        return [self.copy(address, *self.images.values()), self.on(address, IMPORT)]

    def registry(self):
        return self.everywhere(PULL % " ".join(self.images))

    def sent(self):
        """Bytes that the control host has sent to hosts."""
        told = subprocess.run(self.control("ip", "-j", "-s", "link", "show", "br0"), check=True, stdout=subprocess.PIPE)
        return json.loads(told.stdout)[0]["stats64"]["tx"]["bytes"]

    def measure(self, title, way):
        """Prints and returns seconds, bytes sent, and the control host's seconds of processor time."""
        sent, busy, begun = self.sent(), processor(self.options.registry), time.monotonic()
        used = way()
        took, sent, used = time.monotonic() - begun, self.sent() - sent, used + processor(self.options.registry) - busy
        self.everywhere(LOOK % " ".join(self.images))
        print(f"{title:44} {took:7.1f} s {sent / 1e6:9.1f} MB sent {used:6.1f} s of processor time", flush=True)
        return took, sent, used

    def round(self, ways):
        results = {}
        for title, way in ways.items():
            self.everywhere(EMPTY)
            results[title] = self.measure(title, way)
            if title == "product":
                self.measure("product, hosts have all", way)
        return results

    def partly(self):
        """Hosts have one image before; another one has a layer in common with it."""
        self.everywhere(EMPTY)
        held = next(name for name in self.images if "kube-proxy" in name)
        together([[self.copy(a, self.images[held]), self.on(a, IMPORT)] for a in self.addresses])
        print(f"hosts have {held}, an archive of {os.path.getsize(self.images[held]) / 1e6:.1f} MB:")
        self.measure("product", self.product)


def main():
    words = argparse.ArgumentParser()
    for name, kind in {"lab": str, "work": pathlib.Path, "product": str, "registry": int, "key": str, "runtime": str,
                       "hosts": int, "rounds": int, "rates": str}.items():
        words.add_argument(f"--{name}", type=kind, required=True)
    bench = Bench(words.parse_args())
    bench.prepare()
    ways = {"product": bench.product, "scp": bench.scp, "scp loop": bench.scp_loop, "registry": bench.registry}
    print(f"{len(bench.images)} images, {bench.size / 1e6:.1f} MB of archives, to {len(bench.addresses)} hosts; {os.cpu_count()} cores "
          "for the control host and all hosts")
    for rate in map(int, bench.options.rates.split()):
        run([str(LAB), "rate", "--name", bench.options.lab, "control", str(rate)])
        print(f"\nThe control host's link: {f'{rate} Mbit/s' if rate else 'no limit'}", flush=True)
        rounds = [bench.round(ways) for _ in range(bench.options.rounds)]
        bench.partly()
        median = {title: statistics.median(results[title][0] for results in rounds) for title in ways}
        print("medians: " + ", ".join(f"{title} {seconds:.1f} s" for title, seconds in median.items()))
        print("ratios: " + ", ".join(f"{title} / product {seconds / median['product']:.2f}"
                                     for title, seconds in median.items() if title != "product"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
