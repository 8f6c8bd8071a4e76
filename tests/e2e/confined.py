"""What a confined container may have made of its calls, and who makes them: for the suites that run
programs under --confine."""
import csv
import json
import os
import re
from pathlib import Path

from results import expect
from world import ROOT, Simrm

PROXY = "mpu-proxy"
# Made by mpu itself, whose own view of the processes they need, for a target that asks for them.
PIDS = {0xb03, 0xb04, 0x2080018d, 0x2080018e, 0x20802096, 0x2080a083, 0x2080016e, 0x2080017c,
        0x208001af, 0x607}


# Of nvidia-uvm the calls that name objects of RM: the driver duplicates those only for the process
# that RM knows as their owner, which is the proxy.
UVM_OBJECTS = {0x19, 0x1b, 0x21, 0x25}


def rows(name):
    with open(ROOT / "tests/data" / name, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def version(text):
    return tuple(map(int, text.split(".")))


def known_calls(release):
    """(kind, number, mask, from) of what gVisor's nvproxy lets pass in RELEASE, of what programs on
    a GPU were seen to need, and of what we allow beside those, each with its reason. Nothing here
    comes from nvabi."""
    wanted = version(release)
    for row in rows("nvproxy.csv"):
        if version(row["first"]) <= wanted <= version(row["last"]):
            yield row["kind"], int(row["number"], 16), 0xffffffff, "proxy"
    for row in rows("gpu-calls.csv"):
        yield row["kind"], int(row["number"], 16), 0xffffffff, "proxy"
    for row in rows("confine-more.csv"):
        yield (row["kind"], int(row["number"], 16), int(row["mask"] or "0xffffffff", 16),
               row["from"])


def allowances(release):
    """Lines for simrm: what may arrive, and from whom. Targets themselves call nvidia-uvm but for
    objects of RM, and have their pages pinned; calls that carry PIDs come from mpu itself."""
    for kind, number, mask, sender in known_calls(release):
        if kind == "uvm":
            sender = "proxy" if number in UVM_OBJECTS else "target"
        elif kind == "control" and number in PIDS:
            sender = "host"
        elif kind == "memory" and number == 0x71:
            sender = "target"
        if kind == "escape" and number in (0x2a, 0x2b, 0x27, 0x4a):
            continue  # of these the control, the class and so on are told
        yield (f"allow from={sender} kind={kind} number={number:#x}"
               f"{'' if mask == 0xffffffff else f' mask={mask:#x}'}")


def write_numbers(path, release):
    """What a fuzzer should know of."""
    lines = {f"{kind} {number:#x}" for kind, number, _, _ in known_calls(release)}
    lines |= {f"control {number:#x}" for number in PIDS}
    path.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")


def set_alarm(simrm, release):
    # One write of at most a FUSE page takes whole lines.
    lines = list(allowances(release))
    for at in range(0, len(lines), 40):
        simrm.command("\n".join(lines[at:at + 40]))
    simrm.command("arrivals on=1\nalarm on=1 lanes=1")


def arrivals(simrm):
    return json.loads(Path(simrm.directory, "simrm-arrivals").read_text(encoding="utf-8"))


def expect_no_breach(simrm):
    """Returns what has arrived."""
    seen = arrivals(simrm)
    expect(not seen["breaches"], f"{seen['breaches']} breaches: {seen['breach'][:5]}")
    return seen


def count_of(seen, **wanted):
    """How many arrivals have these properties."""
    return sum(call["count"] for call in seen["calls"]
               if all(call[key] == value for key, value in wanted.items()))


# In the environment of all that the suite starts: other mpus run on the machine too.
MARK = f"MPU_TEST_WORLD={os.getpid()}"
os.environ.update([MARK.split("=")])


def ours(name):
    """Processes of that name which this suite has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text(encoding="utf-8").strip() == name and \
                    MARK in (folder / "environ").read_text(errors="replace").split("\0"):
                yield folder
        except OSError:
            pass


def nurseries():
    return [int(folder.name) for folder in ours("mpu-nursery")]


def proxies():
    """Living proxies: pid -> the pid of the process for which it stands."""
    found = {}
    for folder in ours(PROXY):
        try:
            title = (folder / "cmdline").read_text(encoding="utf-8").split("\0")[0]
        except OSError:
            continue
        match = re.fullmatch(r"mpu-proxy: .*\[(\d+)\] in .*", title)
        if match:
            found[int(folder.name)] = int(match.group(1))
    return found


def own(clients):
    """The proxies of CLIENTS (of simrm's state): other containers may run beside."""
    tgids = {client["tgid"] for client in clients}
    return {proxy: target for proxy, target in proxies().items() if proxy in tgids}


class Unmasking(Simrm):
    """A simulated driver whose state names the processes for which proxies stand."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.known = {}

    def state(self):
        state = super().state()
        self.known |= own(state["clients"])
        for gpu in state["gpus"]:
            for entry in gpu["live"] + gpu["dead"]:
                entry["tgid"] = self.known.get(entry["tgid"], entry["tgid"])
        for client in state["clients"]:
            client["tgid"] = self.known.get(client["tgid"], client["tgid"])
        return state
