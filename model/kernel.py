"""Kernel: a state together with the scheme that keeps its rmap.

A scheme's hooks receive a `State`: what they may read and change. The callers of hooks are the MM
core, operations, invariants and engines. They use the same object as a `Kernel`, which also has
the scheme. So state.py and scheme.py do not import each other.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.state import State

if TYPE_CHECKING:
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.scheme import Scheme


class Kernel(State):
    """One state of the machine, and the scheme whose hooks the MM core calls."""

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
