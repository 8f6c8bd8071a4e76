"""The simulated driver, and programs that run on the host, in a PID namespace or under mpu-run."""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The system's own, which any user may run.
PYTHON = "/usr/bin/python3"
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def wait_until(condition, what, seconds=10.0):
    """Polls CONDITION and returns its first true value. AssertionError after SECONDS."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)
    return value


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Programs:
    """The programs under test, copied to a directory from which any user may run them. The
    simulated driver and its hostile client come from the default build where there is one: it is
    not they that are tested here, and the static build has none."""

    def __init__(self, build):
        found = {name: self.find(name, Path(build)) for name in ("mpu-run", "gpu-hold", "gpu-ps")}
        found |= {name: self.find(name, ROOT / "build", Path(build))
                  for name in ("simrm", "hostile", "tour", "confine-fuzz")}
        self.directory = Path(tempfile.mkdtemp(prefix="mpu-e2e-"))
        self.directory.chmod(0o755)
        for name, path in found.items():
            shutil.copy(path, self.directory / name)
        self.agent = shutil.copy(Path(__file__).with_name("agent.py"), self.directory)

    def __getattr__(self, name):
        return str(self.directory / name.replace("_", "-"))

    @staticmethod
    def find(name, *builds):
        for build in builds:
            for path in sorted(build.rglob(name)):
                if path.is_file() and os.access(path, os.X_OK):
                    return path
        where = " or ".join(map(str, builds))
        raise AssertionError(f"no program {name} under {where}: build first")

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class Simrm:
    """A simulated driver of one release on a directory of its own."""

    def __init__(self, programs, version, *options):
        self.directory = tempfile.mkdtemp(prefix="dev-", dir=programs.directory)
        self.log = open(f"{self.directory}.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [programs.simrm, f"--driver-version={version}", f"--data={ROOT}/tests/data",
             "--foreground", *options, self.directory],
            stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=die_with_parent)
        if self.process.stdout.readline() != "ready\n":
            self.stop()
            raise AssertionError(f"simrm {version} ended: {self.output()}")

    def output(self):
        return Path(self.log.name).read_text(encoding="utf-8", errors="replace").strip()

    def state(self):
        """The truth: clients, their memory and sessions, accounting."""
        return json.loads(Path(self.directory, "simrm-state").read_text(encoding="utf-8"))

    def command(self, line):
        """Directs it (tests/simrm/README.md)."""
        Path(self.directory, "simrm-control").write_text(line + "\n", encoding="utf-8")

    def stop(self):
        """Ends it. Whatever it leaves mounted is unmounted, so that nothing stays behind."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # After a crash whoever still waits for an answer waits for ever, unless it is forced.
        if self.directory in Path("/proc/self/mounts").read_text(encoding="utf-8"):
            subprocess.run(["umount", "--force", "--lazy", self.directory], check=False)
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ended = self.process.poll()
        self.stop()
        if ended is not None:
            raise AssertionError(f"simrm ended with {ended} during the test: {self.output()}")


class Agent:
    """agent.py as a child of PREFIX, such as ["unshare", "--pid", ...] or ["mpu-run", ...]."""

    def __init__(self, programs, prefix=(), user=None):
        self.prefix = list(prefix)
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [*self.prefix, PYTHON, programs.agent], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, text=True,
            **({"user": user, "group": user, "extra_groups": []} if user else {}))

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait(timeout=10)
            raise AssertionError(f"{self.prefix or 'agent'} ended with {self.process.returncode}: "
                                 f"{self.error_output()}")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer

    def error_output(self):
        self.errors.seek(0)
        return self.errors.read().strip()

    def run(self, *argv):
        return self.ask(run=list(argv))

    def spawn(self, *argv):
        return self.ask(spawn=list(argv))

    def end(self, pid):
        return self.ask(end=pid)

    def close(self):
        """Ends the agent; returns the exit status of what ran it."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            status = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.prefix} did not end within 20 s of its command") from None
        finally:
            self.process.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.close()
        except AssertionError:
            if kind is None:
                raise
        self.errors.close()


@contextmanager
def programs(build):
    found = Programs(build)
    try:
        yield found
    finally:
        found.remove()
