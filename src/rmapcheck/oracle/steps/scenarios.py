"""Scenarios: prepared first steps of an episode, for situations that random steps reach seldom.

Most are situations in which the order of checks decides. For example, a first write between two
neighbours that offer different anon_vmas comes up once in some 20,000 random operations. A
scenario starts at a random page; random steps follow it.
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
"""Proportion of episodes that begin with a scenario."""
PAGES = 3
"""Pages that a scenario uses."""

Scenario = Callable[[int], list[Operation]]
"""Takes the first of its pages; returns its steps, in process 1 and processes forked from it."""


def neighbours_with_own_anon_vmas(at: int) -> list[Operation]:
    """Make two VMAs with an anon_vma each, and one without between them::

    AABBCC   A and C were written to, B was not
    """
    return [
        Mmap(mm=1, start=at, length=3),
        Mprotect(mm=1, start=at + 1, length=1, prot="r"),
        Write(mm=1, address=at),
        Write(mm=1, address=at + 2),
    ]


def two_neighbours_offer(at: int) -> list[Operation]:
    """Write to the VMA between the two. The order of checks decides whose anon_vma it adopts."""
    return [
        *neighbours_with_own_anon_vmas(at),
        Mprotect(mm=1, start=at + 1, length=1, prot="rwx"),
        Write(mm=1, address=at + 1),
    ]


def mprotect_between_two_anon_vmas(at: int) -> list[Operation]:
    """Give the VMA between the two their protection. Only one side can merge with it."""
    return [*neighbours_with_own_anon_vmas(at), Mprotect(mm=1, start=at + 1, length=1, prot="rw")]


def mmap_between_two_anon_vmas(at: int) -> list[Operation]:
    """Map the gap between two VMAs with different anon_vmas. Only one side can merge with it."""
    return [
        *neighbours_with_own_anon_vmas(at),
        Munmap(mm=1, start=at + 1, length=1),
        Mmap(mm=1, start=at + 1, length=1),
    ]


def merge_takes_chain_of_next(at: int) -> list[Operation]:
    """Merge three VMAs of which only the last has a chain (case 6)."""
    return [
        Mmap(mm=1, start=at, length=3),
        Mprotect(mm=1, start=at + 1, length=1, prot="r"),
        Write(mm=1, address=at + 2),
        Mprotect(mm=1, start=at + 1, length=1, prot="rw"),
    ]


def fork_with_two_idle_anon_vmas(at: int) -> list[Operation]:
    """Fork a VMA whose chain has two anon_vmas that could be reused; the order decides which."""
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


def mremap_fork_child_back(at: int) -> list[Operation]:
    """Move a fork child's VMA away and back, beside a VMA that was never written to."""
    return [
        Mmap(mm=1, start=at, length=1),
        Write(mm=1, address=at),
        Fork(mm=1, child=2),
        Mremap(mm=2, start=at, length=1, new_length=1, to=at + 2),
        Mmap(mm=2, start=at + 1, length=1),
        Mremap(mm=2, start=at + 2, length=1, new_length=1, to=at),
    ]


def mprotect_fork_child(at: int) -> list[Operation]:
    """Give a fork child's VMA the protection of a VMA beside it that was never written to."""
    return [
        Mmap(mm=1, start=at, length=1),
        Write(mm=1, address=at),
        Fork(mm=1, child=2),
        Mmap(mm=2, start=at + 1, length=1, prot="rwx"),
        Mprotect(mm=2, start=at, length=1, prot="rwx"),
    ]


def fork_partly_copied_file(at: int) -> list[Operation]:
    """Fork a private range of a file that maps one page of the file and a copy of another."""
    return [
        MmapFile(mm=1, start=at, length=3, file=1, pgoff=0, shared=False),
        Read(mm=1, address=at),
        Write(mm=1, address=at + 1),
        Fork(mm=1, child=2),
    ]


def write_after_read(at: int) -> list[Operation]:
    """Write to a page of a shared range of a file that was read before."""
    return [
        MmapFile(mm=1, start=at, length=2, file=1, pgoff=1, shared=True),
        Read(mm=1, address=at),
        Fork(mm=1, child=2),
        Read(mm=2, address=at),
        Write(mm=1, address=at),
    ]


def mmap_beside_charged_range(at: int) -> list[Operation]:
    """Map the next page of a file read-only, beside a range that is read-only but was charged."""
    return [
        MmapFile(mm=1, start=at, length=1, file=1, pgoff=0, shared=False),
        Mprotect(mm=1, start=at, length=1, prot="r"),
        MmapFile(mm=1, start=at + 1, length=1, file=1, pgoff=1, shared=False, prot="r"),
    ]


SCENARIOS: tuple[Scenario, ...] = (
    two_neighbours_offer,
    mprotect_between_two_anon_vmas,
    mmap_between_two_anon_vmas,
    merge_takes_chain_of_next,
    fork_with_two_idle_anon_vmas,
    mremap_fork_child_back,
    mprotect_fork_child,
)
ON_FILES: tuple[Scenario, ...] = (
    fork_partly_copied_file,
    write_after_read,
    mmap_beside_charged_range,
)


def draw(rng: Random, pages: int, *, files: bool) -> list[Operation]:
    """Draw a scenario; return its steps, or an empty list if the episode begins without one."""
    if pages < PAGES or rng.random() >= SHARE:
        return []
    scenario = rng.choice((*SCENARIOS, *ON_FILES) if files else SCENARIOS)
    return scenario(rng.randint(0, pages - PAGES))
