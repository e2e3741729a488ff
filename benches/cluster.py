#!/usr/bin/env python3
"""The whole line on three lab hosts: how much of its time is the hosts' own, and how long a second run takes.

Usage: ROUNDS=3 benches/cluster.py BUNDLE…: several bundles (of earlier versions, say) take turns. The run's own events say how long every remote command took; the longest sum
of one host's commands, is what no tool could save (waits for other hosts are not in it, so the ratio is
rather too high). The rest is ours.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
LAB = os.path.join(ROOT, "tests/lab/lab")
HOSTS = [f"root:111111@10.8.14.{n}" for n in (200, 201, 202)]
LINE = ["-K", "onekey_deploy_ctl", "-create_etcd_cluster", "--host-list", *HOSTS,
        "-create_k8s_cluster", "--master-host-list", HOSTS[0], "--node-host-list", *HOSTS, "--json", "-v"]


def run(bundle, name, work):
    """Total seconds, and the slowest host's seconds in remote commands and in steps that wait for another host."""
    command = [LAB, "run", "--name", name, "--", bundle, *LINE, "--log-dir", os.path.join(work, "log")]
    done = subprocess.run(command, env={**os.environ, "SUNSHINE_STATE_DIR": os.path.join(work, "state")},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the line failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    total = next(e["took_ms"] for e in events if e["event"] == "run_finished") / 1000
    busy = {}
    for event in events:
        if event["event"] == "command":
            busy[event["host"]] = busy.get(event["host"], 0) + event["took_ms"] / 1000
    return total, busy


def measure(bundle):
    """A round: the line on new hosts, and the same line again."""
    name = f"bench-cluster-{os.getpid()}"
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([LAB, "up", "3", "--name", name, "--owner", str(os.getpid())], check=True, stdout=subprocess.DEVNULL)
        try:
            first, busy = run(bundle, name, work)
            second, _ = run(bundle, name, work)
        finally:
            subprocess.run([LAB, "down", "--name", name], check=False, stdout=subprocess.DEVNULL)
    return first, second, max(busy.values())


def main():
    bundles = [os.path.abspath(path) for path in sys.argv[1:]]
    taken = {bundle: [] for bundle in bundles}
    for _ in range(int(os.environ.get("ROUNDS", "3"))):
        for bundle in bundles:
            first, second, slowest = measure(bundle)
            taken[bundle].append((first, second))
            print(f"{bundle}: whole line {first:.1f} s   slowest host's commands {slowest:.1f} s   ratio {first / slowest:.2f}   "
                  f"second run {second:.2f} s", flush=True)
    for bundle, rounds in taken.items():
        first, second = (statistics.median(times) for times in zip(*rounds))
        print(f"median of {bundle}: whole line {first:.1f} s, second run {second:.2f} s")


main()
