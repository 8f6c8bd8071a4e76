"""mpu-run as a program: exit statuses, errors, and what the command finds.

  mpu_run.py BUILD-DIRECTORY [PART-OF-A-NAME]
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from command import Here, as_user, both_ways, gpu_ps, main, mpu_run
from results import expect, expect_equal
from world import PYTHON, ROOT


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


def test_unknown_option_is_named():
    done = subprocess.run([Here.programs.mpu_run, "--no-such-option", "--", "true"],
                          capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "--no-such-option", "--help")


def test_missing_command_is_said():
    for arguments in ([], ["--"], ["--pid-ns"], ["--pid-ns", "--"]):
        done = subprocess.run([Here.programs.mpu_run, *arguments], capture_output=True, text=True,
                              timeout=20)
        expect_own_error(done, 125, "command")


def test_bad_values_of_options_are_named():
    for option in ("--policy=sometimes", "--view=mine", "--driver-version=latest",
                   "--pid-lookup=guess", "--shared-pids=maybe"):
        done = mpu_run("true", options=[option])
        expect_own_error(done, 125, option.split("=")[0], option.split("=")[1])


def test_no_driver_is_said_with_its_cure():
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run([Here.programs.mpu_run, f"--dev-root={empty}", "--", "true"],
                              capture_output=True, text=True, timeout=20)
        expect_own_error(done, 125, empty)
    done = subprocess.run([Here.programs.mpu_run, "--dev-root=/no/such/root", "--", "true"],
                          capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "/no/such/root")
    if not os.path.exists("/proc/driver/nvidia/version"):
        done = subprocess.run([Here.programs.mpu_run, "--", "true"], capture_output=True, text=True,
                              timeout=20)
        expect_own_error(done, 125, "/proc/driver/nvidia/version")


def test_unreadable_version_is_said_with_its_cure():
    with tempfile.TemporaryDirectory() as root:
        for name in ("nvidiactl", "nvidia0"):
            Path(root, name).touch()
        for content in ("", "NVRM version: none\n", "580.95.05\n"):
            Path(root, "version").write_text(content)
            done = subprocess.run([Here.programs.mpu_run, f"--dev-root={root}", "--", "true"],
                                  capture_output=True, text=True, timeout=20)
            expect_own_error(done, 125, f"{root}/version", "--driver-version")


def test_unlisted_release_takes_its_neighbour_and_says_so_once():
    ask = " ".join(gpu_ps()) + " >/dev/null"
    done = mpu_run("sh", "-c", f"{ask}; {ask}", options=["--driver-version=580.95.99"])
    lines = [line for line in done.stderr.splitlines() if "580.95.99" in line]
    expect_equal(len(lines), 1, f"lines about the unlisted release in {done.stderr!r}")
    expect("580.95.05" in lines[0], f"{lines[0]!r} does not name the neighbour")


def test_outside_of_the_initial_pid_namespace_it_refuses():
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", Here.programs.mpu_run,
         f"--dev-root={Here.simrm.directory}", "--", "true"],
        capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "PID namespace")


def test_without_mpud_or_refused_by_it_the_command_does_not_run():
    def refuse(server):
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"error no room\n")
    with tempfile.TemporaryDirectory() as directory:
        path, ran = f"{directory}/mpud.sock", f"{directory}/ran"
        command = [Here.programs.mpu_run, f"--socket={path}", "--", "touch", ran]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        expect_own_error(done, 125, path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            thread = threading.Thread(target=refuse, args=[server], daemon=True)
            thread.start()
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
            thread.join(timeout=20)
        expect_own_error(done, 125, "no room")
        expect(not os.path.exists(ran), "the command ran without supervision")


def test_mpu_run_inside_mpu_run_says_why_not():
    def check(options):
        done = mpu_run(Here.programs.mpu_run, f"--dev-root={Here.simrm.directory}", "--", "true",
                       options=options)
        expect_own_error(done, 125)
    both_ways(check)


# Executes its arguments where seccomp(2), number 317 on x86_64, fails with ENOSYS, as on a kernel
# that is built without it.
WITHOUT_SECCOMP = """
import ctypes, os, struct, sys
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
code = b"".join(struct.pack("HBBI", *step) for step in [
    (LOAD, 0, 0, 0), (JUMP_EQUAL, 0, 1, 317), (RETURN, 0, 0, 0x50000 | 38),
    (RETURN, 0, 0, 0x7fff0000)])
code = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
libc = ctypes.CDLL(None)
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, 2, program) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_without_seccomp_listener_it_says_so():
    done = subprocess.run([PYTHON, "-c", WITHOUT_SECCOMP, Here.programs.mpu_run,
                           f"--dev-root={Here.simrm.directory}", "--", "true"],
                          capture_output=True, text=True, timeout=20)
    expect_own_error(done, 125, "seccomp")


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
                ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", Here.programs.mpu_run,
                 f"--dev-root={Here.simrm.directory}", *options, "--",
                 "sh", "-c", f"{' '.join(gpu_ps())} >{file.name} 2>&1"],
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


def test_stats_and_trace_are_written():
    done = mpu_run(*gpu_ps(), options=["--stats"])
    expect(done.returncode == 0 and re.search(r"\d", done.stderr), f"--stats: {done.stderr!r}")
    done = mpu_run(*gpu_ps(), options=["--stats=json"])
    expect(isinstance(json.loads(done.stderr), dict), f"--stats=json: {done.stderr!r}")
    with tempfile.TemporaryDirectory() as directory:
        mpu_run(*gpu_ps(), options=[f"--trace={directory}/t"])
        trace = Path(directory, "t").read_text()
        expect("NV2080_CTRL_CMD_GPU_GET_PIDS" in trace, f"--trace: {trace[:400]!r}")


def test_version_and_help_are_printed():
    for option in ("--version", "--help"):
        done = subprocess.run([Here.programs.mpu_run, option], capture_output=True, text=True,
                              timeout=20)
        expect(done.returncode == 0 and "mpu-run" in done.stdout, f"{option}: {done}")


def test_it_starts_without_other_libraries_than_libc():
    """Each costs every start a tenth of a millisecond."""
    dynamic = subprocess.run(["readelf", "-d", Here.programs.mpu_run], capture_output=True, text=True,
                             check=True).stdout
    needed = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
    others = [name for name in needed if not re.match(r"lib(c|asan|ubsan|m|gcc_s)\.so", name)]
    expect_equal(others, [], "libraries")


def test_the_manual_has_every_option():
    usage = subprocess.run([Here.programs.mpu_run, "--help"], capture_output=True, text=True).stdout
    manual = (ROOT / "docs/mpu-run.md").read_text(encoding="utf-8")
    option = re.compile(r"--[a-z][a-z-]+")
    table = "".join(line for line in manual.splitlines(True) if line.startswith("| `--"))
    expect_equal(set(option.findall(table.replace("--pid-ns` ends", ""))),
                 set(option.findall(usage)), "options in docs/mpu-run.md")


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
