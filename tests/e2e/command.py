"""Commands under mpu-run, for the tests of mpu-run as a program."""
import signal
import subprocess
import sys

import results
from world import Programs, Simrm

RELEASE = "580.95.05"
UNPRIVILEGED = 1000


class Here:
    """What the running tests use."""
    programs = None
    simrm = None


def gpu_ps():
    """The command that asks the simulated driver for everything."""
    return [Here.programs.gpu_ps, f"--dev-root={Here.simrm.directory}"]


def mpu_run(*command, options=(), **more):
    """Runs COMMAND under mpu-run to its end."""
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [Here.programs.mpu_run, f"--dev-root={Here.simrm.directory}", *options, "--", *command],
        capture_output=True, text=True, timeout=60, **more)


def start(*command, options=(), **more):
    """Starts it, with pipes."""
    return subprocess.Popen(
        [Here.programs.mpu_run, f"--dev-root={Here.simrm.directory}", *options, "--", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def both_ways(check):
    """CHECK without and with a PID namespace of the command's own."""
    for options in ([], ["--pid-ns"]):
        try:
            check(options)
        except AssertionError as error:
            raise AssertionError(f"mpu-run {' '.join(options)}: {error}") from None


def as_user(check):
    """CHECK as root and as an ordinary user, without and with a PID namespace."""
    for identity in ({}, {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}):
        try:
            both_ways(lambda options, identity=identity: check(options, identity))
        except AssertionError as error:
            raise AssertionError(f"as uid {identity.get('user', 0)}: {error}") from None


def main(module):
    """Runs the tests of MODULE: the build directory and a part of a name are arguments."""
    # A shell starts its background commands with these ignored, which all would inherit.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    Here.programs = Programs(sys.argv[1])
    try:
        with Simrm(Here.programs, RELEASE) as Here.simrm:
            return results.run_cases(module, *sys.argv[2:3])
    finally:
        Here.programs.remove()
