"""Estimates of `rmapcheck scopes`, compared with scopes whose size is known."""

import json
import math

import pytest

from rmapcheck.cli import run
from rmapcheck.host import compile as build
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.search.estimate import doublings, estimate, span
from rmapcheck.search.interpreted import Search
from rmapcheck.search.native.search import Ended, NativeSearch
from rmapcheck.search.question import Question
from rmapcheck.verify.ladder import LADDER


def layers(name, scope):
    search = NativeSearch(Question(schemes()[name], scope))
    search.start()
    new = [1]
    while search.frontier:
        before = search.distinct
        assert search.run(None, search.depth + 1, 60.0) in (Ended.DEPTH, Ended.EXHAUSTED)
        new.append(search.distinct - before)
    return new


COPIES = tuple(s for s in LADDER if s.ops[:3] == ("fault", "fork", "exit") and s.folios == 2)
"""Families with a second page, with and without the accessed bit."""


@pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")
def test_the_true_number_lies_in_most_of_the_ranges():
    """These are not the schemes and scopes from which the range was computed."""
    held, ranges = 0, 0
    for name in ("pte_chain-2.6.0", "avc-3.0"):
        for scope in (*(LADDER[number] for number in (2, 5, 6, 7)), *COPIES):
            new = layers(name, scope)
            true = sum(new)
            for depth in range(4, len(new)):
                low, high = span(tuple(new[:depth]))
                if 300 <= sum(new[:depth]) < 0.97 * true:
                    ranges += 1
                    held += low <= true and (high is None or true <= high)
    print(f"{held} of {ranges}")
    assert ranges > 25
    assert held >= 0.8 * ranges


def test_a_parabola_is_followed_to_its_end():
    new = tuple(round(1000 * math.exp(-((d - 10) ** 2) / 20)) for d in range(24))
    for depth in (8, 10, 13):
        guess = sum(new[:depth]) * 2 ** doublings(new[:depth])
        assert guess == pytest.approx(sum(new), rel=0.15)
    assert doublings((1, 2, 4)) is None
    assert doublings((1, 2, 4, 8, 16)) is None, "what only grows has no end in sight"
    assert span((1, 2, 4, 8, 16)) == (31, None)


def test_a_scope_that_the_sample_exhausts_is_known():
    found = estimate(schemes()["avc-7.0"], LADDER[0])
    assert (found.seen, found.low, found.high, found.complete) == (113, 113, 113, True)


def test_the_interpreted_sample_says_the_same(monkeypatch):
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    found = estimate(schemes()["avc-7.0"], LADDER[0])
    assert (found.seen, found.complete, found.engine) == (113, True, "python")
    assert sum(found.layers) == 113
    assert isinstance(Search(Question(schemes()["avc-7.0"], LADDER[0])), Search)


def test_a_violation_in_the_sample_is_reported():
    bug = bugs()["B28"].bug
    scope = Scope(**bug.scope | {"ops": tuple(bug.scope["ops"])})
    assert estimate(bugs()["B28"], scope).violated


def test_the_command(capsys):
    assert run(["scopes", "avc-7.0", "--mms", "1", "--pages", "1"]) == 0
    assert "which is all of them" in capsys.readouterr().out
    wide = ["scopes", "avc-7.0", "--mms", "3", "--pages", "4", "--seconds", "0.2"]
    assert run([*wide, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["low"] >= found["seen"]
    assert not found["complete"]
    assert run(["scopes", "avc-7.0", "--seconds", "-1"]) == 2
    assert "more than 0" in capsys.readouterr().err
