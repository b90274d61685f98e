"""The VMAs of a process, as /proc/PID/maps shows them, and which of them share an anon_vma."""

from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.machine.structs import VM_ACCESS_FLAGS, VM_SHARED
from rmapcheck.model.operations import PROTECTIONS

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State

_NAMES = {flags: name for name, flags in PROTECTIONS.items()}


@attrs.frozen(kw_only=True)
class Mapping:
    """One VMA: a line of /proc/PID/maps. Addresses and offsets are numbers of pages."""

    start: int
    end: int
    """The first page behind it."""
    prot: str
    """A key of PROTECTIONS, such as "rw"."""
    pgoff: int
    """vm_pgoff, which /proc/PID/maps shows for files only."""
    file: int = 0
    """Number of the file that it maps; 0 for anonymous memory."""
    shared: bool = False
    """Whether it is a shared mapping."""
    anon_vma: int = 0
    """Number of its anon_vma; 0 if it has none, or if the scheme has no anon_vmas."""


def vmas_of(st: "State", mm: int) -> list[int]:
    """Return the VMAs of a process in list order, up to a freed or repeated one.

    A process that is not alive has none.
    """
    found: list[int] = []
    vma = st.mm[mm].mmap if st.mm.is_live(mm) else 0
    while vma and st.vma.is_live(vma) and vma not in found:
        found.append(vma)
        vma = st.vma[vma].vm_next
    return found


def maps(st: "State", mm: int) -> tuple[Mapping, ...]:
    """Return the VMAs of process `mm`, in the order of addresses; () if it is not alive."""
    return tuple(_mapping(st, vma) for vma in vmas_of(st, mm))


def _mapping(st: "State", vma: int) -> Mapping:
    v = st.vma[vma]
    return Mapping(
        start=v.vm_start,
        end=v.vm_end,
        prot=_NAMES[v.vm_flags & VM_ACCESS_FLAGS],
        pgoff=v.vm_pgoff,
        file=v.vm_file,
        shared=bool(v.vm_flags & VM_SHARED),
        anon_vma=v.anon_vma if "anon_vma" in st.scheme.fields.get("vma", ()) else 0,
    )
