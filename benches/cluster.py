#!/usr/bin/env python3
"""The whole line on three lab hosts: how much of its time is the hosts' own, and how long a second run takes.

Usage: benches/cluster.py BUNDLE [ROUNDS]. The run's own events say how long every remote command took; the longest sum
of one host's commands, is what no tool could save (waits for other hosts are not in it, so the ratio is
rather too high). The rest is ours.
"""
import json
import os
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


def main():
    bundle, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    for _ in range(rounds):
        name = f"bench-cluster-{os.getpid()}"
        with tempfile.TemporaryDirectory() as work:
            subprocess.run([LAB, "up", "3", "--name", name, "--owner", str(os.getpid())], check=True, stdout=subprocess.DEVNULL)
            try:
                first, busy = run(bundle, name, work)
                second, _ = run(bundle, name, work)
            finally:
                subprocess.run([LAB, "down", "--name", name], check=False, stdout=subprocess.DEVNULL)
        slowest = max(busy.values())
        print(f"whole line {first:.1f} s   slowest host's commands {slowest:.1f} s   ratio {first / slowest:.2f}   second run {second:.2f} s",
              flush=True)


main()
