"""Holds a JSON trace of mpu-run against what count_calls.c wrote of the same run.

  trace_compare.py counts TRACE COUNTED   the same calls, as often
  trace_compare.py controls TRACE COUNTED  the same controls, as often: of a container that is not confined
  trace_compare.py names TRACE            every call has a name, except legacy controls (bit 15)
  trace_compare.py show TRACE             what came of the calls
"""
import json
import sys
from collections import Counter
from pathlib import Path


def read_trace(path):
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "summary" not in line]


def key_of(line):
    for kind, number in (("control", "cmd"), ("class", "hClass"), ("uvm", "number")):
        if kind in line:
            return kind, line[number]
    return "escape", line["number"]


def name_of(line):
    kind, number = key_of(line)
    return line[kind] or f"{kind} {number:#x}"


def controls(trace, counted):
    return counts(trace, counted, {"control"})


def counts(trace, counted, kinds=frozenset(["control", "class", "uvm", "escape"])):
    lines = [line for line in read_trace(trace) if key_of(line)[0] in kinds]
    words = [line.split() for line in Path(counted).read_text(encoding="utf-8").splitlines()]
    words = [word for word in words if word[0] in kinds]
    expected = Counter((kind, int(number)) for kind, number in words)
    got = Counter(map(key_of, lines))
    print(f"{len(lines)} calls traced, {len(words)} counted by the program itself, "
          f"{len(got)} and {len(expected)} different ones")
    names = {key_of(line): name_of(line) for line in lines}
    for key in sorted(set(got) | set(expected)):
        if got[key] != expected[key]:
            print(f"  {names.get(key, key)}: traced {got[key]}, counted {expected[key]}")
    return bool(lines) and got == expected


# A class of the public headers of which they name no control.
BINAPI = 0x2081


def is_internal(line):
    return key_of(line)[0] == "control" and key_of(line)[1] >> 16 == BINAPI


def names(trace):
    lines = read_trace(trace)
    nameless = [line for line in lines if not line["known"] and not line["legacy"]]
    internal = Counter(name_of(line) for line in nameless if is_internal(line))
    unknown = Counter(name_of(line) for line in nameless if not is_internal(line))
    legacy = Counter(name_of(line) for line in lines if line["legacy"])
    kinds = Counter(key_of(line)[0] for line in lines)
    print("calls by kind:", dict(kinds))
    print(f"legacy (bit 15): {sum(legacy.values())} calls: {dict(legacy)}")
    print(f"of NV2081_BINAPI, in no public header: {dict(internal)}")
    print(f"without a name: {sum(unknown.values())} calls: {dict(unknown)}")
    return bool(lines) and not unknown


def show(trace):
    lines = read_trace(trace)
    print("ends:", dict(Counter(line["end"] for line in lines)))
    print("statuses:", dict(Counter(line["status"] for line in lines)))
    undecoded = [line for line in lines if line["known"] and isinstance(line["argument"], str)]
    print(f"arguments that are bytes: {Counter(map(name_of, undecoded))}")
    return True


def main(question, *arguments):
    questions = {"counts": counts, "controls": controls, "names": names, "show": show}
    return 0 if questions[question](*arguments) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
