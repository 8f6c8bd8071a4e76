"""What inject.c does, as the test tells it: struct control of inject.c in shared memory."""
import ctypes
import errno
import mmap
import os
import random
import time

FIRST_PROCESS, OTHER_PROCESSES = 1, 2
KINDS = 512


class Kind(ctypes.Structure):
    _fields_ = [("number", ctypes.c_uint32), ("request", ctypes.c_uint32),
                ("count", ctypes.c_uint32 * 2)]


class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in
                ("armed", "who", "errnum", "skip", "every", "seen", "failed", "crashed", "tracer")]
    _fields_ += [("thread", ctypes.c_char * 16), ("kind", Kind * KINDS)]


class Control:
    def __init__(self, path):
        self.path = str(path)
        with open(self.path, "w+b") as file:
            file.truncate(ctypes.sizeof(Memory))
            self.map = mmap.mmap(file.fileno(), ctypes.sizeof(Memory))
        self.memory = Memory.from_buffer(self.map)

    def arm(self, error, who=FIRST_PROCESS | OTHER_PROCESSES, skip=0, every=0):
        """Lets one call fail behind SKIP others, or one of EVERY."""
        memory = self.memory
        memory.armed = 0
        memory.who, memory.errnum = who, getattr(errno, error)
        memory.skip, memory.every, memory.seen, memory.failed = skip, every, 0, 0
        memory.armed = 1

    def disarm(self):
        """How many calls failed."""
        self.memory.armed = 0
        return self.memory.failed

    def wait(self, seconds):
        """Whether one has failed by then."""
        deadline = time.monotonic() + seconds
        while not self.memory.failed and time.monotonic() < deadline:
            time.sleep(0.002)
        return bool(self.memory.failed)

    def arm_somewhere(self, error, who):
        self.arm(error, who, skip=random.choice([0, 0, 1, 2, 5, 11, 23]))

    def counts(self):
        """{call: (by the first process, by others)} of what was counted with "all"."""
        names = syscall_names()
        found = {}
        for kind in self.memory.kind:
            if any(kind.count):
                name = names.get(kind.number, str(kind.number))
                if name == "ioctl":
                    name += f"={kind.request:#x}"
                elif name in ("epoll_ctl", "fcntl"):
                    name += f"={kind.request}"
                found[name] = tuple(kind.count)
        return found


def syscall_names():
    path = f"/usr/include/{os.uname().machine}-linux-gnu/asm/unistd_64.h"
    if not os.path.exists(path):
        path = "/usr/include/asm-generic/unistd.h"
    names = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            words = line.split()
            if len(words) == 3 and words[1].startswith("__NR_") and words[2].isdigit():
                names[int(words[2])] = words[1][5:]
    return names
