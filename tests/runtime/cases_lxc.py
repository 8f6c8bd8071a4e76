"""LXC with the start-host hook, and mpu-run in front of lxc-attach."""
import os
import shutil

from cases_oci import CGROUP2
from containers import (ALONE, LOOK, expect, expect_alone, expect_equal, expect_own_processes,
                        expect_uncorrected, run)

TITLE = "LXC"
NEEDS = ["lxc-start", "lxc-execute", "lxc-attach"]
world = None
folder = None


def start():
    """The hook's line is that which `mpu-hook install --lxc` writes."""
    global folder
    folder = world.directory / "lxc"
    (folder / "containers").mkdir(parents=True)
    run(["cp", "-a", world.root, folder / "rootfs"])
    run([world.mpu_hook, f"--root={folder}", f"--socket={world.mpud_process.socket}", "install",
         "--lxc"])


def stop():
    shutil.rmtree(folder, ignore_errors=True)


def config(name, include, command=None):
    path = folder / f"{name}.conf"
    lines = [f"lxc.uts.name = {name}", f"lxc.rootfs.path = dir:{folder}/rootfs",
             f"lxc.mount.entry = {world.gpu} gpu none bind,rw 0 0",
             "lxc.mount.auto = proc:mixed sys:ro", "lxc.net.0.type = empty"]
    if include:
        lines.append(f"lxc.include = {include}")
    if command:
        lines.append(f"lxc.init.cmd = {command}")
    path.write_text("\n".join(lines) + "\n")
    return path


def ours():
    return folder / "etc/lxc/mpu.conf"


def execute(name, include, args, check=True):
    return run([*CGROUP2, "lxc-execute", "-n", name, "-f", config(name, include), "-P",
                folder / "containers", "--", *args], check=check)


def test_lxc_with_the_start_host_hook():
    before = world.mpud_process.taken()
    expect_own_processes(execute("mpu-look", ours(), ["/bin/sh", "-c", LOOK]).stdout)
    expect_equal(world.mpud_process.taken() - before, 1, "listeners that mpud took")


def test_lxc_container_whose_only_program_asks():
    """Its output goes to a file, as LXC gives its init a console."""
    name = "mpu-alone"
    script = folder / "rootfs/bin/alone"
    script.write_text(f"#!/bin/sh\nexec {' '.join(ALONE)} >/tmp/alone 2>&1\n")
    script.chmod(0o755)
    run([*CGROUP2, "lxc-start", "--foreground", "-n", name, "-f",
         config(name, ours(), "/bin/alone"), "-P", folder / "containers"])
    expect_alone((folder / "rootfs/tmp/alone").read_text())


def test_lxc_without_the_hook_is_as_it_was():
    before = world.mpud_process.taken()
    expect_uncorrected(execute("mpu-bare", None, ["/bin/sh", "-c", LOOK]).stdout)
    expect_equal(world.mpud_process.taken(), before, "listeners that mpud took")


def attach(name, prefix):
    """LOOK by lxc-attach in a container that sleeps, with PREFIX before lxc-attach."""
    path = config(name, ours(), "/bin/sleep 60")
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


def test_lxc_attach_alone_is_not_covered():
    expect_uncorrected(attach("mpu-attach-bare", ""))


def test_lxc_without_mpud_fails_and_says_why():
    name = "mpu-lonely"
    lonely = folder / "lonely.conf"
    lonely.write_text(ours().read_text().replace(world.mpud_process.socket, f"{folder}/nobody.sock"))
    log = folder / "lonely.log"
    done = run([*CGROUP2, "lxc-execute", "-n", name, "-f", config(name, lonely), "-P",
                folder / "containers", "-o", log, "-l", "DEBUG", "--", "/bin/true"], check=False)
    expect(done.returncode != 0, "the container started")
    expect("mpud does not run" in log.read_text(), log.read_text()[-500:])
    expect(not os.path.exists(f"{folder}/nobody.sock"), "there is a socket now")
