"""Driver calls that an administrator's file allows, against the simulated driver:
allow.py BUILD-DIRECTORY [NAME]

tour.c makes them (part "added"). They are refused without the file, and with it they answer as they
do natively: what their pointers lead to arrives, and comes back.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import confine
import results
from confine import NATIVELY, RELEASE, RELEASES, command, descendants, expect_same, run, settle
from confined import count_of, expect_no_breach, set_alarm
from results import expect, expect_equal
from world import Programs, Simrm, wait_until

ROWS = """\
# What no capability has.
control NV0080_CTRL_CMD_HOST_GET_CAPS             compute  execute  caps of the host interface
control NV2080_CTRL_CMD_CE_GET_CAPS               compute  execute  caps of a copy engine
control NV2080_CTRL_CMD_GPU_GET_ENGINE_CLASSLIST  compute  execute  classes of an engine
control NV0000_CTRL_CMD_NVD_GET_RCERR_RPT         compute  execute  carries PIDs
class   NV_EVENT_BUFFER                           compute  execute  traces
uvm     UVM_CLEAN_UP_ZOMBIE_RESOURCES             compute  continue what channels left
# What is behind their pointers.
NV0080_CTRL_HOST_GET_CAPS_PARAMS             capsTbl    out    capsTblSize   embedded_param_copy.c
NV2080_CTRL_CE_GET_CAPS_PARAMS               capsTbl    out    capsTblSize   embedded_param_copy.c
NV2080_CTRL_GPU_GET_ENGINE_CLASSLIST_PARAMS  classList  inout  numClasses*4  embedded_param_copy.c
NV_EVENT_BUFFER_ALLOC_PARAMETERS  bufferHeader   null  -  the_kernels_clients_only
NV_EVENT_BUFFER_ALLOC_PARAMETERS  recordBuffer   null  -  the_kernels_clients_only
NV_EVENT_BUFFER_ALLOC_PARAMETERS  vardataBuffer  null  -  the_kernels_clients_only
"""
# Who may make them then.
ARRIVALS = """\
allow from=proxy kind=control number=0x801401
allow from=proxy kind=control number=0x20802a01
allow from=proxy kind=control number=0x20800124
allow from=proxy kind=class number=0x90cd
allow from=target kind=uvm number=0x45
allow from=host kind=control number=0x607
"""
# What graphics and video have, for compute.
WIDER = """\
class   NV01_MEMORY_VIRTUAL           compute  execute  a range of GPU addresses
escape  NV_ESC_RM_MAP_MEMORY_DMA      compute  execute  memory into a GPU address space
escape  NV_ESC_RM_UNMAP_MEMORY_DMA    compute  execute  memory out of a GPU address space
"""
BOTH = "compute,utility"

programs = None
build = None


@contextmanager
def written(text, mode=0o644):
    """The path of a file of TEXT."""
    with tempfile.TemporaryDirectory(prefix="mpu-allow-") as directory:
        os.chmod(directory, 0o755)
        path = Path(directory, "allow")
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        yield path


def tour(simrm, *parts, words=BOTH, allow=None, options=()):
    allowed = [f"--allow={allow}"] if allow else []
    return run(command(simrm, words, *allowed, *options), simrm, *parts)


def watch(simrm, release):
    set_alarm(simrm, release)
    simrm.command(ARRIVALS.strip())


def answered(lines):
    return [line for line in lines if "status 0x0" in line or line.endswith("ok")]


def test_calls_that_no_capability_has_answer_as_natively_with_the_file():
    for release in RELEASES:
        with Simrm(programs, release) as simrm, written(ROWS) as path:
            native, _ = run(NATIVELY, simrm, "added")
            settle(simrm)
            without, said = tour(simrm, "added")
            settle(simrm)
            expect_equal(len(without), len(native), "lines")
            same = [line for line, other in zip(native, without) if line == other]
            expect(not same, f"{release}: not refused: {same}")
            for name in ("NV0080_CTRL_CMD_HOST_GET_CAPS", "NV_EVENT_BUFFER",
                         "UVM_CLEAN_UP_ZOMBIE_RESOURCES"):
                expect(f"name={name} needs=?" in said, f"{name} is not said: {said[-800:]}")
            watch(simrm, release)
            ours, said = tour(simrm, "added", allow=path)
            settle(simrm)
            expect_same(native, ours)
            expect_equal(said.count("refused"), 1, f"refusals in {said}")
            expect("with a pointer: 0x22" in said, f"not only NULL is taken for null: {said}")
            seen = expect_no_breach(simrm)
            expect(count_of(seen, kind="control", number="0x00801401") >= 6, f"arrivals: {seen}")


def test_calls_of_another_capability_answer_as_natively_with_the_file():
    with Simrm(programs, RELEASE) as simrm, written(WIDER) as path:
        native, _ = run(NATIVELY, simrm, "memory")
        settle(simrm)
        without, _ = tour(simrm, "memory")
        settle(simrm)
        expect(native != without, "nothing is refused without the file")
        set_alarm(simrm, RELEASE)
        ours, said = tour(simrm, "memory", allow=path)
        settle(simrm)
        expect_same(native, ours)
        expect("refused" not in said, said)
        expect_no_breach(simrm)


def test_rows_are_for_their_capabilities_alone():
    with Simrm(programs, RELEASE) as simrm, \
            written(ROWS.replace(" compute ", " video ")) as path:
        without, _ = tour(simrm, "added")
        settle(simrm)
        ours, said = tour(simrm, "added", allow=path)
        expect_same(without, ours)
        expect("name=NV_EVENT_BUFFER needs=video" in said, said[-800:])


def test_what_is_allowed_besides_holds_under_strict():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path:
        native, _ = run(NATIVELY, simrm, "added")
        settle(simrm)
        ours, _ = tour(simrm, "added", words=f"{BOTH},strict", allow=path)
        expect_same(native, ours)


def error_report_of(simrm, way):
    """Whose error report it gets, where the driver has one of its process."""
    box = subprocess.Popen([*way, "sh", "-c", 'read go; exec "$@"', "sh", programs.tour,
                            simrm.directory, "added"], stdin=subprocess.PIPE, text=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    pid = wait_until(lambda: descendants(box.pid, "sh"), "the program", 20)[0]
    simrm.command(f"xid pid={pid}")
    _, said = box.communicate("go\n", timeout=60)
    expect_equal(box.returncode, 0, f"exit status with {said}")
    settle(simrm)
    return said.partition("the error report ")[2].splitlines()[0]


def test_calls_with_pids_stay_mpus():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path:
        expect_equal(error_report_of(simrm, NATIVELY), "(0) is of somebody else", "natively")
        watch(simrm, RELEASE)
        whose = error_report_of(simrm, command(simrm, BOTH, f"--allow={path}"))
        expect("somebody else" not in whose, whose)
        seen = expect_no_breach(simrm)
        expect_equal(count_of(seen, kind="control", number="0x00000607", **{"from": "proxy"}), 0,
                     "questions of proxies")


def test_log_says_nothing_of_what_the_file_allows():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path:
        _, said = tour(simrm, "added", words=f"{BOTH},log", allow=path)
        lines = [line for line in said.splitlines() if "would be refused" in line]
        expect(len(lines) == 1 and "NV_EVENT_BUFFER" in lines[0], f"but of a pointer: {said[-800:]}")


# ---- From what was seen to a file ----

def rows_from(*arguments, **more):
    """What policy-from-trace prints, completed by what an administrator knows of the pointers."""
    done = subprocess.run([Programs.find("mpuctl", Path(build)), "abi", "policy-from-trace",
                           "--capabilities=compute,utility", *arguments], capture_output=True,
                          text=True, timeout=60, check=False, **more)
    expect(not done.returncode, done.stderr)
    text = re.sub(r"# to be said: (\S+ \S+) USE LENGTH SOURCE", r"\1 null - source", done.stdout)
    return re.sub(r"# to be said: (\S+ \S+) USE (\S+) SOURCE", r"\1 inout \2 source", text)


def expect_enough(simrm, native, rows, *parts):
    with written(rows) as path:
        ours, said = tour(simrm, *parts, allow=path)
        settle(simrm)
    expect_same(native, ours)
    expect("name=NV0080" not in said, said)


def test_what_a_log_says_makes_a_file_that_is_enough():
    with Simrm(programs, RELEASE) as simrm:
        native, _ = run(NATIVELY, simrm, "added", "memory")
        settle(simrm)
        _, said = tour(simrm, "added", "memory", words=f"{BOTH},log")
        settle(simrm)
        rows = rows_from(f"--driver-version={RELEASE}", "-", input=said)
        expect("# besides graphics,video:" in rows, rows)
        expect_enough(simrm, native, rows, "added", "memory")


def test_a_trace_makes_a_file_that_is_enough():
    with Simrm(programs, RELEASE) as simrm, tempfile.TemporaryDirectory() as directory:
        native, _ = run(NATIVELY, simrm, "added", "memory")
        settle(simrm)
        run([programs.mpu_run, "--pid-ns", f"--dev-root={simrm.directory}",
             f"--trace={directory}/trace", "--trace-format=json", "-c", "--"], simrm, "added", "memory")
        settle(simrm)
        expect_enough(simrm, native, rows_from(f"{directory}/trace"), "added", "memory")


# ---- mpud ----

class Mpud:
    """One that is started in SURROUNDINGS. Its log is kept."""

    def __init__(self, simrm, name, *options, surroundings=()):
        self.socket = f"{simrm.directory}.{name}.sock"
        self.path = f"{simrm.directory}.{name}.log"
        self.log = open(self.path, "a+", encoding="utf-8")
        self.process = subprocess.Popen(
            [*surroundings, Programs.find("mpud", Path(build)), f"--socket={self.socket}",
             f"--dev-root={simrm.directory}", *options], stderr=self.log,
            stdin=subprocess.DEVNULL)
        before = self.output().count('msg="ready"')
        wait_until(lambda: self.output().count('msg="ready"') > before
                   or self.process.poll() is not None, "mpud to be ready or to end", 30)

    def output(self):
        return Path(self.path).read_text(encoding="utf-8", errors="replace")

    def ended(self):
        return self.process.wait(timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.ended()
        self.log.close()


def tour_at(mpud, simrm, *parts):
    lines, said = run([programs.mpu_run, "--pid-ns", f"--confine={BOTH}",
                       f"--socket={mpud.socket}", "--"], simrm, *parts)
    settle(simrm)
    return lines, said


def test_mpud_allows_what_its_file_says_and_nobody_elses():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path, \
            Mpud(simrm, "plain") as plain, Mpud(simrm, "more", f"--allow={path}") as more:
        expect(f"file={path} rows=6" in more.output(), more.output())
        native, _ = run(NATIVELY, simrm, "added")
        settle(simrm)
        ours, _ = tour_at(plain, simrm, "added")
        expect(not any(line in native for line in ours), f"the file of another mpud counts: {ours}")
        watch(simrm, RELEASE)
        ours, _ = tour_at(more, simrm, "added")
        expect_same(native, ours)
        expect_no_breach(simrm)


def test_workers_that_follow_allow_the_same():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path, \
            Mpud(simrm, "more", f"--allow={path}") as mpud:
        native, _ = run(NATIVELY, simrm, "added")
        settle(simrm)
        path.write_text("what is written later counts for the next mpud\n", encoding="utf-8")
        children = Path(f"/proc/{mpud.process.pid}/task/{mpud.process.pid}/children")
        worker = next(pid for pid in map(int, children.read_text().split())
                      if Path(f"/proc/{pid}/comm").read_text() == "mpud-worker\n")
        os.kill(worker, signal.SIGKILL)
        ours, _ = tour_at(mpud, simrm, "added")
        expect_same(native, ours)


def test_mpud_does_not_start_with_a_bad_file_and_the_one_that_runs_goes_on():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path, \
            Mpud(simrm, "more", f"--allow={path}") as mpud:
        native, _ = run(NATIVELY, simrm, "added")
        settle(simrm)
        with written(ROWS + "control NV2080_CTRL_CMD_I2C_ACCESS compute execute x\n") as bad:
            with Mpud(simrm, "bad", f"--allow={bad}") as second:
                expect_equal(second.ended(), 1, "its exit status")
                expect(f"{bad}:15: in " in second.output() and
                       "of which nothing is said" in second.output(), second.output())
            with Mpud(simrm, "more", f"--allow={bad}", "--replace") as successor:
                expect_equal(successor.ended(), 1, "its exit status")
        expect(mpud.process.poll() is None, "the mpud that ran has ended")
        ours, _ = tour_at(mpud, simrm, "added")
        expect_same(native, ours)


def test_a_successor_allows_what_its_own_file_says():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path, \
            Mpud(simrm, "more") as mpud:
        native, _ = run(NATIVELY, simrm, "added")
        settle(simrm)
        with Mpud(simrm, "more", f"--allow={path}", "--replace") as successor:
            mpud.ended()
            ours, _ = tour_at(successor, simrm, "added")
            expect_same(native, ours)


def refusals(simrm, *options):
    with Mpud(simrm, "refused", *options) as mpud:
        expect_equal(mpud.ended(), 1, "its exit status")
        return mpud.output()


def test_a_file_that_others_could_have_written_is_refused():
    with Simrm(programs, RELEASE) as simrm:
        with written(ROWS, 0o664) as path:
            expect("chmod go-w" in refusals(simrm, f"--allow={path}"), "nothing is said of it")
        with written(ROWS) as path:
            os.chown(path, 1000, 1000)
            expect("belongs to user 1000" in refusals(simrm, f"--allow={path}"),
                   "nothing is said of its owner")
        expect("/nowhere: No such file" in refusals(simrm, "--allow=/nowhere"),
               "nothing is said of a file that is not there")


# /etc is another one there.
ELSEWHERE = ["unshare", "--mount", "--propagation=private", "sh", "-c",
             'mount --bind "$0" /etc && exec "$@"']


def test_mpud_reads_the_file_in_etc_where_there_is_one():
    with Simrm(programs, RELEASE) as simrm, tempfile.TemporaryDirectory() as directory:
        etc = Path(directory, "etc")
        shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
        shutil.rmtree(etc / "mpu", ignore_errors=True)
        surroundings = [*ELSEWHERE, etc]
        with Mpud(simrm, "none", surroundings=surroundings) as mpud:
            expect("are allowed besides" not in mpud.output(), mpud.output())
        (etc / "mpu").mkdir()
        (etc / "mpu/allow").write_text(ROWS, encoding="utf-8")
        (etc / "mpu/allow").chmod(0o644)
        with Mpud(simrm, "usual", surroundings=surroundings) as mpud:
            expect("file=/etc/mpu/allow rows=6" in mpud.output(), mpud.output())
            native, _ = run(NATIVELY, simrm, "added")
            settle(simrm)
            ours, _ = tour_at(mpud, simrm, "added")
            expect_same(native, ours)
        (etc / "mpu/allow").write_text("nothing\n", encoding="utf-8")
        with Mpud(simrm, "bad", surroundings=surroundings) as mpud:
            expect_equal(mpud.ended(), 1, "its exit status")
            expect("/etc/mpu/allow:1: 'nothing' is no kind of call" in mpud.output(),
                   mpud.output())
        with written(ROWS) as path, \
                Mpud(simrm, "other", f"--allow={path}", surroundings=surroundings) as mpud:
            expect(f"file={path} rows=6" in mpud.output(), mpud.output())


# ---- mpu-run ----

def expect_not_run(simrm, *options, words):
    done = subprocess.run([programs.mpu_run, f"--dev-root={simrm.directory}", *options, "--",
                           "echo", "it ran"], capture_output=True, text=True, timeout=60,
                          check=False, stdin=subprocess.DEVNULL)
    expect_equal((done.returncode, done.stdout), (125, ""), f"mpu-run {options}")
    expect(words in done.stderr, f"'{words}' is not in '{done.stderr}'")


def test_mpu_run_does_not_start_with_a_bad_file():
    with Simrm(programs, RELEASE) as simrm:
        with written(ROWS + "\nescape NV_ESC_RM_I2C_ACCESS compute execute x\n") as bad:
            expect_not_run(simrm, f"--confine={BOTH}", f"--allow={bad}",
                           words=f"{bad}:16: escape NV_ESC_RM_I2C_ACCESS")
        with written(ROWS, 0o666) as bad:
            expect_not_run(simrm, f"--confine={BOTH}", f"--allow={bad}", words="chmod go-w")
        expect_not_run(simrm, f"--confine={BOTH}", "--allow=/nowhere", words="/nowhere: No such")


def test_mpu_run_takes_no_file_that_would_not_count():
    with Simrm(programs, RELEASE) as simrm, written(ROWS) as path:
        expect_not_run(simrm, f"--allow={path}", words="give --confine too")
        expect_not_run(simrm, f"--confine={BOTH}", f"--allow={path}", "--socket=/nowhere",
                       words="of no use with --socket")


def main():
    global programs, build
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    build = sys.argv[1]
    programs = confine.programs = Programs(build)
    try:
        return results.run_cases(sys.modules[__name__], *sys.argv[2:3])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
