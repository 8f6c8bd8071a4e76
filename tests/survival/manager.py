"""As much of a service manager as mpud sees: activation, readiness, the file descriptor store."""
import array
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from world import die_with_parent  # noqa: E402

FIRST_FD = 3


class Manager:
    """Runs one mpud, and keeps what it gives into store. The log is one file over all of them."""

    def __init__(self, program, folder, options=()):
        self.program, self.folder, self.options = program, Path(folder), list(options)
        self.path = str(self.folder / "mpud.sock")
        self.log_path = str(self.folder / "mpud.log")
        self.log = open(self.log_path, "ab")
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen(256)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.folder / "notify"))
        os.chmod(self.folder / "notify", 0o777)  # as systemd's is, for services of any user
        self.store = {}
        self.ready = False
        self.process = None
        self.ended = False
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        """mpud waits until it is heard."""
        while not self.ended:
            if not select.select([self.notify], [], [], 0.05)[0]:
                continue
            data, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(16 * 4))
            fds = array.array("i")
            for _, _, rights in ancillary:
                fds.frombytes(rights)
            self._remember(data.decode(), list(fds))

    def _remember(self, text, fds):
        words = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
        name = words.get("FDNAME")
        if words.get("FDSTORE") == "1":
            assert words.get("FDPOLL") == "0", text
            if name in self.store:
                os.close(self.store[name])
            self.store[name] = fds.pop()
        elif words.get("FDSTOREREMOVE") == "1" and name in self.store:
            os.close(self.store.pop(name))
        if words.get("READY") == "1":
            self.ready = True
        for fd in fds:
            os.close(fd)

    def start(self, *options, timeout=30):
        """Starts mpud with the socket and what is in store, and waits until it is ready."""
        passed = [("mpud.socket", self.listening.fileno()), *self.store.items()]
        names = ":".join(name for name, _ in passed)
        # Out of the way first, so that none is overwritten before it was moved.
        moved = [os.dup(fd) for _, fd in passed]

        def prepare():
            die_with_parent()
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_FD + 2 * len(moved)) for fd in moved]
            for number, fd in enumerate(high):
                os.dup2(fd, FIRST_FD + number)
                os.close(fd)

        environment = dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify"),
                           LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=names)
        self.ready = False
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "-", self.program, *self.options, *options],
            env=environment, preexec_fn=prepare, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log)
        for fd in moved:
            os.close(fd)
        self.wait_ready(timeout)

    def wait_ready(self, timeout=30):
        deadline = time.monotonic() + timeout
        while not self.ready:
            time.sleep(0.001)
            if self.process.poll() is not None:
                raise AssertionError(f"mpud ended with {self.process.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"mpud is not ready: {self.tail()}")

    def worker(self):
        """The PID of the worker, or None while there is none."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[-1]) if children else None

    def kill_worker(self, number=signal.SIGKILL):
        """Returns the PID of the worker that was signalled, or None."""
        worker = self.worker()
        if worker:
            try:
                os.kill(worker, number)
            except ProcessLookupError:
                return None
        return worker

    def restart(self, number=signal.SIGTERM):
        """As `systemctl restart` does: all of the unit's processes end, then a new one starts."""
        worker = self.worker()
        self.process.send_signal(number)
        if number == signal.SIGKILL and worker:
            os.kill(worker, number)
        self.process.wait(timeout=30)
        self.start()

    def replace(self, *options):
        """An upgrade: another mpud takes over from the one that runs."""
        before = self.process
        self.ready = False
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify"))
        self.process = subprocess.Popen(
            [self.program, *self.options, *options, f"--socket={self.path}", "--replace"], env=environment,
            preexec_fn=die_with_parent, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.wait_ready()
        status = before.wait(timeout=30)
        assert status == 0, f"the mpud that was replaced ended with {status}: {self.tail()}"

    def tail(self, lines=15):
        return "\n".join(Path(self.log_path).read_text(errors="replace").splitlines()[-lines:])

    def count(self, text):
        return Path(self.log_path).read_text(errors="replace").count(text)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.ended:
            return self.process.returncode
        self.ended = True
        self.reader.join()
        for fd in self.store.values():
            os.close(fd)
        self.listening.close()
        self.notify.close()
        self.log.close()
        return self.process.returncode if self.process else None
