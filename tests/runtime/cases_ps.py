"""mpuctl ps: the driver's own truth, by container."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager

import cases_oci
from cases_oci import ENABLED, unique
from containers import MIB, User, expect, expect_equal, run
from world import Simrm, die_with_parent

TITLE = "mpuctl ps"
NEEDS = ["runc"]
POD = {"io.kubernetes.cri.container-name": "trainer", "io.kubernetes.cri.sandbox-name": "job-0",
       "io.kubernetes.cri.sandbox-namespace": "science"}
# One of each family: whose numbers, of processes or of threads.
RELEASES = ["440.100", "460.32.03", "515.65.01", "535.104.05", "535.161.07", "550.54.14",
            "565.57.01", "570.124.06", "575.51.02", "575.57.08", "580.142", "590.48.01"]
world = None


def start():
    pass


def stop():
    pass


def ps(*options, gpu=None, socket=None, check=True):
    return run([world.mpuctl, "ps", f"--dev-root={gpu or world.gpu}",
                f"--socket={socket or world.mpud_process.socket}", *options], check=check)


def ask(**kwargs):
    return json.loads(ps("--json", **kwargs).stdout)


def hold(argv):
    """A process that holds GPU memory and says so."""
    process = subprocess.Popen([str(one) for one in argv], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    expect(process.stdout.readline().startswith("ready"), f"{argv[0]} holds nothing")
    return process


def end(process):
    process.terminate()
    process.wait(timeout=20)
    process.stdout.close()


@contextmanager
def container(served, name, memory):
    """A container of runc with an id as engines make them, which holds MEMORY MiB as NAME."""
    identity = os.urandom(32).hex()
    bundle = world.bundle(unique("bundle"), ["gpu-hold", "--dev-root=/gpu", f"--name={name}",
                                             f"--memory={memory}", "--util=gr:40,fb:7"],
                          {**POD, **(ENABLED if served else {})})
    if served:
        cases_oci.patch(bundle, "runc")
    process = hold(["runc", "run", "--bundle", bundle, identity])
    try:
        yield identity
    finally:
        run(["runc", "kill", identity, "KILL"])
        process.wait(timeout=20)
        process.stdout.close()
        run(["runc", "delete", "--force", identity], check=False)


def truth(state, gpu=0):
    """{pid: (name, bytes)} of who has memory on the GPU, by the simulated driver's own state."""
    found = {}
    for client in state["clients"]:
        size = sum(one["size"] for one in client["memory"] if one["gpu"] == gpu) \
            if isinstance(client["memory"], list) else client["memory"]
        if size:
            name, before = found.get(client["tgid"], (client["name"], 0))
            found[client["tgid"]] = (name, before + size)
    return found


def processes(answer, gpu=0):
    return {one["pid"]: one for one in answer["gpus"][gpu]["processes"]}


def expect_truth(answer, simrm):
    told = {pid: (one["name"], one["memory"]) for pid, one in processes(answer).items()}
    expect_equal(told, truth(simrm.state()), "names and memory by PID")


def test_two_containers_and_the_host_are_told_apart_with_the_drivers_own_truth():
    with container(True, "served", 100) as served, container(False, "bare", 50) as bare:
        answer = ask()
        expect_truth(answer, world.simrm_process)
        found = {one["name"]: one for one in processes(answer).values()}
        expect_equal(sorted(found), ["bare", "gpu-hold", "served"], "processes")
        expect_equal(found["gpu-hold"]["pid"], world.host.pid, "the host's process")
        expect_equal(found["gpu-hold"]["container"], None, "its container")
        one = found["served"]["container"]
        expect_equal((one["id"], one["served"], one["pid"]), (served, True, 1), "served")
        expect_equal((one["name"], one["pod"], one["namespace"]), ("trainer", "job-0", "science"),
                     "as its annotations name it")
        one = found["bare"]["container"]
        expect_equal((one["id"], one["engine"], one["served"], one["pid"]),
                     (bare, "oci", False, 1), "not served, by its cgroup")
        expect_equal(found["served"]["memory"], 100 * MIB, "memory")
        expect_equal(found["served"]["types"], ["compute"], "types")
        for name in ("served", "bare"):
            use = found[name]["utilisation"]
            expect_equal((use["gr"], use["fb"], use["nvenc"]), (40.0, 7.0, 0.0), "utilisation")
        expect_equal(found["gpu-hold"]["utilisation"]["gr"], 30.0, "utilisation of the host's")
        expect_equal(answer["notes"], [], "notes")
        text = ps().stdout
        print(text)
        for wanted in (rf"{found['served']['pid']} +1 C +100 +40 +7 served +trainer \(science/job-0",
                       rf"{found['bare']['pid']} +1 C +50 +40 +7 bare +\*{bare[:12]}",
                       rf"{world.host.pid} +- C +64 +30 +0 gpu-hold +-$", "not served"):
            expect(re.search(wanted, text, re.M), f"{wanted} in {text}")


def test_without_mpud_containers_are_told_by_their_cgroup_and_it_says_so():
    with container(True, "served", 100) as served:
        answer = ask(socket="/nowhere/mpud.sock")
        expect_truth(answer, world.simrm_process)
        one, = [one["container"] for one in processes(answer).values() if one["container"]]
        expect_equal((one["id"], one["served"], answer["mpud"]), (served, False, None), "container")
        expect("no mpud runs at /nowhere" in answer["notes"][0] and "systemctl start mpud" in
               answer["notes"][0], answer["notes"])
        expect("alone: no mpud runs" in ps(socket="/nowhere/mpud.sock").stdout.replace("\n", " "),
               "the note in the table")


def test_an_ordinary_user_is_told_the_same_processes():
    user = User(f"mpu-ps-{os.getpid()}")
    try:
        with container(False, "bare", 50) as bare:
            done = run(user.command([world.mpuctl, "ps", "--json", f"--dev-root={world.gpu}",
                                     f"--socket={world.mpud_process.socket}"]))
            answer = json.loads(done.stdout)
            expect(any("only root" in note for note in answer["notes"]), answer["notes"])
            expect(any("lists threads" in note for note in answer["notes"]), answer["notes"])
            for one in processes(answer).values():
                expect(one["container"] is None or one["container"]["id"] == bare, one)
    finally:
        user.remove()


@contextmanager
def on_release(version):
    with Simrm(world, version) as simrm:
        yield simrm


def test_every_family_of_releases_is_folded_to_processes():
    for version in RELEASES:
        with on_release(version) as simrm:
            device = f"--dev-root={simrm.directory}"
            held = [hold([world.gpu_hold, device, "--memory=60", "--clients=3", "--threads=4"]),
                    hold([world.gpu_hold, device, "--memory=30", "--name=draws",
                          "--class=graphics"]),
                    hold([world.mpu_run, "--pid-ns", device, "--", world.gpu_hold, device,
                          "--name=inside", "--memory=20", "--clients=2"])]
            try:
                answer = ask(gpu=simrm.directory, socket="/nowhere/mpud.sock")
                expect_equal(answer["driver"], version, "driver")
                expect_truth(answer, simrm)
                found = {one["name"]: one for one in processes(answer).values()}
                expect_equal((found["inside"]["container"]["pid"], found["draws"]["types"]),
                             (2, ["graphics"]), f"{version}: {found}")
                expect_equal(found["inside"]["container"]["engine"], "namespace", version)
            finally:
                for one in held:
                    end(one)


def test_json_has_every_member_always():
    with container(True, "served", 100):
        for answer in (ask(), ask(socket="/nowhere/mpud.sock")):
            expect_equal(list(answer), ["driver", "mpud", "gpus", "notes"], "members")
            for gpu in answer["gpus"]:
                expect_equal(list(gpu), ["index", "pci", "name", "uuid", "error", "processes"],
                             "of a GPU")
                for one in gpu["processes"]:
                    expect_equal(list(one), ["pid", "name", "types", "memory", "utilisation",
                                             "container"], "of a process")
                    expect_equal(list(one["utilisation"]), ["fb", "gr", "nvenc", "nvdec", "nvjpg",
                                                            "nvofa"], "of utilisation")
                    if one["container"]:
                        expect_equal(list(one["container"]), ["id", "name", "pod", "namespace",
                                                              "engine", "served", "pid"],
                                     "of a container")


def test_a_gpu_that_cannot_be_asked_says_why():
    try:
        world.simrm_process.command("fail cmd=0x2080018d status=0x1b")
        answer = ask()
        expect_equal(answer["gpus"][0]["processes"], [], "processes")
        expect("0x2080018d" in answer["gpus"][0]["error"] and "0x1b" in answer["gpus"][0]["error"],
               answer)
        world.simrm_process.command("clear")
        world.simrm_process.command("fail cmd=0x2b errno=5 count=1")
        done = ps(check=False)
        expect_equal(done.returncode, 1, "status without a client")
        expect("cannot become a client" in done.stderr, done.stderr)
    finally:
        world.simrm_process.command("clear")


def test_bad_input_is_refused_with_its_cure():
    for options, words in [(["--watch=0"], "1 to 3600"), (["--watch=x"], "1 to 3600"),
                           (["--watch=3601"], "1 to 3600"), (["--watch=1", "--json"], "take one"),
                           (["more"], "takes no argument more"), (["--nonsense"], "nonsense")]:
        done = ps(*options, check=False)
        expect_equal(done.returncode, 2, f"{options}: {done.stderr}")
        expect(words in done.stderr, f"{options}: {done.stderr}")
    done = ps("--watch", check=False)
    expect(done.returncode == 1 and "standard output is none" in done.stderr, done.stderr)
    done = ps(gpu="/nowhere", check=False)
    expect(done.returncode == 1 and "/nowhere/nvidiactl" in done.stderr, done.stderr)
    done = run(["unshare", "--fork", "--pid", "--mount-proc", world.mpuctl, "ps",
                f"--dev-root={world.gpu}"], check=False)
    expect(done.returncode == 1 and "--pid=host" in done.stderr, done.stderr)


class Terminal:
    """mpuctl ps --watch on a terminal."""

    def __init__(self, columns, rows=24, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [world.mpuctl, "ps", "--watch=1", f"--dev-root={world.gpu}",
             f"--socket={world.mpud_process.socket}"], stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment},
            preexec_fn=die_with_parent)
        self.output = ""

    def wait_for(self, word, count=1):
        deadline = time.monotonic() + 20
        while self.output.count(word) < count:
            expect(time.monotonic() < deadline, f"no {word!r} in {self.output!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                self.output += os.read(self.master, 65536).decode()

    def lines(self):
        plain = re.sub(r"\033\[[?0-9;]*[a-zA-Z]", "", self.output)
        return [line.rstrip("\r") for line in plain.splitlines()]

    def finish(self):
        status = self.process.wait(timeout=20)
        while select.select([self.master], [], [], 0.2)[0]:
            self.output += os.read(self.master, 65536).decode()
        after = termios.tcgetattr(self.slave)
        os.close(self.slave)
        os.close(self.master)
        expect_equal(after, self.before, "the terminal's settings afterwards")
        expect(self.output.endswith("\033[?25h\033[?1049l"), repr(self.output[-40:]))
        return status


def test_watch_draws_again_and_gives_the_terminal_back():
    for number in (signal.SIGINT, signal.SIGTERM):
        terminal = Terminal(80)
        terminal.wait_for("gpu-hold", 2)
        expect("\033[?1049h" in terminal.output and "\033[1m" in terminal.output, "drawing")
        expect(max(map(len, terminal.lines())) <= 80, terminal.lines())
        terminal.process.send_signal(number)
        expect_equal(terminal.finish(), 0, "status")
    terminal = Terminal(160, NO_COLOR="1")
    terminal.wait_for("gpu-hold")
    expect("ENC%" in terminal.output and "\033[1m" not in terminal.output, "wide, NO_COLOR")
    os.write(terminal.master, b"q")
    expect_equal(terminal.finish(), 0, "status after q")


def test_a_low_terminal_is_never_scrolled():
    terminal = Terminal(80, rows=3)
    terminal.wait_for("\033[H", 2)
    frame = terminal.output.split("\033[H")[1]
    expect(frame.count("\n") <= 2, frame)
    terminal.process.send_signal(signal.SIGINT)
    terminal.finish()


def test_the_table_fits_80_columns_and_uses_more():
    with container(True, "a-name-of-15-by", 100), container(False, "bare", 50):
        for columns, wide in ((None, False), ("60", False), ("80", False), ("200", True)):
            env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
            text = run([world.mpuctl, "ps", f"--dev-root={world.gpu}",
                        f"--socket={world.mpud_process.socket}"],
                       env={**env, **({"COLUMNS": columns} if columns else {})}).stdout
            longest = max(map(len, text.splitlines()))
            expect(longest <= max(int(columns or 80), 80), f"{columns}: {longest}")
            expect_equal("ENC%" in text, wide, f"more engines on {columns}")
            expect("\033" not in text, "colours without a terminal")
