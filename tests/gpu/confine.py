"""confine.py [--caps=WORDS] [--only=WORDS] [--rounds=N] PROGRAMS RUNC: the checks of confine.sh."""
import collections
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TORCH = [sys.executable, f"{HERE}/confine_torch.py"]
VIEWS = [[], ["-q"], ["-q", "-x"], ["-L"], ["pmon", "-c", "1"], ["dmon", "-c", "1"], ["topo", "-m"],
         ["nvlink", "-s"], ["mig", "-lgip"], ["conf-compute", "-f"],
         ["--query-compute-apps=pid,name,used_memory", "--format=csv"],
         ["--query-gpu=name,driver_version,memory.total,memory.used,utilization.gpu,temperature.gpu,"
          "power.draw,clocks.sm,ecc.mode.current,mig.mode.current,pcie.link.gen.current",
          "--format=csv"]]
LIMIT = 120
passed, failed = [], []


def check(what, good, detail=""):
    (passed if good else failed).append(what)
    print(f"{'PASS' if good else 'FAIL'}: {what}{': ' + detail if detail and not good else ''}", flush=True)


class Run:
    """A program's end: status, standard output, standard error; status 124: it hung."""

    def __init__(self, argv, limit=LIMIT, **keywords):
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=limit, check=False,
                                  errors="replace", **keywords)
            self.status, self.out, self.error = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            self.status, self.out, self.error = 124, "", f"still there after {late.timeout} s"
        self.refused = [line for line in self.error.splitlines() if "efused" in line]

    def tail(self):
        return " | ".join((self.out + self.error).strip().splitlines()[-3:])


def stable_result(out):
    """Without the line of a second process, whose place varies."""
    return sorted(out.splitlines())


class Confine:
    def __init__(self, programs, runc, caps, rounds):
        self.programs, self.runc, self.caps, self.rounds = programs, runc, caps, rounds
        self.mpu_run = f"{programs}/mpu-run"
        self.base_memory = used_memory()

    def prefix(self, *options, caps=None):
        return [self.mpu_run, f"--confine={caps or self.caps}", *options, "--"]

    def programs_of(self):
        names = Run([f"{self.programs}/gpu-confine", "list"]).out.split()
        return [(name, [f"{self.programs}/gpu-confine", name]) for name in names] + [("torch", TORCH)]

    # ---- Which parts run, and with which results

    def parts(self, caps=None, wanted=True):
        print(f"\n{'part':<12}{'bare':<8}{'confined':<10}{'calls refused':<16}result")
        for name, argv in self.programs_of():
            bare = Run(argv)
            own = Run(self.prefix("--pid-ns", caps=caps) + argv)
            same = own.status == bare.status == 0 and stable_result(own.out) == stable_result(bare.out)
            print(f"{name:<12}{bare.status:<8}{own.status:<10}{len(own.refused):<16}"
                  f"{'same' if same else own.tail()[:200]}", flush=True)
            for line in sorted(set(own.refused))[:8]:
                print(f"    {line[:180]}")
            if wanted:
                check(f"{name} gives the bare run's result when confined", same)

    def in_force(self):
        """What follows would prove nothing were these programs not confined."""
        seen = Run([self.mpu_run, f"--confine={self.caps}", "--stats", "--", "nvidia-smi"])
        found = re.search(r"confined: (\d+) made from a copy", seen.error)
        check("nvidia-smi's calls are made by a proxy", bool(found) and int(found[1]) > 50, seen.tail())
        check("none of its controls is passed on", " 0 passed on" in seen.error, seen.tail())
        few = Run([self.mpu_run, "--confine=graphics", "--", "nvidia-smi"])
        check("without the word for it, nvidia-smi is refused", few.status != 0 and few.refused, few.tail())
        if failed:
            raise SystemExit("nothing is confined: the rest would prove nothing")

    def strict(self):
        print("\nUnder strict (what can only be continued is refused):")
        self.parts(f"{self.caps},strict", wanted=False)
        print("  (shown, not judged: CUDA registers its own memory with the driver at its start)")

    # ---- What needs a word of its own

    def rdma(self):
        argv = [f"{self.programs}/gpu-confine", "dmabuf"]
        bare, few = Run(argv), Run(self.prefix() + argv)
        own = Run(self.prefix(caps=f"{self.caps},rdma") + argv)
        if bare.status:
            check("memory as a dma-buf: this GPU and driver have it", False, bare.tail())
            return
        check("with rdma, memory becomes a dma-buf as in the bare run",
              own.status == 0 and own.out == bare.out, own.tail())
        check("without it, that call is refused", few.status not in (0, 124) and
              any("EXPORT_TO_DMABUF" in line for line in few.refused), few.tail())

    # ---- What a trace tells

    def trace(self):
        """A line for each call; what UVM answers to those that are passed on nobody sees."""
        argv = ["nvidia-smi", "-L"]
        seen = Run([self.mpu_run, f"--confine={self.caps}", "--stats", "--trace", "--", *argv])
        counts = re.search(r"(\d+) driver calls seen, 0 passed on", seen.error)
        lines = [line for line in seen.error.splitlines() if " ioctl(" in line]
        untold = [line for line in lines if line.endswith("= ?") and "/dev/nvidia-uvm>" not in line]
        check("a confined program's trace has a line for each call, with the answer if it was not UVM's",
              seen.status == 0 and seen.out == Run(argv).out and bool(counts) and
              len(lines) == int(counts[1]) and not untold,
              f"{len(lines)} of {counts and counts[1]}, without an answer: {untold[:2]} {seen.tail()[-200:]}")

    # ---- nvidia-smi's views

    def views(self):
        for view in VIEWS:
            argv = ["nvidia-smi", *view]
            before, own, after = Run(argv), Run(self.prefix() + argv), Run(argv)
            known = masked(before.out) | masked(after.out)
            strange = sorted(masked(own.out) - known)
            lost = sorted((masked(before.out) & masked(after.out)) - masked(own.out))
            name = " ".join(argv)[:60]
            check(f"{name}: as bare", own.status == before.status and not strange and not lost,
                  f"status {own.status}/{before.status}, only confined: {strange[:6]}, only bare: {lost[:6]}")
            for line in sorted(set(own.refused))[:8]:
                print(f"    {line[:180]}")

    # ---- Who is seen

    def who(self):
        ready = f"{self.programs}/ready-who"
        script = (f"{self.programs}/compute 300 {ready} & own=$!; for i in $(seq 200); do [ -e {ready} ] && "
                  "break; sleep 0.1; done; echo own $own; nvidia-smi; nvidia-smi pmon -c 1; "
                  "nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv,noheader,nounits; "
                  f"touch {ready}.inside; for i in $(seq 100); do [ -e {ready}.done ] && break; sleep 0.1; "
                  "done; kill -9 $own")
        outside = subprocess.Popen([f"{self.programs}/compute", "512", f"{ready}.out"],
                                   stdout=subprocess.DEVNULL)
        box = subprocess.Popen([*self.prefix("--pid-ns"), "sh", "-c", script], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        wait_for(f"{ready}.inside", 60)
        wait_for(f"{ready}.out", 10)
        host = Run(["nvidia-smi", "--query-compute-apps=pid,name,used_memory", "--format=csv,noheader,nounits"])
        whole = Run(["nvidia-smi"])
        bare_pid = outside.pid
        Path(f"{ready}.done").touch()
        inside = box.communicate(timeout=60)[0]
        outside.kill()
        outside.wait()
        print("Inside:\n" + inside + "\nOn the host:\n" + whole.out + host.out)
        own = re.search(r"^own (\d+)$", inside, re.M)
        rows = re.findall(r"^(\d+), (.*), (\d+)$", inside, re.M)
        check("inside, the container's one process has its own PID, and no other is there",
              bool(own) and [row[0] for row in rows] == [own[1]], str(rows))
        check("inside, it has its own name", [Path(row[1]).name for row in rows] == ["compute"], str(rows))
        hosts = re.findall(r"^(\d+), (.*), (\d+)$", host.out, re.M)
        proxies = [row for row in hosts if "mpu-proxy" in row[1] and "compute[" in row[1]]
        check("on the host, a proxy stands there whose name says for whom", len(proxies) == 1, str(hosts))
        check("both see the same memory", bool(proxies and rows) and proxies[0][2] == rows[0][2],
              f"{proxies} {rows}")
        check("on the host, another process is seen as ever", str(bare_pid) in [row[0] for row in hosts])

    # ---- Kills

    def kills(self):
        for whom in ("workers", "proxies", "both"):
            self.kill(whom, self.rounds)

    def kill(self, whom, rounds):
        socket = f"{self.programs}/mpud-{whom}.sock"
        log = open(f"{self.programs}/mpud-{whom}.log", "w", encoding="utf-8")
        mpud = subprocess.Popen([f"{self.programs}/mpud", f"--socket={socket}", f"--confine={self.caps}"],
                                stderr=log)
        wait_for(socket, 20)
        killer = Killer(mpud.pid, whom)
        neighbour = subprocess.Popen([*self.prefix("--pid-ns"), *TORCH, str(2500 * self.rounds)], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        killer.spared = neighbour.pid
        names = [one for one in self.programs_of() if one[0] in ("streams", "ipc", "vmm", "cublas", "reset")]
        ends = collections.Counter()
        wrong = []
        killer.start()
        for number in range(rounds):
            name, argv = names[number % len(names)]
            run = Run([f"{self.programs}/mpu-run", "--pid-ns", f"--socket={socket}",
                       f"--confine={self.caps}", "--"] + argv, 60)
            what = "right" if run.status == 0 else "hung" if run.status == 124 else "error"
            if "WRONG" in run.out:
                what = "wrong"
            ends[what] += 1
            if what in ("wrong", "hung") or (what == "error" and whom == "workers"):
                wrong.append(f"{name}: {run.status}: {run.tail()[:200]}")
        killer.stop()
        neighbour_out, neighbour_error = neighbour.communicate(timeout=LIMIT)
        mpud.send_signal(signal.SIGTERM)
        mpud.wait(20)
        time.sleep(1)
        print(f"{whom} killed {killer.count} times in {rounds} runs: {dict(ends)}", flush=True)
        for line in wrong[:6]:
            print(f"    {line}")
        check(f"{whom} killed: no run hangs, none is wrong", not ends["hung"] and not ends["wrong"])
        check(f"{whom} killed: something was killed", killer.count > 3)
        if whom == "workers":
            check("workers killed: every run ends right", ends["right"] == rounds, str(wrong[:3]))
        check(f"{whom} killed: the neighbour's training is not disturbed",
              neighbour.returncode == 0 and "torch" in neighbour_out, neighbour_error[-300:])
        check(f"{whom} killed: no proxy is left", not proxies_left(), str(proxies_left()))
        check(f"{whom} killed: the GPU's memory is free again", used_memory() <= self.base_memory + 8,
              f"{used_memory()} MiB, {self.base_memory} before")

    # ---- Several GPUs

    def gpus(self):
        for name, argv in (("peers", [f"{self.programs}/gpu-confine", "peers"]),
                           ("nccl", [sys.executable, f"{HERE}/confine_nccl.py"])):
            bare, own = Run(argv), Run(self.prefix("--pid-ns") + argv)
            print("bare:    ", bare.tail()[:300] if bare.status else bare.out.strip())
            print("confined:", own.tail()[:300] if own.status else own.out.strip())
            for line in sorted(set(own.refused))[:12]:
                print(f"    {line[:180]}")
            check(f"{name} on all GPUs gives the bare run's result when confined",
                  own.status == bare.status == 0 and own.out == bare.out)


class Killer(threading.Thread):
    """Kills workers of mpud PARENT, or proxies that do not stand for what runs under SPARED."""

    def __init__(self, parent, whom):
        super().__init__(daemon=True)
        self.parent, self.whom, self.count, self.spared = parent, whom, 0, 0
        self.going = threading.Event()
        self.going.set()
        self.random = random.Random(7)

    def run(self):
        while self.going.is_set():
            time.sleep(self.random.uniform(0.02, 0.4))
            pids = []
            if self.whom in ("workers", "both"):
                pids += [pid for pid in children(self.parent) if comm(pid) == "mpud-worker"]
            if self.whom in ("proxies", "both"):
                pids += [pid for pid in proxies_left() if not self.is_spared(pid)]
            if pids:
                try:
                    os.kill(self.random.choice(pids), signal.SIGKILL)
                    self.count += 1
                except ProcessLookupError:
                    pass

    def is_spared(self, pid):
        found = re.search(r"\[(\d+)\]", cmdline(pid))
        return not found or self.spared in ancestors(int(found[1]))

    def stop(self):
        self.going.clear()
        self.join()


def ancestors(pid):
    found = []
    while pid > 1 and len(found) < 64:
        found.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            break
    return found


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(parent):
    return [pid for pid in pids() if ancestors(pid)[1:2] == [parent]]


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def proxies_left():
    return [pid for pid in pids() if comm(pid) == "mpu-proxy"]


def used_memory():
    return sum(int(word) for word in Run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]).out.split())


def masked(text):
    """The lines without what changes from run to run: figures, blanks and lines of time."""
    lines = (re.sub(r"[\d.]+|N/A|-", "#", line) for line in text.splitlines() if not re.search(
        r"timestamp|^\w{3} \w{3} +\d+ ", line, re.I))
    return {re.sub(r"(# )+#|#+", "#", re.sub(r"\s+", " ", line)).strip() for line in lines}


def wait_for(path, seconds):
    for _ in range(seconds * 20):
        if Path(path).exists():
            return
        time.sleep(0.05)
    raise SystemExit(f"{path} did not appear in {seconds} s")


def main():
    options = {word.split("=")[0]: word.partition("=")[2] for word in sys.argv[1:-2]}
    confine = Confine(sys.argv[-2], sys.argv[-1], options.get("--caps", "compute,utility"),
                      int(options.get("--rounds", 24)))
    confine.in_force()
    sections = options.get("--only", "parts,views,who,kills,strict,rdma,trace").split(",")
    for name in sections:
        print(f"\n=== {name} ({time.strftime('%H:%M:%S')})", flush=True)
        getattr(confine, name)()
    print(f"\n{len(passed)} checks passed, {len(failed)} failed")
    for what in failed:
        print(f"  failed: {what}")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
