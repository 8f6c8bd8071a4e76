"""mpu-run as a program: exit statuses, errors, signals, terminal, and that nothing outlives it.

  mpu_run.py BUILD-DIRECTORY [PART-OF-A-NAME]
"""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results
from results import expect, expect_equal
from world import PYTHON, ROOT, Programs, Simrm, wait_until

RELEASE = "580.95.05"
UNPRIVILEGED = 1000
programs = None
simrm = None


def mpu_run(*command, options=(), **more):
    """Runs COMMAND under mpu-run to its end."""
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [programs.mpu_run, f"--dev-root={simrm.directory}", *options, "--", *command],
        capture_output=True, text=True, timeout=60, **more)


def start(*command, options=(), **more):
    """Starts it, with pipes."""
    return subprocess.Popen(
        [programs.mpu_run, f"--dev-root={simrm.directory}", *options, "--", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def both_ways(check):
    """CHECK without and with a PID namespace of the command's own."""
    for options in ([], ["--pid-ns"]):
        try:
            check(options)
        except AssertionError as error:
            raise AssertionError(f"mpu-run {' '.join(options)}: {error}") from None


def as_user(check):
    """CHECK as root and as an ordinary user, without and with a PID namespace."""
    for identity in ({}, {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}):
        try:
            both_ways(lambda options, identity=identity: check(options, identity))
        except AssertionError as error:
            raise AssertionError(f"as uid {identity.get('user', 0)}: {error}") from None


# --- exit status ---


def test_exit_status_is_the_commands():
    def check(options, identity):
        for status in (0, 3, 255):
            done = mpu_run("sh", "-c", f"exit {status}", options=options, **identity)
            expect_equal((done.returncode, done.stderr), (status, ""), f"exit {status}")
    as_user(check)


def test_exit_status_of_a_command_that_a_signal_ended():
    def check(options):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
            done = mpu_run(PYTHON, "-c", f"import os; os.kill(os.getpid(), {int(number)}); "
                           "import time; time.sleep(5)", options=options)
            expect_equal(done.returncode, 128 + number, f"the command got {number.name}")
    both_ways(check)


def expect_own_error(done, status, *words):
    """One line that names each of WORDS."""
    expect_equal(done.returncode, status, f"exit status, with {done.stderr!r}")
    lines = done.stderr.strip().splitlines()
    expect_equal(len(lines), 1, f"lines of {done.stderr!r}")
    for word in words:
        expect(word in lines[0], f"{lines[0]!r} does not name {word!r}")


def test_command_not_found_is_127():
    def check(options):
        expect_own_error(mpu_run("no-such-command", options=options), 127, "no-such-command")
        expect_own_error(mpu_run("/no/such/path", options=options), 127, "/no/such/path")
    both_ways(check)


def test_command_not_executable_is_126():
    def check(options):
        with tempfile.NamedTemporaryFile(suffix="-plain") as file:
            expect_own_error(mpu_run(file.name, options=options), 126, file.name)
        expect_own_error(mpu_run("/etc", options=options), 126, "/etc")
    both_ways(check)


# --- own errors: 125 and one line ---


def test_unknown_option_is_named():
    done = subprocess.run([programs.mpu_run, "--no-such-option", "--", "true"],
                          capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "--no-such-option", "--help")


def test_missing_command_is_said():
    for arguments in ([], ["--"], ["--pid-ns"], ["--pid-ns", "--"]):
        done = subprocess.run([programs.mpu_run, *arguments], capture_output=True, text=True,
                              timeout=20)
        expect_own_error(done, 125, "command")


def test_bad_values_of_options_are_named():
    for option in ("--policy=sometimes", "--view=mine", "--driver-version=latest",
                   "--pid-lookup=guess", "--shared-pids=maybe"):
        done = mpu_run("true", options=[option])
        expect_own_error(done, 125, option.split("=")[0], option.split("=")[1])


def test_no_driver_is_said_with_its_cure():
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run([programs.mpu_run, f"--dev-root={empty}", "--", "true"],
                              capture_output=True, text=True, timeout=20)
        expect_own_error(done, 125, empty)
    done = subprocess.run([programs.mpu_run, "--dev-root=/no/such/root", "--", "true"],
                          capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "/no/such/root")
    if not os.path.exists("/proc/driver/nvidia/version"):
        done = subprocess.run([programs.mpu_run, "--", "true"], capture_output=True, text=True,
                              timeout=20)
        expect_own_error(done, 125, "/proc/driver/nvidia/version")


def test_unreadable_version_is_said_with_its_cure():
    with tempfile.TemporaryDirectory() as root:
        for name in ("nvidiactl", "nvidia0"):
            Path(root, name).touch()
        for content in ("", "NVRM version: none\n", "580.95.05\n"):
            Path(root, "version").write_text(content)
            done = subprocess.run([programs.mpu_run, f"--dev-root={root}", "--", "true"],
                                  capture_output=True, text=True, timeout=20)
            expect_own_error(done, 125, f"{root}/version", "--driver-version")


def test_unlisted_release_takes_its_neighbour_and_says_so_once():
    ask = f"{programs.gpu_ps} --dev-root={simrm.directory} >/dev/null"
    done = mpu_run("sh", "-c", f"{ask}; {ask}", options=["--driver-version=580.95.99"])
    lines = [line for line in done.stderr.splitlines() if "580.95.99" in line]
    expect_equal(len(lines), 1, f"lines about the unlisted release in {done.stderr!r}")
    expect("580.95.05" in lines[0], f"{lines[0]!r} does not name the neighbour")


def test_outside_of_the_initial_pid_namespace_it_refuses():
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", programs.mpu_run,
         f"--dev-root={simrm.directory}", "--", "true"], capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "PID namespace")


def test_mpu_run_inside_mpu_run_says_why_not():
    def check(options):
        done = mpu_run(programs.mpu_run, f"--dev-root={simrm.directory}", "--", "true",
                       options=options)
        expect_own_error(done, 125)
    both_ways(check)


# Executes its arguments where seccomp(2), number 317 on x86_64, fails with ENOSYS, as on a kernel
# that is built without it.
WITHOUT_SECCOMP = """
import ctypes, os, struct, sys
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
code = b"".join(struct.pack("HBBI", *step) for step in [
    (LOAD, 0, 0, 0), (JUMP_EQUAL, 0, 1, 317), (RETURN, 0, 0, 0x50000 | 38), (RETURN, 0, 0, 0x7fff0000)])
code = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
libc = ctypes.CDLL(None)
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, 2, program) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_without_seccomp_listener_it_says_so():
    done = subprocess.run([PYTHON, "-c", WITHOUT_SECCOMP, programs.mpu_run,
                           f"--dev-root={simrm.directory}", "--", "true"],
                          capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "seccomp")


# --- what the command finds ---


def test_arguments_environment_and_directory_reach_the_command():
    def check(options):
        done = mpu_run("sh", "-c", 'printf "%s|" "$0" "$@" "$MARK" "$PWD"; umask', "a b", "", "c",
                       options=options, cwd="/usr", umask=0o027, env={**os.environ, "MARK": "m\n"})
        expect_equal(done.stdout, "a b||c|m\n|/usr|0027\n", "what the command saw")
    both_ways(check)


def test_standard_input_reaches_the_command():
    def check(options):
        done = mpu_run("cat", options=options, stdin=None, input="x" * 300000)
        expect_equal(len(done.stdout), 300000, "characters through cat")
    both_ways(check)


def test_no_descriptor_of_ours_reaches_the_command():
    def check(options):
        read, write = os.pipe()
        try:
            done = mpu_run("sh", "-c", "ls /proc/self/fd", options=options, pass_fds=[read])
        finally:
            os.close(read)
            os.close(write)
        # ls itself opens the directory.
        inherited = {"0", "1", "2", str(read)}
        found = set(done.stdout.split())
        expect(inherited <= found and len(found - inherited) == 1, f"descriptors {sorted(found)}")
    both_ways(check)


def test_works_with_the_standard_descriptors_closed():
    def check(options):
        with tempfile.NamedTemporaryFile() as file:
            done = subprocess.run(
                ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", programs.mpu_run,
                 f"--dev-root={simrm.directory}", *options, "--",
                 "sh", "-c", f"{programs.gpu_ps} --dev-root={simrm.directory} >{file.name} 2>&1"],
                timeout=20)
            expect_equal(done.returncode, 0, f"exit status, with {Path(file.name).read_text()!r}")
    both_ways(check)


def test_signal_dispositions_and_mask_are_the_callers():
    script = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"
    native = subprocess.run(["sh", "-c", f"exec {script}"], capture_output=True, text=True)

    def check(options):
        done = mpu_run("sh", "-c", f"exec {script}", options=options)
        expect_equal(done.stdout, native.stdout, "signal masks of the command")
    both_ways(check)


def test_pid_ns_has_its_own_proc_and_few_processes():
    def check(options, identity):
        if "--pid-ns" not in options:
            return
        done = mpu_run("sh", "-c", "ls -d /proc/[0-9]* | wc -l; cat /proc/self/comm",
                       options=options, **identity)
        count, comm = done.stdout.split()
        expect(int(count) <= 5 and comm == "cat", f"/proc shows {done.stdout!r} {done.stderr!r}")
    as_user(check)


def test_pid_ns_leaves_no_mount_behind():
    before = Path("/proc/self/mountinfo").read_text()
    mpu_run("true", options=["--pid-ns"])
    expect_equal(Path("/proc/self/mountinfo").read_text(), before, "mounts")


# --- signals and terminal ---


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
        os.execv(programs.mpu_run, [programs.mpu_run, f"--dev-root={simrm.directory}", *options,
                                    "--", *command])
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
        output, status = on_terminal(options, ["sh", "-c", "test -t 0 && test -t 1 && echo terminal; "
                                               "read line; echo got $line </dev/tty"], b"hello\n")
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


# --- nothing outlives mpu-run ---


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
            if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(programs.mpu_run)]


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
        done = mpu_run("sh", "-c", f"(sleep 1; {programs.gpu_ps} --dev-root={simrm.directory} "
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


def test_stats_and_trace_are_written():
    done = mpu_run(programs.gpu_ps, f"--dev-root={simrm.directory}", options=["--stats"])
    expect(done.returncode == 0 and re.search(r"\d", done.stderr), f"--stats: {done.stderr!r}")
    done = mpu_run(programs.gpu_ps, f"--dev-root={simrm.directory}", options=["--stats=json"])
    expect(isinstance(json.loads(done.stderr), dict), f"--stats=json: {done.stderr!r}")
    with tempfile.TemporaryDirectory() as directory:
        mpu_run(programs.gpu_ps, f"--dev-root={simrm.directory}", options=[f"--trace={directory}/t"])
        trace = Path(directory, "t").read_text()
        expect("2080018d" in trace, f"--trace: {trace[:400]!r}")


def test_version_and_help_are_printed():
    for option in ("--version", "--help"):
        done = subprocess.run([programs.mpu_run, option], capture_output=True, text=True, timeout=20)
        expect(done.returncode == 0 and "mpu-run" in done.stdout, f"{option}: {done}")


def test_the_manual_has_every_option():
    usage = subprocess.run([programs.mpu_run, "--help"], capture_output=True, text=True).stdout
    manual = (ROOT / "docs/mpu-run.md").read_text(encoding="utf-8")
    option = re.compile(r"--[a-z][a-z-]+")
    table = "".join(line for line in manual.splitlines(True) if line.startswith("| `--"))
    expect_equal(set(option.findall(table.replace("--pid-ns` ends", ""))),
                 set(option.findall(usage)), "options in docs/mpu-run.md")


def main():
    global programs, simrm
    programs = Programs(sys.argv[1])
    try:
        with Simrm(programs, RELEASE) as simrm:
            return results.run_cases(sys.modules[__name__], *sys.argv[2:3])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
