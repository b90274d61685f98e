"""Every step of the three anonmm schemes is one of its spec; faults on both sides are detected."""

import importlib

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.explore import explore
from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import FolioReferenced, Fork, Read, SwapOut
from rmapcheck.model.schemes.anonmm import AnonmmCopies, AnonmmSwapIn
from rmapcheck.model.schemes.anonmm_chains import AnonmmChains
from rmapcheck.plugins.find import find_scheme
from rmapcheck.prove.refinement import abstraction
from rmapcheck.prove.refinement.refine import NAME, Refinement
from rmapcheck.prove.registry import spec_of
from rmapcheck.run import replay
from rmapcheck.verdict import Status
from tests.prove.test_refinement import CASES
from tests.schemes.test_anonmm import (
    LOST,
    ChildUnlisted,
    ForgetsSwap,
    KeepsHead,
    MapsTwice,
    MovesShared,
)

VERSIONS = (AnonmmChains, AnonmmSwapIn, AnonmmCopies)
MOVED = Scope(
    mms=2,
    pages=2,
    folios=2,
    protections=1,
    premapped=1,
    alloc_fail=True,
    ops=("write", "fork", "swap", "mremap_move"),
)
"""Shared pages, in memory and in swap, are moved, and allocations fail."""
LEFT = Scope(mms=2, pages=1, folios=2, protections=1, premapped=1, young=True, swaps=0)
"""Processes exit, and start again by fork or exec."""


def every_step(scheme, scope, **more):
    observer = Refinement(spec_of(scheme))
    return explore(scheme, scope, observer=observer, target=NAME, **more), observer


def refusal(scheme, scope=MOVED):
    done, _ = every_step(scheme, scope)
    assert done.verdict.status is Status.VIOLATED
    return done.verdict.trace, str(done.verdict.violations[0])


@pytest.mark.parametrize("scheme", VERSIONS)
def test_every_step_that_moves_a_shared_page_is_one_of_the_spec(scheme):
    done, observer = every_step(scheme, MOVED)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations
    assert done.verdict.how == "exhaustive"
    assert observer.explained["move_one_page"] > 100
    assert observer.explained["do_swap_page"] > 100
    assert bool(observer.explained.get("do_wp_page_enomem")) is (scheme is AnonmmCopies)


@pytest.mark.parametrize("scheme", VERSIONS)
def test_every_step_of_processes_is_one_of_the_spec(scheme):
    done, observer = every_step(scheme, LEFT)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations
    for step in ("exec_mmap", "dup_mm", "exit_mm", "free_anonmm", "free_head"):
        assert observer.explained[step], step
    assert bool(observer.explained.get("page_referenced_anon")) is (scheme is AnonmmCopies)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "ops", [("fault", "fork", "swap", "mremap"), (*MOVED.ops, "exit", "exec")]
)
@pytest.mark.parametrize("scheme", VERSIONS)
def test_every_step_of_a_wider_scope_is_one_of_the_spec(scheme, ops):
    folios = 4 if "fault" in ops else 2
    scope = Scope(
        mms=2, pages=2, folios=folios, protections=1, premapped=1, alloc_fail=True, ops=ops
    )
    done, _ = every_step(scheme, scope)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations


# Kernels with bugs.


def test_a_copy_that_fails_is_a_step_of_its_own_and_breaks_the_lemmas_that_say_so():
    """E33: the spec contains the bug (`flaws`), so the model still refines it."""
    case = load_case(CASES / "E33-copy-fails.json")
    observer = Refinement(spec_of(AnonmmCopies))
    found = replay(AnonmmCopies, case.scope, case.steps, target=NAME, observer=observer)
    assert found.violations == ()
    assert observer.explained["do_wp_page_enomem"] == 1
    assert set(observer.lemmas.violated(observer.before)) == {"walk_complete", "at_virtual"}


def test_a_spec_without_that_step_refuses_the_fault_whose_copy_fails(monkeypatch):
    spec = spec_of(AnonmmCopies)
    monkeypatch.delitem(spec.transitions, "do_wp_page_enomem")
    case = load_case(CASES / "E33-copy-fails.json")
    found = replay(AnonmmCopies, case.scope, case.steps, target=NAME, observer=Refinement(spec))
    assert found.step == len(case.steps)
    assert "copying" in found.violations[0].but


@pytest.mark.parametrize("known", [True, False])
def test_checks_are_silent_only_where_a_known_bug_has_broken_a_lemma(known):
    """After E33, reclaim misses the page."""
    case = load_case(CASES / "E33-copy-fails.json")
    observer = Refinement(spec_of(AnonmmCopies))
    if not known:
        observer.broken = set()
    steps = (*case.steps, SwapOut(mm=1, address=1))
    found = replay(AnonmmCopies, case.scope, steps, target=NAME, observer=observer)
    refused = [str(v.but) for v in found.violations if v.invariant == NAME]
    assert [message.partition(" in ")[0] for message in refused] == (
        [] if known else ["all_unmapped"]
    )


def test_a_fork_that_leaves_an_anonmm_behind_is_refused():
    """E32: when the failed fork ends, the child's anonmm still exists."""
    cls = find_scheme("E32")
    trace, message = refusal(cls, Scope(mms=2, pages=1, alloc_fail=True, ops=("fork",)))
    assert [type(op) for op in trace] == [Fork]
    assert "the event 'end'" in message
    assert "anonmm: 2 should not be in it" in message


# Faults in a scheme; each is refused at the step where it happens.


class TurnsNothing(AnonmmSwapIn):
    """A page still names a process that no longer maps it, when another one is the last."""

    name = "turns-nothing"

    def turn_page(self, st, folio, mm):
        pass


class ForgetsAddress(AnonmmChains):
    name = "forgets-address"

    def add_rmap_address(self, st, folio, address):
        pass


class KeepsIndex(AnonmmCopies):
    name = "keeps-index"

    def move_rmap(self, st, folio, vma, new_vma, old_ptep, new_ptep):
        pass


class KeepsAnonmm(AnonmmCopies):
    """The anonmm of a dead process is not freed with its last page."""

    name = "keeps-anonmm"

    def free_anonmm(self, st, anonmm):
        pass


class OwnFamily(AnonmmCopies):
    """A child starts its own family, as after exec."""

    name = "own-family"

    def dup_rmap(self, st, mm, oldmm):
        error = self.exec_rmap(st)
        if error == 0:
            self.exec_mmap(st, mm)
        return error


class StaysAtExec(AnonmmCopies):
    name = "stays-at-exec"

    def exec_mmap(self, st, mm):
        if st.mm[mm].anonmm:
            kmem_cache_free(st, st.anonmm, st.spare)
            st.spare = 0
        else:
            super().exec_mmap(st, mm)


class SwapsInUncopied(AnonmmCopies):
    """A swap-in at another address leaves the page shared."""

    name = "swaps-in-uncopied"

    def mremap_moved_anon_rmap(self, st, folio, address):
        return False


class MovesOnTooSoon(AnonmmCopies):
    """A page leaves a dead process although the walk has missed an entry of the page."""

    name = "moves-on-too-soon"

    def folio_found(self, st, folio, ptep, count):
        super().folio_found(st, folio, ptep, st.folio[folio].mapcount)


@pytest.mark.parametrize("scheme", [AnonmmCopies, MovesOnTooSoon])
def test_a_page_that_the_walk_has_missed_somewhere_stays(scheme):
    scope = Scope(mms=3, pages=2, young=True, alloc_fail=True)
    steps = (*LOST, Read(mm=1, address=1, fail=1), FolioReferenced(mm=3, address=0))
    observer = Refinement(spec_of(AnonmmCopies))
    found = replay(scheme, scope, steps, target=NAME, observer=observer)
    refused = [v for v in found.violations if v.invariant == NAME]
    assert len(refused) == (scheme is MovesOnTooSoon)
    assert all("the event 'found'" in str(message) for message in refused)


WITH_EXIT = Scope(
    mms=2, pages=1, folios=2, protections=1, premapped=1, ops=("fault", "fork", "exit", "exec")
)
READ = Scope(
    mms=2,
    pages=2,
    folios=2,
    protections=1,
    premapped=1,
    ops=("write", "read", "fork", "swap", "mremap_move"),
)
REFUSED = [  # Specs have no values of counters; the invariant `anonmm_counts` checks those.
    (MovesShared, MOVED, "what is shared is copied first"),
    (ForgetsSwap, MOVED, "what is shared is copied first"),
    (MapsTwice, MOVED, "pte: "),
    (ChildUnlisted, MOVED, "pte: (2, 0, 1) should not be in it"),
    (KeepsHead, WITH_EXIT, "free_head(a=1) should have been done"),
    (TurnsNothing, WITH_EXIT, "mapping of 1 is 1, and should be 2"),
    (ForgetsAddress, MOVED, "virtual: (1, 1) should be in it"),
    (KeepsIndex, MOVED, "virtual: (1, 1) should be in it"),
    (KeepsAnonmm, WITH_EXIT, "free_anonmm(a=2) should have been done"),
    (OwnFamily, WITH_EXIT, "is_head: 2 should not be in it"),
    (StaysAtExec, WITH_EXIT, "the guard"),
    (SwapsInUncopied, READ, "copying"),
]


@pytest.mark.parametrize(("scheme", "scope", "why"), REFUSED, ids=[r[0].name for r in REFUSED])
def test_a_fault_of_a_scheme_is_refused_where_it_happens(scheme, scope, why):
    _, message = refusal(scheme, scope)
    assert why in message


# Wrong abstractions and missing events.


def own_bundles(st, tables, vmas):
    whole_anonmms(st, tables, vmas)
    tables["bundle"] = {a: a for a in tables["anonmm"]}


def immortal(st, tables, vmas):
    """A process counts as alive as long as its anonmm."""
    whole_anonmms(st, tables, vmas)
    tables["mm_live"] = set(tables["anonmm"])


def undead(st, tables, vmas):
    whole_anonmms(st, tables, vmas)
    tables["anonmm"] = set(range(1, st.anonmm.size + 1))


def two_heads(st, tables, vmas):
    whole_anonmms(st, tables, vmas)
    tables["is_head"] = set(tables["anonmm"])


def index_alone(st, tables, vmas):
    whole_addresses(st, tables, vmas)
    tables["virtual"] = {(p, st.folio[p].index) for p in tables["anon"]}


def forever_anon(st, tables, vmas):
    """PG_anon is treated as in later kernels, where it ends with the page."""
    whole_addresses(st, tables, vmas)
    tables["anon"] = set(tables["folio"]) - tables["file"]


def last_mapper(st, tables, vmas):
    whole_addresses(st, tables, vmas)
    tables["mapping"] = {
        p: st.mm[st.vma[v].vm_mm].anonmm
        for v, _, p in sorted(tables["pte"])
        if p in tables["anon"]
    }


whole_anonmms = abstraction.anonmms
whole_addresses = abstraction.addresses

BROKEN = [
    (own_bundles, "anonmms", AnonmmCopies, MOVED),
    (immortal, "anonmms", AnonmmCopies, WITH_EXIT),
    (undead, "anonmms", AnonmmCopies, MOVED),
    (two_heads, "anonmms", AnonmmCopies, MOVED),
    (index_alone, "addresses", AnonmmChains, MOVED),
    (forever_anon, "addresses", AnonmmCopies, MOVED),
    (last_mapper, "addresses", AnonmmSwapIn, MOVED),
]


@pytest.mark.parametrize(
    ("broken", "part", "scheme", "scope"), BROKEN, ids=[b.__name__ for b, *_ in BROKEN]
)
def test_a_broken_abstraction_is_detected(broken, part, scheme, scope, monkeypatch):
    whole = getattr(abstraction, part)
    parts = tuple((w, broken if p is whole else p) for w, p in abstraction.PARTS)
    monkeypatch.setattr(abstraction, "PARTS", parts)
    refusal(scheme, scope)


EVENTS = [
    ("fork", "dup_mm", AnonmmCopies, MOVED),
    ("unmap", "exit_mm", AnonmmCopies, WITH_EXIT),
    ("exec", "exec_mm", AnonmmCopies, WITH_EXIT),
    ("mremap", "copy", AnonmmCopies, MOVED),
    ("mremap", "move_pte", AnonmmCopies, MOVED),
    ("fault", "copy_fails", AnonmmCopies, MOVED),
    ("rmap", "found", AnonmmCopies, LEFT),
]


@pytest.mark.parametrize(
    ("module", "event", "scheme", "scope"), EVENTS, ids=[e for _, e, *_ in EVENTS]
)
def test_a_missing_event_is_detected(module, event, scheme, scope, monkeypatch):
    where = importlib.import_module(f"rmapcheck.model.mm.{module}")
    original = where.tell
    monkeypatch.setattr(
        where, "tell", lambda st, name, *objects: name == event or original(st, name, *objects)
    )
    refusal(scheme, scope)
