"""Runs the workloads of bench.sh in every variant, one round after the other, and prints one table.

  bench.py [--json=FILE] [--quick] [--scale=PART] [--only=WORDS] [--confine] PROGRAMS

PROGRAMS is the directory with mpu-run, mpu-agent and gpu-work. --confine: bare, plain and confined, which
has bars of its own.

A value is the time of a whole run, or what the program measured of its own work. The ratio is the
median of the ratios of a round's runs to its bare run; its spread is the quartiles of these.
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Workload:
    """Name, command, rounds, whether it prints its own time, the bar for mpu-run's ratio, the
    variants that it is run in (all), and the bar for the ratio when confined."""

    def __init__(self, name, argv, rounds, measures_itself=False, bar=None, variants=None,
                 confined_bar=None):
        self.name, self.argv, self.rounds = name, argv, rounds
        self.measures_itself, self.bar, self.variants = measures_itself, bar, variants
        self.confined_bar = confined_bar

    def bar_of(self, variant):
        if "--confine" in variant:
            return self.confined_bar
        return self.bar if variant.startswith("mpu-run") else None


def workloads(programs):
    work = f"{programs}/gpu-work"
    # Neither of the last two makes RM controls as it works (see the counts): what is left is where
    # the scheduler puts the process, which says nothing and is fixed.
    fixed = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    few = ["bare", "mpu-run", "agent without sync wake-up"]
    return [
        Workload("nvidia-smi", ["nvidia-smi"], 40, bar=1.04),
        Workload("CUDA start-up, whole program", [work, "start"], 25, bar=1.02,
                 confined_bar=1.3),
        Workload("10,000 cudaMalloc + cudaFree", [work, "malloc"], 9, True, 1.05),
        Workload("1,000,000 kernel launches", [*fixed, work, "launch"], 15, True, 1.005, few),
        Workload("PyTorch training step", [*fixed, sys.executable, f"{HERE}/bench_torch.py"],
                 9, True, 1.005, few, confined_bar=1.01),
    ]


def variants(programs, confine):
    if confine:
        return {
            "bare": [],
            "mpu-run": [f"{programs}/mpu-run", "--"],
            "mpu-run --confine": [f"{programs}/mpu-run", "--confine=compute,utility", "--"],
        }
    return {
        "bare": [],
        "mpu-run": [f"{programs}/mpu-run", "--"],
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
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            values[name].append(run_once(workload, prefixes[name]))
    return values


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def report(workload, values):
    bare = values["bare"]
    rows = []
    print(f"\n{workload.name + f' ({len(bare)} rounds)':<46}{'median ms':>10}"
          f"{'quartiles':>21}{'ratio':>9}{'quartiles':>17}")
    for name, own in values.items():
        ratios = [value / base for value, base in zip(own, bare)]
        ratio = statistics.median(ratios)
        row = {"workload": workload.name, "variant": name, "median_ms": statistics.median(own),
               "quartiles_ms": quartiles(own), "ratio": ratio, "ratio_quartiles": quartiles(ratios),
               "values_ms": own}
        bar = ""
        if workload.bar_of(name):
            row |= {"bar": workload.bar_of(name), "met": ratio <= workload.bar_of(name)}
            bar = f"  [bar {row['bar']:g}: {'met' if row['met'] else 'NOT MET'}]"
        print(f"  {name:<44}{row['median_ms']:>10.3f}{row['quartiles_ms'][0]:>11.3f}"
              f"{row['quartiles_ms'][1]:>10.3f}{ratio:>9.4f}{row['ratio_quartiles'][0]:>9.4f}"
              f"{row['ratio_quartiles'][1]:>8.4f}{bar}", flush=True)
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
    prefixes = variants(programs, confine)
    words = tuple(options.get("--only", "").split(","))
    rows = []
    scale = float(options.get("--scale", 1))
    for workload in workloads(programs):
        if workload.name.startswith(words):
            own = {name: prefixes[name] for name in prefixes
                   if confine or name in (workload.variants or prefixes)}
            rounds = 2 if "--quick" in options else max(2, round(workload.rounds * scale))
            rows += report(workload, measure(workload, own, rounds))
            if not confine:
                count(programs, workload)
            if "--json" in options:
                write_json(options["--json"], rows)


main()
