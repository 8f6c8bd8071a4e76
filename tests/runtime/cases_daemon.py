"""mpud as a service: activation, readiness, stop, its default socket."""
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import cases_oci
from cases_bad_input import STATE, send
from cases_oci import ENABLED, unique
from containers import (LOOK, Mpud, User, expect, expect_equal, expect_own_processes, run,
                        wait_until)

TITLE = "mpud as a service"
NEEDS = ["runc"]
world = None


def start():
    pass


def stop():
    pass


def start_mpud(*options, environment=None, **kwargs):
    return subprocess.Popen([world.mpud, f"--dev-root={world.gpu}", *options],
                            env=dict(os.environ) | (environment or {}), stderr=subprocess.PIPE,
                            text=True, **kwargs)


def told(notify):
    """The next word on how mpud is, what it gives into store aside."""
    while (word := notify.recv(1000)).startswith(b"FDSTORE"):
        pass
    return word


def test_readiness_and_stop_are_told_to_systemd():
    with tempfile.TemporaryDirectory() as folder, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{folder}/notify")
        notify.settimeout(20)
        path = Path(folder, "mpud.sock")
        daemon = start_mpud(f"--socket={path}", environment={"NOTIFY_SOCKET": f"{folder}/notify"})
        expect_equal(told(notify), b"READY=1", "first word")
        expect(path.is_socket(), "ready without a socket")
        daemon.send_signal(signal.SIGTERM)
        expect_equal(told(notify), b"STOPPING=1", "second word")
        _, log = daemon.communicate(timeout=20)
        expect_equal(daemon.returncode, 0, f"status ({log})")
        expect(not path.exists(), "the socket is left behind")


def test_a_socket_that_systemd_opened_is_taken_and_left():
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = f"{folder}/activated.sock"
        listening.bind(path)
        listening.listen()

        # Nobody knows the child's PID before it is there: a shell says its own.
        daemon = subprocess.Popen(
            ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "-", world.mpud,
             f"--dev-root={world.gpu}"], preexec_fn=lambda: os.dup2(listening.fileno(), 3),
            close_fds=False,
            stderr=subprocess.PIPE, text=True)
        listening.close()
        expect("names no seccompFd" in send(STATE | {"fds": []}, path=path), "no answer")
        bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], ENABLED)
        patched = run(["sh", "-c", f"{world.mpu_hook} --socket={path} precreate "
                                   f"<{bundle}/config.json"]).stdout
        (bundle / "config.json").write_text(patched)
        expect_own_processes(cases_oci.run_bundle("runc", bundle).stdout)
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=20)
        expect_equal(daemon.returncode, 0, "status")
        expect(os.path.exists(path), "systemd's socket is gone")


def test_a_descriptor_that_is_no_listening_socket_is_refused():
    with open("/dev/null", encoding="utf-8") as null:
        done = run(["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "-", world.mpud,
                    f"--dev-root={world.gpu}"], check=False, close_fds=False,
                   preexec_fn=lambda: os.dup2(null.fileno(), 3))
    expect_equal(done.returncode, 1, "status")
    expect("no listening socket" in done.stderr, done.stderr)


def test_an_ordinary_users_mpud_has_a_socket_of_its_own():
    user = User(f"mpu-own-{os.getpid()}")
    daemon = subprocess.Popen(user.command([world.mpud, f"--dev-root={world.gpu}"]),
                              stderr=subprocess.PIPE, text=True)
    try:
        path = user.runtime / "mpu/mpud.sock"
        wait_until(path.is_socket, "the user's socket")
        expect_equal(path.stat().st_mode & 0o777, 0o600, "mode")
        expect_equal(path.parent.stat().st_mode & 0o777, 0o700, "mode of the folder")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=20)
        user.remove()


def test_mpud_refuses_to_run_in_a_pid_namespace():
    done = run(["unshare", "--pid", "--fork", "--mount-proc", world.mpud,
                f"--dev-root={world.gpu}", f"--socket={world.directory}/inner.sock"], check=False)
    expect_equal(done.returncode, 1, "status")
    expect("not in the initial PID namespace" in done.stderr, done.stderr)


def test_mpud_keeps_only_the_capabilities_it_needs():
    dac_read_search, setgid, setuid, ptrace, admin = (1 << bit for bit in (2, 6, 7, 19, 21))
    lent = dac_read_search | setgid | setuid | ptrace
    keeper = world.mpud_process.process.pid
    for pid, effective in [(keeper, 0), (world.mpud_process.worker(), lent)]:
        text = Path(f"/proc/{pid}/status").read_text()
        values = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        expect_equal(int(values["CapEff"], 16) & ~effective, 0, "effective capabilities beyond")
        expect_equal(int(values["CapPrm"], 16) & ~(lent | admin), 0, "permitted capabilities beyond")
        expect_equal(values["NoNewPrivs"], "1", "no_new_privs")


def test_settings_come_from_annotations_then_metadata_then_options():
    path = world.directory / "host.sock"
    mpud = Mpud(world, world.gpu, path, options=["--view=host"])
    try:
        for annotations, options, own in [
                ({}, [], False), ({"mpu.view": "container"}, [], True),
                ({}, ["--view=container"], True), ({"mpu.view": "host"}, ["--view=container"], False)]:
            bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], ENABLED | annotations)
            patched = run(["sh", "-c", f"{world.mpu_hook} --socket={path} {' '.join(options)} "
                                       f"precreate <{bundle}/config.json"]).stdout
            (bundle / "config.json").write_text(patched)
            output = cases_oci.run_bundle("runc", bundle, check=False).stdout
            try:
                expect_own_processes(output)
                got = True
            except AssertionError:
                got = False
            expect_equal(got, own, f"own processes only with {annotations} and {options}")
    finally:
        mpud.stop()


def test_mpud_says_what_is_wrong_with_its_options():
    for option, reason in [("--view=all", "--view does not take all"), ("--watchdog=0", "--watchdog"),
                           ("--socket=relative", "--socket"), ("operand", "operand"),
                           ("--socket-group=nobody-has-this", "has no group"),
                           (f"--socket=/{'x' * 120}", "too long")]:
        done = run([world.mpud, f"--dev-root={world.gpu}", option], check=False)
        expect_equal(done.returncode, 1, f"status of {option}")
        expect(reason in done.stderr, f"{option}: {done.stderr!r}")
