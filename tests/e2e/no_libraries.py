"""The static programs run where there is no C library: in a folder that holds nothing else.

  no_libraries.py BUILD-DIRECTORY
"""
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import results
from world import Programs, Simrm, die_with_parent, wait_until

RELEASE = "535.104.12"
programs = None


def test_static_programs_run_in_an_empty_root():
    root = programs.directory / "root"
    for folder in ("proc", "tmp"):
        (root / folder).mkdir(parents=True)
    for name in ("mpu-run", "gpu-ps", "gpu-hold"):
        shutil.copy(programs.directory / name, root / name)
    with Simrm(programs, RELEASE) as simrm:
        devices = root / os.path.basename(simrm.directory)
        devices.mkdir()
        # mpu-run --pid-ns wants a mount point as its root folder, as every container has one.
        script = f"""
            mount --bind {root} {root}
            mount --bind {simrm.directory} {devices}
            mount -t proc proc {root}/proc
            exec chroot {root} /mpu-run --pid-ns --dev-root=/{devices.name} -- \
                /gpu-ps --dev-root=/{devices.name} --json --class=0x2080
        """
        done = subprocess.run(["unshare", "--mount", "sh", "-e", "-c", script],
                              capture_output=True, text=True, timeout=60)
        results.expect_equal(done.returncode, 0, f"exit status, with {done.stderr!r}")
        answer = json.loads(done.stdout)
        listed = [part["pids"] for part in answer["gpus"][0]["get_pids"] if part["class"] == 0x2080]
        results.expect_equal(listed, [[answer["own_pid"]]], "processes of the GPU")


def scrape(path):
    """What is served there."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return answer.status, answer.read().decode()


def test_static_mpud_serves_metrics():
    mpud = programs.find("mpud", Path(sys.argv[1]))
    path = str(programs.directory / "metrics.sock")
    with Simrm(programs, RELEASE) as simrm, subprocess.Popen(
            [mpud, f"--socket={programs.directory}/mpud.sock", f"--dev-root={simrm.directory}",
             f"--metrics=unix:{path}"], preexec_fn=die_with_parent) as process:
        try:
            wait_until(lambda: os.path.exists(path) or process.poll() is not None, "the socket")
            status, text = scrape(path)
        finally:
            process.terminate()
        results.expect_equal(process.wait(timeout=20), 0, "status of mpud")
    results.expect_equal(status, 200, "status of the answer")
    results.expect("mpu_build_info{" in text and "mpu_driver_answers 1" in text, text)


def test_static_programs_need_no_shared_library():
    shutil.copy(programs.find("mpud", Path(sys.argv[1])), programs.directory / "mpud")
    shutil.copy(programs.find("mpuctl", Path(sys.argv[1])), programs.directory / "mpuctl")
    for name in ("mpu-run", "mpud", "mpuctl", "gpu-ps", "gpu-hold"):
        done = subprocess.run(["readelf", "--program-headers", "--dynamic",
                               programs.directory / name], capture_output=True, text=True)
        results.expect("INTERP" not in done.stdout and "NEEDED" not in done.stdout,
                       f"{name} wants a loader or a library")


def main():
    global programs
    programs = Programs(sys.argv[1])
    try:
        return results.run_cases(sys.modules[__name__])
    finally:
        programs.remove()


if __name__ == "__main__":
    sys.exit(main())
