"""What schemes cost: counts known from history, and counts that a fault would change."""

import json

import pytest

from rmapcheck.cli import run
from rmapcheck.cost.figures import FIGURES
from rmapcheck.cost.machine import CostError, Machine
from rmapcheck.cost.workloads import WORKLOADS, children, database, measure
from rmapcheck.model.machine.cost import count_nodes
from rmapcheck.model.operations import Mmap
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.plugins.find import find_scheme


def phase(scheme, workload, starts, scale):
    found = measure(find_scheme(scheme), workload, scale)
    return next(m for m in found if m.phase.startswith(starts))


@pytest.mark.parametrize("name", schemes())
def test_every_workload_runs_on_every_scheme_and_costs_something(name):
    cls = find_scheme(name)
    for workload in WORKLOADS.values():
        if cls.maps_files or not workload.files:
            found = measure(cls, workload.name, 9)
            assert all(m.steps.total > 0 and m.per > 0 for m in found)


@pytest.mark.parametrize("figure", FIGURES, ids=[f.what for f in FIGURES])
def test_a_quoted_figure_is_met_within_a_factor_of_two(figure):
    if figure.ratio is None:
        pytest.skip("the scheme is not modelled yet")
    assert 0.5 <= figure.ratio <= 2 or figure.note


def test_a_childs_page_is_found_in_one_process_since_anon_vma_chain():
    for n in (10, 20):
        assert phase("anon_vma-2.6.18", "children", "reclaim", n).precision == (n + 1, n + 1, 1)
        assert phase("avc-2.6.34", "children", "reclaim", n).precision == (1, 1, 1)


def test_a_line_of_forks_costs_a_chain_each():
    few, many = (phase("avc-6.0", "generations", "fork", n).size[0] for n in (20, 40))
    assert 3.5 < many / few < 4


def test_the_virtual_scan_looks_at_everything_before_a_shared_page_is_free():
    touched, reclaimed = database(find_scheme("virtual_scan-2.4"), 12, few=1)
    assert reclaimed.steps.entries > 0.9 * touched.mappings


def test_a_scheme_that_looks_at_more_nodes_costs_more():
    class Twice(find_scheme("avc-6.0")):
        """Looks at each node of a chain twice."""

        def anon_vma_clone(self, st, dst, src, operation):
            count_nodes(st, 7)
            return super().anon_vma_clone(st, dst, src, operation)

    was = next(children(find_scheme("avc-6.0"), 8)).steps
    assert (next(children(Twice, 8)).steps - was).nodes == 7 * 8


def test_a_workload_that_runs_out_of_objects_is_an_error():
    machine = Machine(find_scheme("avc-6.0"), mms=1, pages=3, vmas=1, folios=2, objects=2)
    machine.do(Mmap(mm=1, start=0, length=1))
    with pytest.raises(CostError, match="vma"):
        machine.do(Mmap(mm=1, start=2, length=1))


def test_the_command_prints_and_refuses(capsys):
    assert run(["cost", "avc-7.0", "--workload", "children", "--scale", "8", "--json"]) == 0
    assert {row["phase"] for row in json.loads(capsys.readouterr().out)["measured"]} >= {"fork"}
    assert run(["cost", "--workload", "childs"]) == 2
    assert "no workload is called 'childs'" in capsys.readouterr().err


def test_the_command_guards_a_plug_in(capsys, tmp_path, monkeypatch):
    """A fault that the first check does not reach is reported, too: it shows at a larger scale."""
    monkeypatch.chdir(tmp_path)
    for fault, says in (
        ("return st.vma[99999].anon_vma", "raised IndexError"),
        ("return any(st.pte[i].folio for i in st.pte.indices())", "reads page tables"),
        ("return 1 // (type(self) is not Mine)", "raised ZeroDivisionError"),
    ):
        (tmp_path / "mine.py").write_text(
            "from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish\n\n\n"
            "class Mine(AvcPublish):\n"
            "    name = 'mine'\n\n"
            "    def anon_vma_prepare(self, st, vma):\n"
            f"        {fault} and super().anon_vma_prepare(st, vma)\n"
        )
        assert run(["cost", "mine.py", "--workload", "children", "--scale", "4"]) == 2
        (sentence,) = capsys.readouterr().err.splitlines()
        assert "mine.py, line 8: hook anon_vma_prepare of scheme 'mine'" in sentence
        assert says in sentence


def test_the_last_line_counts_what_was_measured(capsys):
    assert run(["cost", "avc-7.0", "--workload", "children", "--scale", "4", "--quiet"]) == 0
    number, rest = capsys.readouterr().out.split(" ", 1)
    assert int(number) > 1
    assert rest == "measurements of 1 scheme\n"
