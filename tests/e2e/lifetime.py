"""mpu-run while its command runs, and when one of them ends: signals, terminal, and that nothing
outlives it.

  lifetime.py BUILD-DIRECTORY [PART-OF-A-NAME]
"""
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from command import Here, both_ways, gpu_ps, main, mpu_run, start
from results import expect, expect_equal
from world import PYTHON, wait_until


def test_signals_are_forwarded():
    forwarded = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                 signal.SIGUSR2, signal.SIGWINCH, signal.SIGALRM, signal.SIGCONT]
    script = ("import os, signal, sys\n"
              "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
              "print('ready', flush=True)\n"
              "for _ in range(%d): print(signal.sigwait(range(1, 32)).name, flush=True)\n"
              % len(forwarded))

    def check(options):
        process = start(PYTHON, "-c", script, options=options)
        try:
            expect_equal(process.stdout.readline(), "ready\n", "first line")
            for number in forwarded:
                process.send_signal(number)
                expect_equal(process.stdout.readline().strip(), number.name, "signal received")
            expect_equal(process.wait(timeout=10), 0, "exit status")
        finally:
            process.kill()
            process.communicate()
    both_ways(check)


def test_a_signal_ends_a_command_that_does_not_handle_it():
    def check(options):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = start("sleep", "60", options=options)
            time.sleep(0.3)
            process.send_signal(number)
            try:
                expect_equal(process.wait(timeout=5), 128 + number, f"exit status by {number.name}")
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{number.name} did not end it within 5 s") from None
            finally:
                process.kill()
                process.communicate()
    both_ways(check)


def on_terminal(options, command, keys=b""):
    """Runs COMMAND on a new terminal of its own, types KEYS after its first output. Returns output
    and exit status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(Here.programs.mpu_run,
                 [Here.programs.mpu_run, f"--dev-root={Here.simrm.directory}", *options, "--",
                  *command])
    output = b""
    deadline = time.monotonic() + 15
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            output += data
            if keys:
                time.sleep(0.2)
                os.write(terminal, keys)
                keys = b""
        else:
            raise AssertionError(f"still running after 15 s: {output!r}")
    finally:
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return output.decode().replace("\r\n", "\n"), status


def test_the_command_has_the_terminal():
    def check(options):
        script = "test -t 0 && test -t 1 && echo terminal; read line; echo got $line </dev/tty"
        output, status = on_terminal(options, ["sh", "-c", script], b"hello\n")
        expect("terminal\n" in output and "got hello\n" in output, f"output {output!r}")
        expect_equal(status, 0, "exit status")
    both_ways(check)


def test_control_c_interrupts_the_command():
    def check(options):
        output, status = on_terminal(options, ["sh", "-c", "echo on; exec sleep 30"], b"\x03")
        expect_equal(status, 128 + signal.SIGINT, f"exit status, with {output!r}")
    both_ways(check)


def test_control_c_reaches_the_command_once():
    script = ("import signal, time\nhits = []\n"
              "signal.signal(signal.SIGINT, lambda *_: hits.append(1))\n"
              "print('on', flush=True)\n"
              "end = time.monotonic() + 1.5\n"
              "while time.monotonic() < end: time.sleep(0.1)\n"
              "print('hits', len(hits))\n")

    def check(options):
        output, status = on_terminal(options, [PYTHON, "-c", script], b"\x03")
        expect("hits 1\n" in output and status == 0, f"output {output!r}, exit status {status}")
    both_ways(check)


def test_an_interactive_shell_has_job_control():
    def check(options):
        output, _ = on_terminal(options, ["bash", "--norc", "-i"],
                                b"sleep 0.1 & wait; echo jobs-$?; exit\n")
        expect("jobs-0\n" in output, f"output {output!r}")
        expect("job control" not in output, f"output {output!r}")
    both_ways(check)


def with_mark(mark):
    """PIDs of the processes whose environment holds MARK, zombies left out."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in directory.joinpath("environ").read_bytes():
                found.append(int(directory.name))
        except OSError:
            pass
    return found


TREE = """
import os, sys, time
# A grandchild with a session of its own, whose parent has ended, as a daemon is.
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1000"])
    os._exit(0)
os.wait()
# A child in another process group that ignores signals.
if os.fork() == 0:
    os.setpgid(0, 0)
    os.execvp("sh", ["sh", "-c", "trap '' TERM HUP INT; while :; do sleep 1000; done"])
print("ready", flush=True)
%s
"""


def tree(options, ending, mark):
    process = start(PYTHON, "-c", TREE % ending, options=options,
                    env={**os.environ, "MPU_TEST_MARK": mark})
    expect_equal(process.stdout.readline(), "ready\n", "first line of the tree")
    time.sleep(0.1)
    return process


def expect_gone(mark, when):
    try:
        wait_until(lambda: not with_mark(mark), f"the tree to end after {when}", 5)
    except AssertionError as error:
        left = [(pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
                for pid in with_mark(mark)]
        for pid, _ in left:
            os.kill(pid, signal.SIGKILL)
        raise AssertionError(f"{error}: left {left}") from None


def own_processes(mark):
    """The processes of mpu-run itself in a marked tree."""
    return [pid for pid in with_mark(mark)
            if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(Here.programs.mpu_run)]


def test_the_tree_ends_with_mpu_run_killed():
    def check(options):
        mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
        process = tree(options, "time.sleep(1000)", mark)
        process.kill()
        process.wait()
        try:
            expect_gone(mark, "SIGKILL of mpu-run")
        finally:
            process.communicate()
    both_ways(check)


def test_the_tree_ends_with_any_process_of_mpu_run_killed():
    def check(options):
        count = 1
        index = 0
        while index < count:
            mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
            process = tree(options, "time.sleep(1000)", mark)
            ours = sorted(own_processes(mark))
            count = len(ours)
            expect(count >= 1, "found no process of mpu-run")
            os.kill(ours[index], signal.SIGKILL)
            try:
                expect_gone(mark, f"SIGKILL of process {index + 1} of {count}")
            finally:
                process.kill()
                process.communicate()
            index += 1
    both_ways(check)


def test_what_the_command_leaves_behind_is_still_served_and_then_nothing_is_left():
    # With --pid-ns the kernel ends all of it with the namespace's first process.
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    with tempfile.TemporaryDirectory() as directory:
        done = mpu_run("sh", "-c", f"(sleep 1; {' '.join(gpu_ps())} "
                       f">{directory}/answer 2>&1; echo $? >{directory}/status) "
                       ">/dev/null 2>&1 </dev/null & exit 7",
                       env={**os.environ, "MPU_TEST_MARK": mark})
        expect_equal(done.returncode, 7, "exit status")
        status = Path(directory, "status")
        wait_until(lambda: status.exists() and status.read_text(), "the background command")
        expect_equal(status.read_text(), "0\n", Path(directory, "answer").read_text())
    expect_gone(mark, "the end of the background command")


def test_the_tree_ends_with_the_first_process_of_its_namespace():
    def check(options):
        mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
        process = tree(options, "sys.exit(7)", mark)
        try:
            expect_equal(process.wait(timeout=10), 7, "exit status")
            expect_gone(mark, "the command's own end")
        finally:
            process.kill()
            process.communicate()
    check(["--pid-ns"])


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
