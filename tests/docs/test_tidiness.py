"""Usual words, and short lines, functions and files, in the whole repository.

The readers are kernel developers in a hurry, and many are not native speakers. So each sentence
should have one meaning and use the usual word. A word in `AVOID` has a more usual one beside it.
"""

import ast
import re
from pathlib import Path

from tests.files import ROOT, repository_files

AVOID = {
    r"anew": "again, regenerated",
    r"lest": "so that … not",
    r"who(so)?ever": "anyone who, the caller who",
    r"dear(er|ly)?": "expensive",
    r"parted": "separated, different",
    r"told": "gets, is given, is reported",
    r"mend(s|ed|ing)?": "fix",
    r"pursue[sd]?": "find, look for",
    r"film(s|ed)?": "recording",
    r"wishes": "options",
    r"books": "bookkeeping",
    r"owes?": "must",
    r"for want of": "for lack of",
    r"but for": "except for",
    r"(comes?|came) of": "the result of",
    r"gives? way": "is replaced",
    r"ever (wider|larger|longer)": "wider and wider",
    r"hereby|thereof|whence|albeit|whilst": "by this, of it, from which, although, while",
    r"(has|have|had) not (an?|the|any|its|enough)": "does not have",
    r"(?<!there )(is|are|was|were) no (?!longer|more|less|fewer|other|such|one)\w+": "is not a",
}
"""Words to avoid (regular expressions, also as a part of a name), and what to write instead."""

ALLOWED = {
    ("src/rmapcheck/plugins/moved.py", "film"): "the name of a module in earlier versions",
    ("src/rmapcheck/reproduce/c/slots.c", "told"): "output of exported programs, which stays",
}
"""Uses of such words that are right, each with the reason."""

LONGEST_FILE = 400
LONGEST_FUNCTION = 70
LONGEST_LINE = 99
LONGEST_LINE_OF_C = 100
"""Columns, with tabs of eight; the kernel's checkpatch.pl allows as many."""

PATTERN = re.compile("|".join(f"(?<![a-z])(?:{word})(?![a-z])" for word in AVOID), re.IGNORECASE)
FUNCTION_OF_C = re.compile(r"^([^\s{}#/*][^\n]*)\n\{\n.*?^\}", re.DOTALL | re.MULTILINE)
PRAGMA = re.compile(r"\s*# (noqa|type: ignore|fmt: skip).*")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def complaints(name, text):
    """Yield a line for each word to avoid in the text of the file `name`."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in PATTERN.finditer(line):
            if (name, match[0].lower()) not in ALLOWED:
                word = next(w for w in AVOID if re.fullmatch(w, match[0], re.IGNORECASE))
                yield f"{name}:{number}: {match[0]!r}: write {AVOID[word]!r}"


def test_words_are_usual_ones():
    wrong = [
        line
        for path in repository_files("*.py", "*.md", "*.c", "*.toml", "Makefile")
        if path != Path(__file__)
        for line in complaints(name_of(path), path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_words_to_avoid_are_found_also_in_names():
    text = "def told_of(): lest_we\nA Dear film.\nIt is no bug: there is no such bug any more."
    assert [line.split(": ")[1] for line in complaints("x.py", text)] == [
        "'told'",
        "'lest'",
        "'Dear'",
        "'film'",
        "'is no bug'",
    ]
    assert not list(complaints("x.py", "The oldest latest threshold; a deaf tolder; filmy."))


def lengths_of_functions(path, text):
    """Yield the functions of a Python or C file, and how many lines each has."""
    if path.suffix == ".c":
        for match in FUNCTION_OF_C.finditer(text):
            yield match[1].partition("(")[0].split()[-1], match[0].count("\n") + 1
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def test_functions_are_short():
    long = [
        f"{name_of(path)}: {name}"
        for path in repository_files("*.py", "*.c")
        for name, length in lengths_of_functions(path, path.read_text(encoding="utf-8"))
        if length > LONGEST_FUNCTION
    ]
    assert long == []


def test_files_are_short():
    long = [
        name_of(path)
        for path in repository_files("*.py", "*.md", "*.c", "Makefile", "pyproject.toml")
        if path.read_text(encoding="utf-8").count("\n") > LONGEST_FILE
    ]
    assert long == []


def test_lines_are_short():
    """Of code; the lines of Markdown tables cannot be split."""
    long = [
        f"{name_of(path)}:{number}"
        for path in repository_files("*.py", "*.c", "Makefile", "pyproject.toml")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(PRAGMA.sub("", line.expandtabs(8)))
        > (LONGEST_LINE_OF_C if path.suffix == ".c" else LONGEST_LINE)
    ]
    assert long == []
