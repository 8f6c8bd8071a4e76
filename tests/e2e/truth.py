"""What a PID namespace should be told: the simulated driver's own state, translated by what the
kernel says of the processes that the test started. Nothing here comes from mpu."""
import fcntl
import os
from pathlib import Path

NS_GET_PARENT = 0xB702
COMPUTE, MPS, GRAPHICS, SUBDEVICE = 0xc5c0, 0x900e, 0xc597, 0x2080
NVENC_SW_SESSION, NVFBC_SW_SESSION = 0xA0BC, 0xA0BD


def namespace_of(pid):
    """The inode number of a process's PID namespace."""
    return os.stat(f"/proc/{pid}/ns/pid").st_ino


def numbers_of(pid):
    """A process's number in each PID namespace that it lives in: namespace -> number."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    nspid = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    numbers = {}
    fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    try:
        for number in reversed(nspid):
            numbers[os.fstat(fd).st_ino] = int(number)
            if len(numbers) < len(nspid):
                parent = fcntl.ioctl(fd, NS_GET_PARENT)
                os.close(fd)
                fd = parent
    finally:
        os.close(fd)
    return numbers


class Book:
    """Remembers the numbers of processes, so that those that have ended are known too."""

    def __init__(self):
        self.numbers = {}

    def note(self, state):
        for client in state["clients"]:
            try:
                self.numbers[client["tgid"]] = numbers_of(client["tgid"])
            except FileNotFoundError:
                pass

    def number(self, pid, namespace):
        """The number there of the host's process PID, or None where it cannot be seen."""
        return self.numbers.get(pid, {}).get(namespace)


class Truth:
    """What NAMESPACE should be told of GPU 0."""

    def __init__(self, state, book, namespace):
        self.lists = {COMPUTE: set(), MPS: set(), GRAPHICS: set(), SUBDEVICE: set()}
        self.memory = {}
        self.util = {}
        self.nvenc, self.nvfbc = [], []
        for client in state["clients"]:
            pid = book.number(client["tgid"], namespace)
            if pid is None:
                continue
            self.add_client(pid, client)
        self.accounts = {}
        self.add_accounts(state, book, namespace)

    def add_accounts(self, state, book, namespace):
        """Also called with the state after the question: the driver brings records up to date when
        it is asked."""
        gpu = state["gpus"][0]
        # A process that has ended and one that lives never have the same number here.
        for entry in gpu["dead"] + gpu["live"]:
            pid = book.number(entry["tgid"], namespace)
            if pid is not None and entry["on_gpu"]:
                self.accounts[pid] = {key: entry[key] for key in
                                      ("gpu_util", "fb_util", "max_memory", "start", "end")}

    def add_client(self, pid, client):
        self.memory[pid] = self.memory.get(pid, 0) + client["memory"]
        for engine, util in client["util"].items():
            if util:
                self.util.setdefault(pid, {})[engine] = util
        for item in client["objects"]:
            if item["class"] in self.lists:
                self.lists[item["class"]].add(pid)
            elif item["class"] == NVENC_SW_SESSION:
                self.nvenc.append(pid)
            elif item["class"] == NVFBC_SW_SESSION:
                self.nvfbc.append(pid)
