"""All engines answer the same question: their answers have the same form, and agree."""

import math

import attrs
import pytest

from rmapcheck.host import compile as build
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.sampling.fuzz import Hypothesis
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.auto import Auto
from rmapcheck.search.interpreted import Interpreted
from rmapcheck.search.native.explore import Native
from rmapcheck.search.question import Answer, Limits, Question
from rmapcheck.verdict import Status

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")
ENGINES = [
    pytest.param(Interpreted(), id="interpreted"),
    pytest.param(Native(), id="native", marks=needs_compiler),
    pytest.param(Auto(Native()), id="auto"),
    pytest.param(Walker(seed=1), id="walker"),
    pytest.param(Hypothesis(seed=1), id="Hypothesis"),
]
ENOUGH = Limits(seconds=60, steps=20_000, runs=300)
MERGES = Scope(mms=1, pages=2, ops=("mmap", "mprotect", "fault"))
FORKS = Scope(mms=2, pages=1, folios=2, protections=1, ops=("mmap", "fault", "fork"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_violation_is_found_and_repeats(engine):
    question = Question(bugs()["B28"], MERGES)
    answer = engine.answer(question, ENOUGH)
    assert isinstance(answer, Answer)
    assert answer.verdict.status is Status.VIOLATED
    again = question.replay(answer.verdict.trace)
    assert again.violations == answer.verdict.violations
    assert question.wants(again.violations)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_covered_is_counted(engine):
    answer = engine.answer(
        Question(schemes()["avc-7.0"], FORKS), attrs.evolve(ENOUGH, steps=500, runs=5)
    )
    assert answer.verdict.status in (Status.HOLDS, Status.SAMPLED)
    assert answer.generated > 0
    assert (answer.distinct > 0) != (answer.runs > 0)
    assert not set(answer.reached) & set(answer.vacuous)
    assert set(answer.reached) | set(answer.vacuous) == set(answer.goals)


def test_seconds_are_counted_by_one_clock(monkeypatch):
    monkeypatch.setattr(Limits, "clock", staticmethod(lambda: 107.0))
    assert Limits().left(100.0) == math.inf
    assert Limits(seconds=10).left(100.0) == 3.0
    for engine in (Interpreted(), Walker(seed=1)):
        soon = attrs.evolve(ENOUGH, seconds=1e-9)
        answer = engine.answer(Question(schemes()["avc-7.0"], FORKS), soon)
        assert answer.verdict.status in (Status.HOLDS, Status.SAMPLED), "no time has passed"
        assert answer.seconds > 0, "by the clock on the wall"
