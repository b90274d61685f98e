"""What walks visit, comparable across the schemes: one run of operations on all of them."""

import json
from pathlib import Path

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.cli import run
from rmapcheck.invariants.completeness import mapped_folios, mappers_of
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.mm.rmap import rmap_visits
from rmapcheck.model.operations import Fork, Mmap, Write
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.plugins.catalogue import bugs, every_scheme, schemes
from rmapcheck.report.diff import diff
from rmapcheck.report.precision import WalkCost, precision, report, walk_cost
from rmapcheck.report.recording import record

ROOT = Path(__file__).parents[2]
CASE = load_case(ROOT / "docs" / "examples" / "twelve-operations.json")
SCOPE, RUN = CASE.scope, CASE.steps
CHAINS = [n for n in schemes() if n.startswith(("pte_chain-", "rmap"))]
MOVES, SWAPS = 9, 10
"""The steps at which mremap moves a shared page, and at which one is swapped out."""
COPYING = ("anonmm-2004-03", "anonmm-2.6.7-rc1")
"""Schemes whose pages have one address: mremap copies what it cannot move, so at SWAPS the page
that was shared is mapped by one process."""
SCANNING = ("virtual_scan-2.4", "virtual_scan-2.4.23aa2")
"""Schemes that unmap other entries on the way to a page."""


def disagreements(cls):
    """Yield every step of the run after which the bookkeeping and the page tables disagree."""
    run = record(cls, SCOPE, RUN)
    if run.stopped:
        yield run.stopped
    for frame in run.frames:
        yield from (f"step {frame.number}: {v}" for v in frame.violations)
        if frame.outcome.error:
            yield f"step {frame.number}: {frame.outcome.error}"
        st = run.state(frame.after)
        for folio in () if cls.virtual_scan else mapped_folios(st):
            rwc = RmapWalkControl()
            rmap_visits(st, folio, rwc)
            if not set(mappers_of(st, folio)) <= set(rwc.visited):
                yield f"step {frame.number}: the walk of page {folio} misses an entry"


@pytest.mark.parametrize("name", every_scheme())
def test_one_run_works_on_all_schemes_and_agrees_with_the_page_tables(name):
    assert list(disagreements(every_scheme()[name])) == []
    cost = precision(every_scheme()[name], SCOPE, RUN)
    counted = {**dict.fromkeys(COPYING, (29, 39)), **dict.fromkeys(SCANNING, (21, 30))}
    assert (cost.pages, cost.mapping) == counted.get(name, (27, 38))
    assert cost.visited >= cost.mapping
    assert 0 < cost.precision <= 1


def test_a_walk_that_misses_one_process_and_a_count_that_is_off_are_seen():
    class Skips(AvcPublish):
        def rmap_walk(self, st, folio, rwc):
            super().rmap_walk(st, folio, rwc)
            rwc.visited.pop()

    class Miscounts(AvcPublish):
        def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
            """A fork is not counted."""

    assert "step 2: the walk of page 1 misses an entry" in list(disagreements(Skips))
    assert any("mapcount" in text for text in disagreements(Miscounts))


@pytest.fixture(scope="module")
def compared():
    """Every scheme compared with the newest."""
    others = [cls for name, cls in every_scheme().items() if name != "avc-7.0"]
    return {cls.name: diff(CASE, [every_scheme()["avc-7.0"], cls]) for cls in others}


def test_the_same_is_mapped_and_shared_on_all_schemes_except_where_an_era_cannot(compared):
    assert {op.name for op in RUN} >= {"fork", "munmap", "mprotect", "mremap", "swap_out", "exit"}
    assert (RUN[MOVES - 1].name, RUN[SWAPS - 1].name) == ("mremap", "swap_out")
    for name, found in compared.items():
        first = MOVES if name in COPYING else SWAPS if name in SCANNING else None
        assert (name, found.first_visible, found.stopped) == (name, first, {})


FIRST_DIFFERENCE = {"anonmm": 0, "avc-2": 5, "avc": None}
"""By the start of a scheme's name, the step at which its bookkeeping first differs from that of
avc-7.0. A process has an anonmm from the start; the oldest anon_vma_chains find the pages of a VMA
that shrank in another order. All others differ at step 2: they keep other objects for the first
page."""


def test_bookkeeping_differs_where_the_designs_do(compared):
    for name, found in compared.items():
        firsts = (step for start, step in FIRST_DIFFERENCE.items() if name.startswith(start))
        expected = next(firsts, 2)
        assert (name, found.first_bookkeeping) == (name, expected)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_visits_just_the_mappings(name):
    cost = precision(schemes()[name], SCOPE, RUN)
    assert cost.precision == 1.0


def test_an_object_visits_in_vain_what_anon_vma_chain_spares():
    by = {n: precision(schemes()[n], SCOPE, RUN) for n in ("anon_vma-2.6.18", "avc-7.0")}
    assert by["anon_vma-2.6.18"].visited > by["avc-7.0"].visited >= by["avc-7.0"].mapping
    chain = precision(schemes()["pte_chain-minimal"], SCOPE, RUN)
    assert by["avc-7.0"].mapping == chain.visited


def test_nodes_are_those_of_the_structure():
    scope = Scope(mms=6, pages=1, folios=1, objects=20)
    steps = [Mmap(mm=1, start=0, length=1), Write(mm=1, address=0)]
    steps += [Fork(mm=1, child=child) for child in range(2, 7)]
    nodes = {n: precision(schemes()[n], scope, steps).nodes for n in CHAINS}
    assert nodes["pte_chain-minimal"] == 1 + 2 + 3 + 4 + 5 + 6
    assert nodes["pte_chain-2.5.27"] == 0 + 2 + 3 + 4 + 5 + 6
    assert nodes["pte_chain-2.6.0"] == 0 + 1 + 1 + 2 + 2 + 2


def test_without_rmap_a_page_costs_a_scan_and_the_state_is_left_alone():
    st = record(schemes()["virtual_scan-2.4"], SCOPE, RUN[:4])
    last = st.state(st.frames[-1].after)
    raw = last.layout.encode_raw(last)
    cost = walk_cost(last, last.pte[1].folio)
    assert (cost.mapping, cost.visited) == (2, 3)
    assert last.layout.encode_raw(last) == raw


def test_costs_add_up_and_read_as_a_table():
    total = WalkCost(pages=1, mapping=1, visited=4) + WalkCost(
        pages=2, mapping=3, visited=4, nodes=5
    )
    assert total == WalkCost(pages=3, mapping=4, visited=8, nodes=5)
    assert total.precision == 0.5
    assert WalkCost().precision == 1.0
    assert report({"x": total}).splitlines()[1].split() == ["x", "3", "4", "8", "50%", "5"]


def test_diff_shows_them(capsys):
    case = ROOT / "counterexamples" / "B02-newest-for-shared.json"
    names = "pte_chain-2.6.0,avc-7.0"
    assert run(["diff", str(case), "--schemes", names, "--walks"]) == 0
    assert "mappings  visited  in vain" in capsys.readouterr().out
    assert run(["diff", str(case), "--schemes", names, "--walks", "--json"]) == 0
    walks = json.loads(capsys.readouterr().out)["walks"]
    assert walks["pte_chain-2.6.0"]["visited"] == walks["pte_chain-2.6.0"]["mapping"]
    assert walks["avc-7.0"]["visited"] >= walks["avc-7.0"]["mapping"]


def test_diff_shows_the_first_difference_of_the_saved_run(capsys):
    case = ROOT / "docs" / "examples" / "twelve-operations.json"
    assert run(["diff", str(case), "--schemes", "pte_chain-2.6.0,anon_vma-2.6.18,avc-7.0"]) == 0
    said = capsys.readouterr().out
    assert "processes see no difference in 12 steps" in said
    assert "Their bookkeeping first differs at step 2, Write(mm=1, address=0):" in said
    assert run(["replay", str(case), "--quiet"]) == 0


def test_a_walk_into_freed_memory_ends_there():
    cases = Path(__file__).parents[2] / "counterexamples"
    case = load_case(cases / "B29-unfaulted-mremap-merge.json")
    assert precision(bugs()["B29"], case.scope, case.steps).pages > 0
