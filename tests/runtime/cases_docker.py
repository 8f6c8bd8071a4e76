"""Docker with mpu-runtime beside runc, under a dockerd of its own."""
import json
import os
import shutil
import subprocess

from collector import Collector, Requests
from containers import (ALONE, LOOK, PROFILE, expect, expect_alone, expect_equal,
                        expect_own_processes, expect_uncorrected, run, wait_until)

TITLE = "Docker"
NEEDS = ["dockerd", "docker", "ctr", "runc"]
IMAGE = "mpu-test"
world = None
daemon = None
folder = None


def docker(*arguments, check=True):
    return run(["docker", "-H", f"unix://{folder}/docker.sock", *arguments], check=check)


def docker_run(runtime, *words, check=True):
    return docker("run", "--rm", "--network=none", f"--runtime={runtime}",
                  f"--volume={world.gpu}:/gpu", *words, check=check)


def start():
    """The settings are those that `mpu-hook install --docker` writes."""
    global daemon, folder
    folder = world.directory / "docker"
    folder.mkdir()
    run([world.mpu_hook, f"--root={folder}", f"--socket={world.mpud_process.socket}", "install",
         "--docker"])
    settings = folder / "etc/docker/daemon.json"
    config = json.loads(settings.read_text())
    config["runtimes"]["mpu-alone"] = {
        "path": world.mpu_runtime, "runtimeArgs": ["--always", f"--socket={folder}/nobody.sock"]}
    config["runtimes"]["mpu-confined"] = {
        "path": world.mpu_runtime, "runtimeArgs": ["--always", f"--socket={folder}/collector.sock",
                                                   "--confine=compute,utility"]}
    settings.write_text(json.dumps(config))
    log = open(folder / "log", "w", encoding="utf-8")
    daemon = subprocess.Popen(
        ["dockerd", f"--config-file={settings}", "--iptables=false", "--ip6tables=false",
         "--bridge=none", "--storage-driver=vfs", f"--data-root={folder}/data",
         f"--exec-root={folder}/exec", f"--pidfile={folder}/pid",
         f"--host=unix://{folder}/docker.sock"], stdout=log, stderr=log)
    log.close()
    wait_until(lambda: docker("version", check=False).returncode == 0, "dockerd to answer", 60)
    docker("import", world.archive, IMAGE)


def stop():
    if daemon:
        daemon.terminate()
        daemon.wait(timeout=60)
    for point in [line.split()[1] for line in open("/proc/mounts", encoding="utf-8")]:
        if point.startswith(f"{folder}/"):
            run(["umount", "--lazy", point], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def test_docker_with_mpu_runtime():
    before = world.mpud_process.taken()
    expect_own_processes(docker_run("mpu", IMAGE, "sh", "-c", LOOK).stdout)
    expect_alone(docker_run("mpu", IMAGE, *ALONE).stdout)
    expect_equal(world.mpud_process.taken() - before, 2, "listeners that mpud took")


def test_docker_exec():
    name = f"mpu-exec-{os.getpid()}"
    docker("run", "--detach", f"--name={name}", "--network=none", "--runtime=mpu",
           f"--volume={world.gpu}:/gpu", IMAGE, "sleep", "60")
    try:
        expect_own_processes(docker("exec", name, "sh", "-c", LOOK).stdout)
    finally:
        docker("rm", "--force", name, check=False)


def test_docker_shows_what_a_confined_container_calls():
    """Docker 20.10 has no annotations: the administrator's word is the runtime's option."""
    requests = Requests(world.mpuctl)
    requests.write(folder / "requests")
    for options in [[], ["--security-opt=seccomp=unconfined"]]:
        collector = Collector(folder / "collector.sock")
        try:
            done = docker_run("mpu-confined", f"--volume={folder}/requests:/requests", *options,
                              IMAGE, "ioctl-probe", "/requests")
            requests.judge(done.stdout, collector, True)
        finally:
            collector.stop()


def test_docker_unconfined():
    expect_own_processes(docker_run("mpu", "--security-opt=seccomp=unconfined", IMAGE, "sh", "-c",
                                    LOOK).stdout)


def test_docker_without_mpu_runtime_is_as_it_was():
    before = world.mpud_process.taken()
    expect_uncorrected(docker_run("runc", IMAGE, "sh", "-c", LOOK).stdout)
    expect_equal(world.mpud_process.taken(), before, "listeners that mpud took")


def test_docker_tells_why_a_container_does_not_start():
    done = docker_run("mpu-alone", IMAGE, "true", check=False)
    expect(done.returncode != 0, "the container started")
    expect("mpud does not run" in done.stderr, done.stderr)


def test_docker_profile_from_mpu_hook_is_a_profile_that_docker_takes():
    """Docker 20.10 drops listenerPath, and says so at the start of the container."""
    profile = folder / "profile.json"
    profile.write_text(run([world.mpu_hook, f"--socket={world.mpud_process.socket}", "profile",
                            PROFILE]).stdout)
    done = docker_run("runc", f"--security-opt=seccomp={profile}", IMAGE, "sh", "-c", LOOK,
                      check=False)
    if done.returncode == 0:
        expect_own_processes(done.stdout)
    else:
        expect("listenerPath is not set" in done.stderr, done.stderr)


def test_containerd_with_mpu_runtime_as_its_binary():
    """The containerd of this dockerd, as Kubernetes' is told by BinaryName."""
    wrapper = folder / "wrapper"
    wrapper.write_text(f"#!/bin/sh\nexec {world.mpu_runtime} --always "
                       f"--socket={world.mpud_process.socket} \"$@\"\n")
    wrapper.chmod(0o755)
    done = run(["ctr", "--address", folder / "exec/containerd/containerd.sock", "run", "--rm",
                "--rootfs", "--seccomp", "--runc-binary", wrapper, "--mount",
                f"type=bind,src={world.gpu},dst=/gpu,options=rbind:rw", world.root,
                f"mpu-ctr-{os.getpid()}", "/bin/sh", "-c", LOOK])
    expect_own_processes(done.stdout)
