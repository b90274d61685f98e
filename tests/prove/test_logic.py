"""The logic: mistakes in formulas and specs are refused with one sentence; specs take steps."""

# ruff: noqa: ARG005 - wrong lambdas need the same parameters as right ones

import pytest

from rmapcheck.logic import (
    If,
    Predicate,
    Spec,
    SpecError,
    exists,
    forall,
    invariant,
    operation,
    relation,
)
from rmapcheck.logic.lint import alternations
from rmapcheck.logic.steps import Steps
from rmapcheck.logic.terms import apply, variable
from tests.prove.tiny import IN, LIVE, OWN, Av, Tiny, Vma


def test_a_formula_has_no_truth_value():
    v = variable(Vma, "v")
    with pytest.raises(SpecError, match="write &"):
        bool(apply(LIVE, (v,)))
    with pytest.raises(SpecError, match="no truth value"):
        forall(Vma, lambda v: apply(LIVE, (v,)) and apply(LIVE, (v,)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, a: apply(LIVE, (a,)), r"needs the sort Vma, not a \(sort Av\)"),
        (lambda v, a: apply(IN, (v,)), "takes 2 terms, not 1"),
        (lambda v, a: v == a, "cannot equal"),
        (lambda v, a: v == 3, "cannot equal 3"),
        (lambda v, a: apply(LIVE, (v,)) & v, "a formula was expected"),
        (lambda v, a: ~v, "~ takes a formula"),
        (lambda v, a: If(apply(LIVE, (v,)), v, a), "one sort for both"),
        (lambda v, a: forall(Vma, Av, lambda x: x), "takes 1 variables, but the sorts are"),
        (lambda v, a: forall(3, lambda x: x), "is not a sort"),
        (lambda v, a: forall(Vma, 3), "a lambda was expected"),
    ],
)
def test_a_wrong_formula_is_refused_with_one_sentence(make, message):
    with pytest.raises(SpecError, match=message) as caught:
        make(variable(Vma, "v"), variable(Av, "a"))
    assert "\n" not in str(caught.value)


def test_a_lambda_kept_for_later_is_refused():
    class Late(Tiny):
        @operation
        def death(self, st, v: Vma):
            lonely = lambda a: st.inside(v, a)  # noqa: E731 - that is the mistake
            st.inside[v] = False
            st.alive = lambda a: st.alive(a) & ~lonely(a)

    with pytest.raises(SpecError, match=r"called later.*define"):
        Late()


def test_lambdas_in_a_loop_capture_what_they_see():
    class Loop(Spec):
        live = relation(Vma)

        @operation
        def two(self, st, v: Vma, w: Vma):
            for each in (v, w):
                st.live = lambda x: st.live(x) | (x == each)  # noqa: B023 - called at once

    run = Steps(Loop())
    before = run.empty({"Vma": [1, 2, 3]})
    assert run.after("two", before, v=1, w=3).tables["live"] == {1, 3}


def test_a_counter_is_read_before_what_it_counts_changes():
    class Late(Tiny):
        @operation
        def death(self, st, v: Vma, a: Av):
            st.inside[v] = False
            st.require(st.used.is_zero(a))

    with pytest.raises(SpecError, match="read first"):
        Late()


def test_a_counter_is_read_before_it_changes():
    """Free it if none is left: after the decrement, a test would use the old set, never empty."""

    class Late(Tiny):
        @operation
        def death(self, st, v: Vma, a: Av):
            st.used.dec(a, v)
            st.require(st.used.is_zero(a))

    with pytest.raises(SpecError, match="read it first"):
        Late()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("st.lives[v] = True", "declares no 'lives'"),
        ("st.used[v] = True", "CounterAccess|not support"),
        ("st.live = True", "can be set to a lambda"),
        ("st.live[v, v] = True", "takes 1 terms, not 2"),
        ("st.used.inc(a, a)", "counts no elements of sort"),
        ("st.live[v] = a", "cannot become"),
    ],
)
def test_a_wrong_statement_names_spec_and_operation(body, message):
    scope = {"Tiny": Tiny, "operation": operation, "Vma": Vma, "Av": Av}
    source = (
        "class Wrong(Tiny):\n    @operation\n    def birth(self, st, v: Vma, a: Av):\n"
        f"        {body}\n"
    )
    exec(source, scope)
    with pytest.raises((SpecError, TypeError), match=message):
        scope["Wrong"]()


def test_a_variable_that_escapes_its_lambda_is_refused():
    class Escape(Tiny):
        @invariant
        def leaks(self, st):
            kept = []
            forall(Vma, lambda v: kept.append(v) is None)
            return st.live(kept[0])

    with pytest.raises(SpecError, match="v is used outside its lambda"):
        Escape()


def test_a_parameter_without_a_sort_is_refused():
    class Untyped(Tiny):
        @operation
        def birth(self, st, v):
            pass

    with pytest.raises(SpecError, match="parameter 'v' needs a sort"):
        Untyped()


def test_names_may_not_clash():
    class Shadowed(Tiny):
        @operation
        def live(self, st, v: Vma):
            """An operation with the name of an inherited relation."""

    class Parameters(Tiny):
        @operation
        def birth(self, st, live: Predicate[Vma]):
            """An operation with a parameter that has the name of a relation."""

    with pytest.raises(SpecError, match="'live' is both a symbol and a method"):
        Shadowed()
    with pytest.raises(SpecError, match="'live' has the name of a symbol"):
        Parameters()


def test_steps_on_a_structure():
    run = Steps(Tiny())
    start = run.empty({"Vma": [1, 2], "Av": ["a", "b"]})
    assert run.violated(start) == []
    one = run.after("birth", start, v=1, a="a")
    assert (one.tables["live"], one.tables["inside"]) == ({1}, {(1, "a")})
    assert run.blocked("birth", one, v=1, a="b") == ["¬live(v)"]
    two = run.after("death", one, v=1)
    assert list(run.differences(start, two)) == []
    one.tables["live"] = set()
    assert run.violated(one) == ["inside_live"]
    assert list(run.differences(start, one)) == [
        "inside(1, 'a') should not hold",
        "alive(a) should not hold",
    ]


def test_predicate_parameters():
    class Sets(Tiny):
        @operation
        def kill(self, st, gone: Predicate[Vma]):
            st.live = lambda v: st.live(v) & ~gone(v)

    run = Steps(Sets())
    before = run.empty({"Vma": [1, 2], "Av": [7]})
    before.tables["live"] = {1, 2}
    assert run.after("kill", before, gone={2}).tables["live"] == {1}


def test_lint_names_the_sorts_and_the_formula_of_a_cycle():
    edges = alternations((OWN,))
    assert edges.cycle() is None
    fine = forall(Vma, lambda v: exists(Av, lambda a: apply(IN, (v, a))))
    edges.assume(fine, "everyone is in one")
    assert edges.cycle() is None
    back = forall(Av, lambda a: exists(Vma, lambda v: apply(IN, (v, a))))
    edges.assume(back, "no_leak")
    cycle = edges.cycle()
    assert set(cycle.sorts) == {"Vma", "Av"}
    assert "no_leak" in cycle.because
    negated = alternations((OWN,))
    negated.assume(back, "no_leak", holds=False)
    assert negated.cycle() is None
