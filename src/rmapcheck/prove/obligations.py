"""The proof obligations of a spec: its invariants hold initially, and each operation keeps them.

In addition, its checks hold and its counters stay exact. An obligation is `hypotheses → goal`,
about the state before an operation and its parameters. The hypotheses are all invariants and the
guard. A lemma that closes a cycle of sorts (`no_leak`: for each anon_vma there is a VMA, for each
VMA an anon_vma) is *deep*. Deep lemmas are left out at first, because without them Z3 finds every
counterexample. Only obligations that then fail are tried again with them.
"""

from collections.abc import Iterator

import attrs

from rmapcheck.logic.lint import Alternations, Cycle, alternations
from rmapcheck.logic.macros import substitute
from rmapcheck.logic.spec import Lemma, Parameter, Spec, Transition
from rmapcheck.logic.terms import TRUE, Expr, Symbol, conj, negate

INIT = "init"


@attrs.frozen(eq=False)
class Named:
    """A formula with its name."""

    name: str
    formula: Expr


@attrs.frozen(eq=False)
class Goal:
    """One obligation of a problem."""

    name: str
    kind: str
    """One of: invariant, check, counter."""
    formula: Expr
    doc: str = ""
    unchanged: bool = False
    """The operation changes nothing that the invariant is about."""
    epr: bool = True


@attrs.frozen(eq=False, kw_only=True)
class Problem:
    """An operation, or the initial state, with its goals, which share the hypotheses."""

    spec: Spec
    operation: str
    transition: Transition | None
    parameters: tuple[Parameter, ...]
    lemmas: tuple[Named, ...]
    deep: tuple[Named, ...]
    guard: tuple[Named, ...]
    goals: tuple[Goal, ...]
    vacuity: Expr | None
    """What must be possible together with the hypotheses."""

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The spec's symbols and those of the parameters."""
        own = tuple(p.symbol for p in self.parameters if p.symbol is not None)
        return (*self.spec.symbols.values(), *own)

    @property
    def names(self) -> dict[Expr, str]:
        """The names of the parameters in SMT-LIB."""
        return {p.variable: f"p_{p.name}" for p in self.parameters if p.variable is not None}

    def hypotheses(self, *, deep: bool) -> tuple[Named, ...]:
        """Return lemmas and guard; with `deep` also the deep lemmas."""
        return (*self.lemmas, *(self.deep if deep else ()), *self.guard)


@attrs.frozen(eq=False)
class Tiers:
    """The lemmas of a spec: those that are decidable together, and the deep ones."""

    plain: tuple[Lemma, ...]
    deep: tuple[Lemma, ...]
    why: dict[str, Cycle]
    """Deep lemma → the cycle that it closes."""
    edges: Alternations
    """The edges of the plain lemmas and the functions."""


def tiers(spec: Spec) -> Tiers:
    """Divide the lemmas, in their order: one that closes a cycle is deep, the others are plain."""
    edges = alternations(spec.symbols.values())
    plain, deep, why = [], [], {}
    for lemma in spec.lemmas:
        tried = edges.copy()
        tried.assume(lemma.formula, lemma.name)
        cycle = tried.cycle()
        if cycle is None:
            edges = tried
            plain.append(lemma)
        else:
            deep.append(lemma)
            why[lemma.name] = cycle
    return Tiers(tuple(plain), tuple(deep), why, edges)


def problems(spec: Spec) -> Iterator[Problem]:
    """Yield the problem of the initial state, then one for each operation."""
    sorted_ = tiers(spec)
    yield _initial(spec, sorted_)
    for transition in spec.transitions.values():
        yield _step(spec, sorted_, transition)


def _initial(spec: Spec, sorted_: Tiers) -> Problem:
    start = spec.initially()
    goals = [
        Goal(lemma.name, "invariant", substitute(lemma.formula, {}, start), lemma.doc)
        for lemma in spec.lemmas
    ]
    return Problem(
        spec=spec,
        operation=INIT,
        transition=None,
        parameters=(),
        lemmas=(),
        deep=(),
        guard=(),
        goals=tuple(goals),
        vacuity=None,
    )


def _step(spec: Spec, sorted_: Tiers, transition: Transition) -> Problem:
    guard = tuple(Named(f"guard: {g.name}", g.formula) for g in transition.guard)
    hypotheses = sorted_.edges.copy()
    for named in guard:
        hypotheses.assume(named.formula, named.name)
    alone = hypotheses.cycle() is None
    goals = []
    for goal in _goals(spec, transition):
        edges = hypotheses.copy()
        if relevant(goal):
            edges.assume(goal.formula, goal.name, holds=False)
        more = len(edges.edges) > len(hypotheses.edges)
        goals.append(attrs.evolve(goal, epr=(edges.cycle() is None) if more else alone))
    return Problem(
        spec=spec,
        operation=transition.name,
        transition=transition,
        parameters=transition.parameters,
        lemmas=tuple(Named(x.name, x.formula) for x in sorted_.plain),
        deep=tuple(Named(x.name, x.formula) for x in sorted_.deep),
        guard=guard,
        goals=tuple(goals),
        vacuity=_possible(spec, transition),
    )


def _goals(spec: Spec, transition: Transition) -> Iterator[Goal]:
    for lemma in spec.lemmas:
        after = transition.after(lemma.formula)
        unchanged = after is lemma.formula
        yield Goal(lemma.name, "invariant", after, lemma.doc, unchanged=unchanged)
    for check in transition.checks:
        yield Goal(check.name, "check", check.formula, "the kernel relies on it here")
    if not transition.intended:
        doc = "an operation that fails changes nothing"
        yield Goal("changes_nothing", "check", spec.unchanged(transition), doc)
    for counter in spec.counters.values():
        formula = spec.exactness(transition, counter)
        yield Goal(counter.name, "counter", formula, counter.doc, unchanged=formula is TRUE)


def _possible(spec: Spec, transition: Transition) -> Expr:
    interesting = spec.interesting(spec.base())
    if not transition.macros or not transition.intended:
        return interesting
    return conj(interesting, negate(spec.unchanged(transition)))


def relevant(goal: Goal) -> bool:
    """Return whether a solver is needed; a goal that is unchanged or trivially true holds."""
    return not goal.unchanged and goal.formula is not TRUE
