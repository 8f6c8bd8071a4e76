"""a terminal user's session"""
import difflib
import os
import re

import programs
from programs import ROOT, expect, run

NEEDS = ["unshare"]


def without_chance(text):
    """PIDs of the host, times and who ended early are others each time, and so are the blanks."""
    text = re.sub(r"^(    \|    0 +)\d{3,}\b", r"\1PID", text, flags=re.M)
    text = re.sub(r"\b\d+ vanished\b", "SOME vanished", text)
    text = re.sub(r"\bmpu-run-\d+", "mpu-run-PID", text)
    # A line of a trace: when, who, and for how long.
    text = re.sub(r"^    [\d:.]+ \d+\(\d+\) (ioctl.*) <[\d.]+>$", r"    WHEN WHO \1", text, flags=re.M)
    text = re.sub(r"<host \d+>", "<host PID>", re.sub(r"hClient=0x\w+", "hClient=C", text))
    return re.sub(r" +", " ", re.sub(r"\b[\d.]+ us\b", "TIME", text))


def test_docs_session_is_what_happens_today():
    expect(os.geteuid() == 0, "wants root, to give the session a /mnt of its own")
    done = run([ROOT / "tests/shipping/session.sh", programs.build])
    written = (ROOT / "docs/session.md").read_text(encoding="utf-8")
    differences = [line for line in difflib.unified_diff(
        without_chance(written).splitlines(), without_chance(done.stdout).splitlines(),
        lineterm="", n=0) if line[:1] in "+-"]
    expect(not differences, "docs/session.md is old: tests/shipping/session.sh BUILD "
                            f">docs/session.md makes it anew: {differences[:12]}")
