"""What a base violates too is a known flaw of the base, and hides nothing of the author's."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.invariants.registry import Violation
from rmapcheck.plugins import catalogue
from rmapcheck.search.auto import PAST_KNOWN, engine_for
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Exit, Status
from rmapcheck.verify.climb import Climber
from rmapcheck.verify.flaws import base_of, flaws_of
from rmapcheck.verify.ladder import bug_scope

FLAWED = catalogue.schemes()["anon_vma-2.6.18"]
FIXED = catalogue.schemes()["avc-3.0"]
WHERE = bug_scope(catalogue.bugs()["E04"])
"""The scope in which E04 is found: VMAs of three pages that are moved and merged."""


class Same(FLAWED):
    """The base with another name."""

    name = "same"


class CountsTwice(FLAWED):
    """Counts the third page twice if two VMAs have pages: deeper in the search than E04."""

    name = "counts-twice"

    def folio_add_new_anon_rmap(self, st, folio, vma, address, ptep):
        super().folio_add_new_anon_rmap(st, folio, vma, address, ptep)
        if len(list(st.folio.indices())) == 3 and len(list(st.vma.indices())) == 2:
            st.folio[folio].mapcount += 1


class CountsNone(FLAWED):
    """Counts no mapping at all, which every run shows."""

    name = "counts-none"

    def folio_add_new_anon_rmap(self, st, folio, vma, address, ptep):
        self.set_anon(st, folio, vma, address)


class CountsNoneToo(CountsNone):
    """The same with another name."""

    name = "counts-none-too"


class FromBug(catalogue.bugs()["E04"]):
    """Derived from a seeded bug, which it does not fix."""

    name = "from-bug"


def asked(scheme, scope, base):
    question = Question(scheme, scope, base=base)
    return engine_for(question).answer(question, Limits())


def test_the_flaw_is_found_without_a_base():
    assert explore(Same, WHERE).verdict.status is Status.VIOLATED


def test_a_search_continues_past_what_the_base_violates_too():
    done = asked(Same, WHERE, FLAWED)
    assert done.verdict.exhaustive
    assert [flaw.name for flaw in flaws_of(FLAWED, done.known)] == ["E04"]


def test_a_fault_of_the_author_behind_the_flaw_is_found():
    alone = asked(CountsTwice, WHERE, None).verdict
    assert "mapcount" not in [v.invariant for v in alone.violations]
    past = asked(CountsTwice, WHERE, FLAWED).verdict
    assert past.status is Status.VIOLATED
    assert [v.invariant for v in past.violations] == ["mapcount"]
    assert len(past.trace) > len(alone.trace)


def test_what_the_base_does_not_violate_is_a_violation():
    done = asked(Same, WHERE, FIXED)
    assert done.verdict.status is Status.VIOLATED
    assert done.known == ()


def test_the_search_in_c_hands_over_to_one_that_can_ask_the_base(tmp_path, monkeypatch):
    monkeypatch.setenv("RMAPCHECK_ENGINE", "auto")
    explore(Same, WHERE, engine="native")  # so that it is compiled, and C searches first
    done = asked(Same, WHERE, FLAWED)
    assert done.engine == PAST_KNOWN
    assert done.verdict.exhaustive


@pytest.mark.parametrize("run", [lambda c: c._random("walk", WHERE, 0.5), lambda c: c._fuzz()])
def test_random_runs_continue_past_what_the_base_violates_too(run):
    climber = Climber(CountsNoneToo, budget=0.5)
    assert run(climber).verdict.status is Status.VIOLATED
    climber.base = CountsNone
    past = run(climber)
    assert past.verdict.status is Status.SAMPLED
    assert {v.invariant for known in past.answer.known for v in known} >= {"mapcount"}


def test_a_seeded_bug_is_no_base():
    assert base_of(FromBug) is FLAWED or base_of(FromBug).bug is None
    assert base_of(catalogue.bugs()["E04"]) is None
    assert base_of(Same) is FLAWED


def test_an_unlisted_flaw_goes_by_the_names_of_the_invariants():
    found = (Violation("a", "b", "c", invariant="mapcount"),)
    assert [flaw.name for flaw in flaws_of(FLAWED, [found, found])] == ["mapcount"]


@pytest.mark.nightly
def test_verify_says_what_it_set_aside(capsys):
    report = Climber(Same, budget=60).climb()
    assert report.verdict.status is Status.HOLDS
    assert report.verdict.how.endswith("; apart from what anon_vma-2.6.18 violates too: E04")
    assert report.exit is Exit.EXPECTED
