"""mpu-run with an engine of its own: a command that knows the right answers, while calls fail."""
import random
import subprocess
import time

from control import Control
from house import PATIENCE, Hangs, die_with_parent

CALLS = 40
WAYS = ((), ("--fd-lookup=process",), ("--pid-lookup=nspid",))


class Alone:
    """Runs of mpu-run whose CALL can be made to fail."""

    def __init__(self, programs, gpu, call):
        self.programs, self.gpu, self.call = programs, gpu, call
        self.folder = programs.directory / f"alone-{time.monotonic_ns()}"
        self.folder.mkdir()
        self.control = Control(self.folder / "control")

    def run(self, *options):
        """Exit status, what the command said and what mpu-run said."""
        process = subprocess.Popen(
            [self.programs.inject, f"--control={self.control.path}", self.call, "--",
             self.programs.mpu_run, "--pid-ns", f"--dev-root={self.gpu}", *options, "--",
             self.programs.load, f"--dev-root={self.gpu}", f"--calls={CALLS}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Hangs("mpu-run hangs") from None
        self.wait_for_tracer()
        return process.returncode, out, errors

    def wait_for_tracer(self):
        """It ends with the last process that it traces: then none is left."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                with open(f"/proc/{self.control.memory.tracer}/stat", encoding="ascii") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                        return
            except OSError:
                return
            time.sleep(0.005)
        raise AssertionError("a process is left")


def said_why(call, status, errors):
    """mpu-run refuses in words, or the loader does before there is an mpu-run."""
    if call == "write" and status == 125:
        return True
    if status == 127 and ("shared librar" in errors or "cannot" in errors):
        return True
    return status == 125 and any(word in errors for word in ("mpu-run: ", "level=error"))


def judge(fault, alone, status, out, errors):
    if alone.control.memory.crashed:
        raise AssertionError(f"a crash: {errors[-300:]}")
    if alone.control.memory.failed:
        fault.seen.add("reached")
    if status == 0 and '"wrong":0' in out:
        if '"eagain":0' not in out:
            fault.seen.add("tried again")
    elif status == 0 and out and ("level=error" in errors or not fault.judged):
        fault.seen.add("the call fails")
        lies = number(out, "wrong") - number(out, "failed")
        if lies and fault.judged:
            raise AssertionError(f"{lies} answers are wrong: {errors[-300:]}")
    elif said_why(fault.call, status, errors):
        fault.seen.add("mpu-run refuses")
    elif status == 1 and "cannot hold GPU memory" in errors and "errno 38" not in errors:
        fault.seen.add("a program that does not try again ends")
    elif fault.judged or status < 0:
        raise AssertionError(f"status {status}: {errors[-300:]}")


def number(out, name):
    return int(out.split(f'"{name}":')[1].split(",")[0].rstrip("}\n"))


# While these fail nobody can be heard; it is tried again, and logged.
WAITS = ("epoll_ctl=1", "clone3", "clone", "mmap", "mprotect")


def inject(alone, fault, calls_made, loader):
    """The first calls behind the dynamic linker's, some later ones, one of several, all."""
    places = [0, 1, 2, 3] + [random.randrange(4, max(5, calls_made)) for _ in range(3)]
    for number_of_run, skip in enumerate(places[:max(1, calls_made)]):
        alone.control.arm(fault.error, skip=loader + skip)
        judge(fault, alone, *alone.run(*WAYS[number_of_run % len(WAYS)]))
        if alone.control.disarm() and "the call fails" in fault.seen and fault.judged:
            raise AssertionError("a call fails for good by one fault")
    for options, every in zip(WAYS, (3, 7, 1)):
        if every == 1 and (fault.error == "EINTR" or fault.call in WAITS or not fault.judged):
            continue  # where a signal always interrupts, or no target is ever there, nobody gets on
        skip = loader + random.randrange(max(1, calls_made - loader))
        alone.control.arm(fault.error, skip=skip, every=every)
        judge(fault, alone, *alone.run(*options))
        alone.control.disarm()
    status, out, errors = alone.run()
    if status or '"wrong":0' not in out:
        raise AssertionError(f"without a fault: status {status}: {errors[-300:]}")


def count_calls(programs, gpu):
    """{call: how often mpu-run makes it}, over its ways."""
    made = {}
    for options in WAYS:
        alone = Alone(programs, gpu, "all")
        status, _, errors = alone.run(*options)
        if status:
            raise AssertionError(f"mpu-run ends with {status}: {errors}")
        for call, counts in alone.control.counts().items():
            made[call] = max(made.get(call, 0), sum(counts))
    return made
