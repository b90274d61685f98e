"""A formula has three readings, which agree: compiled evaluation, the solver, and its text."""

import itertools
import random

import z3

from rmapcheck.logic import If, define, forall
from rmapcheck.logic.finite import Structure, compiled
from rmapcheck.logic.macros import substitute
from rmapcheck.logic.terms import (
    TRUE,
    Expr,
    apply,
    conj,
    disj,
    implies,
    negate,
    quantify,
    variable,
)
from rmapcheck.prove.solver import smt
from tests.prove.tiny import IN, LIVE, OWN, SYMBOLS, Av, Vma


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


def test_text_reads_as_logic():
    e = forall(
        Vma, Av, lambda v, a: (apply(IN, (v, a)) & (apply(OWN, (v,)) != a)) >> apply(LIVE, (v,))
    )
    assert str(e) == "∀ v a. in(v, a) ∧ own(v) ≠ a → live(v)"
    assert str(~e) == "¬(∀ v a. in(v, a) ∧ own(v) ≠ a → live(v))"
    assert str(TRUE) == "true"
