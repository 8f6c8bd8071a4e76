"""Programs, a simulated driver and an mpud, for the suites of this folder."""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from manager import Manager  # noqa: E402
from mpud_state import State, descendants  # noqa: E402
from world import Programs, ROOT, Simrm, die_with_parent  # noqa: E402

VERSION = "550.54.14"
ALIVE_MS = 5000


def find_programs(build):
    programs = Programs(build)
    for name in ("mpud", "mpuctl", "load", "attack", "ask", "journal-look"):
        shutil.copy(Programs.find(name, Path(build), ROOT / "build"), programs.directory / name)
    return programs


class Container:
    """A program in a container of its own, under the mpud at SOCKET. FIRST is its first line."""

    def __init__(self, programs, gpu, socket, first, argv, prefix=()):
        self.process = subprocess.Popen(
            [*prefix, programs.mpu_run, "--pid-ns", f"--socket={socket}", f"--dev-root={gpu}",
             "--", *argv, f"--dev-root={gpu}"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.expect_line(first)

    def line(self, seconds):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise AssertionError(f"nothing heard for {seconds} s")
        return self.process.stdout.readline().strip()

    def expect_line(self, text, seconds=20):
        if self.line(seconds) != text:
            raise AssertionError(f"ended: {self.process.communicate()[1].strip()}")

    def end(self, seconds=20):
        """Its last line, and what it said beside."""
        self.process.terminate()
        try:
            out, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"does not end within {seconds} s") from None
        lines = out.splitlines()
        return json.loads(lines[-1]) if lines else {}, errors.strip()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Victim(Container):
    """Calls now and then, and knows every right answer."""

    def __init__(self, programs, gpu, socket, pause_us=1000):
        super().__init__(programs, gpu, socket, "ready",
                         [programs.load, f"--pause-us={pause_us}"])
        self.pid = descendants(self.process.pid)[-1]

    def watch(self, seconds):
        """The counts of the next SECONDS."""
        os.kill(self.pid, signal.SIGUSR1)
        self.line(ALIVE_MS / 1000 + 1)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGUSR1)
        return json.loads(self.line(ALIVE_MS / 1000 + 1))


class Asker(Container):
    """Makes single calls."""

    def __init__(self, programs, gpu, socket):
        super().__init__(programs, gpu, socket, "ready", [programs.ask])

    def ask(self, cmd, size, seconds=10):
        """The errno and the status of one call."""
        self.process.stdin.write(f"{cmd:x} {size}\n")
        self.process.stdin.flush()
        return tuple(map(int, self.line(seconds).split()))

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


class World:
    """A simulated driver and an mpud that serves it."""

    def __init__(self, programs, *options, by_link=False):
        self.programs = programs
        self.simrm = Simrm(programs, VERSION)
        self.gpu = self.simrm.directory
        self.link = f"{self.gpu}.link"
        if by_link:
            os.symlink(self.gpu, self.link)
        folder = Path(self.gpu + ".mpud")
        folder.mkdir()
        self.manager = Manager(
            programs.mpud, folder, [f"--dev-root={self.link if by_link else self.gpu}", *options])
        self.containers = []

    def state(self):
        return State(self.programs, self.manager.process.pid)

    def victim(self, **options):
        return self._keep(Victim(self.programs, self.gpu, self.manager.path, **options))

    def asker(self):
        return self._keep(Asker(self.programs, self.gpu, self.manager.path))

    def _keep(self, container):
        self.containers.append(container)
        return container

    def close(self):
        for container in self.containers:
            container.kill()
        try:
            self.manager.stop()
        finally:
            self.simrm.stop()


@contextmanager
def world(programs, *options, **more):
    made = World(programs, *options, **more)
    try:
        made.manager.start()
        yield made
    except AssertionError as error:
        raise AssertionError(f"{error}; mpud says: {made.manager.tail(6)}") from error
    finally:
        made.close()
