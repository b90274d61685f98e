"""Small counterexamples: the solver is asked for a model with few elements of each sort.

With a bound on each sort every question is decidable, deep lemmas and all. Those are added last,
since they make it slow. First the same bound
for all sorts is raised until there is a model; then each sort is made as small as it gets.
"""

import attrs

from invariants.logic.terms import Sort
from rmapcheck.prove import smt
from rmapcheck.prove.engines import SAT, Z3

LARGEST = 5
"""No CTI of a known bug needs more elements of one sort."""


@attrs.define(eq=False)
class Bounded:
    """A Z3 solver that can be told how many elements each sort may have."""

    engine: Z3
    sorts: tuple[type[Sort], ...]
    seconds: float
    sizes: dict[type[Sort], int] = attrs.field(factory=dict)

    def declare(self) -> None:
        """Assert, for each sort and size, that a switch makes it so small."""
        lines = []
        for sort in self.sorts:
            name = smt.sort_name(sort)
            lines += [f"(declare-const c_{name}_{i} {name})" for i in range(LARGEST)]
            for size in range(1, LARGEST + 1):
                either = " ".join(f"(= x c_{name}_{i})" for i in range(size))
                lines.append(f"(declare-const b_{name}_{size} Bool)")
                lines.append(
                    f"(assert (=> b_{name}_{size} (forall ((x {name})) (or {either} false))))"
                )
        self.engine.add("\n".join(lines))

    def possible(self, sizes: dict[type[Sort], int]) -> bool:
        """Return whether there is a model of these sizes."""
        switches = [f"b_{smt.sort_name(s)}_{n}" for s, n in sizes.items()]
        return self.engine.check_with(switches, self.seconds).said == SAT

    def smallest(self) -> bool:
        """Make the solver's last model a small one; return whether there is any."""
        for size in range(1, LARGEST + 1):
            sizes = dict.fromkeys(self.sorts, size)
            if self.possible(sizes):
                self.shrink(sizes)
                self.sizes = sizes
                return self.possible(sizes)
        return False

    def same_size(self) -> bool:
        """Return whether there is still a model of the size that was found, or one more."""
        return self.possible({s: min(n + 1, LARGEST) for s, n in self.sizes.items()})

    def shrink(self, sizes: dict[type[Sort], int]) -> None:
        """Lower each size as far as it goes, one sort after the other."""
        for sort in tuple(sizes):
            while sizes[sort] > 1 and self.possible({**sizes, sort: sizes[sort] - 1}):
                sizes[sort] -= 1
