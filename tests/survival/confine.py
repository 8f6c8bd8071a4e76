"""Deaths while a confined container calls: confine.py BUILD [NAME]

Each call of the program is counted by the simulated driver: what is done twice or never shows.
"""
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from worlds import find_programs, world  # noqa: I001
from mpud_state import EXECUTORS_KEPT, wait_settled
from confined import arrivals, count_of, nurseries, ours, proxies
from results import expect, expect_equal, run_cases
from world import Simrm, die_with_parent, wait_until

NAME_STRING = "0x20800110"

programs = None


class Tour:
    """tour.c in a confined container under mpud, which goes on when it is told."""

    def __init__(self, made, *parts, words="compute,utility"):
        self.process = subprocess.Popen(
            [programs.mpu_run, "--pid-ns", f"--socket={made.manager.path}",
             f"--dev-root={made.gpu}", f"--confine={words}", "--", programs.tour, made.gpu, "hold",
             *parts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, preexec_fn=die_with_parent)
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise AssertionError(f"{line!r} {self.process.communicate()[1][-400:]}")

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def is_running(self):
        return self.process.poll() is None

    def end(self, seconds=120):
        try:
            return self.process.communicate("", timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("tour does not end") from None


@contextmanager
def counted(*options):
    with world(programs, *options) as made:
        made.simrm.command("arrivals on=1")
        yield made
        wait_until(lambda: not made.simrm.state()["clients"], "the end of all clients")
        wait_until(lambda: not proxies(), "the end of all proxies")


def calls_of(made):
    """How often the program's call was made, and with what result."""
    seen = arrivals(made.simrm)
    return {call["result"]: count_of(seen, kind="control", number=NAME_STRING,
                                     result=call["result"])
            for call in seen["calls"] if call["number"] == NAME_STRING}


def test_workers_killed_at_random_cost_a_confined_container_nothing():
    calls, tours = 3000, 3
    with counted() as made:
        running = [Tour(made, f"spin={calls}") for _ in range(tours)]
        for tour in running:
            tour.go()
        kills = 0
        while any(tour.is_running() for tour in running) and kills < 60:
            if made.manager.kill_worker(random.choice([signal.SIGKILL, signal.SIGSEGV])):
                kills += 1
            time.sleep(random.uniform(0, 0.06))
        for tour in running:
            expect_equal(tour.end()[0], f"spin: 0 of {calls} failed\n", "calls")
        expect(kills >= 5, f"only {kills} kills")
        expect_equal(calls_of(made), {0: calls * tours}, "calls made by the driver, by status")


def test_workers_and_proxies_killed_at_random_cost_no_more_than_calls_under_way():
    calls = 3000
    with counted() as made:
        tour = Tour(made, f"spin={calls}")
        tour.go()
        kills, workers = 0, 0
        while tour.is_running() and kills < 40:
            for proxy in proxies():
                os.kill(proxy, signal.SIGKILL)
                kills += 1
            workers += bool(made.manager.kill_worker(signal.SIGKILL))
            time.sleep(random.uniform(0.02, 0.08))
        out, _ = tour.end()
        match = re.match(rf"spin: (\d+) of {calls} failed", out)
        expect(match and int(match.group(1)) <= kills, f"{out!r} with {kills} kills")
        expect("first failure" not in out or "errno 5 " in out, out)
        expect(kills >= 3 and workers >= 3, f"only {kills} proxies, {workers} workers killed")
        made_calls = sum(calls_of(made).values())
        expect(calls - kills <= made_calls <= calls, f"{made_calls} of {calls} calls were made")


def test_a_nursery_that_is_killed_is_started_again():
    with counted() as made:
        tour = Tour(made, "children=10")
        serving = wait_until(nurseries, "a nursery")[0]
        os.kill(serving, signal.SIGKILL)
        tour.go()
        expect_equal(tour.end()[0], "children: 10 of 10\n", "children")
        expect(nurseries() and serving not in nurseries(), "no new nursery")


def test_the_guard_of_a_nursery_that_is_killed_takes_nothing_with_it():
    with counted() as made:
        tour = Tour(made, "children=10")
        for guard in ours("mpu-guard"):
            os.kill(int(guard.name), signal.SIGKILL)
        wait_until(lambda: list(ours("mpu-guard")), "a new guard")
        tour.go()
        expect_equal(tour.end()[0], "children: 10 of 10\n", "children")


def test_short_lived_confined_processes_leave_nothing_in_mpud():
    with counted() as made:
        warm = Tour(made, "children=20")
        warm.go()
        warm.end()
        wait_until(lambda: not proxies(), "the end of all proxies")
        before = made.state()
        tour = Tour(made, "children=200")
        tour.go()
        expect_equal(tour.end()[0], "children: 200 of 200\n", "children")
        wait_until(lambda: not proxies(), "the end of all proxies")
        # Each executor remembers the last caller: its process and its status.
        before.worker_fds += 2 * EXECUTORS_KEPT
        _, left = wait_settled(programs, made.manager.process.pid, before)
        expect(not left, f"what is left: {left}")


def test_a_successor_goes_on_with_confined_containers():
    with counted() as made:
        tour = Tour(made, "spin=2000")
        tour.go()
        for _ in range(3):
            made.manager.replace()
        expect_equal(tour.end()[0], "spin: 0 of 2000 failed\n", "calls")
        expect_equal(calls_of(made), {0: 2000}, "calls made by the driver, by status")


NOT_KNOWN = "--driver-version=999.10.01"


def hand_over(made, *argv, words=None):
    """A command whose listener goes to mpud."""
    confine = [f"--confine={words}"] if words else []
    return subprocess.run(
        [programs.mpu_run, "--pid-ns", f"--socket={made.manager.path}", f"--dev-root={made.gpu}",
         *confine, "--", *argv], capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL)


@contextmanager
def hand_over_later(made):
    """A command whose listener is with mpud, and that begins when it gets a line."""
    box = subprocess.Popen(
        [programs.mpu_run, "--pid-ns", f"--socket={made.manager.path}", f"--dev-root={made.gpu}",
         "--", "sh", "-c", 'echo ready; read _; exec "$@"', "-", *gpu_ps(made)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=die_with_parent)
    expect_equal(box.stdout.readline(), "ready\n", "the first line")
    yield box
    box.wait(timeout=60)


def gpu_ps(made):
    return [programs.gpu_ps, f"--dev-root={made.gpu}"]


def test_on_a_branch_that_no_table_knows_mpud_takes_nobody_who_is_to_be_confined():
    with counted(NOT_KNOWN) as made:
        ran = made.gpu + ".ran"
        done = hand_over(made, "touch", ran, words="compute,utility")
        expect_equal(done.returncode, 125, f"exit status ({done.stderr})")
        for said in (done.stderr, made.manager.tail()):
            expect("cannot confine to compute,utility on driver 999.10.01" in said, said)
            expect("or do not confine)" in said, f"cut off: {said}")
        expect(not os.path.exists(ran), "the command ran")
        expect_equal(made.state().listeners, 0, "listeners that mpud has kept")
        for words in (None, "compute,utility,log"):
            done = hand_over(made, *gpu_ps(made), words=words)
            expect_equal((done.returncode, done.stderr), (0, ""), f"gpu-ps with {words}")
        status = subprocess.run([programs.mpuctl, "status", f"--socket={made.manager.path}"],
                                capture_output=True, text=True, timeout=20).stdout
        expect("NO CONTAINER CAN BE CONFINED" in status, status[:400])
        made.manager.replace("--driver-version=580.95.99")
        status = subprocess.run([programs.mpuctl, "status", f"--socket={made.manager.path}"],
                                capture_output=True, text=True, timeout=20).stdout
        expect("580.95.99" in status and "CONFINED" not in status, status[:400])
        done = hand_over(made, "touch", ran, words="compute,utility")
        expect(done.returncode == 0 and os.path.exists(ran), f"580.95.99: {done.stderr}")


def test_an_mpud_that_confines_all_takes_nobody_on_a_branch_that_no_table_knows():
    with counted(NOT_KNOWN, "--confine=compute,utility") as made:
        expect_equal(made.manager.count("no container is taken"), 1, "how often mpud says it")
        for words in ("compute", "compute,log"):
            done = hand_over(made, "true", words=words)
            expect_equal(done.returncode, 125, f"{words}: exit status ({done.stderr})")
            expect("cannot confine to compute on driver 999.10.01" in done.stderr, done.stderr)


def test_a_service_manager_s_mpud_goes_on_without_a_bad_file_of_rows():
    """It would be started anew a few times, and then all containers' calls would fail."""
    with world(programs) as made:
        rows = Path(made.gpu + ".allow")
        rows.write_text("control NV2080_CTRL_CMD_CE_GET_CAPS compute execute nothing said of its pointer\n")
        with hand_over_later(made) as box:
            made.manager.options.append(f"--allow={rows}")
            made.manager.restart()
            said = made.manager.tail()
            expect(f"{rows}:1: " in said and "mpud goes on" in said, said)
            expect_equal(made.state().listeners, 1, "listeners that mpud has kept")
            expect_equal(box.communicate("\n", timeout=60)[1], "", "what gpu-ps says of trouble")
            expect_equal(box.returncode, 0, "exit status of gpu-ps")
        rows.unlink()


def test_after_another_driver_was_loaded_mpud_takes_nobody_who_is_to_be_confined():
    with world(programs, by_link=True) as made:
        expect_equal(hand_over(made, "true", words="compute").returncode, 0, "before")
        with Simrm(programs, "580.95.05") as other:
            os.symlink(other.directory, made.link + ".new")
            os.replace(made.link + ".new", made.link)
            done = hand_over(made, "true", words="compute")
            expect_equal(done.returncode, 125, f"exit status ({done.stderr})")
            expect("driver 580.95.05 was loaded after mpud had begun with 550.54.14" in done.stderr,
                   done.stderr)
            expect_equal(hand_over(made, "true").returncode, 0, "who is not to be confined")
            made.manager.replace()
            expect_equal(hand_over(made, "true", words="compute").returncode, 0, "afterwards")


def test_who_was_confined_before_makes_no_calls_once_the_branch_is_not_known():
    """Another mpud, or another worker, that finds another driver there."""
    with counted() as made:
        script = 'echo ready; read _; for i in 1 2 3; do "$@"; done'
        box = subprocess.Popen(
            [programs.mpu_run, "--pid-ns", f"--socket={made.manager.path}",
             f"--dev-root={made.gpu}", "--confine=compute,utility", "--", "sh", "-c", script, "-",
             *gpu_ps(made)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, preexec_fn=die_with_parent)
        expect_equal(box.stdout.readline(), "ready\n", "the first line")
        made.manager.replace(NOT_KNOWN)
        arrived = arrivals(made.simrm)
        said = box.communicate("\n", timeout=60)[1]
        expect_equal(said.count("no client"), 3, f"how often gpu-ps was refused ({said})")
        expect_equal(arrivals(made.simrm), arrived, "what arrives at the driver")
        expect_equal(made.manager.count("none are known"), 1, "how often mpud says why")
        expect_equal(os.readlink(f"/proc/{made.manager.worker()}/fd/0"), "/dev/null",
                     "descriptor 0 of the worker")


def main():
    global programs
    programs = find_programs(sys.argv[1])
    try:
        return run_cases(sys.modules[__name__], *sys.argv[2:3])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
