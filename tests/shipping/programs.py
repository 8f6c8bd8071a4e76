"""The programs, what their help texts say, and how to run things."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from results import expect, expect_equal  # noqa: E402,F401

FOLDERS = {"mpu-run": "supervisor", "mpud": "supervisor", "mpuctl": "supervisor",
           "mpu-hook": "runtime-hook", "mpu-runtime": "runtime-hook"}
SECTIONS = {"mpu-run": 1, "mpud": 8, "mpuctl": 1, "mpu-hook": 8, "mpu-runtime": 8}
build = None


def installed(program):
    return shutil.which(program) is not None or Path(program).exists()


def run(argv, check=True, timeout=300, text_in="", **kwargs):
    """Runs ARGV to its end; AssertionError with its own words when it fails."""
    done = subprocess.run([str(one) for one in argv], input=text_in, text=True,
                          capture_output=True, timeout=timeout, check=False, **kwargs)
    if check:
        expect(done.returncode == 0, f"{argv[0]} ended with {done.returncode}: "
                                     f"{(done.stderr.strip() or done.stdout.strip())[-600:]}")
    return done


def help_text(program, *command):
    done = run([build / FOLDERS[program] / program, *command, "--help"])
    expect(done.stdout and not done.stderr, f"{program} --help: {done.stderr or 'says nothing'}")
    return done.stdout


def options(text):
    return set(re.findall(r"--[a-z][a-z-]*", text))


def values(text):
    """The options that take words, with these words."""
    return {name: words.split("|") for name, words in
            re.findall(r"(--[a-z-]+)\[?=([a-z_]+(?:\|[a-z_]+)+)", text)}


def commands(text):
    """The words of indented lines that begin with one."""
    return re.findall(r"^  ([a-z][A-Za-z-]*)(?: .*)?  +\S", text, re.M)


def help_texts():
    """(program, command or nothing): help text, of all programs and the commands of mpuctl."""
    texts = {(program,): help_text(program) for program in FOLDERS}
    for command in commands(texts["mpuctl",]):
        texts["mpuctl", command] = help_text("mpuctl", command)
    return texts


def environment(**more):
    """With the built programs found first, under their own names only."""
    folders = ":".join(str(build / folder) for folder in sorted(set(FOLDERS.values())))
    return {**os.environ, "PATH": f"{folders}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **more}
