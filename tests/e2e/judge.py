"""Compares what gpu-ps received with the truth, call by call."""
from collections import Counter

from truth import COMPUTE, GRAPHICS, MPS, SUBDEVICE

NO_PROCESS = 0xFFFFFFFF
ENGINES = ["fb", "gr", "nvenc", "nvdec", "nvjpg", "nvofa"]
CALLS = ["GET_PIDS", "GET_PID_INFO", "UTIL_SAMPLES_V2", "UTIL_SAMPLES", "ACCOUNTING_PIDS",
         "PROC_ACCOUNTING", "NVENC", "NVENC_V2", "NVFBC"]
NOT_SUPPORTED = 0x56


def failed(part):
    return part["errno"] or part["status"]


def get_pids(gpu, truth, own_pid):
    for part in gpu["get_pids"]:
        expected = set(truth.lists[part["class"]])
        if part["class"] == SUBDEVICE:
            expected.add(own_pid)
        if failed(part):
            yield f"class {part['class']}: {part}"
        elif sorted(part["pids"]) != sorted(expected):
            yield f"class {part['class']}: {sorted(part['pids'])}, right is {sorted(expected)}"


def get_pid_info(gpu, truth, own_pid):
    info = gpu["get_pid_info"]
    listed = truth.lists[COMPUTE] | truth.lists[GRAPHICS] | truth.lists[MPS] | \
        truth.lists[SUBDEVICE] | {own_pid}
    expected = {pid: truth.memory.get(pid, 0) for pid in listed}
    got = {entry["pid"]: entry["private"] for entry in info["entries"]}
    if failed(info):
        yield f"{info}"
    elif any(entry["result"] for entry in info["entries"]):
        yield f"results {[entry['result'] for entry in info['entries']]}"
    elif got != expected:
        yield f"{got}, right is {expected}"


def util_samples(samples, truth):
    """Each use of an engine is some visible process's own, and each busy process is seen."""
    if failed(samples):
        yield f"status 0x{samples['status']:x}, errno {samples['errno']}"
        return
    seen = {}
    strange, pointers = Counter(), 0
    for sample in samples["samples"]:
        for engine in ENGINES:
            part = sample.get(engine)
            if part is None:
                continue
            pointers += part["os_pid_info"] != "0x0"
            if part["pid"] == NO_PROCESS:
                if part["util"]:
                    strange[f"{engine} is used by nobody"] += 1
            elif part["pid"] not in truth.memory:
                strange[f"{engine} is used by PID {part['pid']}"] += 1
            elif part["util"] != 100 * truth.util.get(part["pid"], {}).get(engine, 0):
                strange[f"{engine} is used by PID {part['pid']} to {part['util'] / 100} %"] += 1
            else:
                seen.setdefault(part["pid"], set()).add(engine)
    if pointers:
        yield f"{pointers} kernel pointers"
    yield from (f"{what} in {count} samples" for what, count in sorted(strange.items()))
    for pid, engines in sorted(truth.util.items()):
        has = set(engines) & set(ENGINES if "nvjpg" in samples["samples"][0] else ENGINES[:4]) \
            if samples["samples"] else set(engines)
        if not has <= seen.get(pid, set()):
            yield f"PID {pid} uses {sorted(has)}, seen are {sorted(seen.get(pid, set()))}"


def util_v2(gpu, truth, _):
    return util_samples(gpu["util"], truth)


def util_v1(gpu, truth, _):
    return util_samples(gpu["util_v1"], truth)


def accounting_pids(gpu, truth, _):
    part = gpu["accounting"]["pids"]
    if failed(part):
        yield f"{part}"
    elif sorted(part["pids"]) != sorted(truth.accounts):
        yield f"{sorted(part['pids'])}, right is {sorted(truth.accounts)}"


def proc_accounting(gpu, truth, _):
    answers = {entry["asked"]: entry for entry in gpu["accounting"]["processes"]}
    for pid, expected in sorted(truth.accounts.items()):
        entry = answers.get(pid)
        if entry is None:
            yield f"PID {pid} could not be asked for"
        elif failed(entry) or entry["pid"] != pid:
            yield f"PID {pid} answers {entry}"
        elif not expected.items() <= entry.items():
            yield f"PID {pid} has {entry}, right is {expected}"


def sessions(part, expected):
    if failed(part):
        yield f"status 0x{part['status']:x}, errno {part['errno']}"
        return
    got = sorted(entry["pid"] for entry in part["sessions"])
    if got != sorted(expected):
        yield f"{got}, right is {sorted(expected)}"


def nvenc(gpu, truth, _):
    return sessions(gpu["nvenc"], truth.nvenc)


def nvenc_v2(gpu, truth, _):
    return sessions(gpu["nvenc_v2"], truth.nvenc)


def nvfbc(gpu, truth, _):
    return sessions(gpu["nvfbc"], truth.nvfbc)


JUDGES = dict(zip(CALLS, [get_pids, get_pid_info, util_v2, util_v1, accounting_pids,
                          proc_accounting, nvenc, nvenc_v2, nvfbc]))
# Calls that a release may not have, and where gpu-ps has their answers.
OPTIONAL = {"UTIL_SAMPLES": "util_v1", "NVENC_V2": "nvenc_v2"}


def judge(answers, truth):
    """What is wrong in ANSWERS, gpu-ps's JSON: call -> list of complaints, None for a call that the
    release does not have."""
    gpu = answers["gpus"][0]
    verdict = {}
    for call in CALLS:
        part = OPTIONAL.get(call)
        if part and gpu[part]["status"] == NOT_SUPPORTED:
            verdict[call] = None
        else:
            verdict[call] = list(JUDGES[call](gpu, truth, answers["own_pid"]))
    return verdict
