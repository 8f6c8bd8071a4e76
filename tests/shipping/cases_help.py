"""help texts"""
import re

from programs import FOLDERS, expect, expect_equal, help_texts, run
import programs

NEEDS = []
COLUMNS = 80


def test_help_texts_fit_80_columns():
    wide = [f"{' '.join(name)}: {len(line)}: {line}" for name, text in help_texts().items()
            for line in text.splitlines() if len(line) > COLUMNS or "\t" in line]
    expect(not wide, "; ".join(wide))


def test_help_begins_with_usage_and_ends_with_a_newline():
    for name, text in help_texts().items():
        expect(re.match(r"[Uu]sage: " + re.escape(" ".join(name)) + r"\b", text),
               f"{' '.join(name)} --help begins with {text.splitlines()[0]!r}")
        expect(text.endswith("\n"), f"{' '.join(name)} --help does not end its last line")


def test_programs_refuse_an_unknown_option_and_lead_to_help():
    for program in FOLDERS:
        if program == "mpu-runtime":  # hands on what it does not know
            continue
        done = run([programs.build / FOLDERS[program] / program, "--no-such-option"], check=False)
        expect(done.returncode not in (0, 126, 127), f"{program} took it: {done.returncode}")
        expect("no-such-option" in done.stderr, f"{program} does not name it: {done.stderr!r}")


def test_programs_say_the_same_version():
    said = {program: run([programs.build / FOLDERS[program] / program, "--version"]).stdout
            for program in FOLDERS if program != "mpu-runtime"}
    versions = {text.split()[-1] for text in said.values()}
    expect_equal(len(versions), 1, f"versions, of {said}")
    for program, text in said.items():
        expect_equal(text, f"{program} {versions.copy().pop()}\n", "--version")
