"""What walks visit, comparable across the schemes: one run of operations on all of them."""

import json
from pathlib import Path

import pytest

from model.operations import Exit, Fork, Mmap, Mremap, Munmap, SwapOut, Write
from model.scope import Scope
from rmapcheck.catalogue import schemes
from rmapcheck.cli import run
from rmapcheck.film import film
from rmapcheck.precision import WalkCost, precision, report, walk_cost

SCOPE = Scope(mms=3, pages=4, folios=6, objects=40, swaps=2)
RUN = (
    Mmap(mm=1, start=0, length=2),
    Write(mm=1, address=0),
    Write(mm=1, address=1),
    Fork(mm=1, child=2),
    Write(mm=2, address=0),
    Fork(mm=2, child=3),
    Write(mm=3, address=0),
    Mremap(mm=3, start=0, length=2, new_length=2, to=2),
    Munmap(mm=1, start=1, length=1),
    SwapOut(mm=2, address=1),
    Write(mm=2, address=1),
    Exit(mm=3),
)
CHAINS = [n for n in schemes() if n.startswith(("pte_chain-", "rmap"))]
COPYING = ("anonmm-2004-03", "anonmm-2.6.7-rc1")
"""Those whose pages have one address: mremap copies what it cannot move."""
RUNS = RUN[:9]
"""Without what only a scheme with rmap can be told to do, SwapOut of a mapped page."""


@pytest.mark.parametrize("name", schemes())
def test_one_run_goes_on_all_schemes_and_no_walk_misses_a_mapping(name):
    cost = precision(schemes()[name], SCOPE, RUNS)
    done = film(schemes()[name], SCOPE, RUNS)
    assert not done.stopped
    assert not any(frame.violations for frame in done.frames)
    copies = name in COPYING
    assert (cost.pages, cost.mapping) == (25 if copies else 23, 34)
    assert cost.visited >= cost.mapping
    assert 0 < cost.precision <= 1


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_visits_just_the_mappings(name):
    cost = precision(schemes()[name], SCOPE, RUN)
    assert cost.precision == 1.0


def test_an_object_visits_in_vain_what_anon_vma_chain_spares():
    by = {n: precision(schemes()[n], SCOPE, RUNS) for n in ("anon_vma-2.6.18", "avc-7.0")}
    assert by["anon_vma-2.6.18"].visited > by["avc-7.0"].visited >= by["avc-7.0"].mapping
    chain = precision(schemes()["pte_chain-minimal"], SCOPE, RUNS)
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
    st = film(schemes()["virtual_scan-2.4"], SCOPE, RUNS[:4])
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
    case = Path(__file__).parents[1] / "counterexamples" / "B02-newest-for-shared.json"
    names = "pte_chain-2.6.0,avc-7.0"
    assert run(["diff", str(case), "--schemes", names, "--walks"]) == 0
    assert "mappings  visited  in vain" in capsys.readouterr().out
    assert run(["diff", str(case), "--schemes", names, "--walks", "--json"]) == 0
    walks = json.loads(capsys.readouterr().out)["walks"]
    assert walks["pte_chain-2.6.0"]["visited"] == walks["pte_chain-2.6.0"]["mapping"]
    assert walks["avc-7.0"]["visited"] >= walks["avc-7.0"]["mapping"]
