"""The operations: what processes and the kernel can do, as data.

A run is a list of operations. Each operation is a frozen attrs instance, so that a run prints as a
program, saves as JSON and replays. `possible` yields the operations of one class that have an
effect in a state; exhaustive search, the random walker and Hypothesis all choose from that list. A
page is named (mm, address): frames, slots and rmap objects have no names outside the model.
"""

from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.model.machine.errors import KernelOops, SchemeError
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import claim
from rmapcheck.model.mm.virtual_scan import mmlist_add
from rmapcheck.model.operations.base import (
    ADVICE_NAMES,
    PROTECTION_NAMES,
    PROTECTIONS,
    Operation,
)
from rmapcheck.model.operations.file import MmapFile, PunchHole, Reclaim, RemapFilePages, Truncate
from rmapcheck.model.operations.memory import Brk, Madvise, Mlock, Mmap, Mprotect, Mremap, Munmap
from rmapcheck.model.operations.process import Exec, Exit, Fork, Read, Write
from rmapcheck.model.operations.reclaim import (
    FolioReferenced,
    SwapOut,
    SwapScan,
    Unuse,
    folio_named,
)

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

__all__ = [
    "ADVICE_NAMES",
    "BY_NAME",
    "OPERATIONS",
    "PROTECTIONS",
    "PROTECTION_NAMES",
    "Brk",
    "Exec",
    "Exit",
    "FolioReferenced",
    "Fork",
    "Madvise",
    "Mlock",
    "Mmap",
    "MmapFile",
    "Mprotect",
    "Mremap",
    "Munmap",
    "Operation",
    "Outcome",
    "PunchHole",
    "Read",
    "Reclaim",
    "RemapFilePages",
    "SwapOut",
    "SwapScan",
    "Truncate",
    "Unuse",
    "Write",
    "boot",
    "folio_named",
    "possible_operations",
    "rename",
    "run",
]


OPERATIONS: tuple[type[Operation], ...] = (
    Mmap,
    Brk,
    Munmap,
    Mprotect,
    Read,
    Write,
    Fork,
    Exec,
    Exit,
    Mremap,
    Madvise,
    SwapOut,
    SwapScan,
    FolioReferenced,
    MmapFile,
    Reclaim,
    Truncate,
    PunchHole,
    RemapFilePages,
    Unuse,
    Mlock,
)
BY_NAME: dict[str, type[Operation]] = {cls.name: cls for cls in OPERATIONS}


def possible_operations(st: "Kernel") -> list[Operation]:
    """Return all operations that have an effect in `st`, in a fixed order, none with `fail`."""
    scope = st.scope
    return [op for cls in OPERATIONS if cls.exists(scope) for op in cls.possible(st)]


def rename(op: Operation, names: dict[int, int]) -> Operation:
    """Return `op` with its processes renamed by `names`."""
    changes: dict[str, Any] = {"mm": names[op.mm] if op.mm else 0}
    if isinstance(op, Fork):
        changes["child"] = names[op.child]
    return attrs.evolve(op, **changes)


@attrs.frozen
class Outcome:
    """The result of an operation, apart from the new state."""

    error: int = 0
    """0 or -errno."""
    oops: KernelOops | None = None
    splats: tuple[str, ...] = ()
    """Errors in the use of locks, as sentences."""
    exhausted: str = ""
    """The pool that was too small for this step in this scope, or ""; the step then does not
    count."""
    allocations: int = 0
    passed: tuple[str, ...] = ()
    """Branches that the operation took (rmapcheck.model.branches)."""


def run(st: "Kernel", op: Operation) -> Outcome:
    """Apply `op` to `st` and return what happened."""
    st.begin(op.fail)
    error = 0
    oops = None
    tell(st, "begin", op.mm)
    try:
        error = op.apply(st)
        tell(st, "end", op.mm)
    except KernelOops as caught:
        oops = caught
    if st.held and oops is None:
        st.splats.extend(f"{lock} is still held at the end" for lock in st.held)
    return Outcome(error, oops, tuple(st.splats), st.exhausted, st.nr_allocs, tuple(st.passed))


def boot(st: "Kernel", mm: int = 1) -> None:
    """Create the first state: one process, with `premapped` pages mapped and nothing else.

    Raise SchemeError if the scheme cannot do that.
    """
    claim(st.mm, mm)
    try:
        st.scheme.exec_rmap(st)
        st.scheme.exec_mmap(st, mm)
    except KernelOops as oops:
        name = st.scheme.name
        raise SchemeError(f"scheme {name!r} fails for the first process: {oops}") from oops
    for file in range(1, st.scope.files + 1):
        st.address_space[file].i_size = st.scope.file_pages
    if st.scheme.virtual_scan:
        mmlist_add(st, mm, 0)
    if st.scope.premapped:
        run(st, Mmap(mm=mm, start=0, length=st.scope.premapped))
