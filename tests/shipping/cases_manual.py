"""manual pages"""
import re
import tempfile
from pathlib import Path

import programs
from programs import ROOT, SECTIONS, commands, expect, expect_equal, help_texts, options, run

NEEDS = ["mandoc", "man"]
PAGES = sorted((ROOT / "man").glob("*.[178]"))


def source(program):
    return (ROOT / f"man/{program}.{SECTIONS[program]}").read_text(encoding="utf-8")


def own_options(page):
    """What has an entry of its own: .It Fl -option, several apart by commas."""
    entries = re.findall(r"^\.It (Fl .*)$", page, re.M)
    return {f"-{name}" for entry in entries for name in re.findall(r"Fl (-[a-z][a-z-]*)", entry)}


def options_said(program):
    """Of --help, of all commands; where one says what another program takes, it is none."""
    return set().union(*(options(text) for name, text in help_texts().items()
                         if name[0] == program))


def test_each_option_of_help_is_in_the_manual():
    for program in SECTIONS:
        page = {f"-{name}" for name in re.findall(r"Fl (-[a-z][a-z-]*)", source(program))}
        expect_equal(sorted(options_said(program) - page), [], f"not in the manual of {program}")


def test_each_option_of_the_manual_is_in_help():
    for program in SECTIONS:
        expect_equal(sorted(own_options(source(program)) - options_said(program)), [],
                     f"not in {program} --help")


def test_each_command_of_help_is_in_the_manual_and_the_other_way_round():
    for program in ("mpuctl", "mpu-hook"):
        page = set()
        for entry in re.findall(r"^\.It Cm (.*)$", source(program), re.M):
            for part in re.split(r" , ", re.sub(r" (Ar|Op|Fl) .*", "", entry)):
                page.add(part.split()[0])
        said = set().union(*(commands(text) for name, text in help_texts().items()
                             if name[0] == program))
        expect_equal(page, said, f"commands of {program}")


def test_the_values_of_options_are_in_the_manual():
    for name, text in help_texts().items():
        page = source(name[0])
        for option, words in programs.values(text).items():
            for word in words:
                expect(re.search(rf"Cm {word}\b", page), f"{name[0]}: {option}={word}")


def test_the_annotations_are_those_that_the_hook_reads():
    page = (ROOT / "man/mpu-annotations.7").read_text(encoding="utf-8")
    code = (ROOT / "runtime-hook/optin.c").read_text(encoding="utf-8")
    read = dict(re.findall(r'\{"(mpu\.[a-z-]+)", \{([^}]*)\}', code))
    # Its words are the capabilities'.
    read |= {name: "" for name in re.findall(r'get_ex\(annotations, "(mpu\.[a-z-]+)"', code)
             if name not in read}
    expect(len(read) >= 5, f"annotations found in the source: {sorted(read)}")
    expect_equal(set(re.findall(r"^\.It Li (mpu\.[a-z-]+)$", page, re.M)), set(read),
                 "annotations")
    for annotation, words in read.items():
        entry = page.split(f".It Li {annotation}\n")[1].split(".It Li")[0]
        for word in re.findall(r'"([^"]+)"', words):
            expect(re.search(rf"^\.Cm {word}\b", entry, re.M), f"{annotation}: {word}")


def test_mandoc_and_man_have_nothing_to_complain_of():
    expect(len(PAGES) >= len(SECTIONS) + 1, f"pages: {PAGES}")
    with tempfile.TemporaryDirectory() as folder:
        for page in PAGES:
            filled = Path(folder) / page.name
            filled.write_text(page.read_text(encoding="utf-8").replace("@PROJECT_VERSION@", "1.0"),
                              encoding="utf-8")
            done = run(["mandoc", "-Tlint", "-Wstyle", filled], check=False)
            # The pages that this one names are not in the system's folders.
            said = [line for line in done.stdout.splitlines() if "referenced manual not found"
                    not in line]
            expect_equal(said, [], "mandoc")
            done = run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", filled],
                       env=programs.environment(MAN_KEEP_STDERR="1"))
            expect_equal(done.stderr, "", "man --warnings")


def test_pages_that_are_referred_to_are_there():
    ours = {f"{page.stem} {page.suffix[1:]}" for page in PAGES}
    for page in PAGES:
        for name in re.findall(r"^\.Xr (\S+ \d)", page.read_text(encoding="utf-8"), re.M):
            expect(name in ours, f"{page.name} refers to {name}")
