"""What a running mpud holds: memory, descriptors, threads, and what stands in its journal."""
import json
import os
import re
import subprocess
import time
from pathlib import Path

# Executors that stay, each with a desk; one that works; and the worker's first thread, the idle one,
# the watch, the one that answers mpuctl.
EXECUTORS_KEPT = 16
QUIET_THREADS = EXECUTORS_KEPT + 1 + 4


def descendants(pid):
    """PID's children, their children and so on, parents first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in children for one in (int(child), *descendants(int(child)))]


def pss_kib(pid):
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))


def entries(pid, folder):
    try:
        return len(os.listdir(f"/proc/{pid}/{folder}"))
    except OSError:
        return 0


class State:
    """One look at it."""

    def __init__(self, programs, keeper):
        done = subprocess.run([programs.journal_look, str(keeper)], capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stderr.strip())
        journal = json.loads(done.stdout)
        self.worker = journal["worker"]
        self.slots, self.desks = journal["slots"], journal["desks"]
        self.listeners, self.quarantined = journal["listeners"], journal["quarantined"]
        self.workers, self.crashes = journal["workers"], journal["crashes"]
        self.hangs = journal["hangs"]
        self.keeper_fds = entries(keeper, "fd")
        self.worker_fds = entries(self.worker, "fd")
        self.threads = entries(self.worker, "task")
        self.pss_kib = pss_kib(keeper) + pss_kib(self.worker)

    def left(self, before):
        """What is there more than BEFORE, in words. Some executors stay."""
        least = {"desks": EXECUTORS_KEPT, "threads": QUIET_THREADS}
        found = []
        for name in ("slots", "desks", "listeners", "keeper_fds", "worker_fds", "threads"):
            was, now = getattr(before, name), getattr(self, name)
            if now > max(was, least.get(name, 0)):
                found.append(f"{name} {was} -> {now}")
        return ", ".join(found)


def wait_settled(programs, keeper, before, seconds=10):
    """Waits until no more is left than BEFORE had. Returns the last look, and what is left."""
    deadline = time.monotonic() + seconds
    while True:
        state = State(programs, keeper)
        left = state.left(before)
        if not left or time.monotonic() > deadline:
            return state, left
        time.sleep(0.05)
