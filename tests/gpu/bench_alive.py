"""Work that lasts, measured between processes that live side by side.

One process of each variant is started and made warm; then they work in turn, a block each, on one CPU and
one GPU while the others sleep, so that what changes with time meets all of them. That is one set. A new
set has new processes, because one process differs from the next by more than what is looked for: where
its memory lies, for one. The variant `bare, again` shows how much.
"""
import math
import os
import statistics
import subprocess

CPU = max(os.sched_getaffinity(0))
# Of Student's distribution, both sides 95 %, by degrees of freedom.
STUDENT = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13]


class Alive:
    """One process that makes a block for each line that it gets."""

    def __init__(self, argv):
        self.argv = argv
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.argv}: ended with {self.process.wait()}")
        return line

    def block(self, size):
        """Milliseconds."""
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        return float(self.line())

    def end(self):
        self.process.stdin.close()
        if self.process.wait():
            raise SystemExit(f"{self.argv}: exit status {self.process.returncode}")


def turned(names, number):
    turn = number % len(names)
    return names[turn:] + names[:turn]


def one_set(argv, prefixes, blocks, size, number):
    """The blocks' milliseconds of each variant, in order."""
    alive = {name: Alive([*prefixes[name], *argv]) for name in turned(list(prefixes), number)}
    for one in alive.values():
        while one.line().strip() != "ready":
            pass
    values = {name: [] for name in prefixes}
    for block in range(-1, blocks):
        for name in turned(list(alive), block):
            took = alive[name].block(size)
            if block >= 0:
                values[name].append(took)
    for one in alive.values():
        one.end()
    return values


def measure(argv, prefixes, sets, blocks, size):
    """One dict as of one_set() for each set."""
    return [one_set(argv, prefixes, blocks, size, number) for number in range(sets)]


def ratio_of(values, name):
    """Of one set: the median of the blocks' ratios to the bare process's block beside it."""
    return statistics.median(own / bare for own, bare in zip(values[name], values["bare"]))


def summary(sets, name, size):
    """What is told of a variant: the milliseconds of one step, the median ratio over the sets, the 95 %
    confidence interval of their mean, and each."""
    ratios = [ratio_of(values, name) for values in sets]
    logs = [math.log(ratio) for ratio in ratios]
    half = 0.0
    if len(logs) > 1:
        half = (STUDENT[min(len(logs) - 2, len(STUDENT) - 1)] * statistics.stdev(logs)
                / math.sqrt(len(logs)))
    mean = statistics.mean(logs)
    return {"variant": name,
            "step_ms": statistics.median(took for values in sets for took in values[name]) / size,
            "ratio": statistics.median(ratios), "mean": math.exp(mean),
            "interval": (math.exp(mean - half), math.exp(mean + half)), "ratios": ratios,
            "blocks_ms": [values[name] for values in sets]}
