"""Result lines of the suites (tests/lib/results.sh says how they look), for Python."""
import os
import sys
import traceback

counts = {"passed": 0, "failed": 0, "not-run": 0}


def report(outcome, case, why=""):
    """One case, to the file $MPU_RESULTS and to standard output."""
    why = " ".join(str(why).split())
    counts[outcome] += 1
    print(f"{outcome}: {case}{': ' + why if why else ''}", flush=True)
    if path := os.environ.get("MPU_RESULTS"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{outcome}\t{case}\t{why}\n")


def expect(condition, why):
    """Fails the running case with WHY unless CONDITION."""
    if not condition:
        raise AssertionError(why)


def expect_equal(got, expected, what):
    expect(got == expected, f"{what}: got {got!r}, expected {expected!r}")


def run_cases(module, wanted=None):
    """Runs every function of MODULE that is named test_..., in order; each is a case named by its
    own name. WANTED limits them to the names that contain it. Returns an exit status."""
    for name, function in list(vars(module).items()):
        if not name.startswith("test_") or (wanted and wanted not in name):
            continue
        case = name.removeprefix("test_").replace("_", " ")
        try:
            function()
        except AssertionError as error:
            report("failed", case, error)
        except Exception as error:
            traceback.print_exc(file=sys.stdout)
            report("failed", case, f"{type(error).__name__}: {error}")
        else:
            report("passed", case)
    return exit_status()


def exit_status():
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['not-run']} not run")
    return 1 if counts["failed"] or not counts["passed"] else 0
