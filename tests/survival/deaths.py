"""Deaths of every kind, of mpud's worker and of its keeper: deaths.py BUILD [NAME]"""
import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from worlds import Victim, find_programs, world  # noqa: I001
from results import expect, expect_equal, run_cases
from world import die_with_parent, wait_until

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
PASSED, GET_PIDS, SESSIONS = (0x201, 128), (0x2080018d, 3812), (0x2080016e, 16)
OPERATING_SYSTEM = 0x59  # NV_ERR_OPERATING_SYSTEM
EAGAIN = 11

programs = None


def expect_right(victim, calls=20):
    """The victim goes on, and none of its answers was wrong. Returns its counts."""
    counts = victim.watch(0.5)
    expect(counts["calls"] >= calls and not counts["wrong"], f"the victim's calls: {counts}")
    return counts


def end_right(victim):
    counts, errors = victim.end()
    expect(counts and not counts["wrong"], f"the victim's calls: {counts} {errors}")


def quarantine(number):
    with world(programs) as made:
        victim, asker = made.victim(), made.asker()
        expect_equal(asker.ask(*SESSIONS), (0, 0), "a call before all that")
        made.simrm.command(f"kill cmd={SESSIONS[0]:#x} signal={number}")
        expect_equal(asker.ask(*SESSIONS), (EAGAIN, 0), "the call that ends workers")
        state = wait_until(lambda: made.state() if made.state().worker else None, "a worker")
        expect_equal((state.crashes, state.quarantined), (2, 1), "crashes, quarantined listeners")
        expect(made.manager.count("has ended mpud's worker again and again") == 1, "no log line")
        answers = [asker.ask(*GET_PIDS) for _ in range(12)]
        expect_equal(answers[-1], (0, OPERATING_SYSTEM), "a handled call after some")
        expect(set(answers) <= {(EAGAIN, 0), (0, OPERATING_SYSTEM)}, f"handled calls: {answers}")
        expect_equal(asker.ask(*SESSIONS), (0, OPERATING_SYSTEM), "the same call again")
        expect_equal(asker.ask(*PASSED), (0, 0), "a call that passes")
        expect_equal(made.state().crashes, 2, "crashes")
        expect_right(victim)
        end_right(victim)


def test_a_call_that_crashes_every_worker_is_quarantined_and_hurts_nobody_else():
    quarantine(signal.SIGSEGV)


def test_a_call_that_aborts_every_worker_is_quarantined_and_hurts_nobody_else():
    quarantine(signal.SIGABRT)


def test_a_worker_that_stands_still_is_killed_and_replaced():
    with world(programs, "--watchdog=1") as made:
        victim = made.victim()
        for turn in range(1, 3):
            stopped = made.manager.kill_worker(signal.SIGSTOP)
            wait_until(lambda: made.manager.worker() not in (None, stopped), "a new worker", 6)
            expect_right(victim)
            expect_equal(made.state().hangs, turn, "workers that hung")
        expect_equal(made.state().quarantined, 0, "quarantined listeners")
        expect(made.manager.count("gives no sign of life") == 2, "no log line")
        end_right(victim)


def switches(made):
    """How often threads of mpud have been given up, or have given up, a processor."""
    count = 0
    for process in (made.manager.process.pid, made.manager.worker()):
        for status in Path(f"/proc/{process}/task").glob("*/status"):
            count += sum(int(line.split()[1]) for line in status.read_text().splitlines()
                         if "ctxt_switches" in line)
    return count


def await_rest(made):
    def is_quiet():
        before = switches(made)
        time.sleep(1.5)
        return switches(made) == before
    wait_until(is_quiet, "rest", 20)


def stop_first_thread(pid):
    """As if it hung: unlike by a signal, its parent is told nothing."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long] * 4
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        expect_equal(ptrace(request, pid, 0, 0), 0, f"ptrace: {ctypes.get_errno()}")
    os.waitpid(pid, 0)


def bury_traced(pid):
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, "the end of a worker that hung", 6)


def test_mpud_at_rest_is_not_woken_and_its_worker_is_found_when_it_hangs():
    with world(programs, "--watchdog=1") as made:
        asker = made.asker()
        expect_equal(asker.ask(*PASSED), (0, 0), "a call")
        await_rest(made)
        before = switches(made)
        time.sleep(10)
        expect_equal(switches(made) - before, 0, "wake-ups of an idle mpud in 10 s")
        stopped = made.manager.kill_worker(signal.SIGSTOP)
        wait_until(lambda: made.manager.worker() not in (None, stopped), "a new worker", 6)
        expect_equal(asker.ask(*PASSED), (0, 0), "a call of a new worker")
        await_rest(made)
        stuck = made.manager.worker()
        stop_first_thread(stuck)
        time.sleep(3)
        expect_equal(made.state().hangs, 1, "workers that hung, before there was anything to do")
        expect_equal(asker.ask(*PASSED), (0, 0), "a call that wakes a worker which hangs")
        bury_traced(stuck)
        wait_until(lambda: made.manager.worker() not in (None, stuck), "a new worker", 6)
        expect_equal(asker.ask(*SESSIONS), (0, 0), "a call of a new worker")
        expect_equal(made.state().hangs, 2, "workers that hung")


def test_aborts_and_faults_at_random_moments_cost_no_call():
    with world(programs) as made:
        victims = [made.victim(pause_us=200) for _ in range(3)]
        for _ in range(40):
            number = random.choice([signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGKILL])
            wait_until(lambda: made.manager.kill_worker(number), "a worker")
            time.sleep(random.uniform(0, 0.05))
        for victim in victims:
            expect_right(victim)
            end_right(victim)
        expect_equal(made.state().quarantined, 0, "quarantined listeners")


def test_a_worker_without_its_keeper_serves_the_containers_that_are_there():
    with world(programs) as made:
        path = str(made.manager.folder / "own.sock")
        with open(made.manager.folder / "own.log", "wb") as log:
            mpud = subprocess.Popen(
                [programs.mpud, f"--dev-root={made.gpu}", f"--socket={path}"], stderr=log,
                stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_until(lambda: b"ready" in (made.manager.folder / "own.log").read_bytes(), "mpud")
        children = open(f"/proc/{mpud.pid}/task/{mpud.pid}/children", encoding="ascii").read()
        worker = int(children)
        victim = Victim(programs, made.gpu, path)
        try:
            mpud.kill()
            mpud.wait()
            expect_right(victim)
            expect(os.path.exists(f"/proc/{worker}"), "the worker has ended")
            refuse_newcomer(made, path)
            start_beside(made, path)
            end_right(victim)
            wait_until(lambda: not os.path.exists(f"/proc/{worker}") or is_zombie(worker),
                       "the worker's end, after its last container's", 5)
        finally:
            victim.kill()
            if os.path.exists(f"/proc/{worker}"):
                os.kill(worker, signal.SIGKILL)


def is_zombie(pid):
    return open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2].split()[0] == "Z"


def refuse_newcomer(made, path):
    done = subprocess.run([programs.mpu_run, f"--socket={path}", f"--dev-root={made.gpu}", "--",
                           "/bin/true"], capture_output=True, text=True, timeout=10)
    expect(done.returncode == 125 and "mpud" in done.stderr,
           f"a container that comes then: {done.returncode} {done.stderr}")


def start_beside(made, path):
    """A new mpud takes the socket's place, and new containers."""
    with open(made.manager.folder / "next.log", "wb") as log:
        mpud = subprocess.Popen([programs.mpud, f"--dev-root={made.gpu}", f"--socket={path}"],
                                stdin=subprocess.DEVNULL, stderr=log, preexec_fn=die_with_parent)
    try:
        wait_until(lambda: b"ready" in (made.manager.folder / "next.log").read_bytes(), "mpud")
        victim = Victim(programs, made.gpu, path)
        expect_right(victim)
        end_right(victim)
    finally:
        mpud.terminate()
        mpud.wait(timeout=10)


def test_a_worker_that_cannot_start_is_tried_again_and_the_log_stays_short():
    with world(programs, by_link=True) as made:
        victim = made.victim()
        expect_right(victim)
        os.unlink(made.link)
        before = len(made.manager.tail(100000).splitlines())
        made.manager.kill_worker()
        time.sleep(6)
        lines = made.manager.tail(100000).splitlines()[before:]
        expect(3 <= len(lines) <= 40, f"{len(lines)} lines in 6 s: {lines[:6]}")
        os.symlink(made.gpu, made.link)
        wait_until(lambda: made.manager.count("a new worker goes on") > 0, "a worker", 10)
        expect_right(victim)
        end_right(victim)


def main():
    global programs
    seed = int(os.environ.get("MPU_SEED", random.randrange(1 << 30)))
    random.seed(seed)
    print(f"MPU_SEED={seed}")
    programs = find_programs(sys.argv[1])
    try:
        return run_cases(sys.modules[__name__], *sys.argv[2:3])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
