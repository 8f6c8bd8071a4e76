"""Judges what inside.sh recorded, and shows recordings side by side.

  compare.py show BEFORE AFTER          both outputs of each tool, next to each other
  compare.py judge DIRECTORY            only the processes inside, under their own PIDs
  compare.py record DIRECTORY           what judge would complain of; never fails
  compare.py same DIRECTORY OTHER       each process has the same bytes of memory in both
  compare.py oracle DIRECTORY FILE      the lists are those of FILE, the driver's own answer inside
"""
import itertools
import json
import re
import sys
from pathlib import Path

SMI_ROW = re.compile(r"^\|\s+\d+\s+\S+\s+\S+\s+(\d+)\s+[A-Z+]+\s+\S.*?(\d+)MiB\s+\|$", re.M)
PMON_ROW = re.compile(r"^\s+\d+\s+(\d+)\s+[A-Z+]+\s", re.M)
APPS_ROW = re.compile(r"^(\d+), .*?, (\d+) MiB$", re.M)
OUTPUTS = {"nvidia-smi": "smi.txt", "nvidia-smi pmon -c 1": "pmon.txt",
           "nvidia-smi --query-compute-apps": "apps.txt"}


def load(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def memory(rows):
    return {row["pid"]: row["bytes"] for row in rows} if isinstance(rows, list) else rows


def pids(rows):
    """The PIDs of rows, or the error that stands in their place."""
    return {row["pid"] for row in rows} if isinstance(rows, list) else rows


def seen(directory):
    """What each tool showed: name -> set of PIDs, or an error's text."""
    text = {name: Path(directory, file).read_text() for name, file in OUTPUTS.items()}
    nvml = load(Path(directory, "nvml.json"))
    return {
        "nvidia-smi": {int(pid) for pid, _ in SMI_ROW.findall(text["nvidia-smi"])},
        "nvidia-smi pmon -c 1": {int(pid) for pid in PMON_ROW.findall(text["nvidia-smi pmon -c 1"])},
        "nvidia-smi --query-compute-apps":
            {int(pid) for pid, _ in APPS_ROW.findall(text["nvidia-smi --query-compute-apps"])},
        "NVML compute processes": pids(nvml["compute"]),
        "NVML utilisation": pids(nvml["utilisation"]),
    }


def complaints(directory):
    """Every way in which the recording differs from the truth."""
    truth = load(Path(directory, "truth.json"))
    inside = {pid: name for name, pid in truth.items()}
    for name, shown in seen(directory).items():
        if not isinstance(shown, set):
            yield f"{name}: {shown}"
            continue
        for pid in sorted(shown - set(inside)):
            yield f"{name} shows PID {pid}, which is no GPU process of this namespace"
        # Only a busy process has utilisation.
        expected = {truth["compute"]} if "utilisation" in name else set(inside)
        for pid in sorted(expected - shown):
            yield f"{name} lacks PID {pid} ({inside[pid]})"
    for name in ["compute", "thread", "nested"]:
        result = Path(directory, f"{name}.txt")
        if name in truth and ": same" not in result.read_text():
            yield f"{name} computed something else: {result.read_text().strip()}"


def judge(directory, strict):
    found = list(complaints(directory))
    for text in found:
        print(f"  {'WRONG' if strict else 'natively wrong'}: {text}")
    truth = load(Path(directory, "truth.json"))
    bytes_of = memory(load(Path(directory, "nvml.json"))["compute"])
    if not found:
        print("  right: " + ", ".join(
            f"{name} is PID {pid} with {bytes_of[pid]} bytes" for name, pid in truth.items()))
    return not (found and strict)


def same(directory, other):
    ok = True
    lists = [memory(load(Path(path, "nvml.json"))["compute"]) for path in (directory, other)]
    truths = [load(Path(path, "truth.json")) for path in (directory, other)]
    for name in truths[0].keys() & truths[1].keys():
        mine, theirs = (bytes_of.get(truth[name]) for bytes_of, truth in zip(lists, truths))
        agrees = mine == theirs and mine
        ok = ok and agrees
        print(f"  {'same' if agrees else 'WRONG'}: {name} has {mine} and {theirs} bytes")
    return ok


def oracle(directory, answer):
    ours, drivers = load(Path(directory, "nvml.json")), load(answer)
    ok = True
    for kind in ["compute", "graphics", "mps"]:
        mine, theirs = memory(ours[kind]), memory(drivers[kind])
        ok = ok and mine == theirs
        print(f"  {'same' if mine == theirs else 'WRONG'}: {kind} processes {mine}, the driver inside {theirs}")
    return ok


def show(before, after):
    for name, file in OUTPUTS.items():
        print(f"\n--- {name}: natively | with mpu")
        columns = [Path(path, file).read_text().splitlines() for path in (before, after)]
        for left, right in itertools.zip_longest(*columns, fillvalue=""):
            print(f"{left:<91} | {right}".rstrip())
    print("\n--- NVML: natively | with mpu")
    left, right = seen(before), seen(after)
    for name in left:
        print(f"{name:<34} {str(left[name] or '{}'):<40} | {right[name] or '{}'}")
    for path, title in ((before, "natively"), (after, "with mpu")):
        print(f"the truth inside, {title}: {Path(path, 'truth.json').read_text().strip()}")
    return True


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    ok = {"show": show, "judge": lambda path: judge(path, True),
          "record": lambda path: judge(path, False), "same": same, "oracle": oracle}[command](*arguments)
    sys.exit(0 if ok else 1)


main()
