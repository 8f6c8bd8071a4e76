"""Nothing leaks: not a process, not a descriptor, not an open device, however often it runs.

  many_runs.py BUILD-DIRECTORY COUNT

Runs mpu-run COUNT times, then COUNT commands, in turn and side by side, within one mpu-run.
"""
import os
import subprocess
import sys
from pathlib import Path

import results
from results import expect, expect_equal
from world import Programs, Simrm, wait_until

RELEASE = "535.183.01"  # records thread ids: the supervisor remembers most there
programs = None
simrm = None
count = 0


def processes_of(mark):
    """PIDs of live processes that have MARK in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in directory.joinpath("environ").read_bytes():
                found.append(int(directory.name))
        except OSError:
            pass
    return found


def expect_idle():
    """Every open device was closed and every client freed."""
    def idle():
        state = simrm.state()
        return state["opens"] == state["releases"] and not state["clients"]
    wait_until(idle, "all devices to be closed")


def ask():
    return f"{programs.gpu_ps} --dev-root={simrm.directory} >/dev/null"


def test_mpu_run_again_and_again():
    mark = f"MPU_TEST_MARK=again-{os.getpid()}"
    environment = dict(os.environ, **dict([mark.split("=")]))
    command = [programs.mpu_run, f"--dev-root={simrm.directory}"]
    for index in range(count):
        options = ["--pid-ns"] if index % 2 else []
        done = subprocess.run([*command, *options, "--", "sh", "-c", ask()], env=environment,
                              capture_output=True, text=True, timeout=60)
        expect_equal((done.returncode, done.stderr), (0, ""), f"run {index + 1}")
    wait_until(lambda: not processes_of(mark), "the last processes")
    expect_idle()


class Watched:
    """A running mpu-run with a shell as its command, whose own processes are watched."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [programs.mpu_run, f"--dev-root={simrm.directory}", *options, "--", "sh"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.run(ask())
        executable = os.path.realpath(programs.mpu_run)
        self.own = [pid for pid in descendants(self.process.pid)
                    if os.path.realpath(f"/proc/{pid}/exe") == executable]

    def run(self, script):
        """Runs SCRIPT in the shell and waits for its end."""
        self.process.stdin.write(f"{script}\necho done\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        expect_equal(answer, "done\n", f"answer to {script}")

    def descriptors(self):
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in self.own]

    def kilobytes(self):
        """Resident memory of all own processes."""
        return sum(int(line.split()[1]) for pid in self.own
                   for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                   if line.startswith("VmRSS"))

    def sanitized(self):
        return any("libasan" in Path(f"/proc/{pid}/maps").read_text() for pid in self.own)

    def close(self):
        self.process.stdin.close()
        expect_equal(self.process.wait(timeout=20), 0, "exit status of the shell")
        self.process.stdout.close()


def descendants(pid):
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, task.joinpath("children").read_text().split())
    return found


def many_commands(*options):
    watched = Watched(*options)
    batch = max(count // 10, 20)
    loop = (f"i=0; while [ $i -lt {batch} ]; do {ask()}; i=$((i + 1)); done",
            f"i=0; while [ $i -lt {batch // 8} ]; do for j in 1 2 3 4 5 6 7 8; do {ask()} & done; "
            "wait; i=$((i + 1)); done")
    watched.run(loop[0])
    watched.run(loop[1])
    descriptors, kilobytes = watched.descriptors(), watched.kilobytes()
    for index in range(max(count // batch - 2, 2)):
        watched.run(loop[index % 2])
    wait_until(lambda: watched.descriptors() <= descriptors,
               f"descriptors {watched.descriptors()} to be {descriptors} again")
    grown = watched.kilobytes() - kilobytes
    if watched.sanitized():
        print(f"resident memory grew by {grown} KiB: freed memory is kept by AddressSanitizer")
    else:
        expect(grown < 4096, f"resident memory grew by {grown} KiB")
    watched.close()
    expect_idle()


def test_many_commands_in_one_mpu_run():
    many_commands()


def test_many_commands_in_one_mpu_run_with_a_pid_namespace():
    many_commands("--pid-ns", "--policy=always")


def main():
    global programs, simrm, count
    programs = Programs(sys.argv[1])
    count = int(sys.argv[2])
    try:
        with Simrm(programs, RELEASE) as simrm:
            return results.run_cases(sys.modules[__name__])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
