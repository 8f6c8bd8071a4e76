"""Confined containers against the simulated driver: confine.py BUILD-DIRECTORY [NAME]

tour.c makes the calls. What is allowed answers as it does natively, what is not as a call that the
driver does not have; the driver's alarm tells what else has reached it.
"""
import difflib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import results
from confined import count_of, expect_no_breach, nurseries, proxies, set_alarm
from results import expect, expect_equal
from truth import numbers_of
from world import Programs, Simrm, wait_until

RELEASE = "580.95.05"
# Sizes and statuses differ: a release of each kind.
RELEASES = ["535.183.01", "550.54.14", "570.86.15", "580.95.05", "595.45.04"]
NATIVELY = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
UNPRIVILEGED = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--bounding-set=-all",
                "--inh-caps=-all"]
EVERYTHING = "compute,utility,graphics,video"
ALLOWED = ["memory", "objects", "lists", "files", "uvm", "requests", "pinned"]

programs = None


def command(simrm, words, *options):
    return [programs.mpu_run, "--pid-ns", f"--dev-root={simrm.directory}", f"--confine={words}",
            *options, "--"]


def run(way, simrm, *parts, timeout=120, **more):
    """The lines of tour, made under WAY, and what was said beside."""
    more.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([*way, programs.tour, simrm.directory, *parts], capture_output=True,
                          text=True, timeout=timeout, **more)
    expect(not done.returncode,
           f"tour {' '.join(parts)} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    for sign in ("AddressSanitizer", "runtime error", "ThreadSanitizer"):
        expect(sign not in done.stderr, done.stderr)
    return done.stdout.splitlines(), done.stderr


def expect_same(native, ours):
    different = [line for line in difflib.unified_diff(native, ours, "", "", "", "", 0)
                 if not line.startswith(("---", "+++", "@@"))]
    expect(not different, f"{len(different)} lines differ: {'; '.join(different[:8])}")
    expect(len(native) >= 2, f"only {native}")


def settle(simrm, seconds=10):
    """Waits until no file and no client is left."""
    def is_clean():
        state = simrm.state()
        return state["opens"] == state["releases"] and not state["clients"]
    wait_until(is_clean, "the last close of all files", seconds)
    return simrm.state()


def compare(release, who, *parts):
    with Simrm(programs, release) as simrm:
        native, _ = run([*NATIVELY, *who], simrm, *parts)
        settle(simrm)
        set_alarm(simrm, release)
        ours, _ = run([*command(simrm, EVERYTHING), *who], simrm, *parts)
        settle(simrm)
        seen = expect_no_breach(simrm)
        expect(count_of(seen, **{"from": "proxy"}) >= 5, "hardly anything came from proxies")
    expect_same(native, ours)


def allowed_calls(release):
    for who in ([], UNPRIVILEGED):
        for part in ALLOWED:
            try:
                compare(release, who, part)
            except AssertionError as error:
                raise AssertionError(f"{part}{' as a user' if who else ''}: {error}") from None


for number in RELEASES:
    globals()[f"test_{number}: what is allowed answers as natively"] = \
        lambda release=number: allowed_calls(release)


def test_what_is_refused_answers_as_a_call_that_the_driver_does_not_have():
    for release in RELEASES:
        with Simrm(programs, release) as simrm:
            native, _ = run(NATIVELY, simrm, "refused")
            expect(any("NOT AS" in line for line in native), "natively nothing is different")
            settle(simrm)
            set_alarm(simrm, release)
            ours, _ = run(command(simrm, EVERYTHING), simrm, "refused")
            expect_no_breach(simrm)
            known = [line for line in ours if "NOT AS" in line]
            expect(not known, f"{release}: {known[:8]}")
            expect_equal(len(ours), len(native), "answers")


# The errno of a number that nvidia-uvm does not have, and of one that confined containers have not.
ASK_UVM = """
import errno, fcntl, os, sys
fd = os.open(sys.argv[1] + "/nvidia-uvm", os.O_RDWR)
for number in (200, 62):
    try:
        fcntl.ioctl(fd, number, bytearray(4096))
        print(0)
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_a_refused_call_of_uvm_has_the_errno_of_its_release():
    """FUSE makes ENOTTY of the simulated driver's ENOSYS; a refused call never gets there."""
    for release, wanted in (("535.288.01", "EINVAL"), ("565.77", "EINVAL"), ("570.86.15", "ENOSYS"),
                            ("570.123.01", "ENOSYS"), ("595.45.04", "ENOSYS")):
        with Simrm(programs, release) as simrm:
            done = subprocess.run([*command(simrm, EVERYTHING), sys.executable, "-c", ASK_UVM,
                                   simrm.directory], capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL)
            expect_equal(done.stdout.split(), [wanted, wanted], f"{release}: {done.stderr}")


def test_what_no_capability_has_is_refused_and_what_one_has_needs_it():
    with Simrm(programs, RELEASE) as simrm:
        lines, _ = run(command(simrm, "compute,utility"), simrm, "memory")
        refused = [line for line in lines if line.startswith(("map for the GPU", "unmap for"))]
        expect(all(line.endswith("errno 22 (Invalid argument)") for line in refused),
               f"graphics is not allowed, and yet: {refused}")
        lines, _ = run(command(simrm, "utility"), simrm, "pinned", "uvm")
        expect_equal(len(lines), 12, "lines")


def test_strict_pins_nothing():
    with Simrm(programs, RELEASE) as simrm:
        set_alarm(simrm, RELEASE)
        lines, said = run(command(simrm, EVERYTHING + ",strict"), simrm, "pinned")
        expect("name=NV01_MEMORY_SYSTEM_OS_DESCRIPTOR needs=no-strict" in said, said[-400:])
        expect_equal(lines, ["pin pages: status 0x22", "pin pages that are not there: status 0x22"],
                     "strict")
        seen = expect_no_breach(simrm)
        expect_equal(count_of(seen, kind="memory", number="0x00000071"), 0, "arrivals")


def test_log_refuses_nothing_and_says_each_call_once():
    with Simrm(programs, RELEASE) as simrm:
        native, _ = run(NATIVELY, simrm, "refused", "memory")
        settle(simrm)
        ours, said = run(command(simrm, "compute,utility,log"), simrm, "refused", "memory")
        expect_same(native, ours)
        expect_equal(proxies(), {}, "proxies")
        for name in ("NV0000_CTRL_CMD_NVD_GET_DUMP", "NV_ESC_RM_MAP_MEMORY_DMA"):
            expect(said.count(name) == 1, f"{name} is said {said.count(name)} times: {said[-800:]}")


def test_a_refused_call_is_said_once():
    with Simrm(programs, RELEASE) as simrm:
        _, said = run(command(simrm, "compute,utility"), simrm, "refused", "refused")
        name = "NV0000_CTRL_CMD_NVD_GET_DUMP"
        expect(said.count(name) == 1, f"{name} is said {said.count(name)} times: {said[-800:]}")


def test_what_was_refused_is_counted_by_call():
    with Simrm(programs, RELEASE) as simrm:
        _, said = run(command(simrm, "compute,utility", "--stats=json"), simrm, "refused", "lists")
        counts = json.loads(said.splitlines()[-1])["confined"]
        calls = {(call["kind"], call["number"]): call["count"] for call in counts["calls"]}
        for call, count in {("control", 0x602): 2, ("escape", 0x4d): 1, ("class", 0x90cd): 1,
                            ("heap", 19): 1, ("uvm", 62): 1}.items():
            expect_equal(calls.get(call), count, f"how often {call} was refused")
        expect(counts["executed"] > 40, f"calls made by proxies: {counts['executed']}")
        expect_equal(counts["forgotten"], 0, "calls that were not counted")


def confined_command(simrm, words, *argv, options=()):
    return subprocess.run([*command(simrm, words, *options), *argv], capture_output=True,
                          text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_on_a_branch_that_no_table_knows_a_command_does_not_start_confined():
    """Newer than all, between two, and one of which no calls are public."""
    for release in ("999.10.01", "540.10", "460.106.00"):
        with Simrm(programs, release) as simrm:
            set_alarm(simrm, RELEASE)
            ran = Path(simrm.directory + ".ran")
            for words in ("compute,utility", "utility,strict"):
                done = confined_command(simrm, words, "touch", ran)
                expect_equal(done.returncode, 125, f"{release}: exit status ({done.stderr})")
                for part in (f"cannot confine to {words} on driver {release}", "newer mpu", "log",
                             "or do not confine"):
                    expect(part in done.stderr, f"'{part}' is not in {done.stderr!r}")
                expect(not ran.exists(), f"{release}: the command ran")
            expect_equal(nurseries(), [], "nurseries that are left")
            expect_equal(simrm.state()["opens"], 0, "opens of the device")
            done = confined_command(simrm, "compute,utility,log", "touch", ran)
            expect(done.returncode == 0 and ran.exists(), f"it may not even learn: {done.stderr}")


def test_an_unlisted_release_of_a_known_branch_is_confined():
    with Simrm(programs, "580.95.99") as simrm:
        native, _ = run(NATIVELY, simrm, "memory", "objects")
        settle(simrm)
        set_alarm(simrm, RELEASE)
        ours, _ = run(command(simrm, EVERYTHING), simrm, "memory", "objects")
        expect_no_breach(simrm)
        expect_same(native, ours)


def test_what_would_be_refused_is_logged_on_a_branch_that_no_table_knows():
    with Simrm(programs, "999.10.01") as simrm:
        native, _ = run(NATIVELY, simrm, "refused", "memory")
        settle(simrm)
        ours, said = run(command(simrm, "compute,utility,log"), simrm, "refused", "memory")
        expect_same(native, ours)
        name = "NV0000_CTRL_CMD_NVD_GET_DUMP"
        expect(said.count(name) == 1, f"{name} is said {said.count(name)} times: {said[-800:]}")


def test_a_driver_of_which_no_calls_are_known_is_logged_and_nothing_of_it_is_lost():
    with Simrm(programs, "460.106.00") as simrm:
        ask = f"for i in 1 2 3; do {programs.gpu_ps} --dev-root={simrm.directory}; done; sleep 60"
        box = subprocess.Popen([*command(simrm, "compute,log"), "sh", "-c", ask], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
        try:
            pid = wait_until(lambda: descendants(box.pid, "sleep"), "the end of the questions", 20)[0]
            while pid != box.pid:
                pid = int(status_of(pid)["PPid"])
                expect_equal(os.readlink(f"/proc/{pid}/fd/0"), "/dev/null", f"descriptor 0 of {pid}")
        finally:
            box.terminate()
        said = box.communicate(timeout=20)[1]
        expect_equal(said.count("cannot be told"), 1, "how often it is said")
        expect_equal(said.count("no client"), 0, "how often gpu-ps was refused")


class Held:
    """tour hold under mpu-run, and the proxy that stands for it."""

    def __init__(self, simrm, words="compute,utility", who=(), parts=("hold",),
                 proxies_wanted=1):
        before = set(proxies())
        self.process = subprocess.Popen(
            [*command(simrm, words), *who, programs.tour, simrm.directory, *parts],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not (line := self.process.stdout.readline()).startswith("ready"):
            if not line:
                raise AssertionError(f"tour ended: {self.process.communicate()[1][-400:]}")
        self.inside = int(line.split()[1])
        new = {proxy: target for proxy, target in proxies().items() if proxy not in before}
        expect_equal(len(new), proxies_wanted, f"proxies of one process: {new}")
        self.proxy, self.target = list(new.items())[0]

    def end(self):
        try:
            return self.process.communicate("", timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("tour does not end") from None


@contextmanager
def held(simrm, **options):
    made = Held(simrm, **options)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.end()


def is_sanitized():
    return b"__asan_init" in Path(programs.mpu_run).read_bytes()


def descendants(pid, name):
    """The processes below PID of that name."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
            found += [child for child in children
                      if Path(f"/proc/{child}/comm").read_text().strip() == name]
        except OSError:
            continue  # it has ended
        for child in children:
            found += descendants(child, name)
    return found


def status_of(pid):
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_a_proxy_stands_for_its_process_and_has_no_more_than_it():
    for who, uid in (((), 0), (UNPRIVILEGED, 1000)):
        with Simrm(programs, RELEASE) as simrm, held(simrm, who=who) as container:
            clients = simrm.state()["clients"]
            expect_equal({client["tgid"] for client in clients}, {container.proxy}, "clients")
            expect_equal({client["euid"] for client in clients}, {uid}, "users of the clients")
            expect_equal(list(numbers_of(container.target).values())[0], container.inside,
                         "the number of the process inside")
            status = status_of(container.proxy)
            expect_equal(status["Uid"].split(), [str(uid)] * 4, "user")
            expect_equal(status["Groups"].split(), [], "groups")
            expect_equal(status["NoNewPrivs"], "1", "no new privileges")
            # AddressSanitizer makes system calls that no filter would know.
            expect_equal(status["Seccomp"], "0" if is_sanitized() else "2", "a filter of its own")
            for name in ("CapInh", "CapAmb"):
                expect_equal(int(status[name], 16), 0, name)
            target = int(status_of(container.target)["CapEff"], 16)
            ours = int(status["CapEff"], 16)
            expect(not ours & ~target, f"the proxy may {ours:#x}, its process {target:#x}")


def test_pages_that_are_pinned_are_those_of_the_process_itself():
    with Simrm(programs, RELEASE) as simrm, \
            held(simrm, words=EVERYTHING, parts=("pinned", "hold")) as container:
        pinned = [item["pinned"] for client in simrm.state()["clients"]
                  for item in client["objects"] if "pinned" in item]
        expect_equal([(item["tgid"], item["first"]) for item in pinned],
                     [(container.target, "0x1122334455667788")], "pinned pages")


def test_the_container_sees_its_processes_and_the_host_their_proxies():
    with Simrm(programs, RELEASE) as simrm:
        with held(simrm) as container:
            host = subprocess.run([programs.gpu_ps, f"--dev-root={simrm.directory}", "--json",
                                   "--class=0x2080"], capture_output=True, text=True, timeout=30)
            expect(f"{container.proxy}" in host.stdout, f"the host does not see it: {host.stdout}")
            title = Path(f"/proc/{container.proxy}/cmdline").read_text(encoding="utf-8")
            expect(re.match(r"mpu-proxy: tour\[%d\] in \S" % container.target, title), title)


def test_threads_are_served_side_by_side():
    with Simrm(programs, RELEASE) as simrm:
        lines, _ = run(command(simrm, "compute,utility"), simrm, "threads=24")
        expect_equal(lines, ["threads: 0 calls failed"], "threads")
        settle(simrm)


def test_children_programs_and_users_are_told_apart():
    for release in ("550.54.14", RELEASE):
        with Simrm(programs, release) as simrm:
            for parts in (["fork"], ["exec"], ["setuid=1000"], ["threads=4", "fork", "memory"]):
                native, _ = run(NATIVELY, simrm, *parts)
                ours, _ = run(command(simrm, EVERYTHING), simrm, *parts)
                if parts != ["exec"]:
                    expect_same(native, ours)
                else:
                    expect_equal(ours, native, "after exec")


def test_a_process_that_changes_its_user_gets_another_proxy():
    with Simrm(programs, RELEASE) as simrm:
        container = Held(simrm, parts=("setuid=1000", "hold"), proxies_wanted=2)
        users = {client["tgid"]: client["euid"] for client in simrm.state()["clients"]}
        expect_equal(sorted(users.values()), [0, 1000], "users of clients")
        for proxy, uid in users.items():
            expect_equal(status_of(proxy)["Uid"].split(), [str(uid)] * 4, "a proxy's user")
        container.end()


def test_short_lived_processes_leave_nothing():
    with Simrm(programs, RELEASE) as simrm:
        process = subprocess.Popen(
            [*command(simrm, "compute,utility"), "sh", "-c",
             'for turn in 1 2; do "$0" "$1" children=100; echo; read _; done',
             programs.tour, simrm.directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        looks = []
        for _ in range(2):
            expect_equal(process.stdout.readline().strip(), "children: 100 of 100", "children")
            process.stdout.readline()
            settle(simrm)
            wait_until(lambda: not proxies(), "the end of all proxies")
            looks.append(len(os.listdir(f"/proc/{process.pid}/fd")))
            process.stdin.write("\n")
            process.stdin.flush()
        expect_equal(process.wait(timeout=20), 0, "mpu-run")
        expect(looks[1] <= looks[0], f"descriptors of mpu-run: {looks}")
        expect_equal(simrm.state()["events"], [], "OS events")


def test_a_process_that_is_killed_in_a_call_leaves_nothing():
    with Simrm(programs, RELEASE) as simrm:
        simrm.command("delay cmd=0x20800110 ms=1500")
        lines, _ = run(command(simrm, "compute,utility"), simrm, "die")
        expect_equal(lines, ["killed: 9"], "the child")
        settle(simrm)
        wait_until(lambda: not proxies(), "the end of all proxies")


def test_a_process_that_leaves_without_a_word_leaves_nothing():
    with Simrm(programs, RELEASE) as simrm:
        run(command(simrm, EVERYTHING), simrm, "memory", "objects", "leave")
        state = settle(simrm)
        expect_equal((state["events"], state["mmap_contexts"]), ([], []), "what is left")
        wait_until(lambda: not proxies(), "the end of all proxies")


def test_a_call_whose_proxy_dies_fails_with_eio_and_the_next_one_works():
    with Simrm(programs, RELEASE) as simrm:
        simrm.command("delay cmd=0x20800110 ms=400 count=1")
        container = Held(simrm, parts=("hold", "spin=2"))
        container.process.stdin.write("\n")
        container.process.stdin.flush()
        time.sleep(0.2)
        os.kill(container.proxy, signal.SIGKILL)
        out, said = container.end()
        expect_equal(out.splitlines(), ["spin: 1 of 2 failed",
                                        "first failure: errno 5 (Input/output error)"], "calls")
        expect("mpu-proxy" in said or "proxy" in said, f"nothing is said of it: {said!r}")
        settle(simrm)


def test_proxies_killed_at_random_cost_no_more_than_the_call():
    calls = 4000
    with Simrm(programs, RELEASE) as simrm:
        container = Held(simrm, parts=("hold", f"spin={calls}"))
        container.process.stdin.write("\n")
        container.process.stdin.flush()
        kills = 0
        for _ in range(20):
            time.sleep(0.03)
            for proxy, target in proxies().items():
                if target == container.target:
                    os.kill(proxy, signal.SIGKILL)
                    kills += 1
        out, _ = container.end()
        match = re.match(rf"spin: (\d+) of {calls} failed", out)
        expect(match, out)
        expect(kills >= 3, f"only {kills} kills: it was over too soon")
        expect(int(match.group(1)) <= kills, f"{out.strip()} with {kills} kills")
        expect("first failure" not in out or "errno 5 " in out, out)
        settle(simrm)


def test_a_nursery_that_is_killed_is_started_again():
    with Simrm(programs, RELEASE) as simrm:
        container = Held(simrm, parts=("hold", "children=5"))
        serving = wait_until(nurseries, "a nursery")[0]
        os.kill(serving, signal.SIGKILL)
        wait_until(lambda: nurseries() and serving not in nurseries(), "a new nursery")
        out, _ = container.end()
        expect_equal(out.splitlines(), ["children: 5 of 5"], "children")


def main():
    global programs
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    programs = Programs(sys.argv[1])
    try:
        return results.run_cases(sys.modules[__name__], *sys.argv[2:3])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
