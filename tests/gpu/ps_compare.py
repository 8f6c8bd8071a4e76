"""ps_compare.py KIND DIRECTORY [OTHER]: judges what ps.sh has observed."""
import json
import sys
from pathlib import Path

NAMES = {"outside": None, "bare": False, "first": True, "second": True}  # whether mpud serves it
MIB = 1 << 20


def told(folder):
    """{PID: process} of all GPUs, by mpuctl."""
    answer = json.loads(Path(folder, "mpuctl.json").read_text())
    for gpu in answer["gpus"]:
        assert gpu["error"] is None, gpu["error"]
    return {one["pid"]: one for gpu in answer["gpus"] for one in gpu["processes"]}


def ours(folder):
    return {one["name"]: one for one in told(folder).values() if one["name"] in NAMES}


def from_tool(folder):
    """{PID: (name, MiB)} by nvidia-smi, or by gpu-ps."""
    csv, found = Path(folder, "smi.csv"), {}
    if csv.exists():
        for line in csv.read_text().splitlines():
            _, pid, name, memory = line.split(", ")
            found[int(pid)] = (Path(name).name[:15], int(memory))
        return found
    for entry in json.loads(Path(folder, "gpu-ps.json").read_text())["gpus"][0]["get_pid_info"]["entries"]:
        name = Path(f"/proc/{entry['pid']}/comm").read_text().strip()
        found[entry["pid"]] = (name, (entry["private"] + entry["owned"]) // MIB)
    return found


def truth(folder):
    own = {pid: (one["name"], one["memory"] // MIB) for pid, one in told(folder).items()
           if "graphics" not in one["types"] or "compute" in one["types"]}
    tool = from_tool(folder)
    print("mpuctl:", own, "\nits own tool:", tool)
    pids = sorted(one["pid"] for one in ours(folder).values())
    listed = sorted(map(int, Path(folder, "pids").read_text().split()))
    return own == tool and set(ours(folder)) == set(NAMES) and set(pids) <= set(listed)


def containers(folder):
    right = True
    for name, one in ours(folder).items():
        container = one["container"]
        status = Path(f"/proc/{one['pid']}/status").read_text()
        inside = [line for line in status.splitlines() if line.startswith("NSpid")][0].split()[-1]
        print(name, one["pid"], "inside", inside, container)
        if NAMES[name] is None:
            right &= container is None
            continue
        right &= container["served"] == NAMES[name] and container["pid"] == int(inside)
        known = Path(folder).parent / f"{name}.id"
        if known.exists():
            right &= container["id"] == known.read_text().strip()
            right &= (container["name"], container["pod"]) == (name, f"pod-of-{name}")
    return right


def busy(folder):
    """Four programs keep the GPU half busy in turn: each was seen at it in one of the looks so far.
    A driver's samples do not hold all of them at a time; nvidia-smi pmon leaves some out too."""
    seen = Path(folder, "busy")
    names = set(seen.read_text().split()) if seen.exists() else set()
    names |= {one["name"] for one in ours(folder).values() if one["utilisation"]["gr"]}
    seen.write_text(" ".join(names))
    return names >= {one["name"] for one in ours(folder).values()}


def same(folder, other):
    return set(told(folder)) == set(told(other)) and \
        all(one["memory"] == told(other)[pid]["memory"] for pid, one in told(folder).items())


def alone(folder, other):
    return same(folder, other) and \
        not any(one["container"] and one["container"]["served"] for one in told(other).values())


sys.exit(0 if globals()[sys.argv[1]](*sys.argv[2:]) else 1)
