#!/usr/bin/env python3
"""What processes in a PID namespace see of the GPU natively, without mpu, for a release of each
family: simrm must give the wrong answers that the real driver gives."""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

# release: (numbers of GET_PIDS, what a translated number names, numbers of GET_PID_INFO, of the
# utilisation samples, of accounting), as the driver's source has them.
FAMILIES = {
    "440.100": ("host", "process", "host", "host", "host"),
    "460.32.03": ("host", "process", "host", "host", "host"),
    "515.65.01": ("host", "process", "host", "host", "host"),
    "535.104.05": ("host", "process", "host", "host", "host"),
    "535.113.01": ("own", "thread", "host", "host", "host"),
    "535.183.06": ("own", "thread", "host", "host", "host"),
    "550.100": ("own", "thread", "host", "host", "host"),
    "560.35.03": ("own", "thread", "host", "host", "host"),
    "565.77": ("own", "thread", "own", "host", "host"),
    "570.86.15": ("own", "thread", "own", "visible", "own"),
    "570.133.20": ("own", "thread", "own", "visible", "mixed"),
    "570.148.08": ("own", "process", "own", "visible", "mixed"),
    "575.51.03": ("own", "thread", "own", "visible", "mixed"),
    "580.142": ("own", "process", "own", "visible", "mixed"),
    "595.45.04": ("own", "process", "own", "visible", "mixed"),
}
MIB = 1 << 20


class World:
    """simrm with a process outside, three in a PID namespace, one in a namespace below that, and
    one that has ended."""

    def __init__(self, programs, version):
        self.programs, self.version = programs, version
        self.folder = tempfile.TemporaryDirectory(prefix="simrm-native-")
        self.devices = self.path("dev")
        os.mkdir(self.devices)
        self.children = []
        self.simrm = self.spawn([programs.simrm, f"--driver-version={version}", "--foreground",
                                 "--accounting", self.devices], "ready")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def spawn(self, command, until):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        line = child.stdout.readline()
        if not line.startswith(until):
            raise AssertionError(f"{command[0]} said {line!r}")
        self.children.append(child)
        return child

    def hold(self, name, *options):
        return self.spawn(self.hold_command(name, *options), "ready")

    def hold_command(self, name, *options):
        return [self.programs.hold, f"--dev-root={self.devices}", f"--name={name}", *options]

    def container(self):
        """A shell as PID 1 of a new namespace, which runs what it is given and says "done"."""
        return self.spawn(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c",
                           "echo ready; while read -r line; do eval \"$line\"; echo done; done"],
                          "ready")

    def run_in(self, container, line):
        container.stdin.write(line + "\n")
        container.stdin.flush()
        answer = container.stdout.readline()
        if answer != "done\n":
            raise AssertionError(f"{line}: {answer!r}")

    def hold_in(self, container, name, *options, prefix=""):
        out = self.path(f"{name}.out")
        command = " ".join(self.hold_command(name, *options))
        self.run_in(container, f"{prefix}{command} > {out} & "
                               f"until grep -qs ready {out}; do sleep 0.02; done")

    def state(self):
        with open(f"{self.devices}/simrm-state", encoding="utf-8") as file:
            return json.load(file)

    def command(self, line):
        with open(f"{self.devices}/simrm-control", "w", encoding="utf-8") as file:
            file.write(line)

    def ask(self, container=None, *options):
        out = self.path("answer")
        command = [self.programs.ps, f"--dev-root={self.devices}", "--json", *options]
        if container:
            self.run_in(container, " ".join(command) + f" > {out}")
            with open(out, encoding="utf-8") as file:
                return json.load(file)["gpus"][0]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["gpus"][0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.send_signal(signal.SIGKILL if child is not self.simrm else signal.SIGTERM)
            child.wait(20)
            child.stdin.close()
            child.stdout.close()
        self.folder.cleanup()
        if self.simrm.returncode:
            raise AssertionError(f"simrm {self.version} ended with {self.simrm.returncode}")


class Process:
    """What simrm truly knows of the clients of one name."""

    def __init__(self, state, name, kind):
        clients = [client for client in state["clients"] if client["name"] == name]
        if not clients:
            raise AssertionError(f"no client is named {name}")
        self.host = clients[0]["tgid"]
        self.clients = len(clients)
        self.memory = sum(client["memory"] for client in clients)
        self.numbers = clients[0]["ns_tid" if kind == "thread" else "ns_tgid"]
        self.thread = clients[0]["tid"] != clients[0]["tgid"]


class Checker:
    def __init__(self, version):
        self.version, self.failures = version, 0

    def equal(self, what, got, expected):
        if got != expected:
            print(f"{self.version}: {what}: {got}, must be {expected}")
            self.failures += 1


def listed(answer):
    return answer["get_pids"][0]["pids"]


def seen_by_engine(answer, engine):
    return {(sample[engine]["pid"], sample[engine]["os_pid_info"] != "0x0")
            for sample in answer["util"]["samples"] if sample[engine]["pid"] != 0xffffffff}


def check_lists(check, family, answer, outside, inside):
    pids, _, info, _, _ = family
    if pids == "host":
        expected = [process.host for process in [outside, *inside]]
    else:
        expected = [process.numbers[1] for process in inside for _ in range(process.clients)]
    check.equal("GET_PIDS inside", listed(answer), expected)
    memory = {entry["pid"]: entry["private"] for entry in answer["get_pid_info"]["entries"]}
    for process in inside:
        number = process.host if pids == "host" else process.numbers[1]
        right = info == pids
        check.equal(f"memory of {number} inside", memory.get(number), process.memory if right else 0)


def check_util(check, family, answer, outside, inside):
    expected = {(outside.host, family[3] == "visible")}
    for process in inside:
        expected.add((process.numbers[1] if family[3] == "visible" else process.host, False))
    check.equal("processes on gr inside", seen_by_engine(answer, "gr"), expected)


def check_accounting(check, family, answer, outside, inside, dead):
    spoken = family[4]
    live = [process.host for process in [outside, *inside]]
    expected = {"host": [dead, *live], "mixed": live,
                "own": [process.numbers[1] for process in inside]}[spoken]
    check.equal("GET_ACCOUNTING_PIDS inside", answer["accounting"]["pids"]["pids"], expected)
    asked = {entry["asked"]: entry for entry in answer["accounting"]["processes"]}
    first = inside[0].numbers[1]
    if spoken == "host":
        check.equal(f"status of {first}, a number of the namespace", asked[first]["status"], 0x57)
    else:
        check.equal(f"pid written back for {first}", asked[first]["pid"], inside[0].host)
    check.equal("status of a dead process by its host number", asked[dead]["status"], 0)
    measured = inside[0].memory if family[2] == "host" else 0
    number = inside[0].host if spoken != "own" else first
    check.equal("peak memory of an inside process", asked[number]["max_memory"], measured)


def check_sessions(check, answer, inside):
    for call in "nvenc", "nvenc_v2":
        if not answer[call]["status"]:
            check.equal(f"{call} inside", [entry["pid"] for entry in answer[call]["sessions"]],
                        [inside[0].host])


def check_host(check, family, answer, outside, inside, dead):
    """A caller in the initial namespace: numbers of threads where the release records those."""
    number = (lambda process: process.host) if family[0] == "host" else \
        (lambda process: process.numbers[0])
    expected = []
    for process in [outside, *inside]:
        # The list is searched for the process id: a thread's number is not found again.
        repeats = process.clients if number(process) != process.host else 1
        expected += [number(process)] * repeats
    check.equal("GET_PIDS outside", listed(answer), expected)
    raw = family[3] == "host" or check.version not in ("570.86.15", "570.133.20", "575.51.03")
    pointers = raw and family[3] == "visible"
    check.equal("processes on gr outside", seen_by_engine(answer, "gr"),
                {(process.host if raw else process.numbers[0], pointers)
                 for process in [outside, *inside]})
    check.equal("dead process outside", dead in answer["accounting"]["pids"]["pids"], True)


def check_family(world, check, family):
    ended = world.hold("ended", "--memory=10")
    dead = world.state()["clients"][0]["tgid"]
    ended.terminate()
    ended.wait(20)
    while not world.state()["gpus"][0]["dead"]:
        time.sleep(0.01)
    world.hold("outside", "--memory=100", "--util=gr:10")
    container = world.container()
    world.hold_in(container, "two-clients", "--memory=200", "--clients=2", "--util=gr:20", "--nvenc")
    world.hold_in(container, "threaded", "--memory=50", "--allocate-in-thread", "--threads=3",
                  "--util=gr:30")
    world.hold_in(container, "nested", "--memory=30", "--util=gr:40",
                  prefix="unshare --pid --fork --kill-child ")
    state = world.state()
    outside, *inside = [Process(state, name, family[1])
                        for name in ("outside", "two-clients", "threaded", "nested")]
    check.equal("a thread allocates", inside[1].thread, True)
    check.equal("levels of the nested process", len(inside[2].numbers), 3)
    answer = world.ask(container, f"--account={inside[0].numbers[1]}", f"--account={dead}")
    check_lists(check, family, answer, outside, inside)
    check_util(check, family, answer, outside, inside)
    check_accounting(check, family, answer, outside, inside, dead)
    check_sessions(check, answer, inside)
    check_host(check, family, world.ask(), outside, inside, dead)


def host_pid_of(marker):
    """The process whose command line names MARKER and that has no child."""
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
        except (NotADirectoryError, FileNotFoundError, ProcessLookupError):
            continue
        if entry.isdigit() and marker.encode() in arguments:
            return int(entry)
    return 0


def check_dropped(world, check, drops):
    """A process whose global number stands in the list as another's own number is left out."""
    container = world.container()
    marker, go = f"late-process-of-{os.getpid()}", world.path("go")
    os.mkfifo(go)
    late = " ".join(world.hold_command("late", "--memory=1"))
    world.run_in(container, f"sh -c 'read -r line < {go}; "
                            f"exec {late} > {world.path('late.out')}' {marker} &")
    number = 0
    while not number:
        number = host_pid_of(marker)
    world.run_in(container, f"echo {number - 1} > /proc/sys/kernel/ns_last_pid")
    world.hold_in(container, "early", "--memory=1")
    early = Process(world.state(), "early", "process")
    if early.numbers[1] != number:
        raise AssertionError(f"ns_last_pid gave {early.numbers[1]}, not {number}")
    with open(go, "w", encoding="utf-8") as file:
        file.write("go\n")
    while len(world.state()["clients"]) < 2:
        time.sleep(0.02)
    check.equal("the late process's global number", Process(world.state(), "late", "process").host,
                number)
    check.equal("GET_PIDS, where one drops the other", len(listed(world.ask(container))),
                1 if drops else 2)


def main():
    parser = argparse.ArgumentParser()
    for program in "simrm", "hold", "ps":
        parser.add_argument(f"--{program}", required=True)
    programs = parser.parse_args()
    failures = 0
    cases = [(version, check_family, family) for version, family in FAMILIES.items()]
    cases += [("535.104.05", check_dropped, False), ("550.100", check_dropped, True),
              ("580.142", check_dropped, True)]
    for version, case, expected in cases:
        check = Checker(version)
        with World(programs, version) as world:
            case(world, check, expected)
        print(f"{version}: {case.__name__}: {'wrong' if check.failures else 'as the driver'}")
        failures += check.failures
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
