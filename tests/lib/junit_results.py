"""Turns ctest's JUnit file into result lines (tests/lib/results.sh).

A Criterion program prints "Tested: 12 | Passing: 11 | Failing: 1 | Crashing: 0", and for each
failed test a line "[FAIL] suite::test: ..."; every test of it is a case. Any other program is one
case.
"""
import re
import sys
import xml.etree.ElementTree as xml

SYNTHESIS = re.compile(r"Tested: .*?Passing: .*?(\d+).*?Failing: .*?(\d+).*?Crashing: .*?(\d+)")
FAILED_TEST = re.compile(r"^\[FAIL\] (\S+?):? ", re.M)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def cases(program):
    name = program.get("name")
    output = ESCAPES.sub("", program.findtext("system-out") or "")
    synthesis = SYNTHESIS.search(output)
    ended_well = program.get("status") == "run"
    if synthesis:
        passing, failing, crashing = map(int, synthesis.groups())
        for number in range(passing):
            yield "passed", f"{name} {number + 1}", ""
        failed = FAILED_TEST.findall(output)
        for number in range(failing + crashing):
            test = failed[number] if number < len(failed) else f"failure {number + 1}"
            yield "failed", f"{name} {test}", "see the log"
        if not ended_well and failing + crashing == 0:
            yield "failed", name, "its tests passed, but the program did not end well, see the log"
    elif ended_well:
        yield "passed", name, ""
    else:
        failure = program.find("failure")
        why = failure.get("message", "") if failure is not None else program.get("status")
        yield "failed", name, why or "see the log"


def main():
    junit, results = sys.argv[1:]
    with open(results, "a", encoding="utf-8") as out:
        for program in xml.parse(junit).getroot().iter("testcase"):
            for outcome, name, why in cases(program):
                out.write(f"{outcome}\t{name}\t{why}\n")


main()
