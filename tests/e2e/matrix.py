"""The processes of a container, seen natively and under mpu-run, on simulated releases.

  matrix.py BUILD-DIRECTORY quick|full|RELEASE... [--table=FILE]

For each release a simulated driver runs with processes of every kind on the host, in a PID
namespace without mpu, and under mpu-run in several ways; each asks for everything, and each answer
is compared with the truth. quick takes one release of each family of tests/data/pid-semantics.csv,
R440 and R460; full takes them all.
"""
import csv
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import results
from confined import Unmasking
from judge import CALLS, judge
from truth import Book, Truth, namespace_of
from world import ROOT, Agent, Programs

CLOSED = ["440.118.02", "460.106.00"]
NATIVELY = ["unshare", "--pid", "--fork", "--mount-proc"]
UNPRIVILEGED = 1000
# How the container runs: options of mpu-run, and who runs it.
WAYS = {
    "mpu-run": ([], None),
    "always": (["--policy=always"], None),
    "always, NSpid": (["--policy=always", "--pid-lookup=nspid"], None),
    "ordinary user": ([], UNPRIVILEGED),
    "confined": (["--confine=compute,utility,graphics,video"], None),
}
# What gpu-hold does: in each namespace, and again in a namespace within it.
HOLDS = [
    ["--name=single", "--memory=101", "--util=gr:10,fb:5"],
    ["--name=clients", "--memory=102", "--clients=3", "--util=gr:15"],
    ["--name=threads", "--memory=103", "--threads=4", "--util=nvdec:20"],
    ["--name=thread-ended", "--memory=104", "--allocate-in-thread"],
    ["--name=all-of-it", "--memory=105", "--allocate-in-thread", "--clients=2", "--threads=2"],
    ["--name=sessions", "--memory=106", "--class=graphics", "--nvenc=2", "--nvfbc"],
    ["--name=both", "--memory=107", "--class=compute", "--class=graphics", "--util=nvenc:30"],
    ["--name=mps", "--memory=108", "--class=mps"],
]
NESTED = [
    ["--name=nested", "--memory=109", "--nvenc", "--util=gr:25"],
    ["--name=nested-thread", "--memory=110", "--allocate-in-thread"],
]


def families():
    """One release, the last listed, of each combination of semantics."""
    with open(ROOT / "tests/data/pid-semantics.csv", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return list({tuple(row[1:]): row[0] for row in rows}.values())


def all_releases():
    with open(ROOT / "tests/data/pid-semantics.csv", encoding="utf-8") as file:
        return [row[0] for row in csv.reader(file)][1:]


def ways_of(release):
    """No calls of closed releases are known: nothing could be confined to some."""
    return {way: how for way, how in WAYS.items() if way != "confined" or release not in CLOSED}


class Container:
    """Programs in one PID namespace, and what they ask."""

    def __init__(self, programs, simrm, prefix, user=None):
        self.programs, self.simrm = programs, simrm
        # What no capability has: capturing the screen, and encoder sessions of old releases.
        self.never = self.refused(simrm) if "--confine" in " ".join(prefix) else set()
        # Without privilege it takes a user namespace to make another one.
        self.deeper = [*NATIVELY, "--kill-child", *(["--map-root-user"] if user else [])]
        self.agent = Agent(programs, prefix, user)

    @staticmethod
    def refused(simrm):
        old = int(simrm.state()["version"].split(".")[0]) < 550
        return {"--nvfbc", "--nvenc", "--nvenc=2"} if old else {"--nvfbc"}

    def hold(self, arguments, *nesting):
        answer = self.agent.spawn(*nesting, self.programs.gpu_hold,
                                  f"--dev-root={self.simrm.directory}",
                                  *(word for word in arguments if word not in self.never))
        results.expect(answer["line"].startswith("ready"),
                       f"gpu-hold {arguments} under {self.agent.prefix[:1]}: {answer}, "
                       f"{self.agent.error_output()}")
        return answer["pid"]

    def populate(self, book):
        """Starts all kinds of processes, two of which then end, one of them a nested one."""
        ending = [self.hold(["--name=ends", "--memory=99", "--util=gr:50"]),
                  self.hold(["--name=nested-ends", "--memory=98"], *self.deeper)]
        book.note(self.simrm.state())
        for pid in ending:
            self.agent.end(pid)
        for arguments in HOLDS:
            self.hold(arguments)
        for arguments in NESTED:
            self.hold(arguments, *self.deeper)
        self.hold(["--name=three-deep", "--memory=111"], *self.deeper, *self.deeper)

    def ask(self):
        done = self.agent.run(self.programs.gpu_ps, f"--dev-root={self.simrm.directory}", "--json",
                              "--class=0x2080")
        results.expect(done["status"] == 0, f"gpu-ps: {done}")
        return json.loads(done["out"])


def host_pid(agent):
    """The host's number of an agent: the Python process at the end of the line of its parents."""
    wanted = agent.ask(pid=True)["pid"]
    pending = [agent.process.pid]
    while pending:
        pid = pending.pop()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().split(b"\0")
        if command[0].endswith(b"python3") and command[1].endswith(b"agent.py"):
            return pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            pending += map(int, file.read().split())
    raise AssertionError(f"cannot find the agent {wanted} of {agent.prefix}")


def run_release(programs, release):
    """Returns way -> call -> complaints, where the way "natively" is without mpu."""
    verdicts = {}
    with Unmasking(programs, release, "--accounting") as simrm:
        book = Book()
        mpu = [programs.mpu_run, f"--dev-root={simrm.directory}", "--pid-ns"]
        containers = {"natively": Container(programs, simrm, NATIVELY)}
        for way, (options, user) in ways_of(release).items():
            containers[way] = Container(programs, simrm, [*mpu, *options, "--"], user)
        host = Container(programs, simrm, [])
        try:
            for container in (host, *containers.values()):
                container.populate(book)
            time.sleep(0.3)
            state = simrm.state()
            book.note(state)
            for way, container in containers.items():
                namespace = namespace_of(host_pid(container.agent))
                truth = Truth(state, book, namespace)
                answers = container.ask()
                truth.add_accounts(simrm.state(), book, namespace)
                results.expect((len(truth.memory), len(truth.accounts)) == (11, 13),
                               f"the truth of {way} has {len(truth.memory)} processes and "
                               f"{len(truth.accounts)} accounts, not 11 and 13")
                verdicts[way] = judge(answers, truth)
        finally:
            for container in (host, *containers.values()):
                try:
                    container.agent.close()
                except AssertionError as error:
                    verdicts.setdefault("end", {})["end"] = [str(error)]
    return verdicts


def report(release, verdicts):
    """Natively wrong answers are recorded; a wrong one under mpu-run fails."""
    for way, calls in verdicts.items():
        for call, complaints in calls.items():
            for complaint in complaints or []:
                print(f"  {release} {way}: {call}: {complaint}")
    for way in [*ways_of(release), "end"]:
        wrong = [call for call, complaints in verdicts.get(way, {}).items() if complaints]
        case = f"{release}, {way}: the container sees its own processes"
        if way == "end" and not wrong:
            continue
        if wrong:
            first = verdicts[way][wrong[0]][0]
            results.report("failed", case, f"{', '.join(wrong)}: {first}")
        else:
            results.report("passed", case)
    natively = [call for call, complaints in verdicts["natively"].items() if complaints]
    case = f"{release}: without mpu the release answers wrongly"
    results.report("passed" if natively else "failed", case,
                   "" if natively else "all is right, so that the test proves nothing")


def word(complaints):
    return "-" if complaints is None else "wrong" if complaints else "right"


def table(all_verdicts):
    """A Markdown table: for each release and call what it is natively and with mpu."""
    yield "| release | " + " | ".join(CALLS) + " |"
    yield "|---" * (len(CALLS) + 1) + "|"
    for release, verdicts in all_verdicts.items():
        cells = []
        for call in CALLS:
            before = word(verdicts["natively"][call])
            after = {word(verdicts[way][call]) for way in ways_of(release)}
            cells.append("-" if before == "-" else
                         f"{before} / {'wrong' if 'wrong' in after else after.pop()}")
        yield f"| {release} | " + " | ".join(cells) + " |"


def try_release(programs, release):
    try:
        return run_release(programs, release)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    build, *wanted = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    files = [argument.split("=", 1)[1] for argument in sys.argv if argument.startswith("--table=")]
    releases = {("quick",): CLOSED + families(), ("full",): CLOSED + all_releases()}.get(
        tuple(wanted), wanted)
    programs = Programs(build)
    all_verdicts = {}
    try:
        with ThreadPoolExecutor(2) as pool:
            for release, verdicts in zip(releases, pool.map(
                    lambda release: try_release(programs, release), releases)):
                if isinstance(verdicts, str):
                    results.report("failed", f"{release}: the matrix runs", verdicts)
                    continue
                report(release, verdicts)
                all_verdicts[release] = verdicts
    finally:
        programs.remove()
    lines = list(table(all_verdicts))
    print("\nWhat a container is told, natively / with mpu:\n")
    print("\n".join(lines), flush=True)
    for file in files:
        with open(file, "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
    return results.exit_status()


if __name__ == "__main__":
    sys.exit(main())
