"""mpud under a real systemd, with its own units: targets call without pause while `systemctl restart`
ends and starts it: systemd.py BUILD [RESTARTS]

The systemd is a user manager of root's, in a mount namespace with cgroup2, since mpud must live in the
initial PID namespace, where a systemd that boots a container does not."""
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from results import exit_status, report  # noqa: E402
from soak import DELAYS, TARGETS, VERSION, Load, judge  # noqa: E402
from world import Programs, ROOT, Simrm, die_with_parent, wait_until  # noqa: E402

SYSTEMD = "/lib/systemd/systemd"
UNITS = ROOT / "examples/systemd"


def in_namespace(*command):
    """COMMAND where a user manager finds what it wants."""
    inside = ("mount -t cgroup2 none /sys/fs/cgroup && mkdir -p /run/systemd && "
              "mount -t tmpfs none /run/systemd && mkdir /run/systemd/system && "
              "mkdir -p /sys/fs/cgroup/mpu-test && echo $$ >/sys/fs/cgroup/mpu-test/cgroup.procs && "
              'exec "$@"')
    return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", inside, "-", *command]


# What would hide the simulated driver from mpud, and what a user manager cannot mount here. The
# capabilities, the system calls and the descriptors are those of the unit.
WITHOUT = ["PrivateTmp", "PrivateDevices", "PrivateNetwork", "ProtectSystem", "ProtectHome",
           "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
           "ProtectControlGroups", "ProtectHostname", "ProtectClock"]


class Systemd:
    """A user manager with mpud's units."""

    def __init__(self, programs, gpu):
        self.folder = programs.directory / "systemd"
        self.runtime = self.folder / "run"
        self.log = self.folder / "mpud.log"
        units = self.folder / "home/.config/systemd/user"
        units.mkdir(parents=True)
        self.runtime.mkdir(mode=0o700)
        for name in ["mpud.service", "mpud.socket"]:
            shutil.copy(UNITS / name, units / name)
            (units / f"{name}.d").mkdir()
        (units / "mpud.service.d/test.conf").write_text(
            f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=\nExecStart={programs.mpud} --dev-root={gpu}\n" +
            "".join(f"{word}=no\n" for word in WITHOUT) + f"StandardError=append:{self.log}\n")
        (units / "mpud.socket.d/test.conf").write_text(
            "[Socket]\nListenStream=\nListenStream=%t/mpu/mpud.sock\n"
            "ListenSequentialPacket=%t/mpu/lxc.sock\n")
        self.socket = self.runtime / "mpu/mpud.sock"
        self.environment = dict(os.environ, HOME=str(self.folder / "home"),
                                XDG_RUNTIME_DIR=str(self.runtime))
        self.process = subprocess.Popen([SYSTEMD, "--user"], env=self.environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_until((self.runtime / "systemd/private").exists, "the user manager", 20)

    def control(self, *words):
        done = subprocess.run(["systemctl", "--user", *words], env=self.environment, text=True,
                              capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise AssertionError(f"systemctl {' '.join(words)}: {done.stderr} {self.tail()}")
        return done.stdout.strip()

    def show(self, name):
        return self.control("show", "--value", f"--property={name}", "mpud.service")

    def tail(self):
        return self.log.read_text()[-1500:] if self.log.exists() else ""

    def stop(self):
        subprocess.run(["systemctl", "--user", "stop", "mpud.socket", "mpud.service"],
                       env=self.environment, timeout=60, check=False)
        self.process.terminate()
        self.process.wait(timeout=20)


def soak(systemd, programs, simrm, restarts):
    loads = [Load(programs, simrm.directory, systemd.socket) for _ in range(TARGETS)]
    began = time.monotonic()
    kept = []
    for _ in range(restarts):
        time.sleep(random.uniform(0, 0.1))
        before = systemd.show("MainPID")
        systemd.control("restart", "mpud.service")
        assert systemd.show("MainPID") not in (before, "0"), "mpud was not restarted"
        kept.append(int(systemd.show("NFileDescriptorStore")))
    results = [load.end() for load in loads]
    judge(results, [0, restarts, 0], 0, time.monotonic() - began)
    report("passed" if min(kept) > TARGETS else "failed",
           "systemd keeps the journal and every listener", f"{min(kept)} descriptors at least")


def confined(systemd, programs, simrm, restarts):
    """A confined program's proxies are in its cgroup, not in mpud's, which is emptied at each restart."""
    program = subprocess.Popen(
        [programs.directory / "mpu-run", "--pid-ns", f"--socket={systemd.socket}",
         f"--dev-root={simrm.directory}", "--confine=compute,utility", "--",
         programs.directory / "tour", simrm.directory, "spin=20000"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    done = 0
    while done < restarts and program.poll() is None:
        time.sleep(0.2)
        systemd.control("restart", "mpud.service")
        done += 1
    out, err = program.communicate(timeout=120)
    report("passed" if out == "spin: 0 of 20000 failed\n" and done else "failed",
           "a confined program's proxies outlive mpud under systemd",
           f"{done} restarts; {out.strip()} {err.strip()[-200:]}")


def main():
    if "--inside" not in sys.argv:
        tried = subprocess.run(in_namespace("test", "-x", SYSTEMD), capture_output=True, text=True,
                               check=False)
        if tried.returncode:
            report("not-run", "mpud under a real systemd",
                   f"no {SYSTEMD}, or no cgroup2 for it: {tried.stderr.strip()}")
            return exit_status()
        os.execvp("unshare", in_namespace(sys.executable, "-B", __file__, "--inside", *sys.argv[1:]))
    build, *rest = sys.argv[2:]
    programs = Programs(build)
    for name in ("mpud", "load", "mpu-run", "tour"):
        shutil.copy(Programs.find(name, Path(build), ROOT / "build"), programs.directory / name)
    with Simrm(programs, VERSION) as simrm:
        for line in DELAYS:
            simrm.command(line)
        systemd = Systemd(programs, simrm.directory)
        try:
            systemd.control("start", "mpud.socket")
            soak(systemd, programs, simrm, int(rest[0]) if rest else 50)
            confined(systemd, programs, simrm, 3)
            report("passed" if systemd.show("NRestarts") == "0" else "failed",
                   "mpud never ends by itself", systemd.show("NRestarts"))
        finally:
            systemd.stop()
            print(systemd.tail())
    programs.remove()
    return exit_status()


if __name__ == "__main__":
    sys.exit(main())
