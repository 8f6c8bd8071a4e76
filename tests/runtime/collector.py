"""Who listens in mpud's place and answers every call with an error of its own, so that it can be told,
call by call, what a container's filter shows and what it lets through."""
import array
import contextlib
import csv
import fcntl
import json
import os
import select
import socket
import struct
import threading

from containers import ROOT, expect, expect_equal, run

RECEIVE, SEND = 0xc0502100, 0xc0182101  # SECCOMP_IOCTL_NOTIF_*
NOTIFICATION = "=QIIiIQ6Q"
OURS, KERNELS = 76, 9  # ENOTUNIQ, EBADF
SPELLINGS = [0xc0004600, 0x00000000, 0x40005400, 0x8000ff00]  # direction and magic
RELEASES = ["515.43.04", "550.54.14", "580.95.05", "595.45.04"]
# Escapes of the headers that no module has; those that take a list, or any size from theirs on.
UNIMPLEMENTED = {0x32, 0x33, 0x37, 0x38, 0x56, 0x5c, 0x5d}
ANY_SIZE = {0xc8, 0xd4, 0xd5}
BARE_MAXIMUM = 512
UVM_FIRST, UVM_NONE = 23, 2047


class Collector:
    """Listens at SOCKET until it is stopped."""

    def __init__(self, path, answer=b"ok confine=compute\n"):
        self.socket, self.answer = str(path), answer
        self.states, self.requests = [], []
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.server.bind(self.socket)
        self.server.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                threading.Thread(target=self.take, args=[connection], daemon=True).start()

    def take(self, connection):
        """A hook that only looks whether somebody listens sends nothing."""
        text, fds = b"", array.array("i")
        with connection, contextlib.suppress(OSError):
            while not self.is_whole(text):
                data, ancillary, _, _ = connection.recvmsg(1 << 16, 4096)
                for _, _, received in ancillary:
                    fds.frombytes(received[:len(received) // 4 * 4])
                if not data:
                    return
                text += data
            self.states.append(json.loads(text))
            connection.sendall(self.answer)
        for listener in fds:
            threading.Thread(target=self.serve, args=[listener], daemon=True).start()

    @staticmethod
    def is_whole(text):
        with contextlib.suppress(ValueError):
            json.loads(text)
            return True
        return False

    def serve(self, listener):
        ready = select.poll()
        ready.register(listener, select.POLLIN)
        with contextlib.suppress(OSError):
            while not any(events & select.POLLHUP for _, events in ready.poll()):
                notification = bytearray(struct.calcsize(NOTIFICATION))
                fcntl.ioctl(listener, RECEIVE, notification)
                fields = struct.unpack(NOTIFICATION, notification)
                self.requests.append(fields[7] & 0xffffffff)
                answer = bytearray(struct.pack("=QqiI", fields[0], 0, -OURS, 0))
                fcntl.ioctl(listener, SEND, answer)
        os.close(listener)

    def stop(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        os.unlink(self.socket)


class Requests:
    """What must be shown, what may only with compute pass unseen, and what is not ours. From the ABI of
    releases and from the kernel's headers; nothing here comes from the filter's own table."""

    def __init__(self, mpuctl):
        self.shown, self.compute, self.others = set(), set(), set()
        exact = {(0, 16)}
        for release in RELEASES:
            for line in run([mpuctl, "abi", "dump", release]).stdout.splitlines():
                words = line.split()
                if words[:1] == ["escape"] and int(words[2], 16) not in UNIMPLEMENTED:
                    exact.add((int(words[2], 16), int(words[words.index("bytes,") - 1])))
                elif words[:1] == ["uvm"] and UVM_FIRST <= int(words[2], 16) != UVM_NONE:
                    self.shown.add(int(words[2], 16))
            for line in run([mpuctl, "abi", "policy", release, "compute"]).stdout.splitlines():
                words = line.split()
                if words[:1] == ["uvm"] and "continue:" in words:
                    self.compute |= {int(word, 16) for word in words[1:3] if word.startswith("0x")}
        self.compute = {number for number in self.compute if number < BARE_MAXIMUM}
        for number, size in exact:
            self.shown |= {spelling | size << 16 | number for spelling in SPELLINGS}
        with open(ROOT / "tests/data/linux-ioctls.csv", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                request = int(row["request"], 16)
                number, size = request & 0xff, request >> 16 & 0x3fff
                if (number, size) not in exact and number not in ANY_SIZE:
                    self.others.add(request)

    def write(self, path):
        numbers = sorted(self.shown | self.others)
        path.write_text("".join(f"{number:x}\n" for number in numbers))

    def judge(self, output, collector, compute):
        """OUTPUT of ioctl-probe, and what the collector saw, are what they should be."""
        told = {int(line.split()[0], 16): int(line.split()[1])
                for line in output.splitlines() if line.startswith("0x")}
        passing = self.others | (self.compute & self.shown if compute else set())
        wanted = {number: KERNELS if number in passing else OURS
                  for number in self.shown | self.others}
        wrong = {f"{number:#x}": (told.get(number), error) for number, error in wanted.items()
                 if told.get(number) != error}
        expect(not wrong, f"{len(wrong)} of {len(wanted)} requests, (is, wanted): "
                          f"{dict(list(wrong.items())[:8])}")
        expect(len(self.shown) > 150 and len(self.others) > 2000, "too few requests were tried")
        seen = {number for number in collector.requests if number in wanted}
        expect_equal(len(seen), sum(error == OURS for error in wanted.values()),
                     "requests that were shown")
