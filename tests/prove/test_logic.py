"""The logic: mistakes in formulas are refused; evaluation, solver and text agree."""

# ruff: noqa: ARG005 - wrong lambdas need the same parameters as right ones

import itertools
import random

import pytest
import z3

from rmapcheck.logic import (
    If,
    Predicate,
    Sort,
    Spec,
    SpecError,
    counts,
    define,
    exists,
    forall,
    invariant,
    operation,
    relation,
)
from rmapcheck.logic.finite import Structure, compiled
from rmapcheck.logic.lint import alternations
from rmapcheck.logic.macros import substitute
from rmapcheck.logic.steps import Steps
from rmapcheck.logic.terms import (
    FALSE,
    TRUE,
    Expr,
    Symbol,
    apply,
    conj,
    disj,
    implies,
    negate,
    quantify,
    variable,
)
from rmapcheck.prove.solver import smt


class Vma(Sort):
    """A VMA."""


class Av(Sort):
    """An anon_vma."""


LIVE = Symbol("live", (Vma,), FALSE.sort)
IN = Symbol("in", (Vma, Av), FALSE.sort)
OWN = Symbol("own", (Vma,), Av)
SYMBOLS = (LIVE, IN, OWN)


class Tiny(Spec):
    """Two relations and a counter."""

    live = relation(Vma)
    inside = relation(Vma, Av)
    alive = relation(Av)
    used = counts(Vma, lambda st, v, a: st.inside(v, a), per=Av, alive="alive")

    @operation
    def birth(self, st, v: Vma, a: Av):
        """Create a VMA and its anon_vma."""
        st.require(~st.live(v) & ~st.alive(a))
        st.live[v] = True
        st.alive[a] = True
        st.inside[v, a] = True
        st.used.inc(a, v)

    @operation
    def death(self, st, v: Vma):
        """Free a VMA, and the anon_vmas that no other VMA has."""
        lonely = define(
            Av, lambda a: st.inside(v, a) & forall(Vma, lambda w: st.inside(w, a) >> (w == v))
        )
        st.used.sub(Vma, lambda w, a: (w == v) & st.inside(v, a))
        st.alive = lambda a: st.alive(a) & ~lonely(a)
        st.inside[v] = False
        st.live[v] = False

    @invariant
    def inside_live(self, st):
        """Only live VMAs and anon_vmas are inside."""
        return forall(Vma, Av, lambda v, a: st.inside(v, a) >> (st.live(v) & st.alive(a)))


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


# Random formulas: three readings.


def random_formula(rng: random.Random, scope: list[Expr], depth: int) -> Expr:
    vmas = [x for x in scope if x.sort is Vma]
    avs = [x for x in scope if x.sort is Av]

    def term(sort):
        if sort is Vma:
            return rng.choice(vmas)
        if avs and rng.random() < 0.6:
            return rng.choice(avs)
        return apply(OWN, (rng.choice(vmas),))

    kind = rng.randrange(9) if depth else rng.randrange(3)
    if kind == 0:
        return apply(LIVE, (term(Vma),))
    if kind == 1:
        return apply(IN, (term(Vma), term(Av)))
    if kind == 2:
        sort = rng.choice((Vma, Av))
        return term(sort) == term(sort)
    parts = [random_formula(rng, scope, depth - 1) for _ in range(3)]
    if kind == 3:
        return conj(*parts)
    if kind == 4:
        return disj(*parts)
    if kind == 5:
        return implies(conj(*parts[:2]), parts[2])
    if kind == 6:
        return If(*parts)
    if kind == 7:
        return negate(parts[0])
    fresh = [variable(rng.choice((Vma, Av)), "q") for _ in range(rng.randrange(1, 3))]
    body = random_formula(rng, scope + fresh, depth - 1)
    return quantify(rng.choice(("forall", "exists")), tuple(fresh), body)


def random_structure(rng: random.Random) -> Structure:
    universe = {"Vma": range(rng.randrange(1, 4)), "Av": range(10, 10 + rng.randrange(1, 4))}
    pairs = itertools.product(universe["Vma"], universe["Av"])
    tables = {
        "live": {v for v in universe["Vma"] if rng.random() < 0.5},
        "in": {p for p in pairs if rng.random() < 0.5},
        "own": {v: rng.choice(universe["Av"]) for v in universe["Vma"]},
    }
    return Structure(universe, tables)


def naive(e: Expr, st: Structure, env: dict[Expr, object]):
    """Evaluate a formula directly by the definition."""
    if e.kind == "var":
        return env[e]
    if e.kind in ("forall", "exists"):
        ranges = [st.universe[v.sort.__name__] for v in e.bound]
        values = (
            naive(e.args[0], st, {**env, **dict(zip(e.bound, got, strict=True))})
            for got in itertools.product(*ranges)
        )
        return all(values) if e.kind == "forall" else any(values)
    args = [naive(a, st, env) for a in e.args]
    if e.kind == "app":
        key = args[0] if len(args) == 1 else tuple(args)
        table = st.tables[e.symbol.name]
        return table[key] if isinstance(table, dict) else key in table
    return {
        "true": lambda: True,
        "false": lambda: False,
        "eq": lambda: args[0] == args[1],
        "not": lambda: not args[0],
        "and": lambda: all(args),
        "or": lambda: any(args),
        "implies": lambda: not args[0] or args[1],
        "ite": lambda: args[1] if args[0] else args[2],
    }[e.kind]()


def solver_says(e: Expr, st: Structure) -> bool:
    """Return whether `e` holds in the structure according to Z3."""
    constants = {f"e_{x}": sort for sort in (Vma, Av) for x in st.universe[sort.__name__]}
    lines = [smt.declarations((Vma, Av), SYMBOLS, constants)]
    for sort in (Vma, Av):
        names = [f"e_{x}" for x in st.universe[sort.__name__]]
        if len(names) > 1:
            lines.append(f"(assert (distinct {' '.join(names)}))")
        either = " ".join(f"(= x {n})" for n in names)
        lines.append(f"(assert (forall ((x {smt.sort_name(sort)})) (or {either})))")
    for symbol in (LIVE, IN):
        for key in itertools.product(*(st.universe[d.__name__] for d in symbol.domain)):
            cell = f"({smt.symbol_name(symbol)} {' '.join(f'e_{k}' for k in key)})"
            holds = (key[0] if len(key) == 1 else key) in st.tables[symbol.name]
            lines.append(f"(assert {cell if holds else f'(not {cell})'})")
    lines += [f"(assert (= (f_own e_{v}) e_{a}))" for v, a in st.tables["own"].items()]
    lines.append(f"(assert {smt.translate(e, {})})")
    solver = z3.Solver()
    solver.from_string("\n".join(lines))
    answer = solver.check()
    assert answer != z3.unknown
    return answer == z3.sat


def test_three_readings_agree_on_random_states():
    rng = random.Random(5)
    held = 0
    for i in range(600):
        outer = variable(Vma, "v")
        e = quantify(rng.choice(("forall", "exists")), (outer,), random_formula(rng, [outer], 3))
        st = random_structure(rng)
        expected = naive(e, st, {})
        assert compiled(e).run(st) == expected, str(e)
        if i < 150:
            assert solver_says(e, st) == expected, str(e)
        held += expected
    assert 100 < held < 500


def test_substitution_is_evaluation_in_the_changed_state():
    rng = random.Random(6)
    for _ in range(300):
        outer = variable(Vma, "v")
        e = quantify("forall", (outer,), random_formula(rng, [outer], 3))
        macro = define(
            Vma,
            Av,
            lambda v, a: (apply(IN, (v, a)) & ~apply(LIVE, (v,))) | (apply(OWN, (v,)) == a),
        )
        st = random_structure(rng)
        changed = {
            (v, a)
            for v in st.universe["Vma"]
            for a in st.universe["Av"]
            if ((v, a) in st.tables["in"] and v not in st.tables["live"])
            or st.tables["own"][v] == a
        }
        after = Structure(st.universe, {**st.tables, "in": changed})
        assert compiled(substitute(e, {}, {IN: macro})).run(st) == compiled(e).run(after), str(e)


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


def test_text_reads_as_logic():
    e = forall(
        Vma, Av, lambda v, a: (apply(IN, (v, a)) & (apply(OWN, (v,)) != a)) >> apply(LIVE, (v,))
    )
    assert str(e) == "∀ v a. in(v, a) ∧ own(v) ≠ a → live(v)"
    assert str(~e) == "¬(∀ v a. in(v, a) ∧ own(v) ≠ a → live(v))"
    assert str(TRUE) == "true"


def test_predicate_parameters():
    class Sets(Tiny):
        @operation
        def kill(self, st, gone: Predicate[Vma]):
            st.live = lambda v: st.live(v) & ~gone(v)

    run = Steps(Sets())
    before = run.empty({"Vma": [1, 2], "Av": [7]})
    before.tables["live"] = {1, 2}
    assert run.after("kill", before, gone={2}).tables["live"] == {1}
