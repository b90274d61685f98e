"""Kernel: a state together with the scheme that keeps its rmap.

A scheme's hooks are given a `State`: what they may read and change. What calls hooks, the MM core,
operations, invariants and engines, is given that same object as a `Kernel`, which has the scheme
too. So neither file of the two imports the other.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.state import State

if TYPE_CHECKING:
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.scheme import Scheme


class Kernel(State):
    """One state of the machine, and `scheme`, by which the MM core calls its hooks."""

    scheme: "Scheme"

    def __init__(
        self,
        scope: "Scope",
        scheme: "Scheme",
        *,
        checked: bool = False,
        named: tuple[str, ...] = (),
    ) -> None:
        super().__init__(scope, scheme, checked=checked, named=named)
