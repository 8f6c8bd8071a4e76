"""podman with the annotation, runc and crun underneath, root and rootless."""
import json
import os
import shutil
import subprocess
from pathlib import Path

from cases_oci import CGROUP2
from collector import Collector, Requests
from containers import (ALONE, LOOK, Mpud, User, expect, expect_alone, expect_equal,
                        expect_own_processes, expect_uncorrected, run)

TITLE = "podman"
NEEDS = ["podman", "runc", "crun", "newuidmap"]
IMAGE = "localhost/mpu-test"
world = None
root = rootless = None
count = 0


class Engine:
    """podman with a storage of its own, the hooks installed for it, and the mpud they speak to."""

    def __init__(self, folder, mpud, user=None):
        self.user, self.mpud, self.folder = user, mpud, Path(folder)
        self.last_runtime = None
        self.hooks = self.folder / "usr/share/containers/oci/hooks.d"
        install = [world.mpu_hook, f"--root={self.folder}", "install", "--podman"]
        # An ordinary user's hooks find the user's own mpud by themselves.
        if not user:
            install.insert(1, f"--socket={mpud.socket}")
        self.as_user(install)
        self.podman("runc", "import", world.archive, IMAGE)

    def as_user(self, argv, prefix=(), **kwargs):
        argv = self.user.command(argv) if self.user else argv
        return run([*prefix, *argv], cwd="/tmp", **kwargs)

    def podman(self, runtime, *arguments, check=True, hooks=None):
        """Rootless podman keeps a mount namespace of its own, in which crun must find cgroup2."""
        prefix = CGROUP2 if runtime == "crun" else []
        if self.user and self.last_runtime != runtime:
            self.as_user(["podman", *self.storage(), "system", "migrate"], check=False)
        self.last_runtime = runtime
        return self.as_user(["podman", *self.storage(), f"--runtime={runtime}",
                             f"--hooks-dir={hooks or self.hooks}", *arguments],
                            prefix=prefix, check=check)

    def storage(self):
        return ["--cgroup-manager=cgroupfs", "--storage-driver=vfs", f"--root={self.folder}/storage",
                f"--runroot={self.folder}/run", f"--tmpdir={self.folder}/tmp"]

    @staticmethod
    def options(runtime, annotations):
        words = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--network=none",
                 "--security-opt=label=disable", f"--volume={world.gpu}:/gpu"]
        if runtime == "crun":
            words.append("--cgroups=disabled")
        return words + [f"--annotation={name}={value}" for name, value in annotations.items()]

    def run(self, runtime, args, annotations, **kwargs):
        return self.podman(runtime, "run", "--rm", *self.options(runtime, annotations), IMAGE,
                           *args, **kwargs)


def start():
    global root, rootless
    root = Engine(world.directory / "podman-root", world.mpud_process)
    user = User(f"mpu-test-{os.getpid()}")
    socket = user.runtime / "mpu/mpud.sock"
    # The folder of the socket is made by mpud itself.
    mpud = Mpud(world, world.gpu, socket, user=user.name)
    folder = Path(user.home) / "engine"
    rootless = Engine(folder, mpud, user)


def stop():
    if root:
        shutil.rmtree(root.folder, ignore_errors=True)
    if rootless:
        rootless.as_user(["podman", *rootless.storage(), "system", "migrate"], check=False)
        rootless.as_user(["podman", *rootless.storage(), "unshare", "rm", "-rf",
                          str(rootless.folder)], check=False)
        rootless.mpud.stop()
        rootless.user.remove()


def check(engine, runtime):
    before = engine.mpud.taken()
    expect_own_processes(engine.run(runtime, ["sh", "-c", LOOK], {"mpu.enable": "1"}).stdout)
    expect_alone(engine.run(runtime, ALONE, {"mpu.enable": "true"}).stdout)
    expect_equal(engine.mpud.taken() - before, 2, "listeners that mpud took")


def check_confined(engine, runtime):
    """With hooks of its own, whose other end is a collector of calls; by exec too."""
    folder = engine.folder / "confined"
    collector = Collector(world.directory / "podman-collector.sock")
    os.chmod(collector.socket, 0o666)
    requests = Requests(world.mpuctl)
    requests.write(world.directory / "requests")
    try:
        engine.as_user([world.mpu_hook, f"--root={folder}", f"--socket={collector.socket}",
                        "--confine=compute,utility", "install", "--podman"])
        options = [*engine.options(runtime, {"mpu.confine": "utility"}),
                   f"--volume={world.directory}/requests:/requests"]
        hooks = f"{folder}/usr/share/containers/oci/hooks.d"
        done = engine.podman(runtime, "run", "--rm", *options, IMAGE, "ioctl-probe", "/requests",
                             hooks=hooks)
        requests.judge(done.stdout, collector, False)
        expect_equal(collector.states[0]["metadata"], "mpu.filter=confine mpu.confine=utility",
                     "metadata")
        done = engine.podman(runtime, "run", "--rm", *engine.options(
            runtime, {"mpu.confine": "display"}), IMAGE, "true", hooks=hooks, check=False)
        expect(done.returncode != 0 and "allows none of it" in done.stderr, done.stderr)
    finally:
        collector.stop()


def check_exec(engine, runtime):
    name = f"mpu-exec-{runtime}-{os.getpid()}"
    engine.podman(runtime, "create", f"--name={name}",
                  *engine.options(runtime, {"mpu.enable": "1"}), IMAGE, "sleep", "60")
    try:
        engine.podman(runtime, "start", name)
        done = engine.podman(runtime, "exec", name, "sh", "-c", LOOK)
        expect_own_processes(done.stdout)
    finally:
        engine.podman(runtime, "rm", "--force", "--time=0", name, check=False)


def test_podman_as_root_with_runc():
    check(root, "runc")


def test_podman_as_root_with_crun():
    check(root, "crun")


def test_podman_exec_as_root_with_runc():
    check_exec(root, "runc")


def test_podman_exec_as_root_with_crun():
    check_exec(root, "crun")


def test_podman_confined_as_root_with_runc():
    check_confined(root, "runc")


def test_podman_confined_as_root_with_crun():
    check_confined(root, "crun")


def test_podman_confined_rootless_with_runc():
    check_confined(rootless, "runc")


def test_podman_confined_rootless_with_crun():
    check_confined(rootless, "crun")


def test_podman_rootless_with_runc():
    check(rootless, "runc")


def test_podman_rootless_with_crun():
    check(rootless, "crun")


def test_podman_exec_rootless_with_runc():
    check_exec(rootless, "runc")


def test_podman_exec_rootless_with_crun():
    check_exec(rootless, "crun")


def check_prestart_alone(engine):
    only = engine.folder / "prestart-only"
    engine.as_user(["mkdir", "-p", only])
    engine.as_user(["cp", engine.hooks / "mpu-prestart.json", only])
    for runtime in ["runc", "crun"]:
        before = engine.mpud.taken()
        expect_own_processes(engine.run(runtime, ["sh", "-c", LOOK], {"mpu.enable": "1"},
                                        hooks=only).stdout)
        expect_equal(engine.mpud.taken() - before, 1, f"{runtime}: listeners that mpud took")


def test_podman_as_root_with_the_prestart_hook_alone():
    check_prestart_alone(root)


def test_podman_rootless_with_the_prestart_hook_alone():
    check_prestart_alone(rootless)


def config_of(runtime, hooks, annotations):
    """The config.json that podman makes, less what is new in each container."""
    name = f"mpu-config-{os.getpid()}"
    root.podman(runtime, "create", f"--name={name}", *root.options(runtime, annotations), IMAGE,
                "sleep", "60", hooks=hooks)
    try:
        root.podman(runtime, "start", name, hooks=hooks)
        path = root.podman(runtime, "inspect", "--format={{.OCIConfigPath}}", name).stdout.strip()
        text = Path(path).read_text(encoding="utf-8")
        ident = root.podman(runtime, "inspect", "--format={{.Id}}", name).stdout.strip()
        return text.replace(ident, "ID").replace(ident[:12], "ID")
    finally:
        root.podman(runtime, "rm", "--force", "--time=0", name, check=False)


def test_podman_without_the_annotation_writes_the_same_config():
    empty = root.folder / "no-hooks"
    empty.mkdir()

    def plain(hooks):
        text = config_of("runc", hooks, {"other": "1"})
        config = json.loads(text)
        # The storage driver names the layer anew each time.
        config["root"]["path"] = "ROOT"
        del config["annotations"]["io.kubernetes.cri-o.Created"]
        # podman writes these in the order of a hash table.
        config["mounts"].sort(key=lambda mount: mount["destination"])
        config["process"]["env"].sort()
        return json.dumps(config)

    with_hooks, without = plain(root.hooks), plain(empty)
    at = next((i for i, pair in enumerate(zip(with_hooks, without)) if pair[0] != pair[1]), 0)
    expect(with_hooks == without, f"config.json differs: {with_hooks[at - 40:at + 60]!r} with our "
                                  f"hooks, {without[at - 40:at + 60]!r} without")


def test_podman_without_the_annotation_sees_what_the_driver_says():
    before = root.mpud.taken()
    expect_uncorrected(root.run("runc", ["sh", "-c", LOOK], {}).stdout)
    expect_equal(root.mpud.taken(), before, "listeners that mpud took")


def test_podman_tells_why_a_container_does_not_start():
    for runtime in ["runc", "crun"]:
        done = root.run(runtime, ["true"], {"mpu.enable": "perhaps"}, check=False)
        expect(done.returncode != 0, f"{runtime}: the container started")
        expect("its values are" in done.stderr, f"{runtime}: {done.stderr}")


def test_podman_unconfined_and_privileged_containers():
    for option in ["--security-opt=seccomp=unconfined", "--privileged"]:
        done = root.podman("runc", "run", "--rm", option,
                           *root.options("runc", {"mpu.enable": "1"}), IMAGE, "sh", "-c", LOOK)
        expect_own_processes(done.stdout)


def test_podman_containers_do_not_see_each_other():
    holders = [subprocess.Popen(
        ["podman", *root.storage(), "--runtime=runc", f"--hooks-dir={root.hooks}", "run", "--rm",
         f"--name=mpu-neighbour-{number}", *root.options("runc", {"mpu.enable": "1"}), IMAGE,
         "gpu-hold", "--dev-root=/gpu", "--memory=32", "--seconds=60"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for number in range(2)]
    try:
        for holder in holders:
            expect(holder.stdout.readline().startswith("ready"), "a neighbour did not start")
        expect_own_processes(root.run("runc", ["sh", "-c", LOOK], {"mpu.enable": "1"}).stdout)
    finally:
        for number, holder in enumerate(holders):
            root.podman("runc", "rm", "--force", "--time=0", f"mpu-neighbour-{number}", check=False)
            holder.wait(timeout=30)
            holder.stdout.close()


def test_podman_with_the_cdi_device():
    """podman looks for CDI specs in /etc/cdi and /run/cdi only: this one has a name of its own."""
    folder = world.directory / "cdi"
    run([world.mpu_hook, f"--root={folder}", f"--socket={world.mpud_process.socket}", "install",
         "--cdi"])
    spec = json.loads((folder / "etc/cdi/mpu.json").read_text())
    spec["kind"] = f"mpu.test/processes-{os.getpid()}"
    path = Path(f"/run/cdi/mpu-test-{os.getpid()}.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(spec))
    try:
        done = root.podman("runc", "run", "--rm", f"--device={spec['kind']}=enable",
                           *root.options("runc", {}), IMAGE, "sh", "-c", LOOK)
        expect_own_processes(done.stdout)
    finally:
        path.unlink()
