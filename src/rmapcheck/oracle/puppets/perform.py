"""How the puppets carry out a step of the model."""

from itertools import count
from typing import TYPE_CHECKING

from rmapcheck.host.errors import OracleError
from rmapcheck.model.operations import (
    PROTECTIONS,
    Exit,
    Fork,
    Madvise,
    Mmap,
    MmapFile,
    Mprotect,
    Mremap,
    Munmap,
    Operation,
    PunchHole,
    Read,
    SwapOut,
    Truncate,
    Write,
)
from rmapcheck.oracle.puppets import processes as p

if TYPE_CHECKING:
    from rmapcheck.host.swapping import Memcg
    from rmapcheck.oracle.comparison import Step
    from rmapcheck.oracle.puppets.processes import Puppets

MADV_PAGEOUT = 21
ADVICE = {"dontneed": 4, "dontfork": 10, "dofork": 11, "wipeonfork": 18, "keeponfork": 19}
"""asm-generic/mman-common.h"""


class Performer:
    """Carries out steps. Each write stores a number that no other did."""

    def __init__(self, puppets: "Puppets", memcg: "Memcg | None") -> None:
        self.puppets = puppets
        self.memcg = memcg
        self.numbers = count(1)
        self.written = 0
        """What the last write stored."""

    def do(self, step: "Step") -> int:
        """Carry out a step; return 0 or -errno, or of a Read the number that it found."""
        if step.reclaim:
            self.reclaim()
            return 0
        op = step.ops[0]
        if isinstance(op, Fork):
            return self.puppets.fork(op.mm, op.child)
        if isinstance(op, Exit):
            self.puppets.exit(op.mm)
            return 0
        if isinstance(op, Truncate):
            return self.puppets.call(0, p.TRUNCATE, op.file, op.size)
        if isinstance(op, PunchHole):
            return self.puppets.call(0, p.PUNCH_HOLE, op.file, op.index, op.length)
        if isinstance(op, Write):
            self.written = next(self.numbers)
            return self.puppets.call(op.mm, p.WRITE, op.address, self.written)
        return self.puppets.call(op.mm, *command_of(op))

    def reclaim(self) -> None:
        """Reclaim all pages of all puppets, once."""
        if self.memcg is None:
            raise OracleError("there is no cgroup to reclaim")
        self.memcg.reclaim()


def command_of(op: Operation) -> tuple[int, ...]:
    """Return the command that lets a puppet perform `op`."""
    match op:
        case Mmap():
            return p.MMAP, op.start, op.length, PROTECTIONS[op.prot]
        case MmapFile():
            what = PROTECTIONS[op.prot] + p.SHARED * op.shared
            return p.MMAP_FILE, op.start, op.length, what, op.file, op.pgoff
        case Munmap():
            return p.MUNMAP, op.start, op.length
        case Mprotect():
            return p.MPROTECT, op.start, op.length, PROTECTIONS[op.prot]
        case Mremap():
            return p.MREMAP, op.start, op.length, op.new_length, op.to, int(op.dontunmap)
        case Madvise():
            return p.MADVISE, op.start, op.length, ADVICE[op.advice]
        case Read():
            return p.READ, op.address
        case SwapOut():
            return p.MADVISE, op.address, 1, MADV_PAGEOUT
    raise OracleError(f"puppets cannot perform {op}")
