"""What mpuctl tells of a running mpud; its sandbox; mpud as an unprivileged user."""
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import cases_oci
from cases_oci import ENABLED, unique
from containers import (ALONE, LOOK, Mpud, User, expect, expect_alone, expect_equal,
                        expect_own_processes, run, wait_until)
from world import die_with_parent

TITLE = "mpuctl, sandbox, user"
NEEDS = ["runc"]
LENT = {"sys_ptrace", "setuid", "setgid", "dac_read_search"}
COLUMNS = 80
world = None


def start():
    pass


def stop():
    pass


def ask(command, path=None, **kwargs):
    done = run([world.mpuctl, command, "--json", f"--socket={path or world.mpud_process.socket}"],
               **kwargs)
    return json.loads(done.stdout)


def proc_status(pid):
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@contextmanager
def another_mpud(*options):
    """An mpud beside that of the other tests, and the path of its socket."""
    path = world.directory / f"{unique('control')}.sock"
    mpud = Mpud(world, world.gpu, path, options=options)
    try:
        yield mpud
    finally:
        expect_equal(mpud.stop(), 0, f"status of mpud ({mpud.output()})")


@contextmanager
def container(path, argv=("sleep", "600")):
    """A container of mpu-run, while it runs."""
    with subprocess.Popen([world.mpu_run, "--pid-ns", f"--socket={path}",
                           f"--dev-root={world.gpu}", "--", *argv],
                          preexec_fn=die_with_parent) as process:
        try:
            wait_until(lambda: ask("status", path)["containers"], "the container in mpuctl status")
            yield process
        finally:
            process.terminate()
            process.wait(timeout=20)


def look(path, args=("/bin/sh", "-c", LOOK), judge=expect_own_processes):
    """A container of runc, which PATH's mpud serves."""
    bundle = world.bundle(unique("bundle"), list(args), ENABLED)
    patched = run(["sh", "-c", f"{world.mpu_hook} --socket={path} precreate "
                               f"<{bundle}/config.json"]).stdout
    (bundle / "config.json").write_text(patched, encoding="utf-8")
    judge(cases_oci.run_bundle("runc", bundle).stdout)


def test_status_tells_what_each_process_holds():
    status = ask("status")
    keeper, worker = status["processes"]
    expect_equal((keeper["role"], keeper["pid"]), ("keeper", world.mpud_process.process.pid), "keeper")
    expect_equal((worker["role"], worker["pid"]), ("worker", world.mpud_process.worker()), "worker")
    expect_equal(keeper["effective"], [], "effective capabilities of the keeper")
    expect(set(worker["effective"]) <= LENT, f"effective: {worker['effective']}")
    for one in (keeper, worker):
        truth = proc_status(one["pid"])
        expect_equal(one["uid"], int(truth["Uid"].split()[0]), "user")
        expect_equal(one["no_new_privs"], truth["NoNewPrivs"] == "1", "no_new_privs")
        expect_equal(one["seccomp_mode"], int(truth["Seccomp"]), "mode of seccomp")
        expect_equal(one["seccomp_filters"], int(truth["Seccomp_filters"]), "filters")
        expect(abs(one["descriptors"] - len(os.listdir(f"/proc/{one['pid']}/fd"))) <= 2,
               f"descriptors: {one['descriptors']}")
        expect(0 < one["pss_kib"] <= one["rss_kib"] < 1 << 20, f"memory: {one}")


def has_pidfds_of_threads():
    try:
        os.close(os.pidfd_open(os.getpid(), os.O_EXCL))
    except OSError:
        return False
    return True


def test_status_tells_of_driver_and_kernel():
    status = ask("status")
    expect_equal(status["driver"]["version"], world.VERSION, "driver")
    expect_equal(status["driver"]["match"], "exact", "match")
    expect_equal(status["driver"]["records"], "threads", "what release 550 records")
    expect_equal(status["kernel"]["release"], os.uname().release, "kernel")
    expect(status["kernel"]["pid_lookup"] in ("nsfs", "nspid"), status["kernel"])
    expect_equal(status["kernel"]["pidfd_thread"], has_pidfds_of_threads(), "pidfds of threads")


def test_a_container_is_in_the_status_while_it_runs():
    with another_mpud() as mpud:
        expect_equal(ask("status", mpud.socket)["containers"], [], "containers at first")
        with container(mpud.socket):
            status = ask("status", mpud.socket)
            one, = status["containers"]
            expect(one["id"].startswith("mpu-run-"), one)
            expect_equal((one["listeners"], one["quarantined"], one["view"]), (1, 0, "container"),
                         "its listeners and settings")
            expect(Path(f"/proc/{one['pid']}").exists(), one)
            expect_equal(status["listeners"], 1, "listeners")
        wait_until(lambda: not ask("status", mpud.socket)["containers"], "the container to be gone")


def test_stats_count_calls_and_how_long_they_took():
    with another_mpud() as mpud:
        expect_equal(ask("stats", mpud.socket)["handled"], 0, "handled at first")
        look(mpud.socket)
        stats = ask("stats", mpud.socket)
        expect(stats["handled"] > 0 and stats["received"] >= stats["handled"] + stats["passed"],
               f"counts: {stats}")
        expect_equal(sum(one["count"] for one in stats["controls"]), stats["handled"], "sum")
        for one in stats["controls"]:
            expect(0 < one["p50_ns"] <= one["p99_ns"] <= one["max_ns"] < 10**10, one)
            expect(one["mean_ns"] <= one["max_ns"], one)


def test_the_texts_fit_80_columns():
    with another_mpud() as mpud, container(mpud.socket):
        look(mpud.socket)
        for command in ("status", "stats"):
            text = run([world.mpuctl, command, f"--socket={mpud.socket}"]).stdout
            wide = [line for line in text.splitlines() if len(line) > COLUMNS]
            expect(not wide and text.strip(), f"{command}: {wide}")
            print(text)


def test_a_question_is_answered_while_workers_are_killed_and_by_a_successor():
    with another_mpud() as mpud:
        for killed in range(1, 21):
            os.kill(ask("status", mpud.socket)["processes"][1]["pid"], signal.SIGKILL)
            expect_equal(ask("status", mpud.socket)["workers"]["replaced"], killed, "replacements")
        before = ask("status", mpud.socket)["processes"][0]["pid"]
        with container(mpud.socket):
            successor = Mpud(world, world.gpu, mpud.socket, options=["--replace"])
            try:
                status = ask("status", mpud.socket)
                expect_equal(status["processes"][0]["pid"], successor.process.pid, "keeper")
                expect(status["processes"][0]["pid"] != before, "the same keeper as before")
                expect_equal(len(status["containers"]), 1, "containers")
                expect_equal(mpud.process.wait(timeout=20), 0, "status of the former mpud")
            finally:
                successor.stop()
        expect(not os.path.exists(f"{mpud.socket}.control"), "the socket is left behind")


def put(path, data, end=True):
    """What comes back to DATA."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{path}.control")
        sock.settimeout(20)
        try:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            while more := sock.recv(65536):
                answer += more
        except (BrokenPipeError, ConnectionResetError):
            return None  # it closed before it had read all
    return json.loads(answer)


def test_what_is_no_question_is_refused_and_the_next_one_answered():
    path = world.mpud_process.socket
    worker = world.mpud_process.worker()
    for data, reason in [(b"", "not valid JSON"), (b"{", "not valid JSON"), (b"[]", "not an object"),
                         (b"\0\n", "NUL"), (b"{}", "does not know"), (b'{"request":7}', "not know"),
                         (b'{"request":"stop"}', "does not know"),
                         (b"[" * 4096, "more than 4096")]:
        answer = put(path, data)
        expect(answer and reason in answer["error"], f"{data[:20]}: {answer}")
    put(path, b"x" * (1 << 20))
    before = time.monotonic()
    expect("nothing" in put(path, b'{"request', end=False)["error"], "half a question")
    expect(time.monotonic() - before < 5, "half a question takes long")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for sock in silent:
        sock.connect(f"{path}.control")
    expect_equal(put(path, b'{"request":"status"}\n', end=False)["version"],
                 ask("status")["version"], "behind others who say nothing")
    for sock in silent:
        sock.close()
    expect_equal(world.mpud_process.worker(), worker, "worker")


def test_others_may_not_ask_and_are_told_why():
    user = User(f"mpu-ask-{os.getpid()}")
    try:
        done = run(user.command([world.mpuctl, "status", f"--socket={world.mpud_process.socket}"]),
                   check=False)
        expect_equal(done.returncode, 1, "status")
        expect("only root and its own user" in done.stderr, done.stderr)
        os.chmod(f"{world.mpud_process.socket}.control", 0o666)
        done = run(user.command([world.mpuctl, "status", f"--socket={world.mpud_process.socket}"]),
                   check=False)
        expect("only root and the user of mpud" in done.stderr, f"with an open file: {done.stderr}")
    finally:
        os.chmod(f"{world.mpud_process.socket}.control", 0o600)
        user.remove()


def test_the_socket_may_be_named_before_the_command_too():
    done = run([world.mpuctl, f"--socket={world.mpud_process.socket}", "status", "--json"])
    expect_equal(json.loads(done.stdout)["socket"], world.mpud_process.socket, "socket")


def test_without_mpud_it_says_what_to_start():
    done = run([world.mpuctl, "status", "--socket=/nowhere/mpud.sock"], check=False)
    expect_equal(done.returncode, 1, "status")
    expect("systemctl start mpud" in done.stderr and "/nowhere/mpud.sock" in done.stderr, done.stderr)


def test_without_the_sandbox_it_says_so():
    with another_mpud("--sandbox=off") as mpud:
        expect("without a sandbox" in mpud.output(), mpud.output())
        status = ask("status", mpud.socket)
        expect_equal(status["settings"]["sandbox"], False, "sandbox")
        expect_equal([one["seccomp_filters"] for one in status["processes"]], [0, 0], "filters")
        look(mpud.socket)


def test_each_thread_is_in_the_sandbox_of_its_kind():
    if "without a sandbox" in world.mpud_process.output():
        expect("AddressSanitizer" in world.mpud_process.output(), "no sandbox and no reason")
        print("NOT RUN: this build has AddressSanitizer, and no sandbox")
        return
    with another_mpud() as mpud:
        look(mpud.socket)
        status = ask("status", mpud.socket)
        filters = {name: one["seccomp_filters"]
                   for name, one in status["processes"][1]["threads"].items()}
        # Each is inside those of what made it: keeper, worker, and what waits for some executors.
        expect(filters.pop("mpu-executor") in (3, 4), f"filters over executors: {status}")
        expect_equal(filters, {"mpud-worker": 2, "mpu-idle": 3, "mpu-watch": 3,
                               "mpu-control": 3},
                     "filters")


def refused(path, lines):
    """The numbers of the calls that were refused to the program at PATH."""
    return [int(re.search(r" syscall=(\d+)", line)[1]) for line in lines
            if "type=1326" in line and f'exe="{path}"' in line]


def test_the_sandbox_refuses_nothing_that_mpud_calls():
    if "without a sandbox" in world.mpud_process.output():
        print("NOT RUN: this build has AddressSanitizer, and no sandbox")
        return
    # The C library tries clone3 for each thread, and then takes clone: so the log is seen to work.
    clone3 = 435
    with open("/dev/kmsg", "rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        os.lseek(log.fileno(), 0, os.SEEK_END)
        with another_mpud("--sandbox=log") as mpud:
            for _ in range(2):
                look(mpud.socket)
                ask("stats", mpud.socket)
                os.kill(ask("status", mpud.socket)["processes"][1]["pid"], signal.SIGKILL)
            expect("error" in put(mpud.socket, b"{"), "an answer to no question")
        lines = []
        with suppress(BlockingIOError):
            while line := os.read(log.fileno(), 8192):
                lines.append(line.decode(errors="replace"))
    calls = refused(world.mpud, lines)
    if not calls:
        raise AssertionError("the kernel's log does not tell what is refused (does auditd take it?)")
    expect_equal(set(calls), {clone3}, "calls that were refused")


@contextmanager
def system_user():
    name = f"mpu-own-{os.getpid()}"
    run(["useradd", "--system", "--no-create-home", name])
    try:
        yield name, pwd.getpwnam(name).pw_uid
    finally:
        run(["userdel", name])


def test_a_user_without_privilege_serves_as_root_does():
    with system_user() as (name, uid), another_mpud(f"--user={name}") as mpud:
        status = ask("status", mpud.socket)
        for one in status["processes"]:
            truth = proc_status(one["pid"])
            expect_equal(set(truth["Uid"].split()) | set(truth["Gid"].split()),
                         {str(uid), str(pwd.getpwnam(name).pw_gid)}, "ids")
            expect_equal(truth["Groups"].strip(), "", "groups")
            expect_equal(one["uid"], uid, "user in the status")
        expect_equal(status["processes"][0]["effective"], [], "of the keeper")
        expect_equal(set(status["processes"][1]["effective"]), LENT, "of the worker")
        for _ in range(3):
            look(mpud.socket)
        look(mpud.socket, ALONE, expect_alone)
        # The driver has seen root's call, which is done with root's ids: they were given back.
        wait_until(lambda: set(proc_status(mpud.worker())["Uid"].split()) == {str(uid)},
                   "the ids of the worker")
        os.kill(mpud.worker(), signal.SIGKILL)
        look(mpud.socket)


def test_root_and_the_user_take_over_from_each_other():
    with system_user() as (name, uid), another_mpud() as mpud, container(mpud.socket):
        for options, wanted in [((f"--user={name}",), uid), ((), 0), ((f"--user={name}",), uid)]:
            successor = Mpud(world, world.gpu, mpud.socket, options=["--replace", *options])
            expect_equal(mpud.process.wait(timeout=20), 0, f"status ({mpud.output()})")
            mpud.process, mpud.log_path = successor.process, successor.log_path
            status = ask("status", mpud.socket)
            expect_equal([one["uid"] for one in status["processes"]], [wanted] * 2, "users")
            expect_equal(len(status["containers"]), 1, "containers")
            look(mpud.socket)


def test_a_user_that_is_not_there_is_named():
    done = run([world.mpud, f"--dev-root={world.gpu}", f"--socket={world.directory}/nobody.sock",
                "--user=nobody-has-this"], check=False)
    expect_equal(done.returncode, 1, "status")
    expect(re.search("no such user .*useradd", done.stderr), done.stderr)
