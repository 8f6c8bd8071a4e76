"""mpu-hook install and uninstall, and the profiles that mpu-hook makes."""
import json
from pathlib import Path

import cases_oci
from cases_oci import unique
from containers import (LOOK, PROFILE, ROOT, expect, expect_equal, expect_own_processes, run)

TITLE = "installation"
NEEDS = ["runc"]
TARGETS = ["--podman", "--docker", "--kubernetes", "--cdi", "--lxc"]
world = None


def start():
    pass


def stop():
    pass


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*")
            if path.is_file()}


def install(folder, *targets, command="install", options=()):
    return run([world.mpu_hook, f"--root={folder}", *options, command, *targets])


def test_what_is_installed_can_be_taken_away():
    folder = world.directory / "install"
    folder.mkdir()
    install(folder, *TARGETS)
    expect_equal(sorted(files(folder)), [
        "etc/cdi/mpu.json", "etc/docker/daemon.json", "etc/lxc/mpu-start-host.conf",
        "etc/lxc/mpu.conf", "etc/lxc/mpu.seccomp",
        "usr/share/containers/oci/hooks.d/mpu-precreate.json",
        "usr/share/containers/oci/hooks.d/mpu-prestart.json",
        "var/lib/kubelet/seccomp/profiles/mpu.json"], "files")
    before = files(folder)
    install(folder, *TARGETS)
    expect_equal(files(folder), before, "files after a second time")
    install(folder, *TARGETS, command="uninstall")
    expect_equal(files(folder), {}, "files after uninstall")
    install(folder, *TARGETS, command="uninstall")


def test_the_rest_of_dockers_settings_stays():
    folder = world.directory / "install-docker"
    path = folder / "etc/docker/daemon.json"
    path.parent.mkdir(parents=True)
    theirs = {"log-driver": "journald", "big": 18446744073709551615,
              "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}}
    path.write_text(json.dumps(theirs))
    path.chmod(0o600)
    install(folder, "--docker")
    changed = json.loads(path.read_text())
    expect_equal(changed["runtimes"].pop("mpu")["path"], world.mpu_runtime, "path of the runtime")
    expect_equal(changed, theirs, "the rest")
    expect_equal(path.stat().st_mode & 0o777, 0o600, "mode")
    install(folder, "--docker", command="uninstall")
    expect_equal(json.loads(path.read_text()), theirs, "after uninstall")


def test_a_bad_base_profile_is_refused():
    folder = world.directory / "install-base"
    folder.mkdir()
    done = run([world.mpu_hook, f"--root={folder}", "--base=/nowhere", "install", "--kubernetes"],
               check=False)
    expect_equal(done.returncode, 1, "status")
    expect("/nowhere" in done.stderr, done.stderr)
    expect_equal(files(folder), {}, "files")


def test_settings_of_docker_that_are_no_json_are_left_alone():
    folder = world.directory / "install-broken"
    path = folder / "etc/docker/daemon.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"runtimes": ')
    done = run([world.mpu_hook, f"--root={folder}", "install", "--docker"], check=False)
    expect_equal(done.returncode, 1, "status")
    expect("ends too early" in done.stderr, done.stderr)
    expect_equal(path.read_text(), '{"runtimes": ', "daemon.json")


def test_a_container_with_a_profile_that_mpu_hook_made():
    """As the kubelet does with a Localhost profile: the file becomes linux.seccomp."""
    for base in ["none", ROOT / "tests/data/seccomp/containerd.json",
                 ROOT / "tests/data/seccomp/docker.json"]:
        profile = json.loads(run([world.mpu_hook, f"--socket={world.mpud_process.socket}",
                                  "--view=container", "--policy=always", "profile", base]).stdout)
        expect_equal(profile["listenerMetadata"], "mpu.view=container mpu.policy=always",
                     "metadata")
        bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK])
        config = json.loads((bundle / "config.json").read_text())
        config["linux"]["seccomp"] = profile
        (bundle / "config.json").write_text(json.dumps(config))
        expect_own_processes(cases_oci.run_bundle("runc", bundle).stdout)


def test_a_profile_file_keeps_what_engines_read_in_it():
    before = json.loads(PROFILE.read_text())
    after = json.loads(run([world.mpu_hook, "profile", PROFILE]).stdout)
    for name in before:
        if name != "syscalls":
            expect_equal(after[name], before[name], name)
    left = [rule for rule in after["syscalls"] if "ioctl" not in rule["names"]]
    for rule in before["syscalls"]:
        names = [name for name in rule["names"] if name != "ioctl"]
        expect(rule | {"names": names} in left, f"lost: {rule}")


def test_a_profile_with_a_listener_is_refused():
    path = world.directory / "theirs.json"
    path.write_text('{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/other.sock"}')
    done = run([world.mpu_hook, "profile", path], check=False)
    expect_equal((done.returncode, done.stdout), (1, ""), "status and output")
    expect("/run/other.sock" in done.stderr, done.stderr)


def test_the_files_in_examples_are_what_install_writes():
    """But for where the programs lie, which packages put into /usr/bin."""
    folder = world.directory / "install-examples"
    folder.mkdir()
    for base, targets in [("containerd.json", [one for one in TARGETS if one != "--lxc"]),
                          ("lxc-common.seccomp", ["--lxc"])]:
        install(folder, *targets, options=["--socket=/run/mpu/mpud.sock",
                                           f"--base={ROOT}/tests/data/seccomp/{base}"])
    examples = {"usr/share/containers/oci/hooks.d/mpu-precreate.json": "podman/mpu-precreate.json",
                "usr/share/containers/oci/hooks.d/mpu-prestart.json": "podman/mpu-prestart.json",
                "etc/docker/daemon.json": "docker/daemon.json", "etc/cdi/mpu.json": "cdi/mpu.json",
                "etc/lxc/mpu.conf": "lxc/mpu.conf",
                "etc/lxc/mpu.seccomp": "lxc/mpu.seccomp",
                "etc/lxc/mpu-start-host.conf": "lxc/mpu-start-host.conf",
                "var/lib/kubelet/seccomp/profiles/mpu.json": "kubernetes/mpu.json"}
    for installed, example in examples.items():
        wanted = Path(folder, installed).read_text().replace(str(world.directory), "/usr/bin")
        expect_equal((ROOT / "examples" / example).read_text(), wanted, example)
