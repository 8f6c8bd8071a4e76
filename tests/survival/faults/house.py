"""mpud under inject, with containers whose programs call the driver without pause."""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parents[1] / "e2e"))

from control import Control, OTHER_PROCESSES  # noqa: E402
from manager import Manager  # noqa: E402
from world import Programs, die_with_parent, wait_until  # noqa: E402

PATIENCE = 20
ORDINARY_USER = "1000"


def find_programs(build):
    programs = Programs(build)
    for name in ("mpud", "load", "inject"):
        shutil.copy(Programs.find(name, Path(build)), programs.directory / name)
    return programs


class Hangs(AssertionError):
    pass


class Load:
    """A container; user: whose program it runs."""

    def __init__(self, programs, gpu, socket, user=None):
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        self.process = subprocess.Popen(
            [programs.mpu_run, "--pid-ns", f"--socket={socket}", f"--dev-root={gpu}", "--",
             *become, programs.load, f"--dev-root={gpu}", "--threads=2", "--pause-us=500"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        self.buffer = b""
        line = self.line()
        if line != b"ready":
            raise AssertionError(f"the load did not start: {self.process.communicate()[1]}")

    def line(self):
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Hangs("a target hangs")
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                return b""
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def ask(self):
        """The counts since it was last asked."""
        self.process.send_signal(signal.SIGUSR1)
        line = self.line()
        if not line:
            raise AssertionError(f"a target died: {self.process.communicate()[1][-300:]}")
        return json.loads(line)

    def end(self):
        self.process.terminate()
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise Hangs("a target does not end") from None


class House:
    """One mpud whose CALL can be made to fail."""

    def __init__(self, programs, gpu, call):
        self.programs, self.gpu, self.call = programs, gpu, call
        self.folder = programs.directory / f"house-{time.monotonic_ns()}"
        self.folder.mkdir()
        self.control = Control(self.folder / "control")
        self.manager = Manager(programs.inject, self.folder, [
            f"--control={self.control.path}", call, "--", programs.mpud, f"--dev-root={gpu}"])
        self.loads = []

    def start(self):
        self.manager.start(timeout=PATIENCE)
        self.intake()
        self.worker = self.manager.worker()
        wait_until(lambda: self.descriptors(self.worker) == self.descriptors(self.worker), "rest")
        time.sleep(0.05)
        self.keeper_at_rest = self.descriptors(self.manager.process.pid)
        self.worker_at_rest = self.descriptors(self.worker)
        self.loads = [Load(self.programs, self.gpu, self.manager.path, user)
                      for user in (None, ORDINARY_USER)]

    @staticmethod
    def descriptors(pid):
        try:
            return len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            return -1

    def ask(self):
        """The sum of what the loads count."""
        answers = [load.ask() for load in self.loads]
        return {name: sum(one[name] for one in answers)
                for name in ("calls", "eintr", "eagain", "wrong", "failed")}

    def begin_intake(self):
        """A container starts, calls and ends."""
        return subprocess.Popen(
            [self.programs.mpu_run, "--pid-ns", f"--socket={self.manager.path}",
             f"--dev-root={self.gpu}", "--", self.programs.load, f"--dev-root={self.gpu}",
             "--calls=4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)

    @staticmethod
    def end_intake(process):
        """Returns whether mpud took it and its calls were answered."""
        try:
            _, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Hangs("a container that starts hangs") from None
        if process.returncode == 125 and errors.startswith("mpu-run: "):
            return False
        if process.returncode == 1 and "cannot hold GPU memory" in errors and "errno 38" not in errors:
            return False
        if process.returncode:
            raise AssertionError(f"a container ends with {process.returncode}: {errors[-300:]}")
        return True

    def intake(self):
        return self.end_intake(self.begin_intake())

    def new_worker(self):
        """Kills the worker; the next one must be there soon."""
        before = self.manager.kill_worker()
        wait_until(lambda: self.manager.worker() not in (before, None), "another worker", PATIENCE)

    def check_keeper(self):
        status = self.manager.process.poll()
        if status is not None:
            raise AssertionError(f"mpud ended with {status}")
        if self.control.memory.crashed:
            raise AssertionError("a crash")

    def recovers(self):
        """Without faults everything is as it was: the loads, and a container that starts."""
        self.ask()
        wait_until(self.intake, "a container that mpud takes")
        wait_until(lambda: self.is_right(self.ask()), "right answers", PATIENCE)
        self.check_keeper()

    @staticmethod
    def is_right(counts):
        return counts["calls"] and not counts["wrong"]

    def end_loads(self):
        for load in self.loads:
            load.end()
        self.loads = []

    def check_leaks(self, closes_that_failed=0):
        """At rest no more descriptors are open than before, and no process is left."""
        keeper, allowed = self.manager.process.pid, closes_that_failed

        def is_at_rest():
            return (self.descriptors(keeper) <= self.keeper_at_rest + allowed and
                    self.descriptors(self.manager.worker()) <= self.worker_at_rest + allowed)
        try:
            wait_until(is_at_rest, "rest", 3)
        except AssertionError:
            raise AssertionError(
                f"descriptors left: keeper {self.keeper_at_rest} -> {self.descriptors(keeper)}, "
                f"worker {self.worker_at_rest} -> "
                f"{self.descriptors(self.manager.worker())}") from None

    def stop(self):
        for load in self.loads:
            load.process.kill()
            load.process.communicate()
        if self.manager.process:
            self.control.disarm()
            return self.manager.stop()
        return None

    def log_lines(self, since):
        """Errors and warnings of the log from byte SINCE on."""
        with open(self.manager.log_path, "rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.startswith(("level=error", "level=warn"))]

    def log_size(self):
        return os.path.getsize(self.manager.log_path)


def reach_worker(house):
    """In turn: what happens all the time, a container that comes, a worker that starts."""
    if house.control.wait(0.04):
        return
    house.intake()
    if house.control.memory.armed:
        house.new_worker()


def reach_keeper(house):
    house.intake()
    if house.control.memory.armed:
        house.new_worker()
        house.intake()


def reach(house, who):
    (reach_worker if who == OTHER_PROCESSES else reach_keeper)(house)
