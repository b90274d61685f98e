"""The README and the guides are true: every command in them runs and prints what is shown.

A ``sh`` or ``python`` block is run, all of a page in one folder in the order of the page. A
``text`` block right after one is its output: each line must be in the real output, in this order;
``…`` stands for whatever is left out. ``# exits with N`` behind a command says so. Blocks of other
kinds (``console``, ``py``, ``json``) are shown only.
"""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.plugins.catalogue import bugs, every_scheme

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 180
PAGES = (
    "README.md",
    "docs/tutorial/first-scheme.md",
    "docs/how-to/prove-a-scheme.md",
    "docs/how-to/replay-and-compare.md",
    "docs/how-to/run-one-engine.md",
)


def blocks(page):
    """Return the blocks of a page, each with its kind."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    """One folder for all blocks of a page, with nothing in it but the commands that pages name."""
    path = tmp_path
    commands = path / ".bin"
    commands.mkdir()
    for name, line in (
        ("rmapcheck", f"exec {sys.executable} -c 'from rmapcheck.cli import main; main()' \"$@\""),
        ("python", f'exec {sys.executable} "$@"'),
        ("make", 'exec rmapcheck "$1"'),
    ):
        (commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (commands / name).chmod(0o755)
    return path


def run(folder, command):
    path = f"{folder / '.bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def words(line):
    return " ".join(line.split())


def assert_shown(shown, output):
    """Every line shown is in the output, in order."""
    lines = iter([words(line) for line in output.splitlines()])
    for line in map(words, shown.splitlines()):
        if line in ("", "…"):
            continue
        start = line.removesuffix("…").rstrip()
        exact = start == line
        assert any(found == line if exact else found.startswith(start) for found in lines), (
            f"the page shows {line!r}, which is not (or not there) in:\n{output}"
        )


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs_and_prints_what_is_shown(folder, page):
    for (kind, text), (after, shown) in pairwise([*blocks(page), ("", "")]):
        output = ""
        if kind == "sh":
            for line in text.splitlines():
                command, _, code = line.partition("# exits with ")
                done = run(folder, command)
                assert done.returncode == int(code or 0), f"{line}\n{done.stdout}"
                assert "Traceback" not in done.stdout
                output += done.stdout
        elif kind == "python":
            (folder / "block.py").write_text(text)
            done = run(folder, "python block.py")
            assert done.returncode == 0, done.stdout
            output = done.stdout
        if output and after == "text":
            assert_shown(shown, output)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_kind(page):
    assert {kind for kind, _ in blocks(page)} <= {"sh", "python", "text", "console", "py", "json"}


def test_every_block_of_the_readme_is_run_or_output():
    assert {kind for kind, _ in blocks("README.md")} <= {"sh", "python", "text"}


def test_the_readme_is_short():
    assert README.count("\n") <= MOST_LINES


def test_the_readme_counts_what_there_is():
    for count, what in (
        (every_scheme(), "schemes"),
        (bugs(), "seeded bugs"),
        (INVARIANTS, "invariants"),
    ):
        assert f"[{len(count)} {what}](docs/reference/" in README


def test_make_demo_is_rmapcheck_demo():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:.*\n\t\$\(BIN\)/rmapcheck demo$", makefile, re.MULTILINE)
