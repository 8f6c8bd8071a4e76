"""Confined containers: that the filter of each way to start one shows what it must, that mpud and the
hooks agree on what a container is confined to, and that nothing drops a confinement without a word."""
import json
import os
import subprocess
from contextlib import contextmanager

from cases_oci import CGROUP2, RUNTIMES, hooks, run_bundle, unique
from collector import Collector, Requests
from containers import (ALONE, LOOK, PROFILE, Mpud, expect, expect_alone, expect_equal,
                        expect_own_processes, run, wait_until)

TITLE = "confined containers"
NEEDS = ["runc", "crun"]
PROBE = ["/bin/ioctl-probe", "/requests"]
COMPUTE, UTILITY = {"mpu.confine": "compute,utility"}, {"mpu.confine": "utility"}
world = None
requests = None


def start():
    global requests
    requests = Requests(world.mpuctl)
    requests.write(world.root / "requests")


def stop():
    pass


@contextmanager
def collecting(**options):
    collector = Collector(world.directory / "collector.sock", **options)
    try:
        yield collector
    finally:
        collector.stop()


def precreate(bundle, socket, *options):
    return run(["sh", "-c", '"$@" precreate <$0/config.json', bundle, world.mpu_hook,
                f"--socket={socket}", *options], check=False)


def patch(bundle, socket, *options):
    done = precreate(bundle, socket, *options)
    expect_equal(done.returncode, 0, f"precreate ({done.stderr})")
    (bundle / "config.json").write_text(done.stdout)


def seccomp(bundle):
    return json.loads((bundle / "config.json").read_text())["linux"]["seccomp"]


def check_filter(runtime, annotations, compute, profile):
    with collecting() as collector:
        bundle = world.bundle(unique("bundle"), PROBE, annotations)
        config = json.loads((bundle / "config.json").read_text())
        if profile:
            config["linux"]["seccomp"] = json.loads(profile.read_text())
        else:
            config["linux"].pop("seccomp", None)
        (bundle / "config.json").write_text(json.dumps(config))
        patch(bundle, collector.socket, f"--runtime={runtime}")
        requests.judge(run_bundle(runtime, bundle).stdout, collector, compute)
        expect_equal(collector.states[0]["metadata"].split()[0],
                     "mpu.filter=confine-compute" if compute else "mpu.filter=confine",
                     "what the listener's metadata says of the filter")


def denying():
    """podman's own profile as it hands it to a runtime."""
    source = json.loads(PROFILE.read_text())
    rules = [rule for rule in source["syscalls"]
             if not rule.get("includes", {}).get("caps")
             and "amd64" in rule.get("includes", {}).get("arches", ["amd64"])
             and "amd64" not in rule.get("excludes", {}).get("arches", [])]
    for rule in rules:
        for word in ["includes", "excludes", "comment", "errno"]:
            rule.pop(word, None)
    profile = world.directory / "denying.json"
    profile.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}))
    return profile


def test_runc_shows_what_a_confined_container_calls():
    check_filter("runc", COMPUTE, True, None)
    check_filter("runc", UTILITY, False, None)


def test_crun_shows_what_a_confined_container_calls():
    check_filter("crun", COMPUTE, True, None)
    check_filter("crun", UTILITY, False, None)


def test_runc_shows_it_under_a_profile_that_denies():
    check_filter("runc", COMPUTE, True, denying())
    check_filter("runc", UTILITY, False, denying())


def test_crun_shows_it_under_a_profile_that_denies():
    check_filter("crun", COMPUTE, True, denying())
    check_filter("crun", UTILITY, False, denying())


def test_exec_shows_what_a_confined_container_calls():
    for runtime in RUNTIMES:
        with collecting() as collector:
            bundle = world.bundle(unique("bundle"), ["/bin/sleep", "60"], COMPUTE)
            patch(bundle, collector.socket, f"--runtime={runtime}")
            requests.judge(by_exec(runtime, bundle, PROBE), collector, True)


def by_exec(runtime, bundle, command):
    name, program = unique(runtime), RUNTIMES[runtime]
    sleeper = subprocess.Popen([str(one) for one in [*program, "run", "--bundle", bundle, name]],
                               stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: '"running"' in run([*program, "state", name], check=False).stdout,
                   "the container to run")
        return run([*program, "exec", name, *command]).stdout
    finally:
        run([*program, "kill", name, "KILL"], check=False)
        sleeper.wait(timeout=20)
        run([*program, "delete", "--force", name], check=False)


def test_mpu_runtime_shows_what_a_confined_container_calls():
    for runtime, prefix in [("runc", []), ("crun", CGROUP2)]:
        options = ["--cgroup-manager=disabled"] if runtime == "crun" else []
        with collecting() as collector:
            bundle = world.bundle(unique("bundle"), PROBE, {"mpu.confine": "utility,compute"})
            requests.judge(run([*prefix, world.mpu_runtime, f"--runtime={runtime}",
                                f"--socket={collector.socket}", "--confine=compute,graphics",
                                *options, "run", "--bundle", bundle, unique("wrapped")]).stdout,
                           collector, True)
            expect_equal(collector.states[0]["metadata"],
                         "mpu.filter=confine-compute mpu.confine=compute", "the metadata")


def test_the_prestart_hook_shows_what_a_confined_container_calls():
    for runtime in RUNTIMES:
        for annotations, compute in [(COMPUTE, True), (UTILITY, False)]:
            with collecting() as collector:
                hook = {"prestart": [{"path": world.mpu_hook, "args": [
                    "mpu-hook", f"--socket={collector.socket}", "prestart"]}]}
                bundle = world.bundle(unique("bundle"), PROBE, annotations, hooks=hook)
                requests.judge(run_bundle(runtime, bundle).stdout, collector, compute)


def test_mpu_run_shows_what_a_confined_command_calls():
    for words, compute in [("compute,utility", True), ("utility", False)]:
        with collecting() as collector:
            done = run([world.mpu_run, f"--socket={collector.socket}", f"--confine={words}", "--",
                        world.directory / "ioctl-probe", world.root / "requests"])
            requests.judge(done.stdout, collector, compute)


def test_a_confined_container_sees_its_own_processes():
    for runtime in RUNTIMES:
        for args, judge in [(["/bin/sh", "-c", LOOK], expect_own_processes), (ALONE, expect_alone)]:
            bundle = world.bundle(unique("bundle"), args, COMPUTE)
            patch(bundle, world.mpud_process.socket, f"--runtime={runtime}")
            judge(run_bundle(runtime, bundle).stdout)


def status_of(mpud, name):
    status = json.loads(run([world.mpuctl, "status", f"--socket={mpud.socket}", "--json"]).stdout)
    return next((one for one in status["containers"] if one["id"] == name), None)


@contextmanager
def sleeping(bundle, runtime="runc"):
    """A container of BUNDLE that sleeps, by its name."""
    name, program = unique(runtime), RUNTIMES[runtime]
    sleeper = subprocess.Popen([str(one) for one in [*program, "run", "--bundle", bundle, name]],
                               stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: '"running"' in run([*program, "state", name], check=False).stdout,
                   "the container to run")
        yield name
    finally:
        run([*program, "kill", name, "KILL"], check=False)
        sleeper.wait(timeout=20)
        run([*program, "delete", "--force", name], check=False)


@contextmanager
def another_mpud(*options):
    mpud = Mpud(world, world.gpu, world.directory / "another.sock", options=options)
    try:
        yield mpud
    finally:
        expect_equal(mpud.stop(), 0, "status of the other mpud")


def test_an_annotation_narrows_what_mpud_allows():
    with another_mpud("--confine=compute,utility,strict") as mpud:
        for words, left in [("compute,graphics,log", "compute,strict"),
                            ("compute,utility", "compute,utility,strict")]:
            bundle = world.bundle(unique("bundle"), ["/bin/sleep", "60"], {"mpu.confine": words})
            patch(bundle, mpud.socket)
            with sleeping(bundle) as name:
                wait_until(lambda: status_of(mpud, name), "mpud to have the container")
                expect_equal(status_of(mpud, name)["confine"], left, f"confine after {words}")
                expect_equal(status_of(mpud, name)["policy"], "always", "policy")


def test_mpud_refuses_a_container_whose_filter_shows_too_little():
    """Its filter was made by a hook that knows nothing of the administrator's wish."""
    with another_mpud("--confine=compute,utility") as mpud:
        bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], {"mpu.enable": "1"})
        patch(bundle, mpud.socket)
        expect("mpu.filter" not in seccomp(bundle).get("listenerMetadata", ""), "metadata")
        done = run_bundle("runc", bundle, check=False)
        wait_until(lambda: "does not show its calls" in mpud.output(), "mpud to refuse it")
        expect('"pids"' not in done.stdout, f"it was served: {done.stdout[:300]}")
        expect_equal(mpud.taken(), 0, "listeners that mpud took")
        # The same where who brings it hears the answer: it does not start.
        bundle = world.bundle(unique("bundle"), ["/bin/true"], {"mpu.enable": "1"},
                              hooks={"prestart": [{"path": world.mpu_hook, "args": [
                                  "mpu-hook", f"--socket={mpud.socket}", "prestart"]}]})
        done = run_bundle("runc", bundle, check=False)
        expect(done.returncode != 0 and "does not show its calls" in done.stderr, done.stderr)
        # And with the administrator's wish told to the hook too.
        bundle = world.bundle(unique("bundle"), ["/bin/sleep", "60"], {"mpu.enable": "1"})
        patch(bundle, mpud.socket, "--confine=compute,utility")
        with sleeping(bundle) as name:
            wait_until(lambda: status_of(mpud, name), "mpud to have the container")
            expect_equal(status_of(mpud, name)["confine"], "compute,utility", "confine")


def test_mpud_refuses_a_container_whose_filter_lets_compute_pass():
    with another_mpud("--confine=utility") as mpud:
        bundle = world.bundle(unique("bundle"), ["/bin/true"], COMPUTE)
        patch(bundle, mpud.socket)
        run_bundle("runc", bundle, check=False)
        wait_until(lambda: "lets calls of compute through" in mpud.output(), "mpud to refuse it")


def test_what_mpud_cannot_read_is_refused_and_not_left_out():
    """By hand, as a runtime would send it: in the metadata, and in an annotation."""
    cases = [("mpu.filter=confine-compute mpu.confine=gpu", {}, "there is no word gpu"),
             ("mpu.filter=confine-compute mpu.confine=", {}, "empty word"),
             ("mpu.filter=confine-compute mpu.confine", {}, "it is no string"),
             ("mpu.filter=all mpu.confine=compute", {}, "mpu.filter cannot be read"),
             ("mpu.filter=confine-compute", {}, "nothing says what it is confined to"),
             ("mpu.filter=confine-compute", {"mpu.confine": "strict"}, "names no capability"),
             ("mpu.filter=confine-compute mpu.confine=compute", {"mpu.confine": "utility"},
              "does not allow at all|lets calls of compute through"),
             ("", {"mpu.confine": "compute"}, "does not show its calls")]
    before = world.mpud_process.taken()
    for metadata, annotations, reason in cases:
        bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], COMPUTE)
        patch(bundle, world.mpud_process.socket)
        path = bundle / "config.json"
        config = json.loads(path.read_text())
        config["annotations"] = annotations
        config["linux"]["seccomp"]["listenerMetadata"] = metadata
        path.write_text(json.dumps(config))
        written = len(world.mpud_process.output())
        done = run_bundle("runc", bundle, check=False)
        wait_until(lambda: any(word in world.mpud_process.output()[written:]
                               for word in reason.split("|")), f"mpud to say {reason}")
        expect('"pids"' not in done.stdout, f"{metadata}: it was served: {done.stdout[:300]}")
    expect_equal(world.mpud_process.taken(), before, "listeners that mpud took")


def test_a_bad_annotation_does_not_let_a_container_start():
    cases = [({"mpu.confine": "gpu"}, "there is no word gpu"), ({"mpu.confine": ""}, "empty word"),
             ({"mpu.confine": "strict"}, "names no capability"),
             ({"mpu.confine": "compute,compute"}, "twice"),
             ({"mpu.confine": "compute", "mpu.enable": "0"}, "contradict"),
             ({"mpu.confine": "compute", "mpu.policy": "off"}, "always corrected")]
    socket = world.mpud_process.socket
    for annotations, reason in cases:
        bundle = world.bundle(unique("bundle"), ["/bin/true"], annotations, hooks=hooks())
        done = precreate(bundle, socket)
        expect(done.returncode != 0 and reason in done.stderr, f"precreate: {done.stderr!r}")
        for way in [[world.mpu_runtime, f"--socket={socket}", "run", "--bundle", bundle],
                    [*RUNTIMES["runc"], "run", "--bundle", bundle],
                    [*RUNTIMES["crun"], "run", "--bundle", bundle]]:
            done = run([*way, unique("bad")], check=False)
            expect(done.returncode != 0, f"{annotations} started by {way[0]}")
            # crun does not pass on what a hook says.
            expect(reason in done.stderr or "error executing hook" in done.stderr,
                   f"{way[0]}: {done.stderr!r}")


def test_a_confined_container_does_not_start_without_mpud():
    for where in ["precreate", "mpu-runtime"]:
        bundle = world.bundle(unique("bundle"), ["/bin/true"],
                              COMPUTE | {"mpu.on-missing": "ignore"})
        nowhere = f"{world.directory}/nobody.sock"
        done = (precreate(bundle, nowhere) if where == "precreate" else
                run([world.mpu_runtime, f"--socket={nowhere}", "run", "--bundle", bundle,
                     unique("lonely")], check=False))
        expect(done.returncode != 0, f"{where}: the container started")
        expect("is to be confined" in done.stderr, f"{where}: {done.stderr!r}")


def test_an_older_mpud_is_not_taken_at_its_ok():
    """It would take the listener, and confine nothing."""
    with collecting(answer=b"ok\n") as collector:
        done = run([world.mpu_run, f"--socket={collector.socket}", "--confine=compute", "--",
                    "/bin/echo", "ran"], check=False)
        expect(done.returncode == 125 and "does not confine" in done.stderr, done.stderr)
        expect("ran" not in done.stdout, "the command ran")
        bundle = world.bundle(unique("bundle"), ["/bin/echo", "ran"], COMPUTE, hooks={
            "prestart": [{"path": world.mpu_hook, "args": [
                "mpu-hook", f"--socket={collector.socket}", "prestart"]}]})
        done = run_bundle("runc", bundle, check=False)
        expect(done.returncode != 0 and "does not confine" in done.stderr, done.stderr)
        expect("ran" not in done.stdout, "the container ran")


def test_mpu_run_and_mpud_agree_on_what_is_confined():
    with another_mpud("--confine=compute,utility") as mpud:
        done = run([world.mpu_run, f"--socket={mpud.socket}", "--", "/bin/echo", "ran"], check=False)
        expect(done.returncode == 125 and "does not show its calls" in done.stderr, done.stderr)
        done = run([world.mpu_run, f"--socket={mpud.socket}", "--confine=graphics", "--",
                    "/bin/echo", "ran"], check=False)
        expect(done.returncode == 125 and "does not allow at all" in done.stderr, done.stderr)
        done = run([world.mpu_run, f"--socket={mpud.socket}", "--confine=compute", "--",
                    "/bin/echo", "ran"])
        expect_equal(done.stdout, "ran\n", "output")


def test_a_profile_is_for_the_containers_it_was_made_for():
    """As Kubernetes has it: made once, for containers whose annotations may say more."""
    socket = world.mpud_process.socket
    made = json.loads(run([world.mpu_hook, f"--socket={socket}", "--confine=compute,utility",
                           "profile"]).stdout)
    expect_equal(made["listenerMetadata"],
                 "mpu.filter=confine-compute mpu.confine=compute,utility", "metadata")
    for annotations, reason in [({"mpu.enable": "1"}, None), (COMPUTE, None),
                                (UTILITY, "lets calls of compute through")]:
        bundle = world.bundle(unique("bundle"), ALONE, annotations)
        path = bundle / "config.json"
        config = json.loads(path.read_text())
        config["linux"]["seccomp"] = made
        path.write_text(json.dumps(config))
        done = precreate(bundle, socket)
        if reason:
            expect(done.returncode != 0 and reason in done.stderr, done.stderr)
        else:
            expect_equal(done.returncode, 0, done.stderr)
            expect_alone(run_bundle("runc", bundle).stdout)


def test_what_lxc_forwards_is_not_confined_and_says_so():
    done = run([world.mpu_hook, "--confine=compute", "--lxc", "profile"], check=False)
    expect(done.returncode != 0 and "LXC forwards" in done.stderr, done.stderr)
    folder = world.directory / unique("lxc")
    done = run([world.mpu_hook, f"--root={folder}", "--confine=compute", "install", "--lxc"])
    expect_equal(sorted(os.listdir(folder / "etc/lxc")), ["mpu-start-host.conf"], "files")
    expect("--confine=compute" in (folder / "etc/lxc/mpu-start-host.conf").read_text(), "option")
    expect_equal(done.stdout.count("left out"), 2, done.stdout)
