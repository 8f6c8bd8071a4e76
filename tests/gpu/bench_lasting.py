"""Work that lasts, measured between threads of one process.

One process differs from the next by more than what is looked for: two bare ones by 2 % and more, where their
memory lies, for one. So the threads of one process do the same work in turn, a block each, on one CPU and one
GPU: some bare, others under a filter and mpud, as a container's threads are. That is one set; each set is a new
process. The variant `bare again` shows what can be told apart.
"""
import math
import os
import statistics
import subprocess

CPU = max(os.sched_getaffinity(0))
# What is measured, and what the programs call it.
VARIANTS = {
    "bare": "bare",
    "bare again": "bare-again",
    "mpu": "pids",
    "mpu, confined": "confine-compute",
    "agent without sync wake-up": "agent",
}
# Of Student's distribution, both sides 95 %, by degrees of freedom.
STUDENT = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13]


def turned(names, number):
    turn = number % len(names)
    return names[turn:] + names[:turn]


def one_set(argv, blocks, size, number):
    """The blocks' milliseconds of each variant, in order."""
    names = turned(list(VARIANTS), number)
    values = {name: [] for name in VARIANTS}
    with subprocess.Popen([*argv, *(VARIANTS[name] for name in names)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        def line():
            text = process.stdout.readline()
            if not text:
                raise SystemExit(f"{argv}: ended with {process.wait()}")
            return text.strip()

        while line() != "ready":
            pass
        for block in range(-1, blocks):
            for who in turned(list(range(len(names))), block):
                process.stdin.write(f"{who} {size}\n")
                process.stdin.flush()
                took = float(line())
                if block >= 0:
                    values[names[who]].append(took)
        process.stdin.close()
        if process.wait():
            raise SystemExit(f"{argv}: exit status {process.returncode}")
    return values


def measure(argv, sets, blocks, size):
    """One dict as of one_set() for each set."""
    return [one_set(argv, blocks, size, number) for number in range(sets)]


def ratio_of(values, name):
    """Of one set: the median of the blocks' ratios to the bare thread's block beside it."""
    return statistics.median(own / bare for own, bare in zip(values[name], values["bare"]))


def mean_of(ratios):
    """Their geometric mean, and its 95 % confidence interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean, half = statistics.mean(logs), 0.0
    if len(logs) > 1:
        wide = STUDENT[len(logs) - 2] if len(logs) - 2 < len(STUDENT) else 2.0
        half = wide * statistics.stdev(logs) / math.sqrt(len(logs))
    return {"mean": math.exp(mean), "interval": (math.exp(mean - half), math.exp(mean + half))}


def summary(sets, name, size):
    """What is told of a variant: the milliseconds of one step, the median ratio over the sets, their mean,
    and each."""
    ratios = [ratio_of(values, name) for values in sets]
    return {"variant": name,
            "step_ms": statistics.median(took for values in sets for took in values[name]) / size,
            "ratio": statistics.median(ratios), **mean_of(ratios), "ratios": ratios,
            "blocks_ms": [values[name] for values in sets]}
