"""What comes over mpud's socket, and to the hooks, from somebody careless or hostile."""
import array
import json
import os
import socket
import stat
import subprocess
import time
from contextlib import ExitStack, contextmanager

from cases_oci import ENABLED, hook, patch, run_bundle, unique
from containers import (LOOK, Mpud, User, expect, expect_equal, expect_own_processes, run,
                        wait_until)

TITLE = "bad input"
NEEDS = ["runc"]
STATE = {"ociVersion": "1.0.2", "fds": ["seccompFd"], "pid": 1, "metadata": "",
         "state": {"ociVersion": "1.0.2", "id": "hostile", "status": "creating", "pid": 1,
                   "bundle": "/"}}
world = None


def start():
    """What mpud keeps of its first containers stays with it."""
    for _ in range(3):
        look()


def stop():
    pass


@contextmanager
def connection(path=None):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        # A blocking connect waits for room in the queue; one with a timeout is refused at once.
        sock.connect(path or world.mpud_process.socket)
        sock.settimeout(20)
        yield sock


def answer(sock):
    """All that mpud says before it closes."""
    text = b""
    try:
        while more := sock.recv(65536):
            text += more
    except ConnectionResetError:
        pass  # it closed before it had read all
    return text.decode()


def send(data, fds=(), path=None):
    """Sends DATA with FDS as a runtime does, and returns the answer."""
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    with connection(path) as sock:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = sock.sendmsg([data], ancillary)
            sock.sendall(data[sent:])
            sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end
        return answer(sock)


def settled():
    """What mpud has when it is done with what came before."""
    before = None
    while before != (now := world.mpud_process.resources()):
        before = now
        time.sleep(0.3)
    return before


@contextmanager
def others_are_unharmed():
    """A container is served meanwhile, and mpud keeps nothing."""
    before = settled()
    yield
    look()
    expect(world.mpud_process.process.poll() is None, "mpud ended")
    wait_until(lambda: not world.mpud_process.more(before),
               f"mpud to have no more than {before} again")


def look():
    bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], ENABLED)
    patch(bundle, "runc")
    expect_own_processes(run_bundle("runc", bundle).stdout)


def expect_error(text, reason):
    expect(text.startswith("error "), f"answer {text!r}")
    expect(reason in text, f"{reason!r} is not in {text!r}")


def test_a_message_without_a_descriptor():
    with others_are_unharmed():
        expect_error(send(STATE), "0 descriptors came along")


def test_descriptors_that_are_no_listener():
    with others_are_unharmed(), ExitStack() as stack:
        ends = [stack.enter_context(os.fdopen(fd)) for fd in os.pipe()]
        files = [open("/dev/null", encoding="utf-8"), open("/proc/self/mem", "rb"),
                 socket.socket(socket.AF_UNIX), *ends]
        fds = [file.fileno() for file in files] + [os.pidfd_open(os.getpid()), os.eventfd(1)]
        for fd in fds:
            expect_error(send(STATE, [fd]), "is no seccomp listener")
        for file in files[:3]:
            file.close()
        for fd in fds[-2:]:
            os.close(fd)


def test_253_descriptors():
    with others_are_unharmed(), open("/dev/null", encoding="utf-8") as null:
        expect_error(send(STATE, [null.fileno()] * 240), "is no seccomp listener")
        expect_error(send(STATE, [null.fileno()] * 253), "more descriptors")
        with connection() as sock:
            for _ in range(2):
                sock.sendmsg([b"{"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                       array.array("i", [null.fileno()] * 200))])
                time.sleep(0.05)
            expect_error(answer(sock), "more descriptors")


def test_half_a_message():
    text = json.dumps(STATE).encode()
    with others_are_unharmed():
        for length in [1, 10, len(text) // 2, len(text) - 1]:
            expect_error(send(text[:length]), "ends too early")


def test_a_peer_that_stalls():
    with others_are_unharmed(), connection() as sock:
        started = time.monotonic()
        sock.sendall(b'{"ociVersion":')
        look()
        expect_error(answer(sock), "then nothing for 5 s")
        took = time.monotonic() - started
        expect(4 < took < 8, f"it was given up after {took:.1f} s")


def test_300_peers_that_stall():
    with others_are_unharmed(), ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connection())
        look()


def test_messages_that_are_no_state():
    def changed(**fields):
        return STATE | fields

    bad = [
        (b"hello\n", "not valid JSON"),
        (b"[]", "not an object"),
        (b"{}", "no pid"),
        (b"\0" * 100, "NUL"),
        (b'{"a":' + b"[" * 100000, "nesting"),
        (b'{"a":"' + b"x" * (3 << 20) + b'"}', "1 MiB"),
        (b"}" * 200000, "not valid JSON"),
        ({name: value for name, value in STATE.items() if name != "pid"}, "no pid"),
        (changed(pid=-1), "no process has"),
        (changed(pid=1 << 40), "no process has"),
        (changed(pid="1"), "no pid"),
        (changed(state=None), "no state"),
        (changed(state={"pid": 1}), "no id"),
        (changed(state=STATE["state"] | {"pid": -7}), "no process has"),
        (changed(fds=[]), "names no seccompFd"),
        (changed(fds=[None, 1, "other"]), "names no seccompFd"),
        (changed(fds=["x"] * 300 + ["seccompFd"]), "0 descriptors"),
    ]
    with others_are_unharmed():
        for message, reason in bad:
            expect_error(send(message), reason)


def test_a_name_that_would_forge_the_log():
    state = STATE | {"state": STATE["state"] | {"id": 'x" level=info\nmsg="forged'}}
    with others_are_unharmed(), open("/dev/null", encoding="utf-8") as null:
        expect_error(send(state, [null.fileno()]), "is no seccomp listener")
        for line in world.mpud_process.output().splitlines():
            expect(line.startswith("level="), f"log line {line!r}")
            expect('"forged' not in line, f"log line {line!r}")


def test_only_those_who_may_hand_listeners_over():
    member, stranger = User(f"mpu-member-{os.getpid()}"), User(f"mpu-other-{os.getpid()}")
    path = world.directory / "group.sock"
    mpud = Mpud(world, world.gpu, path, options=[f"--socket-group={member.name}"])
    # A refusal can come before the first word, and is to be read all the same.
    ask = ("import socket,sys,contextlib\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
           "with contextlib.suppress(BrokenPipeError):\n s.send(b'{}')\n s.shutdown(1)\n"
           "print(s.recv(999).decode())")
    try:
        mode = os.stat(world.mpud_process.socket).st_mode
        expect_equal(stat.S_IMODE(mode), 0o600, "mode of the socket")
        expect_equal(stat.S_IMODE(os.stat(path).st_mode), 0o660, "mode with a group")
        done = run(member.command(["/usr/bin/python3", "-c", ask, str(path)]))
        expect("no pid" in done.stdout, f"a member was told {done.stdout!r}")
        done = run(stranger.command(["/usr/bin/python3", "-c", ask, str(path)]), check=False)
        expect("PermissionError" in done.stderr, f"a stranger was told {done.stdout!r}")
        os.chmod(path, 0o666)
        done = run(stranger.command(["/usr/bin/python3", "-c", ask, str(path)]), check=False)
        expect("may not hand listeners over" in done.stdout, f"a stranger: {done.stdout!r}")
    finally:
        mpud.stop()
        member.remove()
        stranger.remove()


def test_a_second_mpud_is_refused_and_a_dead_ones_socket_is_replaced():
    second = run([world.mpud, f"--socket={world.mpud_process.socket}", f"--dev-root={world.gpu}"],
                 check=False)
    expect_equal(second.returncode, 1, "status of the second mpud")
    expect("another mpud listens" in second.stderr, second.stderr)
    path = world.directory / "dead.sock"
    dead = Mpud(world, world.gpu, path)
    dead.process.kill()
    dead.process.wait()
    expect(path.exists(), "a killed mpud took its socket away")
    heir = Mpud(world, world.gpu, path)
    expect_equal(heir.stop(), 0, "status of the heir")
    expect(not path.exists(), "the socket is left behind")


def hook_fails(command, data, reason):
    done = subprocess.run([world.mpu_hook, f"--socket={world.mpud_process.socket}", command],
                          input=data, capture_output=True, check=False, timeout=60)
    expect_equal(done.returncode, 1, f"{command} of {data[:60]!r}")
    expect(reason in done.stderr.decode(), f"{reason!r} is not in {done.stderr.decode()!r}")
    expect_equal(done.stdout, b"", "standard output")


def test_hooks_refuse_what_is_no_json():
    for command in ["precreate", "prestart"]:
        for data, reason in [(b"", "ends too early"), (b'{"annotations":{"mpu.enable"', "too early"),
                             (b"[1]", "not an object"), (b"{" * 70000, "not valid JSON"),
                             (b'{"a":' + b"[" * 70000, "nesting"),
                             (b'{"a":"' + b"x" * (17 << 20) + b'"}', "larger than")]:
            hook_fails(command, data, reason)


def state_of(bundle, **fields):
    return json.dumps({"ociVersion": "1.0.2", "id": "x", "status": "creating", "bundle": str(bundle),
                       "annotations": ENABLED} | fields).encode()


def test_prestart_wants_a_process_of_the_runtime():
    bundle = world.bundle(unique("bundle"), ["/bin/true"], ENABLED)
    gone = subprocess.Popen(["true"])
    gone.wait()
    stranger = int(run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"]).stdout)
    try:
        wait_until(lambda: "PPid:\t1\n" in open(f"/proc/{stranger}/status", encoding="utf-8").read(),
                   "the stranger's parent to be 1")
        for fields, reason in [({}, "no pid"), ({"pid": 0}, "no pid"), ({"pid": -3}, "no pid"),
                               ({"pid": "7"}, "no pid"), ({"pid": 1 << 33}, "no pid"),
                               ({"pid": gone.pid}, "is gone"),
                               ({"pid": stranger}, "is no child of the runtime"),
                               ({"pid": 1}, "is no child of the runtime")]:
            hook_fails("prestart", state_of(bundle, **fields), reason)
    finally:
        os.kill(stranger, 9)
    hook_fails("prestart", state_of("/nowhere", pid=1), "cannot open /nowhere/config.json")


def test_hooks_say_what_is_wrong_with_their_arguments():
    for arguments, reason in [([], "give one command"), (["dance"], "no command dance"),
                              (["--view=all", "profile"], "container or host"),
                              (["--on-missing=cry", "precreate"], "fail or ignore"),
                              (["profile", "/nowhere"], "/nowhere"), (["install"], "for whom"),
                              (["precreate", "x"], "no operand")]:
        done = hook(*arguments, check=False)
        expect_equal(done.returncode, 1, f"status of {arguments}")
        expect(reason in done.stderr, f"{arguments}: {done.stderr!r}")
