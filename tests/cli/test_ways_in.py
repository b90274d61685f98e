"""Other ways in: as a module, by the shell's completion, and cases from standard input."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rmapcheck as package
from rmapcheck.verdict import Exit
from tests.processes import RMAPCHECK

CASE = next(Path(__file__).parents[2].glob("counterexamples/B29-*.json"))


def shell(*args, stdin=b"", **env):
    done = subprocess.run(
        args, input=stdin, capture_output=True, check=False, env=os.environ | env
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_as_a_module_it_is_the_same_command():
    for words in (["--version"], ["explore", "nothing"]):
        module = shell(sys.executable, "-m", "rmapcheck", *words)
        assert module == shell(*RMAPCHECK, *words)


def test_the_version():
    assert re.fullmatch(r"\d+\.\d+.*", package.__version__)
    out = shell(*RMAPCHECK, "--version")[1]
    assert out == f"rmapcheck {package.__version__}\n"
    with pytest.raises(AttributeError, match="no attribute 'version'"):
        _ = package.version


# Completion.


def completed(line):
    words = line.split(" ")
    place = str(len(words) - 1)
    code, out, err = shell(
        *RMAPCHECK, _RMAPCHECK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=place
    )
    assert (code, err) == (0, "")
    return out.split()


def test_commands_options_and_schemes_are_completed():
    assert completed("rmapcheck ver") == ["verify"]
    assert "--max-depth" in completed("rmapcheck explore --max")
    assert completed("rmapcheck explore avc-7") == ["avc-7.0"]
    assert completed(f"rmapcheck replay {CASE} --scheme avc-7") == ["avc-7.0"]
    assert completed("rmapcheck verify mine") == []  # then the shell completes file names


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(name):
    code, out, err = shell(*RMAPCHECK, _RMAPCHECK_COMPLETE=f"source_{name}")
    assert (code, err) == (0, "")
    assert "complete" in out
    assert "rmapcheck" in out


# Standard input.


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "-"),
        ("show", "-"),
        ("export", "-", "--format", "mermaid"),
        ("diff", "-", "--schemes", "B29,avc-7.0"),
        ("replay", "-", "--json"),
    ],
    ids=" ".join,
)
def test_a_case_from_standard_input(words):
    code, out, err = shell(*RMAPCHECK, *words, stdin=CASE.read_bytes())
    assert (code, err) == (0, "")
    named = [str(CASE) if word == "-" else word for word in words]
    assert out.replace("-: ", "").replace('"-"', "") == (
        shell(*RMAPCHECK, *named)[1].replace(f"{CASE}: ", "").replace(f'"{CASE}"', "")
    )


def test_a_case_from_standard_input_is_written_where_it_is_said(tmp_path):
    words = ("minimize", "-", "--save", str(tmp_path / "here"))
    assert shell(*RMAPCHECK, *words, stdin=CASE.read_bytes())[0] == 0
    assert list(tmp_path.glob("here/*.json"))
    out = str(tmp_path / "out.svg")
    words = ("show", "-", "--format", "svg", "-o", out)
    assert shell(*RMAPCHECK, *words, stdin=CASE.read_bytes())[0] == 0
    assert Path(out).read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("words", "stdin", "says"),
    [
        (("replay", "-"), b"", "standard input: the file is empty; a case is a JSON object."),
        (("replay", "-"), b"{", "standard input: line 1, column 2 is not JSON"),
        (("show", "-"), b"\xff", "standard input: byte 0 is not UTF-8"),
        (("replay", "-"), b" " * 2_000_000, "standard input: the file is larger than"),
        (("minimize", "-"), b"", "a case from standard input needs --save FOLDER."),
        (("minimize", "-", "--in-place"), b"", "a case from standard input needs --save FOLDER."),
    ],
)
def test_what_is_no_case_on_standard_input(words, stdin, says):
    code, _out, err = shell(*RMAPCHECK, *words, stdin=stdin)
    assert code == Exit.USAGE
    assert err.startswith(f"rmapcheck: {says}")
    assert err.count("\n") == 1
