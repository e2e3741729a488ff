"""Shows how far long work is: one line that moves on a terminal, a line now and then in a log."""
import subprocess
import sys
import time

from common import Problem


class Progress:
    """Counts towards `total`; the total is an estimate that may be missed (what is cached is not counted again)."""

    def __init__(self, title, total, unit):
        self.title, self.total, self.unit = title, total, unit
        self.done, self.begun, self.shown = 0, time.monotonic(), 0.0
        self.terminal = sys.stderr.isatty()
        self.show()

    def step(self, count):
        self.done += count
        if time.monotonic() - self.shown >= (0.2 if self.terminal else 15):
            self.show()

    def show(self):
        self.shown = time.monotonic()
        line = f"lab: {self.title}: {self.done:,} of {self.total:,} {self.unit}, {clock(self.shown - self.begun)}"
        print(f"\r{line}\033[K" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self):
        line = f"lab: {self.title}: done in {clock(time.monotonic() - self.begun)}"
        print(f"\r{line}\033[K" if self.terminal else line, file=sys.stderr, flush=True)


def clock(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def run(*argv, title, total, unit, **more):
    """Runs a long command and counts its lines. A failure carries the last of them."""
    bar = Progress(title, total, unit)
    process = subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    tail = []
    for line in process.stdout:
        tail = [*tail[-30:], line]
        bar.step(1)
    if process.wait() != 0:
        raise Problem(f"{' '.join(argv)}: exit {process.returncode}: {''.join(tail)[-3000:]}")
    bar.end()
