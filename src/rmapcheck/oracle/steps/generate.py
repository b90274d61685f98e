"""Which step comes next: drawn at random, or such that the model meets a rule it has met least.

An operation is drawn with whatever arguments, sensible or not (`possible` lists only those that
have an effect; the kernel must also agree about those that have none, and about errors). Directed
choice draws several, takes each in the model, one step ahead, and keeps the one whose rules were
met least often so far.

Each episode plays with a random part of what there is (swarm testing): some pages, some processes,
some kinds of operation more often than others.
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
"""How often an episode draws a kind of operation, next to the others; not named: 2."""
SHARED = 0.4
"""Share of file mappings that are shared ones."""
SWARM = (0, 1, 1, 3)
"""An episode multiplies each weight by one of these; never 0 for `ALWAYS`."""
ALWAYS = (Mmap, Write, Fork)
WITH_FILES = 0.5
"""Share of episodes that map files."""
ALIKE = 0.25
"""Share of mprotect and mremap that are made to fit a neighbour."""
NAME_OF = {flags: name for name, flags in PROTECTIONS.items()}


@attrs.frozen
class Mix:
    """What one episode plays with."""

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
        """Draw a mix of at most so many pages, processes and files; half of them have no file."""
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
    """Draw a step, or None if what was drawn cannot be asked for now."""
    kind = rng.choices(mix.kinds, mix.weights)[0]
    mm = rng.choice(st.mm.indices())
    if kind is SwapOut:
        return reclaim_step(st, rng, mm)
    op = DRAW[kind](st, rng, mix, mm)
    return Step((op,)) if op is not None and op.enabled(st) else None


def reclaim_all(st: "Kernel") -> Step | None:
    """Return the step that takes all pages, or None where there are none."""
    ops = (*SwapOut.possible(st), *Reclaim.possible(st))
    return Step(ops, reclaim=True) if ops else None


def reclaim_step(st: "Kernel", rng: Random, mm: int) -> Step | None:
    """Swap out everything, or one page that has one mapping."""
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
    """Draw a start and a length; short ones are likelier."""
    start = rng.randrange(pages)
    most = pages - start
    return start, min(rng.randint(1, most), rng.randint(1, most))


def _mmap(_st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    start, length = _range(rng, mix.pages)
    prot = rng.choice(("rw", "rw", "rwx", *PROTECTION_NAMES))
    return Mmap(mm=mm, start=start, length=length, prot=prot)


def _mmap_file(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    if rng.random() < ALIKE and (op := beside(st, rng, mix, mm)) is not None:
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


def beside(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation | None:
    """Draw a range of a file that goes on where another ends, so that they may merge."""
    found = []
    vma = st.mm[mm].mmap
    while vma:
        v = st.vma[vma]
        behind = v.vm_pgoff + v.vm_end - v.vm_start
        if v.vm_file and v.vm_end < mix.pages and behind < st.scope.file_pages:
            found.append((vma, v.vm_end, behind))
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
    if rng.random() < ALIKE and (op := like_its_neighbour(st, rng, mm)) is not None:
        return op
    start, length = _range(rng, mix.pages)
    prot = rng.choice(("rw", "rwx", *PROTECTION_NAMES))
    return Mprotect(mm=mm, start=start, length=length, prot=prot)


def like_its_neighbour(st: "Kernel", rng: Random, mm: int) -> Operation | None:
    """Draw an mprotect that makes a VMA like the one behind it, so that they may merge."""
    pairs = []
    vma = st.mm[mm].mmap
    while vma:
        behind = st.vma[vma].vm_next
        if behind and st.vma[vma].vm_end == st.vma[behind].vm_start:
            pairs += [(vma, behind), (behind, vma)]
        vma = behind
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


def adopts(st: "Kernel", rng: Random, mm: int) -> Operation | None:
    """Draw a first write to a VMA between two, whose anon_vmas it may adopt."""
    between = []
    before = st.mm[mm].mmap
    while before and (vma := st.vma[before].vm_next):
        v, behind = st.vma[vma], st.vma[vma].vm_next
        if v.anon_vma == 0 and behind and st.vma[before].vm_end == v.vm_start:
            if v.vm_end == st.vma[behind].vm_start and v.vm_flags & VM_WRITE:
                between.append(vma)
        before = vma
    return Write(mm=mm, address=st.vma[rng.choice(between)].vm_start) if between else None


def _write(st: "Kernel", rng: Random, mix: Mix, mm: int) -> Operation:
    if rng.random() < ALIKE and (op := adopts(st, rng, mm)) is not None:
        return op
    return Write(mm=mm, address=rng.randrange(mix.pages))


def _fork(st: "Kernel", _rng: Random, mix: Mix, mm: int) -> Operation | None:
    for child in range(1, mix.processes + 1):
        if not st.mm.is_live(child):
            return Fork(mm=mm, child=child)
    return None


def _exit(_st: "Kernel", _rng: Random, _mix: Mix, mm: int) -> Operation:
    return Exit(mm=mm)


def moves_home(st: "Kernel", rng: Random, mm: int) -> Operation | None:
    """Draw an mremap of a VMA to where its vm_pgoff fits, so that it may merge there."""
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
    if rng.random() < ALIKE and (op := moves_home(st, rng, mm)) is not None:
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
