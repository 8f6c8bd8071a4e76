"""mpuctl trace: a running container's calls, and who asks for them may be slow, or go away."""
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import cases_control
import cases_oci
from cases_control import another_mpud, ask, container, put, refused
from cases_oci import ENABLED, unique
from containers import ROOT, Mpud, User, expect, expect_equal, run, wait_until
from world import PYTHON, die_with_parent

TITLE = "mpuctl trace"
NEEDS = ["runc"]
world = None

# Makes so many controls as a line on its standard input says, or one client more where that is -1, and
# prints a word when it is done.
CALLER = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
fd = os.open(sys.argv[1] + "/nvidiactl", os.O_RDWR)

def call(number, data):
    buffer = ctypes.create_string_buffer(data, len(data))
    if libc.ioctl(fd, 3 << 30 | len(data) << 16 | 0x4600 | number, ctypes.addressof(buffer)):
        raise OSError(ctypes.get_errno(), "ioctl")
    return buffer.raw

def new_client():
    answer = call(0x2b, struct.pack("IIIIQQIIII", 0, 0, 0, 0x41, 0, 0, 0, 0, 0, 0))
    return struct.unpack_from("I", answer, 8)[0]

client = new_client()
params = ctypes.create_string_buffer(32)
control = struct.pack("IIIIQII", client, client, 0x205, 0, ctypes.addressof(params), 32, 0)
print("ready", flush=True)
for line in sys.stdin:
    if int(line) < 0:
        new_client()
    for _ in range(int(line)):
        call(0x2a, control)
    print("done", flush=True)
"""


def start():
    pass


def stop():
    pass


class Caller:
    """A container that calls when it is told to."""

    def __init__(self, path, *options):
        before = {one["id"] for one in ask("status", path)["containers"]}
        self.process = subprocess.Popen(
            [world.mpu_run, "--pid-ns", f"--socket={path}", f"--dev-root={world.gpu}", *options, "--",
             PYTHON, "-c", CALLER, world.gpu], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, preexec_fn=die_with_parent)
        expect_equal(self.process.stdout.readline(), "ready\n", "the caller")
        self.id, = {one["id"] for one in ask("status", path)["containers"]} - before

    def call(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        expect(select.select([self.process.stdout], [], [], 120)[0], "the container hangs")
        expect_equal(self.process.stdout.readline(), "done\n", f"{count} calls")

    def end(self):
        self.process.stdin.close()
        expect_equal(self.process.wait(timeout=30), 0, "status of the container")
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(timeout=30)
            self.process.stdout.close()


class Trace:
    """A running mpuctl trace; it has begun."""

    def __init__(self, path, word, *options):
        folder = world.directory / unique("trace")
        folder.mkdir()
        self.files = folder / "out", folder / "err"
        self.out, self.err = (open(file, "w", encoding="utf-8") for file in self.files)
        self.process = subprocess.Popen(
            [world.mpuctl, "trace", f"--socket={path}", *options, word], stdin=subprocess.DEVNULL,
            stdout=self.out, stderr=self.err, preexec_fn=die_with_parent)
        wait_until(lambda: "seen" in self.said() or self.process.poll() is not None,
                   "the trace to begin")

    def output(self):
        return self.files[0].read_text(encoding="utf-8")

    def said(self):
        return self.files[1].read_text(encoding="utf-8")

    def calls(self):
        """The lines, as JSON, without a table."""
        lines = [json.loads(line) for line in self.output().splitlines()]
        return [line for line in lines if "summary" not in line]

    def end(self, number=signal.SIGINT, status=0):
        """Ends it by a signal, or waits for its end."""
        if number:
            self.process.send_signal(number)
        expect_equal(self.process.wait(timeout=30), status, f"status of mpuctl ({self.said()})")
        self.out.close()
        self.err.close()
        return self


@contextmanager
def traced(path, word, *options, **end):
    trace = Trace(path, word, *options)
    try:
        yield trace
        trace.end(**end)
    finally:
        trace.process.kill()
        trace.process.wait()


def traces(mpud):
    """The threads that send a trace, and those that look for the end of calls."""
    names = []
    for entry in os.scandir(f"/proc/{mpud.worker()}/task"):
        with suppress(OSError):
            names.append(open(f"{entry.path}/comm", encoding="utf-8").read().strip())
    return Counter(names)["mpu-tracing"] + Counter(names)["mpu-trace"]


def controls(stats):
    return {one["name"]: one["count"] for one in stats["controls"] if one["count"]}


def test_a_trace_has_every_call_that_mpud_counts():
    with another_mpud() as mpud:
        with traced_runc(mpud.socket, "--json", "-C") as trace:
            pass
        stats = ask("stats", mpud.socket)
        calls = trace.calls()
        expect_equal(len(calls), stats["received"], "calls traced and counted")
        names = Counter(call["control"] for call in calls if call["end"] == "answered")
        expect_equal(dict(names), controls(stats), "controls that were answered")
        expect_equal([call for call in calls if not call["known"]], [], "unknown calls")
        for call in calls:
            expect_equal(call["device"], "/gpu/nvidiactl", "device")
            expect(call["pid"] > call["target_pid"] > 0, f"PIDs: {call}")
            expect(call["end"] != "answered" or call["seconds"] > 0, f"time: {call}")
        table = json.loads(trace.output().splitlines()[-1])
        expect_equal(sum(row["calls"] for row in table["summary"]), len(calls), "the table's sum")


@contextmanager
def traced_runc(path, *options):
    """A container of runc that looks at the GPU while it is traced, first in its only process, then in
    one that was started in it."""
    name = unique("traced")
    bundle = world.bundle(unique("bundle"), ["/bin/sleep", "600"], ENABLED)
    patched = run(["sh", "-c", f"{world.mpu_hook} --socket={path} precreate "
                               f"<{bundle}/config.json"]).stdout
    (bundle / "config.json").write_text(patched, encoding="utf-8")
    subprocess.run(["runc", "run", "--detach", "--bundle", bundle, name], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with traced(path, name, *options) as trace:
            for _ in range(2):
                run(["runc", "exec", name, "/bin/gpu-ps", "--dev-root=/gpu"])
            expect(len(ask("status", path)["containers"]) == 1, "containers")
            yield trace
    finally:
        run(["runc", "delete", "--force", name])


def test_lines_are_those_of_mpu_run():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id) as trace:
            caller.call(1)
        line, = trace.output().splitlines()
        expect(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} \d+\(\d\) ioctl\(3<\S+/nvidiactl>, "
                            r"NV_ESC_RM_CONTROL, \{hClient=0x[0-9a-f]+, hObject=0x[0-9a-f]+, "
                            r"cmd=NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2, flags=0, params=\{.*\}, "
                            r"paramsSize=32\}\).* = \?.*", line), line)
        expect("RM controls and calls in XFER envelopes" in trace.said(), trace.said())
        expect(f"traces {caller.id}, driver {world.VERSION}" in trace.said(), trace.said())


def test_of_a_confined_container_every_call_is_seen_with_its_status():
    with another_mpud() as mpud, Caller(mpud.socket, "--confine=compute,utility") as caller:
        with traced(mpud.socket, caller.id, "--json") as trace:
            caller.call(5)
            caller.call(-1)
        expect("confined: every NVIDIA call is seen" in trace.said(), trace.said())
        ends = Counter((call["escape"], call["end"], call["status"]) for call in trace.calls())
        # There is no GPU 0, for which the controls ask.
        expect_equal(dict(ends), {("NV_ESC_RM_CONTROL", "answered", "NV_ERR_INVALID_ARGUMENT"): 5,
                                  ("NV_ESC_RM_ALLOC", "answered", "NV_OK"): 1}, "calls")


def test_only_what_was_asked_for_is_shown_and_nonsense_is_refused():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id, "-e", "control=NV2080_*", "--json") as trace:
            caller.call(3)
        expect_equal(trace.output(), "", "other controls")
        with traced(mpud.socket, caller.id, "--only=control=*ID_INFO*", "-c") as trace:
            caller.call(3)
        expect(re.search(r"^ +3 +0 .* NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2$", trace.output(), re.M),
               trace.output())
        for options, reason in [(["-e", "colour=red"], "escape=, uvm=, control="),
                                (["--duration=0"], "1 to 86400"), ([], "which container"),
                                (["--no-such"], "no-such")]:
            word = [] if not options else [caller.id]
            done = run([world.mpuctl, "trace", f"--socket={mpud.socket}", *options, *word],
                       check=False)
            expect(done.returncode and reason in done.stderr, f"{options}: {done.stderr}")


def test_a_container_is_found_by_the_begin_of_its_id_and_no_other():
    with another_mpud() as mpud, Caller(mpud.socket) as one, Caller(mpud.socket) as other:
        done = run([world.mpuctl, "trace", f"--socket={mpud.socket}", "mpu-run"], check=False)
        expect("say more of it" in done.stderr and one.id in done.stderr + other.id, done.stderr)
        done = run([world.mpuctl, "trace", f"--socket={mpud.socket}", "nobody"], check=False)
        expect("mpuctl status lists" in done.stderr, done.stderr)
        with traced(mpud.socket, one.id, "--json") as first:
            done = run([world.mpuctl, "trace", f"--socket={mpud.socket}", one.id], check=False)
            expect("traced already" in done.stderr, done.stderr)
            with traced(mpud.socket, other.id, "--json") as second:
                one.call(5)
                other.call(7)
        expect_equal((len(first.calls()), len(second.calls())), (5, 7), "calls of each")
        expect(not {call["pid"] for call in first.calls()} &
               {call["pid"] for call in second.calls()}, "the other's calls")


def test_a_reader_that_stands_still_keeps_nobody_waiting_and_is_told_what_is_missing():
    count = 20000
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id, "--json") as trace:
            trace.process.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            caller.call(count)
            stopped = time.monotonic() - began
            trace.process.send_signal(signal.SIGCONT)
        missing = re.search(r"(\d+) calls are missing in all", trace.said())
        expect(missing, f"nothing is missing of {count} calls: {trace.said()}")
        expect_equal(len(trace.calls()) + int(missing[1]), count, "shown and missing calls")
        began = time.monotonic()
        caller.call(count)
        print(f"{count} calls: {stopped:.2f} s while the reader stands still, "
              f"{time.monotonic() - began:.2f} s without a trace; {missing[1]} lines missing")
        wait_until(lambda: traces(mpud) == 0, "the threads of the trace to end")


def test_a_table_counts_all_while_the_reader_stands_still():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id, "-C", "--json") as trace:
            trace.process.send_signal(signal.SIGSTOP)
            caller.call(20000)
            trace.process.send_signal(signal.SIGCONT)
        table = json.loads(trace.output().splitlines()[-1])
        expect_equal([row["calls"] for row in table["summary"]], [20000], "calls in the table")


def test_readers_that_are_killed_leave_nothing():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id):
            caller.call(10)
        wait_until(lambda: traces(mpud) == 0, "the threads of the first trace to end")
        before = len(os.listdir(f"/proc/{mpud.worker()}/fd"))
        for _ in range(20):
            trace = Trace(mpud.socket, caller.id)
            caller.call(50)
            trace.end(signal.SIGKILL, -signal.SIGKILL)
            wait_until(lambda: traces(mpud) == 0, "the threads of the trace to end")
        caller.call(10)
        expect_equal(len(os.listdir(f"/proc/{mpud.worker()}/fd")), before, "descriptors")
        expect_equal(ask("status", mpud.socket)["workers"]["crashed"], 0, "workers that crashed")


def test_it_ends_with_the_container_and_by_itself():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id, "--json", number=None) as trace:
            caller.call(3)
            caller.end()
        expect_equal(len(trace.calls()), 3, "calls")
        expect("the container has ended" in trace.said(), trace.said())
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        file = world.directory / unique("trace")
        with traced(mpud.socket, caller.id, "--duration=1", f"--output={file}", number=None) as trace:
            caller.call(3)
        expect_equal(trace.output(), "", "on standard output")
        expect_equal(len(file.read_text(encoding="utf-8").splitlines()), 3, "lines in the file")


def test_it_ends_when_the_worker_dies_of_a_fault_and_the_container_goes_on():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id, "--json", number=None, status=1) as trace:
            caller.call(3)
            wait_until(lambda: len(trace.calls()) == 3, "the lines")
            os.kill(mpud.worker(), signal.SIGSEGV)
            caller.call(3)
        expect("ended by a fault" in trace.said() and "journalctl" in trace.said(), trace.said())
        caller.call(3)
        with traced(mpud.socket, caller.id, "--json") as trace:
            caller.call(3)
        expect_equal(len(trace.calls()), 3, "calls of a new trace")


def test_it_goes_on_with_another_worker_and_with_a_successor_and_ends_with_the_last():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        with traced(mpud.socket, caller.id, "--json", number=None, status=1) as trace:
            caller.call(3)
            wait_until(lambda: len(trace.calls()) == 3, "the lines")
            os.kill(mpud.worker(), signal.SIGKILL)
            wait_until(lambda: trace.said().count("the trace goes on") == 1, "the next worker's trace")
            caller.call(4)
            wait_until(lambda: len(trace.calls()) == 7, "the lines of the next worker")
            successor = Mpud(world, world.gpu, mpud.socket, options=["--replace"])
            expect_equal(mpud.process.wait(timeout=20), 0, "status of the former mpud")
            mpud.process, mpud.log_path = successor.process, successor.log_path
            wait_until(lambda: trace.said().count("the trace goes on") == 2 or
                       trace.process.poll() is not None, "the successor's trace")
            expect(trace.process.poll() is None, f"mpuctl ended: {trace.said()}")
            caller.call(5)
            wait_until(lambda: len(trace.calls()) == 12, "the lines of the successor")
            expect_equal(successor.stop(), 0, "status of the successor")
        expect("mpud has ended" in trace.said(), trace.said())


def test_others_may_not_trace():
    user = User(f"mpu-trace-{os.getpid()}")
    try:
        with another_mpud() as mpud, Caller(mpud.socket) as caller:
            command = user.command([world.mpuctl, "trace", f"--socket={mpud.socket}", caller.id])
            done = run(command, check=False)
            expect(done.returncode == 1 and "only root and its own user" in done.stderr, done.stderr)
            os.chmod(f"{mpud.socket}.control", 0o666)
            done = run(command, check=False)
            expect("only root and the user of mpud" in done.stderr, done.stderr)
    finally:
        user.remove()


def test_what_is_no_request_for_a_trace_is_refused():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        for request, reason in [({}, "no container"), ({"container": 7}, "no container"),
                                ({"container": ""}, "no container"),
                                ({"container": caller.id, "only": ["x"]}, "escape=, uvm=")]:
            data = json.dumps({"request": "trace", **request}).encode() + b"\n"
            answer = put(mpud.socket, data)
            expect(reason in answer["error"], f"{request}: {answer}")
        expect_equal(traces(mpud), 0, "traces")


def test_as_many_as_may_be_and_no_more():
    with another_mpud() as mpud:
        callers = [Caller(mpud.socket) for _ in range(9)]
        running = [Trace(mpud.socket, caller.id, "--json") for caller in callers[:8]]
        done = run([world.mpuctl, "trace", f"--socket={mpud.socket}", callers[8].id], check=False)
        expect("8 containers are traced already" in done.stderr, done.stderr)
        for caller in callers:
            caller.call(20)
        for trace in running:
            expect_equal(len(trace.end().calls()), 20, "calls")
        for caller in callers:
            caller.end()


@contextmanager
def attacking(path, behaviour):
    """A hostile container, and its id. Its behaviours: tests/survival/attack.h."""
    before = {one["id"] for one in ask("status", path)["containers"]}
    attack = world.find("attack", Path(sys.argv[1]), ROOT / "build")
    process = subprocess.Popen(
        ["nice", "-n", "19", world.mpu_run, "--pid-ns", f"--socket={path}", f"--dev-root={world.gpu}",
         "--", attack, behaviour, f"--dev-root={world.gpu}"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=die_with_parent)
    try:
        expect_equal(process.stdout.readline(), "attacking\n", behaviour)
        yield ({one["id"] for one in ask("status", path)["containers"]} - before).pop()
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stdin.close()
        process.stdout.close()


def test_a_hostile_container_that_is_traced_holds_up_nobody():
    with another_mpud() as mpud, Caller(mpud.socket) as good:
        worker = mpud.worker()
        for behaviour in ["flood", "threads", "changing-params", "changing-fds", "fork-bomb",
                          "uffd-envelope", "uffd-control", "uffd-params", "uffd-params-write",
                          "fuse-control", "fuse-params", "fake-nodes"]:
            with attacking(mpud.socket, behaviour) as hostile:
                trace = Trace(mpud.socket, hostile, "--json", "-C")
                began = time.monotonic()
                while time.monotonic() - began < 1.5:
                    good.call(20)
                with traced(mpud.socket, good.id, "--json") as other:
                    good.call(20)
                expect_equal(len(other.calls()), 20, f"calls of the good one beside {behaviour}")
                began = time.monotonic()
                trace.end()
                took = time.monotonic() - began
                expect(took < 6, f"{behaviour}: mpuctl ended after {took:.1f} s")
                print(f"{behaviour}: {len(trace.output().splitlines())} lines, end {took:.2f} s")
            wait_until(lambda: traces(mpud) == 0, f"{behaviour}: the trace's threads to end", 30)
        expect_equal(mpud.worker(), worker, f"the worker ({mpud.output()})")


def test_the_sandbox_refuses_nothing_that_a_trace_calls():
    if "without a sandbox" in world.mpud_process.output():
        print("NOT RUN: this build has AddressSanitizer, and no sandbox")
        return
    clone3 = 435
    with open("/dev/kmsg", "rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        os.lseek(log.fileno(), 0, os.SEEK_END)
        with another_mpud("--sandbox=log") as mpud:
            with traced_runc(mpud.socket, "-C"):
                pass
        lines = []
        with suppress(BlockingIOError):
            while line := os.read(log.fileno(), 8192):
                lines.append(line.decode(errors="replace"))
    calls = refused(world.mpud, lines)
    expect(calls, "the kernel's log does not tell what is refused (does auditd take it?)")
    expect_equal(set(calls), {clone3}, "calls that were refused")


def test_stats_tell_rates():
    with another_mpud() as mpud, Caller(mpud.socket) as caller:
        looking = subprocess.Popen([world.mpuctl, "stats", "--json", "--interval=2",
                                    f"--socket={mpud.socket}"], stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        caller.call(1000)
        stats = json.loads(looking.communicate(timeout=30)[0])
        expect(2 <= stats["interval_s"] < 3, stats["interval_s"])
        calls = round(stats["per_second"]["received"] * stats["interval_s"])
        expect_equal(calls, 1000, "calls by their rate")
        expect_equal(stats["per_second"]["refused"], 0.0, "refused calls a second")
        text = run([world.mpuctl, "stats", "--interval=1", f"--socket={mpud.socket}"]).stdout
        expect(re.search(r"^ +count +a second$", text, re.M) and
               re.search(r"^ +1000 +0\.0  calls that came$", text, re.M), text)
        expect(all(len(line) <= 80 for line in text.splitlines()), text)
        expect("per_second" not in ask("stats", mpud.socket), "rates where none were asked for")
