"""runc and crun by themselves: a patched config, and the prestart hook alone."""
import itertools
import json
import os
import subprocess

from containers import (ALONE, LOOK, expect, expect_alone, expect_equal, expect_own_processes,
                        expect_uncorrected, run, wait_until)

TITLE = "runc and crun"
NEEDS = ["runc", "crun"]
ENABLED = {"mpu.enable": "1"}
# crun wants cgroup2 on /sys/fs/cgroup, which this gives to its command alone.
CGROUP2 = ["unshare", "-m", "sh", "-c",
           "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"", "-"]
RUNTIMES = {"runc": ["runc"], "crun": [*CGROUP2, "crun", "--cgroup-manager=disabled"]}
world = None
count = itertools.count(1)


def start():
    pass


def stop():
    pass


def unique(name):
    """Also for threads that ask at once."""
    return f"mpu-{name}-{os.getpid()}-{next(count)}"


def hook(*arguments, **kwargs):
    return run([world.mpu_hook, f"--socket={world.mpud_process.socket}", *arguments], **kwargs)


def patch(bundle, runtime):
    """What precreate does, from file to file."""
    config = bundle / "config.json"
    with open(config, encoding="utf-8") as source:
        done = subprocess.run([world.mpu_hook, f"--socket={world.mpud_process.socket}",
                               f"--runtime={runtime}", "precreate"], stdin=source,
                              capture_output=True, check=False)
    expect_equal(done.returncode, 0, f"precreate ({done.stderr.decode()})")
    config.write_bytes(done.stdout)


def hooks(stage="prestart", command="prestart", options=()):
    return {stage: [{"path": world.mpu_hook,
                     "args": ["mpu-hook", f"--socket={world.mpud_process.socket}", *options,
                              command]}]}


def run_bundle(runtime, bundle, check=True):
    return run([*RUNTIMES[runtime], "run", "--bundle", bundle, unique(runtime)], check=check)


def check_patched(runtime):
    before = world.mpud_process.taken()
    for args, judge in [(["/bin/sh", "-c", LOOK], expect_own_processes), (ALONE, expect_alone)]:
        bundle = world.bundle(unique("bundle"), args, ENABLED)
        patch(bundle, runtime)
        judge(run_bundle(runtime, bundle).stdout)
    expect_equal(world.mpud_process.taken() - before, 2, "listeners that mpud took")


def check_hooked(runtime, stage, command):
    before = world.mpud_process.taken()
    for args, judge in [(["/bin/sh", "-c", LOOK], expect_own_processes), (ALONE, expect_alone)]:
        bundle = world.bundle(unique("bundle"), args, ENABLED, hooks=hooks(stage, command))
        judge(run_bundle(runtime, bundle).stdout)
    expect_equal(world.mpud_process.taken() - before, 2, "listeners that mpud took")


def look_by_exec(runtime, bundle):
    """LOOK by exec in a container that sleeps."""
    name = unique(runtime)
    sleeper = subprocess.Popen([str(one) for one in
                                [*RUNTIMES[runtime], "run", "--bundle", bundle, name]],
                               stdin=subprocess.DEVNULL)
    program = [*RUNTIMES[runtime]]
    try:
        wait_until(lambda: '"running"' in run([*program, "state", name], check=False).stdout,
                   "the container to run")
        return run([*program, "exec", name, "/bin/sh", "-c", LOOK]).stdout
    finally:
        run([*program, "kill", name, "KILL"], check=False)
        sleeper.wait(timeout=20)
        run([*program, "delete", "--force", name], check=False)


def check_exec(runtime):
    bundle = world.bundle(unique("bundle"), ["/bin/sleep", "60"], ENABLED)
    patch(bundle, runtime)
    expect_own_processes(look_by_exec(runtime, bundle))


def test_runc_with_a_patched_config():
    check_patched("runc")


def test_crun_with_a_patched_config():
    check_patched("crun")


def test_runc_exec_with_a_patched_config():
    check_exec("runc")


def test_crun_exec_with_a_patched_config():
    check_exec("crun")


def test_runc_with_the_prestart_hook_alone():
    check_hooked("runc", "prestart", "prestart")


def test_crun_with_the_prestart_hook_alone():
    check_hooked("crun", "prestart", "prestart")


def test_runc_with_the_createRuntime_hook_alone():
    check_hooked("runc", "createRuntime", "createRuntime")


def test_crun_with_the_createRuntime_hook_alone():
    check_hooked("crun", "createRuntime", "createRuntime")


def test_exec_is_not_covered_by_the_prestart_hook():
    bundle = world.bundle(unique("bundle"), ["/bin/sleep", "60"], ENABLED, hooks=hooks())
    expect_uncorrected(look_by_exec("runc", bundle))


def test_without_the_annotation_precreate_changes_no_byte():
    for annotations in [None, {"mpu.enable": "0"}, {"other": "1"}]:
        bundle = world.bundle(unique("bundle"), ["/bin/true"], annotations)
        config = bundle / "config.json"
        before = config.read_bytes()
        patch(bundle, "runc")
        expect_equal(config.read_bytes(), before, "config.json")


def test_without_the_annotation_a_container_is_as_it_was():
    before = world.mpud_process.taken()
    bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], None, hooks=hooks())
    patch(bundle, "runc")
    expect_uncorrected(run_bundle("runc", bundle).stdout)
    expect_equal(world.mpud_process.taken(), before, "listeners that mpud took")


def test_a_patched_config_is_left_alone_by_the_hook():
    before = world.mpud_process.taken()
    bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], ENABLED, hooks=hooks())
    patch(bundle, "runc")
    expect_own_processes(run_bundle("runc", bundle).stdout)
    expect_equal(world.mpud_process.taken() - before, 1, "listeners that mpud took")


def test_mpu_runtime_changes_the_bundle_and_runs_runc_and_crun():
    for runtime, prefix in [("runc", []), ("crun", CGROUP2)]:
        bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], ENABLED)
        options = ["--cgroup-manager=disabled"] if runtime == "crun" else []
        expect_own_processes(run([*prefix, world.mpu_runtime, f"--runtime={runtime}",
                                  f"--socket={world.mpud_process.socket}", *options, "run",
                                  "--bundle", bundle, unique("wrapped")]).stdout)


def test_mpu_runtime_leaves_other_bundles_untouched():
    bundle = world.bundle(unique("bundle"), ["/bin/true"])
    config = bundle / "config.json"
    before = (config.read_bytes(), config.stat().st_ino, config.stat().st_mtime_ns)
    run([world.mpu_runtime, f"--socket={world.mpud_process.socket}", "run", "--bundle", bundle,
         unique("wrapped")])
    after = (config.read_bytes(), config.stat().st_ino, config.stat().st_mtime_ns)
    expect_equal(after, before, "config.json")


def test_mpu_runtime_passes_other_commands_through():
    ours = run([world.mpu_runtime, "--version"]).stdout
    expect_equal(ours, run(["runc", "--version"]).stdout, "--version")
    done = run([world.mpu_runtime, "state", "no-such-container"], check=False)
    bare = run(["runc", "state", "no-such-container"], check=False)
    expect_equal((done.returncode, done.stdout), (bare.returncode, bare.stdout), "state")


def test_mpu_runtime_always_takes_containers_without_annotations():
    for annotations, judge in [(None, expect_own_processes),
                               ({"mpu.enable": "0"}, expect_uncorrected)]:
        bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], annotations)
        judge(run([world.mpu_runtime, "--always", f"--socket={world.mpud_process.socket}", "run",
                   "--bundle", bundle, unique("wrapped")]).stdout)


def test_without_mpud_a_container_fails_and_says_why():
    for where in ["precreate", "prestart", "mpu-runtime"]:
        bundle = world.bundle(unique("bundle"), ["/bin/true"], ENABLED)
        done = start_without_mpud(where, bundle)
        expect(done.returncode != 0, f"{where}: the container started")
        expect("mpud does not run" in done.stderr, f"{where}: {done.stderr!r}")


def test_without_mpud_and_on_missing_ignore_it_starts():
    for where in ["precreate", "prestart", "mpu-runtime"]:
        bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK],
                              ENABLED | {"mpu.on-missing": "ignore"})
        done = start_without_mpud(where, bundle)
        expect_equal(done.returncode, 0, f"{where}: {done.stderr}")
        if where != "precreate":
            expect_uncorrected(done.stdout)


def start_without_mpud(where, bundle):
    nowhere = f"--socket={world.directory}/nobody.sock"
    if where == "precreate":
        return run(["sh", "-c", f"{world.mpu_hook} {nowhere} precreate <{bundle}/config.json"],
                   check=False)
    if where == "mpu-runtime":
        return run([world.mpu_runtime, nowhere, "run", "--bundle", bundle, unique("lonely")],
                   check=False)
    config = (bundle / "config.json").read_text()
    entry = hooks()["prestart"][0]
    entry["args"][1] = nowhere
    changed = json.loads(config) | {"hooks": {"prestart": [entry]}}
    (bundle / "config.json").write_text(json.dumps(changed))
    return run_bundle("runc", bundle, check=False)


def test_a_view_of_the_host_is_no_translation():
    bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK],
                          ENABLED | {"mpu.view": "host"})
    patch(bundle, "runc")
    output = run_bundle("runc", bundle).stdout
    expect(f'"pid":{world.host.pid}' in output.replace(" ", "")
           or f"[{world.host.pid}" in output or f",{world.host.pid}" in output,
           f"the host's process {world.host.pid} is not seen: {output[:400]}")
