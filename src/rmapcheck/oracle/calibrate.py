"""Checks once, before comparing anything, that this kernel exposes what we compare.

A container may hide frame numbers (they are 0 without CAP_SYS_ADMIN). Another kernel may give its
slab caches other names, or lack a feature of the model. In such a case the tier is skipped and the
reason is reported; it does not count as a difference.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.model.machine.errors import EFAULT
from rmapcheck.model.operations import Madvise, Mmap, MmapFile, Munmap, Operation, Read, Write
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.stage import Stage, StageOptions

if TYPE_CHECKING:
    from rmapcheck.oracle.observe.proc import Frame

DONTFORK = "dontfork"
"""Not a tier, but skipped like one on a kernel that does not honour MADV_DONTFORK."""


@contextmanager
def calibrated_stage(options: StageOptions) -> Iterator[Stage]:
    """Set up a stage, and skip the tiers that this machine does not support well enough."""
    with Stage(options) as stage:
        check_frames(stage)
        stage.attempt("swap", lambda: check_swapping(stage), wanted=options.swap)
        stage.attempt("files", lambda: check_files(stage), wanted=options.files)
        stage.attempt(DONTFORK, lambda: check_dontfork(stage), wanted=True)
        stage.attempt("L2", stage.read_structure, wanted=options.structure)
        yield stage


@contextmanager
def _process(stage: Stage) -> Iterator[None]:
    """Keep process 1, and all that it forks, alive for the length of a `with`."""
    stage.puppets.fork(0, 1)
    stage.allocations(None)
    try:
        yield
    finally:
        stage.puppets.exit_all()
        stage.allocations(None)


def _perform(stage: Stage, op: Operation) -> int:
    return stage.performer.do(Step((op,)))


def _written(stage: Stage) -> None:
    for op in (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0)):
        if error := _perform(stage, op):
            raise OracleError(f"a puppet cannot even map and write a page ({error})")


def _first_frame(stage: Stage) -> "Frame | None":
    entry = stage.observer.entries(stage.puppets.alive[1])[0]
    return stage.observer.frame(entry) if entry > 0 else None


def check_frames(stage: Stage) -> None:
    """Write to the first page of a VMA, and check that its frame and its objects can be seen.

    Raise Unavailable if frame numbers are hidden: without them nothing can be compared.
    """
    with _process(stage):
        _written(stage)
        frame = _first_frame(stage)
        if frame is None or frame.mapcount != 1:
            raise Unavailable("/proc/PID/pagemap does not show page frames here")
        if not frame.exclusive:
            raise Unavailable("/proc/kpageflags has no PageAnonExclusive here (before v6.1?)")
        tally = stage.allocations(None)
        pools = ("vma", "anon_vma", "anon_vma_chain")
        if tally is not None and any(tally.allocated.get(pool, 0) != 1 for pool in pools):
            stage.skipped["L1"] = f"the first write to a VMA allocated {tally}, not one of each"
            stage.recorder = None
        _perform(stage, Munmap(mm=1, start=0, length=1))


def check_swapping(stage: Stage) -> None:
    """Swap a page out and in, and check that it is still exclusive.

    Before v6.3, user-mode Linux and some architectures have no bit for that in a swap entry
    (__HAVE_ARCH_PTE_SWP_EXCLUSIVE).
    """
    if stage.memcg is None:
        return
    with _process(stage):
        _written(stage)
        why = ""
        stage.performer.reclaim()
        if stage.observe(Step((), reclaim=True)).frames:
            why = "reclaim of the cgroup does not reclaim its pages"
        else:
            _perform(stage, Read(mm=1, address=0))
            frame = _first_frame(stage)
            if frame is None or not frame.exclusive:
                why = "a swap entry does not record here that its page was exclusive"
    if why:
        stage.memcg = stage.performer.memcg = None
        raise Unavailable(why)


def check_files(stage: Stage) -> None:
    """Write to a range of a file, drop its entries, and check that one read maps all of it.

    Fault-around may be turned off on this machine (fault_around_bytes in debugfs).
    """
    if stage.files is None:
        return
    pages = min(2, stage.options.pages)
    ops = (
        MmapFile(mm=1, start=0, length=pages, file=1, pgoff=0, shared=True),
        *(Write(mm=1, address=page) for page in range(pages)),
        Madvise(mm=1, start=0, length=pages, advice="dontneed"),
        Read(mm=1, address=0),
    )
    with _process(stage):
        errors = [result for op in ops if (result := _perform(stage, op)) < 0]
        seen = stage.observer.observe(stage.puppets)
    mapped = [f.mapcount for f in seen.frames.values() if not f.anon]
    why = ""
    if errors:
        why = f"a puppet cannot map and write a page of a file ({errors[0]})"
    elif seen.cached != {(1, page) for page in range(pages)}:
        why = "mincore() does not show what the page cache has"
    elif mapped != [1] * pages:
        why = f"a read fault maps {len(mapped)} of {pages} cached pages"
    if why:
        stage.files = stage.observer.files = None
        raise Unavailable(why)


def check_dontfork(stage: Stage) -> None:
    """Fork a process whose only page is MADV_DONTFORK, and check that the child has no page.

    In user-mode Linux v6.1 the child has it, because the host's process is copied as a whole.
    """
    if stage.options.processes < 2:
        return
    with _process(stage):
        _written(stage)
        _perform(stage, Madvise(mm=1, start=0, length=1, advice="dontfork"))
        stage.puppets.fork(1, 2)
        seen = _perform(stage, Read(mm=2, address=0))
    if seen != -EFAULT:
        raise Unavailable("a child gets a range that is MADV_DONTFORK")
