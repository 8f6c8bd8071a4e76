"""Targets call the driver without pause while mpud's worker is killed, its keeper restarted and the
whole replaced: soak.py BUILD [KILLS [RESTARTS [UPGRADES]]] [OPTION OF MPUD]..."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from manager import Manager  # noqa: E402
from results import exit_status, report  # noqa: E402
from world import Programs, ROOT, Simrm, die_with_parent  # noqa: E402

VERSION = "550.54.14"
TARGETS, THREADS = 8, 2
# Some calls stay in the driver for a while, so that workers die there too.
DELAYS = ["delay cmd=0x2080018d ms=4 per_mille=100", "delay cmd=0x2080018e ms=4 per_mille=100"]


class Load:
    """A container whose only process calls without pause."""

    def __init__(self, programs, gpu, socket):
        self.process = subprocess.Popen(
            [programs.mpu_run, "--pid-ns", f"--socket={socket}", f"--dev-root={gpu}", "--",
             programs.load, f"--dev-root={gpu}", f"--threads={THREADS}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise AssertionError(f"the load did not start: {self.process.communicate()[1]}")

    def end(self):
        """The counts, or None when it hangs."""
        self.process.terminate()
        try:
            out, errors = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None, "hangs"
        return json.loads(out.splitlines()[-1]) if out else None, errors.strip()


def pause():
    """Mostly some milliseconds, now and then none at all."""
    time.sleep(random.choice([0, random.uniform(0, 0.003), random.uniform(0, 0.03)]))


def harm(manager, kills, restarts, upgrades):
    """All of it, well mixed. Returns how many workers were killed."""
    deeds = ["kill"] * kills + ["restart"] * restarts + ["upgrade"] * upgrades
    random.shuffle(deeds)
    killed = 0
    for number, deed in enumerate(deeds):
        pause()
        if deed == "kill":
            killed += kill_one(manager)
        elif deed == "restart":
            manager.restart(random.choice([signal.SIGTERM, signal.SIGKILL]))
        else:
            manager.replace()
        if number % 250 == 249:
            print(f"... {number + 1} of {len(deeds)}", flush=True)
    return killed


def kill_one(manager):
    for _ in range(1000):
        if manager.kill_worker():
            return 1
        time.sleep(0.001)
    raise AssertionError(f"mpud has no worker: {manager.tail()}")


def judge(results, deeds, killed, seconds):
    counts = [one for one, _ in results if one]
    calls = sum(one["calls"] for one in counts)
    handled = sum(one["handled"] for one in counts)
    again = sum(one["eintr"] + one["eagain"] for one in counts)
    wrong = sum(one["wrong"] for one in counts)
    longest = max((one["longest_ms"] for one in counts), default=0)
    errors = " ".join(text for _, text in results if text)
    print(f"{killed} workers killed, {deeds[1]} keepers restarted, {deeds[2]} upgrades in "
          f"{seconds:.0f} s: {calls} calls ({handled} handled), {wrong} wrong, {again} EINTR or "
          f"EAGAIN ({100 * again / max(calls, 1):.4f} %), longest pause {longest:.0f} ms")
    report("passed" if len(counts) == TARGETS else "failed", "no target hangs or dies",
           f"{len(counts)} of {TARGETS} {errors[:300]}")
    report("passed" if calls > 1000 and handled and not wrong else "failed",
           "every call gets mpu's right answer", f"{wrong} of {calls} wrong {errors[:300]}")
    report("passed" if again <= calls / 1000 else "failed",
           "calls to be tried again are under 0.1 %", f"{again} of {calls}")


def main():
    build = sys.argv[1]
    options = [word for word in sys.argv[2:] if word.startswith("--")]
    deeds = [int(word) for word in sys.argv[2:] if word not in options]
    deeds += [2000, 50, 50][len(deeds):]
    seed = int(os.environ.get("MPU_SEED", random.randrange(1 << 30)))
    random.seed(seed)
    print(f"MPU_SEED={seed}")
    programs = Programs(build)
    for name in ("mpud", "load"):
        shutil.copy(Programs.find(name, Path(build), ROOT / "build"), programs.directory / name)
    with Simrm(programs, VERSION) as simrm:
        for line in DELAYS:
            simrm.command(line)
        manager = Manager(programs.mpud, programs.directory, [f"--dev-root={simrm.directory}", *options])
        try:
            manager.start()
            loads = [Load(programs, simrm.directory, manager.path) for _ in range(TARGETS)]
            began = time.monotonic()
            killed = harm(manager, *deeds)
            results = [load.end() for load in loads]
            judge(results, deeds, killed, time.monotonic() - began)
            status = manager.stop()
            report("passed" if status == 0 else "failed", "mpud ends cleanly", f"status {status}")
        finally:
            manager.stop()
            print(manager.tail(4))
    programs.remove()
    return exit_status()


if __name__ == "__main__":
    sys.exit(main())
