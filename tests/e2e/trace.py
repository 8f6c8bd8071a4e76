"""mpu-run --trace against the simulated driver, which counts calls itself.

  trace.py BUILD-DIRECTORY [PART-OF-A-NAME]
"""
import csv
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from command import UNPRIVILEGED, Here, RELEASE, gpu_ps, main, mpu_run, start
from results import expect, expect_equal
from world import PYTHON, ROOT, wait_until

# Calls made one by one, each from memory of its own, as a program under mpu-run. A line of its output
# is what the program itself got: number, errno, status.
CALLER = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
root, what = sys.argv[1:3]
ctl = os.open(root + "/nvidiactl", os.O_RDWR)
kept = []

def call(fd, request, data):
    buffer = ctypes.create_string_buffer(bytes(data), max(len(data), 1))
    kept.append(buffer)
    result = libc.ioctl(fd, request, ctypes.addressof(buffer))
    return (ctypes.get_errno() if result else 0), buffer.raw

def escape(number, data, fd=None, magic=0x46):
    return call(ctl if fd is None else fd, 3 << 30 | len(data) << 16 | magic << 8 | number, data)

def control(client, cmd, params, obj=None, envelope=False):
    memory = ctypes.create_string_buffer(bytes(params), max(len(params), 1))
    kept.append(memory)
    data = struct.pack("IIIIQII", client, obj or client, cmd, 0, ctypes.addressof(memory),
                       len(params), 0)
    if envelope:
        inner = ctypes.create_string_buffer(data, len(data))
        kept.append(inner)
        err, _ = escape(211, struct.pack("IIQ", 0x2a, len(data), ctypes.addressof(inner)))
        raw = inner.raw
    else:
        err, raw = escape(0x2a, data)
    status = struct.unpack_from("I", raw, 28)[0]
    print(hex(cmd), err, status, memory.raw.hex()[:64], flush=True)
    return memory.raw

def alloc(parent, handle, cls, client=0):
    err, raw = escape(0x2b, struct.pack("IIIIQQIIII", client, parent, handle, cls, 0, 0, 0, 0, 0, 0))
    print("alloc", hex(cls), err, struct.unpack_from("I", raw, 40)[0], flush=True)
    return struct.unpack_from("I", raw, 8)[0]

PROBED, ID_INFO, ATTACH = 0x214, 0x205, 0x215
client = alloc(0, 0, 0x41) if what != "uvm" else 0
exec(sys.argv[3])
"""


def caller(code, what="rm", options=(), **more):
    """Runs CODE in CALLER under mpu-run."""
    return mpu_run(PYTHON, "-c", CALLER, Here.simrm.directory, what, code, options=options, **more)


def traced(run, *options):
    """RUN(options) with a JSON trace. Returns what it returned, the calls, and the table or None."""
    with tempfile.TemporaryDirectory() as directory:
        file = f"{directory}/trace"
        done = run([f"--trace={file}", "--trace-format=json", *options])
        lines = [json.loads(line) for line in Path(file).read_text().splitlines()]
    table = lines.pop() if lines and "summary" in lines[-1] else None
    return done, lines, table


def key_of(line):
    """A call as simrm counts it."""
    return ("control", line["cmd"]) if "control" in line else ("escape", line["number"])


def counted_by_simrm(*tgids):
    calls = json.loads(Path(Here.simrm.directory, "simrm-calls").read_text())
    expect_equal(calls["unrecorded"], 0, "calls that simrm had no room to record")
    counts = Counter()
    for record in calls["by_caller"]:
        if not tgids or record["tgid"] in tgids:
            kind = "control" if "control" in record else "escape"
            counts[kind, int(record[kind], 16)] += record["count"]
    return counts


def run_gpu_ps(options):
    done = mpu_run(*gpu_ps(), options=options)
    expect_equal(done.returncode, 0, f"gpu-ps, with {done.stderr!r}")
    return done


def test_counts_are_simrms_own():
    Here.simrm.command("record on=1")
    done, lines, table = traced(run_gpu_ps, "--policy=off", "-c")
    expect_equal(Counter(map(key_of, lines)), counted_by_simrm(), "calls")
    expect_equal(sum(row["calls"] for row in table["summary"]), len(lines), "calls in the table")
    expect(len(lines) > 10, f"only {len(lines)} calls")
    Here.simrm.command("record on=0")


def test_counts_are_those_of_the_calls_that_went_through_where_some_are_handled():
    Here.simrm.command("record on=1")
    done, lines, _ = traced(run_gpu_ps, "--pid-ns")
    passed = [line for line in lines if line["end"] != "answered"]
    expect(len(passed) < len(lines), "nothing was handled")
    expect_equal(Counter(map(key_of, passed)), counted_by_simrm(lines[0]["pid"]), "calls passed on")
    Here.simrm.command("record on=0")


def test_calls_of_threads_and_processes_at_once_are_all_there():
    Here.simrm.command("record on=1")
    code = """
import threading
pids = [os.fork() for _ in range(2)]
def many():
    for _ in range(60):
        control(client, ID_INFO, bytes(32))
threads = [threading.Thread(target=many) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
if all(pids):
    [os.waitpid(pid, 0) for pid in pids]
"""
    done, lines, _ = traced(lambda options: caller(code, options=options))
    expect_equal(done.returncode, 0, f"exit status, with {done.stderr!r}")
    expect_equal(Counter(map(key_of, lines)), counted_by_simrm(), "calls")
    expect(len(lines) >= 4 * 240, f"{len(lines)} calls")
    expect(len({line["tid"] for line in lines}) >= 17, "threads are told apart")
    Here.simrm.command("record on=0")


def test_counts_are_those_of_a_library_in_the_program():
    """What tests/gpu/trace.sh does on a machine with a GPU."""
    code = """
[control(client, ID_INFO, bytes(32)) for _ in range(7)]
control(client, PROBED, bytes(384), envelope=True)
alloc(client, 0, 0xeeee, client)
escape(250, b"abcdefgh")
call(os.open(root + "/nvidia-uvm", os.O_RDWR), 0x30000001, bytes(16))
"""
    with tempfile.TemporaryDirectory() as directory:
        library, counted, trace = (f"{directory}/{name}" for name in ("count.so", "counted", "t"))
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library,
                        str(ROOT / "tests/gpu/count_calls.c")], check=True)
        done = mpu_run("env", f"LD_PRELOAD={library}", f"COUNT_CALLS={counted}", PYTHON, "-c",
                       CALLER, Here.simrm.directory, "rm", code,
                       options=[f"--trace={trace}", "--trace-format=json", "-c"])
        compared = subprocess.run([PYTHON, "-B", str(ROOT / "tests/gpu/trace_compare.py"), "counts",
                                   trace, counted], capture_output=True, text=True)
        expect_equal((done.returncode, compared.returncode), (0, 0),
                     f"{done.stderr!r} {compared.stdout!r} {compared.stderr!r}")
        expect("12 calls traced, 12 counted" in compared.stdout, compared.stdout)


def test_names_are_those_of_nvproxy():
    """tests/data/nvproxy.csv: what gVisor calls the calls that it knows."""
    with open(ROOT / "tests/data/nvproxy.csv", encoding="utf-8") as file:
        known = {(row["kind"], int(row["number"], 16)): row["name"] for row in csv.DictReader(file)}
    _, lines, _ = traced(run_gpu_ps)
    named = 0
    for line in lines:
        for kind, number in (("control", "cmd"), ("class", "hClass"), ("escape", "number")):
            if kind not in line:
                continue
            expect(line[kind], f"no name: {line}")
            name = known.get((kind, line[number]))
            # A number may have several names in the headers.
            if name and (kind, line[number]) != ("class", 0x41):
                named += 1
                expect_equal(line[kind].replace("_CTRL_CMD_", "_CTRL_"),
                             name.replace("_CTRL_CMD_", "_CTRL_"), f"name of {line[number]:#x}")
    expect(named >= 10, f"only {named} names could be compared")


def test_trace_changes_nothing_for_the_program():
    def look(options):
        with_times = mpu_run(*gpu_ps(), options=["--pid-ns", *options])
        return with_times.returncode, re.sub(r"\d{2}:\d{2}:\d{2}", "", with_times.stdout)
    native = look([])
    for options in (["--trace=/dev/null"], ["--trace=/dev/null", "--trace-format=json"], ["-c"],
                    ["--trace=/dev/null", "-e", "uvm=*"]):
        expect_equal(look(options), native, f"gpu-ps under {' '.join(options)}")


def test_handled_calls_have_status_time_and_what_they_changed():
    hold = start(Here.programs.gpu_hold, f"--dev-root={Here.simrm.directory}", "--memory=64",
                 "--name=trace-hold", options=[])
    try:
        hold.stdout.readline()
        _, lines, _ = traced(run_gpu_ps, "--policy=always", "-e",
                             "control=NV2080_CTRL_CMD_GPU_GET_PID*")
    finally:
        hold.terminate()
        hold.communicate()
    expect(lines, "no call")
    for line in lines:
        expect_equal((line["end"], line["status"], line["errno"]), ("answered", "NV_OK", 0),
                     f"end of {line['control']}")
        expect(0 < line["seconds"] < 5, f"time in the driver: {line['seconds']}")
    changed = [line["changed"]["params"]["pidTbl"] for line in lines
               if line["control"].endswith("_GET_PIDS") and line["changed"]]
    expect(changed and changed[0][0]["host"] == changed[0][0]["target"] > 1, f"pidTbl: {changed}")


def test_executed_controls_give_the_program_what_they_give_it_without():
    """Every status and every byte of the answer, and of each the status in the trace."""
    code = """
control(client, PROBED, bytes(384))
control(client, PROBED, bytes(12))
control(client, 0x2080018d, bytes(3812))
control(0xdead, PROBED, bytes(384))
control(client, PROBED, bytes(384), envelope=True)
control(client, ID_INFO, struct.pack("8I", 0x100, 0, 0, 0, 0, 0, 0, 0))
control(client, ID_INFO, struct.pack("8I", 0x999, 0, 0, 0, 0, 0, 0, 0))
control(client, 0x2080f159, b"xyz!")
control(client, ID_INFO, b"")
"""
    native = subprocess.run([PYTHON, "-c", CALLER, Here.simrm.directory, "rm", code],
                            capture_output=True, text=True, timeout=20)
    done, lines, table = traced(lambda options: caller(code, options=options), "--trace-execute",
                                "--policy=off", "-c")
    expect_equal(done.stdout, native.stdout, f"what the program got, with {done.stderr!r}")
    got = [line.split() for line in done.stdout.splitlines() if line.startswith("0x")]
    controls = [line for line in lines if "control" in line]
    answered = [line for line in controls if line["end"] == "answered"]
    # All but those of a wrong size, the one with PIDs, the unknown one.
    expect_equal([line["end"] == "answered" for line in controls],
                 [True, False, False, True, True, True, True, False, False], "answered")
    for words, line in zip(got, controls):
        if line in answered:
            expect_equal(line["status"] == "NV_OK", words[2] == "0", f"status of {line}")
            expect(line["seconds"] > 0, f"time of {line}")
    expect_equal(sum(row["executed"] for row in table["summary"]), len(answered), "in the table")


def test_execution_shows_the_status_of_most_controls_and_changes_no_answer():
    def look(options):
        done = mpu_run(*gpu_ps(), options=["--pid-ns", *options])
        return done.returncode, re.sub(r"\d{2}:\d{2}:\d{2}", "", done.stdout)
    expect_equal(look(["-c", "--trace-execute"]), look([]), "gpu-ps")
    _, lines, _ = traced(run_gpu_ps, "--pid-ns", "--trace-execute", "-e", "control=*")
    seen = sum(line["status"] is not None for line in lines)
    expect(seen >= len(lines) - 1, f"{seen} statuses of {len(lines)} controls")


def test_pids_are_told_as_target_and_host_see_them():
    script = (f"{Here.programs.gpu_hold} --dev-root={Here.simrm.directory} --seconds=3 & sleep 1; "
              f"{' '.join(gpu_ps())} >/dev/null; wait")
    _, lines, _ = traced(lambda options: mpu_run("sh", "-c", script, options=options), "--pid-ns",
                         "-e", "control=*GPU_GET_PID_INFO")
    expect(lines, "no call")
    held = lines[0]["argument"]["params"]["pidInfoList"][0]["pid"]
    expect(0 < held["target"] < 20 < held["host"], f"PIDs {held}")
    expect(0 < lines[0]["target_pid"] < 20 < lines[0]["pid"], f"caller {lines[0]}")


def test_a_status_that_was_read_is_the_one_that_the_program_got():
    code = """
control(client, PROBED, bytes(384))
control(client, PROBED, bytes(12))
control(client, 0x2080018d, bytes(3812))
control(0xdead, PROBED, bytes(384))
control(client, PROBED, bytes(384), envelope=True)
control(client, ID_INFO, struct.pack("8I", 0x100, 0, 0, 0, 0, 0, 0, 0))
control(client, PROBED, bytes(384))
"""
    done, lines, _ = traced(lambda options: caller(code, options=options), "--policy=off")
    got = [line.split() for line in done.stdout.splitlines() if line.startswith("0x")]
    controls = [line for line in lines if "control" in line]
    expect_equal([int(words[0], 16) for words in got], [line["cmd"] for line in controls], "calls")
    statuses = {"NV_OK": 0, "NV_ERR_INVALID_PARAM_STRUCT": 0x3a, "NV_ERR_INVALID_CLIENT": 0x23,
                "NV_ERR_INVALID_ARGUMENT": 0x1f, "NV_ERR_NOT_SUPPORTED": 0x56,
                "NV_ERR_INVALID_OBJECT_HANDLE": 0x33, "NV_ERR_OBJECT_NOT_FOUND": 0x57,
                "NV_ERR_INVALID_COMMAND": 0x22, "NV_ERR_INVALID_OBJECT": 0x31}
    # Behind the last the program may have ended before anybody looked.
    for words, line in list(zip(got, controls))[:-1]:
        expect_equal(line["end"], "read", f"end of {line}")
        expect_equal(statuses.get(line["status"]), int(words[2]), f"status {line['status']}")
        expect_equal(line["errno"], None, "errno, which nobody sees")
    expect(len({words[2] for words in got}) >= 3, f"statuses {got}")


def test_a_status_is_not_read_where_the_next_call_uses_the_same_memory():
    code = """
data = ctypes.create_string_buffer(32)
params = ctypes.create_string_buffer(384)
for _ in range(5):
    struct.pack_into("IIIIQII", data, 0, client, client, PROBED, 0, ctypes.addressof(params), 384, 0)
    libc.ioctl(ctl, 0xc020462a, ctypes.addressof(data))
"""
    _, lines, _ = traced(lambda options: caller(code, options=options), "-e", "control=*")
    expect_equal([line["end"] for line in lines[:4]], ["unseen"] * 4, "ends")
    expect_equal([line["status"] for line in lines[:4]], [None] * 4, "statuses")


def test_what_is_not_known_is_printed_raw_counted_and_listed():
    code = """
escape(250, b"abcdefgh")
[control(client, 0x2080f159, b"xyz!") for _ in range(3)]
control(client, 0x20807123, b"")
alloc(client, 0, 0xeeee, client)
"""
    done, lines, table = traced(lambda options: caller(code, options=options), "-c")
    raw = [line for line in lines if not line["known"]]
    expect_equal([(line.get("cmd") or line.get("hClass") or line["number"]) for line in raw],
                 [250, 0x2080f159, 0x2080f159, 0x2080f159, 0x20807123, 0xeeee], "unknown calls")
    expect_equal([line["legacy"] for line in raw], [False, True, True, True, False, False], "legacy")
    expect_equal(raw[0]["argument"], "0x6162636465666768", "bytes of the escape")
    expect_equal(raw[1]["argument"]["params"], "0x78797a21", "bytes of the params")
    unknown = {row["call"]: row["calls"] for row in table["summary"] if not row["known"]}
    expect_equal(unknown, {"escape 0xfa": 1, "control 0x2080f159": 3, "control 0x20807123": 1,
                           "NV_ESC_RM_ALLOC class 0xeeee": 1}, "unknown calls in the table")
    text = caller(code, options=["-c"]).stderr
    listed = text.partition("Not known to nvabi as calls of 580.95.05:\n")[2]
    expect_equal(Counter(dict((line.split(None, 1)[1], int(line.split()[0]))
                              for line in listed.splitlines())),
                 Counter({"escape 0xfa": 1, "control 0x2080f159 [legacy]": 3,
                          "control 0x20807123": 1, "NV_ESC_RM_ALLOC class 0xeeee": 1}),
                 f"list at the end of {text!r}")


def test_uvm_is_traced_and_other_drivers_calls_are_neither_printed_nor_changed():
    code = r"""
uvm = os.open(root + "/nvidia-uvm", os.O_RDWR)
plain = os.open("/etc/passwd", os.O_RDONLY)
results = [call(uvm, 0x30000001, struct.pack("QII", 5, 0, 0))[0],
           call(uvm, 0x25, bytes(40))[0], call(uvm, 0x7fe, bytes(8))[0]]
size = call(plain, 2, bytes(4))  # FIGETBSZ
results += [size[0], struct.unpack_from("I", size[1])[0] == os.fstatvfs(plain).f_bsize]
results += [call(plain, 0xc020462a, bytes(32))[0], call(plain, 0x30000001, bytes(16))[0],
            call(99, 0xc020462a, bytes(32))[0]]
print(results)
"""
    native = subprocess.run([PYTHON, "-c", CALLER, Here.simrm.directory, "uvm", code],
                            capture_output=True, text=True, timeout=20)
    done, lines, _ = traced(lambda options: caller(code, "uvm", options=options))
    expect_equal(done.stdout, native.stdout, f"results ({native.stderr} {done.stderr})")
    expect_equal([line["uvm"] for line in lines], ["UVM_INITIALIZE", "UVM_REGISTER_GPU", None],
                 "UVM calls")
    expect_equal(lines[0]["argument"], {"flags": 5}, "parameters")
    expect(all(line["device"].endswith("/nvidia-uvm") for line in lines), "device")


def test_only_what_was_asked_for_is_shown():
    def shown(*options):
        return traced(run_gpu_ps, *options)[1]
    everything = shown()
    pids = shown("-e", "control=NV2080_CTRL_CMD_GPU_GET_PID*")
    expect(pids and all("GET_PID" in line["control"] for line in pids), f"{len(pids)} controls")
    allocs = shown("--trace-only=class=NV01_*,0x2080")
    expect_equal({line["class"] for line in allocs},
                 {"NV01_ROOT_CLIENT", "NV01_DEVICE_0", "NV20_SUBDEVICE_0"}, "classes")
    rest = shown("-e", "control=!*", "-e", "escape=!NV_ESC_RM_CONTROL")
    expect(rest and not any("control" in line for line in rest), "controls are excepted")
    expect_equal(len(shown("-e", "escape=*")), len(everything), "all escapes")
    expect_equal(shown("-e", "uvm=*"), [], "no UVM")


def test_failed_calls_can_be_asked_for():
    Here.simrm.command("fail cmd=0x2080018d status=0x1b count=100")
    try:
        # gpu-ps may well fail itself.
        _, lines, _ = traced(lambda options: mpu_run(*gpu_ps(), options=options), "--pid-ns",
                             "-e", "status=NV_ERR_INSUFFICIENT_*")
        _, failed, _ = traced(lambda options: mpu_run(*gpu_ps(), options=options), "--pid-ns",
                              "-e", "status=failed", "-e", "control=*")
    finally:
        Here.simrm.command("clear")
    expect(lines and {line["control"] for line in lines} == {"NV2080_CTRL_CMD_GPU_GET_PIDS"},
           f"lines {lines}")
    expect(failed and all(line["status"] != "NV_OK" for line in failed), f"failed {failed}")


def test_a_call_in_which_the_program_hangs_is_shown():
    Here.simrm.command("block cmd=0x205")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "t")
        code = "control(client, ID_INFO, bytes(32))"
        running = start(PYTHON, "-c", CALLER, Here.simrm.directory, "rm", code,
                        options=[f"--trace={file}"])
        try:
            line = wait_until(lambda: [line for line in file.read_text().splitlines()
                                       if "<unfinished>" in line] if file.exists() else None,
                              "the line of the call that hangs", 15)
            expect("NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2" in line[0], line[0])
        finally:
            Here.simrm.command("clear")
            running.communicate(timeout=20)


def test_a_program_that_waits_has_its_last_line_printed():
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "t")
        code = "control(client, PROBED, bytes(384)); import time; time.sleep(6)"
        running = start(PYTHON, "-c", CALLER, Here.simrm.directory, "rm", code,
                        options=[f"--trace={file}"])
        try:
            wait_until(lambda: file.exists() and "GET_PROBED_IDS" in file.read_text(), "the line", 5)
            expect(running.poll() is None, "it has ended")
            expect("= ? NV_OK" in file.read_text().splitlines()[-1], file.read_text())
        finally:
            running.terminate()
            running.communicate(timeout=20)


def test_lines_are_as_strace_prints_them():
    done = mpu_run(*gpu_ps(), options=["--trace"])
    shape = re.compile(r"\d\d:\d\d:\d\d\.\d{6} \d+(/\d+)?(\(\d+\))? ioctl\(\d+<[^>]+>, [A-Z0-9_]+, .*\)"
                       r"( => \{.*\})?( \[(unknown, )?legacy\])? = "
                       r"(\?( NV_[A-Z_]+)?|0( NV_[A-Z_]+)? <\d+\.\d{6}>|-1 E[A-Z]+.*)")
    lines = [line for line in done.stderr.splitlines() if "ioctl(" in line]
    expect(len(lines) > 10, f"{len(lines)} lines")
    for line in lines:
        expect(shape.fullmatch(line), f"no line of a trace: {line}")


def on_terminal(options, **environment):
    """What mpu-run writes to a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [Here.programs.mpu_run, f"--dev-root={Here.simrm.directory}", *options, "--", *gpu_ps()],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **environment})
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    process.wait(timeout=20)
    os.close(master)
    return shown


def test_colours_only_on_a_terminal_and_not_with_no_color():
    expect(b"\033[36m" in on_terminal(["--trace"]), "no colours on a terminal")
    for case in (on_terminal(["--trace"], NO_COLOR="1"), on_terminal(["--trace"], TERM="dumb"),
                 on_terminal(["--trace", "--trace-format=json"]),
                 mpu_run(*gpu_ps(), options=["--trace"]).stderr.encode()):
        expect(b"ioctl(" in case or b'"escape"' in case, f"no trace: {case[:200]}")
        expect(b"\033" not in case, f"colours: {case[:200]}")


def expect_refused(options, *words):
    done = mpu_run("true", options=options)
    lines = done.stderr.splitlines()
    expect_equal((done.returncode, len(lines)), (125, 1), f"{options}: {done.stderr!r}")
    for word in words:
        expect(word in lines[0], f"{lines[0]!r} does not name {word!r}")


def test_options_that_make_no_sense_are_refused_with_the_cure():
    expect_refused(["--trace", "-e", "kontrol=x"], "kontrol=x", "control=")
    expect_refused(["--trace", "-e"], "-e")
    expect_refused(["-e", "control=x"], "--trace", "-c")
    expect_refused(["--trace-format=json"], "--trace", "-c")
    expect_refused(["--trace-execute"], "--trace-execute", "-c")
    expect_refused(["--trace", "--trace-format=xml"], "text", "json")
    expect_refused(["--trace", "--socket=/run/mpu/mpud.sock"], "--socket")
    expect_refused(["--trace=/no/such/directory/t"], "/no/such/directory/t", "No such file")


def test_an_ordinary_user_traces_too():
    for options in ([], ["--pid-ns"]):
        done = mpu_run(*gpu_ps(), options=["--trace", "-c", *options], user=UNPRIVILEGED,
                       group=UNPRIVILEGED, extra_groups=[])
        expect_equal(done.returncode, 0, f"gpu-ps, with {done.stderr!r}")
        expect("NV2080_CTRL_CMD_GPU_GET_PIDS" in done.stderr, f"{options}: {done.stderr[:300]!r}")


def test_processes_left_behind_are_traced_on():
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "t")
        later = f"(sleep 1; {' '.join(gpu_ps())}) >/dev/null 2>&1 &"
        done = mpu_run("sh", "-c", later, options=[f"--trace={file}"])
        expect_equal(done.returncode, 0, f"exit status, with {done.stderr!r}")
        wait_until(lambda: "NV2080_CTRL_CMD_GPU_GET_PIDS" in file.read_text(), "their calls", 10)


def calls_per_second(options):
    code = """
import time
began = time.monotonic()
data = struct.pack("8I", 0x100, 0, 0, 0, 0, 0, 0, 0)
params = ctypes.create_string_buffer(data, 32)
call = ctypes.create_string_buffer(32)
for _ in range(4000):
    struct.pack_into("IIIIQII", call, 0, client, client, ID_INFO, 0, ctypes.addressof(params), 32, 0)
    libc.ioctl(ctl, 0xc020462a, ctypes.addressof(call))
print("rate", 4000 / (time.monotonic() - began))
"""
    done = caller(code, options=options)
    return float(re.search(r"rate ([\d.]+)", done.stdout)[1])


def test_overhead_is_measured():
    """Printed, for docs/trace.md; only what is absurd fails."""
    with tempfile.TemporaryDirectory() as directory:
        rates = {}
        for name, options in (("no trace", []), ("-c", ["-c"]),
                              ("--trace", [f"--trace={directory}/t"]),
                              ("--trace -e uvm=*", [f"--trace={directory}/t", "-e", "uvm=*"]),
                              ("--trace --trace-execute", [f"--trace={directory}/t",
                                                           "--trace-execute"]),
                              ("--trace, JSON", [f"--trace={directory}/t", "--trace-format=json"])):
            rates[name] = max(calls_per_second(options) for _ in range(3))
            print(f"overhead: {name}: {rates[name]:.0f} calls/s, "
                  f"{1e6 / rates[name] - 1e6 / rates['no trace']:+.0f} us a call")
    expect(rates["--trace"] > 100, f"{rates}")


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
