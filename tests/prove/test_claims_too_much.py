"""Ways in which a proof could claim too much; each is refused."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.logic import Sort, Spec, forall, invariant, operation, relation
from rmapcheck.logic.terms import SpecError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.find import find_scheme
from rmapcheck.prove.proving import POSSIBLE, prove
from rmapcheck.prove.refinement.refine import NAME, Refinement
from rmapcheck.prove.registry import find_spec, spec_of
from rmapcheck.prove.results import UNDECIDED, VACUOUS
from rmapcheck.prove.solver.memory import Proofs
from rmapcheck.prove.verdict import exit_code, sentence
from rmapcheck.specs.anon_vmas import AnonVma
from rmapcheck.specs.avc_eras import AvcList
from rmapcheck.specs.avc_reuse import AvcCounters, AvcDegree, AvcMerge
from rmapcheck.specs.vocabulary import Address, Folio, St, Vma
from rmapcheck.verdict import Exit


class Impossible(AvcCounters):
    """Has an operation whose guard contradicts the deep lemma `no_leak`, and no other lemma."""

    name = "impossible"

    @operation
    def impossible(self, st: St, a: AnonVma, v: Vma, x: Address, p: Folio) -> None:
        """An anon_vma without VMAs."""
        st.require(st.anon_vma(a) & forall(Vma, lambda w: ~st.avc(w, a)))
        st.avc[v] = False
        st.pte[v, x, p] = True


def test_a_guard_that_contradicts_a_deep_lemma_is_vacuous():
    report = prove(Impossible(), only={"impossible"})
    assert report.verdict == "VACUOUS"


class Unlikely(Impossible):
    """The guard contradicts `no_leak`, but only together with another lemma, `avc_alive`."""

    name = "unlikely"

    @operation
    def impossible(self, st: St, a: AnonVma, v: Vma, x: Address, p: Folio) -> None:
        """An anon_vma without live VMAs."""
        st.require(st.anon_vma(a) & forall(Vma, lambda w: st.vma(w) >> ~st.avc(w, a)))
        st.avc[v] = False
        st.pte[v, x, p] = True


def test_an_operation_must_be_shown_to_be_possible_with_the_deep_lemmas_too():
    report = prove(Unlikely(), only={"impossible"})
    assert any(r.deep for r in report.results)
    assert not report.complete
    assert [v.status for v in report.vacuities] == [UNDECIDED]
    assert "no state was found that satisfies no_leak" in report.vacuities[0].why


class CopiesFilesOnly(AvcCounters):
    """A guard that is too strong: no process copies an anonymous page on write."""

    name = "copies-files-only"

    def may_fault(self, st, v):
        return st.file_vma(v) & super().may_fault(st, v)


def test_a_guard_that_is_too_strong_is_detected_by_refinement_alone():
    report = prove(CopiesFilesOnly(), only={"cow", "fault"})
    assert report.verdict == "PROVED"
    assert report.vacuous == []
    scope = Scope(mms=2, pages=1, ops=("mmap", "fault", "fork"))
    done = explore(
        find_scheme("avc-6.0"), scope, observer=Refinement(CopiesFilesOnly()), target=NAME
    )
    assert "the guard of fault" in str(done.verdict.violations)


class Forbidden(AvcCounters):
    """The guard of an operation can never hold."""

    name = "forbidden"

    def may_adopt(self, st: St, w):
        return st.faulted(w) & ~st.faulted(w)


def test_what_was_found_for_one_spec_is_checked_again_for_another():
    proofs = Proofs()
    only = {"prepare_adopt"}
    assert prove(AvcCounters(), proofs=proofs, only=only).verdict == "PROVED"
    assert proofs.models["prepare_adopt"]
    again = prove(AvcMerge(), proofs=proofs, only=only)
    assert again.verdict == "PROVED"
    assert len(proofs.models["prepare_adopt"]) == 1
    assert prove(Forbidden(), proofs=proofs, only=only).verdict == "VACUOUS"


def test_a_counterexample_of_another_spec_is_none_where_the_fault_is_fixed():
    proofs, kept = Proofs(), []
    for spec in (AvcDegree(), AvcDegree()):
        report = prove(spec, proofs=proofs, only={"fork_reuse"})
        assert {(r.operation, r.goal.name) for r in report.failures} == report.expected
        kept.append(len(proofs.models["fork_reuse"]))
    assert kept[0] == kept[1] > 0
    assert prove(AvcCounters(), proofs=proofs, only={"fork_reuse"}).verdict == "PROVED"


def test_a_model_is_refused_over_other_symbols():
    proofs = Proofs()
    prove(AvcCounters(), proofs=proofs, only={"prepare_adopt"})
    (model,) = proofs.models["prepare_adopt"]
    same = AvcMerge()
    symbols = tuple(same.symbols.values())
    assert model.over(same.sorts, symbols, ("v", "w")).structure.tables == model.structure.tables
    assert model.over(same.sorts, symbols, ("v",)) is None
    other = Foreign()
    assert model.over(other.sorts, tuple(other.symbols.values()), ("v", "w")) is not None


class Undone(AvcList):
    """Fails as its era does, and has an operation that can never happen."""

    name = "undone"

    @operation
    def dontunmap(self, st: St, v: Vma) -> None:
        """Never happens."""
        st.require(st.vma(v) & ~st.vma(v))
        st.faulted[v] = False


def test_an_expected_failure_does_not_hide_a_vacuous_operation():
    report = prove(Undone(), only={"mremap_merge", "dontunmap"})
    assert {(r.operation, r.goal.name) for r in report.failures} == report.expected
    assert [v.status for v in report.vacuities if v.operation == "dontunmap"] == [VACUOUS]
    assert exit_code(report) is Exit.INCONCLUSIVE
    assert "dontunmap not shown to be possible" in sentence(report)
    report.vacuities = [v for v in report.vacuities if v.status == POSSIBLE]
    assert exit_code(report) is Exit.EXPECTED


RELATION = "a = relation(Thing)"
OPERATION = "@operation\n    def op(self, st, t: Thing):\n        st.a[t] = True"


@pytest.mark.parametrize(
    ("body", "what"),
    [(RELATION, "@operation"), (f"{RELATION}\n    {OPERATION}", "@invariant")],
)
def test_a_spec_with_nothing_to_prove_is_refused(tmp_path, body, what):
    file = tmp_path / "empty.py"
    file.write_text(
        "from rmapcheck.logic import Sort, Spec, operation, relation\n\n\n"
        f"class Thing(Sort):\n    pass\n\n\nclass Empty(Spec):\n    {body}\n"
    )
    with pytest.raises(SpecError, match=what):
        find_spec(str(file))


class Thing(Sort):
    """A sort that no state of the model has."""


class Foreign(Spec):
    """A spec with symbols of its own."""

    name = "foreign"
    thing = relation(Thing)

    @operation
    def make(self, st: St, t: Thing) -> None:
        """One more."""
        st.thing[t] = True

    @invariant
    def either(self, st: St):
        """A thing exists, or does not."""
        return forall(Thing, lambda t: st.thing(t) | ~st.thing(t))


def test_a_spec_with_other_symbols_cannot_be_refined():
    with pytest.raises(SpecError, match="foreign does not declare vma, covers"):
        Refinement(Foreign())


def test_a_scheme_has_no_spec_just_because_a_base_class_has_one():
    for name in ("anon_vma-sles9", "anon_vma-rfc2"):
        with pytest.raises(SpecError, match="there is no spec for"):
            spec_of(find_scheme(name))
    assert spec_of(find_scheme("B29")).name == "avc-6.16"
