#!/usr/bin/env python3
"""`mpuctl abi policy-from-trace` on a recorded trace and on log lines, and what becomes of its rows.

  policy-from-trace.py ROOT MPUCTL
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT, MPUCTL = Path(sys.argv[1]), sys.argv[2]
TRACE, LOG = ROOT / "tests/data/policy-trace.json", ROOT / "tests/data/policy-refused.log"
VERSION = "580.95.05"


def ran(*arguments, status=0, **more):
    done = subprocess.run([MPUCTL, "abi", *arguments], capture_output=True, text=True, check=False,
                          **more)
    assert done.returncode == status, (arguments, done)
    return done


def tool(*arguments, **more):
    return ran("policy-from-trace", *arguments, **more).stdout


def rows(text):
    """(kind, name, capabilities, way) of the rows."""
    return [tuple(line.split()[:4]) for line in text.splitlines() if not line.startswith("#")]


def taken(text, capabilities="compute,utility"):
    """What is added by a file of TEXT, or what is said of the file."""
    with tempfile.NamedTemporaryFile("w", suffix=".allow", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([MPUCTL, "abi", "policy", VERSION, capabilities,
                               f"--allow={file.name}"], capture_output=True, text=True, check=False)
    added = [line for line in done.stdout.splitlines() if " (added): " in line]
    return added if not done.returncode else done.stderr


def test_rows_of_a_trace_are_those_that_are_missing():
    both = "compute,utility"
    assert rows(tool(TRACE)) == [
        ("control", "NV2080_CTRL_CMD_I2C_ACCESS", both, "execute"),
        ("control", "0x20807123:2", both, "execute"),
        ("uvm", "UVM_DISABLE_SYSTEM_WIDE_ATOMICS", both, "continue"),
    ], tool(TRACE)


def test_what_no_row_can_allow_is_said_with_the_reason():
    text = tool(TRACE)
    for kind, name, why in (("escape", "NV_ESC_RM_GET_EVENT_DATA", "needs code of its own"),
                            ("heap", "0x0000001b", "of its parameters"),
                            ("memory", "NV01_MEMORY_LIST_SYSTEM", "allow it as a class"),
                            ("class", "NV01_MEMORY_SYSTEM_OS_DESCRIPTOR", "NV_ESC_RM_ALLOC_MEMORY"),
                            ("class", "0x0000eeee", "no release that is known has it"),
                            ("escape", "0x000000fa", "no release that is known has it")):
        assert re.search(f"^# {kind} {name}: .*{why}", text, re.M), (name, text)


def test_calls_are_counted_and_what_is_to_be_said_is_named():
    text = tool(TRACE)
    assert re.search(r"I2C_ACCESS .* called 2 times$", text, re.M), text
    assert "# to be said: NV2080_CTRL_I2C_ACCESS_PARAMS data USE dataBuffSize SOURCE" in text
    assert "follow in its parameters: 0x20807123 - value - SOURCE" in text


def test_under_strict_what_a_pattern_allows_is_missing():
    """With the pattern's own words, out of which a row takes it."""
    assert ("control", "0x2080f159:4", "compute,utility", "firmware") in rows(
        tool("--strict", "--capabilities=utility", TRACE))


def test_rows_are_taken_as_they_are_where_nothing_is_behind_pointers():
    text = "".join(line + "\n" for line in tool("--strict", TRACE).splitlines()
                   if not re.search("I2C_ACCESS|0x20807123", line))
    assert len(rows(text)) == 2 and len(taken(text)) == 2, (text, taken(text))


def test_what_is_to_be_said_is_asked_for_until_it_is():
    text = tool(TRACE)
    assert "data is a pointer or descriptor of which nothing is said" in taken(text)
    text = re.sub("# to be said: (.*) USE (.*) SOURCE", r"\1 inout \2 i2c.c", text)
    assert "0x20807123 has parameters of which nothing is known" in taken(text), taken(text)
    text = re.sub("# to be said, if .*: (.*) SOURCE", r"\1 vendor", text)
    assert len(taken(text)) == 3, (text, taken(text))


def test_refusals_in_a_log_are_rows_too():
    version = f"--driver-version={VERSION}"
    text = tool(version, LOG)
    assert "# besides graphics:" in text, text
    assert rows(text) == [
        ("control", "NV2080_CTRL_CMD_GR_GET_ZCULL_INFO", "compute,utility", "execute"),
        ("control", "NV2080_CTRL_CMD_I2C_ACCESS", "compute,utility", "execute"),
        ("uvm", "UVM_DISABLE_SYSTEM_WIDE_ATOMICS", "compute,utility", "continue"),
    ], text
    assert "1 of nvidia-modeset" in text, text
    assert rows(tool(version, "--container=web", "--capabilities=graphics", LOG)) == []
    web = tool(version, "--container=web", LOG)
    assert len(rows(web)) == 1 and len(taken(web)) == 1, (web, taken(web))
    with open(LOG, encoding="utf-8") as file:
        assert tool(version, "-", stdin=file) == text


def test_what_a_file_allows_is_not_missing():
    with tempfile.NamedTemporaryFile("w", suffix=".allow", encoding="utf-8") as file:
        file.write(tool(f"--driver-version={VERSION}", "--container=web", LOG))
        file.flush()
        assert rows(tool(f"--driver-version={VERSION}", "--container=web",
                         f"--allow={file.name}", LOG)) == []


def test_what_cannot_be_read_is_said():
    tool("--capabilities=cuda", TRACE, status=2)
    tool(status=2)
    assert "/nowhere: No such file" in ran("policy-from-trace", "/nowhere", status=1).stderr
    assert "is not a driver version" in ran("policy-from-trace", "--driver-version=x", LOG,
                                            status=1).stderr
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write("\n{\"release\"\n")
        file.flush()
        assert f"{file.name}:2" in ran("policy-from-trace", file.name, status=1).stderr


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    for name, test in tests:
        test()
        print(f"ok {name}")
    assert len(tests) == 9


main()
