"""Runs the workloads of bench.sh in every variant, one round after the other, and prints one table.

  bench.py [--json=FILE] [--quick] [--scale=PART] [--only=WORDS] [--variants=WORDS] [--confine] PROGRAMS

PROGRAMS is the directory with mpu-run, mpu-agent and gpu-work. --confine: bare, plain and confined, which
has bars of its own.

Programs are run whole: a value is the time of a run, or what the program measured of its own work; the
ratio is the median of the ratios of a round's runs to its bare run, its spread the quartiles of these. The
last column is the 95 % confidence interval of their mean.
Work that lasts is measured between threads of one process: see bench_lasting.py.
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import bench_lasting

HERE = Path(__file__).resolve().parent


class Work:
    """Name, command, and the bars for the ratios of mpu-run and of a confined program."""

    def __init__(self, name, argv, bar, confined_bar):
        self.name, self.argv, self.bar, self.confined_bar = name, argv, bar, confined_bar

    def bar_of(self, variant):
        if "confine" in variant:
            return self.confined_bar
        return self.bar if variant.startswith("mpu") else None


class Whole(Work):
    """Whole runs: how many rounds, and whether the program prints its own time."""

    def __init__(self, name, argv, rounds, measures_itself=False, bar=None, confined_bar=None):
        super().__init__(name, argv, bar, confined_bar)
        self.rounds, self.measures_itself = rounds, measures_itself


class Lasting(Work):
    """Work of a process that stays: sets, blocks of a set, steps of a block."""

    def __init__(self, name, argv, sets, blocks, size):
        super().__init__(name, argv, bar=1.005, confined_bar=1.01)
        self.sets, self.blocks, self.size = sets, blocks, size


def workloads(programs):
    work = f"{programs}/gpu-work"
    cpu, mpud = str(bench_lasting.CPU), f"{programs}/mpud.sock"
    launch = ["taskset", "-c", cpu, work, "launch", mpud]

    def torch(size):
        return [sys.executable, f"{HERE}/bench_torch.py", size, cpu,
                f"{programs}/supervised-thread.so", mpud]

    return [
        Whole("nvidia-smi", ["nvidia-smi"], 40, bar=1.04),
        Whole("CUDA start-up, whole program", [work, "start"], 25, bar=1.02,
                 confined_bar=1.3),
        Whole("10,000 cudaMalloc + cudaFree", [work, "malloc"], 9, True, 1.05),
        Lasting("kernel launch", launch, 16, 20, 20000),
        Lasting("PyTorch training step, small", torch("small"), 10, 20, 20),
        Lasting("PyTorch training step, large", torch("large"), 6, 16, 4),
    ]


def variants(programs, confine):
    supervised = {
        "bare": [],
        "mpu-run": [f"{programs}/mpu-run", "--"],
    }
    if confine:
        return supervised | {
            "mpu-run --confine": [f"{programs}/mpu-run", "--confine=compute,utility", "--"]}
    return supervised | {
        "bare again": [],
        "mpu-run --pid-ns": [f"{programs}/mpu-run", "--pid-ns", "--"],
        "floor loop": [f"{programs}/mpu-agent", "--sync", "--"],
        "agent without sync wake-up": [f"{programs}/mpu-agent", "--"],
    }


def run_once(workload, prefix):
    """Milliseconds."""
    start = time.perf_counter()
    done = subprocess.run([*prefix, *workload.argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    took = (time.perf_counter() - start) * 1e3
    if done.returncode:
        raise SystemExit(f"{[*prefix, *workload.argv]}: exit status {done.returncode}: "
                         f"{done.stderr or done.stdout}")
    return float(done.stdout.split()[-1]) if workload.measures_itself else took


def measure(workload, prefixes, rounds):
    values = {name: [] for name in prefixes}
    names = list(prefixes)
    for prefix in prefixes.values():
        run_once(workload, prefix)
    for number in range(rounds):
        for name in bench_lasting.turned(names, number):
            values[name].append(run_once(workload, prefixes[name]))
    return values


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def judge(workload, row):
    """Adds the bar to ROW, and returns what is said of it."""
    bar = workload.bar_of(row["variant"])
    if not bar:
        return ""
    row |= {"bar": bar, "met": row["ratio"] <= bar}
    return f"  [bar {bar:g}: {'met' if row['met'] else 'NOT MET'}]"


def report(workload, values):
    bare = values["bare"]
    rows = []
    print(f"\n{workload.name + f' ({len(bare)} rounds)':<46}{'median ms':>10}"
          f"{'quartiles':>21}{'ratio':>9}{'quartiles':>17}{'mean':>17}")
    for name, own in values.items():
        ratios = [value / base for value, base in zip(own, bare)]
        ratio = statistics.median(ratios)
        row = {"workload": workload.name, "variant": name, "median_ms": statistics.median(own),
               "quartiles_ms": quartiles(own), "ratio": ratio, "ratio_quartiles": quartiles(ratios),
               "values_ms": own, **bench_lasting.mean_of(ratios)}
        bar = judge(workload, row)
        print(f"  {name:<44}{row['median_ms']:>10.3f}{row['quartiles_ms'][0]:>11.3f}"
              f"{row['quartiles_ms'][1]:>10.3f}{ratio:>9.4f}{row['ratio_quartiles'][0]:>9.4f}"
              f"{row['ratio_quartiles'][1]:>8.4f}{row['interval'][0]:>9.4f}{row['interval'][1]:>8.4f}{bar}",
              flush=True)
        rows.append(row)
    return rows


def report_lasting(workload, sets):
    rows = []
    title = f"{workload.name} ({len(sets)} sets, {len(sets[0]['bare'])} blocks of {workload.size})"
    print(f"\n{title:<62}{'us a step':>11}{'ratio':>9}{'95 % of its mean':>19}{'all sets':>17}")
    for name in sets[0]:
        row = {"workload": workload.name} | bench_lasting.summary(sets, name, workload.size)
        bar = judge(workload, row)
        print(f"  {name:<60}{row['step_ms'] * 1e3:>11.3f}{row['ratio']:>9.4f}"
              f"{row['interval'][0]:>11.4f}{row['interval'][1]:>8.4f}"
              f"{min(row['ratios']):>9.4f}{max(row['ratios']):>8.4f}{bar}", flush=True)
        rows.append(row)
    return rows


def count(programs, workload):
    """What mpu-run saw of one run, with the time of each handled control."""
    done = subprocess.run([f"{programs}/mpu-run", "--stats", "--", *workload.argv], check=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    print("\n".join(f"  {line}" for line in done.stderr.splitlines() if "mpu-run:" in line),
          flush=True)


def write_json(path, rows):
    driver = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    Path(path).write_text(json.dumps(
        {"kernel": platform.release(), "cpus": os.cpu_count(), "driver": driver, "rows": rows},
        indent=1) + "\n", encoding="utf-8")


def main():
    options = {word.split("=")[0]: word.partition("=")[2] for word in sys.argv[1:-1]}
    programs = sys.argv[-1]
    confine = "--confine" in options
    wanted = ("bare", *filter(None, options.get("--variants", "").split(",")))
    prefixes = {name: prefix for name, prefix in variants(programs, confine).items()
                if len(wanted) == 1 or name in wanted}
    words = tuple(options.get("--only", "").split(","))
    rows = []
    scale = float(options.get("--scale", 1))

    def times(full):
        return 2 if "--quick" in options else max(2, round(full * scale))

    for workload in workloads(programs):
        if workload.name.startswith(words):
            if isinstance(workload, Lasting):
                rows += report_lasting(workload, bench_lasting.measure(
                    workload.argv, times(workload.sets), workload.blocks, workload.size))
            else:
                rows += report(workload, measure(workload, prefixes, times(workload.rounds)))
                if not confine:
                    count(programs, workload)
            if "--json" in options:
                write_json(options["--json"], rows)


main()
