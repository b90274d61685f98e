"""Suggests lemmas with which a proof would succeed, by the Houdini algorithm.

An obligation often fails only because a lemma is missing. Candidates are clauses of up to three
literals over the symbols of the failing lemma and operation. First, candidates are dropped that
are false in some state of random runs of the spec. Then, operation by operation, those are dropped
that Z3 cannot prove to be kept, until none is dropped any more. Of the rest, those that the
failing obligations need are suggested.
"""

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from rmapcheck.logic.finite import Structure, compiled
from rmapcheck.logic.macros import substitute
from rmapcheck.logic.spec import Parameter, Spec
from rmapcheck.logic.steps import Steps
from rmapcheck.logic.terms import (
    EQ,
    FORALL,
    VAR,
    Bool,
    Expr,
    Sort,
    apply,
    conj,
    equal,
    implies,
    negate,
    quantify,
    variable,
)
from rmapcheck.prove.obligations import Problem, problems
from rmapcheck.prove.prover import Prover
from rmapcheck.prove.proving import Report
from rmapcheck.prove.solver import smt
from rmapcheck.prove.solver.engines import UNSAT, Z3
from rmapcheck.prove.solver.memory import Proofs

ELEMENTS = 3
"""Number of elements of each sort in random runs."""
MAX_CANDIDATES = 200
"""At most so many candidates go to the solver, the shortest first."""


def suggest(report: Report, seconds: float = 20.0) -> tuple[list[Expr], bool]:
    """Return lemmas to add, and whether all failing obligations then hold."""
    states = list(walk(report.spec, report.options.seed, seconds / 10))
    left = filtered(candidates(report), states)[:MAX_CANDIDATES]
    houdini = Houdini(report, left)
    houdini.settle()
    needed, enough = houdini.needed()
    return needed, enough


# Candidates.


def candidates(report: Report) -> Iterator[Expr]:
    """Yield clauses over the symbols that the failures are about, shorter ones first."""
    symbols = frozenset().union(*(r.goal.formula.symbols for r in report.failures))
    literals = list(_literals(report.spec, {s.name for s in symbols}))
    nontrivial = [x for x in literals if not (x.kind is EQ and all(a.kind is VAR for a in x.args))]
    for size in (1, 2):
        for ante in itertools.combinations(nontrivial, size):
            bound = frozenset().union(*(x.free for x in ante))
            for con in literals:
                if con.free <= bound and not any(con is a for a in ante):
                    clause = implies(conj(*ante), con)
                    yield quantify(
                        FORALL, tuple(sorted(clause.free, key=lambda v: v.name)), clause
                    )


def _literals(spec: Spec, names: set[str]) -> Iterator[Expr]:
    variables: dict[type[Sort], list[Expr]] = {}
    for sort in spec.sorts:
        short = sort.__name__[0].lower()
        variables[sort] = [variable(sort, short), variable(sort, f"{short}2")]
    for name, symbol in spec.symbols.items():
        if name not in names and len(symbol.domain) > 1:
            continue
        for args in itertools.product(*(variables[d] for d in symbol.domain)):
            if symbol.range is Bool:
                yield apply(symbol, args)
            elif name in names:
                yield equal(apply(symbol, args), variables[symbol.range][0])
    for pair in variables.values():
        yield equal(pair[0], pair[1])


def filtered(clauses: Iterator[Expr], states: Sequence[Structure]) -> list[Expr]:
    """Return the clauses that hold in every state and do not follow from a shorter one."""
    kept: list[Expr] = []
    strong: list[tuple[frozenset[Expr], Expr]] = []
    for clause in clauses:
        body = clause.args[0]
        if body.kind != "implies":
            continue
        ante = frozenset(body.args[0].args if body.args[0].kind == "and" else (body.args[0],))
        if any(a <= ante and c is body.args[1] for a, c in strong):
            continue
        run = compiled(clause).run
        if all(run(st) for st in states):
            kept.append(clause)
            strong.append((ante, body.args[1]))
    return kept


# States.


def walk(spec: Spec, seed: int, seconds: float) -> Iterator[Structure]:
    """Yield states of random runs of the spec."""
    rng = random.Random(seed)
    run = Steps(spec)
    universe = {
        s.__name__: [f"{s.__name__}{i}" for i in range(1, ELEMENTS + 1)] for s in spec.sorts
    }
    end = time.process_time() + seconds
    while time.process_time() < end:
        state = _total(spec, run.empty(universe), rng)
        yield state
        for _ in range(12):
            found = _step(spec, run, state, rng)
            if found is None:
                break
            state = found
            yield state


def _total(spec: Spec, state: Structure, rng: random.Random) -> Structure:
    """Make each function total, with random values where they do not matter."""
    for name, symbol in spec.symbols.items():
        if symbol.range is not Bool:
            to = state.universe[symbol.range.__name__]
            keys = itertools.product(*(state.universe[d.__name__] for d in symbol.domain))
            state.tables[name] = {k[0] if len(k) == 1 else k: rng.choice(to) for k in keys}
    return state


def _step(spec: Spec, run: Steps, state: Structure, rng: random.Random) -> Structure | None:
    for _ in range(60):
        name = rng.choice(list(spec.transitions))
        witness = {p.name: _drawn(p, state, rng) for p in spec.transitions[name].parameters}
        if not run.blocked(name, state, **witness):
            return run.after(name, state, **witness)
    return None


def _drawn(p: Parameter, state: Structure, rng: random.Random) -> Any:  # noqa: ANN401
    sorts = [state.universe[s.__name__] for s in p.sorts]
    symbol = p.symbol
    if symbol is None:
        return rng.choice(sorts[0])
    if symbol.range is Bool:
        keys = itertools.product(*sorts)
        return {k[0] if len(k) == 1 else k for k in keys if rng.random() < 1 / len(sorts) ** 2}
    keys = itertools.product(*sorts[:-1])
    values = rng.sample(list(sorts[-1]), len(sorts[-1]))
    return {k[0] if len(k) == 1 else k: values[i % len(values)] for i, k in enumerate(keys)}


# The fixpoint.


@attrs.define(eq=False)
class Houdini:
    """The candidates that are left, and the report whose problems they must help with."""

    report: Report
    left: list[Expr]

    def settle(self) -> None:
        """Drop candidates that some operation may break, until there are none."""
        todo = list(problems(self.report.spec))
        while True:
            before = len(self.left)
            for problem in todo:
                self.left = list(self._kept(problem))
            if len(self.left) == before:
                return

    def _kept(self, problem: Problem) -> Iterator[Expr]:
        engine, prover = self._engine(problem)
        start = self.report.spec.initially()
        for c in self.left:
            t = problem.transition
            after = substitute(c, {}, start) if t is None else t.after(c)
            if after is c or self._holds(engine, prover, after):
                yield c

    def _engine(self, problem: Problem) -> tuple[Z3, Prover]:
        prover = Prover(problem, self.report.options, Proofs())
        engine = prover.fresh("z3", problem.hypotheses(deep=False))
        assert isinstance(engine, Z3)  # noqa: S101 - fresh("z3") makes one
        if problem.transition is not None:
            engine.add("".join(prover.text(c) for c in self.left))
        return engine, prover

    def _holds(self, engine: Z3, prover: Prover, goal: Expr) -> bool:
        engine.push()
        try:
            engine.add(prover.text(negate(goal)))
            return engine.check(self.report.options.deep_timeout).said == UNSAT
        finally:
            engine.pop()

    def needed(self) -> tuple[list[Expr], bool]:
        """Return the candidates that the failing obligations need, and whether they suffice."""
        needed: dict[Expr, None] = {}
        enough = True
        failing = {(r.operation, r.goal.name) for r in self.report.failures}
        for problem in problems(self.report.spec):
            for goal in problem.goals:
                if (problem.operation, goal.name) in failing:
                    core = self._core(problem, goal.formula)
                    enough = enough and core is not None
                    needed.update(dict.fromkeys(core or ()))
        return list(needed), enough

    def _core(self, problem: Problem, goal: Expr) -> list[Expr] | None:
        prover = Prover(problem, self.report.options, Proofs())
        engine = prover.fresh("z3", problem.hypotheses(deep=False))
        assert isinstance(engine, Z3)  # noqa: S101 - fresh("z3") makes one
        switches = {f"h_{i}": c for i, c in enumerate(self.left)}
        lines = [f"(declare-const {s} Bool)" for s in switches]
        lines += [f"(assert (=> {s} {smt.translate(c, {})}))" for s, c in switches.items()]
        engine.add("\n".join([*lines, prover.text(negate(goal))]))
        limit = self.report.options.timeout
        if engine.check_with(list(switches), limit).said != UNSAT:
            return None
        core = [s for s in switches if s in engine.core()]
        for s in list(core):
            fewer = [x for x in core if x != s]
            if engine.check_with(fewer, limit).said == UNSAT:
                core = fewer
        return [switches[s] for s in core]
