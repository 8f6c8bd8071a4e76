"""LXC: its notify proxy with mpud behind it, the start-host hook, and mpu-run in front of
lxc-attach."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from cases_oci import CGROUP2
from cases_trace import traced
from containers import (ALONE, LOOK, PROFILE, Mpud, expect, expect_alone, expect_equal,
                        expect_own_processes, expect_uncorrected, foreigners, run, wait_until)

TITLE = "LXC"
NEEDS = ["lxc-start", "lxc-execute", "lxc-attach"]
GPU_PS = "gpu-ps --dev-root=/gpu --json"
GET_PIDS = "0x2080018d"
# Of lxc-attach, on a machine without a security module.
ATTEMPTS = 30
world = None
folder = None
mpud = None


def start():
    """The lines are those which `mpu-hook install --lxc` writes, but for the folder."""
    global folder, mpud
    folder = world.directory / "lxc"
    (folder / "containers").mkdir(parents=True)
    run(["cp", "-a", world.root, folder / "rootfs"])
    mpud = Mpud(world, world.gpu, folder / "mpud.sock", options=[f"--lxc-socket={folder}/lxc.sock"])
    run([world.mpu_hook, f"--root={folder}", f"--socket={world.mpud_process.socket}",
         f"--lxc-socket={folder}/lxc.sock", "install", "--lxc"])
    forwarding().write_text(forwarding().read_text().replace("/etc/lxc", f"{folder}/etc/lxc"))


def stop():
    mpud.stop()
    shutil.rmtree(folder, ignore_errors=True)


def config(name, include, command=None, lines=()):
    path = folder / f"{name}.conf"
    lines = [f"lxc.uts.name = {name}", f"lxc.rootfs.path = dir:{folder}/rootfs",
             f"lxc.mount.entry = {world.gpu} gpu none bind,rw 0 0",
             "lxc.mount.auto = proc:mixed sys:ro", "lxc.net.0.type = empty", *lines]
    if include:
        lines.append(f"lxc.include = {include}")
    if command:
        lines.append(f"lxc.init.cmd = {command}")
    path.write_text("\n".join(lines) + "\n")
    return path


def forwarding():
    return folder / "etc/lxc/mpu.conf"


def hook():
    return folder / "etc/lxc/mpu-start-host.conf"


def execute(name, include, args, check=True):
    return run([*CGROUP2, "lxc-execute", "-n", name, "-f", config(name, include), "-P",
                folder / "containers", "--", *args], check=check)


def test_lxc_with_the_start_host_hook():
    before = world.mpud_process.taken()
    expect_own_processes(execute("mpu-look", hook(), ["/bin/sh", "-c", LOOK]).stdout)
    expect_equal(world.mpud_process.taken() - before, 1, "listeners that mpud took")


def test_lxc_container_whose_only_program_asks():
    """Its output goes to a file, as LXC gives its init a console."""
    name = "mpu-alone"
    script = folder / "rootfs/bin/alone"
    script.write_text(f"#!/bin/sh\nexec {' '.join(ALONE)} >/tmp/alone 2>&1\n")
    script.chmod(0o755)
    run([*CGROUP2, "lxc-start", "--foreground", "-n", name, "-f",
         config(name, hook(), "/bin/alone"), "-P", folder / "containers"])
    expect_alone((folder / "rootfs/tmp/alone").read_text())


def test_lxc_without_the_hook_is_as_it_was():
    before = world.mpud_process.taken()
    expect_uncorrected(execute("mpu-bare", None, ["/bin/sh", "-c", LOOK]).stdout)
    expect_equal(world.mpud_process.taken(), before, "listeners that mpud took")


def attach(name, prefix, include=None):
    """LOOK by lxc-attach in a container that sleeps, with PREFIX before lxc-attach."""
    path = config(name, include or hook(), "/bin/sleep 60")
    where = f"-P {folder}/containers -n {name}"
    script = (f"lxc-start {where} -f {path} && lxc-wait {where} -s RUNNING -t 20; "
              f"{prefix} lxc-attach {where} -- /bin/sh -c '{LOOK}'; status=$?; "
              f"lxc-stop -k {where}; exit $status")
    return run([*CGROUP2, "sh", "-c", script]).stdout


def test_mpu_run_covers_lxc_attach():
    expect_own_processes(attach("mpu-attach", f"{world.mpu_run} --dev-root={world.gpu} --"))


def test_mpu_run_with_mpud_covers_lxc_attach():
    before = world.mpud_process.taken()
    expect_own_processes(attach(
        "mpu-attach-d", f"{world.mpu_run} --socket={world.mpud_process.socket} --"))
    expect_equal(world.mpud_process.taken() - before, 2, "listeners that mpud took")


def test_lxc_attach_alone_is_not_covered_by_the_hook():
    expect_uncorrected(attach("mpu-attach-bare", ""))


def test_lxc_without_mpud_fails_and_says_why():
    name = "mpu-lonely"
    lonely = folder / "lonely.conf"
    lonely.write_text(hook().read_text().replace(world.mpud_process.socket, f"{folder}/nobody.sock"))
    log = folder / "lonely.log"
    done = run([*CGROUP2, "lxc-execute", "-n", name, "-f", config(name, lonely), "-P",
                folder / "containers", "-o", log, "-l", "DEBUG", "--", "/bin/true"], check=False)
    expect(done.returncode != 0, "the container started")
    expect("mpud does not run" in log.read_text(), log.read_text()[-500:])
    expect(not os.path.exists(f"{folder}/nobody.sock"), "there is a socket now")


# ---- LXC's notify proxy ----


class Container:
    """A container whose init sleeps, and whose calls LXC forwards to mpud."""

    def __init__(self, name, lines=(), command="/bin/sleep 600"):
        self.name = name
        self.where = ["-P", f"{folder}/containers", "-n", name]
        self.log = folder / f"{name}.log"
        self.path = config(name, forwarding(), command, lines=lines)

    def __enter__(self):
        run([*CGROUP2, "lxc-start", *self.where, "-f", self.path, "-o", self.log, "-l", "ERROR"])
        run(["lxc-wait", *self.where, "-s", "RUNNING", "-t", "20"])
        return self

    def __exit__(self, *_):
        run([*CGROUP2, "lxc-stop", "-k", *self.where])

    def attach_once(self, script):
        return run([*CGROUP2, "lxc-attach", *self.where, "--", "/bin/sh", "-c", script],
                   check=False)

    def attach_beside(self, script):
        return subprocess.Popen([*CGROUP2, "lxc-attach", *self.where, "--", "/bin/sh", "-c", script],
                                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def attach(self, script):
        """Where no security module gives lxc-attach a label to set, it now and then loses the
        listener of its own program (docs/oci-coverage.md). That shows, and is tried again."""
        for _ in range(ATTEMPTS):
            done = self.attach_once(script)
            if "errno 38" not in done.stderr:
                expect_equal(done.returncode, 0, f"status of lxc-attach ({done.stderr})")
                return done.stdout
            print(f"lxc-attach lost its listener: {done.stderr.splitlines()[0]}", flush=True)
        raise AssertionError(f"{ATTEMPTS} times: {done.stderr}")


def test_lxc_forwards_the_calls_of_a_container():
    expect_own_processes(execute("mpu-forward", forwarding(), ["/bin/sh", "-c", LOOK]).stdout)


def test_lxc_attach_is_covered_where_lxc_forwards():
    with Container("mpu-attached") as container:
        expect_own_processes(container.attach(LOOK))
        beside = container.attach_beside("sleep 2")
        expect_own_processes(container.attach(LOOK))
        beside.wait(timeout=20)
        expect("container=mpu-attached" in mpud.output(), "mpud does not know the container's name")


def test_lxc_calls_that_are_forwarded_are_traced():
    with Container("mpu-traced") as container:
        expect_own_processes(container.attach(LOOK))
        with traced(folder / "mpud.sock", "mpu-traced", "--json") as trace:
            expect_own_processes(container.attach(LOOK))
        calls = trace.calls()
        expect(any(call["control"] == "NV2080_CTRL_CMD_GPU_GET_PIDS" and call["status"] == "NV_OK"
                   for call in calls), f"{len(calls)} calls")


def test_lxc_containers_see_each_their_own():
    hold = "/bin/gpu-hold --dev-root=/gpu --memory=30"
    with Container("mpu-one", command=hold) as one, Container("mpu-two") as two:
        expect_own_processes(two.attach(LOOK))
        held = one.attach(GPU_PS)
        expect_equal(foreigners(json.loads(held), {1, json.loads(held)["own_pid"]}), set(),
                     "others in the first one")
        expect_equal(json.loads(held)["gpus"][0]["get_pids"][0]["pids"], [1], "its own")


def test_lxc_settings_come_with_the_cookie():
    with Container("mpu-off", ["lxc.seccomp.notify.cookie = mpu.policy=off"]) as container:
        expect_uncorrected(container.attach(LOOK))


def made_from(text, name):
    """What mpu-hook makes of an LXC profile."""
    (folder / f"{name}.theirs").write_text(text)
    made = folder / f"{name}.seccomp"
    made.write_text(run([world.mpu_hook, "--lxc", "profile", folder / f"{name}.theirs"]).stdout)
    return f"lxc.seccomp.profile = {made}"


def with_profile(name, line):
    """The proxy of ours, with another profile: what comes later stands above."""
    conf = folder / f"{name}-include.conf"
    conf.write_text(forwarding().read_text() + line + "\n")
    return conf


def test_lxc_profile_keeps_what_it_denied():
    line = made_from("2\ndenylist\n[all]\nsymlink errno 95\nsymlinkat errno 95\n", "denied")
    output = execute("mpu-denied", with_profile("denied", line), [
        "/bin/sh", "-c", f"/bin/busybox ln -s a /tmp/denied 2>&1; {LOOK}"]).stdout
    expect("not supported" in output, output[:200])
    expect_own_processes(output)


def test_lxc_allowlists_work():
    """Here all that podman's profile allows."""
    names = {name for rule in json.loads(PROFILE.read_text())["syscalls"]
             if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    line = made_from("2\nallowlist errno 1\n[all]\n" + "\n".join(sorted(names)) + "\n", "allowed")
    expect_own_processes(execute("mpu-allowed", with_profile("allowed", line),
                                 ["/bin/sh", "-c", LOOK]).stdout)


def blocked():
    return json.loads(Path(world.gpu, "simrm-calls").read_text())["blocked"]


def attach_and_block(container):
    """An lxc-attach whose call waits in the driver."""
    for _ in range(ATTEMPTS):
        asking = container.attach_beside(f"{GPU_PS} >/tmp/slow")
        wait_until(lambda: blocked() == 1 or asking.poll() is not None, "the call in the driver")
        if blocked():
            return asking
        print("lxc-attach lost its listener", flush=True)
    raise AssertionError("no call came to the driver")


def test_lxc_monitor_is_free_while_a_call_is_slow():
    """By itself it would wait for the answer and do nothing else."""
    with Container("mpu-slow") as container:
        world.simrm_process.command(f"block cmd={GET_PIDS} count=1")
        try:
            asking = attach_and_block(container)
            time.sleep(1)
            state = run(["lxc-info", *container.where, "-s"], timeout=5).stdout
            expect("RUNNING" in state, state)
            expect_own_processes(container.attach(LOOK))
        finally:
            world.simrm_process.command("clear")
        expect_equal(asking.wait(timeout=20), 0, "status of the slow one")
        expect((folder / "rootfs/tmp/slow").read_text().startswith("{"), "no answer")


def test_lxc_container_stops_while_a_call_is_in_the_driver():
    world.simrm_process.command(f"block cmd={GET_PIDS} count=1")
    try:
        with Container("mpu-stopped") as container:
            asking = attach_and_block(container)
            began = time.monotonic()
        expect(time.monotonic() - began < 5, f"took {time.monotonic() - began:.1f} s to stop")
        asking.wait(timeout=20)
    finally:
        world.simrm_process.command("clear")


def worker_of(daemon):
    return int(Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
               .read_text().split()[0])


def test_lxc_calls_go_on_after_a_worker_has_died():
    with Container("mpu-survivor") as container:
        expect_own_processes(container.attach(LOOK))
        worker = worker_of(mpud)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: "a new worker goes on" in mpud.output(), "a new worker")
        expect_own_processes(container.attach(LOOK))


def test_lxc_calls_go_on_while_mpud_is_replaced():
    """The container's init asks without pause, and notes what fails."""
    global mpud
    before = mpud
    script = folder / "rootfs/bin/ask"
    script.write_text(f"#!/bin/sh\nwhile :; do {GPU_PS} >/dev/null 2>>/tmp/failed\n"
                      "echo >>/tmp/asked\ndone\n")
    script.chmod(0o755)
    asked = folder / "rootfs/tmp/asked"
    with Container("mpu-replaced", command="/bin/ask"):
        wait_until(asked.exists, "the first answer")
        mpud = Mpud(world, world.gpu, folder / "mpud.sock",
                    options=[f"--lxc-socket={folder}/lxc.sock", "--replace"])
        expect_equal(before.process.wait(timeout=20), 0, "status of the former mpud")
        count = asked.stat().st_size
        wait_until(lambda: asked.stat().st_size > count + 5, "more answers")
    expect_equal((folder / "rootfs/tmp/failed").read_text(), "", "what failed")


def test_lxc_monitors_find_a_socket_that_systemd_opened():
    with socket.socket(socket.AF_UNIX) as main, \
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ours:
        for one, name in [(main, "activated.sock"), (ours, "activated-lxc.sock")]:
            one.bind(f"{folder}/{name}")
            one.listen()
        conf = folder / "activated.conf"
        conf.write_text(forwarding().read_text().replace("/lxc.sock", "/activated-lxc.sock"))
        passed = [os.dup(main.fileno()), os.dup(ours.fileno())]
        daemon = subprocess.Popen(
            ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=2 exec "$@"', "-", world.mpud,
             f"--dev-root={world.gpu}"], close_fds=False, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: [os.dup2(fd, 3 + i) for i, fd in enumerate(passed)])
        try:
            expect_own_processes(execute("mpu-activated", conf, ["/bin/sh", "-c", LOOK]).stdout)
        finally:
            daemon.terminate()
            expect_equal(daemon.wait(timeout=20), 0, "status of mpud")
            for fd in passed:
                os.close(fd)


def test_lxc_forwarding_without_mpud_fails_and_says_why():
    lonely = folder / "lonely-forward.conf"
    lonely.write_text(forwarding().read_text().replace("/lxc.sock", "/nobody.sock"))
    log = folder / "lonely-forward.log"
    done = run([*CGROUP2, "lxc-execute", "-n", "mpu-lonely-forward", "-f",
                config("mpu-lonely-forward", lonely), "-P", folder / "containers", "-o", log, "-l",
                "ERROR", "--", "/bin/true"], check=False)
    expect(done.returncode != 0, "the container started")
    expect("Failed to connect to seccomp proxy" in log.read_text(), log.read_text()[-500:])
