"""The workloads: what people measured in mails about rmap, as operations of the model.

Each workload is a function of a scheme and a scale that yields what it measured. Its set-up is not
counted. The scale is the number of processes, pages or windows. `figures.py` computes the cost at
other scales from the cost of one mapping, one child or one walk.
"""

from collections.abc import Callable, Iterator

import attrs

from rmapcheck.cost.machine import BITS64, I386, Machine, Steps
from rmapcheck.model.operations import Exec, Exit, Fork, Mmap, Write
from rmapcheck.model.operations.file import MmapFile
from rmapcheck.model.scheme import Scheme
from rmapcheck.model.schemes.pte_chain import PteChainChunks, with_line

NRPTE = 7
"""Slots of a chunk that fills a cache line: 32 bytes on i386, 64 on a 64-bit machine."""


@attrs.frozen(kw_only=True)
class Measured:
    """What was counted on one scheme in one phase of a workload."""

    workload: str
    phase: str
    scale: int
    steps: Steps
    per: int
    """How often the phase did its work: the number of children, pages or walks."""
    unit: str
    """What `per` counts, such as "child"."""
    size: tuple[int, int] = (0, 0)
    """Bytes of the scheme's structs at the end, on i386 and 64-bit."""
    mappings: int = 0
    precision: tuple[int, int, int] = (0, 0, 0)
    """Of the walk for one page: nodes touched, entries visited, and entries that map the page."""


@attrs.frozen
class Workload:
    """A workload, its name and the scale that it has by default."""

    name: str
    title: str
    scale: int
    run: Callable[[type[Scheme], int], Iterator[Measured]]
    files: bool = False


def with_full_chunks(scheme: type[Scheme]) -> type[Scheme]:
    """Return `scheme` with chunks as long as a cache line; searches use shorter ones."""
    return with_line(scheme, NRPTE) if issubclass(scheme, PteChainChunks) else scheme


class _Phase:
    """Counts the steps since it was made, or since its last `end`."""

    def __init__(self, machine: Machine, workload: str, scale: int) -> None:
        self.machine = machine
        self.workload = workload
        self.scale = scale
        self.before = machine.steps

    def end(
        self, phase: str, per: int, unit: str, precision: tuple[int, int, int] = (0, 0, 0)
    ) -> Measured:
        """Return what was counted since the last `end`."""
        m = self.machine
        steps = m.steps - self.before
        self.before = m.steps
        return Measured(
            workload=self.workload,
            phase=phase,
            scale=self.scale,
            steps=steps,
            per=per,
            unit=unit,
            size=(m.size(I386), m.size(BITS64)),
            mappings=m.mappings(),
            precision=precision,
        )


def fork_exit(scheme: type[Scheme], n: int) -> Iterator[Measured]:
    """A process maps n pages of a file and n/4 anonymous pages; it forks, and the child exits."""
    own = max(n // 4, 1)
    m = Machine(
        with_full_chunks(scheme),
        mms=2,
        pages=n + own,
        folios=3 * n,
        objects=8 * n,
        files=1,
        file_pages=n,
    )
    m.do(MmapFile(mm=1, start=0, length=n, file=1, pgoff=0, shared=False))
    m.do(Mmap(mm=1, start=n, length=own))
    m.read_all(1, 0, n)
    for address in range(n, n + own):
        m.do(Write(mm=1, address=address))
    phase = _Phase(m, "fork_exit", n)
    for _ in range(4):
        m.do(Fork(mm=1, child=2))
        m.do(Exit(mm=2))
    yield phase.end("fork and exit", 4, "child")


def database(scheme: type[Scheme], n: int, few: int = 4) -> Iterator[Measured]:
    """n processes map the same n pages of shared memory; then `few` of them are reclaimed."""
    m = Machine(with_full_chunks(scheme), mms=n, pages=n, vmas=n + 1, folios=n + 1, objects=n * n,
    files=1,
                file_pages=n)  # fmt: skip
    m.do(MmapFile(mm=1, start=0, length=n, file=1, pgoff=0, shared=True))
    for child in range(2, n + 1):
        m.do(Fork(mm=1, child=child))
    phase = _Phase(m, "database", n)
    for mm in range(1, n + 1):
        m.read_all(mm, 0, n)
    yield phase.end("every process touches every page", n * n, "mapping")
    precision = m.precision(m.folio_at(1, 0)) if not scheme.virtual_scan else (0, 0, 0)
    phase = _Phase(m, "database", n)
    few = min(n, few)
    for index in range(few):
        m.reclaim_file(1, index, index)
    yield phase.end("reclaim", few, "page", precision)


def shells(scheme: type[Scheme], n: int) -> Iterator[Measured]:
    """A shell with 16 pages starts n programs, each of which execs and exits."""
    m = Machine(
        with_full_chunks(scheme),
        mms=n + 1,
        pages=18,
        vmas=4 * n + 4,
        folios=18 * n,
        objects=64 * n,
    )
    m.do(Mmap(mm=1, start=0, length=16))
    for address in range(16):
        m.do(Write(mm=1, address=address))
    phase = _Phase(m, "shells", n)
    for child in range(2, n + 2):
        m.do(Fork(mm=1, child=child))
    for child in range(2, n + 2):
        m.do(Exec(mm=child))
    for child in range(2, n + 2):
        m.do(Exit(mm=child))
    yield phase.end("fork, exec and exit", n, "shell")


def children(scheme: type[Scheme], n: int) -> Iterator[Measured]:
    """A server with n pages has n children, each of which writes to all; then pages are freed."""
    m = Machine(with_full_chunks(scheme), mms=n + 1, pages=n, vmas=2 * n + 4, folios=n * (n + 2),
    swaps=n,
                objects=2 * n * (n + 2))  # fmt: skip
    m.do(Mmap(mm=1, start=0, length=n))
    for address in range(n):
        m.do(Write(mm=1, address=address))
    phase = _Phase(m, "children", n)
    for child in range(2, n + 2):
        m.do(Fork(mm=1, child=child))
    yield phase.end("fork", n, "child")
    for child in range(2, n + 2):
        for address in range(n):
            m.do(Write(mm=child, address=address))
    yield phase.end("each child writes to every page", n * n, "page")
    last = n + 1
    precision = m.precision(m.folio_at(last, 0)) if not scheme.virtual_scan else (0, 0, 0)
    few = min(n, 4)
    phase = _Phase(m, "children", n)
    for address in range(few):
        m.reclaim_anon(last, address)
    yield phase.end("reclaim of a child's page", few, "page", precision)


def windows(scheme: type[Scheme], n: int) -> Iterator[Measured]:
    """One process maps n separate windows of a file, one page each; then pages are reclaimed."""
    m = Machine(with_full_chunks(scheme), mms=1, pages=2 * n, vmas=n + 1, folios=n + 1, objects=2 *
    n, files=1,
                file_pages=n)  # fmt: skip
    for i in range(n):
        m.do(MmapFile(mm=1, start=2 * i, length=1, file=1, pgoff=i, shared=True))
        m.read_all(1, 2 * i, 1)
    middle = n // 2
    precision = m.precision(m.folio_at(1, 2 * middle)) if not scheme.virtual_scan else (0, 0, 0)
    few = min(n, 4)
    phase = _Phase(m, "windows", n)
    for i in range(middle, middle + few):
        m.reclaim_file(1, 2 * i, i)
    yield phase.end("reclaim", few, "page", precision)


def generations(scheme: type[Scheme], n: int) -> Iterator[Measured]:
    """Process 1 forks 2, 2 forks 3 … to depth n; all stay alive; the last one's page is freed."""
    m = Machine(with_full_chunks(scheme), mms=n + 1, pages=1, vmas=2 * n + 4, folios=2 * n + 4,
    swaps=4,
                objects=2 * n * n + 64)  # fmt: skip
    m.do(Mmap(mm=1, start=0, length=1))
    m.do(Write(mm=1, address=0))
    phase = _Phase(m, "generations", n)
    for child in range(2, n + 2):
        m.do(Fork(mm=child - 1, child=child))
    yield phase.end("fork", n, "generation")
    m.do(Write(mm=n + 1, address=0))
    precision = m.precision(m.folio_at(n + 1, 0)) if not scheme.virtual_scan else (0, 0, 0)
    phase = _Phase(m, "generations", n)
    m.reclaim_anon(n + 1, 0)
    yield phase.end("reclaim of the last one's page", 1, "page", precision)


WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload("fork_exit", "fork and exit of a process that maps a file", 80, fork_exit, True),
        Workload("database", "N processes share N pages of a file", 60, database, True),
        Workload("shells", "a shell starts N programs", 60, shells),
        Workload("children", "a server, N children, N pages of each", 60, children),
        Workload("windows", "N separate windows of one file", 120, windows, True),
        Workload("generations", "a line of N forks, all alive", 60, generations),
    )
}


def measure(scheme: type[Scheme], name: str, scale: int = 0) -> list[Measured]:
    """Return the phases of workload `name` on `scheme`; `scale` 0 means the workload's default."""
    workload = WORKLOADS[name]
    return list(workload.run(scheme, scale or workload.scale))
