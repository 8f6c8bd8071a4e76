"""The static programs run where there is no C library: in a folder that holds nothing else.

  no_libraries.py BUILD-DIRECTORY
"""
import json
import os
import shutil
import subprocess
import sys

import results
from world import Programs, Simrm

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


def test_static_programs_need_no_shared_library():
    for name in ("mpu-run", "gpu-ps", "gpu-hold"):
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
