"""A hostile container beside a good one: hostile.py BUILD [--rounds=N] [--seconds=S] [--summary=FILE]
[BEHAVIOUR...]

For each behaviour of attack.h a victim, which calls now and then and knows every right answer, is
watched quiet and beside the attack, in turns. With --rounds of 3 or more its median latencies are
held against each other too: a short run says nothing of them."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

from worlds import ALIVE_MS, VERSION, Container, find_programs, world  # noqa: I001
from mpud_state import State, wait_settled
from results import exit_status, report
from world import die_with_parent

MEMORY_KIB, MEMORY_KIB_SANITIZED = 32 << 10, 1 << 20
FACTOR = 2
# All that the attackers do themselves has the least share of the processors: what counts is what
# mpud and the driver do for them.
NICE = ["nice", "-n", "19"]
# Behaviours of which no call may ever come back, and one that is no container.
BLOCKED = ("uffd-", "fuse-")
PEER = "peer"
# Several containers at once, of one behaviour. Their processes use the GPU like any other, and each
# answer is longer by them, natively too: latencies are printed, but not held against each other.
CROWDS = {"uffd-crowd": ("uffd-params", 40), "flood-crowd": ("flood", 4)}


def start_newcomer(programs, gpu, socket):
    """A container that comes meanwhile, makes some calls and goes. Returns how long its longest call
    took, in milliseconds: its start depends on what else goes on on the machine."""
    done = subprocess.run(
        [programs.mpu_run, "--pid-ns", f"--socket={socket}", f"--dev-root={gpu}", "--",
         programs.load, "--calls=40", f"--dev-root={gpu}"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=12 * ALIVE_MS / 1000, preexec_fn=die_with_parent)
    counts = json.loads(done.stdout.splitlines()[-1]) if done.stdout else None
    if done.returncode or not counts or counts["wrong"]:
        raise AssertionError(f"a container that came meanwhile: {done.stdout} {done.stderr}")
    return counts["longest_ms"]


class Attack:
    """One behaviour, in as many containers as it takes."""

    def __init__(self, programs, gpu, manager, behaviour):
        behaviour, count = CROWDS.get(behaviour, (behaviour, 1))
        self.attackers = []
        try:
            for _ in range(count):
                self.attackers.append(Attacker(programs, gpu, manager, behaviour))
        except AssertionError:
            self.end()
            raise

    def end(self):
        """The sums of their counts, and what they said beside."""
        sums, said = {"calls": 0, "wrong": 0}, ""
        for one in self.attackers:
            counts, errors = one.end()
            said += errors
            for name in sums:
                sums[name] += counts.get(name, 1)
        return sums, said


class Attacker(Container):
    def __init__(self, programs, gpu, manager, behaviour):
        argv = [programs.attack, behaviour]
        if behaviour != PEER:
            super().__init__(programs, gpu, manager.path, "attacking", argv, NICE)
            return
        self.process = subprocess.Popen(
            [*NICE, *argv, f"--dev-root={gpu}", f"--socket={manager.path}"], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=die_with_parent)
        self.expect_line("attacking")


class Watcher:
    """The most that mpud takes while it is there."""

    def __init__(self, programs, manager):
        self.programs, self.manager = programs, manager
        self.most = {"pss_kib": 0, "slots": 0, "threads": 0}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self):
        while not self.ended.wait(0.2):
            try:
                state = State(self.programs, self.manager.process.pid)
            except (AssertionError, ValueError):
                continue
            for name, most in self.most.items():
                self.most[name] = max(most, getattr(state, name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


class Outcome:
    """What one behaviour did to the victim."""

    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.quiet, self.beside, self.newcomers_ms = [], [], []
        self.attack_calls = self.attack_wrong = 0
        self.left, self.most, self.errors = "", {}, ""

    def median(self, rounds):
        return statistics.median(one["median_us"] for one in rounds) if rounds else 0

    def factor(self):
        return self.median(self.beside) / max(self.median(self.quiet), 1)

    def calls(self):
        return sum(one["calls"] for one in self.beside)

    def wrong(self):
        return sum(one["wrong"] for one in self.quiet + self.beside)

    def longest_ms(self):
        return max((one["longest_ms"] for one in self.beside), default=0)

    def text(self):
        return (f"victim quiet {self.median(self.quiet):.0f} us, beside {self.median(self.beside):.0f}"
                f" us, factor {self.factor():.2f}, longest {self.longest_ms():.0f} ms, "
                f"{self.calls()} calls, {self.wrong()} wrong; newcomer "
                f"{max(self.newcomers_ms):.0f} ms; attack {self.attack_calls} calls; mpud "
                f"{self.most.get('pss_kib', 0) / 1024:.1f} MiB, {self.most.get('slots', 0)} slots, "
                f"{self.most.get('threads', 0)} threads")


def one_round(programs, gpu, manager, victim, outcome, seconds):
    outcome.quiet.append(victim.watch(seconds / 2))
    before = State(programs, manager.process.pid)
    attack = Attack(programs, gpu, manager, outcome.behaviour)
    try:
        with Watcher(programs, manager) as watcher:
            time.sleep(0.2)
            outcome.beside.append(victim.watch(seconds))
            outcome.newcomers_ms.append(start_newcomer(programs, gpu, manager.path))
    finally:
        counts, errors = attack.end()
    for name, most in watcher.most.items():
        outcome.most[name] = max(outcome.most.get(name, 0), most)
    outcome.attack_calls += counts["calls"]
    outcome.attack_wrong += counts["wrong"]
    outcome.errors += errors
    after, left = wait_settled(programs, manager.process.pid, before)
    outcome.left += left
    if after.workers != before.workers:
        outcome.left += f" {after.workers - before.workers} workers died"


def judge(outcome, rounds, memory_kib):
    behaviour = outcome.behaviour
    why = []
    if outcome.wrong():
        why.append(f"{outcome.wrong()} wrong answers")
    if outcome.calls() < 20:
        why.append(f"the victim made {outcome.calls()} calls only")
    if outcome.longest_ms() > ALIVE_MS:
        why.append(f"a call took {outcome.longest_ms():.0f} ms")
    if max(outcome.newcomers_ms) > ALIVE_MS:
        why.append(f"a newcomer's call took {max(outcome.newcomers_ms):.0f} ms")
    if outcome.attack_wrong:
        why.append(f"the attack counts {outcome.attack_wrong} wrong: {outcome.errors[:300]}")
    if behaviour.startswith(BLOCKED) == bool(outcome.attack_calls) and behaviour != PEER:
        why.append(f"the attack does not what it says: {outcome.attack_calls} calls came back")
    if outcome.left:
        why.append(f"left behind: {outcome.left}")
    if outcome.most["pss_kib"] > memory_kib:
        why.append(f"mpud takes {outcome.most['pss_kib']} KiB")
    if rounds >= 3 and behaviour not in CROWDS and outcome.factor() > FACTOR:
        why.append(f"the victim's median is {outcome.factor():.2f} times its quiet value")
    print(f"{behaviour}: {outcome.text()}")
    case = f"hostile: {behaviour} leaves the container beside it alone"
    report("failed" if why else "passed", case, "; ".join(why))


def run(made, behaviours, arguments):
    programs, gpu, manager = made.programs, made.gpu, made.manager
    outcomes = []
    sanitized = b"__asan_init" in Path(programs.mpud).read_bytes()
    memory_kib = MEMORY_KIB_SANITIZED if sanitized else MEMORY_KIB
    victim = made.victim()
    victim.watch(1)
    for behaviour in behaviours:
        outcome = Outcome(behaviour)
        outcomes.append(outcome)
        try:
            for _ in range(arguments.rounds):
                one_round(programs, gpu, manager, victim, outcome, arguments.seconds)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            report("failed", f"hostile: {behaviour} leaves the container beside it alone",
                   f"{error}; {manager.tail(3)}")
            victim.kill()
            victim = made.victim()
        else:
            judge(outcome, arguments.rounds, memory_kib)
    victim.end()
    return outcomes


SUMMARY = """# A hostile container beside a good one

`tests/survival/run.sh BUILD --long` writes this table; the short form of the same runs in continuous
integration and looks at the answers alone, at hanging calls and at what is left behind.

A victim makes four calls every millisecond and knows every right answer. It is watched quiet and beside
the attack, in turns; the figures are medians over the rounds of each round's median, of handled calls.
A newcomer is a container that starts meanwhile, makes 40 calls and ends: its longest call. What mpud takes (proportional
set size of keeper and worker, records in the journal, the worker's threads) is the most that was seen.
After each attack mpud has no descriptor, record, listener or thread more than before it, no worker has
died, and no answer was wrong, neither the victim's nor, where it can be told, the attacker's. `uffd` is
memory whose reading, or `-write` writing, never ends, by userfaultfd behind the envelope of a wrapped
call, NVOS54, the params, or a list behind these; `fuse` the same by a mapped file; `crowd` several
containers at once. [tests/survival/attack.h](../tests/survival/attack.h) lists the behaviours.

The attackers run at nice 19: not what they do themselves is measured, but what mpud and the driver do
for them, at their usual priority. The two factors of a crowd are higher because each of its containers
is a GPU process, which every answer of the driver lists and mpud looks up, hostile or not.

"""


def write_summary(path, outcomes, arguments):
    lines = [f"Of {date.today()}, {arguments.rounds} rounds of {arguments.seconds:g} s each, "
             f"{os.cpu_count()} processors, simulated driver {VERSION}.",
             "", "| behaviour | quiet, us | beside, us | factor | longest, ms | victim's calls | "
             "wrong | newcomer, ms | attacker's calls | mpud, MiB | records | threads |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for one in outcomes:
        lines.append(
            f"| {one.behaviour} | {one.median(one.quiet):.0f} | {one.median(one.beside):.0f} | "
            f"{one.factor():.2f} | {one.longest_ms():.0f} | {one.calls()} | {one.wrong()} | "
            f"{max(one.newcomers_ms, default=0):.0f} | {one.attack_calls} | "
            f"{one.most.get('pss_kib', 0) / 1024:.1f} | "
            f"{one.most.get('slots', 0)} | {one.most.get('threads', 0)} |")
    Path(path).write_text(SUMMARY + "\n".join(lines) + "\n", encoding="utf-8")


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("behaviours", nargs="*")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--summary")
    return parser.parse_args()


def main():
    arguments = parse()
    programs = find_programs(arguments.build)
    known = subprocess.run([programs.attack, "--list"], capture_output=True, text=True,
                           check=True).stdout.split() + list(CROWDS)
    with world(programs) as made:
        outcomes = run(made, arguments.behaviours or known, arguments)
        status = made.manager.stop()
        report("passed" if status == 0 else "failed", "mpud ends cleanly after all attacks",
               f"status {status}")
        print(made.manager.tail(6))
    if arguments.summary:
        write_summary(arguments.summary, outcomes, arguments)
    programs.remove()
    return exit_status()


if __name__ == "__main__":
    sys.exit(main())
