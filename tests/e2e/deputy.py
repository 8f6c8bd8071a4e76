"""The confused deputy: whoever calls through mpu gets the answer that the driver gives him natively,
and the driver sees him, with his privilege and no other.

  deputy.py BUILD-DIRECTORY [PART-OF-A-CASE]

Each identity calls each control natively, under mpu-run with either policy, and through mpud as root
and as an unprivileged user. Where who calls reaches the driver, the simulated driver holds the call,
and the thread that makes it is looked at in /proc: its user, group and capabilities must be the
target's own.
"""
import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

RM_CONTROL, RM_ALLOC = 0xC020462A, 0xC020462B
ROOT_CLIENT, DEVICE, SUBDEVICE = 0x41, 0x80, 0x2080
GET_PROBED_IDS, ATTACH_IDS, GET_ID_INFO = 0x214, 0x215, 0x205
GPU_ID, OWN_PID, TABLE = "gpu", "pid", "table"
NOBODY = 4000000
INSUFFICIENT_PERMISSIONS = 0x1B

# name: (command, on the subdevice, size by release, words from the start of the params, admin only)
CONTROLS = {
    "GPUACCT_SET_STATE": (0xB01, False, 12, [GPU_ID, 0, 0], True),
    "GPUACCT_GET_STATE": (0xB02, False, 12, [GPU_ID, 0, 0], False),
    "GPUACCT_PROC_INFO of itself": (0xB03, False, 48, [GPU_ID, OWN_PID], False),
    "GPUACCT_PROC_INFO of nobody": (0xB03, False, 48, [GPU_ID, NOBODY], False),
    "GPUACCT_PIDS": (0xB04, False, 16012, [GPU_ID], False),
    "GPUACCT_CLEAR": (0xB05, False, 8, [GPU_ID], True),
    "RUSD_SET_FEATURES": (0x208001EB, True, {"595.45.04": 8}, [], True),
    "GET_PIDS": (0x2080018D, True, 3812, [0, SUBDEVICE], False),
    "GET_PIDS of a bad type": (0x2080018D, True, 3812, [7, SUBDEVICE], False),
    "GET_PID_INFO": (0x2080018E, True, 14408, [1, 0, OWN_PID], False),
    "GET_PID_INFO of too many": (0x2080018E, True, 14408, [201], False),
    "UTIL_SAMPLES_V2": (0x20802096, True,
                        {"535.183.01": 34000, "580.95.05": 55888, "595.45.04": 55888},
                        [2, 0], False),
    "NVENC_SESSIONS": (0x2080016E, True, 16, [512, 0, TABLE], False),
    "NVFBC_SESSIONS": (0x2080017C, True, 13316, [], False),
    "RCERR_RPT of all owners": (0x607, False, 2436, [0] * 7 + [0xFFFFFFFF], False),
    "RCERR_RPT of the default owner": (0x607, False, 2436, [], False),
    "GET_ID (passes)": (0x20800142, True, 4, [], False),
}
# The first takes the namespace's list for global ids, the last has the RUSD controls.
RELEASES = ["535.183.01", "580.95.05", "595.45.04"]


def size_of(control, release):
    size = CONTROLS[control][2]
    return size.get(release, 0) if isinstance(size, dict) else size


# --- The client: what an identity runs. One control's name a line in, its result a line out. ---

class Client:
    def __init__(self, root, release):
        self.release = release
        self.file = os.open(f"{root}/nvidiactl", os.O_RDWR | os.O_CLOEXEC)
        self.client, self.next = 0, 0x5C000001
        self.client = self.alloc(0, 0, ROOT_CLIENT, b"")
        probed = self.fill(GET_PROBED_IDS, b"\0" * (384 if release >= "580" else 256))
        self.gpu_id, = struct.unpack_from("=I", probed)
        self.fill(ATTACH_IDS, struct.pack("=I", self.gpu_id) + b"\xff" * 128)
        info = self.fill(GET_ID_INFO, struct.pack("=I", self.gpu_id) + b"\0" * 28)
        device = self.alloc(self.client, 1, DEVICE, info[8:12] + b"\0" * 52)
        self.subdevice = self.alloc(device, 1, SUBDEVICE, b"\0" * 4)

    def alloc(self, parent, named, class_id, params):
        buffer = ctypes.create_string_buffer(params, max(len(params), 1))
        handle = self.next if named else 0
        self.next += named
        api = bytearray(struct.pack("=IIIIQII", self.client, parent, handle, class_id,
                                    ctypes.addressof(buffer) if params else 0, len(params), 0))
        fcntl.ioctl(self.file, RM_ALLOC, api)
        _, _, handle, _, _, _, status = struct.unpack("=IIIIQII", api)
        if status:
            raise RuntimeError(f"class {class_id:#x}: status {status:#x}")
        return handle

    def control(self, target, command, params):
        """errno, status, and the params as they are then."""
        buffer = ctypes.create_string_buffer(params, len(params))
        api = bytearray(struct.pack("=IIIIQII", self.client, target, command, 0,
                                    ctypes.addressof(buffer), len(params), 0xFFFFFFFF))
        try:
            fcntl.ioctl(self.file, RM_CONTROL, api)
            error = 0
        except OSError as failed:
            error = failed.errno
        return error, struct.unpack("=IIIIQII", api)[6], buffer.raw

    def fill(self, command, params):
        error, status, answer = self.control(self.client, command, params)
        if error or status:
            raise RuntimeError(f"control {command:#x}: errno {error}, status {status:#x}")
        return answer

    def answer(self, name):
        command, on_subdevice, _, words, _ = CONTROLS[name]
        table = ctypes.create_string_buffer(512 * 32)
        params = bytearray(size_of(name, self.release))
        for i, word in enumerate(words):
            if word == TABLE:
                struct.pack_into("=Q", params, 4 * i, ctypes.addressof(table))
            else:
                struct.pack_into("=I", params, 4 * i,
                                 {GPU_ID: self.gpu_id, OWN_PID: os.getpid()}.get(word, word))
        target = self.subdevice if on_subdevice else self.client
        return self.control(target, command, bytes(params))[:2]


def be_client(root, release):
    client = Client(root, release)
    print(json.dumps({"euid": os.geteuid()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(client.answer(line.strip())), flush=True)


# --- The test ---

class Identity:
    """COMMAND becomes it; with NAMESPACE inside a PID namespace of its own; AROUND makes it of
    mpu-run too. PYTHON is the program that runs the client."""

    def __init__(self, name, command=(), namespace=False, around=(), python="/usr/bin/python3"):
        self.name, self.command, self.namespace = name, list(command), namespace
        self.around, self.python = list(around), python


USER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
NO_ADMIN = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
NEW_PIDS = ["unshare", "--pid", "--fork", "--mount-proc"]


def identities(setuid_python):
    return [
        Identity("root"),
        Identity("root without SYS_ADMIN", NO_ADMIN),
        Identity("uid 1000", USER),
        Identity("uid 1000 with SYS_ADMIN",
                 [*USER, "--inh-caps=+sys_admin", "--ambient-caps=+sys_admin"]),
        Identity("uid 1000, root of a userns", [*USER, "unshare", "--user", "--map-root-user"]),
        Identity("uid 1000, setuid root", USER, python=setuid_python),
        Identity("container's root", namespace=True),
        Identity("container's root, no SYS_ADMIN", NO_ADMIN, namespace=True),
        Identity("container's uid 1000", USER, namespace=True),
        Identity("uid 1000 runs mpu-run", around=USER),
        Identity("uid 1000 runs a container", around=USER, namespace=True),
    ]


def credentials(tid):
    """Effective user and group, and effective capabilities in the initial user namespace."""
    lines = dict(line.split(":\t", 1) for line in
                 Path(f"/proc/{tid}/status").read_text(encoding="utf-8").splitlines() if ":\t" in line)
    init = os.stat(f"/proc/{tid}/ns/user").st_ino == os.stat("/proc/self/ns/user").st_ino
    return (int(lines["Uid"].split()[1]), int(lines["Gid"].split()[1]),
            int(lines["CapEff"], 16) if init else 0)


class Caller:
    """A client of an identity, and what the driver sees of it."""

    def __init__(self, simrm, release, argv):
        self.simrm = simrm
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            raise AssertionError(f"{argv[:8]} ended: {self.process.stderr.read().strip()}")
        client, = simrm.state()["clients"]
        self.tid = client["tid"]
        self.own = credentials(self.tid)

    def who_calls(self, command):
        """The thread that is held in the driver, once it is."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            calls = json.loads(Path(self.simrm.directory, "simrm-calls").read_text(encoding="utf-8"))
            if calls["blocked"]:
                return [call for call in calls["by_caller"]
                        if int(call.get("control", "0"), 16) == command][-1]["tid"]
            if self.process.poll() is not None:
                raise AssertionError(f"the client ended: {self.process.stderr.read().strip()}")
            time.sleep(0.005)
        raise AssertionError(f"no call of {command:#x} came to the driver")

    def call(self, control):
        """Its result, and what the driver saw of the caller."""
        command = CONTROLS[control][0]
        self.simrm.command("record on=1")
        self.simrm.command(f"block cmd={command:#x} count=1")
        self.process.stdin.write(control + "\n")
        self.process.stdin.flush()
        try:
            tid = self.who_calls(command)
            seen = credentials(tid)
        finally:
            self.simrm.command("clear")
        result = json.loads(self.process.stdout.readline())
        calls = json.loads(Path(self.simrm.directory, "simrm-calls").read_text(encoding="utf-8"))
        return tuple(result), tid, seen, calls["by_caller"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()
        self.process.stderr.close()


def privilege_complaints(caller, tid, seen, calls):
    """What the driver saw that is not the target's."""
    if seen[:2] != caller.own[:2]:
        yield f"uid {seen[0]} gid {seen[1]}, the target has {caller.own[0]} and {caller.own[1]}"
    if seen[2] & ~caller.own[2]:
        yield f"capabilities {seen[2] & ~caller.own[2]:#x} that the target has not"
    admin = bool(caller.own[2] >> 21 & 1)
    for call in calls:
        if call["euid"] != caller.own[0] or call["admin"] and not admin:
            yield f"{call} for {caller.own}"
    if tid != caller.tid and not any(call["tid"] == tid for call in calls):
        yield f"thread {tid} called and is not on record"


@contextmanager
def running_mpud(build, simrm, name, *options):
    from world import Programs

    program = Programs.find("mpud", Path(build))
    socket = f"{simrm.directory}.{name}.sock"
    with open(f"{simrm.directory}.{name}.log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen([program, f"--socket={socket}", f"--dev-root={simrm.directory}",
                                    *options], stderr=log)
        try:
            deadline = time.monotonic() + 10
            while not os.path.exists(f"{socket}.control") and time.monotonic() < deadline:
                time.sleep(0.01)
            yield socket
        finally:
            process.terminate()
            process.wait(timeout=20)


def ways(programs, simrm, sockets, identity):
    """Name of a way -> what stands before the identity's own command."""
    mpu_run = [programs.mpu_run, f"--dev-root={simrm.directory}"]
    if identity.namespace:
        mpu_run.append("--pid-ns")
    native = NEW_PIDS if identity.namespace else []
    if identity.namespace and identity.around:
        native = ["unshare", "--user", "--map-user=1000", "--map-group=1000", *NEW_PIDS[1:]]
    found = {"native": native,
             "always": [*mpu_run, "--policy=always", "--"],
             "auto": [*mpu_run, "--policy=auto", "--"]}
    if not identity.around:
        for name, socket in sockets.items():
            found[name] = [*mpu_run, "--policy=always", f"--socket={socket}", "--"]
    return found


def ask(programs, simrm, release, identity, prefix, way):
    """Control -> (errno, status); complaints about privilege. SET and CLEAR put back what they
    change, so that each way finds the same."""
    argv = [*identity.around, *prefix, *identity.command, identity.python,
            str(programs.directory / "deputy.py"), "--client", simrm.directory, release]
    simrm.command("accounting on=1")
    caller = Caller(simrm, release, argv)
    answers, complaints, helped = {}, [], 0
    try:
        for control in CONTROLS:
            if not size_of(control, release):
                continue
            result, tid, seen, calls = caller.call(control)
            answers[control] = result
            helped += tid != caller.tid
            complaints += [f"{identity.name}, {way}, {control}: {complaint}"
                           for complaint in privilege_complaints(caller, tid, seen, calls)]
    finally:
        caller.close()
    wait_until_gone(simrm)
    return answers, complaints, helped, bool(caller.own[2] >> 21 & 1)


def wait_until_gone(simrm):
    deadline = time.monotonic() + 10
    while simrm.state()["clients"]:
        if time.monotonic() > deadline:
            raise AssertionError("a client is still there")
        time.sleep(0.01)


def text_of(answer):
    return f"errno {answer[0]}" if answer[0] else f"{answer[1]:#x}"


def compare(release, identity, table, admin):
    """Prints the rows; returns what is wrong in them."""
    wrong = []
    for control, native in table["native"].items():
        row = [text_of(answers[control]) for answers in table.values()]
        different = len(set(row)) > 1
        print(f"  {release:11} {identity.name:31} {control:31} "
              + " ".join(f"{cell:9}" for cell in row) + ("  DIFFERS" if different else ""))
        if different:
            wrong.append(f"{control}: {dict(zip(table, row))}")
        if CONTROLS[control][4] and native != (0, 0 if admin else INSUFFICIENT_PERMISSIONS):
            wrong.append(f"{control}: natively {text_of(native)}, with SYS_ADMIN {admin}")
    return wrong


def check(programs, build, release, identity):
    from world import Simrm

    table, complaints, admins = {}, [], set()
    with Simrm(programs, release) as simrm, running_mpud(build, simrm, "mpud") as socket, \
            running_mpud(build, simrm, "mpud --user", "--user=nobody") as users:
        sockets = {"mpud": socket, "mpud --user": users}
        for way, prefix in ways(programs, simrm, sockets, identity).items():
            table[way], more, helped, admin = ask(programs, simrm, release, identity, prefix, way)
            complaints += more
            admins.add(admin)
            if way in ("always", *sockets) and helped < 6:
                complaints.append(f"{identity.name}, {way}: only {helped} calls were mpu's")
            if way == "native" and helped:
                complaints.append(f"{identity.name}: {helped} native calls were another thread's")
    if len(admins) != 1:
        complaints.append(f"{identity.name} is not the same in every way")
    return [*compare(release, identity, table, admins.pop()), *complaints], len(table)


def main():
    import results
    from world import Programs

    programs = Programs(sys.argv[1])
    try:
        shutil.copy(__file__, programs.directory)
        setuid_python = str(programs.directory / "setuid-python")
        shutil.copy(os.path.realpath("/usr/bin/python3"), setuid_python)
        os.chmod(setuid_python, 0o4755)
        for release in RELEASES:
            for identity in identities(setuid_python):
                case = f"{release}: {identity.name} is who the driver sees"
                if not all(part in case for part in sys.argv[2:3]):
                    continue
                try:
                    wrong, count = check(programs, sys.argv[1], release, identity)
                except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                    results.report("failed", case, error)
                    continue
                for complaint in wrong:
                    print("   ", complaint)
                if wrong:
                    results.report("failed", case, "; ".join(wrong[:4]))
                else:
                    results.report("passed", f"{case}, {count} ways")
    finally:
        programs.remove()
    return results.exit_status()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        be_client(*sys.argv[2:])
    else:
        sys.exit(main())
