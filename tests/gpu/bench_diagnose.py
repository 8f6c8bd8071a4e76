"""Takes whole runs of a program apart, in every variant, one round after the other: the time until it
begins, its RM controls, its other ioctls, the time behind its end.

  bench_diagnose.py [--quick] [--scale=PART] [--dev-root=DIR] PROGRAMS COMMAND...

PROGRAMS is the directory with mpu-run, mpu-agent and bench-shim.so.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROUNDS, CONTROLS_SHOWN = 24, 16


def variants(programs, options):
    run, agent = [f"{programs}/mpu-run", *options], f"{programs}/mpu-agent"
    return {
        "bare": [],
        "floor loop": [agent, "--sync", "--"],
        "agent without sync wake-up": [agent, "--"],
        "mpu-run": [*run, "--"],
        "mpu-run --policy=off": [*run, "--policy=off", "--"],
        "mpu-run --pid-ns": [*run, "--pid-ns", "--"],
    }


def run_once(programs, prefix, command):
    """What the shim saw of one run: (times in ms, {control: [us]})."""
    with tempfile.NamedTemporaryFile("r") as seen:
        start = time.monotonic_ns()
        subprocess.run([*prefix, "/usr/bin/env", f"LD_PRELOAD={programs}/bench-shim.so",
                        f"BENCH_SHIM={seen.name}", *command], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic_ns()
        first, *lines = Path(seen.name).read_text(encoding="ascii").splitlines()
    begin, finish = map(int, first.split())
    calls = [tuple(map(int, line.split())) for line in lines]
    rm = [ns for _, control, ns in calls if control]
    controls = defaultdict(list)
    for _, control, ns in calls:
        if control:
            controls[control].append(ns / 1e3)
    other = sum(ns for _, control, ns in calls if not control)
    return {"whole": (end - start) / 1e6, "until begun": (begin - start) / 1e6,
            "RM controls": sum(rm) / 1e6, "other ioctls": other / 1e6,
            "after its end": (end - finish) / 1e6, "count": len(rm)}, controls


def measure(programs, prefixes, command, rounds):
    times = {name: [] for name in prefixes}
    controls = {name: defaultdict(list) for name in prefixes}
    names = list(prefixes)
    for name in names:
        run_once(programs, prefixes[name], command)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            parts, own = run_once(programs, prefixes[name], command)
            times[name].append(parts)
            for control, values in own.items():
                controls[name][control] += values
    return times, controls


def report(times, controls, rounds):
    parts = list(times["bare"][0])
    print(f"{'medians, ms':<30}" + "".join(f"{part:>14}" for part in parts))
    for name, runs in times.items():
        print(f"{name:<30}" + "".join(
            f"{statistics.median(run[part] for run in runs):>14.3f}" for part in parts))
    bare, own = controls["bare"], controls["mpu-run"]
    dearest = sorted(bare, key=lambda control: sum(bare[control]) - sum(own[control]))
    print(f"\n{'medians, us: RM control':<26}{'a run':>6}" +
          "".join(f"{name.removeprefix('agent ')[:20]:>22}" for name in controls))
    for control in dearest[:CONTROLS_SHOWN]:
        print(f"0x{control:08x}{'':<16}{len(bare[control]) / rounds:>6.0f}" + "".join(
            f"{statistics.median(values[control]):>22.1f}" for values in controls.values()))


def main():
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    programs, *command = [word for word in sys.argv[1:] if not word.startswith("--")]
    scale = next((float(word[8:]) for word in options if word.startswith("--scale=")), 1)
    rounds = 2 if "--quick" in options else max(2, round(ROUNDS * scale))
    for_run = [word for word in options if word.startswith("--dev-root=")]
    if for_run:
        command += for_run
    print(f"\n{' '.join(command)}, {rounds} rounds")
    report(*measure(programs, variants(programs, for_run), command, rounds), rounds)


main()
