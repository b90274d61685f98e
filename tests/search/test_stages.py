"""`explore --stage`: wider and wider scopes, and the report on each."""

import json

import pytest

from rmapcheck.cli import run

SMALL = ("explore", "avc-6.0", "--ops", "mmap,fault", "--engine", "python")
ONE, TWO = ("--stage", "mms=1,pages=1"), ("--stage", "mms=1,pages=2")


def test_each_stage_says_what_it_covered(capsys):
    assert run([*SMALL, *ONE, *TWO]) == 0
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == "stage  mms=1,pages=1: HOLDS (exhaustive), 6 states, 16 steps, depth 2"
    assert second.startswith("stage  mms=1,pages=2: HOLDS (exhaustive), 48 states")
    assert "HOLDS(exhaustive, mms=1 pages=2" in rest[-1], "of the widest only"


def test_the_first_counterexample_ends_it(capsys):
    bug = ("explore", "B04", "--engine", "python", "--json")
    stages = ("--stage", "mms=1", "--stage", "mms=2", "--stage", "mms=3")
    assert run([*bug, *stages]) == 0, "a bug is expected to be found"
    found = json.loads(capsys.readouterr().out)
    assert [(s["stage"], s["verdict"]) for s in found["stages"]] == [
        ("mms=1", "HOLDS"),
        ("mms=2", "VIOLATED"),
    ]


def test_a_limit_ends_the_stages_and_the_rest_is_listed(capsys):
    assert run([*SMALL, "--max-states", "20", *ONE, *TWO, "--stage", "pages=3"]) == 3
    text = capsys.readouterr().out
    assert "stage  mms=1,pages=2: UNKNOWN (20 states reached" in text
    assert "not searched: pages=3" in text


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ([*TWO, *ONE], "'mms=1,pages=1' has pages=1, but --stage 'mms=1,pages=2' before it has 2"),
        (["--stage", "page=1"], "must be BOUND=N, where BOUND is one of mms, pages"),
        (["--stage", "pages=two"], "must be BOUND=N"),
        (["--stage", "mms=1,mms=2"], "names a bound twice"),
        (["--stage", "pages=99"], "pages must be from 1 to 32, not 99"),
        ([*ONE, "--checkpoint", "x"], "--stage cannot be used with --checkpoint"),
    ],
)
def test_wrong_stages_are_refused(more, complaint, capsys):
    assert run([*SMALL, *more]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert complaint in sentence
