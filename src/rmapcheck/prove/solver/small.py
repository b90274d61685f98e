"""Small counterexamples: asks the solver for a model with few elements of each sort.

With a bound on each sort every question is decidable, even with deep lemmas. First one bound for
all sorts is raised until there is a model. Then each sort is made as small as possible. Deep
lemmas are added last: here all elements have names, so "there is" becomes "one of these".
"""

from collections.abc import Iterable

import attrs

from rmapcheck.logic.macros import substitute
from rmapcheck.logic.terms import EXISTS, FORALL, IMPLIES, NOT, Expr, Sort, disj, remake, variable
from rmapcheck.prove.solver import smt
from rmapcheck.prove.solver.engines import SAT, Z3

LARGEST = 5
"""No CTI of a known bug needs more elements of one sort."""
FEW = 2
"""With so many named elements, every operation of the built-in specs is possible."""


def element(sort: type[Sort], i: int) -> str:
    """Return the name of element `i`; with a bound of n there are only the first n elements."""
    return f"c_{smt.sort_name(sort)}_{i}"


def elements(sorts: Iterable[type[Sort]], count: int) -> str:
    """Return declarations of names for `count` elements of each sort."""
    return "".join(
        f"(declare-const {element(sort, i)} {smt.sort_name(sort)})\n"
        for sort in sorts
        for i in range(count)
    )


def by_name(sorts: Iterable[type[Sort]], lemmas: Iterable[Expr], count: int) -> str:
    """Return deep lemmas as assertions that are not deep: "there is" means a named element.

    These are stronger than the lemmas: the lemmas hold in every model, but there may be none.
    """
    named = {s: [variable(s, "c") for _ in range(count)] for s in sorts}
    names = {v: element(s, i) for s, vs in named.items() for i, v in enumerate(vs)}
    texts = (smt.translate(among(e, named), names) for e in lemmas)
    return "".join(f"(assert {text})\n" for text in texts)


def made(e: Expr) -> set[type[Sort]]:
    """Return the sorts over which the formula has a "there is"."""
    found = {v.sort for v in e.bound} if e.kind is EXISTS else set()
    return found.union(*(made(a) for a in e.args))


def among(e: Expr, elements: dict[type[Sort], list[Expr]], *, holds: bool = True) -> Expr:
    """Return `e` with each "there is" replaced by "one of the elements"."""
    if e.kind is EXISTS and holds:
        parts = [among(e.args[0], elements)]
        for v in e.bound:
            parts = [substitute(p, {v: x}) for p in parts for x in elements[v.sort]]
        return disj(*parts)
    if e.kind not in (FORALL, EXISTS, NOT, IMPLIES, "and", "or"):
        return e
    signs = {NOT: (not holds,), IMPLIES: (not holds, holds)}.get(e.kind, (holds,) * len(e.args))
    args = [among(a, elements, holds=s) for a, s in zip(e.args, signs, strict=True)]
    return remake(e, tuple(args))


@attrs.define(eq=False)
class Bounded:
    """A Z3 solver with a variable bound on the number of elements of each sort."""

    engine: Z3
    sorts: tuple[type[Sort], ...]
    seconds: float
    sizes: dict[type[Sort], int] = attrs.field(factory=dict)

    def declare(self) -> None:
        """Declare, for each sort and size, a switch that limits the sort to this size."""
        lines = [elements(self.sorts, LARGEST)]
        for sort in self.sorts:
            name = smt.sort_name(sort)
            for size in range(1, LARGEST + 1):
                either = " ".join(f"(= x {element(sort, i)})" for i in range(size))
                lines.append(f"(declare-const b_{name}_{size} Bool)")
                lines.append(
                    f"(assert (=> b_{name}_{size} (forall ((x {name})) (or {either} false))))"
                )
        self.engine.add("\n".join(lines))

    def add_deep(self, lemmas: Iterable[Expr]) -> None:
        """Assert deep lemmas. "There is" becomes "one of all elements", an equivalent here."""
        self.engine.add(by_name(self.sorts, lemmas, LARGEST))

    def possible(self, sizes: dict[type[Sort], int]) -> bool:
        """Return whether there is a model of these sizes."""
        switches = [f"b_{smt.sort_name(s)}_{n}" for s, n in sizes.items()]
        return self.engine.check_with(switches, self.seconds).said == SAT

    def small(self, *, smallest: bool) -> bool:
        """Find a small model, which is then the solver's last one; return whether there is any.

        With `smallest`, no sort can have fewer elements.
        """
        for size in range(1, LARGEST + 1):
            self.sizes = dict.fromkeys(self.sorts, size)
            if self.possible(self.sizes):
                if smallest:
                    self.shrink(self.sizes)
                return not smallest or self.possible(self.sizes)
        return False

    def same_size(self) -> bool:
        """Return whether there is still a model of the sizes found, or with one element more."""
        return self.possible({s: min(n + 1, LARGEST) for s, n in self.sizes.items()})

    def shrink(self, sizes: dict[type[Sort], int]) -> None:
        """Lower each size as far as possible, one sort after the other."""
        for sort in tuple(sizes):
            while sizes[sort] > 1 and self.possible({**sizes, sort: sizes[sort] - 1}):
                sizes[sort] -= 1
