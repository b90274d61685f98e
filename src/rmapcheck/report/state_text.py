"""A state as text: address spaces, pages, and the scheme's own objects.

    process 1   [AA.B]    one column for each page: the letter of its VMA
       PTEs     [12.~]    number of the folio, 0: zero page, ~: swapped out, .: nothing
       A: vma 1, pages 0-1, pgoff 0, rw-, anon_vma 1, anon_vma_chain 1 → 3
    folio 1: page 0 of process 1 (writable), mapcount 1, mapping anon_vma 1, index 0
    anon_vma 1: head anon_vma_chain 1 → 2

This works for any scheme: the objects and fields shown are those that the scheme declares. Fields
that are 0 are left out. The number of an object is its number in the pool. Freed objects are
marked "(freed)".
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rmapcheck.model.machine.fields import FieldInfo
from rmapcheck.model.machine.heap import Pool
from rmapcheck.model.machine.state import pte_offset, ptep_to_address, ptep_to_mm
from rmapcheck.model.machine.structs import (
    CORE,
    PTE_EXCLUSIVE,
    PTE_WRITE,
    PTE_YOUNG,
    PTE_ZERO,
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_EXEC,
    VM_READ,
    VM_WIPEONFORK,
    VM_WRITE,
)
from rmapcheck.model.maps import vmas_of
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

FLAGS = {VM_ACCOUNT: "ACCOUNT", VM_DONTCOPY: "DONTCOPY", VM_WIPEONFORK: "WIPEONFORK"}

PTE_FLAGS = {PTE_WRITE: "writable", PTE_EXCLUSIVE: "exclusive", PTE_YOUNG: "young"}

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

DRAWN = ("vm_mm", "vm_start", "vm_end", "vm_pgoff", "vm_flags", "vm_next")
"""Fields of a VMA that are part of its picture."""


def state_text(st: "Kernel") -> str:
    """Return the picture of a state, as the head of this file shows it."""
    return "\n".join(state_lines(st))


def state_lines(st: "Kernel") -> Iterator[str]:
    """Yield the picture line by line: processes, pages, slots, then the scheme's objects."""
    for mm in st.mm.indices():
        yield from process_lines(st, mm)
    yield from _stray_lines(st)
    for pool in ("folio", "swap"):
        for index in pool_of(st, pool).indices():
            yield _joined(f"{pool} {index}", [*_places(st, pool, index), *fields(st, pool, index)])
    yield from object_lines(st)


def object_lines(st: "Kernel") -> Iterator[str]:
    """Yield a line for each of the scheme's own objects."""
    for pool in st.layout.structs:
        if pool not in CORE:
            for index in pool_of(st, pool).indices():
                yield _joined(f"{pool} {index}", list(fields(st, pool, index)))


def _joined(head: str, parts: list[str]) -> str:
    return f"{head}: {', '.join(parts)}" if parts else head


def pool_of(st: "Kernel", name: str) -> Pool[Any]:
    """Return the pool with that name, of the model or of the scheme."""
    pool: Pool[Any] = getattr(st, name)
    return pool


def process_lines(st: "Kernel", mm: int) -> Iterator[str]:
    """Yield the picture of one address space."""
    vmas = vmas_of(st, mm)
    letters = {vma: LETTERS[i] if i < len(LETTERS) else "#" for i, vma in enumerate(vmas)}
    columns = "".join(letters.get(vma_lookup(st, mm, a), ".") for a in range(st.pages))
    extra = [text for text in fields(st, "mm", mm) if not text.startswith("mmap ")]
    yield f"process {mm}   [{columns}]" + "".join(f"   {text}" for text in extra)
    yield f"   PTEs     [{''.join(_entry(st, mm, a) for a in range(st.pages))}]"
    for vma in vmas:
        yield f"   {letters[vma]}: {vma_line(st, vma)}"


def _entry(st: "Kernel", mm: int, address: int) -> str:
    p = st.pte[pte_offset(st, mm, address)]
    if p.folio:
        return DIGITS[p.folio] if p.folio < len(DIGITS) else "#"
    if p.swap:
        return "~"
    return "0" if p.flags & PTE_ZERO else "."


def vma_line(st: "Kernel", vma: int) -> str:
    """Return a VMA as one line: its number, pages, flags, and the scheme's fields."""
    v = st.vma[vma]
    pages = pages_text(v.vm_start, v.vm_end)
    parts = [f"vma {vma}", pages, f"pgoff {v.vm_pgoff}", flags_text(v.vm_flags)]
    for field in st.layout.structs["vma"].fields:
        if field.name not in DRAWN:
            parts += _field(st, "vma", vma, field)
    return ", ".join(parts)


def pages_text(start: int, end: int) -> str:
    """Return a range of pages as in "pages 0-2", or "page 2" if it is one."""
    return f"page {start}" if end == start + 1 else f"pages {start}-{end - 1}"


def flags_text(flags: int) -> str:
    """Return vm_flags as in "rw- ACCOUNT"."""
    bits = ((VM_READ, "r"), (VM_WRITE, "w"), (VM_EXEC, "x"))
    access = "".join(letter if flags & bit else "-" for bit, letter in bits)
    return " ".join([access, *(name for bit, name in FLAGS.items() if flags & bit)])


def _stray_lines(st: "Kernel") -> Iterator[str]:
    drawn = {vma for mm in st.mm.indices() for vma in vmas_of(st, mm)}
    for vma in st.vma.indices():
        if vma not in drawn:
            yield f"in no process: {vma_line(st, vma)}"


def _places(st: "Kernel", pool: str, index: int) -> Iterator[str]:
    """Yield the places where a folio is mapped or a swap slot is named."""
    for ptep in range(1, st.pte.size + 1):
        p = st.pte[ptep]
        if getattr(p, pool) == index:
            names = [name for bit, name in PTE_FLAGS.items() if p.flags & bit]
            yield place(st, ptep) + (f" ({', '.join(names)})" if names else "")


def place(st: "Kernel", ptep: int) -> str:
    """Return the place of an entry, as in "page 2 of process 1"."""
    return f"page {ptep_to_address(st, ptep)} of process {ptep_to_mm(st, ptep)}"


def fields(st: "Kernel", pool: str, index: int) -> Iterator[str]:
    """Yield the fields of an object that are not 0: references by name, lists in order."""
    for field in st.layout.structs[pool].fields:
        yield from _field(st, pool, index, field)


def _field(st: "Kernel", pool: str, index: int, field: FieldInfo) -> Iterator[str]:
    value = value_of(pool_of(st, pool)[index], field.name)
    if not value or field.name in links_of(st, pool):
        return
    named = "" if field.name == field.target else f"{field.name} "
    if field.target == "pte":
        yield f"{named}{place(st, value)}"
    elif field.target:
        order = " → ".join(list_from(st, pool, field, value))
        yield f"{named}{field.target} {order}"
    else:
        yield f"{field.name} {value}"


def value_of(obj: object, name: str) -> int:
    """Return the value of a field, or of an element of an array, as in "ptes[0]"."""
    array, _, rest = name.partition("[")
    value = getattr(obj, array)
    return int(value[int(rest[:-1])] if rest else value)


def list_from(st: "Kernel", pool: str, field: FieldInfo, first: int) -> Iterator[str]:
    """Yield the objects of the list that begins at a field; only `first` if it begins no list."""
    following = next_field(st, pool, field.target)
    seen: set[int] = set()
    at = first
    while at:
        if not pool_of(st, field.target).is_live(at):
            yield "(freed)" if at > st.layout.structs[field.target].size else f"{at} (freed)"
            return
        if at in seen:
            yield f"{at} …"
            return
        seen.add(at)
        yield str(at)
        at = value_of(pool_of(st, field.target)[at], following) if following else 0


def next_field(st: "Kernel", pool: str, target: str) -> str:
    """Return the field that links `target` objects in a list that begins in `pool`, or "".

    Such fields of the kernel are named after the head (`same_vma`, `anon_vma_node`), or have
    "next" in their name.
    """
    for link in links_of(st, target):
        if link in (f"same_{pool}", f"{pool}_node") or "next" in link:
            return link
    return ""


def links_of(st: "Kernel", pool: str) -> list[str]:
    """Return the fields that link objects of a pool into lists; those are shown at their heads."""
    return [
        f.name
        for f in st.layout.structs[pool].fields
        if f.target == pool
        and f.name not in DRAWN
        and (f.name.startswith("same_") or f.name.endswith("_node") or "next" in f.name)
    ]
