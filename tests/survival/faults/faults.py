"""Each system call of mpud and mpu-run fails in each way that it can, one at a time, while programs
call the driver: faults.py BUILD [--short] [--summary=FILE] [CALL...]

What must hold: nothing crashes or hangs, no descriptor and no process is left, an answer is right or
(where the fault stays) the driver's own failure, and what somebody notices stands in the log."""
import os
import random
import sys
import time
import traceback
from pathlib import Path

from control import FIRST_PROCESS, OTHER_PROCESSES
from house import House, HERE, find_programs, reach
from summary import Summary
import alone
import starts

from results import exit_status, report  # noqa: E402
from world import Simrm  # noqa: E402

VERSION = "550.54.14"
# What a quick run looks at: calls that are made for each call, and for each worker.
SHORT = ("ioctl=0xc0182101", "ioctl=0x40082102", "process_vm_readv", "openat", "pidfd_open",
         "statx", "setresuid", "clone", "epoll_ctl=1", "recvmsg", "memfd_create")
ONCE, EVERY, STAYS_S = 3, 4, 0.1


def read_table():
    """{call: (errnos of ourselves, errnos that say something of the target)}"""
    table = {}
    for line in (HERE / "calls.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            call, own, said, _ = (part.strip() for part in line.split("|"))
            table[call] = (own.replace("-", "").split(), said.split())
    return table


class Fault:
    """WHERE: "worker", "keeper", "start" or "mpu-run". JUDGED: says nothing of the target."""

    def __init__(self, call, error, where, judged):
        self.call, self.error, self.where, self.judged = call, error, where, judged
        self.who = FIRST_PROCESS if where == "keeper" else OTHER_PROCESSES
        self.seen = set()

    def name(self):
        return f"{self.where}: {self.call} {self.error}"

    def notice(self, counts, taken=True):
        if counts["eintr"] + counts["eagain"]:
            self.seen.add("tried again")
        if counts["failed"]:
            self.seen.add("the call fails")
        if not taken:
            self.seen.add("a container is refused")


def judge(fault, counts, stays):
    """Of what the loads have seen."""
    lies = counts["wrong"] - counts["failed"]
    fault.notice(counts)
    if not fault.judged:
        return
    if lies:
        raise AssertionError(f"{lies} answers are wrong")
    if counts["failed"] and not stays:
        raise AssertionError(f"{counts['failed']} calls fail for good by one fault")


def once(house, fault):
    for _ in range(ONCE):
        house.control.arm_somewhere(fault.error, fault.who)
        reach(house, fault.who)
        if house.control.disarm():
            fault.seen.add("reached")
            judge(fault, house.ask(), stays=False)
        house.check_keeper()


def for_a_while(house, fault, every, kills):
    """One of EVERY calls fails, also while a container starts and, where it KILLS, a worker is
    replaced."""
    house.control.arm(fault.error, fault.who, every=every)
    time.sleep(STAYS_S)
    container = house.begin_intake()
    time.sleep(STAYS_S)
    if kills:
        house.manager.kill_worker()
        time.sleep(STAYS_S)
    if house.control.disarm():
        fault.seen.add("reached")
    taken = house.end_intake(container)
    counts = house.ask()
    fault.notice(counts, taken)
    judge(fault, counts, stays=True)
    house.recovers()


def inject(house, fault):
    since = house.log_size()
    house.ask()
    once(house, fault)
    for_a_while(house, fault, EVERY, kills=True)
    for_a_while(house, fault, 1, kills=False)
    for_a_while(house, fault, 1, kills=True)
    lines = house.log_lines(since)
    lines = [line for line in lines if 'reason="was killed"' not in line]
    if any("replaced" in line for line in lines):
        fault.seen.add("the worker is replaced")
    if fault.seen & {"the call fails", "a container is refused", "the worker is replaced"} and \
            fault.judged and not lines:
        raise AssertionError(f"{sorted(fault.seen)}, and no line in the log")


def outcome(fault):
    if "reached" not in fault.seen:
        return "not reached"
    return ", ".join(sorted(fault.seen - {"reached"})) or "nobody notices"


def run_call(programs, gpu, faults, summary):
    """All errnos of one call in one mpud; after something was found another one goes on."""
    house = None
    for fault in faults:
        try:
            if not house:
                house = House(programs, gpu, fault.call)
                house.start()
            inject(house, fault)
        except AssertionError as found:
            where = f" (in {house.control.memory.thread.decode()})"
            tell(summary, fault, found, f"{found}{where}; {house.manager.tail(3)}")
            house.stop()
            house = None
        else:
            tell(summary, fault)
    if house:
        finish(house, faults[0])


def tell(summary, fault, found=None, details=""):
    summary.add(fault.where, fault, f"**{found}**" if found else outcome(fault))
    report("failed" if found else "passed", fault.name(), details or outcome(fault))


def finish(house, fault):
    """A close that was not made leaves its descriptor."""
    name = f"{fault.where}: {fault.call}: nothing is left"
    try:
        house.end_loads()
        if fault.call != "close":
            house.check_leaks()
        status = house.stop()
        assert status == 0, f"mpud ends with {status}: {house.manager.tail(3)}"
    except AssertionError as found:
        report("failed", name, found)
        house.stop()
    else:
        report("passed", name)


def try_each(faults, summary, what):
    for fault in faults:
        try:
            what(fault)
        except AssertionError as found:
            tell(summary, fault, found, str(found))
        else:
            tell(summary, fault)


def faults_of(table, call, where, short):
    own, said = table[call]
    if short:
        return [Fault(call, error, where, True) for error in own[:1]]
    return [Fault(call, error, where, True) for error in own] + \
        [Fault(call, error, where, False) for error in said]


def run_all(programs, gpu, wanted, short, summary):
    table = read_table()
    made = starts.count_calls(programs, gpu)
    starts.check_table(table, made, "mpud")
    made_alone = alone.count_calls(programs, gpu)
    loader = [starts.count_loader(programs, program)
              for program in (programs.mpud, programs.mpu_run)]
    starts.check_table(table, made_alone, "mpu-run")
    for call in table:
        if wanted and call not in wanted:
            continue
        by_keeper, by_worker = made.get(call, (0, 0))
        if by_worker:
            run_call(programs, gpu, faults_of(table, call, "worker", short), summary)
        if by_keeper:
            run_call(programs, gpu, faults_of(table, call, "keeper", short), summary)
        if by_keeper + by_worker:
            try_each(faults_of(table, call, "start", short), summary, lambda fault: starts.inject(
                programs, gpu, fault, by_keeper + by_worker, loader[0].get(fault.call, 0)))
        if call in made_alone:
            house = alone.Alone(programs, gpu, call)
            try_each(faults_of(table, call, "mpu-run", short), summary,
                     lambda fault: alone.inject(house, fault, made_alone[fault.call],
                                                loader[1].get(fault.call, 0)))


def main():
    build, words = sys.argv[1], sys.argv[2:]
    short = "--short" in words
    path = next((word.split("=", 1)[1] for word in words if word.startswith("--summary=")), None)
    wanted = [word for word in words if not word.startswith("--")] or (SHORT if short else None)
    seed = int(os.environ.get("MPU_SEED", random.randrange(1 << 30)))
    random.seed(seed)
    print(f"MPU_SEED={seed}")
    summary, programs = Summary(), find_programs(build)
    try:
        with Simrm(programs, VERSION) as simrm:
            run_all(programs, simrm.directory, wanted, short, summary)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        report("failed", "the run itself", "see above")
    finally:
        programs.remove()
    if path:
        summary.write(path)
    return exit_status()


if __name__ == "__main__":
    sys.exit(main())
