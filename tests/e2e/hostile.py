"""What a target may do wrong: natively and under mpu-run the same errno and status.

  hostile.py BUILD-DIRECTORY

hostile.c does it, in a PID namespace on its own and under mpu-run --policy=always, which handles
every call that carries PIDs; the two outputs must be equal line by line.
"""
import difflib
import subprocess
import sys

import results
from world import Programs, Simrm

# Wrong sizes answer 0x3a in the first and 0x1f in the others; the last translates by itself.
RELEASES = ["535.54.03", "535.183.01", "550.54.14", "580.95.05"]
# These compare lists of the driver with each other: for a release that translates by itself.
RACES = ["580.95.05"]
NATIVELY = ["unshare", "--pid", "--fork", "--mount-proc"]
UNPRIVILEGED = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]


def outputs(programs, simrm, release, part, ways):
    """The lines that hostile prints in each of WAYS."""
    for way in ways:
        done = subprocess.run([*way, programs.hostile, simrm.directory, release, part],
                              capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise AssertionError(f"{way} ended with {done.returncode}: {done.stderr.strip()}")
        yield done.stdout.splitlines(), done.stderr


def compare(programs, release, part, user, options):
    with Simrm(programs, release) as simrm:
        mpu = [programs.mpu_run, f"--dev-root={simrm.directory}", "--pid-ns", *options, "--"]
        (native, _), (ours, errors) = outputs(
            programs, simrm, release, part, [[*NATIVELY, *user], [*mpu, *user]])
    different = [line for line in difflib.unified_diff(native, ours, "native", "mpu", "", "", 0)
                 if not line.startswith(("---", "+++", "@@"))]
    for line in different:
        print("   ", line)
    results.expect(not different, f"{len(different)} lines differ: {'; '.join(different[:6])}")
    results.expect(len(native) > 10, f"only {len(native)} lines")
    results.expect("AddressSanitizer" not in errors and "runtime error" not in errors, errors)
    return len(native)


def main():
    programs = Programs(sys.argv[1])
    try:
        for release in RELEASES:
            for part in ["arguments"] + (["races"] if release in RACES else []):
                for who, user in (("root", []), ("an ordinary user", UNPRIVILEGED)):
                    for options in (["--policy=always"], ["--policy=always", "--pid-lookup=nspid"],
                                    ["--policy=auto"]):
                        case = f"{release} {part} as {who} with {' '.join(options)}"
                        try:
                            count = compare(programs, release, part, user, options)
                        except (AssertionError, subprocess.TimeoutExpired) as error:
                            results.report("failed", case, error)
                        else:
                            results.report("passed", f"{case}: {count} answers as natively")
    finally:
        programs.remove()
    return results.exit_status()


sys.exit(main())
