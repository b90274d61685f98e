"""Carries out steps of the model with the puppets."""

from itertools import count
from typing import TYPE_CHECKING

from rmapcheck.host.errors import OracleError
from rmapcheck.model.operations import Exit, Fork, Operation, Write

if TYPE_CHECKING:
    from rmapcheck.host.swapping import Memcg
    from rmapcheck.oracle.comparison import Step
    from rmapcheck.oracle.puppets.processes import Puppets


class Performer:
    """Carries out steps. Each write stores another number, so that content can be compared."""

    def __init__(self, puppets: "Puppets", memcg: "Memcg | None") -> None:
        self.puppets = puppets
        self.memcg = memcg
        self.numbers = count(1)
        self.written = 0
        """The number that the last write stored."""

    def do(self, step: "Step") -> int:
        """Carry out a step; return 0 or -errno, or for a Read the number in the page."""
        if step.reclaim:
            self.reclaim()
            return 0
        op = step.ops[0]
        if isinstance(op, Fork):
            return self.puppets.fork(op.mm, op.child)
        if isinstance(op, Exit):
            self.puppets.exit(op.mm)
            return 0
        command = command_of(op)
        if isinstance(op, Write):
            self.written = next(self.numbers)
            return self.puppets.call(op.mm, *command, self.written)
        return self.puppets.call(op.mm, *command)

    def reclaim(self) -> None:
        """Reclaim all pages of all puppets, once."""
        if self.memcg is None:
            raise OracleError("there is no memory cgroup, so nothing can be reclaimed")
        self.memcg.reclaim()


def command_of(op: Operation) -> tuple[str, *tuple[int, ...]]:
    """Return the command with which a puppet performs `op`, and its arguments.

    Slot 0, the nursery, performs operations that belong to no process.
    """
    if not op.syscall.puppet:
        raise OracleError(f"puppets cannot perform {op}")
    return op.syscall.puppet, *op.syscall.to_puppet(op)
