"""A root file system, the simulated driver, mpud, and what a container sees of them."""
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from results import expect, expect_equal  # noqa: E402
from world import Programs, Simrm, die_with_parent, wait_until  # noqa: E402

NO_PROCESS = 0xFFFFFFFF
# The worker's: the main one, those that wait, watch and answer mpuctl, and 16 executors.
MPUD_THREADS = 20
SUBDEVICE = 0x2080
ENGINES = ["fb", "gr", "nvenc", "nvdec", "nvjpg", "nvofa"]
MIB = 1 << 20
APPLETS = ["sh", "cat", "sleep", "ps", "true", "kill", "mount", "head"]
# A command that holds 100 MiB in a child of its shell, and what gpu-ps then tells.
LOOK = ("gpu-hold --dev-root=/gpu --memory=100 --util=gr:40 | { read word pid; echo held $pid; "
        "gpu-ps --dev-root=/gpu --json; kill $pid; }")
# The same program as the container's only one.
# podman's default, as its package has it.
PROFILE = ROOT / "tests/data/seccomp/podman.json"
ALONE = ["/bin/gpu-ps", "--dev-root=/gpu", "--json", f"--class={SUBDEVICE}"]


def run(argv, check=True, timeout=120, **kwargs):
    """Runs ARGV to its end; AssertionError with its own words when it fails."""
    done = subprocess.run([str(one) for one in argv], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=timeout, check=False, **kwargs)
    if check:
        expect(done.returncode == 0, f"{Path(str(argv[0])).name} ended with {done.returncode}: "
                                     f"{done.stderr.strip() or done.stdout.strip()}")
    return done


def installed(program):
    return shutil.which(program) is not None


class Mpud:
    """A running mpud. Its log is kept."""

    def __init__(self, programs, device_folder, socket, user=None, options=()):
        self.socket = str(socket)
        self.log_path = f"{programs.directory}/mpud-{len(os.listdir(programs.directory))}.log"
        self.log = open(self.log_path, "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [programs.mpud, f"--socket={self.socket}", f"--dev-root={device_folder}", *options],
            stderr=self.log, preexec_fn=die_with_parent,
            **({"user": user, "group": user, "extra_groups": []} if user else {}))
        wait_until(lambda: 'msg="ready"' in self.output() or self.process.poll() is not None,
                   "mpud to be ready")
        expect(self.process.poll() is None, f"mpud ended: {self.output()}")

    def output(self):
        return Path(self.log_path).read_text(encoding="utf-8", errors="replace")

    def taken(self):
        """How many listeners came."""
        return self.output().count("took a container's listener")

    def worker(self):
        """The process that does the work; the other one keeps."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def resources(self):
        """Descriptors of keeper and worker by what they are, and children now. Threads only need to
        be few, as executors are made when there is work for one more, and stay."""
        kinds = Counter()
        for pid in [self.process.pid, self.worker()]:
            folder = Path(f"/proc/{pid}")
            for entry in (folder / "fd").iterdir():
                with suppress(OSError):
                    kinds[os.readlink(entry).split(":")[-1].split("[")[0]] += 1
            kinds["children"] += len((folder / f"task/{pid}/children").read_text().split())
            threads = len(os.listdir(folder / "task"))
            expect(threads <= MPUD_THREADS, f"mpud has {threads} threads")
        return dict(kinds)

    def more(self, before):
        """What it has more of than BEFORE. It may have less: callers that it remembers have ended."""
        return {kind: count for kind, count in self.resources().items()
                if count > before.get(kind, 0)}

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=20)
        self.log.close()
        return status


class World(Programs):
    """The programs under test, a container's root file system with some of them, and a driver with
    a process of the host on it, which no container may see."""

    NAMES = ["mpud", "mpuctl", "mpu-hook", "mpu-runtime", "mpu-run", "gpu-hold", "gpu-ps",
             "ioctl-probe", "simrm"]
    VERSION = "550.54.14"

    def __init__(self, build):
        self.directory = Path(tempfile.mkdtemp(prefix="mpu-runtime-"))
        self.directory.chmod(0o755)
        for name in self.NAMES:
            shutil.copy(self.find(name, Path(build), ROOT / "build"), self.directory / name)
        self.make_root()
        self.simrm_process = Simrm(self, self.VERSION)
        self.gpu = self.simrm_process.directory
        os.chmod(self.directory, 0o755)
        self.host = subprocess.Popen([self.gpu_hold, f"--dev-root={self.gpu}", "--memory=64",
                                      "--util=gr:30"], stdout=subprocess.PIPE, text=True,
                                     preexec_fn=die_with_parent)
        self.host.stdout.readline()
        self.mpud_process = Mpud(self, self.gpu, self.directory / "mpud.sock")

    def make_root(self):
        self.root = self.directory / "rootfs"
        for folder in ["bin", "proc", "dev", "sys", "tmp", "etc", "gpu", "run", "usr", "root"]:
            self.root.joinpath(folder).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.root / "bin/busybox")
        for applet in APPLETS:
            self.root.joinpath("bin", applet).symlink_to("busybox")
        for name in ["gpu-hold", "gpu-ps", "ioctl-probe"]:
            shutil.copy(self.directory / name, self.root / "bin" / name)
            for library in self.libraries(self.directory / name):
                target = self.root / library.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, target)
        self.root.joinpath("etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        self.archive = self.directory / "rootfs.tar"
        run(["tar", "-C", self.root, "-cf", self.archive, "."])

    @staticmethod
    def libraries(program):
        """What the dynamic linker would load; nothing for a static program."""
        words = run(["ldd", program], check=False).stdout.split()
        return [word for word in words if word.startswith("/")]

    def bundle(self, name, args, annotations=None, **changes):
        """A bundle as `runc spec` makes it, less what this test does not need of the machine."""
        folder = self.directory / "bundles" / name
        folder.mkdir(parents=True)
        run(["runc", "spec"], cwd=folder)
        config = json.loads(folder.joinpath("config.json").read_text())
        config["process"].update(args=args, terminal=False)
        config["process"].pop("rlimits", None)
        config["root"] = {"path": str(self.root), "readonly": False}
        config["mounts"].append({"destination": "/gpu", "type": "bind", "source": self.gpu,
                                 "options": ["bind", "rw"]})
        config["linux"].pop("resources", None)
        if annotations:
            config["annotations"] = annotations
        config.update(changes)
        folder.joinpath("config.json").write_text(json.dumps(config))
        return folder

    def stop(self):
        status = self.mpud_process.stop()
        self.host.kill()
        self.host.wait()
        self.host.stdout.close()
        self.simrm_process.stop()
        self.remove()
        return status


def read_look(output):
    """What LOOK printed: the holder's PID and the answers."""
    lines = output.splitlines()
    held = [line for line in lines if line.startswith("held ")]
    expect(len(held) == 1, f"no holder: {output!r}")
    start = next((i for i, line in enumerate(lines) if line.startswith("{")), None)
    expect(start is not None, f"no answer of gpu-ps: {output!r}")
    return int(held[0].split()[1]), json.loads("".join(lines[start:]))


def foreigners(answers, known):
    """PIDs anywhere in the answers that are not KNOWN."""
    gpu = answers["gpus"][0]
    pids = {pid for part in gpu["get_pids"] for pid in part["pids"]}
    pids |= {entry["pid"] for entry in gpu["get_pid_info"]["entries"]}
    for sample in gpu["util"]["samples"]:
        pids |= {sample[engine]["pid"] for engine in ENGINES if engine in sample}
    return pids - set(known) - {NO_PROCESS}


def expect_own_processes(output):
    """LOOK saw its own holder, with its memory, and nothing else."""
    pid, answers = read_look(output)
    gpu = answers["gpus"][0]
    expect_equal(gpu["get_pids"][0]["pids"], [pid], "compute processes")
    memory = {entry["pid"]: entry["private"] // MIB for entry in gpu["get_pid_info"]["entries"]}
    expect_equal(memory.get(pid), 100, "MiB of the own process")
    expect(not foreigners(answers, {pid, answers["own_pid"]}),
           f"sees processes of others: {foreigners(answers, {pid, answers['own_pid']})}")


def expect_alone(output):
    """ALONE saw itself, as PID 1, and nothing else."""
    answers = json.loads(output[output.index("{"):])
    expect_equal(answers["own_pid"], 1, "own PID")
    lists = {part["class"]: part["pids"] for part in answers["gpus"][0]["get_pids"]}
    expect_equal(lists[SUBDEVICE], [1], "processes with a subdevice")
    expect(not foreigners(answers, {1}), f"sees others: {foreigners(answers, {1})}")


def expect_uncorrected(output):
    """LOOK got what this driver says by itself: the own process without its memory."""
    pid, answers = read_look(output)
    entries = answers["gpus"][0]["get_pid_info"]["entries"]
    memory = {entry["pid"]: entry["private"] // MIB for entry in entries}
    expect_equal(memory.get(pid), 0, "MiB that the bare driver tells of the own process")


class User:
    """An ordinary user with subordinate ids, made for the test."""

    def __init__(self, name):
        self.name = name
        run(["useradd", "--create-home", name])
        entry = pwd.getpwnam(name)
        self.uid, self.home = entry.pw_uid, entry.pw_dir
        self.runtime = Path(f"/run/user/{self.uid}")
        self.runtime.mkdir(parents=True, exist_ok=True)
        os.chown(self.runtime, self.uid, entry.pw_gid)
        self.runtime.chmod(0o700)

    def command(self, argv):
        """ARGV as that user, in its own environment."""
        return ["env", "-i", f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.runtime}",
                f"PATH={os.environ['PATH']}", "setpriv", f"--reuid={self.name}",
                f"--regid={self.name}", "--init-groups", *argv]

    def processes(self):
        """What runs as that user, which is made for the test alone."""
        found = []
        for entry in Path("/proc").iterdir():
            # It may end while we look.
            with suppress(FileNotFoundError, ProcessLookupError):
                if entry.name.isdigit() and entry.stat().st_uid == self.uid:
                    found.append(int(entry.name))
        return found

    def remove(self):
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), f"the processes of {self.name} to end")
        run(["userdel", "--force", "--remove", self.name])
        shutil.rmtree(self.runtime, ignore_errors=True)
