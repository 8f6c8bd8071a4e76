"""documents"""
import re
from collections import Counter
from pathlib import Path

from programs import ROOT, commands, expect, expect_equal, help_text, options

NEEDS = []
# Where the options of a program stand in a table of their own.
OPTIONS = {"mpu-run": "mpu-run.md", "mpud": "oci-mpud.md", "mpu-hook": "oci-mpu-hook.md",
           "mpu-runtime": "oci-mpu-runtime.md"}
# Where messages are quoted as they come.
MESSAGES = {"troubleshooting.md": "## By message", "confine.md": "## When it does not work"}


def documents():
    found = sorted((ROOT / "docs").glob("*.md")) + [ROOT / "README.md"]
    found += sorted((ROOT / "tests").rglob("README.md"))
    return {path: path.read_text(encoding="utf-8") for path in found}


def prose(text):
    """Without what stands in it as a program printed it."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def anchors(text):
    """Of its headlines, as GitHub makes them."""
    said = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line).lower()
            for line in re.findall(r"^#+ (.*)$", prose(text), re.M)]
    return {re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in said}


def tables(text):
    """The rows of each table, without its head: cells."""
    found = re.findall(r"(?:^\|.*\n)+", prose(text), re.M)
    return [[[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
             for row in table.splitlines()[2:]] for table in found]


def option_rows(document):
    """The options that begin a row, of each table."""
    cells = [row[0] for table in tables((ROOT / "docs" / document).read_text(encoding="utf-8"))
             for row in table]
    return Counter(name for cell in cells for name in
                   set(re.findall(r"`(--[a-z][a-z-]*)", cell)) if cell.startswith("`-"))


def test_links_lead_to_headlines_that_are_there():
    dead, seen = [], 0
    for path, text in documents().items():
        for target, anchor in re.findall(r"\]\(([^):#]*)#([^)]*)\)", text):
            seen += 1
            there = path.parent / target if target else path
            if anchor not in anchors(there.read_text(encoding="utf-8")):
                dead.append(f"{path.name}: {target}#{anchor}")
    expect(seen > 10, f"links with a headline: {seen}")
    expect_equal(dead, [], "dead links")


def test_each_table_has_a_head():
    for path, text in documents().items():
        for table in re.findall(r"(?:^\|.*\n)+", prose(text), re.M):
            expect(re.search(r"\n\|[-:| ]+\|\n", table), f"{path.name}: {table.splitlines()[0]}")


def test_no_row_and_no_paragraph_stands_twice():
    twice = []
    for path, text in documents().items():
        rows = [tuple(row) for table in tables(text) for row in table if len(set(row)) > 1]
        paragraphs = [part for part in re.split(r"\n\s*\n", prose(text))
                      if len(part) > 60 and part[0].isalpha()]
        for what, count in (Counter(rows) + Counter(paragraphs)).items():
            if count > 1:
                twice.append(f"{path.name}: {what}")
    expect_equal(twice, [], "twice")


def test_each_option_has_one_row_and_is_in_help():
    for program, document in OPTIONS.items():
        rows = option_rows(document)
        expect_equal([name for name, count in rows.items() if count > 1], [],
                     f"more than one row in {document}")
        said = options(help_text(program))
        expect_equal(sorted(set(rows) - said), [], f"in {document}, not in {program} --help")
        text = (ROOT / "docs" / document).read_text(encoding="utf-8")
        missing = said - options(text) - {"--help", "--version"}
        expect_equal(sorted(missing), [], f"in {program} --help, not in {document}")


def test_what_mpuctl_can_do_is_in_the_documents():
    text = "".join(documents().values())
    for command in commands(help_text("mpuctl")):
        expect(re.search(rf"mpuctl {command}\b", text), f"no document has mpuctl {command}")
        missing = options(help_text("mpuctl", command)) - options(text)
        expect_equal(sorted(missing), [], f"mpuctl {command}: in no document")


def test_the_book_has_every_document():
    book = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    left_out = [path.name for path in (ROOT / "docs").glob("*.md")
                if path.name != "README.md" and f"({path.name}" not in book]
    expect_equal(left_out, [], "not in docs/README.md")


def quoted(document, headline):
    """The messages that begin a row, in the pieces that stand between what differs. They have words."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8").split(headline)[1]
    cells = [row[0] for table in tables(text) for row in table]
    for cell in cells:
        for message in re.findall(r'`([^`]*)`|"([^"]*)"', cell):
            if re.match(r"[^-].* ", "".join(message)):
                yield from re.split(r"\.\.\.|\bN\b|/\S+|: |\w+=\S*", "".join(message))


def test_messages_of_the_documents_are_those_of_the_programs():
    folders = ("base", "filter", "nvabi", "runtime-hook", "supervisor")
    source = "".join(path.read_text(encoding="utf-8") for folder in folders
                     for path in Path(ROOT / folder).rglob("*.c"))
    source = re.sub(r'"\s*"', "", source)
    for document, headline in MESSAGES.items():
        pieces = [piece.strip() for piece in quoted(document, headline)]
        pieces = [piece for piece in pieces if len(piece) > 8]
        expect(len(pieces) > 3, f"{document}: messages found: {pieces}")
        expect_equal([piece for piece in pieces if piece not in source], [],
                     f"{document}: no program says")
