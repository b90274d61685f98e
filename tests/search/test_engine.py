"""Exhaustive search: counts that are known in advance, and faults that pinned counts reveal."""

import os
import subprocess
import sys
from unittest.mock import Mock

import pytest

from rmapcheck.explore import EngineError, explore
from rmapcheck.host.compile import compiler
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Fork
from rmapcheck.plugins.catalogue import bugs, machines, schemes
from rmapcheck.run import Replayed
from rmapcheck.search.interpreted import Search
from rmapcheck.search.question import Question
from rmapcheck.verdict import Status
from tests import pins
from tests.designs import DESIGNS, sweep

CHAIN = "pte_chain-2.6.0"


def scope(*ops, **limits):
    return Scope(**({"swaps": 0, "folios": 8, "vmas": 12} | limits), ops=ops)


def count(name, where, *, symmetry=True):
    found = explore(schemes()[name], where, symmetry=symmetry)
    assert found.verdict.status is Status.HOLDS
    assert found.verdict.how == "exhaustive"
    assert found.cut == {}
    return found.distinct


# Models whose number of states is known without a computer.


@pytest.mark.parametrize("pages", [1, 2, 3, 4])
@pytest.mark.parametrize("protections", [1, 2, 3])
def test_each_page_is_unmapped_or_has_one_of_the_protections(pages, protections):
    where = scope("mmap", "munmap", mms=1, pages=pages, protections=protections)
    assert count(CHAIN, where) == (protections + 1) ** pages


@pytest.mark.parametrize("pages", [1, 2, 3, 4])
def test_each_page_is_unmapped_or_untouched_or_read_or_written(pages):
    where = scope("mmap", "munmap", "fault", mms=1, pages=pages, protections=1)
    assert count(CHAIN, where) == 4**pages


@pytest.mark.parametrize("mms", [1, 2, 3, 4])
def test_empty_processes_differ_in_nothing_but_name(mms):
    where = scope("fork", "exit", mms=mms, pages=1)
    assert count(CHAIN, where) == mms
    assert count(CHAIN, where, symmetry=False) == 2**mms - 1


# Every correct scheme must hold for two processes with two pages and all these operations.

BOTH = ("mprotect", "fault", "fork", "mremap", "swap")
TWO_BY_TWO = Scope(mms=2, pages=2, premapped=2, folios=2, swaps=1, vmas=5, objects=16, ops=BOTH)
CORRECT = [name for name in machines() if name not in ("anon_vma-2.6.7", "anon_vma-sles9")]


BY_DAY = (*(name for name in DESIGNS if name != "avc-7.0"), "avc-3.0")
"""The newest three of avc have up to six million states and take a minute each."""


@pytest.mark.usefixtures("optimized")
@pytest.mark.skipif(compiler() is None, reason="takes an hour without a C compiler")
@pytest.mark.parametrize("name", sweep(CORRECT, by_day=BY_DAY))
def test_two_processes_two_pages_with_split_merge_mremap_swap_and_fork(name):
    found = explore(schemes()[name], TWO_BY_TWO, engine="native")
    assert found.verdict.status is Status.HOLDS
    assert found.verdict.how == "exhaustive"
    assert found.vacuous == ()


# Faults that are planted into the search: pinned counts or the replay must reveal each of them.

(FAULTY,) = pins.pins_of("faults in the interpreted search")


def searched(kind):
    search = kind(Question(schemes()[FAULTY.name], FAULTY.scope))
    assert search.start() == []
    while search.frontier:
        found, _ = search.expand()
        assert found == []
    return {"states": len(search.keys), "transitions": search.generated, "depth": search.depth}


class DropsASuccessor(Search):
    def judge(self, index, op, *rest):
        if isinstance(op, Fork) and index % 5 == 1:
            return []
        return super().judge(index, op, *rest)


class SkipsCanonicalisation(Search):
    def key(self):
        return self.st.layout.encode(self.st, tuple(range(1, self.scope.mms + 1)))


class TruncatesTheHash(Search):
    def add(self, key, parent, op):
        short = (sum(key) % 1024).to_bytes(2)
        if short in self.visited:
            return False
        added = super().add(key, parent, op)
        self.visited[short] = 0
        return added


@pytest.mark.pinned
def test_the_search_without_a_fault_is_as_pinned(pinned):
    pinned.check(FAULTY, searched(Search))


@pytest.mark.parametrize("kind", [DropsASuccessor, SkipsCanonicalisation, TruncatesTheHash])
def test_a_planted_fault_changes_the_counts(kind):
    assert searched(kind) != FAULTY.numbers


def test_a_violation_that_does_not_replay_is_not_reported(monkeypatch):
    monkeypatch.setattr("rmapcheck.search.question.replay", Mock(return_value=Replayed((), 1, ())))
    with pytest.raises(EngineError, match="its replay found nothing"):
        explore(bugs()["B28"], Scope(mms=1, pages=2, ops=("mmap", "mprotect", "fault")))


def test_a_trace_keeps_its_names():
    where = Scope(mms=3, pages=1, ops=("mmap", "fault", "fork", "swap"))
    found = explore(bugs()["B03"], where, target="walk_complete")
    children = [op.child for op in found.verdict.trace if isinstance(op, Fork)]
    assert children == [2, 3]


@pytest.mark.parametrize("limit", [{"max_states": 50}, {"max_seconds": 0.0}, {"max_memory_mb": 1}])
def test_a_limit_reached_is_unknown_and_says_which(limit):
    where = Scope(mms=2, pages=2)
    found = explore(schemes()["avc-7.0"], where, **limit)
    assert found.verdict.status is Status.UNKNOWN
    assert found.verdict.why


def test_a_depth_limit_is_a_bounded_verdict():
    found = explore(schemes()["avc-7.0"], Scope(mms=2, pages=1), max_depth=2)
    assert (found.verdict.status, found.verdict.how) == (Status.HOLDS, "bounded, depth 2")


def test_a_scope_too_small_for_a_goal_is_vacuous():
    where = Scope(mms=2, pages=1, folios=1, swaps=0, ops=("mmap", "fault", "fork"))
    assert "copy on write" in explore(schemes()["avc-7.0"], where).vacuous


HASHED = """
from rmapcheck.explore import explore
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.model.machine.scope import Scope
e = explore(bugs()["B02"], Scope(mms=2, pages=1, ops=("mmap", "fault", "fork", "swap")))
print(e.distinct, e.generated, *map(str, e.verdict.trace), sep="|")
"""


def test_results_do_not_depend_on_the_hash_seed():
    results = {
        subprocess.run(
            [sys.executable, "-c", HASHED],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(results) == 1
