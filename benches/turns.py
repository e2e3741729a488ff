#!/usr/bin/env python3
"""turns.py TITLE (NAME BEFORE COMMAND)…: runs programs by turns and prints a table in Markdown: of each its best run's time and
processor time, its largest memory, and how many times as long the first of them took. COMMAND is words, BEFORE a line of
shell that is not timed. Every program runs once before any is timed, which is when its memory is measured. RUNS=5. Run by
bundle.sh."""
import os
import shlex
import subprocess
import sys
import tempfile
import time


def run(before, command):
    """Seconds, and those of the processor."""
    subprocess.run(["sh", "-ec", before], check=True)
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    took = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return took, used.ru_utime, used.ru_stime


def memory(before, command):
    """MiB. Of a program that Python itself starts, Linux counts what Python had before."""
    with tempfile.NamedTemporaryFile("r") as told:
        run(before, ["/usr/bin/time", "-o", told.name, "-f", "%M", *command])
        return int(told.read()) // 1024


def main():
    title, *words = sys.argv[1:]
    programs = [(words[at], words[at + 1], shlex.split(words[at + 2])) for at in range(0, len(words), 3)]
    if os.geteuid() == 0:
        # So that other work on the machine disturbs them less.
        os.setpriority(os.PRIO_PROCESS, 0, -18)
    most = [memory(before, command) for _, before, command in programs]
    turns = [[run(before, command) for _, before, command in programs] for _ in range(int(os.environ.get("RUNS", "5")))]
    best = [min(runs) for runs in zip(*turns)]
    print(f"\n{title}\n\n| | time | user + system | memory | the first took |\n|---|---:|---:|---:|---:|")
    for (name, _, _), (took, user, system), mib in zip(programs, best, most):
        print(f"| {name} | {took:.3f} s | {user:.3f} + {system:.3f} s | {mib} MiB | {best[0][0] / took:.2f} times that |", flush=True)


main()
