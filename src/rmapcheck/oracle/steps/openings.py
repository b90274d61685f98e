"""Openings: first steps that lead an episode to where the order of looking decides.

Random draws come there too, but seldom: between two neighbours that offer different anon_vmas
after some 20,000 operations. An opening is put at a random place, and what follows is drawn.
"""

from collections.abc import Callable
from random import Random

from rmapcheck.model.operations import (
    Exit,
    Fork,
    Mmap,
    MmapFile,
    Mprotect,
    Mremap,
    Munmap,
    Operation,
    Read,
    Write,
)

SHARE = 0.25
"""Share of episodes that begin with one."""
PAGES = 3
"""Pages that an opening needs, and as many beside them where it moves something."""

Opening = Callable[[int], list[Operation]]
"""From the first of its pages to its steps, in process 1 and those that it forks."""


def apart(at: int) -> list[Operation]:
    """Make two ranges with anon_vmas of their own, and one between them that has none::

    AABBCC   A and C written to, B not
    """
    return [
        Mmap(mm=1, start=at, length=3),
        Mprotect(mm=1, start=at + 1, length=1, prot="r"),
        Write(mm=1, address=at),
        Write(mm=1, address=at + 2),
    ]


def two_offers(at: int) -> list[Operation]:
    """Let the range between write: it adopts the anon_vma of one neighbour; which?"""
    return [
        *apart(at),
        Mprotect(mm=1, start=at + 1, length=1, prot="rwx"),
        Write(mm=1, address=at + 1),
    ]


def middle_joins(at: int) -> list[Operation]:
    """Make the range between like both neighbours, which do not agree."""
    return [*apart(at), Mprotect(mm=1, start=at + 1, length=1, prot="rw")]


def new_range_joins(at: int) -> list[Operation]:
    """Map the gap between two ranges that do not agree."""
    return [
        *apart(at),
        Munmap(mm=1, start=at + 1, length=1),
        Mmap(mm=1, start=at + 1, length=1),
    ]


def chain_from_next(at: int) -> list[Operation]:
    """Join three ranges of which the last alone has a chain (case 6)."""
    return [
        Mmap(mm=1, start=at, length=3),
        Mprotect(mm=1, start=at + 1, length=1, prot="r"),
        Write(mm=1, address=at + 2),
        Mprotect(mm=1, start=at + 1, length=1, prot="rw"),
    ]


def two_idle(at: int) -> list[Operation]:
    """Fork a chain with two anon_vmas that no VMA has for its own any more; which is reused?"""
    return [
        Mmap(mm=1, start=at, length=1),
        Write(mm=1, address=at),
        Fork(mm=1, child=2),
        Fork(mm=2, child=3),
        Fork(mm=3, child=4),
        Exit(mm=2),
        Exit(mm=3),
        Fork(mm=4, child=2),
    ]


def moved_home(at: int) -> list[Operation]:
    """Move what a fork child has beside a range that was never written to."""
    return [
        Mmap(mm=1, start=at, length=1),
        Write(mm=1, address=at),
        Fork(mm=1, child=2),
        Mremap(mm=2, start=at, length=1, new_length=1, to=at + 2),
        Mmap(mm=2, start=at + 1, length=1),
        Mremap(mm=2, start=at + 2, length=1, new_length=1, to=at),
    ]


def changed_child(at: int) -> list[Operation]:
    """Make what a fork child has like a range beside it that was never written to."""
    return [
        Mmap(mm=1, start=at, length=1),
        Write(mm=1, address=at),
        Fork(mm=1, child=2),
        Mmap(mm=2, start=at + 1, length=1, prot="rwx"),
        Mprotect(mm=2, start=at, length=1, prot="rwx"),
    ]


def half_copied(at: int) -> list[Operation]:
    """Fork a private range of a file that holds a page of the file and a copy of another."""
    return [
        MmapFile(mm=1, start=at, length=3, file=1, pgoff=0, shared=False),
        Read(mm=1, address=at),
        Write(mm=1, address=at + 1),
        Fork(mm=1, child=2),
    ]


def seen_first(at: int) -> list[Operation]:
    """Write to a page of a shared range that was read before."""
    return [
        MmapFile(mm=1, start=at, length=2, file=1, pgoff=1, shared=True),
        Read(mm=1, address=at),
        Fork(mm=1, child=2),
        Read(mm=2, address=at),
        Write(mm=1, address=at),
    ]


def stays_charged(at: int) -> list[Operation]:
    """Map the next page of a file beside one that was charged, and is read-only as well now."""
    return [
        MmapFile(mm=1, start=at, length=1, file=1, pgoff=0, shared=False),
        Mprotect(mm=1, start=at, length=1, prot="r"),
        MmapFile(mm=1, start=at + 1, length=1, file=1, pgoff=1, shared=False, prot="r"),
    ]


OPENINGS: tuple[Opening, ...] = (
    two_offers,
    middle_joins,
    new_range_joins,
    chain_from_next,
    two_idle,
    moved_home,
    changed_child,
)
ON_FILES: tuple[Opening, ...] = (half_copied, seen_first, stays_charged)


def drawn(rng: Random, pages: int, *, files: bool) -> list[Operation]:
    """Draw an opening, or none: an empty list."""
    if pages < PAGES or rng.random() >= SHARE:
        return []
    opening = rng.choice((*OPENINGS, *ON_FILES) if files else OPENINGS)
    return opening(rng.randint(0, pages - PAGES))
