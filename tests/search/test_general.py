"""One library for many scopes finds what interpreted search finds; a wrong limit is noticed."""

import attrs
import pytest

from rmapcheck.host import compile as build
from rmapcheck.invariants.goals import goals_anywhere
from rmapcheck.model.machine.layout import layout_of
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import bugs, machines, schemes
from rmapcheck.search.auto import engine_for, general_for
from rmapcheck.search.interpreted import Interpreted
from rmapcheck.search.native.bounds import NUMBERS, Running, widest
from rmapcheck.search.native.explore import Native
from rmapcheck.search.native.general import General
from rmapcheck.search.question import EngineError, Limits, Question
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import LADDER, LONG, bug_scope, required, scopes_for
from tests.counts import counts
from tests.designs import sweep, sweep_of_bugs

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")

SMALL = Scope(
    mms=2,
    pages=2,
    vmas=3,
    folios=2,
    objects=3,
    premapped=1,
    alloc_fail=True,
    files=1,
    file_pages=2,
)
OTHER = Scope(mms=3, pages=1, vmas=4, swaps=0, objects=6, anon_vmas=5, young=True, recycle=True)
THIRD = Scope(mms=1, pages=3, folios=1, protections=4, files=2, rss_limit=1, ops=("file", "fault"))
MIXED = (SMALL, OTHER, THIRD)


def general_of(scheme, scopes=MIXED):
    made = General.of(scheme, scopes)
    made.building.start()
    return made


def agree(general, question, limits, others=Interpreted()):  # noqa: B008 - it has no state
    """Search with the general library and with another engine, and compare what they report."""
    engine = engine_for(question, "native", general=general)
    assert engine.building is general.building
    mine, theirs = engine.answer(question, limits), others.answer(question, limits)
    assert mine.engine == "native"
    assert counts(mine) == counts(theirs)
    return mine


@pytest.mark.parametrize("name", sweep(machines()))
def test_every_design_gives_the_same_counts_in_every_scope(name):
    general = general_of(schemes()[name])
    for scope in MIXED:
        agree(general, Question(schemes()[name], scope), Limits(states=150))


@pytest.mark.parametrize("name", sweep_of_bugs(n for n in bugs() if n != "B23"))
def test_every_bug_gives_the_same_trace(name):
    scheme, scope = bugs()[name], bug_scope(bugs()[name])
    general = general_of(scheme, (scope, SMALL))
    for target in ("", scheme.bug.violates):
        done = agree(general, Question(scheme, scope, target=target), Limits())
        assert done.verdict.trace


@pytest.mark.parametrize("name", sweep(machines(), by_day=("avc-7.0",)))
def test_a_library_of_one_scope_gives_the_same_counts(name):
    scheme = schemes()[name]
    general = general_of(scheme, scopes_for(scheme))
    for scope in required(scheme)[-4:]:
        agree(general, Question(scheme, scope), Limits(states=5_000), Native())


# Planted faults.


def wrong(name):
    """Return a scope that differs from SMALL in one number, as a wrong number in C would."""
    if name in ("alloc_fail", "young", "recycle"):
        return attrs.evolve(SMALL, **{name: not getattr(SMALL, name)})
    low, _ = attrs.fields_dict(Scope)[name].metadata["range"]
    number = getattr(SMALL, name)
    return attrs.evolve(SMALL, **{name: number - 1 if number > low else number + 1})


LIMITS = ("mms", "pages", "vmas", "folios", "swaps", "objects", "alloc_fail", "young")
LIMITS += ("protections", "file_pages")
"""Not premapped, which says how a run starts: Python stores the first state."""


@pytest.mark.parametrize("name", LIMITS)
def test_a_wrong_number_is_noticed(name, monkeypatch):
    """The library searches another scope than it is asked to, by one."""
    question, limits = Question(schemes()["avc-7.0"], SMALL), Limits(states=400)
    general = general_of(schemes()["avc-7.0"], (*MIXED, wrong(name)))
    right = Running.values
    monkeypatch.setattr(Running, "values", lambda self, _: right(self, wrong(name)))
    with pytest.raises((AssertionError, EngineError)):
        agree(general, question, limits)


def test_a_group_of_operations_too_many_is_noticed(monkeypatch):
    fewer = attrs.evolve(SMALL, ops=("mmap", "fault", "fork"))
    question = Question(schemes()["avc-7.0"], fewer)
    general = general_of(schemes()["avc-7.0"])
    right = Running.values
    agree(general, question, Limits(states=150))
    monkeypatch.setattr(Running, "values", lambda self, _: right(self, SMALL))
    with pytest.raises((AssertionError, EngineError)):
        agree(general, question, Limits(states=150))


# Which scopes it answers.


def test_what_lies_beyond_its_limits_is_not_asked_of_it():
    scheme = schemes()["avc-7.0"]
    general = General.of(scheme, (SMALL,))
    assert general.answers(Question(scheme, SMALL))
    for name in NUMBERS:
        if name in attrs.fields_dict(Scope) and name != "anon_vmas":
            largest = {"mms": 3, "pages": 9, "premapped": 2}.get(name, getattr(SMALL, name) + 1)
            more = attrs.evolve(SMALL, **{name: type(getattr(SMALL, name))(largest)})
            assert general.answers(Question(scheme, more)) == (more == SMALL), name
    assert not general.answers(Question(scheme, attrs.evolve(SMALL, anon_vmas=9)))
    assert not general.answers(Question(scheme, attrs.evolve(SMALL, ops=("swapoff",))))
    assert not general.answers(Question(scheme, SMALL, symmetry=False))
    assert not general.answers(Question(scheme, SMALL, named=("folio",)))


def test_other_questions_get_a_library_of_their_own():
    scheme = schemes()["avc-7.0"]
    question = Question(scheme, OTHER)
    engine = engine_for(question, "native", general=General.of(scheme, (SMALL,)))
    assert engine.building is None
    assert engine.answer(question, Limits(states=20)).verdict.status is Status.UNKNOWN


def test_scopes_that_no_scope_covers_have_no_general_library():
    """A scope may have 250 page-table entries, and no more."""
    wide, long = Scope(mms=8, pages=2), Scope(mms=1, pages=32)
    assert general_for(schemes()["avc-7.0"], (wide, long)) is None


@pytest.mark.parametrize("name", [*schemes(), *bugs()])
def test_the_widest_scope_covers_all_of_a_climb(name):
    scheme = {**schemes(), **bugs()}[name]
    scopes = scopes_for(scheme)
    assert set(scopes) | set(LONG) >= {*required(scheme), *LADDER}
    assert {goal.scope for goal in goals_anywhere(scheme)} <= set(scopes)
    bounds = Running(layout_of(widest(scopes), scheme))
    assert all(bounds.cover(scope) for scope in scopes)
