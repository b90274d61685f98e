"""Draws the next step: at random, or so that the model meets rules that were met seldom.

The arguments of an operation are drawn whether or not they make sense. (`possible` lists only
operations that have an effect, but the kernel must also agree about those without one, and about
errors.) A directed choice draws several steps, runs each in the model, and keeps the one whose
rules were met least often so far.

Each episode uses a random part of the pages and processes, and prefers some kinds of operation
(swarm testing).
"""

from random import Random
from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.machine.state import folio_test_anon, pte_offset
from rmapcheck.model.machine.structs import VM_ACCESS_FLAGS, VM_SHARED, VM_WRITE
from rmapcheck.model.operations import (
    ADVICE_NAMES,
    OPERATIONS,
    PROTECTION_NAMES,
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
    Reclaim,
    SwapOut,
    Truncate,
    Write,
)
from rmapcheck.model.operations.reclaim import folio_named
from rmapcheck.oracle.comparison import Step

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

KINDS = tuple(kind for kind in OPERATIONS if kind.syscall.puppet)
"""What puppets can perform."""
ON_FILES = tuple(kind for kind in KINDS if kind.needs == "files")
WEIGHTS = {
    Mmap: 3,
    Write: 6,
    Fork: 3,
    Mprotect: 3,
    Mremap: 3,
    SwapOut: 1,
    MmapFile: 3,
    Truncate: 1,
    PunchHole: 1,
}
"""Relative frequency of each kind of operation; 2 for kinds that are not listed."""
SHARED = 0.4
"""Proportion of file mappings that are shared."""
SWARM = (0, 1, 1, 3)
"""An episode multiplies each weight by one of these; by 0 only for kinds not in `ALWAYS`."""
ALWAYS = (Mmap, Write, Fork)
WITH_FILES = 0.5
"""Proportion of episodes that map files."""
ALIKE = 0.25
"""Proportion of operations that are made to fit a neighbour, so that VMAs may merge."""
NAME_OF = {flags: name for name, flags in PROTECTIONS.items()}


@attrs.frozen
class Mix:
    """What one episode uses: pages, processes, files, kinds of operation and their weights."""

    pages: int
    processes: int
    files: int
    advices: tuple[str, ...]
    kinds: tuple[type[Operation], ...]
    weights: tuple[int, ...]

    @classmethod
    def drawn(
        cls,
        rng: Random,
        pages: int,
        processes: int,
        *,
        swap: bool,
        files: int = 0,
        advices: tuple[str, ...] = ADVICE_NAMES,
    ) -> "Mix":
        """Draw a mix with at most so many pages, processes and files; half of them use no file."""
        kinds, weights = [], []
        files = rng.randint(1, files) if files and rng.random() < WITH_FILES else 0
        for kind in KINDS:
            weight = WEIGHTS.get(kind, 2) * rng.choice(SWARM[1:] if kind in ALWAYS else SWARM)
            if weight and (swap or kind is not SwapOut) and (files or kind not in ON_FILES):
                kinds.append(kind)
                weights.append(weight)
        fewest = min(3, pages)
        return cls(
            pages=rng.randint(fewest, pages),
            processes=rng.randint(1, processes),
            files=files,
            advices=advices,
            kinds=tuple(kinds),
            weights=tuple(weights),
        )


def propose(st: "Kernel", rng: Random, mix: Mix) -> Step | None:
    """Draw a step; return None if the drawn operation is not possible now."""
    kind = rng.choices(mix.kinds, mix.weights)[0]
    mm = rng.choice(st.mm.indices())
    if kind is SwapOut:
        return reclaim_step(st, rng, mm)
    op = DRAW[kind](st, rng, mix, mm)
    return Step((op,)) if op is not None and op.enabled(st) else None


def reclaim_all(st: "Kernel") -> Step | None:
    """Return the step that reclaims all pages, or None if there are none."""
    ops = (*SwapOut.possible(st), *Reclaim.possible(st))
    return Step(ops, reclaim=True) if ops else None


def reclaim_step(st: "Kernel", rng: Random, mm: int) -> Step | None:
    """Draw a step that reclaims all pages, or swaps out one page with a single mapping."""
    if rng.random() < 0.4:
        return reclaim_all(st)
    alone = [
        address
        for address in range(st.pages)
        if (folio := folio_named(st, mm, address))
        and st.pte[pte_offset(st, mm, address)].folio == folio
        and st.folio[folio].mapcount == 1
        and folio_test_anon(st, folio)
    ]
    return Step((SwapOut(mm=mm, address=rng.choice(alone)),)) if alone else None


def _range(rng: Random, pages: int) -> tuple[int, int]:
    """Draw a start and a length; short ranges are more likely."""
    start = rng.randrange(pages)
    most = pages - start
    return start, min(rng.randint(1, most), rng.randint(1, most))


def _mmap(_st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    start, length = _range(rng, mix.pages)
    prot = rng.choice(("rw", "rw", "rwx", *PROTECTION_NAMES))
    return Mmap(mm=mm, start=start, length=length, prot=prot)


def _mmap_file(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    if rng.random() < ALIKE and (op := file_range_beside(st, rng, mix, mm)) is not None:
        return op
    start, length = _range(rng, min(mix.pages, st.scope.file_pages))
    start = rng.randint(start, mix.pages - length)
    return MmapFile(
        mm=mm,
        start=start,
        length=length,
        file=rng.randint(1, mix.files),
        pgoff=rng.randint(0, st.scope.file_pages - length),
        shared=rng.random() < SHARED,
        prot=rng.choice(("rw", "rw", "rwx", *PROTECTION_NAMES)),
    )


def file_range_beside(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation | None:
    """Draw an mmap that continues a mapped range of a file, so that the two may merge."""
    found = []
    vma = st.mm[mm].mmap
    while vma:
        v = st.vma[vma]
        following = v.vm_pgoff + v.vm_end - v.vm_start
        if v.vm_file and v.vm_end < mix.pages and following < st.scope.file_pages:
            found.append((vma, v.vm_end, following))
        if v.vm_file and v.vm_start and v.vm_pgoff:
            found.append((vma, v.vm_start - 1, v.vm_pgoff - 1))
        vma = v.vm_next
    if not found:
        return None
    vma, start, pgoff = rng.choice(found)
    v = st.vma[vma]
    prot = NAME_OF.get(v.vm_flags & VM_ACCESS_FLAGS, "rw")
    shared = v.vm_flags & VM_SHARED != 0
    file = v.vm_file
    return MmapFile(mm=mm, start=start, length=1, file=file, pgoff=pgoff, shared=shared, prot=prot)


def _truncate(st: "Kernel", rng: Random, mix: Mix, _mm: int) -> Operation:
    file = rng.randint(1, mix.files)
    full = st.scope.file_pages
    short = st.address_space[file].i_size < full
    return Truncate(file=file, size=full if short else rng.randint(0, full))


def _punch_hole(st: "Kernel", rng: Random, mix: Mix, _mm: int) -> Operation | None:
    file = rng.randint(1, mix.files)
    size = st.address_space[file].i_size
    if size == 0:
        return None
    index, length = _range(rng, size)
    return PunchHole(file=file, index=index, length=length)


def _munmap(_st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    start, length = _range(rng, mix.pages)
    return Munmap(mm=mm, start=start, length=length)


def _mprotect(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    if rng.random() < ALIKE and (op := mprotect_like_neighbour(st, rng, mm)) is not None:
        return op
    start, length = _range(rng, mix.pages)
    prot = rng.choice(("rw", "rwx", *PROTECTION_NAMES))
    return Mprotect(mm=mm, start=start, length=length, prot=prot)


def mprotect_like_neighbour(st: "Kernel", rng: Random, mm: int) -> Operation | None:
    """Draw an mprotect that gives a VMA its neighbour's protection, so that they may merge."""
    pairs = []
    vma = st.mm[mm].mmap
    while vma:
        following = st.vma[vma].vm_next
        if following and st.vma[vma].vm_end == st.vma[following].vm_start:
            pairs += [(vma, following), (following, vma)]
        vma = following
    if not pairs:
        return None
    vma, like = rng.choice(pairs)
    v = st.vma[vma]
    prot = NAME_OF.get(st.vma[like].vm_flags & VM_ACCESS_FLAGS, "rw")
    return Mprotect(mm=mm, start=v.vm_start, length=v.vm_end - v.vm_start, prot=prot)


def _madvise(_st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    start, length = _range(rng, mix.pages)
    return Madvise(mm=mm, start=start, length=length, advice=rng.choice(mix.advices))


def _read(_st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    return Read(mm=mm, address=rng.randrange(mix.pages))


def write_between(st: "Kernel", rng: Random, mm: int) -> Operation | None:
    """Draw a first write to a VMA between two others, one of whose anon_vmas it may adopt."""
    between = []
    before = st.mm[mm].mmap
    while before and (vma := st.vma[before].vm_next):
        v, following = st.vma[vma], st.vma[vma].vm_next
        if v.anon_vma == 0 and following and st.vma[before].vm_end == v.vm_start:
            if v.vm_end == st.vma[following].vm_start and v.vm_flags & VM_WRITE:
                between.append(vma)
        before = vma
    return Write(mm=mm, address=st.vma[rng.choice(between)].vm_start) if between else None


def _write(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    if rng.random() < ALIKE and (op := write_between(st, rng, mm)) is not None:
        return op
    return Write(mm=mm, address=rng.randrange(mix.pages))


def _fork(st: "Kernel", _rng: Random, mix: Mix, mm: int) -> Operation | None:
    for child in range(1, mix.processes + 1):
        if not st.mm.is_live(child):
            return Fork(mm=mm, child=child)
    return None


def _exit(_st: "Kernel", _rng: Random, _mix: Mix, mm: int) -> Operation:
    return Exit(mm=mm)


def mremap_to_own_pgoff(st: "Kernel", rng: Random, mm: int) -> Operation | None:
    """Draw an mremap of a VMA to the place that fits its vm_pgoff, so that it may merge there."""
    away = []
    vma = st.mm[mm].mmap
    while vma:
        v = st.vma[vma]
        length = v.vm_end - v.vm_start
        if abs(v.vm_pgoff - v.vm_start) >= length and v.vm_pgoff + length <= st.pages:
            away.append(vma)
        vma = v.vm_next
    if not away:
        return None
    v = st.vma[rng.choice(away)]
    length = v.vm_end - v.vm_start
    return Mremap(mm=mm, start=v.vm_start, length=length, new_length=length, to=v.vm_pgoff)


def _mremap(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    if rng.random() < ALIKE and (op := mremap_to_own_pgoff(st, rng, mm)) is not None:
        return op
    start, length = _range(rng, mix.pages)
    way = rng.random()
    if way < 0.2:
        new_length = rng.randint(1, mix.pages - start)
        return Mremap(mm=mm, start=start, length=length, new_length=new_length)
    new_length = length if way < 0.85 else rng.randint(1, mix.pages)
    to = rng.randrange(mix.pages - new_length + 1)
    return Mremap(
        mm=mm,
        start=start,
        length=length,
        new_length=new_length,
        to=to,
        dontunmap=length == new_length and rng.random() < 0.35,
    )


DRAW = {
    Mmap: _mmap,
    Munmap: _munmap,
    Mprotect: _mprotect,
    Madvise: _madvise,
    Read: _read,
    Write: _write,
    Fork: _fork,
    Exit: _exit,
    Mremap: _mremap,
    MmapFile: _mmap_file,
    Truncate: _truncate,
    PunchHole: _punch_hole,
}
