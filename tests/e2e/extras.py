"""What the matrix of releases does not ask: crowds, other views and policies, wrapped calls.

  extras.py BUILD-DIRECTORY [PART-OF-A-NAME]
"""
import json
import subprocess
import sys
import time

import results
from judge import CALLS, judge
from matrix import NATIVELY, Container, host_pid
from results import expect, expect_equal
from truth import COMPUTE, Book, Truth, namespace_of
from world import Programs, Simrm, wait_until

GLOBAL, THREADS, OWN = "535.104.12", "550.163.01", "580.95.05"
RELEASES = [GLOBAL, THREADS, OWN]
MAX_LISTED = 950
programs = None


def mpu(simrm, *options):
    return [programs.mpu_run, f"--dev-root={simrm.directory}", *options, "--"]


def on_each_release(check):
    for release in RELEASES:
        try:
            with Simrm(programs, release, "--accounting") as simrm:
                check(simrm)
        except AssertionError as error:
            raise AssertionError(f"{release}: {error}") from None


def crowd(container, size):
    """SIZE processes that hold a little GPU memory, the last thing that gpu-hold allocates."""
    script = (f"i=0; while [ $i -lt {size} ]; do {programs.gpu_hold} "
              f"--dev-root={container.simrm.directory} --memory=1 >/dev/null & i=$((i + 1)); done; "
              "echo ready; wait")

    def holding():
        return sum(client["memory"] > 0 for client in container.simrm.state()["clients"])
    before = holding()
    container.agent.spawn("sh", "-c", script)
    wait_until(lambda: holding() == before + size, f"{size} processes", 60)


def listed(answers, class_id=COMPUTE):
    return next(part["pids"] for part in answers["gpus"][0]["get_pids"]
                if part["class"] == class_id)


def test_a_thousand_processes_of_others_hide_none_of_the_containers():
    def check(simrm):
        host = Container(programs, simrm, [])
        try:
            crowd(host, 1000)
            inside = Container(programs, simrm, mpu(simrm, "--pid-ns"))
            try:
                own = [inside.hold([f"--memory={size}"]) for size in (11, 12, 13)]
                answers = inside.ask()
            finally:
                inside.agent.close()
        finally:
            host.agent.close()
        expect_equal(sorted(listed(answers)), sorted(own), "processes of the container")
        got = {entry["pid"]: entry["private"] >> 20
               for entry in answers["gpus"][0]["get_pid_info"]["entries"] if entry["private"]}
        expect_equal(got, dict(zip(own, (11, 12, 13))), "their memory")
    on_each_release(check)


def test_of_a_thousand_of_its_own_as_many_are_listed_as_the_driver_lists():
    def check(simrm):
        inside = Container(programs, simrm, mpu(simrm, "--pid-ns"))
        try:
            crowd(inside, 1000)
            pids = listed(inside.ask())
        finally:
            inside.agent.close()
        expect_equal(len(pids), MAX_LISTED, "listed processes")
        expect_equal(len(set(pids)), MAX_LISTED, "different ones among them")
        expect(max(pids) < 1200, f"PID {max(pids)} is none of the namespace")
    on_each_release(check)


def test_three_namespaces_deep_each_sees_its_own_and_what_is_below():
    def check(simrm):
        outer = Container(programs, simrm, mpu(simrm, "--pid-ns"))
        try:
            outer.hold(["--memory=21"])
            # Two further namespaces, each of which asks for itself.
            root = f"--dev-root={simrm.directory}"
            hold = f"{programs.gpu_hold} {root} --memory=%d >/dev/null & sleep 0.3"
            ask = f"{programs.gpu_ps} {root} --json"
            done = outer.agent.run(
                *NATIVELY, "sh", "-c",
                f"{hold % 22}; {' '.join(NATIVELY)} sh -c '{hold % 23}; {ask}'; {ask}")
            expect_equal(done["status"], 0, f"exit status, with {done['err']}")
        finally:
            outer.agent.close()
        decoder = json.JSONDecoder()
        inner, end = decoder.raw_decode(done["out"])
        middle, _ = decoder.raw_decode(done["out"][end:].lstrip())
        memory = [sorted(entry["private"] >> 20
                         for entry in answers["gpus"][0]["get_pid_info"]["entries"])
                  for answers in (inner, middle)]
        expect_equal(memory, [[23], [22]], "memory seen in the inner and the middle namespace")
        expect_equal(listed(inner), [2], "PIDs in the inner namespace")
        expect_equal(listed(middle), [2], "PIDs in the middle namespace")
    on_each_release(check)


def host_truth(simrm):
    state = simrm.state()
    book = Book()
    book.note(state)
    return Truth(state, book, namespace_of("self"))


def test_view_host_shows_the_hosts_numbers_to_the_container():
    def check(simrm):
        host = Container(programs, simrm, [])
        inside = Container(programs, simrm, mpu(simrm, "--pid-ns", "--view=host"))
        try:
            for container in (host, inside):
                container.hold(["--memory=31", "--util=gr:10"])
            answers = inside.ask()
            truth = host_truth(simrm)
        finally:
            inside.agent.close()
            host.agent.close()
        expect_equal(sorted(listed(answers)), sorted(truth.lists[COMPUTE]), "processes")
        for sample in answers["gpus"][0]["util"]["samples"]:
            for part in sample.values():
                if isinstance(part, dict):
                    expect_equal(part["os_pid_info"], "0x0", "kernel pointer")
    on_each_release(check)


def test_on_the_host_everything_is_right_and_without_kernel_pointers():
    # A command in the initial PID namespace sees all processes of the host, as without mpu.
    def check(simrm):
        host = Container(programs, simrm, [])
        under = Container(programs, simrm, mpu(simrm))
        try:
            for container in (host, under):
                container.hold(["--memory=41", "--util=gr:10"])
            answers = under.ask()
            truth = host_truth(simrm)
        finally:
            under.agent.close()
            host.agent.close()
        expect_equal(sorted(set(listed(answers))), sorted(truth.lists[COMPUTE]), "processes")
        pointers = [part for sample in answers["gpus"][0]["util"]["samples"]
                    for part in sample.values()
                    if isinstance(part, dict) and part["os_pid_info"] != "0x0"]
        expect_equal(pointers, [], "kernel pointers")
    on_each_release(check)


def probe(container, release, *pids):
    """What a program in the container is told of all numbers that it tries: of memory and of
    accounting, number -> answer."""
    done = container.agent.run(programs.hostile, container.simrm.directory, release, "probe",
                               *map(str, pids))
    expect_equal(done["status"], 0, f"exit status, with {done['err']}")
    found = {"memory": {}, "accounting": {}}
    for line in done["out"].splitlines():
        kind, text = line.split(": ", 1)
        expect(not text.startswith("refused"), line)
        number, answer = text.split(" ", 1)
        found[kind][int(number)] = answer
    return found["memory"], found["accounting"]


def test_a_container_that_tries_all_numbers_learns_of_its_own_processes_only():
    def check(simrm):
        book = Book()
        host = Container(programs, simrm, [])
        inside = Container(programs, simrm, mpu(simrm, "--pid-ns", "--policy=always"))
        try:
            host.populate(book)
            inside.populate(book)
            state = simrm.state()
            book.note(state)
            memory, accounts = probe(inside, state["version"], *book.numbers)
            truth = Truth(state, book, namespace_of(host_pid(inside.agent)))
        finally:
            inside.agent.close()
            host.agent.close()
        expect_equal({pid: int(size) for pid, size in memory.items()},
                     {pid: size for pid, size in truth.memory.items() if size}, "memory")
        expect_equal(sorted(accounts), sorted(truth.accounts), "accounting")
    on_each_release(check)


def hold_as(container, wanted):
    """Starts gpu-hold in the container until the host gives it the number WANTED, which is free."""
    for _ in range(200):
        with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
            file.write(str(wanted - 1))
        pid = container.hold(["--memory=61"])
        if any(client["tgid"] == wanted for client in container.simrm.state()["clients"]):
            return pid
        container.agent.end(pid)
    raise AssertionError(f"the host did not give the number {wanted} again in 200 tries")


def accounts(container):
    """asked -> start of the record, or None where it was refused."""
    return {entry["asked"]: None if entry["status"] else entry["start"]
            for entry in container.ask()["gpus"][0]["accounting"]["processes"]}


def test_a_recycled_number_gives_nobody_the_record_of_another_container():
    def check(simrm):
        first = Container(programs, simrm, mpu(simrm, "--pid-ns"))
        second = Container(programs, simrm, mpu(simrm, "--pid-ns"))
        try:
            ended = first.hold(["--memory=60"])
            host_number = simrm.state()["clients"][0]["tgid"]
            first.agent.end(ended)
            wait_until(lambda: simrm.state()["gpus"][0]["dead"], "the record of the dead process")
            dead_start = simrm.state()["gpus"][0]["dead"][-1]["start"]
            # Whose record it is tells its start, to which the kernel's clock ticks add uncertainty.
            time.sleep(1.5)
            lives = hold_as(second, host_number)
            theirs, ours = accounts(first), accounts(second)
            pids = listed(second.ask())
        finally:
            second.agent.close()
            first.agent.close()
        expect(dead_start not in ours.values(), f"the second container is told {ours}, of which "
               f"{dead_start} is the first one's")
        # The driver itself has only the dead record to give for that number.
        expect(set(ours) <= {lives}, f"the second container is told {ours}")
        expect_equal(theirs.get(ended), dead_start, f"record of PID {ended} in the first container")
        expect_equal(pids, [lives], "processes of the second container")
    on_each_release(check)


def test_a_process_killed_while_its_call_is_in_the_driver_ends_at_once():
    def check(simrm):
        inside = Container(programs, simrm, mpu(simrm, "--pid-ns", "--policy=always"))
        try:
            own = inside.hold(["--memory=71"])
            simrm.command("block cmd=0x2080018d count=1")
            stuck = inside.agent.spawn("sh", "-c", f"echo on; exec {programs.gpu_ps} "
                                       f"--dev-root={simrm.directory} >/dev/null")["pid"]
            time.sleep(0.3)
            # Others are answered meanwhile, and whoever waits can be killed.
            expect_equal(listed(inside.ask()), [own], "processes while a call is stuck")
            start = time.monotonic()
            inside.agent.end(stuck)
            expect(time.monotonic() - start < 2, "killing it took over 2 s")
            simrm.command("clear")
            expect_equal(listed(inside.ask()), [own], "processes afterwards")
        finally:
            simrm.command("clear")
            inside.agent.close()
    on_each_release(check)


def test_policy_off_is_the_driver_itself():
    def check(simrm):
        answers = []
        for prefix in (NATIVELY, mpu(simrm, "--pid-ns", "--policy=off")):
            inside = Container(programs, simrm, prefix)
            try:
                inside.hold(["--memory=51"])
                answers.append(inside.ask()["gpus"][0]["get_pid_info"]["status"])
                answers.append(len(listed(inside.ask())))
            finally:
                inside.agent.close()
        expect_equal(answers[:2], answers[2:], "status and length of the list")
    on_each_release(check)


def test_denied_shared_pids_are_answered_as_without_the_feature():
    def check(simrm):
        release = simrm.state()["version"]
        lines = {}
        for word in ("allow", "deny"):
            done = subprocess.run(
                [*mpu(simrm, "--pid-ns", f"--shared-pids={word}"), programs.hostile,
                 simrm.directory, release, "arguments"],
                capture_output=True, text=True, timeout=120)
            expect_equal(done.returncode, 0, done.stderr)
            lines[word] = {line for line in done.stdout.splitlines() if ": valid: " in line}
        denied = lines["deny"] - lines["allow"]
        expect(denied and all("EVTBUF" in line and "status 0x56" in line for line in denied),
               f"denied are {sorted(denied)}")
    on_each_release(check)


def test_every_way_of_waiting_and_looking_up_gives_the_same():
    def check(simrm):
        for options in ([], ["--fd-lookup=process"],
                        ["--pid-lookup=nspid", "--fd-lookup=process"]):
            book = Book()
            inside = Container(programs, simrm, mpu(simrm, "--pid-ns", *options))
            try:
                inside.populate(book)
                state = simrm.state()
                book.note(state)
                namespace = namespace_of(host_pid(inside.agent))
                truth = Truth(state, book, namespace)
                answers = inside.ask()
                truth.add_accounts(simrm.state(), book, namespace)
                verdict = judge(answers, truth)
            finally:
                inside.agent.close()
            wrong = {call: verdict[call] for call in CALLS if verdict[call]}
            expect(not wrong, f"{options}: {wrong}")
    on_each_release(check)


def main():
    global programs
    programs = Programs(sys.argv[1])
    try:
        return results.run_cases(sys.modules[__name__], *sys.argv[2:3])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
