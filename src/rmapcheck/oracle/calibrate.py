"""What must be seen is let happen once, before anything is compared: does this machine show it?

A container may hide frame numbers (they are 0 without CAP_SYS_ADMIN), another kernel may name its
slab caches otherwise, or lack what the model has. That is a skip with its reason, no difference.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.model.machine.errors import EFAULT
from rmapcheck.model.operations import Madvise, Mmap, MmapFile, Munmap, Operation, Read, Write
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.stage import Stage, Wishes

if TYPE_CHECKING:
    from rmapcheck.oracle.observe.look import Frame

DONTFORK = "dontfork"
"""No tier, but skipped as one where a kernel does not keep what MADV_DONTFORK says."""


@contextmanager
def calibrated(wishes: Wishes) -> Iterator[Stage]:
    """Set up a stage, and skip the tiers of which this machine does not show enough."""
    with Stage(wishes) as stage:
        frames(stage)
        stage.attempt("swap", lambda: swap(stage), wanted=wishes.swap)
        stage.attempt("files", lambda: files(stage), wanted=wishes.files)
        stage.attempt(DONTFORK, lambda: dontfork(stage), wanted=True)
        stage.attempt("L2", stage.look_inside, wanted=wishes.structure)
        yield stage


@contextmanager
def _process(stage: Stage) -> Iterator[None]:
    """Have process 1 for a while, and whatever it forks."""
    stage.puppets.fork(0, 1)
    stage.allocations(None)
    try:
        yield
    finally:
        stage.puppets.exit_all()
        stage.allocations(None)


def _do(stage: Stage, op: Operation) -> int:
    return stage.performer.do(Step((op,)))


def _written(stage: Stage) -> None:
    for op in (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0)):
        if error := _do(stage, op):
            raise OracleError(f"a puppet cannot even map and write a page ({error})")


def _first_frame(stage: Stage) -> "Frame | None":
    entry = stage.observer.entries(stage.puppets.alive[1])[0]
    return stage.observer.frame(entry) if entry > 0 else None


def frames(stage: Stage) -> None:
    """Let the first page of a VMA be written to. Without frame numbers there is nothing."""
    with _process(stage):
        _written(stage)
        frame = _first_frame(stage)
        if frame is None or frame.mapcount != 1:
            raise Unavailable("/proc/PID/pagemap does not tell page frames here")
        if not frame.exclusive:
            raise Unavailable("/proc/kpageflags has no PageAnonExclusive here (before v6.1?)")
        tally = stage.allocations(None)
        pools = ("vma", "anon_vma", "anon_vma_chain")
        if tally is not None and any(tally.allocated.get(pool, 0) != 1 for pool in pools):
            stage.skipped["L1"] = f"the first page of a VMA made {tally}, not one of each"
            stage.recorder = None
        _do(stage, Munmap(mm=1, start=0, length=1))


def swap(stage: Stage) -> None:
    """Let a page go to swap and come back, exclusive as it was.

    User-mode Linux and others have no bit for that in a swap entry before v6.3
    (__HAVE_ARCH_PTE_SWP_EXCLUSIVE).
    """
    if stage.memcg is None:
        return
    with _process(stage):
        _written(stage)
        why = ""
        stage.performer.reclaim()
        if stage.look(Step((), reclaim=True)).frames:
            why = "reclaim of the cgroup does not take its pages"
        else:
            _do(stage, Read(mm=1, address=0))
            frame = _first_frame(stage)
            if frame is None or not frame.exclusive:
                why = "a swap entry does not remember here that its page was exclusive"
    if why:
        stage.memcg = stage.performer.memcg = None
        raise Unavailable(why)


def files(stage: Stage) -> None:
    """Let a range of a file be written to, and read anew, which maps all of it.

    A machine may have no map-around of faults (fault_around_bytes in debugfs).
    """
    if stage.files is None:
        return
    pages = min(2, stage.wishes.pages)
    ops = (
        MmapFile(mm=1, start=0, length=pages, file=1, pgoff=0, shared=True),
        *(Write(mm=1, address=page) for page in range(pages)),
        Madvise(mm=1, start=0, length=pages, advice="dontneed"),
        Read(mm=1, address=0),
    )
    with _process(stage):
        errors = [result for op in ops if (result := _do(stage, op)) < 0]
        look = stage.observer.look(stage.puppets)
    mapped = [f.mapcount for f in look.frames.values() if not f.anon]
    why = ""
    if errors:
        why = f"a puppet cannot map and write a page of a file ({errors[0]})"
    elif look.cached != {(1, page) for page in range(pages)}:
        why = "mincore() does not tell what the page cache has"
    elif mapped != [1] * pages:
        why = f"a read fault maps {len(mapped)} of {pages} cached pages"
    if why:
        stage.files = stage.observer.files = None
        raise Unavailable(why)


def dontfork(stage: Stage) -> None:
    """Fork a process whose only page is not to be copied; the child must have none.

    In user-mode Linux v6.1 it has: the host's process is copied whole.
    """
    if stage.wishes.processes < 2:
        return
    with _process(stage):
        _written(stage)
        _do(stage, Madvise(mm=1, start=0, length=1, advice="dontfork"))
        stage.puppets.fork(1, 2)
        seen = _do(stage, Read(mm=2, address=0))
    if seen != -EFAULT:
        raise Unavailable("a child has what MADV_DONTFORK kept from it")
