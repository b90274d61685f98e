"""No false proofs: a contradiction proves nothing, and a doubtful answer is UNKNOWN."""

import pytest

from rmapcheck.logic import Predicate, operation
from rmapcheck.prove.proving import prove
from rmapcheck.prove.registry import bugs, specs
from rmapcheck.prove.results import Options
from rmapcheck.prove.solver.memory import Proofs
from rmapcheck.specs.anon_vmas import AnonVma
from rmapcheck.specs.avc_reuse import AvcCounters
from rmapcheck.specs.vocabulary import Address, Folio, Vma

PROOFS = Proofs()
FAST = Options(small=False)


class Contradiction(AvcCounters):
    @operation
    def fork_new(self, st, v: Vma, c: Vma, n: AnonVma, K: Predicate[Address]):  # noqa: N803
        """A guard that can never hold."""
        st.require(st.vma(v) & ~st.vma(c) & (v == c))
        st.avc[c] = True


def test_a_contradictory_guard_proves_everything_and_is_reported_as_vacuous():
    report = prove(Contradiction(), FAST, PROOFS, only={"fork_new"})
    assert report.failures == []
    assert [v.operation for v in report.vacuous] == ["fork_new"]
    assert report.verdict == "VACUOUS"


class NoOp(AvcCounters):
    @operation
    def wp_reuse(self, st, v: Vma, x: Address, p: Folio):
        """Has a guard, but changes nothing."""
        st.require(st.pte(v, x, p))
        st.mapping[p] = st.mapping(p)


def test_an_operation_that_cannot_change_anything_is_vacuous():
    report = prove(NoOp(), FAST, PROOFS, only={"wp_reuse"})
    assert [v.operation for v in report.vacuous] == ["wp_reuse"]


def test_no_time_is_no_proof():
    report = prove(AvcCounters(), Options(timeout=1e-6, deep_timeout=1e-6), only={"merge"})
    assert report.verdict == "UNKNOWN"
    assert report.undecided


def test_a_counterexample_is_small_and_confirmed():
    report = prove(bugs()["B23"](), Options(), only={"fork_reuse"})
    (result,) = report.failures
    cti = result.cti
    assert len(cti.structure.universe["Vma"]) <= 4
    assert cti.problem.spec.symbols.keys() <= cti.structure.tables.keys()
    lines = "\n".join(cti.lines())
    assert "fork_reuse(" in lines
    assert "same_anon_vma_same_chain fails for" in lines


def test_a_model_that_is_not_confirmed_is_not_accepted(monkeypatch):
    from rmapcheck.prove import cti

    monkeypatch.setattr(cti.Checker, "broken", lambda *_: ["everything"])
    report = prove(bugs()["B23"](), FAST, only={"fork_reuse"})
    assert report.failures == []
    assert {r.goal.name for r in report.undecided} == {"same_anon_vma_same_chain"}
    assert report.verdict == "UNKNOWN"


def test_both_solvers_agree():
    pytest.importorskip("cvc5")
    report = prove(specs()["pte_chain"](), Options(solver="both"))
    assert report.verdict == "PROVED"
    asked = [r for r in report.results if r.answers]
    assert asked
    assert all(dict(r.answers) == {"z3": "unsat", "cvc5": "unsat"} for r in asked)


@pytest.mark.nightly
@pytest.mark.parametrize("name", specs())
def test_cvc5_agrees_on_every_obligation(name):
    pytest.importorskip("cvc5")
    report = prove(specs()[name](), Options(solver="both", small=False))
    for r in report.results:
        if r.answers:
            answer = "unsat" if r.status == "proved" else "sat"
            assert dict(r.answers) == {"z3": answer, "cvc5": answer}, (r.operation, r.goal.name)
    cells = {(r.operation, r.goal.name) for r in report.failures}
    assert cells == report.expected


def test_cores_are_what_a_proof_needs():
    report = prove(AvcCounters(), Options(cores=True), only={"merge"})
    needs = {r.goal.name: r.needs for r in report.results if r.needs is not None}
    assert "same_anon_vma_same_chain" in needs["coverage"]
