"""Proofs that have been found, so that specs which share operations share proofs.

What follows from some hypotheses follows from more. So a goal is known to hold where the same
goal, word for word, has been proved from hypotheses that are all among the present ones.
"""

from collections.abc import Iterable

import attrs

from invariants.logic.terms import Expr


def signed(text: str, expr: Expr) -> str:
    """Return `text` with the signatures of its symbols: equal then means the same formula."""
    return " ".join([*sorted(str(s) for s in expr.symbols), text])


@attrs.define(eq=False)
class Proofs:
    """Goals proved by each solver, each with the hypotheses that were used."""

    found: dict[tuple[str, str], list[frozenset[str]]] = attrs.field(factory=dict)
    reused: int = 0

    def known(self, solver: str, goal: str, hypotheses: frozenset[str]) -> bool:
        """Return whether `solver` has proved the goal from a part of `hypotheses`."""
        hit = any(used <= hypotheses for used in self.found.get((solver, goal), ()))
        self.reused += hit
        return hit

    def learn(self, solver: str, goal: str, hypotheses: Iterable[str]) -> None:
        """Note that `solver` has proved the goal."""
        self.found.setdefault((solver, goal), []).append(frozenset(hypotheses))
