"""The README is true: every command in it runs and prints what is shown; tables are the code's.

A ``sh`` or ``python`` block is run, all in one folder in the order of the page. A ``text`` block
right after one is its output: each line must be in the real output, in this order; ``…`` stands
for whatever is left out. ``# exits with N`` behind a command says so.
"""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rmapcheck.tables.tables import ROWS, markdown, updated

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all blocks, with nothing in it but the commands that the README names."""
    path = tmp_path_factory.mktemp("readme")
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
            f"the README shows {line!r}, which is not (or not there) in:\n{output}"
        )


def test_every_block_runs_and_prints_what_is_shown(folder):
    for (kind, text), (after, shown) in pairwise([*BLOCKS, ("", "")]):
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


def test_every_block_is_of_a_known_kind():
    assert {kind for kind, _ in BLOCKS} <= {"sh", "python", "text"}


def test_make_demo_is_rmapcheck_demo():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:.*\n\t\$\(BIN\)/rmapcheck demo$", makefile, re.MULTILINE)


@pytest.mark.parametrize("name", ROWS)
def test_tables_are_those_of_the_code(name):
    assert markdown(name) in README, "run `make docs`"


def test_make_docs_changes_nothing():
    assert updated(README) == README, "run `make docs`"
