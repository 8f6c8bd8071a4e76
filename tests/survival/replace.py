"""mpud --replace where things go wrong: replace.py BUILD [NAME]"""
import array
import os
import re
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from deaths import end_right, expect_right
from worlds import find_programs, world
from results import expect, expect_equal, run_cases
from world import ROOT, die_with_parent, wait_until

# supervisor/mpud/channel.h
READY, HELLO, REFUSED, HOUSE, LISTENERS, END = 1, 10, 11, 12, 13, 14
FORMAT_AT = 8  # struct journal_header: magic[8], format
FORMAT = int(re.search(r"JOURNAL_FORMAT = (\d+)",
                       (ROOT / "supervisor/journal.h").read_text()).group(1))

programs = None


class Successor:
    """Speaks as another mpud would that wants to take over."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(8)
        self.socket.connect(f"{path}.successor")

    def send(self, kind, index=0):
        self.socket.send(struct.pack("5I", kind, 0, index, 0, 0))

    def receive(self):
        """The kind of a message and its index; descriptors are closed."""
        data, ancillary, _, _ = self.socket.recvmsg(64, socket.CMSG_SPACE(253 * 4))
        for _, _, rights in ancillary:
            fds = array.array("i")
            fds.frombytes(rights)
            for fd in fds:
                os.close(fd)
        return struct.unpack("5I", data)[:3:2] if data else (None, None)

    def close(self):
        self.socket.close()


def start_mpud(made, path, log, *options):
    return subprocess.Popen(
        [programs.mpud, f"--dev-root={made.gpu}", f"--socket={path}", "--replace", *options],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)


def journal_of(pid):
    """The file in memory that is its journal."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(entry).startswith("/memfd:mpu-journal"):
            return entry
    raise AssertionError("mpud has no journal")


def format_of(pid):
    with open(journal_of(pid), "rb") as file:
        file.seek(FORMAT_AT)
        return struct.unpack("I", file.read(4))[0]


def set_format(pid, number):
    with open(journal_of(pid), "r+b") as file:
        file.seek(FORMAT_AT)
        file.write(struct.pack("I", number))


def test_replace_where_none_runs_starts_as_usual():
    with world(programs) as made:
        path, log = str(made.manager.folder / "own.sock"), made.manager.folder / "own.log"
        with open(log, "wb") as file:
            mpud = start_mpud(made, path, file)
        wait_until(lambda: b"ready" in log.read_bytes(), "mpud")
        mpud.terminate()
        expect_equal(mpud.wait(timeout=10), 0, "exit status")


def test_two_that_replace_at_once_leave_one_that_serves():
    with world(programs) as made:
        victim = made.victim()
        for _ in range(5):
            replace_twice(made, victim)
        end_right(victim)


def replace_twice(made, victim):
    before = made.manager.process
    both = [start_mpud(made, made.manager.path, made.manager.log) for _ in range(2)]
    expect_equal(before.wait(timeout=20), 0, "status of the mpud that was replaced")
    wait_until(lambda: sum(one.poll() is None for one in both) == 1, "one mpud that is left", 20)
    made.manager.process = next(one for one in both if one.poll() is None)
    expect_right(victim)


def test_an_mpud_of_another_format_is_refused_and_the_old_one_goes_on():
    with world(programs) as made:
        victim = made.victim()
        expect_equal(format_of(made.manager.process.pid), FORMAT, "the journal's format")
        other = Successor(made.manager.path)
        other.send(HELLO, FORMAT + 998)
        expect_equal(other.receive(), (REFUSED, FORMAT), "the answer")
        other.close()
        expect_right(victim)
        expect(made.manager.process.poll() is None, "the old one has ended")
        end_right(victim)


def test_a_journal_of_another_format_is_not_taken_over_and_the_old_one_goes_on():
    with world(programs) as made:
        victim, keeper = made.victim(), made.manager.process
        set_format(keeper.pid, FORMAT + 998)
        done = start_mpud(made, made.manager.path, subprocess.PIPE)
        said = done.communicate(timeout=20)[0].decode()
        expect(done.returncode == 1 and "journal of format" in said, f"{done.returncode}: {said}")
        expect(keeper.poll() is None, "the old one has ended")
        expect_right(victim)
        set_format(keeper.pid, FORMAT)
        made.manager.replace()
        expect_right(victim)
        end_right(victim)


def die_after(made, messages):
    other = Successor(made.manager.path)
    other.send(HELLO, FORMAT)
    kinds = [other.receive()[0] for _ in range(messages)]
    other.close()
    return kinds


def test_a_successor_that_dies_in_the_middle_changes_nothing():
    with world(programs) as made:
        victim = made.victim()
        expect_equal(die_after(made, 0), [], "messages")
        expect_right(victim)
        expect_equal(die_after(made, 1), [HOUSE], "messages")
        expect_right(victim)
        expect_equal(die_after(made, 2), [HOUSE, LISTENERS], "messages")
        expect_right(victim)
        expect_equal(die_after(made, 3), [HOUSE, LISTENERS, END], "messages")
        expect_right(victim)
        expect_equal(made.manager.count("did not: this one goes on"), 4, "lines in the log")
        made.manager.replace()
        expect_right(victim)
        end_right(victim)


def test_a_successor_that_is_killed_while_it_starts_changes_nothing():
    with world(programs) as made:
        victim = made.victim()
        for turn in range(12):
            other = start_mpud(made, made.manager.path, made.manager.log)
            time.sleep(0.0007 * turn)
            other.kill()
            other.wait()
            take_place_if_taken_over(made)
            expect_right(victim)
        end_right(victim)


def take_place_if_taken_over(made):
    """It may have come so far that the old one has ended: then the service manager starts a new one,
    which has nothing but what the manager keeps."""
    time.sleep(0.05)
    if made.manager.process.poll() is not None:
        made.manager.start()


def test_a_silent_successor_holds_calls_up_no_longer_than_its_patience():
    with world(programs) as made:
        victim = made.victim()
        other = Successor(made.manager.path)
        other.send(HELLO, FORMAT)
        wait_until(lambda: made.manager.count("this one goes on"), "the old one's patience", 9)
        other.close()
        counts, errors = victim.end()
        expect(not counts["wrong"] and counts["longest_ms"] < 8000, f"{counts} {errors}")


def main():
    global programs
    programs = find_programs(sys.argv[1])
    __import__("deaths").programs = programs
    try:
        return run_cases(sys.modules[__name__], *sys.argv[2:3])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
