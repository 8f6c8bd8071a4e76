"""What mpud calls, and how it starts when a call fails."""
import random
import subprocess
import time

from control import Control
from house import PATIENCE, Hangs, House
from results import report


def count_calls(programs, gpu):
    """{call: (by the keeper, by the worker)}, of a short life."""
    house = House(programs, gpu, "all")
    try:
        house.start()
        time.sleep(0.5)
        house.new_worker()
        house.intake()
        time.sleep(0.2)
        house.end_loads()
    finally:
        house.stop()
    return house.control.counts()


def check_table(table, made, who):
    unknown = sorted(set(made) - set(table))
    report("failed" if unknown else "passed", f"every system call of {who} is in calls.txt",
           " ".join(unknown))


def start_once(programs, gpu, fault, skip, every):
    """mpud starts, or says why it does not."""
    house = House(programs, gpu, fault.call)
    house.control.arm(fault.error, skip=skip, every=every)
    try:
        try:
            house.manager.start(timeout=PATIENCE)
        except AssertionError:
            check_refusal(house, fault)
            return
        if house.control.disarm():
            fault.seen.add("reached")
        house.check_keeper()
        if not house.intake() and not house.intake():
            raise AssertionError("a container is refused after a start")
        if house.stop() != 0:
            raise AssertionError("does not end cleanly")
    except AssertionError as found:
        raise AssertionError(f"skip {skip}, every {every}: {found}; {house.manager.tail(3)}") from None
    finally:
        house.stop()


def check_refusal(house, fault):
    process, text = house.manager.process, house.manager.tail(5)
    if house.control.memory.crashed:
        raise AssertionError("a crash")
    if process.poll() is None and "systemd does not hear" in text:
        fault.seen |= {"reached", "systemd is not told"}
        return
    if process.poll() is None:
        raise Hangs("neither ready nor ended")
    if process.returncode < 0 or fault.call != "write" and not ("level=error" in text or "shared librar" in text or
                                      "inject: " in text):
        raise AssertionError(f"ends with {process.returncode} without a word")
    fault.seen |= {"reached", "mpud says why it does not start"}


def inject(programs, gpu, fault, calls_made, loader):
    """Behind what the dynamic linker calls, which is none of ours."""
    for skip in (0, 1, 2, random.randrange(3, max(4, calls_made))):
        if loader + skip < calls_made or skip == 0:
            start_once(programs, gpu, fault, loader + skip, 0)
    if fault.error != "EINTR":  # where each call is interrupted nobody gets on
        start_once(programs, gpu, fault, loader + random.randrange(max(1, min(calls_made, 20))), 1)


def count_loader(programs, program):
    """{call: how often the dynamic linker makes it}, and a little more."""
    control = Control(programs.directory / "loader")
    subprocess.run([programs.inject, f"--control={control.path}", "all", "--", program,
                    "--version"], stdout=subprocess.DEVNULL, check=True)
    time.sleep(0.05)
    return {call: sum(counts) for call, counts in control.counts().items()}
