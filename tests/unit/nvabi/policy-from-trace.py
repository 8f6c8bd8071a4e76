#!/usr/bin/env python3
"""nvabi/tools/policy-from-trace on a recorded trace and on log lines.

  policy-from-trace.py ROOT MPUCTL NVABI-COMPILE-POLICY
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT, MPUCTL, COMPILE = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
TRACE, LOG = ROOT / "tests/data/policy-trace.json", ROOT / "tests/data/policy-refused.log"


def tool(*arguments, status=0):
    done = subprocess.run([ROOT / "nvabi/tools/policy-from-trace", f"--mpuctl={MPUCTL}", *arguments],
                          capture_output=True, text=True, check=False)
    assert done.returncode == status, (arguments, done)
    return done.stdout


def rows(text):
    """(kind, name, capabilities, way) of the rows."""
    return [tuple(line.split()[:4]) for line in text.splitlines() if not line.startswith("#")]


def compiles(extra_rows, extra_params=""):
    """Whether the policy with these rows behind it is taken, and what is said of it."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory, "data")
        shutil.copytree(ROOT / "nvabi/data", data)
        for name, text in (("policy", extra_rows), ("policy-params", extra_params)):
            with open(data / name, "a", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([COMPILE, data, Path(directory, "out.c")], capture_output=True,
                              text=True, check=False)
        return not done.returncode, done.stderr


def test_rows_of_a_trace_are_those_that_are_missing():
    both = "compute,utility"
    assert rows(tool(TRACE)) == [
        ("control", "NV2080_CTRL_CMD_I2C_ACCESS", both, "execute"),
        ("control", "0x20807123:2", both, "execute"),
        ("class", "NV01_MEMORY_SYSTEM_OS_DESCRIPTOR", both, "execute"),
        ("escape", "NV_ESC_RM_GET_EVENT_DATA", both, "execute"),
        ("heap", "NVOS32_FUNCTION=27", both, "execute"),
        ("memory", "NV01_MEMORY_LIST_SYSTEM", both, "execute"),
        ("uvm", "UVM_DISABLE_SYSTEM_WIDE_ATOMICS", both, "continue"),
    ], tool(TRACE)


def test_calls_without_a_row_are_counted_and_explained():
    text = tool(TRACE)
    assert re.search(r"I2C_ACCESS .* called 2 times$", text, re.M), text
    assert "# policy-params: NV2080_CTRL_I2C_ACCESS_PARAMS data USE dataBuffSize SOURCE" in text
    assert "# class 0xeeee: no release that is known has it" in text
    assert "# escape 0xfa: no release that is known has it" in text
    assert "# of control 0x20807123 nothing is known" in text


def test_under_strict_what_a_pattern_allows_is_missing():
    assert ("control", "0x2080f159:4", "utility", "firmware") in rows(
        tool("--strict", "--capabilities=utility", TRACE))


def test_rows_are_taken_as_they_are_where_nothing_is_behind_pointers():
    text = "".join(line + "\n" for line in tool("--strict", TRACE).splitlines()
                   if re.match("uvm|memory|control 0x|heap", line))
    taken, why = compiles(text)
    assert taken and len(rows(text)) == 5, (text, why)


def test_a_row_with_pointers_is_refused_until_they_are_described():
    row = next(line for line in tool(TRACE).splitlines() if "I2C_ACCESS " in line) + "\n"
    taken, why = compiles(row)
    assert not taken and "data has a pointer or descriptor" in why, why
    taken, why = compiles(row, "NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize x.c\n")
    assert taken, why


def test_refusals_in_a_log_are_rows_too():
    version = "--driver-version=580.95.05"
    text = tool(version, LOG)
    assert "# in the place of the row for graphics:" in text, text
    assert rows(text) == [
        ("control", "NV2080_CTRL_CMD_GR_GET_ZCULL_INFO", "compute,utility,graphics", "execute"),
        ("control", "NV2080_CTRL_CMD_I2C_ACCESS", "compute,utility", "execute"),
        ("uvm", "UVM_DISABLE_SYSTEM_WIDE_ATOMICS", "compute,utility", "continue"),
    ], text
    assert "1 of nvidia-modeset" in text, text
    assert rows(tool(version, "--container=web", "--capabilities=graphics", LOG)) == []
    assert "NV2080_CTRL_CMD_GR_GET_ZCULL_INFO" in tool(version, "--container=web", LOG)


def test_words_that_are_no_capability_are_refused():
    tool("--capabilities=cuda", TRACE, status=2)


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    for name, test in tests:
        test()
        print(f"ok {name}")
    assert len(tests) == 7


main()
